//! Stages `client_decrypt_decode` and `client_postprocess`.

use std::fs::{self, File};

use sordino_client::{PredictionFormat, PredictionTable, SECRET_KEY_FILE};
use sordino_container::{Access, Error as FileError, Overwrite, write_atomic};
use sordino_fhe_benchmark_server::{Folders, REPLY_FILE};

use crate::encrypt::DIGEST_FILE;
use crate::{Error, client, client_plan};

/// Name of the scores between the two stages.
const SCORES_FILE: &str = "scores.csv";

/// Decrypts the result and leaves scores, rounded to the bits that the plan releases, and the class of the largest one before rounding.
///
/// # Errors
/// [`Error::StaleReply`] for the result of another input, [`Error::Client`] for one that does not fit plan or key.
pub fn decrypt_result(folders: &Folders) -> Result<(), Error> {
    let client = client(folders.size())?;
    let key = client.read_secret_key(&folders.secret_key().join(SECRET_KEY_FILE), None)?;
    let (predictions, request) = client.decrypt_file(&key, &folders.download().join(REPLY_FILE))?;
    let folder = folders.intermediate();
    let path = folder.join(DIGEST_FILE);
    let sent = fs::read_to_string(&path).map_err(|error| FileError::io(&path, "read", error))?;
    if sent.trim_end() != request.to_string() {
        let upload = folders.upload().display().to_string();
        return Err(Error::StaleReply { upload });
    }
    predictions.write_file(
        &folder.join(SCORES_FILE),
        PredictionFormat::Csv,
        None,
        true,
        Overwrite::Replace,
    )?;
    Ok(())
}

/// Writes the label of every image, one per line, in the order of the input.
///
/// # Errors
/// [`Error::Client`] for scores that cannot be read, [`Error::File`].
pub fn write_labels(folders: &Folders) -> Result<(), Error> {
    let names = client_plan(folders.size())?.class_names;
    let path = folders.intermediate().join(SCORES_FILE);
    let file = File::open(&path).map_err(|error| FileError::io(&path, "open", error))?;
    let table = PredictionTable::read_csv(file, names.len(), &path.display().to_string())?;
    let labels = table
        .classes
        .iter()
        .map(|&class| names[class].clone() + "\n");
    let labels: String = labels.collect();
    Ok(write_atomic(
        &folders.predictions(),
        labels,
        Overwrite::Replace,
        Access::Shared,
    )?)
}
