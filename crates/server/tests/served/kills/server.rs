//! kill -9 of the server over upload, queue, evaluation and download.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::cases::deep;
use crate::files::{files_below, folder};
use crate::kills::drive::{Driver, Phase, Watch};
use crate::random::Random;
use crate::server::{Server, Setup};
use crate::service::Service;

/// Slow enough to be killed on the way.
const SLOW: &str = "--backend portable --threads 1";

#[test]
fn a_killed_server_comes_back_with_everything_that_it_acknowledged() {
    let kills = std::env::var("SORDINO_KILLS").map_or(8, |text| text.parse().expect("a number"));
    kill_server(kills);
}

#[test]
#[ignore = "minutes: fifty kills"]
fn a_server_killed_fifty_times_comes_back_with_everything_that_it_acknowledged() {
    kill_server(52);
}

/// Two clients' jobs a round, one behind the other, and four kills: each at a random moment of a phase of the second job.
fn kill_server(kills: usize) {
    let mut random = Random::seeded("kills of the server");
    let case = deep();
    let setup = Setup::new(&[case], &["first", "second"])
        .with("jobs-at-once = 1")
        .flags(SLOW);
    let mut server = Server::start(&folder("killed-server"), setup);
    for client in ["first", "second"] {
        Service::new(&server, client).register("key", case);
    }
    // How long every phase takes when nobody disturbs it.
    let usual = round(&mut server, "usual", &mut random, &[]);
    println!("a job's upload, queue, evaluation and download take {usual:.0?}");
    let mut hits = [0usize; 5];
    let mut killed = 0;
    let mut number = 0;
    while killed < kills {
        let phases = &Phase::ALL[..(kills - killed).min(4)];
        let plan: Vec<(Phase, Duration)> = phases
            .iter()
            .map(|&phase| (phase, usual[phase as usize].mul_f64(0.9 * random.part())))
            .collect();
        number += 1;
        for hit in killing_round(&mut server, &format!("round-{number}"), &mut random, &plan) {
            hits[hit as usize] += 1;
            killed += 1;
        }
    }
    println!(
        "{killed} kills, by phase of the watched job: {:?}",
        Phase::ALL.iter().zip(hits).collect::<Vec<_>>()
    );
    nothing_is_left(&mut server);
}

/// A round without kills, and how long the phases of its second job took.
fn round(
    server: &mut Server,
    name: &str,
    random: &mut Random,
    plan: &[(Phase, Duration)],
) -> [Duration; 4] {
    let watch = Watch::new();
    run_round(server, name, random, plan, &watch);
    watch.durations()
}

fn killing_round(
    server: &mut Server,
    name: &str,
    random: &mut Random,
    plan: &[(Phase, Duration)],
) -> Vec<Phase> {
    run_round(server, name, random, plan, &Watch::new())
}

/// Runs both jobs and kills the server as planned; returns where the second job was at each kill.
fn run_round(
    server: &mut Server,
    name: &str,
    random: &mut Random,
    plan: &[(Phase, Duration)],
    watch: &Watch,
) -> Vec<Phase> {
    let case = deep();
    let nobody = Watch::new();
    let mut first = Driver::new(
        server,
        "first",
        name,
        case,
        Some("key"),
        &nobody,
        random.fork(),
    );
    let mut second = Driver::new(
        server,
        "second",
        name,
        case,
        Some("key"),
        watch,
        random.fork(),
    );
    // Ahead in the queue before the other one is begun.
    first.until_started();
    let hits = thread::scope(|scope| {
        let first = scope.spawn(move || first.run());
        let second = scope.spawn(move || second.run());
        let mut hits = Vec::new();
        for &(phase, delay) in plan {
            while watch.phase() < phase {
                assert!(!second.is_finished(), "the client has given up");
                thread::sleep(Duration::from_micros(200));
            }
            thread::sleep(delay);
            hits.push(watch.phase());
            server.kill();
            thread::sleep(Duration::from_millis(random.next() % 30));
            server.restart();
        }
        for driver in [first, second] {
            driver.join().expect("every reply is right");
        }
        hits
    });
    // No job was lost, and none is there twice or under another name.
    for client in ["first", "second"] {
        let mut service = Service::new(server, client);
        assert_eq!(service.ids("jobs"), BTreeSet::from([name.to_owned()]));
        assert_eq!(service.ids("keys"), BTreeSet::from(["key".to_owned()]));
        let queue = service.get("/v1/queue").is(200).json();
        assert_eq!(
            (&queue["running"], &queue["waiting"]),
            (&0.into(), &0.into())
        );
        service.check_reply(name, case);
        let job = format!("/v1/jobs/{name}");
        service.delete(&job).is(204);
        service.get(&job).refused(404);
    }
    hits
}

/// With all jobs and keys removed, nothing of them stays on the disk, not even after another kill.
fn nothing_is_left(server: &mut Server) {
    for client in ["first", "second"] {
        Service::new(server, client).delete("/v1/keys/key").is(204);
    }
    server.kill();
    server.restart();
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let files = files_below(&server.state());
        let sizes = files
            .iter()
            .filter_map(|path| Some((fs::metadata(path).ok()?.len(), path)));
        // The database and its log stay; a chunk, a key or a reply is larger.
        let large: Vec<_> = sizes
            .filter(|(_, path)| {
                !path.display().to_string().contains("sqlite")
                    && !path.display().to_string().contains(".db")
            })
            .filter(|&(size, _)| size > 100_000)
            .collect();
        if large.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "left on the disk: {large:?}");
        thread::sleep(Duration::from_millis(100));
    }
    for client in ["first", "second"] {
        let account = Service::new(server, client)
            .get("/v1/account")
            .is(200)
            .json();
        assert_eq!(account["stored_bytes"], 0, "{account}");
        assert_eq!(account["open_jobs"], 0, "{account}");
    }
}
