//! Keys, requests, replies and predictions as files.

use std::fs;
use std::path::{Path, PathBuf};

use sordino_ckks::KeyId;
use sordino_container::{Access, Digest, Error as FileError, Overwrite, remove_file, write_atomic};
use sordino_data::{Images, Layout, Prepared, Reader, prepare_noted};
use sordino_protocol::{Message, ReceivedReply, Reply, Request, check_key};
use sordino_secret::{Passphrase, SecretKey};

use crate::{Client, Error, Keys, Predictions};

/// Name of the secret key in a key folder.
pub const SECRET_KEY_FILE: &str = "secret.key";

/// Name of the evaluation key in a key folder.
pub const EVALUATION_KEY_FILE: &str = "evaluation.key";

/// Where the keys of a plan were written.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    /// The secret key, readable by its owner only.
    pub secret: PathBuf,
    /// The evaluation key, if the plan needs one.
    pub evaluation: Option<PathBuf>,
}

/// How predictions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictionFormat {
    /// Comma separated values.
    Csv,
    /// An array of objects.
    Json,
}

impl PredictionFormat {
    /// The format that a file's name asks for: JSON for `.json`, else CSV.
    pub fn of_path(path: &Path) -> Self {
        match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("json") => Self::Json,
            _ => Self::Csv,
        }
    }
}

impl Keys {
    /// Writes the keys into a folder, which is made if need be. A secret key that is there already stays: that is an
    /// error whatever `overwrite` says.
    ///
    /// # Errors
    /// [`Error::File`]; nothing new is left behind.
    pub fn write_folder(
        &self,
        folder: &Path,
        passphrase: Option<&Passphrase>,
        overwrite: Overwrite,
    ) -> Result<KeyFiles, Error> {
        fs::create_dir_all(folder)
            .map_err(|error| FileError::io(folder, "create the folder", error))?;
        let [secret, evaluation] =
            [SECRET_KEY_FILE, EVALUATION_KEY_FILE].map(|name| folder.join(name));
        self.write_files(secret, evaluation, passphrase, overwrite)
    }

    /// Writes keys of one request beside it: `REQUEST.key`, and `REQUEST.evaluation.key` if there is one. A secret key that is there
    /// already stays: that is an error whatever `overwrite` says. The secret key is encrypted if there is a passphrase.
    ///
    /// # Errors
    /// [`Error::File`]; nothing new is left behind.
    pub fn write_beside(
        &self,
        request: &Path,
        passphrase: Option<&Passphrase>,
        overwrite: Overwrite,
    ) -> Result<KeyFiles, Error> {
        let with = |suffix: &str| {
            let mut name = request.file_name().unwrap_or_default().to_os_string();
            name.push(suffix);
            request.with_file_name(name)
        };
        self.write_files(with(".key"), with(".evaluation.key"), passphrase, overwrite)
    }

    fn write_files(
        &self,
        secret: PathBuf,
        evaluation: PathBuf,
        passphrase: Option<&Passphrase>,
        overwrite: Overwrite,
    ) -> Result<KeyFiles, Error> {
        if fs::symlink_metadata(&secret).is_ok() {
            return Err(FileError::Exists { path: secret }.into());
        }
        // The public key first: it can be taken back if the secret one cannot be written.
        let evaluation = match &self.evaluation {
            Some(key) => {
                key.write_file(&evaluation, overwrite)?;
                Some(evaluation)
            }
            None => None,
        };
        match write_secret_key(&self.secret, &secret, passphrase) {
            Ok(_) => Ok(KeyFiles { secret, evaluation }),
            Err(error) => {
                if let Some(path) = evaluation {
                    // The write error is what the user must hear of.
                    let _ = fs::remove_file(path);
                }
                Err(error)
            }
        }
    }
}

/// Writes a secret key, encrypted if there is a passphrase.
pub(crate) fn write_secret_key(
    key: &SecretKey,
    path: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<(), Error> {
    match passphrase {
        Some(passphrase) => key.write_sealed_file(path, passphrase)?,
        None => key.write_file(path)?,
    };
    Ok(())
}

impl KeyFiles {
    /// Removes the files.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn remove(&self) -> Result<(), Error> {
        for path in [Some(&self.secret), self.evaluation.as_ref()] {
            path.map_or(Ok(()), remove_file)?;
        }
        Ok(())
    }
}

/// Where images come from.
#[derive(Clone, Debug)]
pub enum ImageSource {
    /// A path that is read once it is known what a plan takes.
    Path(PathBuf),
    /// Images in memory.
    Images(Images),
}

impl From<Images> for ImageSource {
    fn from(images: Images) -> Self {
        Self::Images(images)
    }
}

