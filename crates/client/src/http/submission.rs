//! What is kept of a submission until its predictions are written, so that it can be resumed.
//!
//! ```text
//! KEYS/submissions/<16 digits>/
//!   lock          held while a process works here
//!   request       the encrypted images
//!   job.json      the job's name, written before the server hears of it
//!   reply.part    what has arrived of the reply; reply.etag says of which
//!   reply         the reply
//! ```
//!
//! The digits are a digest of server, model, plan, key and images, so that the same command finds its folder again. Every file is complete under
//! its name or not there (the partial reply but for its end), and refers to the digest of what it was made from.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sordino_ckks::KeyId;
use sordino_container::{
    Access, Digest, Error as FileError, LockedFolder, Overwrite, TEMPORARY_SUFFIX, file_bytes,
    remove_file, write_atomic,
};
use sordino_protocol::RequestReader;
use sordino_protocol::api::Id;
use sordino_ring::sample::SecretRng;
use sordino_secret::SecretKey;

use crate::{Client, Error, Marks};

/// The folder in a key folder.
pub(super) const FOLDER: &str = "submissions";

/// The record of the job.
const RECORD_FILE: &str = "job.json";

/// How long to wait for the process before this one, which may be about to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most bytes of a job record.
const RECORD_LIMIT: u64 = 64 << 10;

/// How the name of a folder begins that is only there to be removed.
const FINISHED: &str = ".finished-";

/// What a submission is of; the same again is the same submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    /// The server's address.
    pub server: String,
    /// The model's name there.
    pub model: String,
    /// The plan's digest.
    pub plan: Digest,
    /// The secret key's public name.
    pub key: KeyId,
    /// Digest of the prepared images and their names.
    pub images: Digest,
}

impl Identity {
    fn folder_name(&self) -> Result<String, Error> {
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::bug("description of the submission", error))?;
        let digest = Digest::of("sordino submission v1", &text).to_string();
        Ok(digest[..16].to_owned())
    }
}

/// The content of `job.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobRecord {
    /// The job's name on the server.
    pub job: Id,
    /// What it is of.
    pub of: Identity,
    /// Digest of the request.
    pub request: Digest,
    /// Bytes of the request.
    pub request_bytes: u64,
}

/// The folder of a submission, which no other process uses meanwhile.
#[derive(Debug)]
pub(super) struct Submission {
    locked: LockedFolder,
    identity: Identity,
}

/// The folder of a submission that was begun.
pub(super) struct Unfinished(PathBuf);

impl Unfinished {
    /// Its job, if the server may have heard of one. No other process works in the folder.
    pub(super) fn locked(&self) -> Result<Option<JobRecord>, Error> {
        match LockedFolder::try_open(&self.0)? {
            Some(_lock) => Ok(read_record(&self.0.join(RECORD_FILE))),
            None if self.0.is_dir() => Err(Error::Busy {
                folder: self.0.clone(),
            }),
            None => Ok(None),
        }
    }
}

/// A request in the folder of a submission.
#[derive(Clone, Debug)]
pub(super) struct RequestFile {
    pub path: PathBuf,
    pub digest: Digest,
    pub bytes: u64,
}

