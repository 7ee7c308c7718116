//! Files that are damaged, of another version, plan, key or shape: each is refused by name with its exit code, and
//! leaves nothing under the final name.

use std::fs;
use std::path::Path;

use crate::fixture::{
    IMAGES, PRECISION, Run, copies, folder, listing, shared, sordino, test_digits, write_pngs,
};

/// Every file that a command reads, and a command that reads it, with `FILE` for its path.
fn readers() -> Vec<(&'static str, String)> {
    let at = |file: &str| shared().join(file).display().to_string();
    let (client, secret, images) = (at("plan/client.plan"), at("keys/secret.key"), at("images"));
    let (server, request) = (at("plan/server.plan"), at("request"));
    let evaluation = shared().join("keys/evaluation.key");
    let keys = if evaluation.exists() {
        format!("--keys {}", evaluation.display())
    } else {
        String::new()
    };
    let mut readers = vec![
        (
            "model.safetensors",
            format!("compile FILE --batch {IMAGES} --out out"),
        ),
        (
            "plan/server.plan",
            format!("evaluate --plan FILE {keys} --request {request} --out out"),
        ),
        (
            "plan/client.plan",
            format!("encrypt --plan FILE --key {secret} --images {images} --out out"),
        ),
        (
            "keys/secret.key",
            format!("encrypt --plan {client} --key FILE --images {images} --out out"),
        ),
        (
            "request",
            format!("evaluate --plan {server} {keys} --request FILE --out out"),
        ),
        (
            "server/reply",
            format!("decrypt --plan {client} --key {secret} --reply FILE --out out"),
        ),
    ];
    if evaluation.exists() {
        readers.push((
            "keys/evaluation.key",
            format!("evaluate --plan {server} --keys FILE --request {request} --out out"),
        ));
    }
    readers
}

/// Damages a copy of every file and runs its reader; nothing but the copy may be there afterwards.
fn damaged(name: &str, damage: impl Fn(&mut Vec<u8>), check: impl Fn(&str, Run)) {
    for (file, command) in readers() {
        let folder = copies(name, &[file]);
        let copy = Path::new(file).file_name().unwrap().to_str().unwrap();
        let mut bytes = fs::read(folder.join(copy)).unwrap();
        damage(&mut bytes);
        fs::write(folder.join(copy), bytes).unwrap();
        let run = sordino(&folder, &command.replace("FILE", copy));
        check(file, run);
        assert_eq!(listing(&folder), [copy], "{file}");
    }
}

#[test]
fn truncated_files() {
    for keep in [0.0, 0.3, 0.9999] {
        damaged(
            "truncated",
            |bytes| bytes.truncate((bytes.len() as f64 * keep) as usize),
            |file, run| {
                run.refused(
                    3,
                    &[
                        "expected",
                        if file.starts_with("model") {
                            "safetensors"
                        } else {
                            "found"
                        },
                    ],
                );
            },
        );
    }
}

#[test]
fn files_of_the_wrong_size() {
    damaged(
        "longer",
        |bytes| bytes.push(0),
        |file, run| {
            run.refused(
                3,
                &[
                    "expected",
                    if file.starts_with("model") {
                        "safetensors"
                    } else {
                        "found"
                    },
                ],
            );
        },
    );
}

#[test]
fn flipped_bits() {
    for place in [0.05, 0.5, 0.99] {
        damaged(
            "flipped",
            |bytes| {
                let at = (bytes.len() as f64 * place) as usize;
                bytes[at] ^= 4;
            },
            |_, run| {
                run.refused(3, &[]);
            },
        );
    }
}

#[test]
fn a_flipped_bit_in_a_payload_is_told_by_the_digest() {
    damaged(
        "digest",
        |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        },
        |file, run| {
            // A client plan has no payload: its last byte closes the metadata. Either way the digest is checked first.
            run.refused(
                3,
                &[
                    "digest",
                    if file.starts_with("model") {
                        "copy"
                    } else {
                        "copy or make it again"
                    },
                ],
            );
        },
    );
}

#[test]
fn files_of_a_newer_version() {
    damaged(
        "version",
        |bytes| {
            if bytes.starts_with(b"SORDINO\0") {
                bytes[8] = 2;
            } else {
                // The model file has its version in its metadata.
                let text = br#"\"format_version\":1"#;
                let at = bytes
                    .windows(text.len())
                    .position(|window| window == text)
                    .expect("a version");
                bytes[at + text.len() - 1] = b'2';
            }
        },
        |_, run| {
            run.refused(3, &["version"]);
        },
    );
}

