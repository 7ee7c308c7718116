//! What can go wrong with files of records.

use std::io;
use std::path::{Path, PathBuf};

/// Why records could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}: check the path, its permissions and the free space", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that does not hold records.
    #[error("{}: expected a JSON array of benchmark records, found: {detail}: run the benchmark again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        detail: String,
    },
    /// A name that cannot be part of a file name.
    #[error("{what} {found:?} may hold only letters, digits, '-' and '_': choose another")]
    Name {
        /// Which name.
        what: &'static str,
        /// The name.
        found: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.into(),
            action,
            source,
        }
    }
}
