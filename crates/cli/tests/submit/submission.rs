//! `sordino submit` as a process.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::files::{Case, Run, command, folder};
use crate::server::Server;

/// What somebody submits; the same again continues.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) model: String,
    pub(crate) images: PathBuf,
    /// Holds the keys and the table.
    pub(crate) folder: PathBuf,
    out: String,
}

impl Submission {
    /// Of the images of a case, with keys of its own.
    pub(crate) fn new(server: &Server, client: &str, case: &Case, name: &str) -> Self {
        let scheme = server.setup.tls.as_ref().map_or("http", |_| "https");
        Self {
            url: format!("{scheme}://{}", server.address),
            token: server.client(client).token.clone(),
            model: case.name.to_owned(),
            images: case.path("images"),
            folder: folder(&format!("submission-{name}")),
            out: "predictions.csv".to_owned(),
        }
    }

    /// The same with another table.
    pub(crate) fn to(&self, out: &str) -> Self {
        Self {
            out: out.to_owned(),
            ..self.clone()
        }
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.folder.join(&self.out)
    }

    pub(crate) fn secret_key(&self) -> PathBuf {
        self.folder.join("keys/secret.key")
    }

    /// The command, with further flags; the token is in the environment, which no list of processes shows.
    pub(crate) fn command(&self, flags: &str) -> Command {
        let mut command = command(&self.folder);
        command
            .args(["submit", "--server", &self.url, "--model", &self.model])
            .args(["--keys", "keys", "--out", &self.out, "--images"])
            .arg(&self.images)
            .args(flags.split_whitespace())
            .env("SORDINO_TOKEN", &self.token);
        command
    }

    pub(crate) fn start(&self, flags: &str) -> Child {
        let mut command = self.command(flags);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }
}

/// Submits and waits for the end.
pub(crate) fn submit(submission: &Submission, flags: &str) -> Run {
    Run::of(
        submission
            .command(flags)
            .output()
            .expect("the binary starts"),
    )
}
