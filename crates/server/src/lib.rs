//! The evaluating side: requests in, replies out. No secret key, no training, no images.
//!
//! [`Server`] evaluates requests in memory, [`evaluate_file`] is the command `evaluate` of both binaries. The rest is
//! what a command needs around it: arguments ([`command`]), exit codes ([`exit`]), interruption and progress
//! ([`terminal`]).
//!
//! A reply depends on plan, key and request only: it holds no time and no machine, and any number of threads and any
//! back end give the same bytes.

pub mod command;
mod error;
mod evaluate_file;
pub mod exit;
mod scratch;
mod server;
mod size;
pub mod terminal;

pub use error::Error;
pub use evaluate_file::{EvaluateOptions, Evaluation, evaluate_file};
pub use scratch::{Identity, ScratchFolder, ScratchOptions};
pub use server::Server;
pub use size::parse_size;
