//! The configuration file.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use sordino_command::parse_size;

use crate::Error;
use crate::token::TokenHash;

/// Most bytes of a configuration file.
const LONGEST_FILE: u64 = 1 << 20;

/// How the service is run.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServeConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether an address that others reach may be served without TLS.
    pub plain: bool,
    /// Certificate and key, for TLS.
    pub tls: Option<TlsConfig>,
    /// Folder of the database, of blobs where `blobs` does not say otherwise, and of running evaluations.
    pub state: PathBuf,
    /// Folder or URL of the store for keys, requests and replies.
    pub blobs: Option<String>,
    /// Most memory of the process, in bytes; most of what is free by default.
    #[serde(deserialize_with = "optional_size")]
    pub memory: Option<u64>,
    /// Most scratch of all evaluations together, in bytes.
    #[serde(deserialize_with = "optional_size")]
    pub scratch_limit: Option<u64>,
    /// Jobs that are evaluated at once; they share memory, scratch and threads.
    pub jobs_at_once: usize,
    /// Connections at once from one address; a proxy before this server may need more. Loopback has no limit of its own.
    pub connections_per_address: usize,
    /// How long jobs that are over, and unused keys, are kept.
    #[serde(deserialize_with = "duration")]
    pub retention: Duration,
    /// How long a stop waits for running jobs before they are stopped at a checkpoint.
    #[serde(deserialize_with = "duration")]
    pub shutdown: Duration,
    /// What is evaluated.
    #[serde(rename = "model")]
    pub models: Vec<ModelConfig>,
    /// Who may ask for it.
    #[serde(rename = "client")]
    pub clients: Vec<ClientConfig>,
}

/// No state folder, no models and no clients, which have to be given.
impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            plain: false,
            tls: None,
            state: PathBuf::new(),
            blobs: None,
            memory: None,
            scratch_limit: None,
            jobs_at_once: 1,
            connections_per_address: 256,
            retention: Duration::from_hours(7 * 24),
            shutdown: Duration::from_secs(30),
            models: Vec::new(),
            clients: Vec::new(),
        }
    }
}

/// Files for TLS, in PEM form.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TlsConfig {
    /// The certificate, with those that it hangs on.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModelConfig {
    /// Its name in the service.
    pub name: String,
    /// Folder of `server.plan` and `client.plan`.
    pub plan: PathBuf,
}

/// A client.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientConfig {
    /// Its name in logs and on the status page.
    pub name: String,
    /// Hash of its token.
    pub token: TokenHash,
    /// Hash of the token that it had before: what was stored under that one stays its own. Without it, a client that has a name
    /// again with another token finds nothing of the one before.
    #[serde(default)]
    pub replaces: Option<TokenHash>,
    /// Most bytes of its keys, requests and replies.
    #[serde(default = "default_storage", deserialize_with = "size")]
    pub storage: u64,
    /// Most of its jobs that are not over.
    #[serde(default = "default_jobs")]
    pub jobs: u64,
    /// Whether it may read the metrics.
    #[serde(default)]
    pub metrics: bool,
}

fn default_storage() -> u64 {
    50 << 30
}

fn default_jobs() -> u64 {
    16
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_size(&text).map_err(serde::de::Error::custom)
}

fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    size(deserializer).map(Some)
}

/// Reads a time such as `30s`, `5m`, `12h` or `7d`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    match humantime::parse_duration(&text) {
        Ok(time) if !time.is_zero() && time.as_secs() < 1 << 40 => Ok(time),
        _ => Err(serde::de::Error::custom(format!(
            "{text:?} is no time: write a whole number with s, m, h or d, such as 30s or 7d"
        ))),
    }
}

impl ClientConfig {
    /// A client with the default quota.
    pub fn named(name: &str, token: TokenHash) -> Self {
        Self {
            name: name.to_owned(),
            token,
            replaces: None,
            storage: default_storage(),
            jobs: default_jobs(),
            metrics: false,
        }
    }
}

