//! Evaluations in little memory, on scratch, killed at any moment and gone on with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sordino::container::TEMPORARY_SUFFIX;

use crate::fixture::{Run, bash, folder, listing, sordino, test_digits, write_pngs};
use crate::interruption::{ended, interrupt, start};

/// Plan, key and request of three convolutions on digits, and the reply that is expected: deep enough to be streamed and to be killed
/// on the way.
fn deep() -> &'static Path {
    static DEEP: OnceLock<PathBuf> = OnceLock::new();
    DEEP.get_or_init(|| {
        let deep = folder("deep");
        let layer = |text: &str| format!("[[layers]]\n{text}\n");
        let convolution = |stride: usize| {
            layer(&format!(
                "type = \"convolution\"\nchannels = 8\nkernel = 3\npadding = 1\nstride = {stride}"
            )) + &layer("type = \"activation\"")
        };
        let network = [
            "name = \"deep\"\n".to_owned(),
            convolution(1),
            convolution(1),
            convolution(2),
            layer("type = \"dense\"\noutputs = 10"),
        ];
        fs::write(deep.join("deep.toml"), network.concat()).expect("a network");
        write_pngs(&test_digits(), &deep.join("images"));
        for line in [
            "train --data digits --arch deep.toml --epochs 2 --out model.safetensors",
            "compile model.safetensors --packing element-wise --batch 300 --out .",
            "keygen --plan client.plan --out .",
            "encrypt --plan client.plan --key secret.key --images images --out request",
            "evaluate --plan server.plan --keys evaluation.key --request request --out reply",
        ] {
            sordino(&deep, line).good();
        }
        deep
    })
}

const FLAGS: &str = "evaluate --plan server.plan --keys evaluation.key --request request";

/// An evaluation slow enough to be killed, with a checkpoint after every piece.
fn slow(out: &Path, more: &str) -> String {
    let slow = "--backend portable --threads 1 --checkpoint-every 0";
    format!("{FLAGS} {slow} --out {} {more}", out.display())
}

/// An evaluation into a folder.
fn evaluate(folder: &Path, more: &str) -> Run {
    let out = folder.join("reply");
    sordino(deep(), &format!("{FLAGS} --out {} {more}", out.display()))
}

/// The folder's reply is the one that is expected.
fn assert_expected(folder: &Path) {
    let replies = [deep(), folder].map(|folder| fs::read(folder.join("reply")).expect("a reply"));
    assert!(replies[0] == replies[1]);
}

/// Starts a slow evaluation into a folder, and kills it once it has written `enough`.
fn killed(folder: &Path, enough: impl Fn(&Path) -> bool) -> PathBuf {
    let mut child = start(deep(), &slow(&folder.join("reply"), ""));
    let scratch = loop {
        let mut names = listing(folder).into_iter();
        if let Some(name) = names.find(|name| name.starts_with("sordino-scratch"))
            && enough(&folder.join(&name))
        {
            break folder.join(name);
        }
        assert!(child.try_wait().expect("a child").is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(1));
    };
    child.kill().expect("kill -9");
    child.wait().expect("it has ended");
    scratch
}

fn signal(child: &std::process::Child, signal: &str) -> bool {
    let id = child.id().to_string();
    let status = std::process::Command::new("kill")
        .args([signal, &id])
        .status();
    status.expect("kill runs").success()
}

fn has_checkpoint(scratch: &Path) -> bool {
    scratch.join("checkpoint").exists()
}

/// Names of the pieces in a scratch folder.
fn pieces(scratch: &Path) -> Vec<String> {
    let names = listing(scratch).into_iter();
    names.filter(|name| name.starts_with("b0-u")).collect()
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
    let start_of = |out: &Path, more: &str| start(deep(), &slow(out, more));
    // How long one takes, without making what it needs.
    deep();
    let folder = crate::fixture::folder("not-killed");
    let begun = Instant::now();
    assert!(ended(start_of(&folder.join("reply"), "")).status.success());
    let whole = begun.elapsed();
    assert_expected(&folder);
    assert_eq!(listing(&folder), ["reply"]);
    let mut resumed = 0;
    for twelfth in [1, 3, 5, 6, 7, 8, 9, 11] {
        let folder = crate::fixture::folder("killed");
        let out = folder.join("reply");
        let mut child = start_of(&out, "");
        std::thread::sleep(whole * twelfth / 12);
        child.kill().expect("kill -9");
        child.wait().expect("it has ended");
        if out.exists() {
            // It was too fast.
            assert_expected(&folder);
            continue;
        }
        let run = sordino(deep(), &slow(&out, "--resume --json")).good();
        resumed += usize::from(run.json()["resumed"] == true);
        // A reply that was being written may be there under its temporary name.
        let mut left = listing(&folder);
        left.retain(|name| !name.ends_with(TEMPORARY_SUFFIX));
        assert_eq!(left, ["reply"], "{run:?}");
        assert_expected(&folder);
    }
    assert!(
        resumed >= 3,
        "{resumed} evaluations were killed between their first checkpoint and their end"
    );
}

