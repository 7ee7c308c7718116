//! What is worth another try, and when.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::Instant;

use super::connect::RemoteServer;
use super::event::Event;
use crate::Error;

/// The pause after the first failure; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// No pause is longer, unless the server asks for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// One try that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: Box<Error>,
    /// Whether the next one may go better.
    pub passes: bool,
    /// What the server asks to wait.
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn passing(error: Error) -> Self {
        Self {
            error: Box::new(error),
            passes: true,
            retry_after: None,
        }
    }

    fn lasting(error: Error) -> Self {
        Self {
            error: Box::new(error),
            passes: false,
            retry_after: None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::lasting(error)
    }
}

/// The tries of one call.
pub(super) struct Tries<'a> {
    server: &'a RemoteServer,
    began: Instant,
    failures: u32,
}

impl<'a> Tries<'a> {
    pub(super) fn new(server: &'a RemoteServer) -> Self {
        Self {
            server,
            began: Instant::now(),
            failures: 0,
        }
    }

    /// Notes that something came, if not all.
    pub(super) fn progress(&mut self) {
        self.server.heard();
        self.failures = 0;
    }

    /// Waits until the next try is due.
    ///
    /// # Errors
    /// The failure's own if it does not pass, [`Error::GaveUp`] when there is no patience left.
    pub(super) async fn pause(&mut self, failure: Failure) -> Result<(), Error> {
        if !failure.passes {
            return Err(*failure.error);
        }
        let waited = self.began.max(self.server.last_heard()).elapsed();
        let left = self.server.patience().saturating_sub(waited);
        let asked = failure.retry_after.unwrap_or_default();
        if left.is_zero() || asked > left {
            return Err(Error::GaveUp {
                seconds: waited.as_secs_f64(),
                last: failure.error,
            });
        }
        let pause = pause_after(self.failures, random_fraction())
            .max(asked)
            .min(left);
        self.failures = self.failures.saturating_add(1);
        self.server.report(&Event::Retry {
            reason: &failure.error.to_string(),
            pause,
        });
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// The pause after so many failures before this one: half of it and up to the other half, so that clients who lost their server
/// at the same moment do not all come back at the same moment.
fn pause_after(failures: u32, fraction: f64) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << failures.min(16));
    full.min(LONGEST_PAUSE).mul_f64(0.5 + 0.5 * fraction)
}

/// A number in [0, 1) that differs between processes and calls. Nothing depends on how random it is.
fn random_fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

/// What the server asks to wait, if it says so in seconds; a date would have to trust its clock.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u32 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds.into()))
}

/// Whether an answer with this status may be another one later.
pub(super) fn passes(status: StatusCode, headers: &HeaderMap) -> bool {
    match status.as_u16() {
        408 | 500 | 502 | 503 | 504 => true,
        // Without a time a quota is full until the client makes room.
        429 => headers.contains_key(RETRY_AFTER),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let seconds = |failures, fraction| pause_after(failures, fraction).as_secs_f64();
        assert_eq!(seconds(0, 0.0), 0.125);
        assert_eq!(seconds(0, 1.0), 0.25);
        assert_eq!(seconds(3, 1.0), 2.0);
        assert_eq!(seconds(60, 1.0), LONGEST_PAUSE.as_secs_f64());
        assert_eq!(seconds(u32::MAX, 0.0), LONGEST_PAUSE.as_secs_f64() / 2.0);
        let fractions: Vec<f64> = (0..100).map(|_| random_fraction()).collect();
        assert!(
            fractions
                .iter()
                .all(|fraction| (0.0..1.0).contains(fraction))
        );
        let mean = fractions.iter().sum::<f64>() / 100.0;
        assert!((0.25..0.75).contains(&mean), "{mean}");
    }

    #[test]
    fn what_passes() {
        let mut headers = HeaderMap::new();
        let all = |headers: &HeaderMap| {
            let passing = (100..600).filter(|&code| {
                let status = StatusCode::from_u16(code).expect("a status");
                passes(status, headers)
            });
            passing.collect::<Vec<u16>>()
        };
        assert_eq!(all(&headers), [408, 500, 502, 503, 504]);
        headers.insert(RETRY_AFTER, "7".parse().expect("a header"));
        assert_eq!(all(&headers), [408, 429, 500, 502, 503, 504]);
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        for other in [
            "",
            "-1",
            "1.5",
            "Wed, 21 Oct 2026 07:28:00 GMT",
            "99999999999",
        ] {
            headers.insert(RETRY_AFTER, other.parse().expect("a header"));
            assert_eq!(retry_after(&headers), None, "{other}");
        }
    }
}
