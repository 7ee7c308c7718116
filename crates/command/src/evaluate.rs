//! The command `evaluate`, which both binaries have.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sordino_evaluator::{EvaluateOptions, Evaluation, evaluate_file};
use sordino_runtime::Progress;

use crate::terminal::Bar;
use crate::{Error, GlobalArgs, parse_size};

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
    /// Where feature maps go that have no room in memory, and checkpoints; made if it is not there, kept if the
    /// evaluation is interrupted [default: the folder of the reply]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Most scratch to use [default: 30GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub scratch_limit: Option<u64>,
    /// Resume an evaluation that was ended, from its last checkpoint
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
        let progress = |progress: &Progress<'_>| bar.evaluation(progress);
        let note = |text: &str| bar.line(text);
        let options = EvaluateOptions {
            memory_bytes: self.memory,
            scratch: self.scratch.as_deref(),
            scratch_bytes: self.scratch_limit,
            resume: self.resume,
            checkpoint_interval: self.checkpoint_every,
            note: Some(&note),
            overwrite: global.overwrite(),
            progress: Some(&progress),
            trace: self.trace.as_deref(),
            keep_trace,
            ..EvaluateOptions::new(global.backend()?)
        };
        Ok(evaluate_file(
            &self.plan,
            self.keys.as_deref(),
            &self.request,
            &self.out,
            &options,
        )?)
    }
}

/// Reads a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// What was done, in one line for people.
pub fn summary(evaluation: &Evaluation) -> String {
    format!(
        "evaluated {} images in {:.3} s ({:.1} us per image) on {} thread(s), back end {}; reply of {:.1} MiB",
        evaluation.images,
        evaluation.evaluate_seconds,
        evaluation.amortized_seconds * 1e6,
        evaluation.threads,
        evaluation.backend,
        evaluation.reply_bytes as f64 / f64::from(1 << 20),
    )
}
