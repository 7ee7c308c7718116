//! `sordino keygen`

use std::path::PathBuf;

use serde_json::json;
use sordino::Client;
use sordino::plan::ClientPlan;
use sordino_command::{GlobalArgs, Outcome, Output};

use crate::passphrase::NewPassphrase;

/// Arguments of `keygen`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The client plan
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Folder for secret.key, and evaluation.key if the plan needs one
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    passphrase: NewPassphrase,
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let client = Client::new(ClientPlan::read(&args.plan)?, global.backend()?)?;
    let passphrase = args.passphrase.of_new()?;
    let keys = client.generate_keys()?;
    let files = keys.write_folder(&args.out, passphrase.as_ref(), global.overwrite())?;
    let result = json!({
        "key_id": keys.secret.key_id(),
        "parameters": client.context().digest(),
        "secret_key": files.secret,
        "evaluation_key": files.evaluation,
        "evaluation_key_bytes": keys.evaluation.as_ref().map_or(0, |key| key.size_bytes()),
        "security_bits": client.plan().header.parameters.security_bits(),
    });
    output.result(&result, || {
        let secret = files.secret.display();
        let start = format!(
            "key {}: wrote {secret} (keep it, and never give it away)",
            keys.secret.key_id()
        );
        match &files.evaluation {
            Some(path) => format!("{start} and {} (for the evaluating side)", path.display()),
            None => format!("{start}; this plan needs no evaluation key"),
        }
    })?;
    Ok(Outcome::Good)
}
