//! Asking an evaluation to end.

use std::sync::atomic::{AtomicU8, Ordering};

const GO_ON: u8 = 0;
const AT_CHECKPOINT: u8 = 1;
const NOW: u8 = 2;

/// A wish that an evaluation ends, which it looks at between two pieces of work.
#[derive(Debug, Default)]
pub struct Stop(AtomicU8);

impl Stop {
    /// The evaluation is to write a checkpoint and end.
    pub fn at_checkpoint(&self) {
        self.0.fetch_max(AT_CHECKPOINT, Ordering::Relaxed);
    }

    /// The evaluation is to end; nobody will go on with it.
    pub fn now(&self) {
        self.0.fetch_max(NOW, Ordering::Relaxed);
    }

    /// Whether it is to end.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) != GO_ON
    }

    /// Whether it is to end without a checkpoint.
    pub fn is_urgent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == NOW
    }
}