#[test]
fn an_evaluation_killed_while_it_spills_goes_on_to_the_same_reply() {
    let needed = needed_mebibytes(&evaluate(&folder("needed"), "--memory 1").stderr);
    let folder = folder("killed-while-spilling");
    let out = folder.join("reply");
    let more = format!("--memory {needed}MiB");
    for _ in 0..4 {
        let mut child = start(deep(), &slow(&out, &format!("{more} --resume")));
        std::thread::sleep(Duration::from_millis(400));
        child.kill().expect("kill -9");
        child.wait().expect("it has ended");
    }
    let less = format!("--memory {}MiB", needed - 1);
    if !out.exists() {
        sordino(deep(), &slow(&out, &format!("{less} --resume"))).refused(2, &["--memory"]);
        sordino(deep(), &slow(&out, &format!("{more} --resume"))).good();
    }
    assert_expected(&folder);
}

#[test]
fn an_evaluation_that_begins_anew_removes_what_a_killed_one_left() {
    let folder = folder("anew");
    killed(&folder, has_checkpoint);
    evaluate(&folder, "").good();
    assert_eq!(listing(&folder), ["reply"]);
    assert_expected(&folder);
}

#[test]
fn an_interrupted_evaluation_keeps_its_checkpoint_where_scratch_was_asked_for() {
    let folder = folder("interrupted-with-scratch");
    // The folder is made.
    let (out, scratch) = (folder.join("reply"), folder.join("new/scratch"));
    let more = format!("--scratch {}", scratch.display());
    let child = start(deep(), &slow(&out, &more));
    let checkpoint = || {
        let inside = scratch.exists().then(|| listing(&scratch).pop())??;
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
    let run = sordino(deep(), &slow(&out, &format!("{more} --resume --json"))).good();
    assert_eq!(run.json()["resumed"], true);
    assert_expected(&folder);
    assert!(listing(&scratch).is_empty());
}

#[test]
fn one_process_at_a_time_works_in_a_scratch_folder() {
    let folder = folder("busy");
    let out = folder.join("reply");
    let mut child = start(deep(), &slow(&out, ""));
    // The folder is there a moment before its lock is.
    let begun = || {
        let mut names = listing(&folder).into_iter();
        let scratch = names.find(|name| name.starts_with("sordino-scratch"));
        scratch.is_some_and(|scratch| !pieces(&folder.join(scratch)).is_empty())
    };
    while !begun() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // It takes longer than the other one waits.
    let stopped = signal(&child, "-STOP");
    assert!(stopped);
    evaluate(&folder, "--resume").refused(5, &["another process"]);
    child.kill().expect("kill -9");
    child.wait().expect("it has ended");
    evaluate(&folder, "--resume").good();
    assert_expected(&folder);
}

#[test]
fn a_damaged_checkpoint_or_piece_is_said_to_be_damaged() {
    let damage = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, &bytes).unwrap();
    };
    for what in ["pieces", "checkpoint"] {
        let folder = folder("damaged-scratch");
        let scratch = killed(&folder, |scratch| {
            has_checkpoint(scratch) && !pieces(scratch).is_empty()
        });
        let names = match what {
            "pieces" => pieces(&scratch),
            _ => vec![what.to_owned()],
        };
        names.iter().for_each(|name| damage(&scratch.join(name)));
        evaluate(&folder, "--resume").refused(3, &["digest"]);
        assert!(!folder.join("reply").exists());
        // It is still possible without.
        evaluate(&folder, "").good();
        assert_expected(&folder);
        assert_eq!(listing(&folder), ["reply"]);
    }
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
    assert_expected(&folder);
    assert_eq!(listing(&folder), ["reply"]);
    let little = format!("--force --memory {needed}MiB --scratch-limit 1");
    evaluate(&folder, &little).refused(4, &["scratch", "--scratch-limit"]);
    assert_eq!(listing(&folder), ["reply"]);
}

