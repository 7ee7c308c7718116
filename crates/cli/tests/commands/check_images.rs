//! Replies that are not those of the plan, and commands on plans with and without check images.

use std::fs;

use serde_json::Value;
use sordino::container::{Kind, Limits, from_bytes, to_bytes};

use crate::fixture::{IMAGES, folder, shared, sordino};

#[test]
fn a_forged_reply_is_refused_and_nothing_is_written() {
    let shared = shared();
    let folder = folder("forged");
    let bytes = fs::read(shared.join("server/reply")).unwrap();
    let limits = Limits {
        metadata_bytes: 1 << 20,
        payload_bytes: bytes.len() as u64,
    };
    let reply = from_bytes::<Value>(&bytes, Kind::Reply, limits).unwrap();
    // Zeros are residues of every prime: a reply whose logits are all 0.
    let zeros = vec![0; reply.payload.len()];
    let forged = to_bytes(Kind::Reply, &reply.metadata, &zeros).unwrap();
    fs::write(folder.join("reply"), forged).unwrap();
    let decrypt = |reply: &str| {
        let at = |path: &str| shared.join(path).display().to_string();
        let arguments = format!(
            "decrypt --plan {} --key {} --reply {reply} --out predictions.csv --json",
            at("plan/client.plan"),
            at("keys/secret.key")
        );
        sordino(&folder, &arguments)
    };
    decrypt("reply").refused(
        1,
        &[
            "16 of 16 check images",
            "The server did not run the plan",
            "left its range",
            "hardware is damaged",
        ],
    );
    assert!(!folder.join("predictions.csv").exists());
    let honest = shared.join("server/reply").display().to_string();
    let result = decrypt(&honest).good().json();
    assert_eq!(result["check_images"], 16);
    assert_eq!(result["images"], IMAGES);
    let [worst, tolerance] =
        ["worst_check_error", "check_tolerance"].map(|field| result[field].as_f64().unwrap());
    assert!(
        worst > 0.0 && worst <= 2.0 * tolerance,
        "{worst} of {tolerance}"
    );
}

#[test]
fn plans_say_whether_they_have_check_images() {
    let shared = shared();
    let folder = folder("check-images");
    let model = shared.join("model.safetensors").display().to_string();
    let compile = |options: &str, out: &str| {
        sordino(
            &folder,
            &format!("compile {model} {options} --packing element-wise --out {out}"),
        )
    };
    let inspect = |out: &str| {
        sordino(&folder, &format!("inspect {out}/client.plan --json"))
            .good()
            .json()
    };
    compile("--batch 4080", "some").good();
    let some = inspect("some");
    let degree = some["ring_degree"].as_u64().unwrap();
    assert_eq!(
        (
            some["check_images"].as_u64(),
            some["shapes"]["blocks"].as_u64()
        ),
        (Some(16), Some(1))
    );
    assert!(some["check_tolerance"].as_f64().unwrap() > 0.0);
    assert_eq!(some["block_images"], degree - 16);

    let full = compile(&format!("--batch {degree} --ring-degree {degree}"), "full").good();
    let words = format!("a batch of at most {}", degree - 16);
    assert!(full.stdout.contains(&words), "{full:?}");
    let explained = sordino(&folder, "explain full/client.plan").good();
    assert!(explained.stdout.contains(&words), "{explained:?}");
    let found = inspect("full");
    assert_eq!(found["check_images"], 0);
    assert_eq!(found["check_tolerance"], Value::Null);
    assert_eq!(found["largest_checked_batch"], degree - 16);
    let encrypt = format!(
        "encrypt --plan full/client.plan --images {} --out request",
        shared.join("images").display()
    );
    let encrypted = sordino(&folder, &encrypt).good();
    assert!(
        encrypted.stderr.contains("no check images"),
        "{encrypted:?}"
    );
    assert!(encrypted.stderr.contains(&words), "{encrypted:?}");

    compile(
        &format!("--batch {degree} --ring-degree {degree} --check-images 20"),
        "added",
    )
    .good();
    let added = inspect("added");
    assert_eq!(
        (
            added["check_images"].as_u64(),
            added["shapes"]["blocks"].as_u64()
        ),
        (Some(20), Some(2))
    );
    compile("--batch 100 --check-images 0", "none").good();
    assert_eq!(inspect("none")["check_images"], 0);
    compile("--batch 100 --check-images 2", "few").refused(2, &["0 or 4 to 1024"]);
    let alone = "--batch 1 --packing channel-wise --block-images 1 --check-images 16";
    sordino(&folder, &format!("compile {model} {alone} --out alone"))
        .refused(4, &["at most 1 image(s)", "--check-images 0"]);
}
