//! The time, as the database keeps it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(super) fn precise_now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// Whole seconds since 1970.
pub(super) fn now() -> u64 {
    precise_now() as u64
}
