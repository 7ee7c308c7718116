//! Which chunks of a file have arrived.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::CHUNK_BYTES;

/// The value of the header `Content-Digest` for a body.
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// The chunks of a file that the server has, as ranges of their numbers; both ends are included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunks {
    /// How many chunks the file has.
    pub of: u64,
    /// Ranges of the chunks that the server has.
    pub received: Vec<[u64; 2]>,
}

impl Chunks {
    /// The chunks with these numbers, which ascend, of a file of `bytes` bytes.
    pub fn new(bytes: u64, numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut received: Vec<[u64; 2]> = Vec::new();
        for number in numbers {
            match received.last_mut() {
                Some([_, last]) if *last + 1 == number => *last = number,
                _ => received.push([number, number]),
            }
        }
        Self {
            of: Self::count(bytes),
            received,
        }
    }

    /// How many chunks a file of `bytes` bytes has.
    pub fn count(bytes: u64) -> u64 {
        bytes.div_ceil(CHUNK_BYTES)
    }

    /// The bytes of a file of `bytes` bytes that chunk `number` holds, if it has such a chunk.
    pub fn range(bytes: u64, number: u64) -> Option<std::ops::Range<u64>> {
        let start = number.checked_mul(CHUNK_BYTES)?;
        (start < bytes).then(|| start..bytes.min(start + CHUNK_BYTES))
    }

    /// The numbers of the missing chunks.
    pub fn missing(&self) -> impl Iterator<Item = u64> {
        let mut ranges = self.received.iter().peekable();
        (0..self.of).filter(move |&number| {
            while ranges.next_if(|[_, last]| *last < number).is_some() {}
            ranges.peek().is_none_or(|[first, _]| *first > number)
        })
    }

    /// Whether no chunk is missing.
    pub fn is_complete(&self) -> bool {
        self.missing().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_what_is_missing() {
        let bytes = 9 * CHUNK_BYTES + 1;
        let chunks = Chunks::new(bytes, [0, 1, 2, 5, 7, 8]);
        assert_eq!(chunks.of, 10);
        assert_eq!(chunks.received, [[0, 2], [5, 5], [7, 8]]);
        assert_eq!(chunks.missing().collect::<Vec<_>>(), [3, 4, 6, 9]);
        assert!(!chunks.is_complete());
        assert!(Chunks::new(bytes, 0..10).is_complete());
        assert_eq!(Chunks::range(bytes, 9), Some(bytes - 1..bytes));
        assert_eq!(Chunks::range(bytes, 10), None);
        assert_eq!(Chunks::range(bytes, u64::MAX), None);
        assert_eq!(Chunks::range(5, 0), Some(0..5));
    }

    #[test]
    fn a_digest_as_in_the_rfc() {
        // RFC 9530, appendix B.1.
        assert_eq!(
            content_digest(b"{\"hello\": \"world\"}\n"),
            "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
        );
    }
}
