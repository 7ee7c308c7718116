//! Damaged HTTP: request lines, headers, lengths, bodies that do not fit them.

use crate::cases::plain;
use crate::hostile::attacker::{Attacker, Expect};
use crate::mutation::{self, mutate};
use crate::service::{chunk_request, new_job, post};
use crate::wire::{Failure, PATIENCE, Request};

/// Good requests of every sort.
fn good_requests(attacker: &Attacker<'_>) -> Vec<Request> {
    let get = |target: &str| Request::new("GET", target);
    [
        get("/v1/models"),
        get("/v1/models/plain"),
        get("/v1/models/plain/client.plan"),
        get("/v1/account"),
        get("/v1/jobs"),
        get("/v1/keys"),
        get("/v1/jobs/no-such-job"),
        get("/v1/jobs/no-such-job/reply").header("Range", "bytes=5-"),
        get("/health"),
        get("/"),
        Request::new("HEAD", "/v1/models"),
        Request::new("DELETE", "/v1/jobs/no-such-job"),
        Request::new("PUT", "/v1/jobs/damaged").json(&new_job(plain(), None)),
        chunk_request("/v1/jobs/damaged", 0, b"a chunk that is too short"),
        post("/v1/jobs/damaged/start"),
        post("/v1/jobs/damaged/cancel"),
    ]
    .map(|request| request.token(&attacker.token))
    .to_vec()
}

pub(super) fn attack(attacker: &mut Attacker<'_>, times: usize) {
    let good = good_requests(attacker);
    for _ in 0..2500 * times {
        let request = attacker.random.of(&good).clone();
        let mut damage = mutation::Random::new(attacker.random.next());
        let head = mutate(&mut damage, &request.head());
        attacker.attack_bytes("damaged head", &[head, request.body].concat());
    }
    for _ in 0..100 * times {
        for request in &good {
            let request = strange_header(attacker, request.clone());
            attacker.attack_bytes("strange header", &request.bytes());
        }
        let bytes = nonsense(attacker);
        attacker.attack_bytes("no HTTP at all", &bytes);
    }
    for _ in 0..10 * times {
        pipelined(attacker, &good);
        for request in lengths(attacker) {
            attacker.attack_bytes("length", &request);
        }
    }
    for _ in 0..5 * times {
        for request in floods(attacker) {
            attacker.attack_bytes("flood", &request);
        }
    }
}

/// The request with one header that is odd.
fn strange_header(attacker: &mut Attacker<'_>, request: Request) -> Request {
    let random = &mut attacker.random;
    const NAMES: [&str; 20] = [
        "Content-Length",
        "Transfer-Encoding",
        "Content-Digest",
        "Authorization",
        "Range",
        "Expect",
        "Connection",
        "Host",
        "Content-Type",
        "Content-Encoding",
        "If-Match",
        "If-None-Match",
        "If-Range",
        "Accept",
        "Upgrade",
        "X-Forwarded-For",
        "Cookie",
        "Origin",
        "X-HTTP-Method-Override",
        "",
    ];
    const VALUES: [&str; 34] = [
        "",
        " ",
        "0",
        "-1",
        "+5",
        "0x10",
        "5, 5",
        "5, 6",
        "18446744073709551615",
        "18446744073709551616",
        "1e3",
        "chunked",
        "chunked, chunked",
        "gzip, chunked",
        "identity",
        "Bearer",
        "Bearer ",
        "bearer x",
        "Basic dXNlcjpwYXNz",
        "bytes=0-",
        "bytes=-1",
        "bytes=9-1",
        "bytes=0-0,2-3",
        "bytes=18446744073709551616-",
        "100-continue",
        "close",
        "keep-alive, upgrade",
        "h2c",
        "*/*",
        "text/html",
        "sha-256=:AAAA:",
        "sha-256=",
        "sha-512=:AAAA:",
        "\"etag\"",
    ];
    let name = *random.of(&NAMES);
    let value = random.of(&VALUES).as_bytes().to_vec();
    let value = match random.below(8) {
        0 => [value, vec![0], b"x".to_vec()].concat(),
        1 => [value, vec![0xFF, 0xFE]].concat(),
        2 => [value, b"\r\n folded".to_vec()].concat(),
        3 => b"x".repeat(1 << random.below(14)),
        _ => value,
    };
    // Beside the one that is there, or in its place.
    let request = match random.below(3) {
        0 => request,
        _ => request.without(name),
    };
    request.header(name, value)
}

/// Bytes that are not a request.
fn nonsense(attacker: &mut Attacker<'_>) -> Vec<u8> {
    let random = &mut attacker.random;
    const LINES: [&str; 16] = [
        "GET / HTTP/9.9",
        "GET / HTTP/1.2",
        "GET /",
        "GET  / HTTP/1.1",
        "/ GET HTTP/1.1",
        "GET / HTTP/1.1 HTTP/1.1",
        "get / http/1.1",
        "PRI * HTTP/2.0",
        "\u{16}\u{3}\u{1}",
        "SSH-2.0-x",
        "GET / HTTP/0.9",
        "GET\t/\tHTTP/1.1",
        "\r\n\r\n\r\nGET / HTTP/1.1",
        "HTTP/1.1 200 OK",
        "CONNECT example.org:443 HTTP/1.1",
        "GET http://[::1 HTTP/1.1",
    ];
    match random.below(4) {
        0 => {
            let count = 1 + random.below(3000);
            random.bytes(count)
        }
        _ => format!("{}\r\nHost: x\r\n\r\n", random.of(&LINES)).into_bytes(),
    }
}

