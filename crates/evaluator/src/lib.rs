//! The evaluating side: requests in, replies out. No secret key, no training, no images, no network.
//!
//! [`Evaluator`] evaluates requests in memory, [`evaluate_file`] from file to file. What has no room in memory, and what a later run
//! resumes from, goes into a [`ScratchFolder`].
//!
//! A reply depends on plan, key and request only: it holds no time and no machine, and any number of threads and any
//! back end give the same bytes.

mod disk;
mod error;
mod evaluate_file;
mod evaluator;
mod scratch;

pub use disk::free_bytes;
pub use error::Error;
pub use evaluate_file::{
    EvaluateOptions, Evaluation, evaluate_file, evaluate_request, most_of_free_memory,
};
pub use evaluator::Evaluator;
pub use scratch::{Identity, ScratchFolder, ScratchOptions, Stop};
