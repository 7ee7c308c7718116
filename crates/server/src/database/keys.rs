//! Evaluation keys.

use rusqlite::{Row, params};
use sordino_container::Digest;
use sordino_protocol::api::{Id, NewKey};

use super::{Database, FileKind, Made, Owned, Quota, Result, parsed, set_open, touch};

/// A key.
#[derive(Clone, Debug)]
pub(crate) struct KeyRow {
    /// The number of its file.
    pub file: i64,
    /// The client's name for it.
    pub name: Id,
    /// Bytes of the key file.
    pub bytes: u64,
    /// The parameters that it was made for.
    pub parameters: Digest,
    /// The job that it is removed with.
    pub job: Option<Id>,
    /// The public name of the secret key that it belongs to, once the key was read.
    pub key_id: Option<String>,
    /// When it was registered.
    pub created: u64,
    /// When it was used last.
    pub touched: u64,
}

impl Owned for KeyRow {
    const KIND: FileKind = FileKind::Key;
    const COLUMNS: &'static str =
        "files.file, name, bytes, parameters, job, key_id, created, touched";
    const TABLE: &'static str = "keys";

    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            file: row.get(0)?,
            name: parsed(row, 1)?,
            bytes: row.get(2)?,
            parameters: parsed(row, 3)?,
            job: row
                .get::<_, Option<String>>(4)?
                .map(|_| parsed(row, 4))
                .transpose()?,
            key_id: row.get(5)?,
            created: row.get(6)?,
            touched: row.get(7)?,
        })
    }

    fn file(&self) -> i64 {
        self.file
    }

    fn name(&self) -> &Id {
        &self.name
    }
}

impl Database {
    /// Registers a key.
    pub(crate) fn make_key(
        &self,
        client: &str,
        id: &Id,
        new: &NewKey,
        quota: Quota,
    ) -> Result<Made> {
        self.make(
            (client, id),
            (new.bytes, new.bytes),
            quota,
            |found: &KeyRow| {
                (found.parameters, found.bytes, &found.job) == (new.parameters, new.bytes, &new.job)
            },
            |change, file| {
                let sql = "INSERT INTO keys (file, parameters, job) VALUES (?1, ?2, ?3)";
                let job = new.job.as_ref().map(Id::as_str);
                change.execute(sql, params![file, new.parameters.to_string(), job])?;
                Ok(())
            },
        )
    }

    /// Marks a key as read and good; it takes no more chunks.
    pub(crate) fn complete_key(&self, file: i64, key_id: &str) -> Result<()> {
        self.change(|change| {
            let sql = "UPDATE keys SET key_id = ?2 WHERE file = ?1";
            change.execute(sql, params![file, key_id])?;
            set_open(change, file, false)?;
            touch(change, file)
        })
    }

    /// Removes a key unless a job that is not over uses it; says whether it was removed.
    pub(crate) fn remove_key(&self, file: i64) -> Result<bool> {
        self.change(|change| {
            let users: i64 = change.query_row(
                "SELECT count(*) FROM jobs WHERE key_file = ?1 AND state NOT IN ('done', 'failed', 'cancelled')",
                [file],
                |row| row.get(0),
            )?;
            if users > 0 {
                return Ok(false);
            }
            change.execute("DELETE FROM files WHERE file = ?1", [file])?;
            Ok(true)
        })
    }
}
