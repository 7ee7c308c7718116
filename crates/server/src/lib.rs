//! The service over HTTP, and the binary `sordino-server`: clients register keys, send requests, and fetch replies.
//!
//! What the service knows is in a database and a store of blobs under its state folder; every answer that says something is kept
//! comes after it was handed to the system. So the process may end at any moment, and the next one resumes: uploads where they were,
//! jobs in their order, the job that was evaluated from its last checkpoint.
//!
//! Handlers (`http`) talk to database and blobs; one task for each job at once (`worker`) evaluates what the queue gives it.

mod blobs;
mod clock;
mod config;
mod database;
mod error;
mod http;
mod listener;
mod metrics;
mod models;
mod queue;
mod refusal;
mod retention;
mod serve;
mod serve_command;
mod service;
mod token;
mod worker;

pub use config::{ClientConfig, ModelConfig, ServeConfig, TlsConfig};
pub use error::Error;
pub use refusal::problem_kind;
pub use serve::serve;
pub use serve_command::{ServeArgs, TokenArgs};
pub use token::{TokenHash, read_token, write_token};
