//! The arguments that both binaries share, and the command `evaluate`.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use clap::Args;
use sordino_container::Overwrite;
use sordino_ring::backend::{self, Backend};

use crate::terminal::Bar;
use crate::{Error, EvaluateOptions, Evaluation, evaluate_file, parse_size};

/// Flags that every command takes.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalArgs {
    /// Threads to use [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Back end of the arithmetic [default: SORDINO_BACKEND, else the best that the processor has]
    #[arg(long, global = true, value_name = "NAME")]
    pub backend: Option<String>,
    /// No progress and no messages but errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Replace existing files (never a secret key)
    #[arg(long, global = true)]
    pub force: bool,
}

impl GlobalArgs {
    /// The back end that was asked for.
    ///
    /// # Errors
    /// [`Error::Ring`] naming those that there are.
    pub fn backend(&self) -> Result<&'static Backend, Error> {
        Ok(backend::select(self.backend.as_deref())?)
    }

    /// Whether existing files may be replaced.
    pub fn overwrite(&self) -> Overwrite {
        if self.force {
            Overwrite::Replace
        } else {
            Overwrite::Refuse
        }
    }

    /// Starts the thread pool of the process.
    ///
    /// # Errors
    /// [`Error::Threads`].
    pub fn start_threads(&self) -> Result<(), Error> {
        let threads = usize::from(self.threads.unwrap_or(0));
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|error| Error::Threads {
                threads,
                detail: error.to_string(),
            })
    }
}

/// Arguments of `evaluate`.
#[derive(Args, Clone, Debug)]
pub struct EvaluateArgs {
    /// The server plan
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,
    /// The client's evaluation key, if the plan needs one
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// The request
    #[arg(long, value_name = "FILE")]
    pub request: PathBuf,
    /// Where to write the reply
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Most memory to take, such as 4G; feature maps are computed in smaller pieces to fit [default: most of what is free]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,
    /// Where feature maps go that have no room in memory, and checkpoints; kept if the evaluation is interrupted [default: beside the
    /// reply]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Most to keep there [default: 30GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub scratch_limit: Option<u64>,
    /// Go on with an evaluation that was ended, from its last checkpoint
    #[arg(long)]
    pub resume: bool,
    /// Write a checkpoint every so many seconds [default: when it takes less than 3 % of the time]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub checkpoint_every: Option<Duration>,
    /// Write what every step took, as JSON
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

impl EvaluateArgs {
    /// Evaluates and returns what was done.
    ///
    /// # Errors
    /// Those of [`evaluate_file`].
    pub fn run(&self, global: &GlobalArgs) -> Result<Evaluation, Error> {
        self.run_with(global, false)
    }

    /// [`run`](Self::run) that keeps what every step took, if asked to.
    ///
    /// # Errors
    /// Those of [`evaluate_file`].
    pub fn run_with(&self, global: &GlobalArgs, keep_trace: bool) -> Result<Evaluation, Error> {
        let bar = Bar::new("evaluate", global.quiet);
        let progress = |progress: &sordino_runtime::Progress<'_>| bar.evaluation(progress);
        let note = |text: &str| bar.line(text);
        let options = EvaluateOptions {
            threads: None,
            backend: global.backend()?,
            memory_bytes: self.memory,
            scratch: self.scratch.as_deref(),
            scratch_bytes: self.scratch_limit,
            resume: self.resume,
            stop: None,
            checkpoint_interval: self.checkpoint_every,
            note: Some(&note),
            overwrite: global.overwrite(),
            progress: Some(&progress),
            trace: self.trace.as_deref(),
            keep_trace,
        };
        evaluate_file(
            &self.plan,
            self.keys.as_deref(),
            &self.request,
            &self.out,
            &options,
        )
    }
}

/// Reads a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

impl Evaluation {
    /// One line for people.
    pub fn summary(&self) -> String {
        format!(
            "evaluated {} images in {:.3} s ({:.1} us an image) on {} thread(s), back end {}; reply of {:.1} MiB",
            self.images,
            self.evaluate_seconds,
            self.amortized_seconds * 1e6,
            self.threads,
            self.backend,
            self.reply_bytes as f64 / f64::from(1 << 20),
        )
    }
}

/// The version with the back ends that this processor can run and the one that is chosen without a flag.
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let names: Vec<&str> = backend::available()
            .iter()
            .map(|backend| backend.name)
            .collect();
        let chosen = backend::select(None).map_or("none", |backend| backend.name);
        let (version, names) = (env!("CARGO_PKG_VERSION"), names.join(", "));
        format!("{version} (back end {chosen}; available: {names})")
    })
}