impl From<PathBuf> for ImageSource {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl ImageSource {
    /// The images as a plan takes them; `layout` says where arrays that are read have their channels.
    ///
    /// # Errors
    /// Those of [`Client::prepare_path`] and [`Client::prepare_images`].
    pub fn prepare(
        self,
        client: &Client,
        layout: Option<Layout>,
        range: Option<(f64, f64)>,
    ) -> Result<Prepared, Error> {
        match self {
            Self::Path(path) => client.prepare_path(&path, layout, range),
            Self::Images(images) => {
                let (values, notes) = client.prepare_noted(&images, range)?;
                Ok(Prepared {
                    values,
                    images: images.len(),
                    names: images.names,
                    notes,
                })
            }
        }
    }
}

impl Client {
    /// Reads the secret key, which must have been made for the plan's parameters, with the passphrase that it may be encrypted with.
    ///
    /// # Errors
    /// [`Error::Secret`] for a damaged file, a key of other parameters, or another passphrase.
    pub fn read_secret_key(
        &self,
        path: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<SecretKey, Error> {
        let key = match passphrase {
            Some(passphrase) => SecretKey::read_sealed_file(path, self.context(), passphrase),
            None => SecretKey::read_file(path, self.context()),
        };
        match key {
            Err(sordino_secret::Error::Ckks(sordino_ckks::Error::ParametersMismatch {
                expected,
                found,
                ..
            })) => Err(Error::key_parameters(expected, found)),
            other => Ok(other?),
        }
    }

    /// Prepares images as the plan says and encrypts them.
    ///
    /// `range` gives the raw values of black and white where they are not the network's own.
    ///
    /// # Errors
    /// [`Error::Data`] for images that do not fit the network, and those of [`encrypt`](Self::encrypt).
    pub fn encrypt_images(
        &self,
        key: &SecretKey,
        images: &Images,
        range: Option<(f64, f64)>,
    ) -> Result<Request, Error> {
        self.encrypt(key, &self.prepare_images(images, range)?)
    }

    /// Reads images and prepares them as the plan says, with no more in memory than the plan can take. `layout` says where arrays have their
    /// channels, if it is known.
    ///
    /// # Errors
    /// [`Error::Data`] for none, for more than the plan's batch, and for images that do not fit the network.
    pub fn prepare_path(
        &self,
        path: &Path,
        layout: Option<Layout>,
        range: Option<(f64, f64)>,
    ) -> Result<Prepared, Error> {
        let plan = self.plan();
        let reader = Reader::new().layout(layout);
        Ok(reader.prepare(path, &plan.preprocess, range, plan.header.batch)?)
    }

    /// Prepares images as the plan says; the result is what [`encrypt`](Self::encrypt) takes.
    ///
    /// # Errors
    /// [`Error::Batch`] for none or too many, [`Error::Data`] for images that do not fit the network.
    pub fn prepare_images(
        &self,
        images: &Images,
        range: Option<(f64, f64)>,
    ) -> Result<Vec<f32>, Error> {
        self.prepare_noted(images, range).map(|(values, _)| values)
    }

    /// [`prepare_images`](Self::prepare_images) with notes on what was guessed.
    fn prepare_noted(
        &self,
        images: &Images,
        range: Option<(f64, f64)>,
    ) -> Result<(Vec<f32>, Vec<String>), Error> {
        let limit = self.plan().header.batch;
        if images.is_empty() || images.len() > limit {
            return Err(Error::Batch {
                limit,
                found: images.len(),
            });
        }
        Ok(prepare_noted(images, &self.plan().preprocess, range)?)
    }

    /// Reads a reply and checks everything about it that needs no key: its digest, its header, every residue, and that it names
    /// the key.
    ///
    /// # Errors
    /// [`Error::Protocol`] for a file that is damaged or does not fit the plan or the key.
    pub fn read_reply(&self, path: &Path, key: KeyId) -> Result<Reply, Error> {
        Ok(self.read_reply_noted(path, key)?.0)
    }

    /// Reads a reply, as [`read_reply`](Self::read_reply) does, with the digest of its file.
    ///
    /// # Errors
    /// As [`read_reply`](Self::read_reply).
    pub fn read_reply_noted(&self, path: &Path, key: KeyId) -> Result<(Reply, Digest), Error> {
        let shape = self.reply_shape();
        let received = ReceivedReply::read_file(path, &shape)?;
        check_key(Message::Reply, "secret key", key, received.header.key_id)?;
        let digest = received.digest;
        Ok((received.parse(&shape)?, digest))
    }

    /// Reads a reply, decrypts it and gives the digest of the request that it answers.
    ///
    /// # Errors
    /// As [`decrypt`](Self::decrypt) and [`read_reply`](Self::read_reply).
    pub fn decrypt_file(
        &self,
        key: &SecretKey,
        path: &Path,
    ) -> Result<(Predictions, Digest), Error> {
        let reply = self.read_reply(path, key.key_id())?;
        Ok((self.decrypt(key, &reply)?, reply.header().parents.request))
    }
}

impl Predictions {
    /// Writes the predictions to a file that appears under its name only when it is complete.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::ListLength`].
    pub fn write_file(
        &self,
        path: &Path,
        format: PredictionFormat,
        names: Option<&[String]>,
        logits: bool,
        overwrite: Overwrite,
    ) -> Result<(), Error> {
        let bytes = self.to_bytes(format, names, logits)?;
        // Scores are what the encryption protects: as private as the key.
        Ok(write_atomic(path, &bytes, overwrite, Access::OwnerOnly)?)
    }

    /// The content of [`write_file`](Self::write_file).
    ///
    /// # Errors
    /// [`Error::ListLength`].
    pub fn to_bytes(
        &self,
        format: PredictionFormat,
        names: Option<&[String]>,
        logits: bool,
    ) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        match format {
            PredictionFormat::Csv => self.write_csv(&mut bytes, names, logits)?,
            PredictionFormat::Json => self.write_json(&mut bytes, names, logits)?,
        }
        Ok(bytes)
    }
}
