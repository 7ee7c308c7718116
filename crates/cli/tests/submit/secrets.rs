//! Nothing of a secret key, and no token, reaches the server's disk or log, or in the key's case the wire.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use sordino_container::HEADER_BYTES;

use crate::cases::{deep, plain, rotated};
use crate::files::{files_below, folder};
use crate::server::{Server, Setup};
use crate::service::Service;
use crate::submission::{Submission, submit};

/// Coefficients in a row that count as a piece of the key.
const WINDOW: usize = 16;

/// Finds any of many texts in bytes.
struct Search {
    texts: Vec<(String, Vec<u8>)>,
    /// Texts by their first eight bytes, and a filter before the table.
    by_start: HashMap<[u8; 8], Vec<usize>>,
    starts: Vec<bool>,
}

impl Search {
    fn new(texts: Vec<(String, Vec<u8>)>) -> Self {
        let mut by_start: HashMap<[u8; 8], Vec<usize>> = HashMap::new();
        let mut starts = vec![false; 1 << 16];
        for (index, (_, text)) in texts.iter().enumerate() {
            let start = text[..8].try_into().expect("texts of eight bytes or more");
            by_start.entry(start).or_default().push(index);
            starts[usize::from(u16::from_le_bytes([text[0], text[7]]))] = true;
        }
        Self {
            texts,
            by_start,
            starts,
        }
    }

    /// What is found first, if anything.
    fn find(&self, bytes: &[u8]) -> Option<&str> {
        bytes.windows(8).enumerate().find_map(|(at, window)| {
            if !self.starts[usize::from(u16::from_le_bytes([window[0], window[7]]))] {
                return None;
            }
            let mut candidates = self.by_start.get(window)?.iter();
            let found = candidates.find(|&&index| bytes[at..].starts_with(&self.texts[index].1))?;
            Some(self.texts[*found].0.as_str())
        })
    }
}

/// The payload of a secret key file.
fn coefficients(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).expect("a secret key");
    let metadata = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
    let payload = bytes[HEADER_BYTES + metadata..].to_vec();
    assert!(payload.len() >= 4096 && payload.iter().all(|&byte| byte < 3));
    payload
}

/// Windows of the key one behind the other, written in every way that somebody might write them: whoever copies twice as many coefficients
/// in a row copies one of them whole.
fn renderings(key: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut texts = Vec::new();
    for (number, window) in key.chunks_exact(WINDOW).enumerate() {
        // One coefficient again and again may stand anywhere.
        if (0..3).any(|value| window.iter().filter(|&&byte| byte == value).count() > WINDOW - 3) {
            continue;
        }
        let mut add = |what: &str, text: Vec<u8>| {
            texts.push((format!("window {number} as {what}"), text));
        };
        let signed: Vec<u8> = window.iter().map(|byte| byte.wrapping_sub(1)).collect();
        for (what, bytes) in [("bytes", window), ("signed bytes", &signed[..])] {
            let numbers = || bytes.iter().map(|&byte| i64::from(byte as i8));
            add(what, bytes.to_vec());
            add(&format!("{what} in hexadecimal"), hexadecimal(bytes, false));
            add(
                &format!("{what} in capital hexadecimal"),
                hexadecimal(bytes, true),
            );
            add(
                &format!("{what} of 32 bits"),
                numbers().flat_map(|n| (n as i32).to_le_bytes()).collect(),
            );
            add(
                &format!("{what} of 64 bits"),
                numbers().flat_map(i64::to_le_bytes).collect(),
            );
            let words: Vec<String> = numbers().map(|n| n.to_string()).collect();
            add(&format!("{what} in a list"), words.join(",").into_bytes());
            add(
                &format!("{what} in a spaced list"),
                words.join(", ").into_bytes(),
            );
            // Where the window starts within three bytes of base64 is not known; four characters fit at any of the places.
            for skipped in 0..3 {
                let inner = &bytes[skipped..skipped + 12];
                add(
                    &format!("{what} in base64"),
                    STANDARD.encode(inner).into_bytes(),
                );
                add(
                    &format!("{what} in base64 for addresses"),
                    URL_SAFE.encode(inner).into_bytes(),
                );
            }
        }
        let packed: Vec<u8> = window
            .chunks(4)
            .map(|four| four.iter().rev().fold(0, |all, byte| all << 2 | byte))
            .collect();
        // Two bits a coefficient: four windows' worth would be needed for a text that stands nowhere by chance, so take what follows too.
        if let Some(more) = key.get(number * WINDOW + WINDOW..(number + 2) * WINDOW) {
            let rest = more
                .chunks(4)
                .map(|four| four.iter().rev().fold(0, |all, byte| all << 2 | byte));
            add("two bits each", packed.into_iter().chain(rest).collect());
        }
    }
    texts
}

