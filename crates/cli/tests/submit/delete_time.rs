//! A server learns nothing from when its job is deleted, though it chooses what is decrypted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sordino_ckks::{Ciphertexts, Scale};
use sordino_client::Client;
use sordino_plan::ClientPlan;
use sordino_protocol::{ReceivedReply, ReceivedRequest, Reply};
use sordino_ring::{ResidueMatrix, backend};

use crate::cases::plain;
use crate::files::folder;
use crate::server::{Server, Setup};
use crate::submission::{Submission, submit};

/// Runs for each of the sizes.
const RUNS: usize = 20;

/// What decrypted values are multiplied with: nearly all of them have no digits, a few or many before the point.
const FACTORS: [f64; 3] = [1e-3, 1.0, 1e3];

/// Replaces the reply of a server by forgeries of the same length, and measures from their last byte to the call that deletes the job.
struct Liar {
    address: String,
    forging: Arc<Mutex<Forging>>,
}

struct Forging {
    client: Client,
    factor: f64,
    forged: Option<Instant>,
    deleted: Option<Duration>,
}

impl Liar {
    fn before(server: &str, client: Client) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let forging = Arc::new(Mutex::new(Forging {
            client,
            factor: 1.0,
            forged: None,
            deleted: None,
        }));
        let (server, shared) = (server.to_owned(), forging.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else {
                    return;
                };
                let shared = shared.clone();
                std::thread::spawn(move || shared_connection(client, server, &shared));
            }
        });
        Self { address, forging }
    }
}

/// Passes calls and answers on, one after the other as HTTP/1.1 has them.
fn shared_connection(mut client: TcpStream, mut server: TcpStream, forging: &Mutex<Forging>) {
    for end in [&client, &server] {
        end.set_nodelay(true).expect("a socket");
    }
    while let Some((head, body)) = message(&mut client) {
        if head.starts_with("DELETE /v1/jobs/") {
            let mut forging = forging.lock().expect("no panic");
            forging.deleted = forging.forged.map(|forged| forged.elapsed());
        }
        let asks_for_reply = head.starts_with("GET /v1/jobs/") && head.contains("/reply HTTP");
        if server
            .write_all(&[head.as_bytes(), &body].concat())
            .is_err()
        {
            return;
        }
        let Some((head, mut body)) = message(&mut server) else {
            return;
        };
        if asks_for_reply && head.starts_with("HTTP/1.1 200") {
            body = forging.lock().expect("no panic").forge(&body);
        }
        if client
            .write_all(&[head.as_bytes(), &body].concat())
            .is_err()
        {
            return;
        }
        if asks_for_reply {
            forging.lock().expect("no panic").forged = Some(Instant::now());
        }
    }
}

/// The next head and body on a connection: of a given length, or in chunks, which stay as they are.
fn message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).expect("a head of text");
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.to_owned())
    };
    let mut body = Vec::new();
    if let Some(length) = header("content-length") {
        body = vec![0; length.parse().expect("a length")];
        stream.read_exact(&mut body).ok()?;
    } else if header("transfer-encoding").is_some() {
        while !body.ends_with(b"0\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            body.push(byte[0]);
        }
    }
    Some((head, body))
}

impl Forging {
    /// The key itself, times a factor, in place of the logits.
    fn forge(&self, reply: &[u8]) -> Vec<u8> {
        let shape = self.client.reply_shape();
        let honest = ReceivedReply::from_bytes(reply, &shape).expect("a reply");
        let asked = ReceivedRequest::from_bytes(&plain().request, &self.client.request_shape());
        let mut request = asked.expect("a request").header;
        (request.key_id, request.images) = (honest.header.key_id, honest.header.images);
        request.slots = honest.header.slots;
        let digest = honest.header.parents.request;
        let blocks = honest.parse(&shape).expect("blocks").into_blocks();
        let context = self.client.context();
        let forge = |block: &Ciphertexts| {
            let scale = block.scale();
            let (rows, slots) = (block.len(), context.parameters().ring_degree());
            let part = |component: usize, limb: usize| {
                let modulus = context.modulus(limb);
                let value = match component {
                    1 => (self.factor * scale.value()).round() as u64 % modulus.value(),
                    _ => 0,
                };
                let width = modulus.byte_width();
                let bytes = value.to_le_bytes()[..width].repeat(rows * slots);
                ResidueMatrix::from_bytes(rows, slots, width, bytes).expect("residues")
            };
            let parts = (0..block.components()).map(|component| {
                (0..block.limbs())
                    .map(|limb| part(component, limb))
                    .collect()
            });
            Ciphertexts::from_parts(
                context,
                parts.collect(),
                Scale::new(scale.value()).expect("a scale"),
            )
            .expect("a forgery")
        };
        let blocks = blocks.iter().map(forge).collect();
        let forged = Reply::new(&shape, &request, digest, blocks).expect("a reply");
        let bytes = forged.to_bytes().expect("bytes");
        assert_eq!(bytes.len(), reply.len());
        bytes
    }
}

