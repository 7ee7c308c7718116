//! Full disks and interrupted commands leave nothing behind.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::fixture::{IMAGES, bash, command, evaluate_flags, folder, listing, shared, sordino};

/// Every command that writes, in a folder of its own that has `shared` beside it.
fn writers() -> Vec<String> {
    let at = |file: &str| shared().join(file).display().to_string();
    let (client, secret) = (at("plan/client.plan"), at("keys/secret.key"));
    let evaluation = shared().join("keys/evaluation.key");
    let keys = if evaluation.exists() {
        format!("--keys {}", evaluation.display())
    } else {
        String::new()
    };
    vec![
        format!(
            "compile {} --batch {IMAGES} --out .",
            at("model.safetensors")
        ),
        format!("keygen --plan {client} --out ."),
        format!(
            "encrypt --plan {client} --key {secret} --images {} --out out",
            at("images")
        ),
        format!(
            "evaluate --plan {} {keys} --request {} --out out",
            at("plan/server.plan"),
            at("request")
        ),
        format!(
            "decrypt --plan {client} --key {secret} --reply {} --logits --out out",
            at("server/reply")
        ),
        "train --data digits --arch digits --epochs 1 --out out".to_owned(),
    ]
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    for command in writers() {
        let folder = folder("full-disk");
        // A limit of one KiB on files stands for the full disk; the signal that comes with it is ignored.
        let line = format!("trap '' XFSZ; ulimit -f 1; exec \"$SORDINO\" {command}");
        bash(&folder, &line).refused(5, &["cannot write"]);
        assert!(
            listing(&folder).is_empty(),
            "{command}: {:?}",
            listing(&folder)
        );
    }
}

#[test]
fn a_folder_that_does_not_exist_is_an_error() {
    let at = |file: &str| shared().join(file).display().to_string();
    let folder = folder("no-folder");
    let (client, secret) = (at("plan/client.plan"), at("keys/secret.key"));
    let run = sordino(
        &folder,
        &format!(
            "encrypt --plan {client} --key {secret} --images {} --out no/such/out",
            at("images")
        ),
    );
    run.refused(5, &["folder exists"]);
    assert!(listing(&folder).is_empty());
}

#[test]
fn a_result_that_nobody_reads_is_no_error_and_one_that_cannot_be_written_is() {
    let shared = shared();
    let folder = folder("nobody-reads");
    let model = shared.join("model.safetensors").display().to_string();
    // The plan is written although the reader of its explanation has gone.
    let line = format!(
        "\"$SORDINO\" compile {model} --batch 10 --out plan | true; exit \"${{PIPESTATUS[0]}}\""
    );
    bash(&folder, &line).good();
    assert_eq!(listing(&folder.join("plan")).len(), 2);
    if Path::new("/dev/full").exists() {
        bash(shared, "\"$SORDINO\" inspect request > /dev/full").refused(5, &["standard output"]);
    } else {
        println!("skipped: no /dev/full on this system");
    }
}

pub(crate) fn interrupt(child: &Child) {
    let status = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success());
}

/// Waits for a child, but not for ever.
pub(crate) fn ended(mut child: Child) -> std::process::Output {
    let start = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().expect("the child can be ended");
            panic!("still running a minute after the interrupt");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("its output")
}

pub(crate) fn start(folder: &Path, arguments: &str) -> Child {
    let mut command = command(folder);
    command
        .args(arguments.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("the binary starts")
}

#[test]
fn an_interrupted_training_leaves_nothing() {
    let folder = folder("interrupted-training");
    let child = start(
        &folder,
        "train --data digits --arch digits --epochs 100000 --out model",
    );
    std::thread::sleep(Duration::from_millis(1500));
    interrupt(&child);
    let output = ended(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("interrupted"),
        "{output:?}"
    );
    assert!(listing(&folder).is_empty(), "{:?}", listing(&folder));
}

#[test]
fn an_evaluation_that_is_interrupted_at_any_time_leaves_a_whole_reply_or_none() {
    let shared = shared();
    let expected = fs::read(shared.join("server/reply")).unwrap();
    let mut codes = Vec::new();
    for delay in [20, 60, 120, 200, 300, 500, 800] {
        let folder = folder("interrupted-evaluation");
        let out = folder.join("reply");
        // The slow back end: so that most of these times fall into the evaluation.
        let arguments = format!(
            "evaluate {} --backend portable --threads 1 --out {}",
            evaluate_flags(shared),
            out.display()
        );
        let child = start(&shared.join("server"), &arguments);
        std::thread::sleep(Duration::from_millis(delay));
        interrupt(&child);
        let output = ended(child);
        let code = output.status.code();
        codes.push(code);
        match listing(&folder).as_slice() {
            // Without a code it was ended before it could say what it does with the signal.
            [] => assert!(matches!(code, Some(130) | None), "{output:?}"),
            [name] if name == "reply" => {
                assert!(matches!(code, Some(0 | 130)), "{output:?}");
                assert!(fs::read(&out).unwrap() == expected);
            }
            other => panic!("{other:?} after {delay} ms: {output:?}"),
        }
    }
    assert!(
        codes.contains(&Some(130)),
        "no interrupt came in time: {codes:?}"
    );
}
