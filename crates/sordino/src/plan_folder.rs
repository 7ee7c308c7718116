//! Both halves of a plan as files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sordino_container::{Access, AtomicFile, Error as FileError, Overwrite};
use sordino_plan::Plan;

use crate::Error;

/// Name of the server's half in a plan folder.
pub const SERVER_PLAN_FILE: &str = "server.plan";

/// Name of the client's half in a plan folder.
pub const CLIENT_PLAN_FILE: &str = "client.plan";

/// The two files of a plan that is being written; neither has its name before both are complete.
#[derive(Debug)]
pub struct PlanFiles {
    server: AtomicFile,
    client: AtomicFile,
}

impl PlanFiles {
    /// Starts both files in a folder, which is made if need be.
    ///
    /// # Errors
    /// [`Error::File`], also for files that exist already.
    pub fn create(folder: &Path, overwrite: Overwrite) -> Result<Self, Error> {
        fs::create_dir_all(folder)
            .map_err(|error| FileError::io(folder, "create the folder", error))?;
        // The weights are for the server's owner alone.
        let server =
            AtomicFile::create(folder.join(SERVER_PLAN_FILE), overwrite, Access::OwnerOnly)?;
        let client = AtomicFile::create(folder.join(CLIENT_PLAN_FILE), overwrite, Access::Shared)?;
        Ok(Self { server, client })
    }

    /// Writes both halves and gives both files their names.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Plan`].
    pub fn write(mut self, plan: &Plan) -> Result<(PathBuf, PathBuf), Error> {
        let (server, client) = (plan.server.to_bytes()?, plan.client.to_bytes()?);
        for (file, bytes) in [(&mut self.server, server), (&mut self.client, client)] {
            let path = file.path().to_path_buf();
            file.write_all(&bytes)
                .and_then(|()| file.flush())
                .map_err(|error| FileError::io(path, "write", error))?;
        }
        let paths = (
            self.server.path().to_path_buf(),
            self.client.path().to_path_buf(),
        );
        self.server.commit()?;
        self.client.commit()?;
        Ok(paths)
    }
}
