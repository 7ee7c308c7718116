//! Chunks with wrong digests, numbers and lengths, twice, too late, and to what is not there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sordino_protocol::api::{CHUNK_BYTES, content_digest};

use crate::cases::{deep, plain, shallow};
use crate::hostile::attacker::{Attacker, Expect};
use crate::hostile::heads::REFUSED;
use crate::service::{chunk_request, new_job, new_key, post};
use crate::wire::Request;

/// A job of three chunks that is never complete.
const JOB: &str = "/v1/jobs/chunks";
const KEY: &str = "/v1/keys/chunks";

pub(super) fn attack(attacker: &mut Attacker<'_>, times: usize) {
    // Registered with the attacker's own key, so that everything but the chunks is good.
    let mut make = |target: &str, body: serde_json::Value| {
        let request = attacker.request("PUT", target).json(&body);
        let answer = attacker.attack("good", &request, Expect::Answer);
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    };
    make(KEY, new_key(shallow()));
    make(JOB, new_job(plain(), None));
    let good = &plain().request[..CHUNK_BYTES.min(plain().request.len() as u64) as usize];
    for _ in 0..60 * times {
        for value in wrong_digests(attacker, b"a small chunk") {
            for target in [JOB, KEY] {
                let request = attacker.request("PUT", &format!("{target}/chunks/0"));
                let request = request
                    .body("application/octet-stream", "a small chunk")
                    .header("Content-Digest", value.clone());
                attacker.attack("digest of a chunk", &request, REFUSED);
            }
        }
    }
    for _ in 0..5 * times {
        for number in [
            "1",
            "7",
            "1000",
            "4294967295",
            "4294967296",
            "9223372036854775807",
            "18446744073709551615",
            "18446744073709551616",
            "-1",
            "1.0",
            "0x0",
            "00",
            "%30",
            "x",
            "",
        ] {
            for target in [JOB, KEY, "/v1/jobs/none", "/v1/keys/none"] {
                let request = attacker.request("PUT", &format!("{target}/chunks/{number}"));
                let request = request
                    .body("application/octet-stream", "tiny")
                    .header("Content-Digest", content_digest(b"tiny"));
                attacker.attack("number of a chunk", &request, REFUSED);
            }
        }
        for length in [0, 1, 1000, good.len() - 1] {
            let request = chunk_request(JOB, 0, &good[..length]).token(&attacker.token);
            attacker.attack("length of a chunk", &request, REFUSED);
        }
        for more in [1, 1000] {
            let long = [good, &vec![0; more]].concat();
            let request = chunk_request(JOB, 0, &long).token(&attacker.token);
            attacker.attack("length of a chunk", &request, REFUSED);
        }
        for media_type in ["application/json", "text/plain", ""] {
            let request = chunk_request(JOB, 0, good)
                .without("Content-Type")
                .header("Content-Type", media_type);
            attacker.attack(
                "media type of a chunk",
                &request.token(&attacker.token),
                Expect::Answer,
            );
        }
        too_early(attacker);
    }
    conflicts(attacker, good);
    ranges(attacker, times);
}

/// Values of the header that are not the digest of the body.
fn wrong_digests(attacker: &mut Attacker<'_>, body: &[u8]) -> Vec<String> {
    let good = content_digest(body);
    let inner = good
        .trim_start_matches("sha-256=:")
        .trim_end_matches(':')
        .to_owned();
    let random = STANDARD.encode(attacker.random.bytes(32));
    vec![
        String::new(),
        inner.clone(),
        format!("sha-256=:{random}:"),
        format!("sha-256=:{}:", STANDARD.encode([0; 31])),
        format!("sha-256=:{}:", STANDARD.encode([0; 64])),
        "sha-256=:".to_owned(),
        "sha-256=::".to_owned(),
        "sha-256=:!!!!:".to_owned(),
        format!("sha-256={inner}"),
        format!("sha-512=:{inner}:"),
        format!("md5=:{inner}:"),
        good.replace('=', " = "),
        format!("sha-256=:{}:", "A".repeat(5000)),
        format!("sha-256=:{random}:, sha-256=:{random}:"),
        content_digest(&[body, b"x"].concat()),
    ]
}

