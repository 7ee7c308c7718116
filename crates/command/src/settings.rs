//! Settings in a file.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use sordino_container::Error as FileError;

use crate::Error;

/// Most bytes of a file of settings.
const MOST_BYTES: u64 = 1 << 20;

/// Reads a structure from a .toml or .json file; `None` where the name ends in neither. `what` is expected in the file.
///
/// # Errors
/// [`Error::Settings`] for another content, [`Error::File`].
pub fn read_settings<T: DeserializeOwned>(
    path: &Path,
    what: &'static str,
) -> Result<Option<T>, Error> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let json = match extension.unwrap_or("").to_ascii_lowercase().as_str() {
        "json" => true,
        "toml" => false,
        _ => return Ok(None),
    };
    let read = |error| FileError::io(path, "read", error);
    let size = fs::metadata(path).map_err(read)?.len();
    let wrong = |detail| Error::Settings {
        path: path.into(),
        what,
        detail,
    };
    if size > MOST_BYTES {
        return Err(wrong(format!("{size} bytes, more than {MOST_BYTES}")));
    }
    let content = fs::read_to_string(path).map_err(read)?;
    let parsed = match json {
        true => serde_json::from_str(&content).map_err(|error| error.to_string()),
        false => toml::from_str(&content).map_err(|error| error.to_string()),
    };
    parsed.map(Some).map_err(wrong)
}
