//! Submissions over TLS, with a certificate that only this test trusts, and to a server without a configuration.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::cases::{assert_same_predictions, plain};
use crate::files::{command, folder, run};
use crate::server::{Server, Setup};
use crate::submission::{Submission, submit};
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
    // Plain HTTP is not spoken there, and who speaks it is told.
    let answer = once(&server.address, &Request::new("GET", "/health")).expect("an answer");
    assert_eq!(answer.status, 400);
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("https://"), "{detail}");
    let mut plain_url = submission.to("plain.csv");
    plain_url.url = submission.url.replace("https", "http");
    let run = submit(&plain_url, "--retry-for 1");
    assert!(
        run.code != 0 && run.stderr.contains("give its address with https://"),
        "{run:?}"
    );
}

#[test]
fn without_a_configuration_one_client_is_served() {
    let folder = folder("without-configuration");
    let line = format!(
        "serve --model digits={} --state state --token-file token --listen 127.0.0.1:0 --json",
        plain().folder.display()
    );
    let mut child = command(&folder)
        .args(line.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
    let mut first = String::new();
    stdout.read_line(&mut first).expect("a line");
    let first: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    let url = first["listening"].as_str().expect("a URL").to_owned();
    let submit = format!(
        "submit --server {url} --model digits --token-file token --keys keys --images {} --out out.csv",
        plain().path("images").display()
    );
    let run = run(&folder, &submit);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.join("token"))
            .expect("a token")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let stopped = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(stopped.expect("kill runs").success());
    assert!(child.wait().expect("it ends").success());
    run.good();
    assert_same_predictions(&folder.join("out.csv"), &plain().path("predictions.csv"));
}