/// What cannot be done while chunks are missing, or ever.
fn too_early(attacker: &mut Attacker<'_>) {
    for (request, expect) in [
        (post(&format!("{JOB}/start")), &[409u16][..]),
        (post(&format!("{KEY}/complete")), &[409]),
        (Request::new("GET", &format!("{JOB}/reply")), &[409]),
        (Request::new("GET", "/v1/jobs/none/reply"), &[404]),
        (Request::new("GET", "/v1/models/none"), &[404]),
        (Request::new("GET", "/v1/models/none/client.plan"), &[404]),
        (
            Request::new("PUT", JOB).json(&new_job(deep(), None)),
            &[404, 409, 422],
        ),
        (Request::new("PUT", KEY).json(&new_key(deep())), &[409]),
        (post(&format!("{JOB}/start?force=1")), &[409]),
        (post(&format!("{JOB}/stop")), &[404]),
    ] {
        let request = request.token(&attacker.token);
        let answer = attacker.attack("too early", &request, Expect::Answer);
        assert!(expect.contains(&answer.status), "{request:?} {answer:?}");
    }
}

/// The same chunk again is no conflict, another one is, and after the start every one is.
fn conflicts(attacker: &mut Attacker<'_>, good: &[u8]) {
    let token = attacker.token.clone();
    let mut attack = |request: Request, statuses: &'static [u16]| {
        let answer = attacker.attack("conflict", &request.token(&token), Expect::Answer);
        assert!(statuses.contains(&answer.status), "{statuses:?} {answer:?}");
    };
    let mut other = good.to_vec();
    other[good.len() / 2] ^= 1;
    for _ in 0..2 {
        attack(chunk_request(JOB, 0, good), &[204]);
        attack(chunk_request(JOB, 0, &other), &[409]);
    }
    for (number, chunk) in (0..)
        .zip(plain().request.chunks(CHUNK_BYTES as usize))
        .skip(1)
    {
        attack(chunk_request(JOB, number, chunk), &[204]);
    }
    attack(post(&format!("{JOB}/start")), &[202]);
    attack(chunk_request(JOB, 0, &other), &[409]);
    attack(post(&format!("{JOB}/start")), &[202]);
    attack(
        Request::new("PUT", JOB).json(&new_job(plain(), None)),
        &[200],
    );
}

/// Ranges of the finished job that make no sense.
fn ranges(attacker: &mut Attacker<'_>, times: usize) {
    let over = |answer: &crate::wire::Answer| answer.json()["state"] == "done";
    let done = (0..2000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let request = attacker.request("GET", JOB);
        over(&attacker.attack("wait", &request, Expect::Answer))
    });
    assert!(done, "the attacker's own job is evaluated too");
    let whole = &plain().reply;
    for _ in 0..8 * times {
        for range in [
            "bytes=0-",
            "bytes=-",
            "bytes=-5",
            "bytes=5-4",
            "bytes=0-0",
            "bytes=0-0,5-9",
            "bytes=99999999999-",
            "bytes=18446744073709551615-",
            "bytes=18446744073709551616-",
            "bytes=-18446744073709551616",
            "lines=0-",
            "bytes",
            "bytes=",
            "bytes=a-b",
            "bytes=0x0-",
            "bytes=1-2-3",
            "bytes= 1-",
            "BYTES=1-",
            "bytes=+1-",
            "bytes=1.5-",
            "bytes=1-,",
            ",",
            "bytes=00000000000000000000000000000000000000001-",
        ] {
            let request = attacker
                .request("GET", &format!("{JOB}/reply"))
                .header("Range", range);
            let answer = attacker.attack("range", &request, Expect::Answer);
            match answer.status {
                200 => assert!(&answer.body == whole, "{range}"),
                206 => assert!(
                    whole
                        .windows(answer.body.len().max(1))
                        .any(|part| part == answer.body),
                    "{range}"
                ),
                status => assert!(matches!(status, 400 | 416), "{range}: {answer:?}"),
            }
        }
    }
}
