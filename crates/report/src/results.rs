//! Records in files: `YYYYMMDD-<suite>-<commit>.json`, so that the newest is the last by name.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::{Error, KernelRecord, Record};

/// Year, month and day (UTC).
///
/// # Reference
/// H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`, for dates from 1970 on.
pub(crate) fn date(since_epoch: Duration) -> (u64, u64, u64) {
    // Days since 0000-03-01: years then end with February, and leap days come last.
    let days = since_epoch.as_secs() / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

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

/// The file name of a suite's results on a day (UTC).
///
/// # Errors
/// [`Error::Name`] where `suite` or `commit` cannot be part of a file name.
pub fn results_name(suite: &str, commit: &str, time: SystemTime) -> Result<String, Error> {
    check("suite", suite)?;
    check("commit", commit)?;
    let (year, month, day) = date(time.duration_since(UNIX_EPOCH).unwrap_or_default());
    Ok(format!("{year:04}{month:02}{day:02}-{suite}-{commit}.json"))
}

/// Writes records as a JSON array into `folder` (made if need be) and gives the file's path.
///
/// The file appears whole or not at all, and takes the place of one of the same day, suite and commit.
///
/// # Errors
/// [`Error::Name`], or [`Error::Io`] where writing fails; then nothing is left behind.
pub fn write_records(folder: &Path, suite: &str, records: &[Record]) -> Result<PathBuf, Error> {
    let commit = records.first().map_or("unknown", |record| &record.commit);
    write_array(folder, suite, commit, records)
}

/// [`write_records`] for rows of single kernels.
///
/// # Errors
/// As [`write_records`].
pub fn write_kernels(
    folder: &Path,
    suite: &str,
    records: &[KernelRecord],
) -> Result<PathBuf, Error> {
    let commit = records.first().map_or("unknown", |record| &record.commit);
    write_array(folder, suite, commit, records)
}

fn write_array(
    folder: &Path,
    suite: &str,
    commit: &str,
    records: &[impl Serialize],
) -> Result<PathBuf, Error> {
    let path = folder.join(results_name(suite, commit, SystemTime::now())?);
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create the folder", error))?;
    let mut text = serde_json::to_string_pretty(records).map_err(|error| Error::Malformed {
        path: path.clone(),
        detail: error.to_string(),
    })?;
    text.push('\n');
    let temporary = path.with_extension(format!("{}.tmp-sordino", std::process::id()));
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    });
    match written {
        Ok(()) => Ok(path),
        Err(error) => {
            // The first error is the one to tell.
            let _ = fs::remove_file(&temporary);
            Err(Error::io(&path, "write", error))
        }
    }
}

/// Reads the records of a file.
///
/// # Errors
/// [`Error::Io`], or [`Error::Malformed`] where the file is no array of records.
pub fn read_records(path: &Path) -> Result<Vec<Record>, Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::io(path, "read", error))?;
    serde_json::from_str(&text).map_err(|error| Error::Malformed {
        path: path.into(),
        detail: error.to_string(),
    })
}

/// The newest results of a suite in a folder, by name; `None` where there are none.
///
/// # Errors
/// [`Error::Io`] where the folder is there and cannot be listed.
pub fn newest(folder: &Path, suite: &str) -> Result<Option<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(|error| Error::io(folder, "list", error))?,
    };
    let mut newest = None;
    for entry in entries {
        let name = entry
            .map_err(|error| Error::io(folder, "list", error))?
            .file_name();
        let of_suite = name.to_str().is_some_and(|name| {
            let dated = name
                .split_once('-')
                .filter(|(date, _)| date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()));
            let rest = dated.and_then(|(_, rest)| {
                rest.strip_prefix(suite)?
                    .strip_prefix('-')?
                    .strip_suffix(".json")
            });
            // A longer suite's name may start with this one: what follows must look like a commit.
            rest.is_some_and(|commit| {
                commit
                    .trim_end_matches("-dirty")
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric())
            })
        });
        if of_suite {
            newest = newest.max(Some(name));
        }
    }
    Ok(newest.map(|name| folder.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Seconds from `date -u -d DATE +%s`.
        for (seconds, expected) in [
            (0, (1970, 1, 1)),
            (951_782_399, (2000, 2, 28)),
            (951_782_400, (2000, 2, 29)),
            (951_868_800, (2000, 3, 1)),
            (1_735_689_599, (2024, 12, 31)),
            (1_735_689_600, (2025, 1, 1)),
            (4_107_542_400, (2100, 3, 1)),
        ] {
            assert_eq!(date(Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn records_come_back_and_the_newest_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("bench/results");
        assert_eq!(newest(&results, "mnist").unwrap(), None);
        let mut record = Record {
            network: "mlp".into(),
            commit: "abc123".into(),
            images: 5,
            ..Record::default()
        };
        record.accuracy_plain = Some(0.1 + 0.2);
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
        for other in [
            "20000101-mnist-fff.json",
            "99990101-mnist-long-fff.json",
            "99990101-paper-fff.json",
            "x",
        ] {
            fs::write(results.join(other), "[]").unwrap();
        }
        assert_eq!(newest(&results, "mnist").unwrap(), Some(path));
        let later = results.join("99990101-mnist-abc-dirty.json");
        fs::write(&later, "{}").unwrap();
        assert_eq!(newest(&results, "mnist").unwrap().as_ref(), Some(&later));
        assert!(matches!(read_records(&later), Err(Error::Malformed { .. })));
    }

    #[test]
    fn names_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        for suite in ["", "../x", "a b", "a/b"] {
            assert!(
                matches!(
                    write_records(folder.path(), suite, &[]),
                    Err(Error::Name { .. })
                ),
                "{suite}"
            );
        }
    }
}
