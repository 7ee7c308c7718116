//! A folder with the keys of one set of parameters, used again or filled.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sordino_ckks::{EvaluationKey, EvaluationKeyMetadata, KeySet};
use sordino_container::{
    Digest, Error as FileError, Kind, Limits, METADATA_LIMIT, Overwrite, StreamReader,
    TEMPORARY_SUFFIX, file_bytes,
};
use sordino_protocol::shorten;
use sordino_secret::{Passphrase, SecretKey, SecretKeyMetadata};

use crate::files::write_secret_key;
use crate::{Client, EVALUATION_KEY_FILE, Error, SECRET_KEY_FILE};

/// The name that an evaluation key has until its secret key is written. A process that ends between the two leaves this
/// file, which the next one takes.
const PENDING_FILE: &str = "evaluation.key.new";

/// Locked while something is made or renamed in the folder.
const LOCK_FILE: &str = "keys.lock";

/// Keys of any size: only their headers are read here.
const LIMITS: Limits = Limits {
    metadata_bytes: METADATA_LIMIT,
    payload_bytes: u64::MAX,
};

/// The keys of a folder.
pub struct KeyFolder {
    /// The secret key.
    pub secret: SecretKey,
    /// The evaluation key, if the plan needs one.
    pub evaluation: Option<EvaluationKeyFile>,
    /// Whether they were made just now.
    pub made: bool,
}

/// An evaluation key that fits a plan; only its header was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationKeyFile {
    /// The file.
    pub path: PathBuf,
    /// Its digest, as its header has it.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

