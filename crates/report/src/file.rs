//! The two files of a report: a page, and its numbers as JSON.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sordino_container::{Access, Error as FileError, Overwrite, check_writable, write_atomic};

use crate::Error;

/// Where a report goes.
#[derive(Debug)]
pub struct ReportFile {
    html: PathBuf,
    json: PathBuf,
    overwrite: Overwrite,
    access: Access,
}

impl ReportFile {
    /// Checks before the work that both files can be written; `others` are outputs of the same command.
    ///
    /// # Errors
    /// [`Error::SameName`], [`Error::File`].
    pub fn new(
        html: &Path,
        others: &[&Path],
        overwrite: Overwrite,
        access: Access,
    ) -> Result<Self, Error> {
        let json = html.with_extension("json");
        if json == html || others.iter().any(|other| *other == html || *other == json) {
            return Err(Error::SameName {
                html: html.into(),
                json,
            });
        }
        for path in [html, &json] {
            check_writable(path, overwrite, access)?;
        }
        Ok(Self {
            html: html.to_path_buf(),
            json,
            overwrite,
            access,
        })
    }

    /// The page.
    pub fn path(&self) -> &Path {
        &self.html
    }

    /// Writes both, each whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, numbers: &impl Serialize, page: &str) -> Result<(), Error> {
        let json = serde_json::to_string_pretty(numbers);
        let json = json.map_err(|error| FileError::io(&self.json, "write", error.into()))? + "\n";
        for (path, text) in [(&self.json, json.as_str()), (&self.html, page)] {
            write_atomic(path, text, self.overwrite, self.access)?;
        }
        Ok(())
    }
}
