//! How often a secret key was used.

use std::fs;
use std::path::{Path, PathBuf};

#[cfg(feature = "http")]
use crate::Error;

/// The file beside the key: a byte for each use, so that processes that write at once do not lose one.
const FILE: &str = "used";

/// Counts the replies that the key of a folder decrypted.
pub(crate) struct KeyUses(PathBuf);

impl KeyUses {
    pub(crate) fn of_folder(folder: &Path) -> Self {
        Self(folder.join(FILE))
    }

    pub(crate) fn count(&self) -> u64 {
        fs::metadata(&self.0).map_or(0, |found| found.len())
    }

    #[cfg(feature = "http")]
    pub(crate) fn add(&self) -> Result<(), Error> {
        use std::io::Write;

        let file = fs::File::options().create(true).append(true).open(&self.0);
        let written = file.and_then(|mut file| file.write_all(b"."));
        written.map_err(|error| sordino_container::Error::io(&self.0, "write", error).into())
    }
}
