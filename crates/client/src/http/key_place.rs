//! Where the keys of a submission are, and how long they last.
//!
//! A server that lies may learn the secret key of a reply. So keys are made for one submission, unless the caller names a folder, or
//! the evaluation key would be larger than the request: such keys are kept and serve some replies.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sordino_ckks::{EvaluationKey, KeyId};
use sordino_container::{Digest, Error as FileError, TEMPORARY_SUFFIX, private_folder};

use super::again;
use super::event::Event;
use super::submission::{Identity, JobRecord, Submission};
use super::submitted::SubmitOptions;
use crate::{Client, Error, KeyUses, SECRET_KEY_FILE, secret_key_id};

/// Replies that kept keys decrypt.
const MOST_USES: u64 = 64;

/// How long the keys last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// As long as the caller wants, who named their folder.
    Given,
    /// For this submission.
    Once,
    /// For [`MOST_USES`] replies.
    Kept,
}

/// Where the keys of a submission are.
#[derive(Debug)]
pub(super) struct KeyPlace {
    pub folder: PathBuf,
    pub lasting: Lasting,
}

/// What a submission is of, before its key is known.
pub(super) struct Unkeyed {
    pub server: String,
    pub model: String,
    pub plan: Digest,
    pub images: Digest,
}

impl Unkeyed {
    pub(super) fn with(&self, key: KeyId) -> Identity {
        Identity {
            server: self.server.clone(),
            model: self.model.clone(),
            plan: self.plan,
            key,
            images: self.images,
        }
    }

    /// Whether a record is of the same images for the same model, whatever its plan and key are.
    fn is_same_but_for_plan(&self, of: &Identity) -> bool {
        (&self.server, &self.model, self.images) == (&of.server, &of.model, of.images)
    }
}

/// Where keys of one submission and all that is kept of it are: `OUT.submission`.
pub(super) fn folder_of(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_os_string();
    name.push(".submission");
    out.with_file_name(name)
}

/// Where the secret key of a submission is or will be, with a folder of keys or without; keys that are kept for some replies apart.
pub fn secret_key_of(keys: Option<&Path>, out: &Path) -> PathBuf {
    let folder = keys.map_or_else(|| folder_of(out), Path::to_path_buf);
    folder.join(SECRET_KEY_FILE)
}

/// Whether anything is left of an earlier submission that may be the same one.
pub(super) fn may_resume(options: &SubmitOptions) -> bool {
    if let Some(keys) = &options.keys {
        return Submission::any(keys);
    }
    let kept = options.state_folder().map(|state| kept_folder(&state));
    let mut kept = kept.into_iter().flat_map(fs::read_dir).flatten().flatten();
    folder_of(&options.out).exists() || kept.any(|entry| Submission::any(&entry.path()))
}

fn kept_folder(state: &Path) -> PathBuf {
    state.join("keys")
}

impl KeyPlace {
    /// Chooses the keys of a submission, and gives the jobs of an earlier one of the same images that is given up because the
    /// model's plan is another one now.
    pub(super) fn choose(
        options: &SubmitOptions,
        client: &Client,
        images: usize,
        what: &Unkeyed,
    ) -> Result<(Self, Vec<JobRecord>), Error> {
        if let Some(folder) = &options.keys {
            let (folder, lasting) = (folder.clone(), Lasting::Given);
            return Ok((Self { folder, lasting }, Vec::new()));
        }
        if is_larger_than_request(client, images)? {
            let folder = choose_kept(&options.state_folder()?, client, what)?;
            let lasting = Lasting::Kept;
            return Ok((Self { folder, lasting }, Vec::new()));
        }
        let folder = folder_of(&options.out);
        let given_up = give_up(&folder, what)?;
        private_folder(&folder)?;
        let lasting = Lasting::Once;
        Ok((Self { folder, lasting }, given_up))
    }

    /// Says what is to be known about keys that are used more than once.
    pub(super) fn event<'a>(&'a self, evaluation_bytes: u64) -> Option<Event<'a>> {
        let used = KeyUses::of_folder(&self.folder).count();
        let folder = self.folder.as_path();
        match self.lasting {
            Lasting::Kept => Some(Event::KeysKept {
                folder,
                evaluation_bytes,
                used,
                most: MOST_USES,
            }),
            Lasting::Given if used > 0 => Some(Event::KeysUsedBefore { folder, used }),
            _ => None,
        }
    }

    /// Notes that a reply is about to be decrypted.
    pub(super) fn note_use(&self) -> Result<(), Error> {
        match self.lasting {
            Lasting::Once => Ok(()),
            Lasting::Given | Lasting::Kept => KeyUses::of_folder(&self.folder).add(),
        }
    }

    /// Removes keys that were for one submission, which is over, and what else was kept of it.
    pub(super) fn finish(&self, options: &SubmitOptions) {
        let own = folder_of(&options.out);
        if self.lasting == Lasting::Once || own.join(again::FILE).is_file() {
            remove_folder(&own);
        }
    }
}

