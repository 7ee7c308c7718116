//! The public seed of a block.

use serde::{Deserialize, Serialize};
use sordino_container::Digest;

/// A public seed that the uniform halves of a block's ciphertexts are expanded from; written like a digest, as 64 hexadecimal
/// digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Digest", into = "Digest")]
pub struct Seed(pub [u8; 32]);

impl From<Digest> for Seed {
    fn from(Digest(bytes): Digest) -> Self {
        Self(bytes)
    }
}

impl From<Seed> for Digest {
    fn from(Seed(bytes): Seed) -> Self {
        Self(bytes)
    }
}
