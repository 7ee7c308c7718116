//! Where the suite wants files to be.

use std::path::{Path, PathBuf};

use sordino_container::Error as FileError;

use crate::{Error, Size};

/// Name of the evaluation key among the public keys, where a plan needs one.
pub const EVALUATION_KEY_FILE: &str = "evaluation.key";

/// Name of the encrypted input.
pub const REQUEST_FILE: &str = "request";

/// Name of the encrypted result.
pub const REPLY_FILE: &str = "reply";

/// The files of one instance, below the suite's root.
///
/// Folder names that the suite itself looks at are fixed by its harness, those inside of `io/<size>` that it does not look at are ours.
#[derive(Clone, Debug)]
pub struct Folders {
    root: PathBuf,
    size: Size,
}

impl Folders {
    /// The files of an instance below a root; the suite starts programs with its root as working directory.
    pub fn new(root: impl Into<PathBuf>, size: Size) -> Self {
        Self {
            root: root.into(),
            size,
        }
    }

    /// The size of the instance.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The images as the suite writes them: one per line, 784 numbers from 0 to 1.
    pub fn input(&self) -> PathBuf {
        let datasets = self.root.join("datasets").join(self.size.name());
        datasets.join("intermediate").join("test_pixels.txt")
    }

    /// What goes to the server before any input; the suite measures its size, so it is there even if empty.
    pub fn public_keys(&self) -> PathBuf {
        self.io().join("public_keys")
    }

    /// What stays with the client.
    pub fn secret_key(&self) -> PathBuf {
        self.io().join("secret_key")
    }

    /// What goes to the server; the suite measures its size.
    pub fn upload(&self) -> PathBuf {
        self.io().join("ciphertexts_upload")
    }

    /// What comes back; the suite measures its size.
    pub fn download(&self) -> PathBuf {
        self.io().join("ciphertexts_download")
    }

    /// What one stage of the client leaves for the next: images and scores in the clear.
    pub fn intermediate(&self) -> PathBuf {
        self.io().join("intermediate")
    }

    /// The labels that the suite compares with its own, one per line.
    pub fn predictions(&self) -> PathBuf {
        self.io().join("encrypted_model_predictions.txt")
    }

    /// Seconds by step, as the server saw them.
    pub fn reported_steps(&self) -> PathBuf {
        self.io().join("server_reported_steps.json")
    }

    fn io(&self) -> PathBuf {
        self.root.join("io").join(self.size.name())
    }

    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn create(folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder)
            .map_err(|error| FileError::io(folder, "create the folder", error).into())
    }
}
