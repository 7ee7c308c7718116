//! `sordino serve` as a process that can be killed, started again on the same state, and looked at.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sordino_container::Digest;

use crate::files::{Case, command};
use crate::wire::{Request, once};

/// A client in a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) token: String,
    /// Further lines of its entry.
    pub(crate) more: String,
}

impl Client {
    pub(crate) fn new(name: &str) -> Self {
        // The same in every run; it protects nothing.
        let bytes = Digest::of("sordino tests of served tokens", name.as_bytes());
        Self {
            name: name.to_owned(),
            token: format!("sordino_{}", URL_SAFE_NO_PAD.encode(bytes.as_bytes())),
            more: String::new(),
        }
    }

    /// With a further line in its entry.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.more.push_str(line);
        self.more.push('\n');
        self
    }
}

/// What a configuration says.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Lines before the first table.
    pub(crate) lines: Vec<String>,
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) models: Vec<(String, PathBuf)>,
    pub(crate) clients: Vec<Client>,
    /// Flags behind `serve --config FILE`.
    pub(crate) flags: String,
}

impl Setup {
    /// These networks, for these clients.
    pub(crate) fn new(cases: &[&Case], clients: &[&str]) -> Self {
        let model = |case: &&Case| (case.name.to_owned(), case.folder.clone());
        Self {
            lines: Vec::new(),
            tls: None,
            models: cases.iter().map(model).collect(),
            clients: clients.iter().map(|name| Client::new(name)).collect(),
            flags: String::new(),
        }
    }

    /// With a further line, such as `retention = "1s"`.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// With flags of the command.
    pub(crate) fn flags(mut self, flags: &str) -> Self {
        self.flags = flags.to_owned();
        self
    }

    fn text(&self, listen: &str, state: &Path) -> String {
        let mut text = format!("listen = \"{listen}\"\nstate = \"{}\"\n", state.display());
        for line in &self.lines {
            writeln!(text, "{line}").expect("text");
        }
        if let Some((certificate, key)) = &self.tls {
            let (certificate, key) = (certificate.display(), key.display());
            writeln!(
                text,
                "[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\""
            )
            .expect("text");
        }
        for (name, plan) in &self.models {
            let plan = plan.display();
            writeln!(text, "[[model]]\nname = \"{name}\"\nplan = \"{plan}\"").expect("text");
        }
        for Client { name, token, more } in &self.clients {
            let hash = Digest::of("sordino token v1", token.as_bytes());
            writeln!(
                text,
                "[[client]]\nname = \"{name}\"\ntoken = \"blake3:{hash}\"\n{more}"
            )
            .expect("text");
        }
        text
    }
}

/// A server.
pub(crate) struct Server {
    pub(crate) setup: Setup,
    /// Its state, and beside it configuration and log.
    pub(crate) folder: PathBuf,
    /// `127.0.0.1:PORT`, the same after every start.
    pub(crate) address: String,
    child: Child,
    /// Read from no more, but open, so that the server may write.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a server in a folder on a free port.
    pub(crate) fn start(folder: &Path, setup: Setup) -> Self {
        let (child, stdout, address) = launch(folder, &setup, "127.0.0.1:0");
        Self {
            setup,
            folder: folder.to_owned(),
            address,
            child,
            _stdout: stdout,
        }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.folder.join("log")).expect("a log");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn client(&self, name: &str) -> &Client {
        let mut clients = self.setup.clients.iter();
        clients.find(|client| client.name == name).expect(name)
    }

    /// kill -9, and the process is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("it has ended");
    }

    /// Starts it again, on the same port with the same state.
    pub(crate) fn restart(&mut self) {
        let (child, stdout, address) = launch(&self.folder, &self.setup, &self.address);
        assert_eq!(address, self.address);
        self.child = child;
        self._stdout = stdout;
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = std::process::Command::new("kill")
            .args([signal, &id])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for it to end.
    pub(crate) fn ended(&mut self, patience: Duration) -> ExitStatus {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < until, "still running: {}", self.tail());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process has not ended by itself.
    #[track_caller]
    pub(crate) fn assert_alive(&mut self) {
        let status = self.child.try_wait().expect("a child");
        assert!(
            status.is_none(),
            "it has ended: {status:?}: {}",
            self.tail()
        );
        let health = once(&self.address, &Request::new("GET", "/health"));
        assert!(
            matches!(health, Ok(ref answer) if answer.status == 200),
            "{health:?}"
        );
    }

    /// The last lines of the log.
    pub(crate) fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Most resident memory so far, where the system tells.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok();
        let status = status.filter(|status| status.contains("VmHWM"));
        if status.is_none() {
            println!("skipped: this system does not tell the most memory of another process");
        }
        let line = status?
            .lines()
            .find(|line| line.starts_with("VmHWM"))?
            .to_owned();
        let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kibibytes << 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the server's last words:\n{}", self.tail());
        }
    }
}

fn launch(folder: &Path, setup: &Setup, listen: &str) -> (Child, BufReader<ChildStdout>, String) {
    let configuration = folder.join("server.toml");
    fs::write(&configuration, setup.text(listen, &folder.join("state"))).expect("a configuration");
    let mut log = File::options();
    let log = log
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .expect("a log");
    let mut child = command(folder)
        .args(["serve", "--config", "server.toml"])
        .args(setup.flags.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the binary starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    let Some(address) = line
        .trim()
        .strip_prefix("listening on ")
        .and_then(|url| url.split_once("://"))
    else {
        let status = child.wait();
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        panic!("it does not listen: {line:?}, {status:?}: {log}");
    };
    let address = address.1.to_owned();
    (child, stdout, address)
}
