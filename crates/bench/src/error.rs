//! What a benchmark itself refuses. Everything that it calls has errors of its own.

use std::path::PathBuf;
use std::process::ExitStatus;

use sordino_fault::{Fault, classify};

/// Why a benchmark was not run, or its records not written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Arguments that make no sense together.
    #[error("{0}")]
    Usage(String),
    /// A file that does not hold records.
    #[error("{}: expected a JSON array of benchmark records, found: {detail}: run the benchmark again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        detail: String,
    },
    /// Measurements of an earlier run that cannot be read.
    #[error("{} is not what an earlier run has written ({detail}): give --force to start over", path.display())]
    Unresumable {
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
    /// More shifted images were asked for than can be made.
    #[error(
        "{found} shifted images of the digits were asked for, at most {limit} can be made: ask for fewer"
    )]
    ShiftedImages {
        /// Images asked for.
        found: usize,
        /// Images that there are.
        limit: usize,
    },
    /// Fewer images than full blocks hold.
    #[error(
        "{blocks} full ciphertext blocks of N = {ring_degree} hold {expected} images, found {found}: ask for fewer blocks or give more images"
    )]
    TooFewImages {
        /// Blocks asked for.
        blocks: usize,
        /// Images of a block.
        ring_degree: usize,
        /// Images that the blocks hold.
        expected: usize,
        /// Images that there are.
        found: usize,
    },
    /// Values of a channel-wise plan cannot be compared element by element.
    #[error(
        "values of layers are compared for element-wise plans only: compile with --packing element-wise"
    )]
    ElementWiseOnly,
    /// The system gives no more threads.
    #[error("cannot start {threads} threads: {detail}: ask for fewer")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The system's reason.
        detail: String,
    },
    /// The evaluation in a process of its own failed.
    #[error("the separate evaluation failed ({status}): {messages}")]
    SeparateProcess {
        /// How it ended.
        status: ExitStatus,
        /// What it said, where that was not shown already.
        messages: String,
    },
}

classify!(Error {
    Usage: Usage, Name, ShiftedImages, TooFewImages, ElementWiseOnly, Threads;
    BadFile: Malformed, Unresumable;
} by {
    // Where the process says why it failed, that is why the benchmark failed.
    SeparateProcess { status, .. } => match status.code() {
        Some(1) => Fault::CheckFailed,
        Some(3) => Fault::BadFile,
        Some(4) => Fault::Limits,
        Some(5) => Fault::Io,
        Some(130) => Fault::Interrupted,
        _ => Fault::Bug,
    },
});
