//! Which program made a measurement, and on which machine.

use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use sordino_report::Environment;

/// Program, machine and load of a record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// Commit of the working folder's repository, `-dirty` where files were changed, or `unknown`.
    pub commit: String,
    /// Processor, cores, memory and system.
    pub machine: String,
    /// Load average of the last minute when the measurement began.
    pub load: Option<f64>,
}

impl Origin {
    /// This program on this machine, now.
    pub fn here() -> Self {
        let Environment { machine, load } = Environment::here();
        Self {
            commit: commit().unwrap_or_else(|| "unknown".into()),
            machine,
            load,
        }
    }
}

/// What Git says of the working folder.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).filter(|commit| !commit.is_empty())?;
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"])
        .is_some_and(|changes| !changes.is_empty());
    Some(if dirty {
        format!("{commit}-dirty")
    } else {
        commit
    })
}
