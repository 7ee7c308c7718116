//! What the service adds to the time of an evaluation.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use sordino_protocol::api::Chunks;

use crate::cases::of_model;
use crate::files::{folder, run};
use crate::server::{Server, Setup};
use crate::service::{Service, new_job};

/// Chunks on their way at once, as `sordino submit` sends them.
const AT_ONCE: usize = 3;

/// The time of a job, from its first byte on the way until the reply is a file, beside that of the command and of copies of both files.
///
/// `SORDINO_OVERHEAD_MODEL` names a model, `SORDINO_OVERHEAD_IMAGES` an IDX file of images for it, `SORDINO_OVERHEAD_BATCH` how many of them
/// make a job of ten seconds or more, `SORDINO_OVERHEAD_ROUNDS` how often both are measured, in turns.
#[test]
#[ignore = "minutes, and wants the machine for itself"]
fn the_service_adds_little_to_a_long_evaluation() {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = variable(
        "SORDINO_OVERHEAD_MODEL",
        "models/lenet-fashion-mnist.safetensors",
    );
    let data = std::env::var("SORDINO_DATA").map_or(root.join("../shared/data"), PathBuf::from);
    let images = variable(
        "SORDINO_OVERHEAD_IMAGES",
        "mnist/train-images-idx3-ubyte.gz",
    );
    let images = data.join(images);
    if !images.exists() {
        println!("skipped: no {}", images.display());
        return;
    }
    let batch = variable("SORDINO_OVERHEAD_BATCH", "60000");
    let rounds: usize = variable("SORDINO_OVERHEAD_ROUNDS", "3")
        .parse()
        .expect("a number");
    let folder = folder("overhead");
    let compile = format!(
        "{} --packing element-wise --batch {batch}",
        root.join(model).display()
    );
    first_images(&images, batch.parse().expect("a number"), &folder);
    let case = of_model("long", folder.clone(), &compile, "first-idx3-ubyte");
    let server = Server::start(&folder.join("."), Setup::new(&[&case], &["a"]));
    let mut service = Service::new(&server, "a");
    service.register("key", &case);
    let key = case.key.as_ref().map(|_| "key");
    let keys = key.map_or("", |_| "--keys evaluation.key");
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        settle();
        let begun = Instant::now();
        fs::copy(folder.join("request"), folder.join("copied")).expect("a copy");
        let evaluate = "evaluate --plan server.plan --request copied --out local --force";
        run(&folder, &format!("{evaluate} {keys}")).good();
        fs::copy(folder.join("local"), folder.join("copied-back")).expect("a copy");
        times[0].push(begun.elapsed().as_secs_f64());
        settle();
        let (id, begun) = (format!("round-{round}"), Instant::now());
        let job = format!("/v1/jobs/{id}");
        service.put(&job, &new_job(&case, key)).is(201);
        upload(&server, &job, &folder.join("request"));
        let uploaded = begun.elapsed().as_secs_f64();
        service.post(&format!("{job}/start")).is(202);
        let job = service.wait(&id);
        let answer = service.get(&format!("/v1/jobs/{id}/reply")).is(200);
        fs::write(folder.join("served"), &answer.body).expect("a file");
        times[1].push(begun.elapsed().as_secs_f64());
        assert!(answer.body == case.reply);
        println!(
            "round {round}: command and copies {:.2} s, service {:.2} s, of which {uploaded:.2} s for the upload and {:.2} s evaluated",
            times[0][round],
            times[1][round],
            job["evaluated_seconds"].as_f64().unwrap_or_default()
        );
        service.delete(&format!("/v1/jobs/{id}")).is(204);
    }
    let [local, served] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let allowed = 1.2 * local + 0.5;
    println!(
        "{} images, request of {} MB: median {local:.2} s by the command, {served:.2} s by the service ({:+.1} %), allowed {allowed:.2} s",
        case.images,
        case.request.len() / 1_000_000,
        (served / local - 1.0) * 100.0
    );
    assert!(local >= 10.0, "a job of ten seconds is asked for");
    assert!(served <= allowed);
}

/// Sends a file on some connections at once, each chunk read when it is its turn.
fn upload(server: &Server, target: &str, file: &Path) {
    let bytes = fs::metadata(file).expect("a request").len();
    let next = AtomicU64::new(0);
    let send = || {
        let mut service = Service::new(server, "a");
        let mut file = File::open(file).expect("a request");
        while let Some(range) = Chunks::range(bytes, next.fetch_add(1, Ordering::Relaxed)) {
            let mut chunk = vec![0; (range.end - range.start) as usize];
            file.seek(SeekFrom::Start(range.start))
                .expect("a place in the file");
            file.read_exact(&mut chunk).expect("a chunk");
            let number = range.start / sordino_protocol::api::CHUNK_BYTES;
            service.put_chunk(target, number, &chunk).is(204);
        }
    };
    thread::scope(|scope| {
        (0..AT_ONCE).for_each(|_| drop(scope.spawn(send)));
    });
}

/// Lets the disk finish what the one side wrote, so that the other does not wait for it.
fn settle() {
    // Where there is no such command the times are the worse for it.
    let _ = Command::new("sync").status();
}

/// The first images of an IDX file, as a file in a folder.
fn first_images(file: &Path, count: u32, folder: &Path) {
    let mut bytes = Vec::new();
    let file = File::open(file).expect("images");
    let mut whole = flate2::read::GzDecoder::new(file);
    whole
        .read_to_end(&mut bytes)
        .expect("a compressed IDX file");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let count = count.min(number(4));
    let length = 16 + (count * number(8) * number(12)) as usize;
    bytes.truncate(length);
    bytes[4..8].copy_from_slice(&count.to_be_bytes());
    fs::write(folder.join("first-idx3-ubyte"), bytes).expect("a file");
}
