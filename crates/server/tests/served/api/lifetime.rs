//! From queue to removal: cancelled, deleted, expired.

use std::time::{Duration, Instant};

use crate::cases::{deep, plain, shallow};
use crate::files::{files_below, folder};
use crate::server::{Server, Setup};
use crate::service::{Service, new_job};

/// Slow enough to be watched.
const SLOW: &str = "--backend portable --threads 1";

/// A server with one client and the key for the slow network.
fn slow(name: &str) -> (Server, Service) {
    let setup = Setup::new(&[deep(), plain()], &["a"]).flags(SLOW);
    let server = Server::start(&folder(name), setup);
    let mut service = Service::new(&server, "a");
    service.register("key", deep());
    (server, service)
}

fn work_is_left(server: &Server) -> bool {
    !files_below(&server.state().join("work")).is_empty()
}

#[test]
fn jobs_wait_for_their_turn_and_say_how_long() {
    let (_server, mut service) = slow("turns");
    for id in ["one", "two", "three"] {
        service.begin(id, deep(), Some("key"));
    }
    let first = service.wait_for("one", |state| state == "running");
    let started = Instant::now();
    assert!(first.get("jobs_ahead").is_none(), "{first}");
    let queue = service.get("/v1/queue").is(200).json();
    assert_eq!(
        (&queue["running"], &queue["waiting"], &queue["at_once"]),
        (&1.into(), &2.into(), &1.into())
    );
    for (id, ahead) in [("two", 0), ("three", 1)] {
        let job = service.get(&format!("/v1/jobs/{id}")).is(200).json();
        assert_eq!(
            (&job["state"], &job["jobs_ahead"]),
            (&"queued".into(), &ahead.into()),
            "{job}"
        );
    }
    // Progress rises, and there is an estimate of what is left.
    let mut done = 0;
    let mut estimated = false;
    loop {
        let job = service.get("/v1/jobs/one").is(200).json();
        if job["state"] == "done" {
            break;
        }
        if let Some(progress) = job.get("progress") {
            let now = progress["done"].as_u64().expect("a number");
            assert!(now >= done && progress["of"].as_u64() >= Some(now), "{job}");
            done = now;
            estimated |= progress["seconds_left"].is_number();
        }
        assert!(started.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(done > 0 && estimated, "no progress was told");
    let finished = ["one", "two", "three"].map(|id| {
        let job = service.wait(id);
        service.check_reply(id, deep());
        job["waited_seconds"].as_f64().expect("seconds")
    });
    assert!(
        finished[0] < finished[1] && finished[1] < finished[2],
        "{finished:?}"
    );
}

#[test]
fn a_cancelled_job_leaves_the_queue_and_the_processor() {
    let (server, mut service) = slow("cancelled");
    service.begin("running", deep(), Some("key"));
    service.begin("queued", deep(), Some("key"));
    service
        .put("/v1/jobs/uploading", &new_job(deep(), Some("key")))
        .is(201);
    service.wait_for("running", |state| state == "running");
    // A key in use stays.
    service.delete("/v1/keys/key").refused(409);
    for id in ["queued", "running", "uploading"] {
        for _ in 0..2 {
            let job = service
                .post(&format!("/v1/jobs/{id}/cancel"))
                .is(200)
                .json();
            assert!(job["state"] == "cancelled", "{job}");
        }
        service.get(&format!("/v1/jobs/{id}/reply")).refused(409);
        service.post(&format!("/v1/jobs/{id}/start")).refused(409);
    }
    let begun = Instant::now();
    service.begin("after", plain(), None);
    assert_eq!(service.wait("after")["state"], "done");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "it waited for a cancelled job"
    );
    let until = Instant::now() + Duration::from_secs(10);
    while work_is_left(&server) {
        assert!(Instant::now() < until, "work of cancelled jobs is left");
        std::thread::sleep(Duration::from_millis(20));
    }
    service.delete("/v1/keys/key").is(204);
    let account = service.get("/v1/account").is(200).json();
    assert_eq!(account["open_jobs"], 0);
}

#[test]
fn a_job_is_deleted_while_it_is_evaluated_and_nothing_of_it_stays() {
    let (server, mut service) = slow("deleted");
    service.begin("running", deep(), Some("key"));
    service.wait_for("running", |state| state == "running");
    service.delete("/v1/jobs/running").is(204);
    service.get("/v1/jobs/running").refused(404);
    // Under the same name anew, at once.
    service.run("running", deep(), Some("key"));
    service.delete("/v1/jobs/running").is(204);
    service.delete("/v1/keys/key").is(204);
    let until = Instant::now() + Duration::from_secs(10);
    let left = || files_below(&server.state().join("blobs"));
    while work_is_left(&server) || !left().is_empty() {
        assert!(Instant::now() < until, "left: {:?}", left());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(service.get("/v1/account").is(200).json()["stored_bytes"], 0);
}

#[test]
fn what_nobody_needs_expires_and_what_is_needed_does_not() {
    let setup = Setup::new(&[plain(), shallow()], &["a"]).with("retention = \"2s\"");
    let server = Server::start(&folder("retention"), setup);
    let mut service = Service::new(&server, "a");
    service.register("key", shallow());
    service.run("over", shallow(), Some("key"));
    service
        .put("/v1/jobs/begun", &new_job(plain(), None))
        .is(201);
    let begun = Instant::now();
    while !(service.ids("jobs").is_empty() && service.ids("keys").is_empty()) {
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{:?} {:?}",
            service.ids("jobs"),
            service.ids("keys")
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > Duration::from_secs(1), "it was too early");
    service.get("/v1/jobs/over/reply").refused(404);
    assert_eq!(service.get("/v1/account").is(200).json()["stored_bytes"], 0);
    assert!(files_below(&server.state().join("blobs")).is_empty());
    // Somebody who goes on with it begins anew.
    service.run("over", plain(), None);
}
