//! Evaluations in little memory, on scratch, killed at any moment and gone on with.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sordino::container::TEMPORARY_SUFFIX;

use crate::fixture::{Run, bash, evaluate_flags, folder, listing, shared, sordino};
use crate::interruption::{ended, interrupt, start};

/// An evaluation of the shared request in a folder, slow enough to be killed, with a checkpoint after every piece.
fn slow(out: &str, more: &str) -> String {
    let flags = evaluate_flags(shared());
    format!("evaluate {flags} --backend portable --threads 1 --checkpoint 0 --out {out} {more}")
}

fn evaluate(folder: &Path, more: &str) -> Run {
    let flags = evaluate_flags(shared());
    let out = folder.join("reply");
    sordino(
        &shared().join("server"),
        &format!("evaluate {flags} --out {} {more}", out.display()),
    )
}

fn expected() -> Vec<u8> {
    fs::read(shared().join("server/reply")).unwrap()
}

/// The mebibytes that a message says are needed.
fn needed_mebibytes(message: &str) -> u64 {
    let before = message.split(" MiB").next().expect("a number of MiB");
    let number = before.split_whitespace().last().expect("a number");
    number
        .parse()
        .unwrap_or_else(|_| panic!("no number in {message}"))
}

#[test]
fn a_killed_evaluation_goes_on_to_the_same_reply() {
    let expected = expected();
    let mut resumed = 0;
    for delay in [60, 150, 250, 350, 450, 600] {
        let folder = folder("killed");
        let out = folder.join("reply").display().to_string();
        let at = shared().join("server");
        let mut child = start(&at, &slow(&out, ""));
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().expect("kill -9");
        child.wait().expect("it has ended");
        if listing(&folder).contains(&"reply".to_owned()) {
            // It was too fast.
            assert!(fs::read(&out).unwrap() == expected);
            continue;
        }
        let run = sordino(&at, &format!("{} --json", slow(&out, "--resume"))).good();
        resumed += usize::from(run.json()["resumed"] == true);
        // A reply that was being written may be there under its temporary name.
        let mut left = listing(&folder);
        left.retain(|name| !name.ends_with(TEMPORARY_SUFFIX));
        assert_eq!(left, ["reply"], "{run:?}");
        assert!(
            fs::read(&out).unwrap() == expected,
            "killed after {delay} ms"
        );
    }
    assert!(
        resumed > 0,
        "no evaluation was killed between its first checkpoint and its end"
    );
}

#[test]
fn an_evaluation_that_begins_anew_removes_what_a_killed_one_left() {
    let folder = folder("anew");
    let out = folder.join("reply").display().to_string();
    let at = shared().join("server");
    let mut child = start(&at, &slow(&out, ""));
    while listing(&folder).is_empty() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("kill -9");
    child.wait().expect("it has ended");
    evaluate(&folder, "").good();
    assert_eq!(listing(&folder), ["reply"]);
    assert!(fs::read(&out).unwrap() == expected());
}