#[test]
fn files_of_another_kind() {
    let at = |file: &str| shared().join(file).display().to_string();
    for (file, command) in readers() {
        let folder = folder("kind");
        let other = if file == "request" {
            at("server/reply")
        } else {
            at("request")
        };
        sordino(&folder, &command.replace("FILE", &other)).refused(3, &["expected"]);
        let text = folder.join("text");
        fs::write(&text, "these are not the bytes that you are looking for").unwrap();
        sordino(&folder, &command.replace("FILE", "text")).refused(3, &["expected", "text"]);
        assert_eq!(listing(&folder), ["text"], "{file}");
    }
}

#[test]
fn files_that_are_missing() {
    for (file, command) in readers() {
        let folder = folder("missing");
        sordino(&folder, &command.replace("FILE", "nowhere"))
            .refused(5, &["nowhere", "check the path"]);
        assert!(listing(&folder).is_empty(), "{file}");
    }
}

#[test]
fn another_secret_key() {
    let shared = shared();
    let folder = folder("wrong-key");
    let at = |file: &str| shared.join(file).display().to_string();
    sordino(
        &folder,
        &format!("keygen --plan {} --out keys", at("plan/client.plan")),
    )
    .good();
    let id = |keys: &str| {
        let run = sordino(&folder, &format!("inspect {keys}/secret.key --json")).good();
        run.json()["key_id"].as_str().unwrap()[..12].to_owned()
    };
    let (mine, theirs) = (id("keys"), id(&at("keys")));
    sordino(
        &folder,
        &format!(
            "decrypt --plan {} --key keys/secret.key --reply {} --out out.csv",
            at("plan/client.plan"),
            at("server/reply")
        ),
    )
    .refused(3, &[&mine, &theirs, "keygen"]);
    if folder.join("keys/evaluation.key").exists() {
        sordino(
            &folder,
            &format!(
                "evaluate --plan {} --keys keys/evaluation.key --request {} --out reply",
                at("plan/server.plan"),
                at("request")
            ),
        )
        .refused(3, &[&mine, &theirs, "keygen"]);
    }
    assert_eq!(listing(&folder), ["keys"]);
}

#[test]
fn another_plan() {
    let shared = shared();
    let folder = folder("wrong-plan");
    let at = |file: &str| shared.join(file).display().to_string();
    // Another batch: the same parameters and keys, but another plan, once smaller and once larger.
    for batch in [IMAGES / 2, IMAGES * 2] {
        sordino(
            &folder,
            &format!(
                "compile {} --batch {batch} {PRECISION} --ring-degree {} --out plan --force",
                at("model.safetensors"),
                degree()
            ),
        )
        .good();
        let keys = if shared.join("keys/evaluation.key").exists() {
            format!("--keys {}", at("keys/evaluation.key"))
        } else {
            String::new()
        };
        let run = sordino(
            &folder,
            &format!(
                "evaluate --plan plan/server.plan {keys} --request {} --out reply",
                at("request")
            ),
        );
        run.refused(3, &["plan"]);
        let run = sordino(
            &folder,
            &format!(
                "decrypt --plan plan/client.plan --key {} --reply {} --out out.csv",
                at("keys/secret.key"),
                at("server/reply")
            ),
        );
        run.refused(3, &["plan"]);
        assert_eq!(listing(&folder), ["plan"]);
    }
}

fn degree() -> u64 {
    let run = sordino(shared(), "inspect plan/client.plan --json").good();
    run.json()["ring_degree"].as_u64().unwrap()
}

#[test]
fn keys_of_other_parameters() {
    let shared = shared();
    let folder = folder("other-parameters");
    let at = |file: &str| shared.join(file).display().to_string();
    let other = if degree() == 32768 {
        16384
    } else {
        degree() * 2
    };
    sordino(
        &folder,
        &format!(
            "compile {} --batch {IMAGES} --ring-degree {other} --out plan",
            at("model.safetensors")
        ),
    )
    .good();
    sordino(
        &folder,
        &format!(
            "encrypt --plan plan/client.plan --key {} --images {} --out request",
            at("keys/secret.key"),
            at("images")
        ),
    )
    .refused(3, &["parameters", "keygen"]);
    assert_eq!(listing(&folder), ["plan"]);
}

