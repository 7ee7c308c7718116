//! The commands `serve` and `token`.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use sordino_command::{GlobalArgs, parse_size, terminal};
use tracing::level_filters::LevelFilter;

use crate::config::{ClientConfig, ModelConfig, ServeConfig};
use crate::token::{TokenHash, read_token, write_token};
use crate::{Error, serve};

/// The client of a service without a configuration file.
const LOCAL_CLIENT: &str = "local";

/// Arguments of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Configuration file; without one, --model, --state and --token-file say what is needed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "state", "token_file"])]
    config: Option<PathBuf>,
    /// A model: its name here, and the folder that `sordino compile` wrote; may be given several times
    #[arg(long, value_name = "NAME=DIR", value_parser = model, required_unless_present = "config")]
    model: Vec<ModelConfig>,
    /// Folder for the state of the server
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    state: Option<PathBuf>,
    /// File with the token that clients show; made if it is not there
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    token_file: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Most memory of the process, such as 8G [default: most of what is free]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// Most scratch of all evaluations together [default: 30GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    scratch_limit: Option<u64>,
    /// What is logged to standard error: error, warn, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
    /// Log as JSON, a line an event [default: where standard error is no terminal]
    #[arg(long)]
    log_json: bool,
}

/// Reads `NAME=DIR`.
fn model(text: &str) -> Result<ModelConfig, String> {
    match text.split_once('=') {
        Some((name, plan)) if !name.is_empty() && !plan.is_empty() => Ok(ModelConfig {
            name: name.to_owned(),
            plan: PathBuf::from(plan),
        }),
        _ => Err(format!(
            "{text:?} is no model: write NAME=DIR with the folder of server.plan and client.plan"
        )),
    }
}

impl ServeArgs {
    /// Serves until the process is asked to end.
    ///
    /// # Errors
    /// Those of [`serve`].
    pub fn run(&self, global: &GlobalArgs) -> Result<(), Error> {
        let mut config = match &self.config {
            Some(path) => ServeConfig::read(path)?,
            None => self.without_file()?,
        };
        config.listen = self.listen.unwrap_or(config.listen);
        config.memory = self.memory.or(config.memory);
        config.scratch_limit = self.scratch_limit.or(config.scratch_limit);
        self.start_log();
        let (ask, asked) = tokio::sync::oneshot::channel();
        let ask = std::sync::Mutex::new(Some(ask));
        terminal::on_first_interrupt(move || {
            let ask = ask.lock().map(|mut ask| ask.take());
            if let Ok(Some(ask)) = ask {
                // The receiver is gone only if the server has ended already.
                let _ = ask.send(());
            }
        });
        let stop = async {
            let _ = asked.await;
        };
        let json = global.json;
        serve(config, global.backend()?, stop, |address| {
            let line = if json {
                serde_json::json!({ "listening": address }).to_string()
            } else {
                format!("listening on {address}")
            };
            // A closed standard output is no reason to end.
            let _ = terminal::print_line(line);
        })
    }

    fn without_file(&self) -> Result<ServeConfig, Error> {
        let missing = |flag| Error::config("command line", format!("expected {flag} or --config"));
        let state = self.state.clone().ok_or_else(|| missing("--state"))?;
        let path = self
            .token_file
            .as_deref()
            .ok_or_else(|| missing("--token-file"))?;
        let token = if path.exists() {
            read_token(path)?
        } else {
            write_token(path)?
        };
        let client = ClientConfig::named(LOCAL_CLIENT, token);
        Ok(ServeConfig {
            state,
            models: self.model.clone(),
            clients: vec![client],
            ..ServeConfig::default()
        })
    }

    fn start_log(&self) {
        let log = tracing_subscriber::fmt()
            .with_writer(io::stderr)
            .with_max_level(self.log)
            .with_target(false);
        // A second log of one process, as in a test, is no reason to fail.
        let _ = if self.log_json || !io::stderr().is_terminal() {
            log.json().flatten_event(true).try_init()
        } else {
            log.try_init()
        };
    }
}

/// Arguments of `token`.
#[derive(Args, Clone, Debug)]
pub struct TokenArgs {
    /// The client's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Where to write the token, which is for the client only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl TokenArgs {
    /// Makes a token; returns what belongs into the configuration.
    ///
    /// # Errors
    /// Those of [`write_token`].
    pub fn run(&self, global: &GlobalArgs) -> Result<String, Error> {
        let hash: TokenHash = write_token(&self.out)?;
        let name = &self.name;
        if global.json {
            return Ok(serde_json::json!({ "name": name, "token": hash.to_string() }).to_string());
        }
        Ok(format!("[[client]]\nname = {name:?}\ntoken = \"{hash}\""))
    }
}
