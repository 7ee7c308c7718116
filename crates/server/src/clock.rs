//! The time, as the database keeps it.
//!
//! It is the system's time when the process started and runs on evenly from there: durations stay right, and nothing expires early, when the
//! system's clock is changed.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static CLOCK: LazyLock<Clock> = LazyLock::new(|| Clock {
    started: Instant::now(),
    // A clock before 1970 stands for one that was not set.
    time: SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default(),
});

struct Clock {
    started: Instant,
    /// Time since 1970 when it started.
    time: Duration,
}

impl Clock {
    fn at(&self, now: Instant) -> f64 {
        (self.time + now.saturating_duration_since(self.started)).as_secs_f64()
    }
}

/// Seconds since 1970.
pub(super) fn precise_now() -> f64 {
    CLOCK.at(Instant::now())
}

/// Whole seconds since 1970.
pub(super) fn now() -> u64 {
    precise_now() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_runs_evenly_from_the_start() {
        let clock = Clock {
            started: Instant::now(),
            time: Duration::from_secs(1_000_000),
        };
        let later = clock.started + Duration::from_millis(2500);
        assert_eq!(clock.at(later), 1_000_002.5);
        let system = SystemTime::now().duration_since(UNIX_EPOCH);
        let system = system.expect("after 1970").as_secs_f64();
        assert!((precise_now() - system).abs() < 60.0);
    }
}
