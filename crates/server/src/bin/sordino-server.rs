//! The server binary: `evaluate` only.
fn main() {}
