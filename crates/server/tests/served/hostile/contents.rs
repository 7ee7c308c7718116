//! Files that are sent as they should be and are not what they should be: requests and keys with damage behind digests that fit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sordino_container::{HEADER_BYTES, Kind, Overwrite, to_bytes};
use sordino_protocol::api::CHUNK_BYTES;

use crate::cases::{deep, rotated, shallow, stranger};
use crate::files::Case;
use crate::hostile::attacker::{Attacker, Expect};
use crate::mutation::{self, mutate};
use crate::service::{JOB_PATIENCE, chunk_request, post};
use crate::wire::Answer;

/// A file whose digest fits may be evaluated, whatever it holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sealed {
    Yes,
    No,
}

pub(super) fn attack(attacker: &mut Attacker<'_>, times: usize) {
    let case = rotated();
    let key = case.key.as_deref().expect("a key");
    register(attacker, "good", json!(case.parameters), key, &[200]);
    for _ in 0..times {
        for (what, bytes, sealed) in damaged(&case.request, Kind::Request, attacker) {
            job(attacker, what, case, &bytes, "good", sealed);
        }
        for (what, bytes, sealed) in damaged(
            shallow().key.as_ref().expect("a key"),
            Kind::EvaluationKey,
            attacker,
        ) {
            key_file(attacker, what, &bytes, sealed);
        }
    }
    mixed_up(attacker);
}

/// The parts of a file.
fn parts(bytes: &[u8]) -> (Value, &[u8]) {
    let length = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
    let (metadata, payload) = bytes[HEADER_BYTES..].split_at(length);
    (serde_json::from_slice(metadata).expect("JSON"), payload)
}

/// A file with damage, of many sorts.
fn damaged(
    good: &[u8],
    kind: Kind,
    attacker: &mut Attacker<'_>,
) -> Vec<(&'static str, Vec<u8>, Sealed)> {
    let (metadata, payload) = parts(good);
    let seal =
        |metadata: &Value, payload: &[u8]| to_bytes(kind, metadata, payload).expect("a file");
    let mut files = Vec::new();
    // Header: magic, version, kind, lengths, digest.
    for (at, patch) in [
        (0usize, &[0u8][..]),
        (7, &[1]),
        (8, &[2]),
        (8, &[0xFF, 0xFF]),
        (10, &[1]),
        (10, &[3]),
        (10, &[6]),
        (10, &[0xFF, 0xFF]),
        (12, &[0; 4]),
        (12, &[0xFF; 4]),
        (12, &[0, 0, 0, 1]),
        (16, &[0; 8]),
        (16, &[0xFF; 8]),
        (16, &[0, 0, 0, 0, 0, 1, 0, 0]),
        (24, &[0; 32]),
        (55, &[0x5A]),
    ] {
        let mut copy = good.to_vec();
        copy[at..at + patch.len()].copy_from_slice(patch);
        files.push(("header", copy, Sealed::No));
    }
    // Content that does not fit the digest.
    for _ in 0..60 {
        let mut damage = mutation::Random::new(attacker.random.next());
        files.push(("damage", mutate(&mut damage, good), Sealed::No));
    }
    // Metadata that says something else, behind a digest that fits.
    let strange = [
        json!(null),
        json!(0),
        json!(1),
        json!(-1),
        json!(u64::MAX),
        json!(u32::MAX),
        json!(1e300),
        json!("x"),
        json!([]),
        json!({}),
        json!("0".repeat(64)),
        json!([0, 0]),
    ];
    for field in metadata.as_object().expect("an object").keys() {
        for value in &strange {
            let mut other = metadata.clone();
            other[field] = value.clone();
            files.push(("metadata", seal(&other, payload), Sealed::Yes));
        }
        let mut other = metadata.clone();
        other.as_object_mut().expect("an object").remove(field);
        files.push(("metadata", seal(&other, payload), Sealed::Yes));
    }
    for other in [
        json!(null),
        json!([]),
        json!({}),
        json!({"a": "b".repeat(900_000)}),
    ] {
        files.push(("metadata", seal(&other, payload), Sealed::Yes));
    }
    let mut other = metadata.clone();
    other["colour"] = json!("red");
    files.push(("metadata", seal(&other, payload), Sealed::Yes));
    for (field, value) in [
        ("ring_degree", json!(1 << 15)),
        ("ring_degree", json!(0)),
        ("primes", json!([])),
        ("primes", json!([7])),
        ("primes", json!([u64::MAX])),
        ("insecure_for_tests", json!(true)),
    ] {
        let mut other = metadata.clone();
        other["parameters"][field] = value;
        files.push(("parameters in metadata", seal(&other, payload), Sealed::Yes));
    }
    // Residues that are not below their prime, and a payload of another size.
    for at in [0, payload.len() / 3, payload.len() - 8] {
        let mut other = payload.to_vec();
        other[at..at + 8].fill(0xFF);
        files.push(("residue out of range", seal(&metadata, &other), Sealed::Yes));
    }
    files.push((
        "residues out of range",
        seal(&metadata, &vec![0xFF; payload.len()]),
        Sealed::Yes,
    ));
    files.push((
        "residues of zero",
        seal(&metadata, &vec![0; payload.len()]),
        Sealed::Yes,
    ));
    for other in [
        &payload[..payload.len() - 1],
        &payload[..0],
        &[payload, &[0]].concat(),
        &payload.repeat(2),
    ] {
        files.push(("size of the payload", seal(&metadata, other), Sealed::Yes));
    }
    // Other kinds of file as they are.
    for name in ["server.plan", "client.plan", "reply"] {
        files.push((
            "another file",
            std::fs::read(shallow().path(name)).expect(name),
            Sealed::Yes,
        ));
    }
    files.push(("no file", b"SORDINO\0".to_vec(), Sealed::No));
    files.push(("no file", vec![b'S'], Sealed::No));
    files.push(("no file", attacker.random.bytes(100_000), Sealed::No));
    files
}

