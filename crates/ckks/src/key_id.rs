//! The public name of a secret key.

use std::fmt;
use std::str::FromStr;

use hex::FromHex;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A random public number that ties a secret key, its evaluation key and requests together.
///
/// The number is independent of the key. Written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyId(#[serde(serialize_with = "hex::serde::serialize")] pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |_| Error::KeyIdText {
            found: text.chars().take(40).collect(),
        };
        FromHex::from_hex(text).map(Self).map_err(refused)
    }
}

/// What a request and its reply say about the slots of their images: 16 random bytes, and 16 that authenticate them with the secret
/// key. Only the owner of that key can tell the slots from it.
///
/// Written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotTag(#[serde(with = "hex::serde")] pub [u8; 32]);

impl TryFrom<String> for KeyId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let id = KeyId(std::array::from_fn(|k| (k * 17) as u8));
        assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
        assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<KeyId>(&json).unwrap(), id);
        for bad in [
            "",
            "00",
            &"g".repeat(32),
            &"é".repeat(16),
            "+0112233445566778899aabbccddeeff",
        ] {
            assert!(bad.parse::<KeyId>().is_err());
        }
    }
}
