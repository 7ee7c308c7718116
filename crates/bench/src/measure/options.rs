//! How a network is measured, and timing.

use std::time::Instant;

use sordino::ring::backend::Backend;
use sordino_command::terminal::Bar;

use crate::record::Timing;

/// A run longer than this is not repeated, unless the options say otherwise.
pub const LONG_RUN_SECONDS: f64 = 60.0;

/// How a run is measured.
pub struct MeasureOptions<'a> {
    /// The back end.
    pub backend: &'static Backend,
    /// Threads of the current pool, for the record and the machine's peak.
    pub threads: usize,
    /// Runs whose median counts. A long run is the only one.
    pub runs: usize,
    /// A run that takes longer than this is long.
    pub long_run_seconds: f64,
    /// Number of images, from the first on, that accuracy and agreement are taken from. Errors of logits are measured only where
    /// these are all images.
    pub judged: usize,
    /// Shows the progress of every evaluation.
    pub bar: &'a Bar,
}

impl<'a> MeasureOptions<'a> {
    /// `runs` runs of all images on the current pool. A run that takes longer than a minute is not repeated.
    pub fn new(backend: &'static Backend, runs: usize, bar: &'a Bar) -> Self {
        Self {
            backend,
            threads: rayon::current_num_threads(),
            runs,
            long_run_seconds: LONG_RUN_SECONDS,
            judged: usize::MAX,
            bar,
        }
    }

    /// Runs a phase as often as asked: the seconds of every run, and the last result.
    pub(super) fn repeated<T>(
        &self,
        mut run: impl FnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<(Timing, T)> {
        let mut seconds = Vec::new();
        loop {
            let result = timed(&mut seconds, &mut run)?;
            if !self.repeats(&seconds) {
                return Ok((Timing::of(&seconds), result));
            }
        }
    }

    /// Whether a phase is run once more.
    pub(super) fn repeats(&self, seconds: &[f64]) -> bool {
        seconds.len() < self.runs && seconds[0] <= self.long_run_seconds
    }
}

/// Seconds of one call, appended to `samples`, and its result.
pub(super) fn timed<T>(
    samples: &mut Vec<f64>,
    run: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    let result = run()?;
    samples.push(start.elapsed().as_secs_f64());
    Ok(result)
}
