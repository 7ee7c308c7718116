//! What the system does with files whatever they hold, with errors that name the file.

use std::path::Path;
use std::{fs, io};

use crate::Error;

/// Bytes of a file; `None` if it is not there.
///
/// # Errors
/// [`Error::Io`].
pub fn file_bytes(path: impl AsRef<Path>) -> Result<Option<u64>, Error> {
    match fs::metadata(&path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, "look up", error)),
    }
}

/// Removes a file, unless it is not there.
///
/// # Errors
/// [`Error::Io`].
pub fn remove_file(path: impl AsRef<Path>) -> Result<(), Error> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(path, "remove", error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(file_bytes(&path).unwrap(), None);
        remove_file(&path).unwrap();
        fs::write(&path, "abc").unwrap();
        assert_eq!(file_bytes(&path).unwrap(), Some(3));
        remove_file(&path).unwrap();
        assert!(!path.exists());
        assert!(matches!(
            remove_file(folder.path()),
            Err(Error::Io {
                action: "remove",
                ..
            })
        ));
    }
}
