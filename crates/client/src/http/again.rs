//! What is sent once more after check images came back wrong: the same batch without the images that the reply names.
//!
//! A server that lies chooses which images that are, and sees from the second request that there was one. So there is one, it says that it
//! has as many images, and the images are few.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sordino_container::{Access, Digest, Overwrite, file_bytes, private_folder, write_atomic};

use super::key_place::folder_of;
use super::submitted::SubmitOptions;
use crate::{Error, Marks};

/// The file beside what is kept of the submission.
pub(super) const FILE: &str = "again.json";

/// Most bytes of the file.
const LIMIT: u64 = 64 << 20;

/// Of this many images one may be left out.
const ONE_OF: usize = 100;

/// A batch that is sent without some images.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Again {
    /// Digest of the whole batch.
    images: Digest,
    /// What is left of it.
    marks: Marks,
}

fn path_of(options: &SubmitOptions) -> PathBuf {
    folder_of(&options.out).join(FILE)
}

impl Again {
    /// The batch without the images that a reply named; `None` if it must not be sent again.
    pub(super) fn new(
        options: &SubmitOptions,
        images: Digest,
        marks: &Marks,
        request_images: usize,
        suspects: &[usize],
    ) -> Option<Self> {
        let few = !suspects.is_empty() && suspects.len() * ONE_OF <= marks.images();
        let marks =
            (options.resubmit && few).then(|| marks.leaving_out(suspects, request_images))?;
        Some(Self {
            images,
            marks: marks?,
        })
    }

    /// What an earlier run of the same submission wrote down.
    pub(super) fn read(options: &SubmitOptions, images: Digest) -> Result<Option<Self>, Error> {
        let path = path_of(options);
        if file_bytes(&path)?.is_none_or(|bytes| bytes > LIMIT) {
            return Ok(None);
        }
        let found = fs::read(&path).ok();
        let found: Option<Self> = found.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let found = found.filter(|again| again.images == images);
        found.as_ref().map_or(Ok(()), |again| again.marks.check())?;
        Ok(found)
    }

    /// Writes it down, so that a run after this one does not send the whole batch again.
    pub(super) fn write(&self, options: &SubmitOptions) -> Result<(), Error> {
        private_folder(&folder_of(&options.out))?;
        let bytes =
            serde_json::to_vec(self).map_err(|error| Error::bug("record of the images", error))?;
        let access = Access::OwnerOnly;
        Ok(write_atomic(
            &path_of(options),
            &bytes,
            Overwrite::Replace,
            access,
        )?)
    }

    /// The batch.
    pub(super) fn marks(self) -> Marks {
        self.marks
    }
}
