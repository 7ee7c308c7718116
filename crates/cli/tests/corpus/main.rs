//! Every file of the fuzzing corpus, and thousands of damaged copies, through the parsers of whatever crosses a
//! trust boundary: none may panic, and what a digest covers must be refused when it changes.

#[allow(dead_code, reason = "the fuzz targets use the rest")]
#[path = "../../../../fuzz/parsers.rs"]
mod parsers;

mod mutation;
mod seeds;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use mutation::{Random, mutate};
use parsers::{FORMATS, Format, seal};

/// Damaged copies of each format; large files get fewer.
const CASES: usize = 3000;

fn folder(format: &Format) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    root.join(format.name)
}

/// The committed files of a format, by name.
fn corpus(format: &Format) -> Vec<(String, Vec<u8>)> {
    let folder = folder(format);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let entry = entry.expect("an entry of the corpus");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("a file of the corpus"))
        })
        .collect();
    files.sort();
    files
}

fn good_files(format: &Format) -> Vec<(String, Vec<u8>)> {
    let mut files = corpus(format);
    files.retain(|(name, _)| name.starts_with("good"));
    assert!(!files.is_empty(), "{} has no good file", format.name);
    files
}

/// Parses, and turns a panic into a failure that names the case.
fn parse(format: &Format, bytes: &[u8], case: &str) -> parsers::Outcome {
    let outcome = catch_unwind(AssertUnwindSafe(|| (format.parse)(bytes)));
    let outcome = outcome.unwrap_or_else(|_| panic!("{} panicked on {case}", format.name));
    if let Err(message) = &outcome {
        assert!(message.len() > 10, "{}: {case}: {message:?}", format.name);
    }
    outcome
}

/// Files called `good…` parse; all others are damaged on purpose or were found by the fuzzer.
fn replay(format: &Format) {
    for (name, bytes) in corpus(format) {
        let outcome = parse(format, &bytes, &name);
        if name.starts_with("good") {
            assert_eq!(outcome, Ok(()), "{}: {name}", format.name);
        } else if name.starts_with("bad") {
            assert!(outcome.is_err(), "{}: {name} was accepted", format.name);
        }
    }
}

fn damage(format: &Format) {
    let files = good_files(format);
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    // About 30 MB a format go through the parsers.
    let average = (bytes / files.len()).max(1);
    let cases = CASES.min(30_000_000 / average).max(100);
    let (mut accepted, mut refused) = (0, 0);
    for case in 0..cases {
        let (name, original) = &files[case % files.len()];
        let mut random = Random::new(case as u64);
        let damaged = mutate(&mut random, original);
        let case = format!("case {case}, made from {name}");
        let outcome = parse(format, &damaged, &case);
        let changed = damaged != *original;
        if let Some(kind) = format.kind {
            assert!(
                !changed || outcome.is_err(),
                "{}: {case} passed",
                format.name
            );
            // The same damage behind a digest that fits reaches the checks of the content.
            if let Some(sealed) = seal(kind, &damaged) {
                match parse(format, &sealed, &format!("{case}, sealed")) {
                    Ok(()) => accepted += 1,
                    Err(_) => refused += 1,
                }
            }
        } else if changed {
            match outcome {
                Ok(()) => accepted += 1,
                Err(_) => refused += 1,
            }
        }
    }
    println!(
        "{}: {cases} cases, {accepted} accepted, {refused} refused",
        format.name
    );
    assert!(
        refused > cases / 10,
        "{}: damage goes unnoticed",
        format.name
    );
}

/// Every cut through the first kilobyte, and some behind it.
fn truncate(format: &Format) {
    for (name, bytes) in good_files(format) {
        let step = (bytes.len() / 50).max(1);
        let cuts = (0..bytes.len().min(1024)).chain((1024..bytes.len()).step_by(step));
        for cut in cuts {
            let outcome = parse(format, &bytes[..cut], &format!("{name} cut to {cut} bytes"));
            if format.kind.is_some() {
                assert!(
                    outcome.is_err(),
                    "{}: {name} cut to {cut} bytes",
                    format.name
                );
            }
        }
    }
}

macro_rules! formats {
    ($($test:ident: $format:ident),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                replay(&parsers::$format);
                truncate(&parsers::$format);
                damage(&parsers::$format);
            }
        )*

        #[test]
        fn every_format_is_tested_and_fuzzed() {
            let tested = [$(parsers::$format.name),*];
            let named: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
            assert_eq!(tested[..], named[..]);
            for name in tested {
                let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
                let target = root.join(format!("fuzz_targets/{name}.rs"));
                let target = fs::read_to_string(target).expect("a fuzz target");
                assert!(target.contains(&format!("parsers::{}", name.to_uppercase())), "{name}");
                let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("a manifest");
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            }
        }
    };
}

formats! {
    container: CONTAINER,
    model: MODEL,
    server_plan: SERVER_PLAN,
    client_plan: CLIENT_PLAN,
    evaluation_key: EVALUATION_KEY,
    request: REQUEST,
    reply: REPLY,
    idx: IDX,
    cifar: CIFAR,
    npy: NPY,
    npz: NPZ,
    picture: PICTURE,
    onnx: ONNX,
}

#[test]
fn a_seal_is_what_the_container_writes() {
    for (name, bytes) in corpus(&parsers::CLIENT_PLAN) {
        if name.starts_with("good") {
            let kind = sordino_container::Kind::ClientPlan;
            assert_eq!(seal(kind, &bytes).as_deref(), Some(&*bytes), "{name}");
        }
    }
}

/// Writes the good files again; for a new version of a format. See `fuzz/README.md`.
#[test]
#[ignore = "writes fuzz/corpus"]
fn write_corpus() {
    for format in FORMATS {
        let folder = folder(format);
        fs::create_dir_all(&folder).expect("a folder for the corpus");
        for (name, bytes) in seeds::of(format) {
            fs::write(folder.join(name), bytes).expect("a file of the corpus");
        }
    }
}

/// Files that version 0.1 wrote before images had secret slots are opened, or refused with what to do.
#[test]
fn files_of_before_are_opened_or_refused_with_what_to_do() {
    let old = |format: &Format| {
        let mut files = corpus(format);
        files.retain(|(name, _)| name.starts_with("old"));
        assert!(!files.is_empty(), "{} has no old file", format.name);
        files
    };
    for format in [
        &parsers::MODEL,
        &parsers::CLIENT_PLAN,
        &parsers::SERVER_PLAN,
    ] {
        for (name, bytes) in old(format) {
            assert_eq!(parse(format, &bytes, &name), Ok(()), "{name}");
        }
    }
    for format in [&parsers::REQUEST, &parsers::REPLY] {
        for (name, bytes) in old(format) {
            let message = parse(format, &bytes, &name).expect_err("an old message");
            let advice = ["encrypt the images again", "plan"];
            assert!(
                advice.iter().any(|advice| message.contains(advice)),
                "{message}"
            );
        }
    }
}
