//! Records in files: `YYYYMMDD-<suite>-<commit>.json`, so that the newest file is the last by name.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use sordino::container::{Access, Error as FileError, Overwrite, write_atomic};

use super::network::Record;
use crate::Error;

fn check(what: &'static str, name: &str) -> Result<(), Error> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(good) {
        return Err(Error::Name {
            what,
            found: name.into(),
        });
    }
    Ok(())
}

/// Writes records as a JSON array into `folder`, which is made if need be, and gives the file's path.
///
/// The file appears whole or not at all, and replaces one of the same day (UTC), suite and commit.
///
/// # Errors
/// [`Error::Name`] where suite or commit cannot be part of a file name, and those of writing.
pub fn write_records<R: Serialize>(
    folder: &Path,
    suite: &str,
    records: &[R],
) -> anyhow::Result<PathBuf> {
    let first = serde_json::to_value(records.first())?;
    let commit = first["commit"].as_str().unwrap_or("unknown");
    check("suite", suite)?;
    check("commit", commit)?;
    let day = Timestamp::now().strftime("%Y%m%d");
    let path = folder.join(format!("{day}-{suite}-{commit}.json"));
    fs::create_dir_all(folder)
        .map_err(|error| FileError::io(folder, "create the folder", error))?;
    let text = serde_json::to_string_pretty(records)? + "\n";
    write_atomic(&path, text, Overwrite::Replace, Access::Shared)?;
    Ok(path)
}

/// Reads the records of a file.
///
/// # Errors
/// [`Error::Malformed`] where the file is no array of records, and those of reading.
pub fn read_records(path: &Path) -> anyhow::Result<Vec<Record>> {
    let text = fs::read_to_string(path).map_err(|error| FileError::io(path, "read", error))?;
    let records = serde_json::from_str(&text).map_err(|error| Error::Malformed {
        path: path.into(),
        detail: error.to_string(),
    })?;
    Ok(records)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn records_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("bench/results");
        let mut record = Record {
            network: "mlp".into(),
            images: 5,
            ..Record::default()
        };
        record.accuracy_plain = Some(0.1 + 0.2);
        record.origin.commit = "abc123".into();
        record.set_evaluation(&[0.1, 0.7]);
        let path = write_records(&results, "mnist", std::slice::from_ref(&record)).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name.ends_with("-mnist-abc123.json") && name.len() == 8 + 18,
            "{name}"
        );
        assert_eq!(read_records(&path).unwrap(), [record]);
        assert_eq!(
            fs::read_dir(&results).unwrap().count(),
            1,
            "nothing temporary is left"
        );
        fs::write(&path, "{}").unwrap();
        let error = read_records(&path).unwrap_err();
        assert!(
            error.to_string().contains("expected a JSON array"),
            "{error}"
        );
    }

    /// Whether a value has everything that another has; later versions have more fields.
    fn has(value: &Value, part: &Value) -> bool {
        match (value, part) {
            (Value::Object(value), Value::Object(part)) => part
                .iter()
                .all(|(name, part)| value.get(name).is_some_and(|value| has(value, part))),
            (Value::Array(value), Value::Array(part)) => {
                value.len() == part.len() && value.iter().zip(part).all(|(v, p)| has(v, p))
            }
            (value, part) => value == part,
        }
    }

    /// Records of earlier versions are read and written again without a change.
    #[test]
    fn committed_records_stay_as_they_are() {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/results");
        let mut files = 0;
        for entry in fs::read_dir(results).unwrap() {
            let path = entry.unwrap().path();
            let Ok(records) = read_records(&path) else {
                continue;
            };
            let text = fs::read_to_string(&path).unwrap();
            let kept: Value = serde_json::from_str(&text).unwrap();
            let again = serde_json::to_value(&records).unwrap();
            assert!(has(&again, &kept), "{}", path.display());
            files += 1;
        }
        assert!(files > 10, "{files}");
    }

    #[test]
    fn names_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        for suite in ["", "../x", "a b", "a/b"] {
            let error = write_records::<Record>(folder.path(), suite, &[]).unwrap_err();
            assert!(error.to_string().starts_with("suite"), "{error}");
        }
    }
}
