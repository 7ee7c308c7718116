//! `sordino submit`

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use sordino::container::remove_unfinished;
use sordino::data::Layout;
use sordino::protocol::api::{Job, JobState};
use sordino_client::http::{
    ConnectOptions, Event, RemoteServer, SubmitOptions, Submitted, Token, Upload, secret_key_of,
    submit,
};
use sordino_client::{Provenance, ViewCount};
use sordino_command::terminal::{Bar, on_first_interrupt, say};
use sordino_command::{GlobalArgs, Outcome, Output, exit};
use sordino_fault::Fault;

use crate::decrypt::{warn_of_close, warn_of_range};
use crate::encrypt::{Unusual, describe_unusual, parse_range, parse_views};
use crate::exit::Usage;
use crate::one_of::one_of;
use crate::passphrase::NewPassphrase;

/// Where the token is looked for without `--token-file`.
const TOKEN_VARIABLE: &str = "SORDINO_TOKEN";

/// Arguments of `submit`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The server's address, such as https://sordino.example.org
    #[arg(long, value_name = "URL")]
    server: String,
    /// The model's name there
    #[arg(long, value_name = "NAME")]
    model: String,
    /// The file with the token that the server knows us by [default: the token in SORDINO_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Folder with keys to use again, which are made if there are none; an interrupted run resumes from this folder
    /// [default: keys for this submission, in OUT.submission until the predictions are written]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Folder with what is kept between submissions: the plans that were seen, and keys that are larger than requests
    /// [default: sordino in the folder of the user's data]
    #[arg(long, value_name = "DIR", env = "SORDINO_STATE")]
    state: Option<PathBuf>,
    /// Accept that the server has another plan than when the model was first seen
    #[arg(long)]
    accept_plan: bool,
    /// What to do with images unlike those that the network is made for: leave them out unless the plan proves that they do no harm to
    /// the others, encrypt them in blocks of their own, or encrypt them among the others
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Unusual::Exclude)]
    unusual: Unusual,
    /// Views of each image, such as its mirror image, whose mean score counts; they take idle places and cost nothing. auto: as many as
    /// were best on validation images
    #[arg(long, value_name = "N|auto", value_parser = parse_views, default_value = "auto")]
    views: ViewCount,
    /// Do not send the batch once more, without the images that ruined it, where check images come back wrong
    #[arg(long)]
    no_resubmit: bool,
    #[command(flatten)]
    passphrase: NewPassphrase,
    /// Images: a folder of PNG or JPEG, DICOM, IDX, CIFAR binary, .npy or .npz
    #[arg(long, value_name = "PATH")]
    images: PathBuf,
    /// Raw values of black and white, where they are not the network's own: 0..65535
    #[arg(long, value_name = "A..B", value_parser = parse_range, allow_hyphen_values = true)]
    range: Option<(f64, f64)>,
    /// Where arrays have their channels: before rows and columns, or behind [default: by their sizes]
    #[arg(long, value_name = "nchw|nhwc", value_parser = one_of::<Layout>(&["nchw", "nhwc"]))]
    layout: Option<Layout>,
    /// Where to write the predictions: .csv or .json
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write the rounded logits
    #[arg(long)]
    logits: bool,
    /// Trust the certificates of this PEM file and no others [default: those that the system trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Allow http:// to another machine: the token travels unencrypted
    #[arg(long)]
    plain: bool,
    /// How long to try again after the server's last answer
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(..=31_536_000))]
    retry_for: u32,
    /// Leave job and reply on the server until they expire
    #[arg(long)]
    keep_job: bool,
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let display = Arc::new(Display::new(global.quiet));
    let observer = Arc::clone(&display);
    let options = ConnectOptions {
        ca: args.ca.clone(),
        plain: args.plain,
        patience: Duration::from_secs(args.retry_for.into()),
        observer: Some(Arc::new(move |event: &Event<'_>| observer.show(event))),
    };
    let server = RemoteServer::connect(&args.server, &token(args.token_file.as_deref())?, options)?;
    let passphrase = args
        .passphrase
        .of(&secret_key_of(args.keys.as_deref(), &args.out))?;
    let options = SubmitOptions {
        logits: args.logits,
        overwrite: global.overwrite(),
        range: args.range,
        layout: args.layout,
        keep_job: args.keep_job,
        backend: global.backend()?,
        keys: args.keys.clone(),
        state: args.state.clone(),
        unusual: args.unusual.into(),
        views: args.views,
        resubmit: !args.no_resubmit,
        passphrase: passphrase.map(Arc::new),
        accept_plan: args.accept_plan,
        ..SubmitOptions::new(&args.out)
    };
    on_first_interrupt(|| {
        remove_unfinished();
        say("interrupted: the same command resumes from here");
        std::process::exit(exit::code(Fault::Interrupted).into());
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let submitted = runtime.block_on(submit(&server, &args.model, args.images.clone(), &options));
    display.clear();
    let submitted = submitted?;
    let predictions = &submitted.predictions;
    let flagged = warn_of_range(predictions, submitted.logit_range, output);
    warn_of_close(predictions, output);
    output.result(&result(&submitted, &args.out, flagged), || {
        format!(
            "{} predictions in {}; {:.1} s in all, of which {:.1} s evaluated",
            predictions.len(),
            args.out.display(),
            submitted.times.total,
            submitted.times.evaluate,
        )
    })?;
    Ok(Outcome::Good)
}

fn token(file: Option<&Path>) -> anyhow::Result<Token> {
    if let Some(path) = file {
        return Ok(Token::read_file(path)?);
    }
    let Some(text) = std::env::var_os(TOKEN_VARIABLE) else {
        let text = format!("no token: give --token-file FILE, or the token in {TOKEN_VARIABLE}");
        return Err(Usage(text).into());
    };
    // A value that is not UTF-8 is refused as a token.
    Ok(Token::new(text.to_str().unwrap_or("\0"), TOKEN_VARIABLE)?)
}

fn result(submitted: &Submitted, out: &Path, flagged: usize) -> serde_json::Value {
    let (times, check) = (submitted.times, submitted.predictions.check());
    json!({
        "model": submitted.model.name,
        "plan": submitted.model.plan,
        "job": submitted.job,
        "images": submitted.predictions.marks().images(),
        "left_out": submitted.predictions.marks().left_out(),
        "unusual": submitted.predictions.marks().unusual(),
        "request_bytes": submitted.request_bytes,
        "reply_bytes": submitted.reply_bytes,
        "made_keys": submitted.made_keys,
        "went_on": submitted.resumed,
        "keys_seconds": times.keys,
        "encrypt_seconds": times.encrypt,
        "upload_seconds": times.upload,
        "wait_seconds": times.wait,
        "queue_seconds": times.queue,
        "evaluate_seconds": times.evaluate,
        "download_seconds": times.download,
        "decrypt_seconds": times.decrypt,
        "total_seconds": times.total,
        "released_bits": submitted.predictions.released_bits(),
        "check_images": check.map_or(0, |check| check.images),
        "worst_check_error": check.map(|check| check.worst_error),
        "check_tolerance": check.map(|check| check.tolerance),
        "out_of_range": flagged,
        "out": out,
        "provenance": Provenance::beside(out),
    })
}

/// Shows the progress as bars and lines.
struct Display {
    quiet: bool,
    stage: Mutex<Option<Stage>>,
    /// The number of jobs before ours that was shown last.
    ahead: Mutex<Option<u64>>,
}

/// A stage of the work, with its bar.
struct Stage {
    name: &'static str,
    bar: Bar,
    began: Instant,
    /// Progress when the stage began.
    before: u64,
}

impl Display {
    fn new(quiet: bool) -> Self {
        Self {
            quiet,
            stage: Mutex::new(None),
            ahead: Mutex::new(None),
        }
    }

    fn show(&self, event: &Event<'_>) {
        match event {
            Event::KeysMade { folder } => self.line(format!(
                "made keys in {} (keep secret.key, and never give it away)",
                folder.display()
            )),
            Event::KeysUsedBefore { folder, used } => self.line(format!(
                "the keys in {} decrypted {used} replies before: without --keys each submission has its own, and what a lying server learns of one key ends with it",
                folder.display()
            )),
            Event::KeysKept { folder, evaluation_bytes, used, most } => self.line(format!(
                "the evaluation key has {:.0} MiB, more than the request: the keys in {} are used again, {used} of {most} replies so far",
                *evaluation_bytes as f64 / f64::from(1 << 20),
                folder.display()
            )),
            Event::PlanSeen { model, client_plan } => self.line(format!(
                "the plan of model {model:?} is remembered, and another one will be refused: its digest {client_plan} is what `b3sum client.plan` prints where it was compiled"
            )),
            // A warning, also when quiet.
            Event::Note { text } if self.quiet => say(format_args!("warning: {text}")),
            Event::Note { text } => self.line(format!("warning: {text}")),
            Event::Unusual { marks } => {
                self.line(describe_unusual(marks).unwrap_or_default());
            }
            Event::SentAgain { without } => self.line(format!(
                "check images came back wrong, and {} images (index {}) had values unlike all others in a layer of the network: they are left out, and the rest is sent once more with another key",
                without.len(),
                without.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
            )),
            Event::Encrypting { images } => self.line(format!("encrypting {images} images")),
            Event::Resumed { job } => self.line(format!("resuming job {job}")),
            Event::PlanChanged { model, job } => self.line(format!(
                "the server has another plan for model {model:?} than when job {job} was made: that job is given up, and the images are encrypted again"
            )),
            Event::JobForgotten { job } => self.line(format!(
                "the server does not know job {job} any more: it is made again"
            )),
            Event::ChunksLost { job } => self.line(format!(
                "the server asks again for parts of job {job}: they are sent again"
            )),
            Event::Uploaded { what, done, of } => {
                let name = match what {
                    Upload::Key => "key",
                    Upload::Request => "upload",
                };
                self.bytes(name, *done, *of);
            }
            Event::Downloaded { done, of } => self.bytes("download", *done, *of),
            Event::Job(job) => self.job(job),
            Event::Retry { reason, pause } => self.line(format!(
                "{reason}; trying again in {:.1} s",
                pause.as_secs_f64()
            )),
            Event::JobLeft { job, reason } => self.line(format!(
                "job {job} stays on the server until it expires: {reason}"
            )),
            _ => {}
        }
    }

    /// Shows the bar of a stage: a new one where another stage begins. `None` as the name removes the bar.
    fn with(&self, name: Option<&'static str>, done: u64, show: impl FnOnce(&Stage)) {
        // A bar is in order even if a holder panicked.
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if stage.as_ref().map(|stage| stage.name) != name {
            *stage = name.map(|name| Stage {
                name,
                bar: Bar::new(name, self.quiet),
                began: Instant::now(),
                before: done,
            });
        }
        if let Some(stage) = &*stage {
            show(stage);
        }
    }

    fn clear(&self) {
        self.with(None, 0, |_| ());
    }

    fn line(&self, text: String) {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        match &*stage {
            Some(stage) => stage.bar.line(text),
            None if self.quiet => {}
            None => say(text),
        }
    }

    fn bytes(&self, name: &'static str, done: u64, of: u64) {
        self.with(Some(name), done, |stage| {
            let rate = (done - stage.before.min(done)) as f64 / stage.began.elapsed().as_secs_f64();
            let left = if rate > 0.0 {
                of.saturating_sub(done) as f64 / rate
            } else {
                0.0
            };
            let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20) as usize;
            stage
                .bar
                .update(mebibytes(done), mebibytes(of), "MiB", left);
        });
    }

    fn job(&self, job: &Job) {
        match (job.state, &job.progress) {
            (JobState::Running, Some(progress)) => {
                self.with(Some("evaluate"), progress.done, |stage| {
                    // The server is not trusted: its numbers are shown, and its words are not.
                    let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
                    let left = progress.seconds_left.unwrap_or(0.0);
                    stage
                        .bar
                        .update(number(progress.done), number(progress.of), "running", left);
                });
            }
            (JobState::Queued, _) => {
                self.with(None, 0, |_| ());
                let ahead = job.jobs_ahead;
                let mut told = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
                if *told != ahead
                    && let Some(ahead) = ahead
                {
                    self.line(format!("in the queue: {ahead} jobs before this one"));
                }
                *told = ahead;
            }
            _ => {}
        }
    }
}
