//! The evaluating side: requests in, replies out. No secret key, no training, no images.
//!
//! [`Server`] evaluates requests in memory, [`evaluate_file`] is the command `evaluate` of both binaries, [`serve`] the service over
//! HTTP. The rest is
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
pub mod serve;
mod serve_command;
mod server;
mod size;
pub mod terminal;

pub use error::Error;
pub use evaluate_file::{EvaluateOptions, Evaluation, evaluate_file, evaluate_request};
pub use scratch::{Identity, ScratchFolder, ScratchOptions, Stop};
pub use serve_command::{ServeArgs, TokenArgs};
pub use server::Server;
pub use size::parse_size;
