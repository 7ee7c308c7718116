//! Folders of tests, the binary that is tested, and what the service is compared with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sordino_container::{Digest, inspect_file};

use crate::BINARY;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
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
        self
    }
}

/// The binary, in a folder, ready for arguments.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("SORDINO_BACKEND")
        .env_remove("SORDINO_TOKEN");
    command
}

/// Runs the binary in a folder; arguments are separated by blanks.
pub(crate) fn run(folder: &Path, arguments: &str) -> Run {
    let output = command(folder).args(arguments.split_whitespace()).output();
    Run::of(output.expect("the binary starts"))
}

/// The folder that holds the tests' files; emptied when a test run starts.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
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

/// Every file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        // What a server removes meanwhile is no error.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// A network that a server can be given, and a client's files for it.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its name in configurations.
    pub(crate) name: &'static str,
    /// `server.plan`, `client.plan`, perhaps `evaluation.key`, `request`, `reply`.
    pub(crate) folder: PathBuf,
    pub(crate) plan: Digest,
    pub(crate) parameters: Digest,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) request: Vec<u8>,
    /// What `evaluate` answers to the request.
    pub(crate) reply: Vec<u8>,
    pub(crate) images: u64,
}

impl Case {
    /// Reads back what was written into a folder.
    pub(crate) fn read(name: &'static str, folder: PathBuf) -> Self {
        let header = inspect_file(folder.join("request"))
            .expect("a request")
            .metadata;
        let digest = |name: &str| {
            header["parents"][name]
                .as_str()
                .and_then(|digest| digest.parse().ok())
        };
        let read = |name: &str| fs::read(folder.join(name)).expect(name);
        let (request, reply) = (read("request"), read("reply"));
        let key = fs::read(folder.join("evaluation.key")).ok();
        println!(
            "{name}: request of {} bytes, key of {:?}, reply of {}",
            request.len(),
            key.as_ref().map(Vec::len),
            reply.len()
        );
        Self {
            name,
            plan: digest("plan").expect("a plan's digest"),
            parameters: digest("parameters").expect("a digest of parameters"),
            images: header["images"].as_u64().expect("images"),
            folder,
            key,
            request,
            reply,
        }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }
}
