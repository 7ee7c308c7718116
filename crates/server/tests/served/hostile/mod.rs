//! Thousands of requests and uploads that mean harm: each is refused with a reason, and nobody else notices.

mod attacker;
mod contents;
mod heads;
mod messages;
mod paths;
mod slow;
mod uploads;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use attacker::Attacker;

use crate::cases::{deep, plain, rotated, shallow};
use crate::files::folder;
use crate::random::Random;
use crate::server::{Client, Server, Setup};
use crate::service::{Service, new_job};

/// Most memory of the server.
const MEMORY_MIB: u64 = 512;

/// What the other client has here, which nobody else may see a byte of.
struct Victim {
    /// Ids of a key and a job that only its owner knows, as long as those that are made up.
    key: String,
    job: String,
    waiting_job: String,
    /// Bytes that stand in what belongs to it and nowhere else.
    markers: Vec<Vec<u8>>,
}

impl Victim {
    /// A client with a finished job, one that is being uploaded, and a key.
    fn new(server: &Server, random: &mut Random) -> Self {
        let mut id = || format!("victim-{:016x}", random.next());
        let (key, job, waiting_job) = (id(), id(), id());
        let mut service = Service::new(server, "victim");
        service.register(&key, shallow());
        let deep_key = format!("{key}-deep");
        service.register(&deep_key, deep());
        service.run(&job, shallow(), Some(&key));
        // A chunk that is nothing but a mark.
        let mark = random.bytes(24);
        let chunk: Vec<u8> = mark.iter().copied().cycle().take(4 << 20).collect();
        let waiting = format!("/v1/jobs/{waiting_job}");
        service
            .put(&waiting, &new_job(deep(), Some(&deep_key)))
            .is(201);
        service.put_chunk(&waiting, 0, &chunk).is(204);
        let mut markers = vec![mark, b"victim".to_vec()];
        markers.push(server.client("victim").token.clone().into_bytes());
        for bytes in [
            &shallow().request,
            &shallow().reply,
            shallow().key.as_ref().expect("a key"),
        ] {
            for _ in 0..8 {
                let at = bytes.len() / 2 + random.below(bytes.len() / 2 - 24);
                markers.push(bytes[at..at + 24].to_vec());
            }
        }
        Self {
            key,
            job,
            waiting_job,
            markers,
        }
    }
}

#[test]
fn hostile_requests_are_refused_and_nobody_else_notices() {
    attack(1);
}

#[test]
#[ignore = "minutes: ten times as many"]
fn very_many_hostile_requests_are_refused_and_nobody_else_notices() {
    attack(10);
}

fn attack(times: usize) {
    let mut random = Random::seeded("hostile requests");
    let mut setup = Setup::new(
        &[plain(), shallow(), deep(), rotated()],
        &["victim", "healthy", "slow"],
    )
    .with(&format!("memory = \"{MEMORY_MIB}MiB\""));
    for number in 0..4 {
        setup
            .clients
            .push(Client::new(&format!("attacker-{number}")));
    }
    let mut server = Server::start(&folder("hostile"), setup);
    let victim = Victim::new(&server, &mut random);
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let (tallies, healthy) = thread::scope(|scope| {
        let healthy = Service::new(&server, "healthy");
        let healthy = scope.spawn(|| healthy_client(healthy, &stop));
        let slow = slow::start(scope, &server);
        let attacks: [fn(&mut Attacker<'_>, usize); 4] = [
            heads::attack,
            paths::attack,
            messages_and_uploads,
            contents::attack,
        ];
        let attackers = attacks.into_iter().enumerate().map(|(number, attack)| {
            let mut attacker = Attacker::new(
                &server,
                &format!("attacker-{number}"),
                &victim,
                random.fork(),
            );
            scope.spawn(move || {
                attack(&mut attacker, times);
                println!(
                    "{}: {} attacks in {:.1?}",
                    attacker.name,
                    attacker.count(),
                    begun.elapsed()
                );
                attacker.tally
            })
        });
        let attackers: Vec<_> = attackers.collect();
        let results: Vec<_> = attackers.into_iter().map(|thread| thread.join()).collect();
        let (slow, all_cut_off) = slow::finish(slow);
        // Whatever went wrong: nobody waits for a client that goes on for ever.
        stop.store(true, Ordering::SeqCst);
        let healthy = healthy
            .join()
            .expect("a healthy client gets what it asks for");
        println!("slow senders: {slow}");
        assert!(all_cut_off, "a slow sender holds its connection");
        let tallies: Vec<_> = results
            .into_iter()
            .map(|tally| tally.expect("every attack is refused"))
            .collect();
        (tallies, healthy)
    });
    let mut all: BTreeMap<(&str, u16), usize> = BTreeMap::new();
    for (what, count) in tallies.into_iter().flatten() {
        *all.entry(what).or_default() += count;
    }
    let count: usize = all.values().sum();
    for ((what, status), count) in &all {
        println!("{what}: {status}: {count}");
    }
    println!(
        "{count} hostile requests in {:.1?}, beside them {healthy} healthy jobs",
        begun.elapsed()
    );
    assert!(count >= 10_000 * times, "{count} attacks");
    assert!(healthy >= 2, "{healthy} healthy jobs");
    // Some are too busy to be answered at times; most are not.
    let unavailable: usize = all
        .iter()
        .filter(|((_, status), _)| *status == 503)
        .map(|(_, count)| count)
        .sum();
    assert!(
        unavailable * 100 < count,
        "{unavailable} of {count} were put off"
    );
    server.assert_alive();
    if let Some(peak) = server.peak_memory() {
        println!("{} MiB at most", peak >> 20);
        assert!(peak < MEMORY_MIB << 20, "{peak} bytes");
    }
    // The victim has what it had.
    let mut service = Service::new(&server, "victim");
    service.check_reply(&victim.job, shallow());
    service.run("afterwards", shallow(), Some(&victim.key));
    assert!(service.ids("jobs").contains(&victim.waiting_job));
}

/// Jobs one after the other, until it is enough.
fn healthy_client(mut service: Service, stop: &AtomicBool) -> usize {
    service.register("key", shallow());
    let mut jobs = 0;
    while !stop.load(Ordering::SeqCst) {
        let (case, key) = [(plain(), None), (shallow(), Some("key"))][jobs % 2];
        let id = format!("job-{jobs}");
        service.run(&id, case, key);
        service.delete(&format!("/v1/jobs/{id}")).is(204);
        jobs += 1;
        // It is there all the time, and leaves room for the others.
        thread::sleep(std::time::Duration::from_millis(200));
    }
    jobs
}

fn messages_and_uploads(attacker: &mut Attacker<'_>, times: usize) {
    messages::attack(attacker, times);
    uploads::attack(attacker, times);
}
