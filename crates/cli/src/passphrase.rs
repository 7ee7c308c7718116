//! Passphrases of secret keys: from a file, or asked for on the terminal.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use sordino::Client;
use sordino::client::Passphrase;
use sordino::secret::SecretKey;
use zeroize::Zeroizing;

use crate::exit::Usage;

/// Where the passphrase of a secret key is, for commands that only read one.
#[derive(clap::Args)]
pub(crate) struct PassphraseFile {
    /// The file with the passphrase that the secret key is encrypted with [default: asked for if it is needed]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// The same for commands that make one.
#[derive(clap::Args)]
pub(crate) struct NewPassphrase {
    #[command(flatten)]
    file: PassphraseFile,
    /// Ask for a passphrase, and encrypt the new secret key with it
    #[arg(long, conflicts_with = "passphrase_file")]
    passphrase: bool,
}

impl PassphraseFile {
    /// The passphrase of a key that is there: from the file, or asked for if the key is encrypted and somebody can be asked.
    pub(crate) fn of(&self, key: &Path) -> anyhow::Result<Option<Passphrase>> {
        if let Some(path) = &self.passphrase_file {
            return Ok(Some(Passphrase::read_file(path)?));
        }
        if !key.is_file() || !SecretKey::is_sealed(key)? || !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        ask(&format!("passphrase of {}: ", key.display())).map(Some)
    }

    /// Reads a key with its passphrase.
    pub(crate) fn read_key(&self, client: &Client, path: &Path) -> anyhow::Result<SecretKey> {
        let passphrase = self.of(path)?;
        Ok(client.read_secret_key(path, passphrase.as_ref())?)
    }
}

impl NewPassphrase {
    /// The passphrase of a key that may be there already; of a new one where it is not.
    pub(crate) fn of(&self, key: &Path) -> anyhow::Result<Option<Passphrase>> {
        match key.exists() {
            true => self.file.of(key),
            false => self.of_new(),
        }
    }

    /// The passphrase that a new key is encrypted with.
    pub(crate) fn of_new(&self) -> anyhow::Result<Option<Passphrase>> {
        if let Some(path) = &self.file.passphrase_file {
            return Ok(Some(Passphrase::read_file(path)?));
        }
        if !self.passphrase {
            return Ok(None);
        }
        let first = ask_text("passphrase for the new secret key: ")?;
        if *first != *ask_text("the same again: ")? {
            return Err(Usage("the two passphrases differ: type the same twice".to_owned()).into());
        }
        Ok(Some(Passphrase::new(first.as_bytes(), "the terminal")?))
    }

    /// Reads a key with its passphrase.
    pub(crate) fn read_key(&self, client: &Client, path: &Path) -> anyhow::Result<SecretKey> {
        self.file.read_key(client, path)
    }
}

fn ask(prompt: &str) -> anyhow::Result<Passphrase> {
    Ok(Passphrase::new(
        ask_text(prompt)?.as_bytes(),
        "the terminal",
    )?)
}

fn ask_text(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    let text = rpassword::prompt_password(prompt).map_err(|error| {
        Usage(format!(
            "no passphrase can be asked for ({error}): give --passphrase-file FILE"
        ))
    })?;
    Ok(Zeroizing::new(text))
}
