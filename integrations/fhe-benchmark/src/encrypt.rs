//! Stages `client_preprocess_input` and `client_encode_encrypt_input`.

use sordino_client::SECRET_KEY_FILE;
use sordino_container::{Access, Overwrite, write_atomic};
use sordino_data::open_images;
use sordino_fhe_benchmark_server::{Folders, REQUEST_FILE};

use crate::{Error, client, pixels};

/// Name of the images between the two stages.
const PIXELS_FILE: &str = "pixels.npy";

/// Name of the digest of what was sent, as 64 digits: a result names the input that it answers.
pub(crate) const DIGEST_FILE: &str = "request.digest";

/// Reads the suite's text and leaves the images as an array.
///
/// All 784 pixels of an image are kept and no value is changed: the network takes what the suite gives.
///
/// # Errors
/// [`Error::Input`] for anything but 784 values from 0 to 1 per line, [`Error::File`].
pub fn preprocess_input(folders: &Folders) -> Result<(), Error> {
    let values = pixels::read_text(&folders.input(), folders.size().images())?;
    let folder = folders.intermediate();
    Folders::create(&folder)?;
    pixels::write_npy(&folder.join(PIXELS_FILE), &values)
}

/// Encrypts the images with the secret key of the instance.
///
/// # Errors
/// [`Error::Data`] and [`Error::Client`] for images or a key that do not fit the plan.
pub fn encrypt_input(folders: &Folders) -> Result<(), Error> {
    let client = client(folders.size())?;
    let key = client.read_secret_key(&folders.secret_key().join(SECRET_KEY_FILE), None)?;
    let images = open_images(folders.intermediate().join(PIXELS_FILE))?;
    // The network was made for pixels from 0 to 255, which the suite has scaled already.
    let request = client.encrypt_images(&key, &images, Some((0.0, 1.0)))?;
    let folder = folders.upload();
    Folders::create(&folder)?;
    let digest = request
        .write_file(folder.join(REQUEST_FILE), Overwrite::Replace)
        .map_err(sordino_client::Error::from)?;
    let path = folders.intermediate().join(DIGEST_FILE);
    let text = format!("{digest}\n");
    Ok(write_atomic(
        &path,
        text,
        Overwrite::Replace,
        Access::Shared,
    )?)
}