impl Submission {
    /// Whether a key folder has anything that was not finished.
    pub(super) fn any(keys: &Path) -> bool {
        fs::read_dir(keys.join(FOLDER)).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Whether a submission was begun with the keys of a folder.
    pub(super) fn exists(keys: &Path, identity: &Identity) -> Result<bool, Error> {
        Ok(keys.join(FOLDER).join(identity.folder_name()?).is_dir())
    }

    /// What was begun with the keys of a folder.
    pub(super) fn all(keys: &Path) -> impl Iterator<Item = Unfinished> {
        let entries = fs::read_dir(keys.join(FOLDER)).into_iter();
        entries
            .flatten()
            .flatten()
            .map(|entry| Unfinished(entry.path()))
    }

    /// Takes the folder, which is made if need be; waits for the process before this one.
    pub(super) fn open(keys: &Path, identity: Identity) -> Result<Self, Error> {
        let folder = keys.join(FOLDER).join(identity.folder_name()?);
        let Some(locked) = LockedFolder::open(&folder, PATIENCE)? else {
            return Err(Error::Busy { folder });
        };
        let submission = Self { locked, identity };
        submission.clean()?;
        Ok(submission)
    }

    fn folder(&self) -> &Path {
        self.locked.path()
    }

    /// Removes the temporary files of killed processes.
    fn clean(&self) -> Result<(), Error> {
        let entries = fs::read_dir(self.folder())
            .map_err(|error| FileError::io(self.folder(), "list", error))?;
        for entry in entries.flatten() {
            if entry
                .file_name()
                .to_string_lossy()
                .ends_with(TEMPORARY_SUFFIX)
            {
                // One more or less is no reason to fail.
                let _ = fs::remove_file(entry.path());
            }
        }
        if let Ok(entries) = fs::read_dir(self.parent()) {
            for entry in entries.flatten() {
                if entry.file_name().to_string_lossy().starts_with(FINISHED) {
                    let _ = fs::remove_dir_all(entry.path());
                }
            }
        }
        Ok(())
    }

    /// The folder of all submissions.
    fn parent(&self) -> &Path {
        self.folder().parent().unwrap_or(self.folder())
    }

    pub(super) fn reply_path(&self) -> PathBuf {
        self.folder().join("reply")
    }

    /// Whether the reply is here.
    pub(super) fn has_reply(&self) -> bool {
        self.reply_path().is_file()
    }

    /// Whether nothing was done yet.
    pub(super) fn is_empty(&self) -> bool {
        !(self.has_reply() || self.request_path().exists() || self.record_path().exists())
    }

    fn request_path(&self) -> PathBuf {
        self.folder().join("request")
    }

    fn record_path(&self) -> PathBuf {
        self.folder().join(RECORD_FILE)
    }

    /// The request, if it is here and is one that this key and plan can have made.
    pub(super) fn request(
        &self,
        client: &Client,
        key: &SecretKey,
        images: usize,
    ) -> Result<Option<RequestFile>, Error> {
        let path = self.request_path();
        let Some(bytes) = file_bytes(&path)? else {
            return Ok(None);
        };
        // The folder is ours alone and the file was complete when it got its name, so its header is enough.
        let fits = RequestReader::open(&path, &client.request_shape()).is_ok_and(|reader| {
            let header = reader.header();
            header.key_id == key.key_id() && header.images == images as u64
        });
        if !fits {
            self.forget_request()?;
            return Ok(None);
        }
        let digest = RequestReader::open(&path, &client.request_shape())?.claimed_digest();
        Ok(Some(RequestFile {
            path,
            digest,
            bytes,
        }))
    }

    /// Encrypts the images into the folder.
    pub(super) fn encrypt(
        &self,
        client: &Client,
        key: &SecretKey,
        images: &[f32],
        marks: &Marks,
    ) -> Result<RequestFile, Error> {
        let path = self.request_path();
        let digest = client
            .encrypt_marked(key, images, marks)?
            .write_file(&path, Overwrite::Replace)?;
        let bytes = file_bytes(&path)?.unwrap_or(0);
        Ok(RequestFile {
            path,
            digest,
            bytes,
        })
    }

    /// The record of the job, if there is one.
    pub(super) fn record(&self) -> Option<JobRecord> {
        read_record(&self.record_path()).filter(|record| record.of == self.identity)
    }

    /// The job of a request: the one of an earlier run, or a new one that is written down before the server hears of it.
    pub(super) fn job(&self, request: &RequestFile) -> Result<JobRecord, Error> {
        let earlier = self.record();
        if let Some(record) = earlier.filter(|record| record.request == request.digest) {
            return Ok(record);
        }
        let record = JobRecord {
            job: random_id()?,
            of: self.identity.clone(),
            request: request.digest,
            request_bytes: request.bytes,
        };
        let bytes = serde_json::to_vec_pretty(&record)
            .map_err(|error| Error::bug("record of the job", error))?;
        let path = self.record_path();
        write_atomic(&path, &bytes, Overwrite::Replace, Access::OwnerOnly)?;
        Ok(record)
    }

    /// Forgets the job, so that the next run makes another one of the same request.
    pub(super) fn forget_job(&self) -> Result<(), Error> {
        Ok(remove_file(self.record_path())?)
    }

    /// Forgets the request and its job.
    pub(super) fn forget_request(&self) -> Result<(), Error> {
        self.forget_job()?;
        Ok(remove_file(self.request_path())?)
    }

    /// Forgets a reply that turned out to be of no use.
    pub(super) fn forget_reply(&self) -> Result<(), Error> {
        Ok(remove_file(self.reply_path())?)
    }

    /// Removes everything, in one step as others see it.
    pub(super) fn finish(&self) {
        // The large file first, so that the folder is not there half for long: if the process is killed before the folder is gone, what is
        // left of it tells the next one that the predictions are good.
        let _ = fs::remove_file(self.request_path());
        let parent = self.parent();
        let name = self
            .folder()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let mut gone = parent.join(format!("{FINISHED}{name}"));
        // What cannot be removed here and below is removed by the next submission.
        let _ = fs::remove_dir_all(&gone);
        if fs::rename(self.folder(), &gone).is_err() {
            // Not every system renames a folder with an open file.
            gone = self.folder().to_path_buf();
        }
        let _ = fs::remove_dir_all(&gone);
        // Succeeds where this was the last submission.
        let _ = fs::remove_dir(parent);
    }

    /// Unfinished submissions of the same images with the same key to the same model, made with another plan.
    pub(super) fn outdated(&self) -> Vec<(Submission, JobRecord)> {
        let entries = fs::read_dir(self.parent());
        let folders = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        folders
            .filter(|folder| folder != self.folder())
            .filter_map(|folder| {
                let record = read_record(&folder.join(RECORD_FILE))?;
                let same = Identity {
                    plan: self.identity.plan,
                    ..record.of.clone()
                };
                if same != self.identity {
                    return None;
                }
                let submission = Submission {
                    locked: LockedFolder::try_open(folder).ok().flatten()?,
                    identity: record.of.clone(),
                };
                Some((submission, record))
            })
            .collect()
    }
}

fn read_record(path: &Path) -> Option<JobRecord> {
    if file_bytes(path).ok()?? > RECORD_LIMIT {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// A name that no other job has.
fn random_id() -> Result<Id, Error> {
    let mut bytes = [0; 16];
    let mut rng = SecretRng::from_os().map_err(sordino_secret::Error::from)?;
    rng.fill(&mut bytes);
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.parse()
        .map_err(|detail: String| Error::bug("choice of a job's name", detail))
}
