//! Where tokens may travel without TLS.

use std::fs;

use crate::cases::plain;
use crate::files::{folder, run};

#[test]
fn an_address_that_others_reach_needs_tls() {
    let folder = folder("plain");
    let text = format!(
        "listen = \"0.0.0.0:0\"\nstate = \"state\"\n[[model]]\nname = \"plain\"\nplan = \"{}\"\n[[client]]\nname = \"a\"\ntoken = \"blake3:{}\"\n",
        plain().folder.display(),
        "0".repeat(64)
    );
    fs::write(folder.join("server.toml"), text).expect("a configuration");
    let run = run(&folder, "serve --config server.toml");
    assert!(run.code != 0 && run.stderr.contains("TLS"), "{run:?}");
}
