//! What can go wrong with records and reports.

use std::io;
use std::path::{Path, PathBuf};

/// Why records could not be written or read, or a report not be made.
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
    /// Pixels that are not those of one image.
    #[error("expected the values of one image of {}x{}x{}, found {found}: check the shape", shape.0, shape.1, shape.2)]
    Picture {
        /// Channels, rows and columns.
        shape: (usize, usize, usize),
        /// Number of values.
        found: usize,
    },
    /// Classes that cannot be counted.
    #[error(
        "expected as many predicted classes as expected ones ({expected}) below {classes}, found {predicted} and a class {largest}: check that images, labels and predictions belong together"
    )]
    Class {
        /// Number of classes.
        classes: usize,
        /// Largest class found.
        largest: usize,
        /// Number of expected classes.
        expected: usize,
        /// Number of predicted classes.
        predicted: usize,
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
