//! Stage `client_key_generation`.

use sordino_client::SECRET_KEY_FILE;
use sordino_container::{Error as FileError, Overwrite};
use sordino_fhe_benchmark_server::{EVALUATION_KEY_FILE, Folders};

use crate::{Error, client};

/// Makes the keys of an instance: the secret one, and an evaluation key if the plan needs one.
///
/// The folder of public keys is there in both cases.
///
/// # Errors
/// [`Error::File`] among others where there is a secret key already: the suite removes `io/<size>` before it starts, and what
/// was encrypted with that key would be lost with it.
pub fn generate_keys(folders: &Folders) -> Result<(), Error> {
    let (public, private) = (folders.public_keys(), folders.secret_key());
    let secret = private.join(SECRET_KEY_FILE);
    if std::fs::symlink_metadata(&secret).is_ok() {
        return Err(FileError::Exists { path: secret }.into());
    }
    let keys = client(folders.size())?.generate_keys()?;
    Folders::create(&public)?;
    Folders::create(&private)?;
    // The public key first: without the secret one it is of no use and does no harm.
    if let Some(key) = &keys.evaluation {
        key.write_file(public.join(EVALUATION_KEY_FILE), Overwrite::Replace)
            .map_err(sordino_client::Error::from)?;
    }
    keys.secret
        .write_file(&secret)
        .map_err(sordino_client::Error::from)?;
    Ok(())
}