/// Ranks, equal values sharing the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: f64| {
        let below = values.iter().filter(|&&other| other < value).count();
        let equal = values.iter().filter(|&&other| other == value).count();
        below as f64 + (equal - 1) as f64 / 2.0
    };
    values.iter().map(|&value| rank(value)).collect()
}

fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (middle_x, middle_y) = (mean(x), mean(y));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        x.iter()
            .zip(y)
            .map(|(x, y)| f(x - middle_x, y - middle_y))
            .sum()
    };
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

#[test]
fn ranks_correlate_as_they_should() {
    let ranked = ranks(&[3.0, 1.0, 3.0, 2.0]);
    assert_eq!(ranked, [2.5, 0.0, 2.5, 1.0]);
    assert!((correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]) - 1.0).abs() < 1e-12);
    assert!(correlation(&[1.0, 2.0, 3.0], &[1.0, 0.0, 1.0]).abs() < 1e-12);
}

#[test]
#[ignore = "a minute, and wants the machine for itself"]
fn when_a_job_is_deleted_says_nothing_of_what_is_decrypted() {
    let folder = folder("delete-time");
    let server = Server::start(&folder, Setup::new(&[plain()], &["a"]));
    let plan = std::fs::read(plain().path("client.plan")).expect("a plan");
    let plan = ClientPlan::from_bytes(&plan).expect("a plan");
    let client = Client::new(plan, backend::select(None).expect("a back end")).expect("a client");
    let liar = Liar::before(&server.address, client);
    let mut submission = Submission::new(&server, "a", plain(), "delete-time");
    submission.url = format!("http://{}", liar.address);
    let (mut factors, mut times) = (Vec::new(), Vec::new());
    for run in 0..RUNS * FACTORS.len() {
        let factor = FACTORS[run % FACTORS.len()];
        {
            let mut forging = liar.forging.lock().expect("no panic");
            (forging.factor, forging.forged, forging.deleted) = (factor, None, None);
        }
        let submission = submission.to(&format!("{run}.csv"));
        let end = submit(&submission, "");
        assert_eq!(end.code, 1, "{end:?}");
        assert!(!submission.out().exists());
        let deleted = liar.forging.lock().expect("no panic").deleted;
        factors.push(factor);
        times.push(deleted.expect("the job is deleted").as_secs_f64());
    }
    let correlation = correlation(&ranks(&factors), &ranks(&times));
    let count = times.len() as f64;
    let deviations = correlation * ((count - 2.0) / (1.0 - correlation * correlation)).sqrt();
    for factor in FACTORS {
        let of_factor = factors
            .iter()
            .zip(&times)
            .filter(|(found, _)| **found == factor);
        let mut of_factor: Vec<f64> = of_factor.map(|(_, time)| 1e3 * time).collect();
        of_factor.sort_by(f64::total_cmp);
        println!(
            "factor {factor}: {:.2} to {:.2} ms, median {:.2}",
            of_factor[0],
            of_factor[of_factor.len() - 1],
            of_factor[of_factor.len() / 2]
        );
    }
    println!("rank correlation {correlation:.3}, t = {deviations:.2} of {count} runs");
    // A two-sided p of 0.001 with 58 degrees of freedom.
    assert!(deviations.abs() < 3.466);
}
