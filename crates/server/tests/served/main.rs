//! The service end to end, as a process that is talked to over loopback: what it answers, what it survives, what it refuses.

mod api;
mod cases;
mod equal;
mod files;
mod hostile;
mod kills;
mod load;
#[path = "../../../cli/tests/corpus/mutation.rs"]
mod mutation;
#[path = "../network/mod.rs"]
mod network;
mod random;
mod selfish;
mod server;
mod service;
mod wire;

/// The binary that is tested.
const BINARY: &str = env!("CARGO_BIN_EXE_sordino-server");
