//! `sordino submit` end to end, against `sordino serve`: what it predicts, what it survives, what it keeps to itself.

mod cases;
mod connections;
mod delete_time;
mod equal;
#[path = "../../../server/tests/served/files.rs"]
mod files;
mod kills;
mod overhead;
#[allow(dead_code, reason = "the tests of the server use the rest")]
#[path = "../../../server/tests/served/random.rs"]
mod random;
mod secrets;
#[allow(dead_code, reason = "the tests of the server use the rest")]
#[path = "../../../server/tests/served/server.rs"]
mod server;
#[allow(dead_code, reason = "the tests of the server use the rest")]
#[path = "../../../server/tests/served/service.rs"]
mod service;
mod submission;
#[allow(dead_code, reason = "the tests of the server use the rest")]
#[path = "../../../server/tests/served/wire.rs"]
mod wire;

/// The binary that is tested.
const BINARY: &str = env!("CARGO_BIN_EXE_sordino");
