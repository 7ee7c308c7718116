//! The plan of a model as it was seen first.
//!
//! A plan decides what the client encrypts and releases. So a server cannot exchange one without the client being asked.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sordino_container::{
    Access, Digest, Error as FileError, Overwrite, file_bytes, private_folder, write_atomic,
};

use crate::Error;

/// Most bytes of a file.
const LIMIT: u64 = 64 << 10;

/// The plan of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pin {
    /// The server's address.
    pub server: String,
    /// The model's name there.
    pub model: String,
    /// BLAKE3 digest of the client plan's file.
    pub client_plan: Digest,
}

/// What is known of a model's plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It is the one that was seen before.
    Known,
    /// It is seen for the first time.
    First,
    /// It is another one, which the caller accepts.
    Changed,
}

impl Pin {
    fn path(&self, state: &Path) -> Result<PathBuf, Error> {
        let of = serde_json::to_vec(&(&self.server, &self.model))
            .map_err(|error| Error::bug("description of the model", error))?;
        let digest = Digest::of("sordino plan of a model v1", &of).to_string();
        Ok(state.join("plans").join(format!("{}.json", &digest[..16])))
    }

    /// Compares the plan with the one that was seen first, and keeps it if there is none or if another one is accepted.
    pub(super) fn check(&self, state: &Path, accept: bool) -> Result<Sight, Error> {
        let path = self.path(state)?;
        let location = path.display().to_string();
        let sight = match read(&path)? {
            Some(found) if found == *self => return Ok(Sight::Known),
            Some(found) if !accept => {
                return Err(Error::PlanChanged {
                    model: self.model.clone(),
                    server: self.server.clone(),
                    expected: found.client_plan.to_string(),
                    found: self.client_plan.to_string(),
                    location,
                });
            }
            Some(_) => Sight::Changed,
            None => Sight::First,
        };
        private_folder(state)?;
        private_folder(&state.join("plans"))?;
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::bug("record of the plan", error))?;
        write_atomic(&path, &bytes, Overwrite::Replace, Access::OwnerOnly)?;
        Ok(sight)
    }
}

fn read(path: &Path) -> Result<Option<Pin>, Error> {
    let wrong = |detail: String| Error::Pin {
        location: path.display().to_string(),
        detail,
    };
    match file_bytes(path)? {
        None => return Ok(None),
        Some(bytes) if bytes > LIMIT => return Err(wrong(format!("it has {bytes} bytes"))),
        Some(_) => {}
    }
    let bytes = fs::read(path).map_err(|error| FileError::io(path, "read", error))?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_the_one_that_was_seen_first_until_another_is_accepted() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path().join("state");
        let pin = |server: &str, plan: u8| Pin {
            server: server.to_owned(),
            model: "m".to_owned(),
            client_plan: Digest([plan; 32]),
        };
        assert_eq!(pin("a", 1).check(&state, false).unwrap(), Sight::First);
        assert_eq!(pin("a", 1).check(&state, false).unwrap(), Sight::Known);
        assert_eq!(pin("b", 2).check(&state, false).unwrap(), Sight::First);
        let error = pin("a", 2).check(&state, false).unwrap_err().to_string();
        assert!(
            error.contains(&"01".repeat(32)) && error.contains(&"02".repeat(32)),
            "{error}"
        );
        assert_eq!(pin("a", 1).check(&state, false).unwrap(), Sight::Known);
        assert_eq!(pin("a", 2).check(&state, true).unwrap(), Sight::Changed);
        assert_eq!(pin("a", 2).check(&state, false).unwrap(), Sight::Known);
        fs::write(pin("a", 2).path(&state).unwrap(), "{}").unwrap();
        assert!(matches!(
            pin("a", 2).check(&state, true),
            Err(Error::Pin { .. })
        ));
    }
}
