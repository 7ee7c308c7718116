//! Many clients at once: no errors, memory under the limit, everybody gets on.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cases::{plain, shallow};
use crate::files::folder;
use crate::server::{Server, Setup};
use crate::service::Service;

const CLIENTS: usize = 32;

/// Most memory of the server.
const MEMORY_MIB: u64 = 512;

#[test]
fn many_clients_at_once_all_get_on() {
    load(seconds(8), 0.3);
}

#[test]
#[ignore = "five minutes of load"]
fn many_clients_all_get_on_for_minutes() {
    load(seconds(300), 0.5);
}

fn seconds(default: u64) -> Duration {
    let given = std::env::var("SORDINO_LOAD_SECONDS").ok();
    Duration::from_secs(given.map_or(default, |text| text.parse().expect("a number")))
}

/// What a client did.
struct Done {
    jobs: usize,
    timings: Vec<(&'static str, Duration)>,
    /// From `start` until it was done.
    computed: Vec<Duration>,
}

/// Loads a server for so long; the client with the fewest jobs must have at least `fair` times as many as the one with the most.
fn load(time: Duration, fair: f64) {
    let names: Vec<String> = (0..CLIENTS)
        .map(|number| format!("client-{number:02}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let setup =
        Setup::new(&[plain(), shallow()], &names).with(&format!("memory = \"{MEMORY_MIB}MiB\""));
    let mut server = Server::start(&folder("load"), setup);
    for name in &names {
        Service::new(&server, name).register("key", shallow());
    }
    let begun = Instant::now();
    let until = begun + time;
    let all: Vec<Done> = thread::scope(|scope| {
        let services = names.iter().map(|name| Service::new(&server, name));
        let threads: Vec<_> = services
            .map(|service| scope.spawn(move || one_client(service, until)))
            .collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results
            .map(|done| done.expect("a client without errors"))
            .collect()
    });
    let elapsed = begun.elapsed().as_secs_f64();
    server.assert_alive();
    let record = report(&all, elapsed, server.peak_memory());
    println!("{record:#}");
    if let Ok(path) = std::env::var("SORDINO_LOAD_RECORD") {
        std::fs::write(path, format!("{record:#}\n")).expect("the record");
    }
    if let Some(peak) = record["peak_bytes"].as_u64() {
        assert!(peak < MEMORY_MIB << 20, "{peak} bytes at most");
    }
    let [fewest, most] =
        ["fewest", "most"].map(|name| record["jobs"][name].as_f64().expect("jobs"));
    assert!(
        fewest >= 1.0 && fewest / most >= fair,
        "{fewest} to {most} jobs a client"
    );
}

/// Small jobs one after the other, of two networks in turn.
fn one_client(mut service: Service, until: Instant) -> Done {
    let (mut jobs, mut computed) = (0, Vec::new());
    while Instant::now() < until {
        let (case, key) = [(plain(), None), (shallow(), Some("key"))][jobs % 2];
        let id = format!("job-{jobs}");
        service.begin(&id, case, key);
        let started = Instant::now();
        assert_eq!(service.wait(&id)["state"], "done");
        computed.push(started.elapsed());
        service.check_reply(&id, case);
        service.delete(&format!("/v1/jobs/{id}")).is(204);
        jobs += 1;
    }
    Done {
        jobs,
        timings: service.timings,
        computed,
    }
}

fn report(all: &[Done], elapsed: f64, peak: Option<u64>) -> Value {
    let mut by_route: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for &(route, time) in all.iter().flat_map(|done| &done.timings) {
        by_route.entry(route).or_default().push(time);
        by_route.entry("all").or_default().push(time);
    }
    let requests = by_route["all"].len();
    let latencies: BTreeMap<&str, Value> = by_route
        .into_iter()
        .map(|(route, times)| (route, latency(times)))
        .collect();
    let counts = || all.iter().map(|done| done.jobs);
    let jobs: usize = counts().sum();
    json!({
        "clients": all.len(),
        "seconds": elapsed,
        "requests": requests,
        "requests_per_second": requests as f64 / elapsed,
        "latency_ms": latencies,
        "start_to_done_ms": latency(all.iter().flat_map(|done| done.computed.clone()).collect()),
        "jobs": {
            "all": jobs,
            "per_second": jobs as f64 / elapsed,
            "fewest": counts().min(),
            "most": counts().max(),
        },
        "memory_limit_bytes": MEMORY_MIB << 20,
        "peak_bytes": peak,
    })
}

fn latency(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times
            .get(index)
            .map_or(0.0, |time| (time.as_secs_f64() * 1e5).round() / 1e2)
    };
    json!({"count": times.len(), "p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}
