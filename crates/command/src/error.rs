//! What can go wrong around a command.

use std::path::PathBuf;

use sordino_fault::classify;

/// What keeps a command from its work, or from showing it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A thread pool of the size asked for cannot be had.
    #[error(
        "cannot start {threads} threads: {detail}: give a smaller --threads, or allow more memory or processes (ulimit)"
    )]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The system's reason.
        detail: String,
    },
    /// The result could not be printed.
    #[error("cannot write to standard output: {0}: check where it is redirected to")]
    Output(std::io::Error),
    /// A file of settings with another content.
    #[error(
        "{}: expected {what}, found: {detail}: correct the file (docs/guide/training.md)", path.display()
    )]
    Settings {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
        /// What the parser said.
        detail: String,
    },
    /// A file of settings could not be read.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
    /// The back end cannot be used.
    #[error(transparent)]
    Ring(#[from] sordino_ring::Error),
    /// The request was not evaluated.
    #[error(transparent)]
    Evaluator(#[from] sordino_evaluator::Error),
}

classify!(Error {
    Limits: Threads;
    BadFile: Settings;
    Io: Output;
} inner { File, Ring, Evaluator });
