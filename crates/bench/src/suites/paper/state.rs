//! Finished measurements in a file, so that an interrupted run resumes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sordino::container::{Access, Digest, Error as FileError, Overwrite, write_atomic};
use sordino_command::Output;

use crate::Error;
use crate::record::{Origin, Record};

/// Name of the file in the report's folder.
const FILE: &str = "measured.json";

/// Version of the file's format.
const VERSION: u32 = 1;

/// One finished measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Finished {
    pub record: Record,
    /// The decrypted class of every image.
    pub classes: Vec<usize>,
    /// Runs that were asked for.
    pub runs: usize,
    /// The longest run that was repeated, in seconds.
    pub long_run_seconds: f64,
}

impl Finished {
    /// Whether as many runs were made as are asked for now.
    fn serves(&self, runs: usize, long_run_seconds: f64) -> bool {
        self.record.runs >= Some(runs as u64)
            || (self.runs >= runs && self.long_run_seconds >= long_run_seconds)
    }
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// Commit of the program that measured.
    commit: String,
    /// Digest of the program, which decides where the commit does not identify it.
    program: String,
    /// Measurements by a description of what was measured.
    finished: BTreeMap<String, Finished>,
}

/// Finished measurements, in memory and in the file.
pub(super) struct State {
    path: PathBuf,
    kept: Kept,
    continues: bool,
}

impl State {
    /// Reads the file of a folder, if it exists and is of the same program; `start_over` ignores it.
    pub(super) fn open(folder: &Path, start_over: bool, output: &Output) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let program = std::env::current_exe()
            .and_then(fs::read)
            .context("reading this program's file")?;
        let new = Kept {
            version: VERSION,
            commit: Origin::here().commit,
            program: Digest::of_bytes(&program).to_string(),
            finished: BTreeMap::new(),
        };
        let mut state = Self {
            continues: path.exists(),
            path,
            kept: new,
        };
        if !state.continues || start_over {
            return Ok(state);
        }
        let path = &state.path;
        let text = fs::read(path).map_err(|error| FileError::io(path, "read", error))?;
        let found: Kept = serde_json::from_slice(&text).map_err(|error| Error::Unresumable {
            path: path.clone(),
            detail: error.to_string(),
        })?;
        if found.version != VERSION || !state.kept.is_same_program(&found) {
            output.note(format!(
                "{} is of another commit or program (found {}, this is {}): starting over",
                state.path.display(),
                found.commit,
                state.kept.commit
            ));
            return Ok(state);
        }
        output.note(format!(
            "{} finished measurements in {} are not repeated",
            found.finished.len(),
            state.path.display()
        ));
        state.kept.finished = found.finished;
        Ok(state)
    }

    /// Whether an earlier run has used the folder.
    pub(super) fn continues(&self) -> bool {
        self.continues
    }

    /// A measurement that need not be repeated.
    pub(super) fn find(&self, key: &str, runs: usize, long_run_seconds: f64) -> Option<&Finished> {
        let found = self.kept.finished.get(key);
        found.filter(|finished| finished.serves(runs, long_run_seconds))
    }

    /// Keeps a measurement.
    pub(super) fn keep(&mut self, key: String, finished: Finished) -> anyhow::Result<()> {
        self.kept.finished.insert(key, finished);
        let bytes = serde_json::to_vec(&self.kept)?;
        write_atomic(&self.path, bytes, Overwrite::Replace, Access::Shared)?;
        Ok(())
    }
}

impl Kept {
    /// Whether both are of one program: a clean commit identifies it, otherwise its digest.
    fn is_same_program(&self, found: &Self) -> bool {
        let known = self.commit != "unknown" && !self.commit.ends_with("-dirty");
        self.commit == found.commit && (known || self.program == found.program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clean_commit_stands_for_a_program() {
        let kept = |commit: &str, program: &str| Kept {
            version: VERSION,
            commit: commit.into(),
            program: program.into(),
            finished: BTreeMap::new(),
        };
        let same = |x: &Kept, y: &Kept| x.is_same_program(y);
        assert!(same(&kept("abc", "1"), &kept("abc", "2")));
        assert!(!same(&kept("abc", "1"), &kept("abd", "1")));
        for commit in ["unknown", "abc-dirty"] {
            assert!(same(&kept(commit, "1"), &kept(commit, "1")));
            assert!(!same(&kept(commit, "1"), &kept(commit, "2")));
        }
    }

    #[test]
    fn fewer_runs_serve_only_where_they_were_as_many_as_fitted() {
        let finished = |made: u64, runs: usize, long_run_seconds: f64| Finished {
            record: Record {
                runs: Some(made),
                ..Record::default()
            },
            classes: vec![],
            runs,
            long_run_seconds,
        };
        assert!(finished(5, 5, 1.0).serves(3, 9.0));
        assert!(!finished(3, 3, 1.0).serves(5, 1.0));
        assert!(finished(1, 5, 9.0).serves(5, 9.0));
        assert!(!finished(1, 5, 1.0).serves(5, 9.0));
    }
}