/// Several requests at once: the answers come in order, or the connection ends.
fn pipelined(attacker: &mut Attacker<'_>, good: &[Request]) {
    let mut connection = attacker.open();
    let requests: Vec<Request> = (0..8).map(|_| attacker.random.of(good).clone()).collect();
    let requests: Vec<Request> = requests
        .into_iter()
        .filter(|request| request.method == "GET")
        .collect();
    let bytes: Vec<u8> = requests.iter().flat_map(Request::bytes).collect();
    connection.send(&bytes);
    for request in &requests {
        match connection.answer("GET", PATIENCE) {
            Ok(answer) => {
                let known = !request.target.contains("no-such-job");
                assert_eq!(answer.status == 200, known, "{request:?}: {answer:?}");
                *attacker
                    .tally
                    .entry(("pipelined", answer.status))
                    .or_default() += 1;
            }
            Err(Failure::Closed) => return,
            Err(failure) => attacker.fail("pipelined", &bytes, &format!("{failure:?}")),
        }
    }
}

/// Bodies and lengths that do not belong together. The connection is ended behind them.
fn lengths(attacker: &mut Attacker<'_>) -> Vec<Vec<u8>> {
    let job = new_job(plain(), None).to_string();
    let put = || {
        attacker
            .request("PUT", "/v1/jobs/lengths")
            .header("Content-Type", "application/json")
    };
    let with = |length: &str, body: &[u8]| {
        [put().header("Content-Length", length).head(), body.to_vec()].concat()
    };
    let chunk = |length: &str, body: &[u8]| {
        let request = attacker.request("PUT", "/v1/jobs/lengths/chunks/0");
        let request = request.header("Content-Type", "application/octet-stream");
        [
            request.header("Content-Length", length).head(),
            body.to_vec(),
        ]
        .concat()
    };
    let chunked = |body: &[u8]| {
        [
            put().header("Transfer-Encoding", "chunked").head(),
            body.to_vec(),
        ]
        .concat()
    };
    let twice = put()
        .header("Content-Length", "3")
        .header("Content-Length", "4");
    let both = put()
        .header("Content-Length", "3")
        .header("Transfer-Encoding", "chunked");
    let (shorter, longer) = ((job.len() - 3).to_string(), (job.len() + 300).to_string());
    vec![
        with(&shorter, job.as_bytes()),
        with(&longer, job.as_bytes()),
        with("0", job.as_bytes()),
        with("99999999999999999999", job.as_bytes()),
        with("1099511627776", job.as_bytes()),
        with("65537", &vec![b' '; 65537]),
        with("9000000", &vec![b'['; 9_000_000]),
        [put().head(), job.clone().into_bytes()].concat(),
        chunk("4194305", &vec![7; 4_194_305]),
        chunk("1099511627776", &vec![7; 100_000]),
        chunk("4194304", &vec![7; 4000]),
        chunk("0", b""),
        chunked(b"0\r\n\r\n"),
        chunked(b"FFFFFFFFFFFFFFFF\r\nabc"),
        chunked(b"fffffffffffffffff\r\nabc"),
        chunked(b"-1\r\nabc\r\n0\r\n\r\n"),
        chunked(b"zz\r\n"),
        chunked(
            &[
                format!("{:x}\r\n{job}\r\n", job.len()).as_bytes(),
                b"0\r\n\r\n",
            ]
            .concat(),
        ),
        chunked(&b"1\r\n[\r\n".repeat(20_000)),
        chunked(
            &[
                b"1;".to_vec(),
                vec![b'e'; 100_000],
                b"\r\n[\r\n0\r\n\r\n".to_vec(),
            ]
            .concat(),
        ),
        [twice.head(), b"{}} ".to_vec()].concat(),
        [
            both.head(),
            b"0\r\n\r\nGET /v1/jobs HTTP/1.1\r\n\r\n".to_vec(),
        ]
        .concat(),
    ]
}

/// Heads of an absurd size.
fn floods(attacker: &mut Attacker<'_>) -> Vec<Vec<u8>> {
    let get = |target: &str| attacker.request("GET", target);
    let many = (0..20_000).fold(get("/v1/jobs"), |request, number| {
        request.header(&format!("X-{number}"), "x")
    });
    let hundred = (0..150).fold(get("/v1/jobs"), |request, number| {
        request.header(&format!("X-{number}"), "x")
    });
    vec![
        many.bytes(),
        hundred.bytes(),
        get("/v1/jobs").header("X", "x".repeat(2_000_000)).bytes(),
        get("/v1/jobs").header(&"x".repeat(300_000), "x").bytes(),
        get(&format!("/v1/jobs/{}", "x".repeat(60_000))).bytes(),
        get(&format!("/v1/jobs/{}", "x".repeat(3_000_000))).bytes(),
        get(&format!("/v1/jobs?{}", "x=1&".repeat(100_000))).bytes(),
        get(&"/..".repeat(20_000)).bytes(),
        Request::new(&"X".repeat(100_000), "/").bytes(),
    ]
}

/// Answers must come from the application: used where a test wants to see the document itself.
pub(super) const REFUSED: Expect = Expect::Refusal(&[400, 404, 405, 411, 413, 415, 416, 422, 431]);
