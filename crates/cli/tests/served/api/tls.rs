//! TLS from end to end, with a certificate that only this test trusts.

use std::fs;

use crate::files::{assert_same_predictions, folder, plain};
use crate::server::{Server, Setup};
use crate::submit::{Submission, submit};
use crate::wire::{Request, once};

#[test]
fn submissions_over_tls() {
    let folder = folder("tls");
    let issued =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let issued = issued.expect("a certificate");
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
    fs::write(&certificate, issued.cert.pem()).expect("a file");
    fs::write(&key, issued.signing_key.serialize_pem()).expect("a file");
    let mut setup = Setup::new(&[plain()], &["a"]);
    setup.tls = Some((certificate.clone(), key));
    let server = Server::start(&folder, setup);
    let submission = Submission::new(&server, "a", plain(), "tls");
    assert!(submission.url.starts_with("https://"));
    let flags = format!("--ca {}", certificate.display());
    submit(&submission, &flags).good();
    assert_same_predictions(&submission.out(), &plain().path("predictions.csv"));
    // Without the certificate nobody knows who that is, and the token is not sent.
    let stranger = submission.to("stranger.csv");
    let run = submit(&stranger, "--retry-for 1");
    assert!(
        run.code != 0 && run.stderr.contains("certificate"),
        "{run:?}"
    );
    assert!(!stranger.out().exists());
    // By another name than those of the certificate.
    let mut other_name = submission.to("name.csv");
    other_name.url = submission.url.replace("127.0.0.1", "127.0.0.2");
    assert_ne!(
        submit(&other_name, &format!("{flags} --retry-for 1")).code,
        0
    );
    // Plain HTTP is not spoken there.
    assert!(once(&server.address, &Request::new("GET", "/health")).is_err());
}

#[test]
fn an_address_that_others_reach_needs_tls() {
    let folder = folder("plain");
    let text = format!(
        "listen = \"0.0.0.0:0\"\nstate = \"state\"\n[[model]]\nname = \"plain\"\nplan = \"{}\"\n[[client]]\nname = \"a\"\ntoken = \"blake3:{}\"\n",
        plain().folder.display(),
        "0".repeat(64)
    );
    fs::write(folder.join("server.toml"), text).expect("a configuration");
    let run = crate::files::sordino(&folder, "serve --config server.toml");
    assert!(run.code != 0 && run.stderr.contains("TLS"), "{run:?}");
}
