//! Runs `docs/guide/workflow.md`: every block of shell commands, in order, in an empty folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The contents of the blocks that start with three back quotes and `sh`.
fn blocks(markdown: &str) -> Vec<&str> {
    let starts = markdown.split("\n```sh\n").skip(1);
    starts
        .map(|rest| rest.split("\n```").next().unwrap_or(rest))
        .collect()
}

fn data() -> Option<PathBuf> {
    let named = std::env::var_os("SORDINO_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| root().join("../shared/data"));
    let images = folder.join("mnist/t10k-images-idx3-ubyte.gz");
    images.is_file().then(|| folder.canonicalize().ok())?
}

/// Runs a script in `folder`, with the binaries of this build first on the path.
fn run(folder: &Path, data: &Path, script: &str) -> Output {
    let mut path = folder.join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    Command::new("sh")
        .args(["-e", "-u", "-c", script])
        .current_dir(folder.join("work"))
        .env("PATH", path)
        .env("SORDINO_DATA", data)
        .stdin(Stdio::null())
        .output()
        .expect("a shell starts")
}

#[cfg(unix)]
#[test]
fn the_guide_runs_as_it_stands() {
    let Some(data) = data() else {
        println!("skipped: no MNIST under SORDINO_DATA or ../shared/data");
        return;
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("work")).expect("a folder for the guide");
    fs::create_dir_all(folder.join("bin")).expect("a folder for the binaries");
    let sordino = Path::new(env!("CARGO_BIN_EXE_sordino"));
    let link = |target: &Path, name: &str| {
        std::os::unix::fs::symlink(target, folder.join("bin").join(name)).expect("a link");
    };
    link(sordino, "sordino");
    // Built by a test run of the whole workspace; `sordino evaluate` is the same function.
    let server = sordino.with_file_name("sordino-server");
    if server.is_file() {
        link(&server, "sordino-server");
    } else {
        println!("no {}: sordino runs in its place", server.display());
        link(sordino, "sordino-server");
    }

    let model = folder.join("work/model.safetensors");
    let committed = root().join("models/cryptonets-mnist.safetensors");
    fs::copy(committed, &model).expect("the committed model");
    let guide = fs::read_to_string(root().join("docs/guide/workflow.md")).expect("the guide");
    let blocks = blocks(&guide);
    assert!(blocks.len() >= 8, "{blocks:#?}");
    for (index, block) in blocks.iter().enumerate() {
        if let Some(arguments) = block.strip_prefix("sordino train ") {
            // Minutes of training: the model is there already, and only the arguments are tried.
            assert_eq!(index, 0, "training comes first");
            let refused = run(&folder, &data, block);
            let message = String::from_utf8_lossy(&refused.stderr);
            let exists = message.contains("model.safetensors") && message.contains("--force");
            assert!(exists, "{arguments}: {message}");
            continue;
        }
        let output = run(&folder, &data, block);
        assert!(
            output.status.success(),
            "{block}\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert!(!folder.join("work/server/secret.key").exists());
    let predictions = fs::read_to_string(folder.join("work/predictions.csv")).expect("predictions");
    assert_eq!(predictions.lines().count(), 10_001);
    fs::remove_dir_all(&folder).expect("the folder is this test's own");
}

#[test]
fn blocks_are_cut_out_whole() {
    let markdown = "# A\n\n```sh\none\ntwo\n```\n\ntext\n\n```json\n{}\n```\n\n```sh\nthree\n```\n";
    assert_eq!(blocks(markdown), ["one\ntwo", "three"]);
}
