//! The predictions of a submission and their provenance, on their way to the disk.

use std::fs;

use sordino_container::{Access, AtomicFile, Error as FileError, Overwrite, check_writable};

use super::key_place::may_resume;
use super::submitted::SubmitOptions;
use crate::{Error, Predictions, Provenance};

/// Whether the predictions can be written. Where they exist and may not be replaced, their content: if a run before was ended right
/// after it had written them, that is what they should be.
pub(super) fn check(options: &SubmitOptions) -> Result<Option<Vec<u8>>, Error> {
    let path = &options.out;
    match AtomicFile::create(path, options.overwrite, Access::OwnerOnly) {
        Ok(_) => {
            let beside = Provenance::beside(path);
            check_writable(&beside, options.overwrite, Access::OwnerOnly)?;
            Ok(None)
        }
        Err(FileError::Exists { .. }) if path.is_file() && may_resume(options) => {
            let content = fs::read(path).map_err(|error| FileError::io(path, "read", error))?;
            Ok(Some(content))
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes predictions, unless a run before was ended right after it had done so, and their provenance.
pub(super) fn write(
    options: &SubmitOptions,
    predictions: &Predictions,
    names: Option<&[String]>,
    provenance: &Provenance,
    written: Option<Vec<u8>>,
) -> Result<(), Error> {
    let SubmitOptions {
        out,
        format,
        logits,
        overwrite,
        ..
    } = options;
    let beside = Provenance::beside(out);
    match written {
        None => {
            predictions.write_file(out, *format, names, *logits, *overwrite)?;
            provenance.write(&beside, *overwrite)
        }
        Some(found) if found == predictions.to_bytes(*format, names, *logits)? => {
            provenance.write(&beside, Overwrite::Replace)
        }
        Some(_) => Err(FileError::Exists { path: out.clone() }.into()),
    }
}