fn hexadecimal(bytes: &[u8], capital: bool) -> Vec<u8> {
    let digits = bytes.iter().map(|byte| match capital {
        true => format!("{byte:02X}"),
        false => format!("{byte:02x}"),
    });
    digits.collect::<String>().into_bytes()
}

/// The token as it is, and encoded.
fn token_renderings(token: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = token.as_bytes();
    let mut texts = vec![
        ("the token".to_owned(), bytes.to_vec()),
        (
            "the token in hexadecimal".to_owned(),
            hexadecimal(bytes, false),
        ),
    ];
    for skipped in 0..3 {
        let inner = &bytes[skipped..skipped + (bytes.len() - skipped) / 3 * 3];
        texts.push((
            "the token in base64".to_owned(),
            STANDARD.encode(inner).into_bytes(),
        ));
    }
    texts
}

#[test]
fn the_search_finds_what_is_there() {
    let key: Vec<u8> = (0..4096u32)
        .map(|k| (k.wrapping_mul(2_654_435_761) >> 16) as u8 % 3)
        .collect();
    let search = Search::new(renderings(&key));
    assert_eq!(search.find(&vec![1; 10_000]), None);
    let piece = &key[1001..1001 + 3 * WINDOW];
    let list: Vec<String> = piece.iter().map(u8::to_string).collect();
    for hidden in [
        piece.to_vec(),
        hexadecimal(piece, false),
        STANDARD.encode(piece).into_bytes(),
        STANDARD.encode([&[7], piece].concat()).into_bytes(),
        STANDARD.encode([&[7, 7], piece].concat()).into_bytes(),
        format!("[{}]", list.join(",")).into_bytes(),
    ] {
        let bytes = [vec![9; 777], hidden, vec![9; 555]].concat();
        assert!(search.find(&bytes).is_some());
    }
}

/// Passes connections on and keeps what goes over them.
struct Tap {
    address: String,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (server, all) = (server.to_owned(), seen.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else {
                    return;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let [from, to] = [from, to].map(|end| end.try_clone().expect("a socket"));
                    let all = all.clone();
                    std::thread::spawn(move || pass(from, to, &all));
                }
            }
        });
        Self { address, seen }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, all: &Mutex<Vec<u8>>) {
    let mut whole = Vec::new();
    let mut piece = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        whole.extend_from_slice(&piece[..count]);
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    all.lock().expect("no panic").extend_from_slice(&whole);
}

#[test]
fn a_secret_key_stays_with_the_client() {
    let folder = folder("secrets");
    let cases = [plain(), deep(), rotated()];
    let setup = Setup::new(&cases, &["a"]).flags("--backend portable");
    let mut server = Server::start(&folder, setup);
    let tap = Tap::before(&server.address);
    let mut keys = Vec::new();
    for case in cases {
        let mut submission = Submission::new(&server, "a", case, "tapped");
        submission.url = format!("http://{}", tap.address);
        // Jobs stay, so that requests and replies can be searched too.
        submit(&submission, "--keep-job").good();
        keys.push(coefficients(&submission.secret_key()));
        // Errors are in the log as well.
        let mut service = Service::new(&server, "a");
        service.get("/v1/jobs/of-nobody").refused(404);
        let mut wrong = Service::with_token(&server, &format!("{}x", submission.token));
        wrong.get("/v1/jobs").refused(401);
    }
    let jobs = Service::new(&server, "a").ids("jobs");
    assert_eq!(jobs.len(), cases.len(), "the jobs are kept");
    // What is there while it runs, and what is there afterwards.
    let running = contents(&server.state());
    server.signal("-TERM");
    assert!(server.ended(Duration::from_secs(60)).success());
    let stopped = contents(&server.state());
    let mut places = vec![
        ("the log".to_owned(), server.log().into_bytes()),
        (
            "the wire".to_owned(),
            tap.seen.lock().expect("no panic").clone(),
        ),
    ];
    let on_disk = running.len() + stopped.len();
    places.extend(running);
    places.extend(stopped);
    let uploaded: usize = cases.iter().map(|case| case.request.len()).sum();
    let searched: usize = places.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(
        places[1].1.len() > uploaded && on_disk > 4 && searched > 3 * uploaded,
        "{searched} bytes"
    );
    let keys = Search::new(keys.iter().flat_map(|key| renderings(key)).collect());
    let token = Search::new(token_renderings(&server.client("a").token));
    for (place, bytes) in &places {
        assert_eq!(keys.find(bytes), None, "in {place}");
        // The client sends it, and over plain HTTP it can be seen there.
        assert_eq!(
            token.find(bytes).is_some(),
            place == "the wire",
            "in {place}"
        );
    }
    println!(
        "searched {} places, {} MB",
        places.len(),
        searched / 1_000_000
    );
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = files_below(folder).into_iter();
    let read = |path: std::path::PathBuf| Some((path.display().to_string(), fs::read(&path).ok()?));
    files.filter_map(read).collect()
}
