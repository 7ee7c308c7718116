//! Flags that every command takes, and the version.

use std::sync::OnceLock;

use clap::Args;
use sordino_container::Overwrite;
use sordino_ring::backend::{self, Backend};

use crate::Error;

/// The heading of these flags, so that the help of a command shows its own flags first.
const GLOBAL: &str = "Global options";

/// Flags that every command takes.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalArgs {
    /// Threads to use [default: all cores]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Back end of the arithmetic [default: SORDINO_BACKEND, else the best that the processor has]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "NAME")]
    pub backend: Option<String>,
    /// No progress and no messages but errors
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// Print the result as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Replace existing files (never a secret key)
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub force: bool,
}

impl GlobalArgs {
    /// The back end that was asked for.
    ///
    /// # Errors
    /// [`Error::Ring`] naming those that there are.
    pub fn backend(&self) -> Result<&'static Backend, Error> {
        Ok(backend::select(self.backend.as_deref())?)
    }

    /// Whether existing files may be replaced.
    pub fn overwrite(&self) -> Overwrite {
        if self.force {
            Overwrite::Replace
        } else {
            Overwrite::Refuse
        }
    }

    /// Starts the thread pool of the process.
    ///
    /// # Errors
    /// [`Error::Threads`].
    pub fn start_threads(&self) -> Result<(), Error> {
        let threads = usize::from(self.threads.unwrap_or(0));
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|error| Error::Threads {
                // 0 stands for as many as there are cores.
                threads: match threads {
                    0 => std::thread::available_parallelism().map_or(1, usize::from),
                    threads => threads,
                },
                detail: error.to_string(),
            })
    }
}

/// The version with the back ends that this processor can run and the one that is chosen without a flag.
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let names: Vec<&str> = backend::available()
            .iter()
            .map(|backend| backend.name)
            .collect();
        let chosen = backend::select(None).map_or("none", |backend| backend.name);
        let (version, names) = (env!("CARGO_PKG_VERSION"), names.join(", "));
        format!("{version} (back end {chosen}; available: {names})")
    })
}
