//! Identifiers that clients choose.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The identifier of a job or key, unique among those of its client: 1 to 64 letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// Most characters.
    pub const LONGEST: usize = 64;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "expected an identifier of 1 to {} letters, digits, '-' and '_', found one of {} bytes{}",
            Self::LONGEST,
            text.len(),
            match text.bytes().find(|&byte| !allowed(byte)) {
                Some(byte) => format!(" with {:?}", char::from(byte)),
                None => String::new(),
            }
        ))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_identifier_is() {
        let longest = "x".repeat(Id::LONGEST);
        for good in ["a", "Job-7_b", longest.as_str()] {
            assert_eq!(good.parse::<Id>().expect(good).as_str(), good);
        }
        let longer = "x".repeat(Id::LONGEST + 1);
        for bad in ["", "..", "a/b", "a b", "ä", "a\0", "%2e", longer.as_str()] {
            assert!(bad.parse::<Id>().is_err(), "{bad:?}");
            let json = serde_json::to_string(bad).expect("a string");
            assert!(serde_json::from_str::<Id>(&json).is_err(), "{bad:?}");
        }
    }
}
