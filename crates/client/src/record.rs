//! What is kept of a request beside its secret key: that it was made, and what is not for the server.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sordino_ckks::KeyId;
use sordino_container::{Access, Digest, Error as FileError, Overwrite, write_atomic};

use crate::{Error, Marks};

/// Most bytes of a record.
const LIMIT: u64 = 256 << 20;
/// How the names of records begin.
const PREFIX: &str = "request-";

/// A request that was made with a key. A reply to any other is not decrypted: whoever sends it may have made the request as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestRecord {
    /// The request.
    pub request: Digest,
    /// The key.
    pub key: KeyId,
    /// The plan that it was made for.
    pub plan: Digest,
    /// Names of its images, which can tell who is in a picture, so that they do not travel with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// Which of its images are unusual; none are known to be in records that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marks: Option<Marks>,
}

impl RequestRecord {
    /// Where the record of a request is: beside the secret key.
    pub fn path(secret_key: &Path, request: Digest) -> PathBuf {
        let digest = request.to_string();
        secret_key.with_file_name(format!("{PREFIX}{}.json", &digest[..16]))
    }

    /// Writes the record beside the secret key.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, secret_key: &Path) -> Result<(), Error> {
        let bytes =
            serde_json::to_vec(self).map_err(|error| Error::bug("record of the request", error))?;
        let path = Self::path(secret_key, self.request);
        Ok(write_atomic(
            &path,
            &bytes,
            Overwrite::Replace,
            Access::OwnerOnly,
        )?)
    }

    /// The record of a request that was made with this key.
    ///
    /// # Errors
    /// [`Error::UnknownRequest`] if there is none, [`Error::Record`] for a file that holds something else, [`Error::File`] for one
    /// that cannot be read.
    pub fn read(secret_key: &Path, key: KeyId, request: Digest) -> Result<Self, Error> {
        let path = Self::path(secret_key, request);
        let location = path.display().to_string();
        let wrong = |detail: String| Error::Record {
            location: location.clone(),
            detail,
        };
        match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::UnknownRequest { location });
            }
            Err(error) => return Err(FileError::io(&path, "open", error).into()),
            Ok(found) if !found.is_file() || found.len() > LIMIT => {
                return Err(wrong(format!("expected a record below {LIMIT} bytes")));
            }
            Ok(_) => {}
        }
        let bytes = fs::read(&path).map_err(|error| FileError::io(&path, "read", error))?;
        let record: Self =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        record.marks.as_ref().map_or(Ok(()), Marks::check)?;
        match record.request == request && record.key == key {
            true => Ok(record),
            false => Err(wrong("the record is of another request or key".to_owned())),
        }
    }

    /// How often a key was used, as far as is noted beside it: requests that were made with it, and replies of submissions.
    pub fn uses(secret_key: &Path, key: KeyId) -> u64 {
        let folder = secret_key
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let entries = fs::read_dir(folder);
        let records = entries.into_iter().flatten().flatten().filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(PREFIX) && name.ends_with(".json")
        });
        let is_of_key = |path: PathBuf| {
            let bytes = fs::read(path).ok()?;
            let record: Self = serde_json::from_slice(&bytes).ok()?;
            (record.key == key).then_some(())
        };
        let records = records.filter(|entry| is_of_key(entry.path()).is_some());
        records.count() as u64 + crate::KeyUses::of_folder(folder).count()
    }

    /// Removes the record: no reply to the request is decrypted any more.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn remove(&self, secret_key: &Path) -> Result<(), Error> {
        Ok(sordino_container::remove_file(Self::path(
            secret_key,
            self.request,
        ))?)
    }
}
