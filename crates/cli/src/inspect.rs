//! `sordino inspect`

use std::path::PathBuf;

use crate::data::lines;
use crate::inspect_file::inspect;
use sordino_command::{Outcome, Output};

/// Arguments of `inspect`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A plan, key, request, reply or model
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<Outcome> {
    let found = inspect(&args.file)?;
    output.show(&found, || {
        // The kind comes first: most readers look for it.
        let kind = found["kind"].as_str().unwrap_or_default();
        format!("{}: {kind}\n{}", args.file.display(), lines(&found, 1))
    })?;
    Ok(Outcome::Good)
}
