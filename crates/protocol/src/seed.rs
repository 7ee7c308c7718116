//! The public seed of a block.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sordino_container::Digest;

/// A public seed that the uniform halves of a block's ciphertexts are expanded from; 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({})", Digest(self.0))
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Digest(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Written like a digest: 32 bytes in hexadecimal.
        Digest::deserialize(deserializer).map(|Digest(bytes)| Self(bytes))
    }
}