impl ServeConfig {
    /// Reads a configuration file; paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`Error::Config`] naming the file and what is wrong.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let found = fs::metadata(path).map_err(|error| Error::config(path, error))?;
        if found.len() > LONGEST_FILE {
            let detail = format!(
                "expected at most {LONGEST_FILE} bytes, found {}",
                found.len()
            );
            return Err(Error::config(path, detail));
        }
        let text = fs::read_to_string(path).map_err(|error| Error::config(path, error))?;
        let mut config: Self = toml::from_str(&text).map_err(|error| Error::config(path, error))?;
        config
            .check()
            .map_err(|detail| Error::config(path, detail))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let resolve = |path: &mut PathBuf| *path = folder.join(&*path);
        resolve(&mut config.state);
        config
            .models
            .iter_mut()
            .for_each(|model| resolve(&mut model.plan));
        if let Some(tls) = &mut config.tls {
            resolve(&mut tls.certificate);
            resolve(&mut tls.key);
        }
        if let Some(blobs) = &mut config.blobs
            && !blobs.contains("://")
        {
            *blobs = folder.join(&*blobs).display().to_string();
        }
        Ok(config)
    }

    /// What makes no sense.
    ///
    /// # Errors
    /// A message for people.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.state.as_os_str().is_empty() {
            return Err(
                "expected state = \"DIR\", a folder for what the server remembers".to_owned(),
            );
        }
        if self.models.is_empty() {
            return Err(
                "expected at least one [[model]]: name a folder with server.plan and client.plan"
                    .to_owned(),
            );
        }
        if self.clients.is_empty() {
            return Err(
                "expected at least one [[client]]: make a token with `sordino-server token`"
                    .to_owned(),
            );
        }
        if !(1..=64).contains(&self.jobs_at_once) {
            return Err(format!(
                "expected jobs-at-once of 1 to 64, found {}",
                self.jobs_at_once
            ));
        }
        if self.connections_per_address == 0 {
            return Err("expected connections-per-address of at least 1, found 0".to_owned());
        }
        let mut names = BTreeSet::new();
        for name in self.models.iter().map(|model| &model.name) {
            check_name("model", name, &mut names)?;
        }
        let mut names = BTreeSet::new();
        for name in self.clients.iter().map(|client| &client.name) {
            check_name("client", name, &mut names)?;
        }
        let tokens: BTreeSet<_> = self.clients.iter().map(|client| client.token).collect();
        if tokens.len() < self.clients.len() {
            return Err("two clients have the same token: make one for each".to_owned());
        }
        if self.tls.is_none() && !self.plain && !self.listen.ip().is_loopback() {
            return Err(format!(
                "{} is reached from outside, where tokens need TLS: give [tls], or plain = true if a proxy before this server does that",
                self.listen
            ));
        }
        Ok(())
    }
}

/// Names are parts of addresses and of log lines.
fn check_name<'a>(what: &str, name: &'a str, others: &mut BTreeSet<&'a str>) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) || name.starts_with('.') {
        return Err(format!(
            "{name:?} is no name of a {what}: expected 1 to 64 letters, digits, '-', '_' and '.'"
        ));
    }
    if !others.insert(name) {
        return Err(format!("two {what}s are called {name:?}: rename one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "blake3:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn read(text: &str) -> Result<ServeConfig, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("server.toml");
        fs::write(&path, text).expect("written");
        ServeConfig::read(&path).map_err(|error| error.to_string())
    }

    fn example(extra: &str) -> String {
        format!(
            "state = 'state'\n{extra}\n[[model]]\nname = 'mnist'\nplan = 'plans'\n[[client]]\nname = 'a'\ntoken = '{HASH}'\n"
        )
    }

    #[test]
    fn defaults_and_relative_paths() {
        let config = read(&example("memory = '2GiB'\nretention = '12h'")).expect("good");
        assert!(config.state.is_absolute() && config.state.ends_with("state"));
        assert!(config.models[0].plan.ends_with("plans"));
        assert_eq!(config.memory, Some(2 << 30));
        assert_eq!(config.retention, Duration::from_secs(12 * 3600));
        assert_eq!(config.listen, ServeConfig::default().listen);
        assert_eq!(config.jobs_at_once, 1);
        assert_eq!(config.clients[0].jobs, 16);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (extra, told) in [
            ("listen = '0.0.0.0:80'", "need TLS"),
            ("jobs-at-once = 0", "jobs-at-once"),
            ("retention = '0s'", "is no time"),
            ("retention = 'x'", "is no time"),
            ("memory = '1X'", "is no size"),
            ("colour = 'red'", "unknown field"),
        ] {
            let error = read(&example(extra)).expect_err(extra);
            assert!(error.contains(told), "{extra}: {error}");
        }
        read(&example("listen = '0.0.0.0:80'\nplain = true")).expect("allowed");
        let twice = example("") + "[[client]]\nname = 'b'\ntoken = '" + HASH + "'\n";
        let error = read(&twice).expect_err("one token for two");
        assert!(error.contains("same token"), "{error}");
        for name in ["", "a/b", "..", "ä", "a b"] {
            let text = example("").replace("'mnist'", &format!("'{name}'"));
            let error = read(&text).expect_err(name);
            assert!(error.contains("no name of a model"), "{error}");
        }
        let none = format!("state = 's'\n[[client]]\nname = 'a'\ntoken = '{HASH}'\n");
        assert!(read(&none).expect_err("no model").contains("[[model]]"));
        let short = example("").replace(HASH, "blake3:12");
        assert!(read(&short).expect_err("short hash").contains("hash"));
    }
}