/// Makes what a target names and sends a file to it; false where it was refused before.
fn send(
    attacker: &mut Attacker<'_>,
    what: &'static str,
    target: &str,
    body: &Value,
    bytes: &[u8],
) -> bool {
    let request = attacker.request("PUT", target).json(body);
    if attacker.attack(what, &request, Expect::Answer).status != 201 {
        return false;
    }
    for (number, chunk) in (0..).zip(bytes.chunks(CHUNK_BYTES as usize)) {
        let request = chunk_request(target, number, chunk).token(&attacker.token);
        let answer = attacker.attack(what, &request, Expect::Answer);
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    true
}

fn remove(attacker: &mut Attacker<'_>, target: &str) {
    let request = attacker.request("DELETE", target);
    let answer = attacker.attack("removed again", &request, Expect::Answer);
    assert!(matches!(answer.status, 204 | 404), "{answer:?}");
}

/// A job of a damaged request: refused when it is made or started, or failed with a problem that the reply repeats.
fn job(
    attacker: &mut Attacker<'_>,
    what: &'static str,
    case: &Case,
    bytes: &[u8],
    key: &str,
    sealed: Sealed,
) {
    let target = "/v1/jobs/damaged";
    let body = json!({"model": case.name, "plan": case.plan, "key": key, "images": case.images, "bytes": bytes.len()});
    if send(attacker, what, target, &body, bytes) {
        let start = post(&format!("{target}/start")).token(&attacker.token);
        let answer = attacker.attack(what, &start, Expect::Answer);
        match answer.status {
            202 => over(attacker, what, target, bytes == case.request, sealed),
            status => assert_eq!(status, 422, "{what}: {answer:?}"),
        }
    }
    remove(attacker, target);
}

fn over(attacker: &mut Attacker<'_>, what: &'static str, target: &str, same: bool, sealed: Sealed) {
    let until = Instant::now() + JOB_PATIENCE;
    let job = loop {
        // Polling is no attack, and not counted as one.
        let request = attacker.request("GET", target);
        let job = attacker.ask(&request).is(200).json();
        if !matches!(job["state"].as_str(), Some("queued" | "running")) {
            break job;
        }
        assert!(Instant::now() < until, "{what}: {job}");
        std::thread::sleep(Duration::from_millis(3));
    };
    let request = attacker.request("GET", &format!("{target}/reply"));
    let reply = attacker.attack(what, &request, Expect::Answer);
    match job["state"].as_str() {
        Some("failed") => {
            assert_eq!(reply.status, 422, "{what}: {job} {reply:?}");
            assert_eq!(reply.json(), job["problem"], "{what}");
        }
        Some("done") => {
            assert!(
                same || sealed == Sealed::Yes,
                "{what}: damage was evaluated: {job}"
            );
            assert_eq!(reply.status, 200, "{what}: {reply:?}");
        }
        _ => panic!("{what}: {job}"),
    }
}

/// Registers, sends and completes a key.
fn register(
    attacker: &mut Attacker<'_>,
    id: &str,
    parameters: Value,
    bytes: &[u8],
    expected: &[u16],
) -> Option<Answer> {
    let target = format!("/v1/keys/{id}");
    let body = json!({"parameters": parameters, "bytes": bytes.len()});
    if !send(attacker, "key", &target, &body, bytes) {
        return None;
    }
    let request = post(&format!("{target}/complete")).token(&attacker.token);
    let answer = attacker.attack("key", &request, Expect::Answer);
    assert!(expected.contains(&answer.status), "{answer:?}");
    Some(answer)
}

/// A damaged key: refused, and gone back to where chunks are sent.
fn key_file(attacker: &mut Attacker<'_>, what: &'static str, bytes: &[u8], sealed: Sealed) {
    let target = "/v1/keys/damaged";
    let same = shallow().key.as_deref() == Some(bytes);
    let answer = register(
        attacker,
        "damaged",
        json!(shallow().parameters),
        bytes,
        &[200, 422],
    );
    if let Some(answer) = answer {
        let request = attacker.request("GET", target);
        let key = attacker.ask(&request).is(200).json();
        if answer.status == 200 {
            assert!(
                same || sealed == Sealed::Yes,
                "{what}: damage was taken: {key}"
            );
            assert_eq!(key["state"], "ready");
        } else {
            assert_eq!(key["state"], "uploading");
            assert_eq!(key["chunks"]["received"], json!([]));
        }
    }
    remove(attacker, target);
}

/// Whole files in the place of others: a key of other parameters, a key of somebody else, a request for another plan.
fn mixed_up(attacker: &mut Attacker<'_>) {
    let key_of = |case: &'static Case| case.key.as_deref().expect("a key");
    let refused = register(
        attacker,
        "mixed",
        json!(deep().parameters),
        key_of(shallow()),
        &[422],
    );
    assert!(refused.is_some() || shallow().parameters == deep().parameters);
    remove(attacker, "/v1/keys/mixed");
    // Of the right parameters, but not of the secret key that the request was made with.
    let strangers = stranger_key();
    register(
        attacker,
        "mixed",
        json!(shallow().parameters),
        &strangers,
        &[200],
    );
    let target = "/v1/jobs/mixed";
    let start = || post(&format!("{target}/start"));
    for (case, key, request) in [
        (shallow(), Some("mixed"), &shallow().request),
        (shallow(), Some("good"), &shallow().request),
        (shallow(), None, &shallow().request),
        (rotated(), Some("good"), &shallow().request),
        (deep(), Some("mixed"), &shallow().request),
    ] {
        let mut body = json!({"model": case.name, "plan": case.plan, "images": case.images, "bytes": request.len()});
        if let Some(key) = key {
            body["key"] = key.into();
        }
        let what = "files that do not belong together";
        if send(attacker, what, target, &body, request) {
            let answer = attacker.attack(what, &start().token(&attacker.token), Expect::Answer);
            assert_eq!(answer.status, 422, "{body} {answer:?}");
        }
        remove(attacker, target);
    }
    let counts: BTreeMap<_, _> = attacker
        .tally
        .iter()
        .filter(|((what, _), _)| what.contains("belong"))
        .collect();
    assert!(!counts.is_empty());
}

/// Another client's evaluation key for the same parameters.
fn stranger_key() -> Vec<u8> {
    let path = crate::files::folder("stranger").join("evaluation.key");
    let key = stranger(shallow()).1.evaluation.expect("a key");
    key.write_file(&path, Overwrite::Refuse).expect("written");
    std::fs::read(path).expect("a key")
}
