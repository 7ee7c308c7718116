//! One trained network with plan, keys, request and reply that all tests read, made once by the commands themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sordino::data::{Images, Pixels, digits};

/// How the shared plan was compiled, but for its batch: so precisely that rounding ties no two scores of these images.
pub(crate) const PRECISION: &str = "--precision-bits 12";

/// Images of the shared request.
pub(crate) const IMAGES: usize = 300;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The command did what it was asked to.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// The command was refused with this exit code and a message that has all these parts.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {self:?}");
        }
        assert!(!self.stderr.contains("bug"), "{self:?}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The binary, in a folder, ready for arguments.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sordino"));
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("SORDINO_BACKEND");
    command
}

/// Runs the binary in a folder; arguments are separated by blanks.
pub(crate) fn sordino(folder: &Path, arguments: &str) -> Run {
    let output = command(folder).args(arguments.split_whitespace()).output();
    Run::of(output.expect("the binary starts"))
}

/// Runs a line of bash in a folder, with the binary as `$SORDINO`.
pub(crate) fn bash(folder: &Path, line: &str) -> Run {
    let mut command = Command::new("bash");
    command
        .current_dir(folder)
        .args(["-c", line])
        .env("SORDINO", env!("CARGO_BIN_EXE_sordino"));
    Run::of(command.stdin(Stdio::null()).output().expect("bash starts"))
}

/// The folder that holds the tests' files; emptied when a test run starts.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("commands");
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).expect("a folder for the tests");
        root
    })
}

/// An empty folder of a test's own.
pub(crate) fn folder(name: &str) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = root().join(format!("{number:03}-{name}"));
    fs::create_dir_all(&path).expect("a folder for a test");
    path
}

/// Names of everything in a folder, hidden files too, sorted.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// Writes images as PNG files whose order by name is theirs, with the raw values as they are.
pub(crate) fn write_pngs(images: &Images, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder for images");
    let Pixels::U8(pixels) = &images.pixels else {
        panic!("8-bit images")
    };
    let (width, height) = (images.width as u32, images.height as u32);
    for (index, values) in pixels.chunks_exact(images.elements()).enumerate() {
        let image = image::GrayImage::from_raw(width, height, values.to_vec()).expect("a picture");
        image
            .save(folder.join(format!("scan-{index:05}.png")))
            .expect("a PNG file");
    }
}

/// Test images of the embedded digits.
pub(crate) fn test_digits() -> Images {
    digits().test.split_at(IMAGES).0
}

/// The shared files: `model.safetensors`, `images/`, `plan/`, `keys/`, `request`, `server/` and `predictions.csv`.
pub(crate) fn shared() -> &'static Path {
    static SHARED: OnceLock<PathBuf> = OnceLock::new();
    SHARED.get_or_init(|| {
        let shared = folder("shared");
        sordino(&shared, "train --data digits --arch digits --epochs 12 --out model.safetensors")
            .good();
        write_pngs(&test_digits(), &shared.join("images"));
        sordino(&shared, &format!("compile model.safetensors --batch {IMAGES} {PRECISION} --out plan")).good();
        sordino(&shared, "keygen --plan plan/client.plan --out keys").good();
        sordino(
            &shared,
            "encrypt --plan plan/client.plan --key keys/secret.key --images images --out request",
        )
        .good();
        // The evaluating side has a folder of its own, with the files that are sent to it and no others.
        let server = shared.join("server");
        fs::create_dir(&server).expect("the server's folder");
        fs::copy(shared.join("plan/server.plan"), server.join("server.plan")).expect("a copy");
        fs::copy(shared.join("request"), server.join("request")).expect("a copy");
        if needs_key(&shared) {
            fs::copy(shared.join("keys/evaluation.key"), server.join("evaluation.key"))
                .expect("a copy");
        }
        sordino(&server, &format!("evaluate {} --out reply", evaluate_flags(&shared))).good();
        sordino(
            &shared,
            "decrypt --plan plan/client.plan --key keys/secret.key --reply server/reply --logits --out predictions.csv",
        )
        .good();
        shared
    })
}

fn needs_key(shared: &Path) -> bool {
    shared.join("keys/evaluation.key").exists()
}

/// Plan, key if there is one, and request, in the server's folder.
pub(crate) fn evaluate_flags(shared: &Path) -> &'static str {
    if needs_key(shared) {
        "--plan server.plan --keys evaluation.key --request request"
    } else {
        "--plan server.plan --request request"
    }
}

/// A folder with copies of shared files, by path; the copies lie flat.
pub(crate) fn copies(name: &str, files: &[&str]) -> PathBuf {
    let folder = folder(name);
    for file in files {
        let from = shared().join(file);
        let to = folder.join(Path::new(file).file_name().expect("a file name"));
        fs::copy(&from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
    folder
}
