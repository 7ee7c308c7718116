//! The digest that names a file's content.

use std::fmt;
use std::str::FromStr;

use hex::FromHex;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A BLAKE3 digest of 32 bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(#[serde(serialize_with = "hex::serde::serialize")] pub [u8; 32]);

impl Digest {
    /// The digest of `bytes` in a domain of its own: equal bytes in two domains have unrelated digests.
    ///
    /// `domain` is a constant of the program, such as `"sordino parameters v1"`.
    pub fn of(domain: &str, bytes: &[u8]) -> Self {
        Self(
            *blake3::Hasher::new_derive_key(domain)
                .update(bytes)
                .finalize()
                .as_bytes(),
        )
    }

    /// The plain BLAKE3 digest of `bytes`, the one that the tool `b3sum` prints.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::DigestText`] for any other length or character.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |_| Error::DigestText {
            found: text.chars().take(80).collect(),
        };
        FromHex::from_hex(text).map(Self).map_err(refused)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_input_has_the_published_blake3_digest() {
        // BLAKE3 reference test vectors, input length 0.
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of_bytes(b"").to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), Digest::of_bytes(b""));
        let json = serde_json::to_string(&Digest::of_bytes(b"")).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<Digest>(&json).unwrap(),
            Digest::of_bytes(b"")
        );
    }

    #[test]
    fn domains_are_apart() {
        assert_ne!(Digest::of("a", b"x"), Digest::of("b", b"x"));
        assert_ne!(Digest::of("a", b"x"), Digest::of_bytes(b"x"));
    }

    #[test]
    fn malformed_text_is_refused() {
        let good = Digest([0xab; 32]).to_string();
        for bad in [
            "",
            "ab",
            &good[1..],
            &format!("{good}0"),
            &good.replace('b', "g"),
            &"é".repeat(32),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
