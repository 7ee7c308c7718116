//! What must be the same every time, and what must not.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sordino::ring::backend;

use crate::fixture::{IMAGES, PRECISION, copies, evaluate_flags, folder, shared, sordino};

#[test]
fn the_same_model_and_flags_give_the_same_plan() {
    let folder = folder("same-plan");
    let model = shared().join("model.safetensors").display().to_string();
    for out in ["first", "second"] {
        sordino(
            &folder,
            &format!("compile {model} --batch {IMAGES} {PRECISION} --threads 1 --out {out}"),
        )
        .good();
    }
    for file in ["server.plan", "client.plan"] {
        let bytes = |out: &str| fs::read(folder.join(out).join(file)).unwrap();
        assert!(bytes("first") == bytes("second"), "{file}");
        assert!(
            bytes("first") == fs::read(shared().join("plan").join(file)).unwrap(),
            "{file}"
        );
    }
    sordino(
        &folder,
        &format!(
            "compile {model} --batch {} {PRECISION} --out third",
            IMAGES + 1
        ),
    )
    .good();
    let third = fs::read(folder.join("third/server.plan")).unwrap();
    assert!(third != fs::read(folder.join("first/server.plan")).unwrap());
}

#[test]
fn the_same_request_gives_the_same_reply_with_any_threads_and_back_end() {
    let shared = shared();
    let folder = copies("same-reply", &["server/server.plan", "server/request"]);
    if shared.join("keys/evaluation.key").exists() {
        fs::copy(
            shared.join("keys/evaluation.key"),
            folder.join("evaluation.key"),
        )
        .unwrap();
    }
    let expected = fs::read(shared.join("server/reply")).unwrap();
    for backend in backend::available() {
        for threads in [1, 2, 3] {
            let (flags, name) = (evaluate_flags(shared), backend.name);
            let out = format!("reply-{name}-{threads}");
            let run = sordino(
                &folder,
                &format!(
                    "evaluate {flags} --threads {threads} --backend {name} --json --out {out}"
                ),
            )
            .good();
            assert_eq!(run.json()["backend"], name);
            assert_eq!(run.json()["threads"], threads);
            assert!(
                fs::read(folder.join(out)).unwrap() == expected,
                "{name}, {threads} threads"
            );
        }
    }
    if backend::available().len() == 1 {
        println!("skipped: this processor has no back end beside portable");
    }
    // With a memory limit blocks are read ahead of the evaluation; damage then shows at the end.
    let flags = evaluate_flags(shared);
    sordino(
        &folder,
        &format!("evaluate {flags} --memory 8G --out ahead"),
    )
    .good();
    assert!(fs::read(folder.join("ahead")).unwrap() == expected);
    let mut damaged = fs::read(folder.join("request")).unwrap();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::write(folder.join("request"), damaged).unwrap();
    sordino(
        &folder,
        &format!("evaluate {flags} --memory 8G --out never"),
    )
    .refused(3, &["digest"]);
    assert!(!folder.join("never").exists());
}

#[test]
fn two_encryptions_of_one_image_differ_and_do_not_compress() {
    let shared = shared();
    let folder = folder("two-encryptions");
    let at = |file: &str| shared.join(file).display().to_string();
    for out in ["first", "second"] {
        sordino(
            &folder,
            &format!(
                "encrypt --plan {} --key {} --images {} --out {out}",
                at("plan/client.plan"),
                at("keys/secret.key"),
                at("images/scan-00000.png")
            ),
        )
        .good();
    }
    let described = sordino(&folder, "inspect first --json").good().json();
    let payload_bytes = described["sizes"]["payload_bytes"].as_u64().unwrap() as usize;
    let payload = |file: &str| {
        let bytes = fs::read(folder.join(file)).unwrap();
        bytes[bytes.len() - payload_bytes..].to_vec()
    };
    let (first, second) = (payload("first"), payload("second"));
    // Equal bytes at equal places are as rare as between random bytes, but for the top bytes of residues, which are
    // not uniform when a prime is not just below a power of 256.
    let equal = first.iter().zip(&second).filter(|(a, b)| a == b).count();
    let limbs = described["shapes"]["limbs"].as_u64().unwrap() as usize;
    let primes: Vec<f64> = described["primes"].as_array().unwrap()[..limbs]
        .iter()
        .map(|q| q.as_f64().unwrap())
        .collect();
    let (mut expected, mut bits, mut width) = (0.0, 0.0, 0.0);
    for prime in &primes {
        let bytes = (prime.log2() / 8.0).ceil();
        let top = prime / 256f64.powf(bytes - 1.0);
        expected += (bytes - 1.0) / 256.0 + 1.0 / top.max(1.0);
        bits += prime.log2();
        width += bytes;
    }
    let share = equal as f64 / first.len() as f64;
    assert!(
        share < 1.05 * expected / width,
        "{share} of the bytes are equal, expected {}",
        expected / width
    );
    assert_ne!(first, second);

    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&first).unwrap();
    let compressed = encoder.finish().unwrap().len() as f64;
    let entropy = first.len() as f64 * bits / (8.0 * width);
    assert!(
        compressed > 0.999 * entropy,
        "{compressed} bytes of {} with {entropy} of content",
        first.len()
    );
}