/// Removes a folder of one submission, in one step as others see it.
fn remove_folder(folder: &Path) {
    // The key first: it must not outlive its use.
    let _ = fs::remove_file(folder.join(SECRET_KEY_FILE));
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let gone = folder.with_file_name(format!(".finished-{name}"));
    // What cannot be removed here and below is removed by the next submission.
    let _ = fs::remove_dir_all(&gone);
    // Not every system renames a folder with an open file.
    let renamed = fs::rename(folder, &gone).is_ok();
    let _ = fs::remove_dir_all(if renamed { &gone } else { folder });
}

/// Whether the evaluation key that the plan needs has more bytes than the request.
fn is_larger_than_request(client: &Client, images: usize) -> Result<bool, Error> {
    let Some(keys) = client.plan().key_set()? else {
        return Ok(false);
    };
    let key = EvaluationKey::payload_bytes(&client.plan().header.parameters, &keys);
    Ok(key > client.request_shape().layout(images)?.payload_bytes())
}

/// The folder of kept keys: of the submission that is resumed, or the first that has replies left.
fn choose_kept(state: &Path, client: &Client, what: &Unkeyed) -> Result<PathBuf, Error> {
    let kept = kept_folder(state);
    private_folder(state)?;
    private_folder(&kept)?;
    let keys = serde_json::to_vec(&client.plan().key_set()?)
        .map_err(|error| Error::bug("description of the keys", error))?;
    let parameters = client.context().digest();
    let digest = Digest::of(
        "sordino kept keys v1",
        &[parameters.as_bytes().as_slice(), &keys].concat(),
    );
    let stem = format!("{}-", &digest.to_string()[..16]);
    let entries = fs::read_dir(&kept).map_err(|error| FileError::io(&kept, "list", error))?;
    let number = |entry: fs::DirEntry| -> Option<u64> {
        entry
            .file_name()
            .to_string_lossy()
            .strip_prefix(&stem)?
            .parse()
            .ok()
    };
    let mut generations: Vec<u64> = entries.flatten().filter_map(number).collect();
    generations.sort_unstable();
    let folder = |generation: u64| kept.join(format!("{stem}{generation}"));
    let mut usable = None;
    for &generation in &generations {
        let folder = folder(generation);
        let key = secret_key_id(&folder.join(SECRET_KEY_FILE))?;
        if let Some(key) = key
            && Submission::exists(&folder, &what.with(key))?
        {
            return Ok(folder);
        }
        if KeyUses::of_folder(&folder).count() < MOST_USES {
            usable.get_or_insert(folder);
        } else if !Submission::any(&folder) {
            remove_folder(&folder);
        }
    }
    let next = generations.last().map_or(0, |last| last.saturating_add(1));
    let folder = usable.unwrap_or_else(|| folder(next));
    private_folder(&folder)?;
    Ok(folder)
}

/// Gives up what is left in `OUT.submission` of an earlier run, unless it is the same submission; its jobs are returned.
fn give_up(folder: &Path, what: &Unkeyed) -> Result<Vec<JobRecord>, Error> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        _ => private_folder(folder)?,
    }
    if let Some(key) = secret_key_id(&folder.join(SECRET_KEY_FILE))?
        && Submission::exists(folder, &what.with(key))?
    {
        return Ok(Vec::new());
    }
    refuse_others(folder)?;
    let (mut records, mut any) = (Vec::new(), false);
    for found in Submission::all(folder) {
        any = true;
        let Some(record) = found.locked()? else {
            continue;
        };
        if !what.is_same_but_for_plan(&record.of) {
            return Err(Error::KeyFolder {
                folder: folder.to_path_buf(),
                found: "it holds an unfinished submission of other images or to another server"
                    .to_owned(),
                advice: "run the command that began it, which resumes it, or remove the folder to give it up, or write the predictions to another file",
            });
        }
        records.push(record);
    }
    // With a plan that is no longer served, or before the server heard of it: the next one has its own key.
    if any {
        remove_folder(folder);
    }
    Ok(records)
}

/// What is in a folder of one submission.
const OURS: [&str; 6] = [
    SECRET_KEY_FILE,
    crate::EVALUATION_KEY_FILE,
    "evaluation.key.new",
    "keys.lock",
    "submissions",
    again::FILE,
];

/// Refuses a folder that has anything else in it, since it will be removed.
fn refuse_others(folder: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(|error| FileError::io(folder, "list", error))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(OURS.contains(&&*name) || name.ends_with(TEMPORARY_SUFFIX)) {
            return Err(Error::KeyFolder {
                folder: folder.to_path_buf(),
                found: format!("it holds {name:?}, which no submission wrote"),
                advice: "move that away, or write the predictions to another file",
            });
        }
    }
    Ok(())
}
