//! Asking an evaluation to end.

use std::sync::atomic::{AtomicU8, Ordering};

const CONTINUE: u8 = 0;
const AT_CHECKPOINT: u8 = 1;
const NOW: u8 = 2;

/// A request to end an evaluation, which looks at it between two units of work.
#[derive(Debug, Default)]
pub struct Stop(AtomicU8);

impl Stop {
    /// Asks the evaluation to write a checkpoint and end.
    pub fn at_checkpoint(&self) {
        self.0.fetch_max(AT_CHECKPOINT, Ordering::Relaxed);
    }

    /// Asks the evaluation to end without a checkpoint: it will not be resumed.
    pub fn now(&self) {
        self.0.fetch_max(NOW, Ordering::Relaxed);
    }

    /// Whether the evaluation is asked to end.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) != CONTINUE
    }

    /// Whether the evaluation is asked to end without a checkpoint.
    pub fn is_urgent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == NOW
    }
}