impl Client {
    /// The keys in a folder; if it has none, they are made there.
    ///
    /// The secret key is encrypted with the passphrase, if there is one. One key serves every plan with equal parameters. What is there is never replaced. A process that ends at any moment leaves a
    /// folder that the next call can use.
    ///
    /// # Errors
    /// [`Error::KeyFolder`] for keys of other parameters, or one key without the other that belongs to it; otherwise those of
    /// [`read_secret_key`](Self::read_secret_key) and [`Keys::write_folder`](crate::Keys::write_folder).
    pub fn open_key_folder(
        &self,
        folder: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<KeyFolder, Error> {
        let path = folder.join(SECRET_KEY_FILE);
        let needed = self.plan().key_set()?;
        let complete =
            is_there(&path)? && (needed.is_none() || is_there(&folder.join(EVALUATION_KEY_FILE))?);
        let made = !complete && self.complete_key_folder(folder, passphrase)?;
        self.check_secret_header(folder, &path)?;
        let secret = self.read_secret_key(&path, passphrase)?;
        let evaluation = match needed {
            Some(needed) => {
                let path = folder.join(EVALUATION_KEY_FILE);
                Some(self.check_evaluation_header(folder, &path, &secret, &needed)?)
            }
            None => None,
        };
        Ok(KeyFolder {
            secret,
            evaluation,
            made,
        })
    }

    /// Makes the keys of an empty folder, or completes what an earlier process began. Tells whether keys were made.
    fn complete_key_folder(
        &self,
        folder: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<bool, Error> {
        fs::create_dir_all(folder)
            .map_err(|error| FileError::io(folder, "create the folder", error))?;
        let lock_path = folder.join(LOCK_FILE);
        let lock =
            File::create(&lock_path).map_err(|error| FileError::io(&lock_path, "create", error))?;
        lock.lock()
            .map_err(|error| FileError::io(&lock_path, "lock", error))?;
        let [secret, evaluation, pending] =
            [SECRET_KEY_FILE, EVALUATION_KEY_FILE, PENDING_FILE].map(|name| folder.join(name));
        let make = !is_there(&secret)?;
        remove_unfinished(folder);
        if make {
            if is_there(&evaluation)? {
                return Err(folder_error(
                    folder,
                    format!("it has {EVALUATION_KEY_FILE} and no {SECRET_KEY_FILE}"),
                    "bring back the secret key that it was made from, or give another folder for new keys",
                ));
            }
            let keys = self.generate_keys()?;
            if let Some(key) = &keys.evaluation {
                // What an earlier process left there has no secret key, and is of no use.
                key.write_file(&pending, Overwrite::Replace)?;
            }
            write_secret_key(&keys.secret, &secret, passphrase)?;
        }
        if self.plan().key_set()?.is_some() && !is_there(&evaluation)? {
            if !is_there(&pending)? {
                // The more telling reason, if the key would not do anyway.
                self.check_secret_header(folder, &secret)?;
                return Err(folder_error(
                    folder,
                    format!(
                        "it has {SECRET_KEY_FILE} and no {EVALUATION_KEY_FILE}, which this plan needs"
                    ),
                    "bring back the evaluation key that was made with it, or give another folder for new keys",
                ));
            }
            fs::rename(&pending, &evaluation)
                .map_err(|error| FileError::io(&pending, "rename", error))?;
        }
        Ok(make)
    }

    /// Tells which folder has keys of other parameters, before the key itself is read.
    fn check_secret_header(&self, folder: &Path, path: &Path) -> Result<(), Error> {
        let header = StreamReader::<_, SecretKeyMetadata>::open(path, Kind::SecretKey, LIMITS)?;
        let (expected, found) = (self.context().digest(), header.metadata().parameters_digest);
        if expected == found {
            return Ok(());
        }
        Err(folder_error(
            folder,
            format!(
                "its keys were made for parameters {}, the plan has {}",
                shorten(found),
                shorten(expected)
            ),
            "give another folder, in which new keys are made; one folder serves all plans with equal parameters",
        ))
    }

    fn check_evaluation_header(
        &self,
        folder: &Path,
        path: &Path,
        secret: &SecretKey,
        needed: &KeySet,
    ) -> Result<EvaluationKeyFile, Error> {
        let reader =
            StreamReader::<_, EvaluationKeyMetadata>::open(path, Kind::EvaluationKey, LIMITS)?;
        let metadata = reader.metadata();
        let file = EvaluationKeyFile {
            path: path.to_path_buf(),
            digest: reader.claimed_digest(),
            bytes: file_bytes(path)?.unwrap_or(0),
        };
        let advice =
            "give the folder that `sordino keygen` made for this plan, or another for new keys";
        if metadata.key_id != secret.key_id() {
            let found = format!("its {EVALUATION_KEY_FILE} belongs to another secret key");
            return Err(folder_error(folder, found, advice));
        }
        metadata.key_set.check_covers(needed)?;
        let expected =
            EvaluationKey::payload_bytes(&self.plan().header.parameters, &metadata.key_set);
        if metadata.parameters_digest != self.context().digest() || reader.left() != expected {
            let found = format!("its {EVALUATION_KEY_FILE} was made for other parameters");
            return Err(folder_error(folder, found, advice));
        }
        Ok(file)
    }
}

/// The public name of the key in a file, if there is one; only its header is read.
#[cfg(feature = "http")]
pub(crate) fn secret_key_id(path: &Path) -> Result<Option<sordino_ckks::KeyId>, Error> {
    if !is_there(path)? {
        return Ok(None);
    }
    let header = StreamReader::<_, SecretKeyMetadata>::open(path, Kind::SecretKey, LIMITS)?;
    Ok(Some(header.metadata().key_id))
}

/// Removes what killed processes left of keys that they were writing; the folder is locked.
fn remove_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = [PENDING_FILE, SECRET_KEY_FILE]
            .iter()
            .any(|key| name.starts_with(&format!(".{key}.")));
        if ours && name.ends_with(TEMPORARY_SUFFIX) {
            // One more or less is no reason to fail.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_there(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::io(path, "look up", error).into()),
    }
}

fn folder_error(folder: &Path, found: String, advice: &'static str) -> Error {
    Error::KeyFolder {
        folder: folder.to_path_buf(),
        found,
        advice,
    }
}
