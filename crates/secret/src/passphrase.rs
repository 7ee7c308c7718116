//! Passphrases.

use std::fmt;
use std::fs;
use std::path::Path;

use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::Error;

/// Most bytes of a passphrase.
const LIMIT: usize = 4096;

/// What a key file is encrypted with; overwritten when dropped.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl ZeroizeOnDrop for Passphrase {}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Passphrase {
    /// A passphrase of 1 to 4,096 bytes; `location` is where it comes from, for messages.
    ///
    /// # Errors
    /// [`Error::Passphrase`].
    pub fn new(bytes: &[u8], location: &str) -> Result<Self, Error> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let found = bytes.len();
        match (1..=LIMIT).contains(&found) {
            true => Ok(Self(Zeroizing::new(bytes.to_vec()))),
            false => Err(Error::Passphrase {
                location: location.to_owned(),
                limit: LIMIT,
                found,
            }),
        }
    }

    /// The content of a file, without the line feed at its end.
    ///
    /// # Errors
    /// [`Error::Passphrase`], and [`Error::Container`] for a file that cannot be read.
    pub fn read_file(path: &Path) -> Result<Self, Error> {
        let location = path.display().to_string();
        let bytes = sordino_container::file_bytes(path)?.unwrap_or(0);
        if bytes > 2 * LIMIT as u64 {
            let found = usize::try_from(bytes).unwrap_or(usize::MAX);
            return Err(Error::Passphrase {
                location,
                limit: LIMIT,
                found,
            });
        }
        let read =
            fs::read(path).map_err(|error| sordino_container::Error::io(path, "read", error))?;
        Self::new(&Zeroizing::new(read), &location)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_feed_at_the_end_is_no_part() {
        for text in ["open sesame", "open sesame\n", "open sesame\r\n"] {
            assert_eq!(
                Passphrase::new(text.as_bytes(), "test").unwrap().bytes(),
                b"open sesame"
            );
        }
        for wrong in [Vec::new(), b"\n".to_vec(), vec![b'x'; LIMIT + 1]] {
            assert!(matches!(
                Passphrase::new(&wrong, "test"),
                Err(Error::Passphrase { .. })
            ));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        fs::write(&path, "open sesame\n").unwrap();
        let read = Passphrase::read_file(&path).unwrap();
        assert_eq!(read.bytes(), b"open sesame");
        assert!(!format!("{read:?}").contains("sesame"));
        fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        assert!(Passphrase::read_file(&path).is_err());
        assert!(Passphrase::read_file(&folder.path().join("none")).is_err());
    }
}
