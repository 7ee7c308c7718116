//! Evaluation keys.

use rusqlite::{Connection, OptionalExtension, Row, params};
use sordino_container::Digest;
use sordino_protocol::api::Id;

use super::{
    Database, FileKind, Made, Quota, Result, make_file, over_quota, parsed, touch, unsigned,
};

/// A key.
#[derive(Clone, Debug)]
pub(crate) struct KeyRow {
    /// The number of its file.
    pub file: i64,
    /// The client's name for it.
    pub name: String,
    /// Bytes of the key file.
    pub bytes: u64,
    /// The parameters that it was made for.
    pub parameters: Digest,
    /// The public name of the secret key that it belongs to, once the key was read.
    pub key_id: Option<String>,
    /// When it was registered.
    pub created: u64,
    /// When it was used last.
    pub touched: u64,
}

/// A key to register.
#[derive(Clone, Debug)]
pub(crate) struct NewKeyRow<'a> {
    pub client: &'a str,
    pub id: &'a Id,
    pub parameters: Digest,
    pub bytes: u64,
}

const COLUMNS: &str = "files.file, name, bytes, parameters, key_id, created, touched
    FROM files JOIN keys USING (file)";

impl Database {
    /// Registers a key.
    pub(crate) fn make_key(&self, new: &NewKeyRow<'_>, quota: Quota) -> Result<Made<KeyRow>> {
        self.change(|change| {
            if let Some(found) = key(change, new.client, new.id)? {
                let same = found.parameters == new.parameters && found.bytes == new.bytes;
                return Ok(if same {
                    Made::Same(found)
                } else {
                    Made::Differs
                });
            }
            if let Some(over) = over_quota(change, new.client, FileKind::Key, new.bytes, quota)? {
                return Ok(Made::OverQuota(over));
            }
            let file = make_file(
                change,
                new.client,
                FileKind::Key,
                new.id,
                new.bytes,
                new.bytes,
            )?;
            change.execute(
                "INSERT INTO keys (file, parameters) VALUES (?1, ?2)",
                params![file, new.parameters.to_string()],
            )?;
            let made = key(change, new.client, new.id)?;
            made.map(Made::New)
                .ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// A client's key.
    pub(crate) fn key(&self, client: &str, id: &Id) -> Result<Option<KeyRow>> {
        let connection = self.connection();
        key(&connection, client, id)
    }

    /// All keys of a client, the newest first.
    pub(crate) fn keys(&self, client: &str) -> Result<Vec<KeyRow>> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} WHERE client = ?1 ORDER BY file DESC"
        ))?;
        let rows = statement.query_map([client], row)?;
        rows.collect()
    }

    /// A key was read, is good, and takes no more chunks.
    pub(crate) fn complete_key(&self, file: i64, key_id: &str) -> Result<()> {
        self.change(|change| {
            change.execute(
                "UPDATE keys SET key_id = ?2 WHERE file = ?1",
                params![file, key_id],
            )?;
            change.execute("UPDATE files SET open = 0 WHERE file = ?1", [file])?;
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

    /// The bytes of a file, by its number.
    pub(crate) fn file_bytes(&self, file: i64) -> Result<Option<u64>> {
        let connection = self.connection();
        connection
            .query_row("SELECT bytes FROM files WHERE file = ?1", [file], |row| {
                row.get(0).map(unsigned)
            })
            .optional()
    }

    /// Whether a file takes chunks, from now on.
    pub(crate) fn set_open(&self, file: i64, open: bool) -> Result<()> {
        self.change(|change| {
            change.execute(
                "UPDATE files SET open = ?2 WHERE file = ?1",
                params![file, open],
            )?;
            Ok(())
        })
    }
}

pub(super) fn key(connection: &Connection, client: &str, id: &Id) -> Result<Option<KeyRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} WHERE client = ?1 AND kind = ?2 AND name = ?3"
        ))?
        .query_row(params![client, FileKind::Key as i64, id.as_str()], row)
        .optional()
}

fn row(row: &Row<'_>) -> Result<KeyRow> {
    Ok(KeyRow {
        file: row.get(0)?,
        name: row.get(1)?,
        bytes: unsigned(row.get(2)?),
        parameters: parsed(3, &row.get::<_, String>(3)?)?,
        key_id: row.get(4)?,
        created: unsigned(row.get(5)?),
        touched: unsigned(row.get(6)?),
    })
}
