//! Stopping in order, and what is refused at the start.

use std::time::{Duration, Instant};

use crate::cases::{deep, plain};
use crate::files::{folder, run};
use crate::server::{Server, Setup};
use crate::service::Service;
use crate::wire::{Request, once};

const SLOW: &str = "--backend portable --threads 1";
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_stopping_server_finishes_what_it_is_at() {
    let setup = Setup::new(&[deep()], &["a"])
        .flags(SLOW)
        .with("shutdown = \"60s\"");
    let mut server = Server::start(&folder("finishes"), setup);
    let mut service = Service::new(&server, "a");
    service.register("key", deep());
    service.begin("one", deep(), Some("key"));
    service.begin("two", deep(), Some("key"));
    service.wait_for("one", |state| state == "running");
    server.signal("-TERM");
    // Soon it takes no more work, and says so as long as it answers at all.
    let until = Instant::now() + Duration::from_secs(2);
    while let Ok(answer) = once(&server.address, &Request::new("GET", "/ready")) {
        if answer.status == 503 {
            assert_eq!(answer.json()["status"], "stopping");
            break;
        }
        assert!(Instant::now() < until, "{answer:?}");
    }
    assert!(server.ended(PATIENCE).success());
    server.restart();
    let mut service = Service::new(&server, "a");
    assert_eq!(service.get("/v1/jobs/one").is(200).json()["state"], "done");
    service.check_reply("one", deep());
    // The next one was not begun, and is now.
    assert_eq!(service.wait("two")["state"], "done");
    service.check_reply("two", deep());
}

#[test]
fn a_stopping_server_with_little_patience_stops_at_a_checkpoint() {
    let setup = Setup::new(&[deep()], &["a"])
        .flags(SLOW)
        .with("shutdown = \"1s\"");
    let mut server = Server::start(&folder("checkpoint"), setup);
    let mut service = Service::new(&server, "a");
    service.register("key", deep());
    for id in ["one", "two"] {
        service.begin(id, deep(), Some("key"));
    }
    service.wait_for("one", |state| state == "running");
    let begun = Instant::now();
    server.signal("-INT");
    assert!(server.ended(PATIENCE).success());
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
    server.restart();
    let mut service = Service::new(&server, "a");
    for id in ["one", "two"] {
        assert_eq!(service.wait(id)["state"], "done");
        service.check_reply(id, deep());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let setup = Setup::new(&[deep()], &["a"])
        .flags(SLOW)
        .with("shutdown = \"1h\"");
    let mut server = Server::start(&folder("second-signal"), setup);
    let mut service = Service::new(&server, "a");
    service.register("key", deep());
    for id in ["one", "two", "three"] {
        service.begin(id, deep(), Some("key"));
    }
    service.wait_for("one", |state| state == "running");
    server.signal("-TERM");
    std::thread::sleep(Duration::from_millis(200));
    server.signal("-TERM");
    server.ended(Duration::from_secs(3));
    server.restart();
    let mut service = Service::new(&server, "a");
    for id in ["one", "two", "three"] {
        assert_eq!(service.wait(id)["state"], "done");
        service.check_reply(id, deep());
    }
}

#[test]
fn one_server_at_a_time_uses_a_state_folder() {
    let folder = folder("twice");
    let server = Server::start(&folder, Setup::new(&[plain()], &["a"]));
    let other = std::fs::read_to_string(folder.join("server.toml")).expect("a configuration");
    std::fs::write(folder.join("other.toml"), other).expect("a configuration");
    let run = run(&folder, "serve --config other.toml");
    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("another server"), "{run:?}");
    Service::new(&server, "a").run("job", plain(), None);
}
