//! Tokens: what each may see, and what nobody sees without.

use crate::api::contract::Contract;
use crate::cases::{plain, shallow};
use crate::files::{files_below, folder};
use crate::server::{Client, Server, Setup};
use crate::service::{Service, new_job};
use crate::wire::{Request, once};

#[test]
fn nothing_but_the_page_is_seen_without_a_token() {
    let server = Server::start(&folder("tokens"), Setup::new(&[plain()], &["a"]));
    let contract = Contract::new();
    let mut open = Vec::new();
    for (path, methods) in contract.routes() {
        let target = path
            .replace("{model}", "plain")
            .replace("{key}", "k")
            .replace("{job}", "j")
            .replace("{chunk}", "0");
        for method in methods {
            let request = || Request::new(&method, &target).header("Content-Length", "0");
            let ask = |request: Request| once(&server.address, &request).expect("an answer");
            if !contract.needs_token(&path, &method) {
                ask(request()).is(200);
                open.push(path.clone());
                continue;
            }
            let stranger = Client::new("stranger").token;
            for request in [
                request(),
                request().token(&stranger),
                request().token(""),
                request().header("Authorization", server.client("a").token.as_bytes()),
                request().token(&server.client("a").token).token(&stranger),
            ] {
                let answer = ask(request).refused(401);
                let challenge = answer.header("www-authenticate").unwrap_or_default();
                assert!(
                    challenge.starts_with("Bearer"),
                    "{method} {path}: {answer:?}"
                );
            }
        }
    }
    open.sort();
    assert_eq!(
        open,
        [
            "/",
            "/health",
            "/ready",
            "/status.css",
            "/status.js",
            "/v1/openapi.json"
        ]
    );
}

#[test]
fn metrics_are_for_tokens_that_may_see_them() {
    let mut setup = Setup::new(&[plain()], &["a"]);
    setup
        .clients
        .push(Client::new("watcher").with("metrics = true"));
    let server = Server::start(&folder("metrics"), setup);
    let mut service = Service::new(&server, "a");
    service.get("/metrics").refused(403);
    service.run("job", plain(), None);
    let text = Service::new(&server, "watcher")
        .get("/metrics")
        .is(200)
        .body;
    let text = String::from_utf8(text).expect("text");
    for name in [
        "sordino_jobs_total",
        "sordino_images_total",
        "sordino_http_answers_total",
        "sordino_stored_bytes",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(name)),
            "no {name} in {text}"
        );
    }
    // They tell nothing of who asks.
    assert!(
        !text.contains("watcher") && !text.contains("job-"),
        "{text}"
    );
}

#[test]
fn clients_have_names_of_their_own_for_keys_and_jobs() {
    let server = Server::start(
        &folder("names"),
        Setup::new(&[plain(), shallow()], &["a", "b"]),
    );
    let [mut a, mut b] = ["a", "b"].map(|client| Service::new(&server, client));
    a.register("key", shallow());
    b.get("/v1/keys/key").refused(404);
    b.put("/v1/jobs/job", &new_job(shallow(), Some("key")))
        .refused(404);
    b.register("key", shallow());
    for service in [&mut a, &mut b] {
        service.run("job", shallow(), Some("key"));
    }
    a.delete("/v1/jobs/job").is(204);
    a.delete("/v1/keys/key").is(204);
    b.check_reply("job", shallow());
    assert_eq!(b.ids("keys").len(), 1);
    assert!(a.ids("jobs").is_empty() && a.ids("keys").is_empty());
    assert_eq!(a.get("/v1/account").is(200).json()["stored_bytes"], 0);
}

#[test]
fn a_token_of_the_former_configuration_opens_nothing() {
    let mut server = Server::start(&folder("removed"), Setup::new(&[plain()], &["a", "b"]));
    let mut b = Service::new(&server, "b");
    b.run("job", plain(), None);
    server.signal("-TERM");
    assert!(server.ended(std::time::Duration::from_secs(20)).success());
    server.setup.clients.pop();
    server.restart();
    b.get("/v1/jobs/job").refused(401);
    assert!(Service::new(&server, "a").ids("jobs").is_empty());
}

#[cfg(unix)]
#[test]
fn the_state_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let server = Server::start(&folder("modes"), Setup::new(&[plain()], &["a"]));
    Service::new(&server, "a").run("job", plain(), None);
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path)
            .expect("a file")
            .permissions()
            .mode()
            & 0o777
    };
    // Behind a closed door it does not matter what the files say.
    assert_eq!(mode(&server.state()) & 0o077, 0);
    assert!(files_below(&server.state()).len() > 2);
}
