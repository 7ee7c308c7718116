//! Clients that take more than their share, and disks that lose what they had: nobody else notices, and nothing is stored that
//! no quota counts.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sordino_protocol::api::CHUNK_BYTES;

use crate::cases::{deep, plain, shallow};
use crate::files::folder;
use crate::server::{Client, Server, Setup};
use crate::service::{Service, chunk_request, new_job, received};
use crate::wire::{Connection, Failure, PATIENCE, Request, once};

/// How long a call of somebody else may take.
const NOT_NOTICED: Duration = Duration::from_millis(500);

/// Files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => files(&path),
            path => vec![path],
        })
        .collect()
}

/// The slowest of some calls of another client.
fn slowest(server: &Server, client: &str, calls: usize) -> Duration {
    let mut service = Service::new(server, client);
    for _ in 0..calls {
        service.get("/v1/account").is(200);
        thread::sleep(Duration::from_millis(20));
    }
    service
        .timings
        .iter()
        .map(|&(_, time)| time)
        .max()
        .expect("calls")
}

#[test]
fn what_is_deleted_while_it_is_sent_leaves_nothing() {
    let server = Server::start(&folder("deleted"), Setup::new(&[deep()], &["a", "b"]));
    let chunk = vec![7; CHUNK_BYTES as usize];
    assert!(deep().request.len() > chunk.len());
    Service::new(&server, "a").register("key", deep());
    let mut left = 0;
    for round in 0..40 {
        let job = format!("/v1/jobs/job-{round}");
        let mut service = Service::new(&server, "a");
        service.put(&job, &new_job(deep(), Some("key"))).is(201);
        thread::scope(|scope| {
            let upload = scope.spawn(|| {
                let request = chunk_request(&job, 0, &chunk).token(&server.client("a").token);
                let mut connection = Connection::open(&server.address).expect("connects");
                connection.send(&request.bytes());
                // Half of the clients do not wait for the answer.
                match round % 2 {
                    0 => connection
                        .answer("PUT", PATIENCE)
                        .map(|answer| answer.status),
                    _ => Err(Failure::Closed),
                }
            });
            thread::sleep(Duration::from_millis(round % 8));
            service.delete(&job).is(204);
            if let Ok(status) = upload.join().expect("joins") {
                left += usize::from(status == 204);
                assert!([204, 404, 409].contains(&status), "{status}");
            }
        });
    }
    let blobs = server.state().join("blobs/chunks");
    let until = Instant::now() + Duration::from_secs(5);
    let of_jobs = || {
        files(&blobs).len()
            - deep()
                .key
                .as_ref()
                .expect("a key")
                .len()
                .div_ceil(chunk.len())
    };
    while of_jobs() > 0 {
        assert!(
            Instant::now() < until,
            "{:?}, {left} kept in time",
            files(&blobs)
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn contents_of_one_chunk_at_once_leave_one() {
    let server = Server::start(&folder("contents"), Setup::new(&[deep()], &["a"]));
    let mut service = Service::new(&server, "a");
    service.register("key", deep());
    service
        .put("/v1/jobs/job", &new_job(deep(), Some("key")))
        .is(201);
    let token = &server.client("a").token;
    let statuses: Vec<u16> = thread::scope(|scope| {
        let send = |value: u8| {
            let (chunk, address) = (vec![value; CHUNK_BYTES as usize], &server.address);
            let request = chunk_request("/v1/jobs/job", 0, &chunk).token(token);
            scope.spawn(move || {
                once(address, &request)
                    .map_or_else(|failure| panic!("{failure:?}"), |answer| answer.status)
            })
        };
        let sent: Vec<_> = (0..8).map(send).collect();
        sent.into_iter()
            .map(|sent| sent.join().expect("joins"))
            .collect()
    });
    assert!(statuses.contains(&204), "{statuses:?}");
    assert!(
        statuses
            .iter()
            .all(|status| [204, 409, 429].contains(status)),
        "{statuses:?}"
    );
    let kept = files(&server.state().join("blobs/chunks"));
    let key_chunks = deep()
        .key
        .as_ref()
        .expect("a key")
        .len()
        .div_ceil(CHUNK_BYTES as usize);
    assert_eq!(kept.len(), key_chunks + 1, "{kept:?}");
}

#[test]
fn long_lists_that_nobody_reads_take_little_memory() {
    const JOBS: usize = 1500;
    let mut setup = Setup::new(&[plain()], &["other"]).with("memory = \"512MiB\"");
    let many = Client::new("many").with(&format!("jobs = {JOBS}"));
    setup.clients.push(many.with("storage = \"1TiB\""));
    let mut server = Server::start(&folder("lists"), setup);
    let mut service = Service::new(&server, "many");
    for number in 0..JOBS {
        service
            .put(&format!("/v1/jobs/job-{number}"), &new_job(plain(), None))
            .is(201);
    }
    let request = Request::new("GET", "/v1/jobs").token(&server.client("many").token);
    let mut unread: Vec<Connection> = Vec::new();
    for _ in 0..300 {
        let mut connection = Connection::open(&server.address).expect("connects");
        connection.send(&request.bytes());
        unread.push(connection);
    }
    let slowest = slowest(&server, "other", 20);
    assert!(slowest < NOT_NOTICED, "{slowest:?}");
    drop(unread);
    server.assert_alive();
    if let Some(peak) = server.peak_memory() {
        assert!(peak < 512 << 20, "{peak} bytes");
    }
    // Page by page there is all of it.
    let (mut ids, mut target) = (Vec::new(), "/v1/jobs?limit=70".to_owned());
    loop {
        let page = service.get(&target).is(200).json();
        let jobs = page["jobs"].as_array().expect("jobs").clone();
        assert!(jobs.len() <= 70);
        ids.extend(
            jobs.iter()
                .map(|job| job["id"].as_str().expect("an id").to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => target = format!("/v1/jobs?limit=70&after={next}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..JOBS)
        .rev()
        .map(|number| format!("job-{number}"))
        .collect();
    assert!(ids == expected, "{} ids", ids.len());
    for bad in [
        "limit=0",
        "limit=101",
        "limit=x",
        "after=job-x",
        "after=%2e",
        "more=1",
    ] {
        let status = service.get(&format!("/v1/jobs?{bad}")).status;
        assert!([400, 404, 422].contains(&status), "{bad}: {status}");
    }
}

#[test]
fn uploads_that_wait_and_connections_that_say_nothing_keep_nobody_from_the_server() {
    let server = Server::start(
        &folder("waiting"),
        Setup::new(&[deep()], &["many", "other"]),
    );
    let mut service = Service::new(&server, "many");
    service.register("key", deep());
    service
        .put("/v1/jobs/job", &new_job(deep(), Some("key")))
        .is(201);
    let chunk = chunk_request("/v1/jobs/job", 0, &[1; CHUNK_BYTES as usize]);
    let head = chunk.token(&server.client("many").token).head();
    let mut heads = Vec::new();
    for _ in 0..1000 {
        let mut connection = Connection::open(&server.address).expect("connects");
        connection.send(&head);
        heads.push(connection);
    }
    let call = slowest(&server, "other", 20);
    assert!(call < NOT_NOTICED, "{call:?}");
    drop(heads);
    // From one address that has no limit of its own.
    let silent: Vec<_> = (0..1100)
        .map(|_| Connection::open(&server.address).expect("connects"))
        .collect();
    for _ in 0..20 {
        let begun = Instant::now();
        let health = once(&server.address, &Request::new("GET", "/health"));
        assert_eq!(health.expect("answered").status, 200);
        assert!(begun.elapsed() < NOT_NOTICED, "{:?}", begun.elapsed());
    }
    drop(silent);
}

#[test]
fn chunks_that_a_disk_lost_are_asked_for_again() {
    let mut server = Server::start(&folder("lost"), Setup::new(&[deep(), shallow()], &["a"]));
    let mut service = Service::new(&server, "a");
    // One whose length is known to be wrong, one that has other bytes, one that is gone.
    let blobs = server.state().join("blobs/chunks");
    let damage: [fn(&Path); 3] = [
        |path| fs::write(path, b"").expect("written"),
        |path| {
            fs::write(
                path,
                vec![0; fs::metadata(path).expect("there").len() as usize],
            )
            .expect("written")
        },
        |path| fs::remove_file(path).expect("removed"),
    ];
    for (round, damage) in damage.into_iter().enumerate() {
        let (key, id) = (format!("key-{round}"), format!("job-{round}"));
        let (keys, job) = (format!("/v1/keys/{key}"), format!("/v1/jobs/{id}"));
        service.register(&key, deep());
        service.put(&job, &new_job(deep(), Some(&key))).is(201);
        service.upload(&job, &deep().request);
        server.kill();
        let kept = files(&blobs);
        assert!(kept.len() > 1);
        kept.iter().for_each(|path| damage(path));
        server.restart();
        service = Service::new(&server, "a");
        // What a client does: it starts, and is told what is missing until nothing is.
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            assert!(Instant::now() < until, "round {round}");
            let found = service.get(&keys).is(200).json();
            if found["state"] == "uploading" {
                resend(
                    &mut service,
                    &keys,
                    &found,
                    deep().key.as_ref().expect("a key"),
                );
                service.post(&format!("{keys}/complete"));
                continue;
            }
            let found = service.get(&job).is(200).json();
            if found["state"] != "uploading" {
                break;
            }
            resend(&mut service, &job, &found, &deep().request);
            service.post(&format!("{job}/start"));
            let state = |state: &str| !matches!(state, "queued" | "running");
            service.wait_for(&id, state);
        }
        let done = service.wait(&id);
        assert_eq!(done["state"], "done", "{done}");
        service.check_reply(&id, deep());
        service.delete(&job).is(204);
        service.delete(&keys).is(204);
    }
    server.assert_alive();
}

/// Sends the chunks that are missing.
fn resend(service: &mut Service, of: &str, found: &serde_json::Value, bytes: &[u8]) {
    let there = received(found);
    for (number, chunk) in (0..).zip(bytes.chunks(CHUNK_BYTES as usize)) {
        if !there.contains(&number) {
            service.put_chunk(of, number, chunk).is(204);
        }
    }
}