#[test]
fn scratch_that_cannot_be_written_is_an_error_before_anything_is_computed() {
    let folder = folder("no-scratch");
    let needed = needed_mebibytes(&evaluate(&folder, "--memory 1").stderr);
    let memory = format!("--memory {needed}MiB");
    let file = folder.join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("scratch").display().to_string();
    evaluate(&folder, &format!("{memory} --scratch {below}"))
        .refused(5, &["cannot create the folder", "file"]);
    fs::remove_file(&file).unwrap();
    assert!(listing(&folder).is_empty());
    // A limit of 16 KiB on files stands for the full disk.
    let line = format!(
        "trap '' XFSZ; ulimit -f 16; exec \"$SORDINO\" {FLAGS} {memory} --out {}",
        folder.join("reply").display()
    );
    bash(deep(), &line).refused(5, &["cannot write"]);
    assert!(listing(&folder).is_empty(), "{:?}", listing(&folder));
}

/// What is asked of long plans, which takes longer than a test may: `docs/notes/deep-networks.md` has the commands.
///
/// `SORDINO_RESUME_MODEL` and `SORDINO_RESUME_IMAGES` name a model file and 10,000 images for it, `SORDINO_RESUME_KILLS` says how often
/// an evaluation is killed, `SORDINO_RESUME_FLAGS` what `evaluate` gets beside.
#[test]
#[ignore = "minutes to hours: evaluates 10,000 images again and again"]
fn long_evaluations_killed_at_random_moments_go_on_to_the_same_reply() {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = root.join(variable(
        "SORDINO_RESUME_MODEL",
        "models/lenet-fashion-mnist.safetensors",
    ));
    let kills: u32 = variable("SORDINO_RESUME_KILLS", "20")
        .parse()
        .expect("a number");
    // Slow enough to take about half a minute.
    let more = variable("SORDINO_RESUME_FLAGS", "--backend avx2");
    let data = std::env::var("SORDINO_DATA").map_or(root.join("../shared/data"), PathBuf::from);
    let images = variable("SORDINO_RESUME_IMAGES", "mnist/t10k-images-idx3-ubyte.gz");
    let images = data.join(images);
    let folder = folder("long");
    for line in [
        format!(
            "compile {} --packing element-wise --batch 10000 --out .",
            model.display()
        ),
        "keygen --plan client.plan --out .".to_owned(),
        format!(
            "encrypt --plan client.plan --key secret.key --images {} --out request",
            images.display()
        ),
    ] {
        sordino(&folder, &line).good();
    }
    let start_of = |out: &str| {
        start(
            &folder,
            &format!("{FLAGS} {more} --resume --json --out {out}"),
        )
    };
    let finished = |out: &str| {
        let output = start_of(out).wait_with_output().expect("its output");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    let begun = Instant::now();
    finished("expected");
    let whole = begun.elapsed();
    println!("a whole evaluation takes {whole:.1?}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut state = now.expect("after 1970").as_nanos() as u32 | 1;
    println!("seed {state}");
    for kill in 1..=kills {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let moment = whole.mul_f64(f64::from(state) / f64::from(u32::MAX));
        let mut child = start_of("reply");
        std::thread::sleep(moment);
        child.kill().expect("kill -9");
        child.wait().expect("it has ended");
        let mut resumed = false.into();
        let begun = Instant::now();
        if !folder.join("reply").exists() {
            resumed = finished("reply")["resumed"].clone();
        }
        let took = begun.elapsed();
        println!("{kill}: killed after {moment:.1?}, resumed: {resumed}, another {took:.1?}");
        let replies =
            ["expected", "reply"].map(|name| fs::read(folder.join(name)).expect("a reply"));
        assert!(replies[0] == replies[1], "another reply");
        fs::remove_file(folder.join("reply")).expect("the reply goes");
        let left = listing(&folder);
        assert!(
            !left.iter().any(|name| name.starts_with("sordino-scratch")),
            "{left:?}"
        );
    }
}
