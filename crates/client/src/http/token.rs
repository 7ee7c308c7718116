//! The secret that tells the server who asks.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use reqwest::header::HeaderValue;
use sordino_container::Error as FileError;
use zeroize::Zeroizing;

use crate::Error;

/// Most bytes of a token file.
const FILE_LIMIT: u64 = 4096;

/// A bearer token: whoever has it is the client. It is wiped when dropped, and never shown.
pub struct Token(Zeroizing<String>);

impl Token {
    /// A token; white space around it does not belong to it.
    ///
    /// # Errors
    /// [`Error::Token`] for a text that is no token; `location` says in messages where it came from.
    pub fn new(text: &str, location: &str) -> Result<Self, Error> {
        let wrong = |what| {
            let location = location.to_owned();
            Err(Error::Token { location, what })
        };
        match text.trim() {
            "" => wrong("expected a token, found nothing"),
            // RFC 6750 allows fewer; these at least end no header.
            text if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self(Zeroizing::new(text.to_owned())))
            }
            _ => wrong("expected one line of letters, digits and signs, found something else"),
        }
    }

    /// Reads a token file.
    ///
    /// # Errors
    /// [`Error::Token`] for a file that holds something else, [`Error::File`] for one that cannot be read.
    pub fn read_file(path: &Path) -> Result<Self, Error> {
        let location = path.display().to_string();
        let found = std::fs::metadata(path).map_err(|error| FileError::io(path, "open", error))?;
        if !found.is_file() {
            return Err(FileError::NotAFile { path: path.into() }.into());
        }
        let file = File::open(path).map_err(|error| FileError::io(path, "open", error))?;
        // As long as it can get, so that no copy stays behind where it grew.
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LIMIT as usize + 1));
        file.take(FILE_LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| FileError::io(path, "read", error))?;
        if bytes.len() as u64 > FILE_LIMIT {
            let what = "expected one line, found a long file";
            return Err(Error::Token { location, what });
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::new(text, &location),
            Err(_) => Self::new("\0", &location),
        }
    }

    /// The value of the header `Authorization`, marked so that it is never printed.
    pub(super) fn header(&self) -> Result<HeaderValue, Error> {
        let text = Zeroizing::new(format!("Bearer {}", self.0.as_str()));
        let value = HeaderValue::from_str(&text).map(|mut value| {
            value.set_sensitive(true);
            value
        });
        value.map_err(|_| Error::Token {
            location: "token".to_owned(),
            what: "expected one line of letters, digits and signs, found something else",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_is() {
        let header = Token::new(" abc-123\n", "x").expect("a token").header();
        let header = header.expect("a header");
        assert_eq!(header.to_str().expect("text"), "Bearer abc-123");
        assert!(!format!("{header:?}").contains("abc"), "{header:?}");
        for bad in ["", " \n", "a b", "a\nb", "ä", "a\0"] {
            let error = Token::new(bad, "the file").err().expect(bad).to_string();
            assert!(error.starts_with("the file: expected"), "{error}");
        }
    }

    #[test]
    fn files_are_read_with_a_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "secret-token\n").expect("written");
        assert!(Token::read_file(&path).is_ok());
        std::fs::write(&path, "x".repeat(5000)).expect("written");
        let error = Token::read_file(&path).err().expect("too long").to_string();
        assert!(
            error.contains("long file") && !error.contains("xx"),
            "{error}"
        );
        std::fs::write(&path, [0xff, 0xfe]).expect("written");
        assert!(matches!(Token::read_file(&path), Err(Error::Token { .. })));
        assert!(matches!(
            Token::read_file(folder.path()),
            Err(Error::File(_))
        ));
    }
}
