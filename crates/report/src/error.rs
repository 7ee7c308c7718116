//! What can go wrong with a report.

use std::path::PathBuf;

use sordino_fault::classify;

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A report that would replace another output of the same command.
    #[error(
        "--report {}: the page and its numbers {} need names of their own: give another name, such as report.html",
        html.display(), json.display()
    )]
    SameName {
        /// The page.
        html: PathBuf,
        /// Its numbers.
        json: PathBuf,
    },
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
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

classify!(Error { Usage: SameName, Picture, Class; } inner { File });
