//! When a checkpoint is due.

use std::time::Duration;

/// Share of the time that checkpoints may take where no interval was asked for.
const SHARE: f64 = 0.03;
/// The shortest time between two checkpoints where no interval was asked for.
const LEAST_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes per second that are expected of a disk before any were measured.
const ASSUMED_RATE: f64 = 200e6;

/// Decides when a checkpoint is due. All times count from the beginning of the evaluation.
#[derive(Debug)]
pub(super) struct CheckpointPolicy {
    /// The interval that was asked for; whatever it costs.
    interval: Option<Duration>,
    /// When the last checkpoint was written.
    last: Duration,
    /// Bytes that all checkpoints made durable, and the time that took.
    written: (u64, Duration),
}

impl CheckpointPolicy {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self {
            interval,
            last: Duration::ZERO,
            written: (0, Duration::ZERO),
        }
    }

    /// Whether a checkpoint is due that makes this many more bytes durable.
    pub(super) fn is_due(&self, now: Duration, bytes: u64) -> bool {
        let since = now.saturating_sub(self.last);
        if let Some(interval) = self.interval {
            return since >= interval;
        }
        let (written, time) = self.written;
        let rate = match written {
            0 => ASSUMED_RATE,
            written => written as f64 / time.as_secs_f64(),
        };
        // All checkpoints together stay within their share, however wrong the expectation is once.
        let spent = time.as_secs_f64() + bytes as f64 / rate;
        since >= LEAST_INTERVAL && spent < SHARE * now.as_secs_f64()
    }

    /// Counts the bytes and the time of a checkpoint, whether it succeeded or not.
    pub(super) fn count(&mut self, bytes: u64, time: Duration) {
        self.written.0 += bytes;
        self.written.1 += time;
    }

    /// Starts the interval to the next checkpoint: one was written, or read.
    pub(super) fn restart(&mut self, now: Duration) {
        self.last = now;
    }
}

/// Whether a checkpoint fits the scratch limit: whatever is written until the next one, there is room for what the schedule keeps.
pub(super) fn fits(used: u64, checkpoint: u64, reserved: u64, limit: u64) -> bool {
    used + checkpoint + reserved <= limit
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_interval_that_was_asked_for_is_kept_whatever_it_costs() {
        let mut policy = CheckpointPolicy::new(Some(seconds(10)));
        assert!(!policy.is_due(seconds(9), 0));
        assert!(policy.is_due(seconds(10), u64::MAX));
        policy.count(1 << 40, seconds(9));
        policy.restart(seconds(19));
        assert!(!policy.is_due(seconds(28), 0));
        assert!(policy.is_due(seconds(29), 0));
    }

    #[test]
    fn without_an_interval_checkpoints_take_a_small_share_of_the_time() {
        let mut policy = CheckpointPolicy::new(None);
        assert!(!policy.is_due(seconds(4), 0), "too soon");
        assert!(policy.is_due(seconds(5), 0));
        // 200 MB are expected to take a second, which is 3 % of 34 s.
        assert!(!policy.is_due(seconds(33), 200_000_000));
        assert!(policy.is_due(seconds(34), 200_000_000));
        // The disk turns out to be ten times slower: the next one is due when both fit.
        policy.count(200_000_000, seconds(10));
        policy.restart(seconds(44));
        assert!(!policy.is_due(seconds(600), 200_000_000));
        assert!(policy.is_due(seconds(667), 200_000_000));
        assert!(!policy.is_due(seconds(333), 0), "10 s were spent");
    }

    #[test]
    fn a_disk_without_measurable_time_is_no_trouble() {
        let mut policy = CheckpointPolicy::new(None);
        policy.count(1, Duration::ZERO);
        assert!(policy.is_due(seconds(6), 1 << 40));
    }

    #[test]
    fn a_checkpoint_fits_beside_what_the_schedule_keeps() {
        assert!(fits(10, 20, 30, 60));
        assert!(!fits(10, 21, 30, 60));
    }
}
