//! Bearer tokens: 32 random bytes, the server keeps only a hash.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use sordino_container::{Access, AtomicFile, Error as FileError, Overwrite};

use crate::Error;

/// How a token begins, so that it can be told when it turns up where it should not be.
const PREFIX: &str = "sordino_";
/// Random bytes of a token: nothing that a fast hash does not protect.
const RANDOM_BYTES: usize = 32;
/// Bytes of the longest token file that is read.
const LONGEST_FILE: u64 = 1 << 12;
/// Separates these hashes from all others.
const DOMAIN: &str = "sordino token v1";
/// How a hash is written.
const HASH_PREFIX: &str = "blake3:";

/// The hash of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of a token.
    pub fn of(token: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
        Self(*hasher.update(token.as_bytes()).finalize().as_bytes())
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HASH_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for TokenHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix(HASH_PREFIX);
        digits
            .and_then(|digits| digits.parse::<sordino_container::Digest>().ok())
            .map(|digest| Self(*digest.as_bytes()))
            .ok_or_else(|| {
                "expected the hash of a token, blake3: and 64 hexadecimal digits: make one with `sordino-server token`"
                    .to_owned()
            })
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Writes a fresh token to a file that only its owner can read, and returns its hash.
///
/// # Errors
/// [`Error::File`] where the file is there already or cannot be written, [`Error::Entropy`].
pub fn write_token(path: &Path) -> Result<TokenHash, Error> {
    let mut file = AtomicFile::create(path, Overwrite::Refuse, Access::OwnerOnly)?;
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Error::Entropy {
        detail: error.to_string(),
    })?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    file.write_all(format!("{token}\n").as_bytes())
        .map_err(|error| FileError::io(path, "write", error))?;
    file.commit()?;
    Ok(TokenHash::of(&token))
}

/// The hash of the token in a file.
///
/// # Errors
/// [`Error::Config`] for a file that holds no token.
pub fn read_token(path: &Path) -> Result<TokenHash, Error> {
    let found = std::fs::metadata(path).map_err(|error| FileError::io(path, "open", error))?;
    if !found.is_file() || found.len() > LONGEST_FILE {
        return Err(Error::config(path, "expected a file with a token"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| FileError::io(path, "read", error))?;
    let token = text.trim();
    let random = token
        .strip_prefix(PREFIX)
        .map(|rest| URL_SAFE_NO_PAD.decode(rest));
    match random {
        Some(Ok(bytes)) if bytes.len() == RANDOM_BYTES => Ok(TokenHash::of(token)),
        _ => Err(Error::config(
            path,
            "expected a token that `sordino-server token` made",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_their_hashes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let hash = write_token(&path).expect("written");
        assert_eq!(read_token(&path).expect("read"), hash);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!(write_token(&path).is_err(), "never replaced");
        let other = write_token(&folder.path().join("other")).expect("written");
        assert_ne!(hash, other);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path)
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        for text in ["", "sordino_", "sordino_AAAA", "password"] {
            std::fs::write(&path, text).expect("written");
            assert!(read_token(&path).is_err(), "{text:?}");
        }
    }
}
