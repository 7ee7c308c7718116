//! Timing short operations: several samples, each of enough repetitions.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How samples are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampler {
    /// Samples.
    pub runs: usize,
    /// Least duration of a sample; a longer operation is a sample on its own.
    pub seconds: f64,
}

/// Limits the repetitions of an operation that takes no measurable time.
const MOST_REPETITIONS: f64 = 1e6;

impl Sampler {
    /// Seconds of one repetition in every sample; `run` repeats the operation as often as its argument says.
    pub(crate) fn samples(self, mut run: impl FnMut(usize)) -> Vec<f64> {
        let mut timed = |repetitions| {
            let start = Instant::now();
            run(repetitions);
            start.elapsed().as_secs_f64() / repetitions as f64
        };
        // The first call fills memory and caches, the second is timed.
        timed(1);
        let once = timed(1).max(1e-9);
        let repetitions = (self.seconds / once).ceil().clamp(1.0, MOST_REPETITIONS) as usize;
        (0..self.runs.max(1)).map(|_| timed(repetitions)).collect()
    }

    /// Seconds per item where every thread of the pool repeats the operation on a state of its own: elapsed time over
    /// the items of all threads together.
    pub(crate) fn samples_on_all_threads<S: Send>(
        self,
        state: impl Fn() -> S,
        operation: impl Fn(&mut S) + Sync,
    ) -> Vec<f64> {
        let threads = rayon::current_num_threads();
        let states: Vec<Mutex<S>> = (0..threads).map(|_| Mutex::new(state())).collect();
        let samples = self.samples(|repetitions| {
            rayon::broadcast(|context| {
                let state = states[context.index()].lock();
                let mut state = state.unwrap_or_else(PoisonError::into_inner);
                for _ in 0..repetitions {
                    operation(&mut state);
                }
            });
        });
        samples
            .iter()
            .map(|seconds| seconds / threads as f64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn short_operations_are_repeated_on_every_thread() {
        let sampler = Sampler {
            runs: 3,
            seconds: 1e-3,
        };
        let mut calls = Vec::new();
        let samples = sampler.samples(|repetitions| calls.push(repetitions));
        assert_eq!((samples.len(), calls.len()), (3, 5));
        assert!(calls[2] > 1 && calls[2] == calls[4], "{calls:?}");

        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
        let states = AtomicUsize::new(0);
        let samples = pool.unwrap().install(|| {
            let state = || states.fetch_add(1, Ordering::Relaxed);
            sampler.samples_on_all_threads(state, |state| *state += 1)
        });
        assert_eq!(states.into_inner(), 3);
        assert!(samples.iter().all(|&seconds| seconds > 0.0));
    }
}
