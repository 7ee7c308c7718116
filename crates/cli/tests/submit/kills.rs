//! kill -9 of `sordino submit`, and of the server while it waits.

use std::time::{Duration, Instant};

use crate::cases::{assert_same_predictions, deep};
use crate::files::{Run, folder};
use crate::random::Random;
use crate::server::{Server, Setup};
use crate::service::Service;
use crate::submission::{Submission, submit};

/// Slow enough to be killed on the way.
const SLOW: &str = "--backend portable --threads 1";

#[test]
fn a_killed_submit_goes_on_when_it_is_started_again() {
    kill_submit(5);
}

#[test]
#[ignore = "minutes: fifty kills"]
fn a_submit_killed_fifty_times_goes_on_when_it_is_started_again() {
    kill_submit(50);
}

fn kill_submit(kills: u32) {
    let mut random = Random::seeded("kills of the client");
    let case = deep();
    let setup = Setup::new(&[case], &["a"]).flags(SLOW);
    let server = Server::start(&folder("killed-submit"), setup);
    let begun = Instant::now();
    let usual = Submission::new(&server, "a", case, "usual");
    submit(&usual, "").good();
    let whole = begun.elapsed();
    assert_same_predictions(&usual.out(), &case.path("predictions.csv"));
    println!("an undisturbed submission takes {whole:.1?}");
    let mut service = Service::new(&server, "a");
    let mut killed = 0;
    let mut number = 0;
    while killed < kills {
        number += 1;
        let submission = Submission::new(&server, "a", case, &format!("killed-{number}"));
        // Now and then twice and more in one submission.
        let mut pieces = Vec::new();
        while killed < kills && !submission.out().exists() && pieces.len() < 3 {
            let moment = whole.mul_f64(random.part());
            let mut child = submission.start("");
            std::thread::sleep(moment);
            child.kill().expect("kill -9");
            let output = child.wait_with_output().expect("it has ended");
            killed += 1;
            pieces.push(moment);
            if output.status.success() {
                // It was faster.
                break;
            }
            let jobs = service.ids("jobs");
            assert!(
                jobs.len() <= 1,
                "more than one job for one submission: {jobs:?}"
            );
            let keys = service.ids("keys");
            assert!(
                keys.len() <= 1 + number,
                "more than one key for one folder of keys: {keys:?}"
            );
        }
        if !submission.out().exists() {
            submit(&submission, "").good();
        }
        assert_same_predictions(&submission.out(), &case.path("predictions.csv"));
        println!("submission {number} was killed after {pieces:.1?}");
        // Killed between its table and its last word, it may leave the job, once and done.
        for id in service.ids("jobs") {
            assert_eq!(service.wait(&id)["state"], "done");
            service.delete(&format!("/v1/jobs/{id}")).is(204);
        }
    }
}

#[test]
fn submit_waits_for_a_server_that_was_killed() {
    let mut random = Random::seeded("kills under a submission");
    let case = deep();
    let setup = Setup::new(&[case], &["a"]).flags(SLOW);
    let mut server = Server::start(&folder("killed-under-submit"), setup);
    let submission = Submission::new(&server, "a", case, "patient");
    let begun = Instant::now();
    submit(&submission, "").good();
    let whole = begun.elapsed();
    for round in 0..3 {
        let submission = submission.to(&format!("{round}.csv"));
        let child = submission.start("--retry-for 60");
        let moments = [random.part(), random.part()].map(|part| whole.mul_f64(part / 2.0));
        for moment in moments {
            std::thread::sleep(moment);
            server.kill();
            std::thread::sleep(Duration::from_millis(random.next() % 300));
            server.restart();
        }
        Run::of(child.wait_with_output().expect("it has ended")).good();
        assert_same_predictions(&submission.out(), &case.path("predictions.csv"));
        let mut service = Service::new(&server, "a");
        assert!(service.ids("jobs").is_empty());
        assert_eq!(service.ids("keys").len(), 1);
    }
}