#[test]
fn images_that_do_not_fit() {
    let shared = shared();
    let folder = folder("images");
    let at = |file: &str| shared.join(file).display().to_string();
    let encrypt = |images: &str, more: &str| {
        let (plan, key) = (at("plan/client.plan"), at("keys/secret.key"));
        sordino(
            &folder,
            &format!("encrypt --plan {plan} --key {key} --images {images} {more} --out request"),
        )
    };
    image::GrayImage::new(28, 28)
        .save(folder.join("large.png"))
        .unwrap();
    encrypt("large.png", "").refused(3, &["1x8x8", "1x28x28"]);
    image::RgbImage::new(8, 8)
        .save(folder.join("colour.png"))
        .unwrap();
    encrypt("colour.png", "").refused(3, &["1x8x8", "3x8x8", "gray"]);
    image::GrayImage::from_pixel(8, 8, image::Luma([255]))
        .save(folder.join("bright.png"))
        .unwrap();
    encrypt("bright.png", "").refused(3, &["255", "0..16", "--range"]);
    encrypt("bright.png", "--range 0..255").good();
    fs::remove_file(folder.join("request")).unwrap();
    fs::write(
        folder.join("broken.png"),
        b"\x89PNG\r\n\x1a\n and then nothing",
    )
    .unwrap();
    encrypt("broken.png", "").refused(3, &["broken.png"]);
    encrypt("nowhere", "").refused(5, &["nowhere"]);
    write_pngs(
        &sordino::data::digits().test.split_at(IMAGES + 1).0,
        &folder.join("many"),
    );
    encrypt("many", "").refused(
        3,
        &[
            &format!("1 to {IMAGES}"),
            &format!("{}", IMAGES + 1),
            "--batch",
        ],
    );
    fs::create_dir(folder.join("empty")).unwrap();
    encrypt("empty", "").refused(3, &["empty"]);
    assert!(!folder.join("request").exists());
    assert!(
        !listing(&folder).iter().any(|name| name.contains("tmp")),
        "{:?}",
        listing(&folder)
    );
}

#[test]
fn lists_of_the_wrong_length() {
    let shared = shared();
    let folder = folder("lists");
    let at = |file: &str| shared.join(file).display().to_string();
    let text = fs::read_to_string(shared.join("predictions.csv")).unwrap();
    let verify = |content: &str| {
        fs::write(folder.join("list.csv"), content).unwrap();
        sordino(
            &folder,
            &format!(
                "verify --model {} --plan {} --images {} --predictions list.csv",
                at("model.safetensors"),
                at("plan/server.plan"),
                at("images")
            ),
        )
    };
    let lines: Vec<&str> = text.lines().collect();
    let (all, fewer) = (IMAGES.to_string(), (IMAGES - 1).to_string());
    verify(&lines[..IMAGES].join("\n")).refused(3, &[&all, &fewer, "predictions"]);
    let more = format!("{text}{}", lines[IMAGES].replacen(&fewer, &all, 1));
    verify(&more).refused(3, &[&all, &(IMAGES + 1).to_string()]);
    verify("").refused(3, &["index"]);
    verify("index,name\n").refused(3, &["class"]);
    verify(&text.replacen(",logit_9", "", 1)).refused(3, &["list.csv"]);
    let swapped = [&lines[..1], &lines[2..3], &lines[1..2], &lines[3..]]
        .concat()
        .join("\n");
    verify(&swapped).refused(3, &["index 0", "line 2"]);

    // Names that belong to another number of images.
    let keys = folder.join("keys");
    fs::create_dir(&keys).unwrap();
    for name in listing(&shared.join("keys")) {
        fs::copy(shared.join("keys").join(&name), keys.join(&name)).unwrap();
        if name.starts_with("request-") {
            let mut list: serde_json::Value =
                serde_json::from_slice(&fs::read(keys.join(&name)).unwrap()).unwrap();
            list["names"].as_array_mut().unwrap().pop();
            fs::write(keys.join(&name), list.to_string()).unwrap();
        }
    }
    sordino(
        &folder,
        &format!(
            "decrypt --plan {} --key keys/secret.key --reply {} --out out.csv",
            at("plan/client.plan"),
            at("server/reply")
        ),
    )
    .refused(3, &[&all, &fewer, "names"]);
    assert!(!folder.join("out.csv").exists());
}

#[test]
fn a_model_of_another_plan_is_not_compared() {
    let shared = shared();
    let folder = folder("other-model");
    sordino(
        &folder,
        "train --data digits --arch digits --epochs 1 --seed 9 --out other.safetensors",
    )
    .good();
    let at = |file: &str| shared.join(file).display().to_string();
    sordino(
        &folder,
        &format!(
            "verify --model other.safetensors --plan {} --images {} --predictions {}",
            at("plan/server.plan"),
            at("images"),
            at("predictions.csv")
        ),
    )
    .refused(3, &["model"]);
}

#[test]
fn weights_that_are_not_numbers() {
    let folder = copies("nan", &["model.safetensors"]);
    let path = folder.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    sordino(&folder, "compile model.safetensors --batch 10 --out plan")
        .refused(3, &["node", "NaN", "finite"]);
    sordino(&folder, "inspect model.safetensors").refused(3, &["NaN"]);
    assert_eq!(listing(&folder), ["model.safetensors"]);
}

#[test]
fn test_digits_are_as_many_as_the_tests_say() {
    assert_eq!(test_digits().len(), IMAGES);
}
