//! The service end to end, as processes that talk over loopback: what it answers, what it survives, what it refuses.

mod api;
mod equal;
mod files;
mod hostile;
mod kills;
mod load;
#[path = "../corpus/mutation.rs"]
mod mutation;
mod overhead;
mod random;
mod secrets;
mod server;
mod service;
mod submit;
mod wire;