#[test]
fn an_interrupted_evaluation_keeps_its_checkpoint_where_scratch_was_asked_for() {
    let folder = folder("interrupted-with-scratch");
    let (out, scratch) = (folder.join("reply"), folder.join("scratch"));
    fs::create_dir(&scratch).unwrap();
    let at = shared().join("server");
    let more = format!("--scratch {}", scratch.display());
    let out = out.display().to_string();
    let child = start(&at, &slow(&out, &more));
    let checkpoint = || {
        let inside = listing(&scratch).pop()?;
        let path = scratch.join(inside).join("checkpoint");
        path.exists().then_some(path)
    };
    while checkpoint().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    interrupt(&child);
    let output = ended(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let checkpoint = checkpoint().expect("the checkpoint is still there");
    let shown = sordino(&folder, &format!("inspect {} --json", checkpoint.display())).good();
    assert_eq!(shown.json()["kind"], "checkpoint");
    let run = sordino(
        &at,
        &format!("{} --json", slow(&out, &format!("{more} --resume"))),
    )
    .good();
    assert_eq!(run.json()["resumed"], true);
    assert!(fs::read(&out).unwrap() == expected());
    assert!(listing(&scratch).is_empty());
}

#[test]
fn a_damaged_checkpoint_or_piece_is_said_to_be_damaged() {
    let folder = folder("damaged-scratch");
    let out = folder.join("reply").display().to_string();
    let at = shared().join("server");
    let mut child = start(&at, &slow(&out, ""));
    let inside = || {
        listing(&folder)
            .into_iter()
            .find(|name| name.starts_with("sordino-scratch"))
    };
    let pieces = |folder: &Path| -> Vec<String> {
        let names = listing(folder).into_iter();
        names.filter(|name| name.starts_with("b0-u")).collect()
    };
    let scratch = loop {
        if let Some(inside) = inside()
            && folder.join(&inside).join("checkpoint").exists()
            && !pieces(&folder.join(&inside)).is_empty()
        {
            break folder.join(inside);
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    child.kill().expect("kill -9");
    child.wait().expect("it has ended");
    for name in pieces(&scratch)
        .into_iter()
        .chain(["checkpoint".to_owned()])
    {
        let path = scratch.join(&name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
    }
    sordino(&at, &slow(&out, "--resume")).refused(3, &["digest"]);
    assert!(!listing(&folder).contains(&"reply".to_owned()));
    // It is still possible without.
    evaluate(&folder, "").good();
    assert!(fs::read(&out).unwrap() == expected());
}

#[test]
fn nothing_to_go_on_from_is_said_and_no_error() {
    let folder = folder("nothing-to-resume");
    let run = evaluate(&folder, "--resume --json").good();
    assert_eq!(run.json()["resumed"], false);
    assert!(run.stderr.contains("begins anew"), "{run:?}");
    assert_eq!(listing(&folder), ["reply"]);
}

#[test]
fn little_memory_takes_scratch_and_says_how_much() {
    let folder = folder("little-memory");
    let whole = evaluate(&folder, "--json").good().json();
    assert_eq!(whole["scratch_bytes"], 0);
    let refused = evaluate(&folder, "--force --memory 1");
    let needed = needed_mebibytes(&refused.stderr);
    refused.refused(4, &["--memory"]);
    assert!(needed << 20 < whole["memory_bytes"].as_u64().unwrap());
    let run = evaluate(&folder, &format!("--force --json --memory {needed}MiB")).good();
    let spilled = run.json();
    assert!(spilled["memory_bytes"].as_u64().unwrap() <= needed << 20);
    let scratch = spilled["scratch_bytes"].as_u64().unwrap();
    assert!(scratch > 0);
    assert!(run.stderr.contains("MiB of scratch"), "{run:?}");
    assert!(fs::read(folder.join("reply")).unwrap() == expected());
    assert_eq!(listing(&folder), ["reply"]);
    let little = format!("--force --memory {needed}MiB --scratch-limit 1");
    evaluate(&folder, &little).refused(4, &["scratch", "--scratch-limit"]);
    assert_eq!(listing(&folder), ["reply"]);
}

#[test]
fn scratch_that_cannot_be_written_is_an_error_before_anything_is_computed() {
    let folder = folder("no-scratch");
    let needed = needed_mebibytes(&evaluate(&folder, "--memory 1").stderr);
    let missing = format!(
        "--memory {needed}MiB --scratch {}",
        folder.join("no").display()
    );
    evaluate(&folder, &missing).refused(5, &["folder exists"]);
    assert!(listing(&folder).is_empty());
    // A limit of 16 KiB on files stands for the full disk.
    let line = format!(
        "trap '' XFSZ; ulimit -f 16; exec \"$SORDINO\" evaluate {} --out {} --memory {needed}MiB",
        evaluate_flags(shared()),
        folder.join("reply").display()
    );
    bash(&shared().join("server"), &line).refused(5, &["cannot write"]);
    assert!(listing(&folder).is_empty(), "{:?}", listing(&folder));
}
