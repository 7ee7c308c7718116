//! Senders and readers that take for ever: each is cut off, and none holds up the others.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::cases::plain;
use crate::server::Server;
use crate::service::{chunk_request, new_job, post};
use crate::wire::Request;

/// How long a slow sender may hold its connection.
const LONGEST: Duration = Duration::from_secs(45);

/// What a slow client does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slow {
    /// Connects and says nothing.
    Silent,
    /// Sends a head, byte by byte, without an end.
    Head,
    /// Sends a message, byte by byte.
    Message,
    /// Sends most of a chunk, and then no more.
    StalledChunk,
    /// Sends a chunk, byte by byte.
    Chunk,
    /// Sends a body in pieces without an end.
    Endless,
}

const ALL: [Slow; 6] = [
    Slow::Silent,
    Slow::Head,
    Slow::Message,
    Slow::StalledChunk,
    Slow::Chunk,
    Slow::Endless,
];

pub(super) type Senders<'scope> = Vec<(Slow, ScopedJoinHandle<'scope, Option<Duration>>)>;

/// Starts some slow senders of each sort.
pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, server: &Server) -> Senders<'scope> {
    let (address, token) = (server.address.clone(), server.client("slow").token.clone());
    let job = Request::new("PUT", "/v1/jobs/slow")
        .json(&new_job(plain(), None))
        .token(&token);
    let _ = crate::wire::once(&address, &job);
    let start = |slow: Slow| {
        let (address, token) = (address.clone(), token.clone());
        (slow, scope.spawn(move || send(slow, &address, &token)))
    };
    ALL.iter().flat_map(|&slow| [slow; 4]).map(start).collect()
}

/// What became of them, in words, and whether all were cut off in time.
pub(super) fn finish(senders: Senders<'_>) -> (String, bool) {
    let times: Vec<(Slow, Option<Duration>)> = senders
        .into_iter()
        .map(|(slow, thread)| (slow, thread.join().ok().flatten()))
        .collect();
    let words: Vec<String> = times
        .iter()
        .map(|(slow, time)| match time {
            Some(time) => format!("{slow:?} {time:.0?}"),
            None => format!("{slow:?} not cut off"),
        })
        .collect();
    let all = times.iter().all(|(_, time)| time.is_some());
    (words.join(", "), all)
}

/// Sends slowly until the server has enough; how long that took.
fn send(slow: Slow, address: &str, token: &str) -> Option<Duration> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let chunk = chunk_request("/v1/jobs/slow", 0, &plain().request).token(token);
    let message = Request::new("PUT", "/v1/jobs/slower")
        .json(&new_job(plain(), None))
        .token(token);
    let chunked = Request::new("PUT", "/v1/jobs/slower")
        .header("Transfer-Encoding", "chunked")
        .header("Content-Type", "application/json");
    let (at_once, slowly): (Vec<u8>, Vec<u8>) = match slow {
        Slow::Silent => (Vec::new(), Vec::new()),
        Slow::Head => (
            Vec::new(),
            post("/v1/jobs/slow/start")
                .header("X", "x".repeat(1000))
                .head(),
        ),
        Slow::Message => (message.head(), message.body),
        Slow::StalledChunk => (
            [chunk.head(), chunk.body[..chunk.body.len() - 1000].to_vec()].concat(),
            Vec::new(),
        ),
        Slow::Chunk => (chunk.head(), chunk.body),
        Slow::Endless => (chunked.token(token).head(), b"1\r\n \r\n".repeat(100_000)),
    };
    let begun = Instant::now();
    let _ = stream.write_all(&at_once);
    let mut slowly = slowly.into_iter();
    stream
        .set_read_timeout(Some(Duration::from_millis(400)))
        .expect("a timeout");
    let mut answer = [0; 4096];
    while begun.elapsed() < LONGEST {
        if let Some(byte) = slowly.next()
            && stream.write_all(&[byte]).is_err()
        {
            return Some(begun.elapsed());
        }
        match stream.read(&mut answer) {
            // An answer without an end of the connection: what follows is read on.
            Ok(1..) => {}
            Ok(0) => return Some(begun.elapsed()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Some(begun.elapsed()),
        }
    }
    None
}
