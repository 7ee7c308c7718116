//! What the service remembers: files that arrive in chunks, keys, jobs.
//!
//! One SQLite database, in which every change but that of a chunk is on the disk before it is answered. Blobs are named by the number of their file here,
//! which is never used again.

mod jobs;
mod keys;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::types::Type;
use rusqlite::{
    Connection, OptionalExtension, Params, Row, Transaction, TransactionBehavior, params,
};
use serde::de::DeserializeOwned;
use sordino_protocol::api::Id;

use super::clock::now;
use super::config::ClientConfig;
pub(super) use jobs::{Fate, JobRow, WaitingJob};
pub(super) use keys::KeyRow;

/// The version of the tables.
const SCHEMA_VERSION: i64 = 2;

/// What version 2 added: who the files of a client's name belong to, and the job that a key is removed with.
const SCHEMA_2: &str = "
CREATE TABLE clients (
    name TEXT PRIMARY KEY,
    token TEXT NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE keys ADD COLUMN job TEXT;
";

const SCHEMA: &str = "
CREATE TABLE files (
    file INTEGER PRIMARY KEY AUTOINCREMENT,
    client TEXT NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    open INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    UNIQUE (client, kind, name)
) STRICT;
CREATE TABLE chunks (
    file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    number INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    PRIMARY KEY (file, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE keys (
    file INTEGER PRIMARY KEY REFERENCES files ON DELETE CASCADE,
    parameters TEXT NOT NULL,
    key_id TEXT
) STRICT;
CREATE TABLE jobs (
    file INTEGER PRIMARY KEY REFERENCES files ON DELETE CASCADE,
    model TEXT NOT NULL,
    plan TEXT NOT NULL,
    key_file INTEGER,
    key_name TEXT,
    images INTEGER NOT NULL,
    state TEXT NOT NULL,
    started REAL,
    began REAL,
    ended REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    reply_bytes INTEGER,
    reply_digest TEXT,
    problem TEXT
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_by_key ON jobs (key_file);
";

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// An evaluation key.
    Key = 0,
    /// The request of a job.
    Job = 1,
}

impl FileKind {
    /// What messages call the thing that the file belongs to.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Job => "job",
        }
    }
}

/// A file that arrives in chunks.
#[derive(Clone, Debug)]
pub(super) struct FileRow {
    /// Its number.
    pub file: i64,
    /// Its bytes.
    pub bytes: u64,
    /// Whether chunks are still taken.
    pub open: bool,
}

/// A chunk that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChunkRow {
    /// Its number.
    pub number: u64,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
}

/// A key or a job: a file with more columns of its own.
pub(super) trait Owned: Sized {
    /// What the file is for.
    const KIND: FileKind;
    /// Its columns.
    const COLUMNS: &'static str;
    /// The table that has them, beside that of all files.
    const TABLE: &'static str;

    /// Reads the columns.
    fn read(row: &Row<'_>) -> Result<Self>;

    /// The number of the file.
    fn file(&self) -> i64;

    /// The client's name for it.
    fn name(&self) -> &Id;
}

/// What became of a key or job that was to be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It was made.
    New,
    /// It was there, and is the same.
    Same,
    /// It was there, and differs.
    Differs,
    /// The client has as much as it may have.
    OverQuota(OverQuota),
}

/// More than a client may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OverQuota {
    /// What is counted.
    pub what: &'static str,
    /// What there would be.
    pub found: u64,
    /// What there may be.
    pub limit: u64,
}

/// What a client may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    pub stored_bytes: u64,
    pub open_jobs: u64,
}

/// What a client has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub stored_bytes: u64,
    pub open_jobs: u64,
}

/// Files that every client may have, however small: their rows take room as well.
pub(super) const FILES_LIMIT: u64 = 10_000;

#[derive(Debug)]
pub(super) struct Database {
    connection: Mutex<Connection>,
}

type Result<T> = std::result::Result<T, rusqlite::Error>;

impl Database {
    /// Opens the database, making it if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let database = Self {
            connection: Mutex::new(connection),
        };
        let missing: &[&str] = match version {
            0 => &[SCHEMA, SCHEMA_2],
            1 => &[SCHEMA_2],
            SCHEMA_VERSION => &[],
            // Of a later version of this program.
            _ => return Err(rusqlite::Error::InvalidQuery),
        };
        if !missing.is_empty() {
            database.change(|change| {
                missing
                    .iter()
                    .try_for_each(|sql| change.execute_batch(sql))?;
                change.pragma_update(None, "user_version", SCHEMA_VERSION)
            })?;
        }
        Ok(database)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A holder that panicked has left a transaction that was rolled back.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, all of it or nothing; when this returns it is on the disk.
    fn change<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.change_with("FULL", change)
    }

    /// [`change`](Self::change) that outlives the process, but is on the disk only after the next one that waits for that.
    fn change_soon<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.change_with("NORMAL", change)
    }

    fn change_with<T>(
        &self,
        synchronous: &str,
        change: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut connection = self.connection();
        connection.pragma_update(None, "synchronous", synchronous)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = change(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// The file of a client's key or job.
    pub(super) fn file(&self, client: &str, kind: FileKind, id: &Id) -> Result<Option<FileRow>> {
        one(
            &self.connection(),
            "SELECT file, bytes, open FROM files WHERE client = ?1 AND kind = ?2 AND name = ?3",
            params![client, kind as i64, id.as_str()],
            |row| {
                Ok(FileRow {
                    file: row.get(0)?,
                    bytes: row.get(1)?,
                    open: row.get(2)?,
                })
            },
        )
    }

    /// A client's key or job.
    pub(super) fn find<T: Owned>(&self, client: &str, id: &Id) -> Result<Option<T>> {
        find(&self.connection(), client, id)
    }

    /// At most `limit` keys or jobs of a client, the newest first, with the numbers of the chunks that are there;
    /// only those that are older than file `before`, where that is given.
    pub(super) fn list<T: Owned>(
        &self,
        client: &str,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<(T, Vec<u64>)>> {
        let (columns, table) = (T::COLUMNS, T::TABLE);
        let sql = format!(
            "SELECT {columns},
               (SELECT json_group_array(number ORDER BY number) FROM chunks WHERE chunks.file = files.file) AS numbers
             FROM files JOIN {table} USING (file)
             WHERE client = ?1 AND kind = ?2 AND files.file < ?3 ORDER BY files.file DESC LIMIT ?4"
        );
        let values = params![client, T::KIND as i64, before.unwrap_or(i64::MAX), limit];
        all(&self.connection(), &sql, values, |row| {
            let numbers: String = row.get("numbers")?;
            Ok((T::read(row)?, from_json(&numbers, 0)?))
        })
    }

    /// Lets each client have the files that are its own: those under its name and its token, or the token that it replaces. Files of
    /// other tokens are put aside, where no client finds them, until they expire or their token is back. Returns the names of clients
    /// whose files were put aside.
    pub(super) fn admit(&self, clients: &[ClientConfig]) -> Result<Vec<String>> {
        self.change(|change| {
            // Version 1 did not keep tokens: what a name had is its own.
            let sql = "SELECT name, token FROM clients UNION SELECT client, NULL FROM files
                 WHERE client NOT LIKE '% %' AND client NOT IN (SELECT name FROM clients)";
            let known: Vec<(String, Option<String>)> =
                all(change, sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let tokens = |client: &ClientConfig| {
                let tokens = [Some(client.token), client.replaces];
                tokens.into_iter().flatten().map(|hash| hash.to_string()).collect::<Vec<_>>()
            };
            let mut aside = Vec::new();
            for (name, token) in known {
                let client = clients.iter().find(|client| client.name == name);
                if client.is_some_and(|client| token.as_ref().is_none_or(|token| tokens(client).contains(token))) {
                    continue;
                }
                let sql = "UPDATE OR REPLACE files SET client = ?1 || ' ' || coalesce(?2, '') WHERE client = ?1";
                change.execute(sql, params![name, token])?;
                change.execute("DELETE FROM clients WHERE name = ?1", [&name])?;
                aside.push(name);
            }
            for client in clients {
                let (name, token) = (&client.name, client.token.to_string());
                let sql = "INSERT OR REPLACE INTO clients (name, token) VALUES (?1, ?2)";
                change.execute(sql, params![name, token])?;
                for token in tokens(client) {
                    let sql = "UPDATE OR IGNORE files SET client = ?1 WHERE client = ?1 || ' ' || ?2";
                    change.execute(sql, params![name, token])?;
                }
            }
            Ok(aside)
        })
    }

    /// Makes a key or job with its file, unless one of its name is there, which `is_same` compares.
    fn make<T: Owned>(
        &self,
        (client, id): (&str, &Id),
        (bytes, stored): (u64, u64),
        quota: Quota,
        is_same: impl FnOnce(&T) -> bool,
        insert: impl FnOnce(&Transaction<'_>, i64) -> Result<()>,
    ) -> Result<Made> {
        self.change(|change| {
            if let Some(found) = find(change, client, id)? {
                return Ok(match is_same(&found) {
                    true => Made::Same,
                    false => Made::Differs,
                });
            }
            if let Some(over) = over_quota(change, client, T::KIND, stored, quota)? {
                return Ok(Made::OverQuota(over));
            }
            change.execute(
                "INSERT INTO files (client, kind, name, bytes, stored, created, touched) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
                params![client, T::KIND as i64, id.as_str(), bytes, stored, now()],
            )?;
            insert(change, change.last_insert_rowid())?;
            Ok(Made::New)
        })
    }

    /// The chunks of a file that are there, in order.
    pub(super) fn chunks(&self, file: i64) -> Result<Vec<ChunkRow>> {
        let sql = "SELECT number, sha256 FROM chunks WHERE file = ?1 ORDER BY number";
        all(&self.connection(), sql, [file], |row| {
            Ok(ChunkRow {
                number: row.get(0)?,
                sha256: row.get(1)?,
            })
        })
    }

    /// A row with the chunks of its file.
    pub(super) fn with_chunks<T: Owned>(&self, row: T) -> Result<(T, Vec<ChunkRow>)> {
        let chunks = self.chunks(row.file())?;
        Ok((row, chunks))
    }

    /// The digest of a chunk that is there.
    pub(super) fn chunk(&self, file: i64, number: u64) -> Result<Option<[u8; 32]>> {
        chunk(&self.connection(), file, number)
    }

    /// Remembers a chunk whose blob is there; says whether the file still took it.
    pub(super) fn add_chunk(&self, file: i64, new: &ChunkRow) -> Result<bool> {
        self.change_soon(|change| {
            let sql = "SELECT open FROM files WHERE file = ?1";
            let open: Option<bool> = one(change, sql, [file], |row| row.get(0))?;
            if open != Some(true) {
                return Ok(false);
            }
            change
                .prepare_cached(
                    "INSERT INTO chunks (file, number, sha256) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                )?
                .execute(params![file, new.number, new.sha256])?;
            touch(change, file)?;
            // Another task may have kept a different one meanwhile.
            Ok(chunk(change, file, new.number)? == Some(new.sha256))
        })
    }

    /// Forgets all chunks of a file, which takes others again.
    pub(super) fn forget_chunks(&self, file: i64) -> Result<()> {
        self.change(|change| {
            change.execute("DELETE FROM chunks WHERE file = ?1", [file])?;
            set_open(change, file, true)
        })
    }

    /// Forgets chunks whose blobs are lost: the key or job takes them again, and the job, or all jobs with that key, have to be
    /// started again. Returns the files of these jobs.
    pub(super) fn forget_lost(&self, file: i64, numbers: &[u64]) -> Result<Vec<i64>> {
        self.change(|change| {
            for number in numbers {
                let sql = "DELETE FROM chunks WHERE file = ?1 AND number = ?2";
                change.execute(sql, params![file, number])?;
            }
            set_open(change, file, true)?;
            change.execute("UPDATE keys SET key_id = NULL WHERE file = ?1", [file])?;
            let sql = "UPDATE jobs SET state = 'uploading', started = NULL, began = NULL
                 WHERE (file = ?1 OR key_file = ?1) AND state IN ('queued', 'running') RETURNING file";
            all(change, sql, [file], |row| row.get(0))
        })
    }

    /// Forgets a file with everything that hangs on it: a job takes the key with it that was registered for it alone. Returns the
    /// files that are gone.
    pub(super) fn remove_file(&self, file: i64) -> Result<Vec<i64>> {
        self.change(|change| {
            let sql = "DELETE FROM files WHERE file = ?1 OR file IN (
                 SELECT keys.file FROM keys JOIN files AS key USING (file) JOIN files AS job
                 ON job.file = ?1 AND job.kind = ?2 AND job.client = key.client AND job.name = keys.job
                 WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE key_file = keys.file AND jobs.file <> ?1
                                   AND state NOT IN ('done', 'failed', 'cancelled')))
                 RETURNING file";
            all(change, sql, params![file, FileKind::Job as i64], |row| row.get(0))
        })
    }

    /// The bytes of a file, by its number.
    pub(super) fn file_bytes(&self, file: i64) -> Result<Option<u64>> {
        let sql = "SELECT bytes FROM files WHERE file = ?1";
        one(&self.connection(), sql, [file], |row| row.get(0))
    }

    /// Whether a file takes chunks, from now on.
    pub(super) fn set_open(&self, file: i64, open: bool) -> Result<()> {
        self.change(|change| set_open(change, file, open))
    }

    /// Numbers and bytes of all files, and whether chunks of each are needed.
    pub(super) fn files(&self) -> Result<Vec<(i64, u64, bool)>> {
        all(
            &self.connection(),
            "SELECT files.file, bytes, coalesce(jobs.state NOT IN ('done', 'failed', 'cancelled'), 1)
             FROM files LEFT JOIN jobs USING (file)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
    }

    /// What a client has.
    pub(super) fn usage(&self, client: &str) -> Result<Usage> {
        usage(&self.connection(), client)
    }

    /// Bytes stored for all clients.
    pub(super) fn stored_bytes(&self) -> Result<u64> {
        let sql = "SELECT coalesce(sum(stored), 0) FROM files";
        self.connection().query_row(sql, [], |row| row.get(0))
    }

    /// Files that are no longer needed after `retention` seconds: jobs that are over, unfinished uploads, unused keys.
    pub(super) fn expired(&self, retention: u64) -> Result<Vec<i64>> {
        all(
            &self.connection(),
            "SELECT files.file FROM files LEFT JOIN jobs USING (file)
             WHERE files.touched + ?1 <= ?2
               AND coalesce(jobs.state NOT IN ('queued', 'running'), 1)
               AND NOT EXISTS (SELECT 1 FROM jobs AS open WHERE open.key_file = files.file
                               AND open.state NOT IN ('done', 'failed', 'cancelled'))",
            params![retention, now()],
            |row| row.get(0),
        )
    }
}

/// The row of a query, if there is one.
fn one<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(values, read).optional()
}

/// All rows of a query.
fn all<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(values, read)?.collect()
}

fn find<T: Owned>(connection: &Connection, client: &str, id: &Id) -> Result<Option<T>> {
    let (columns, table) = (T::COLUMNS, T::TABLE);
    let sql = format!(
        "SELECT {columns} FROM files JOIN {table} USING (file) WHERE client = ?1 AND kind = ?2 AND name = ?3"
    );
    let values = params![client, T::KIND as i64, id.as_str()];
    one(connection, &sql, values, T::read)
}

fn chunk(connection: &Connection, file: i64, number: u64) -> Result<Option<[u8; 32]>> {
    let sql = "SELECT sha256 FROM chunks WHERE file = ?1 AND number = ?2";
    one(connection, sql, params![file, number], |row| row.get(0))
}

/// What a client would have too much of with one more file.
fn over_quota(
    change: &Transaction<'_>,
    client: &str,
    kind: FileKind,
    stored: u64,
    quota: Quota,
) -> Result<Option<OverQuota>> {
    let has = usage(change, client)?;
    let sql = "SELECT count(*) FROM files WHERE client = ?1";
    let files: u64 = change.query_row(sql, [client], |row| row.get(0))?;
    let stored = has.stored_bytes.saturating_add(stored);
    let jobs = has.open_jobs + u64::from(kind == FileKind::Job);
    let counts = [
        ("bytes stored", stored, quota.stored_bytes),
        ("jobs that are not over", jobs, quota.open_jobs),
        ("keys and jobs", files + 1, FILES_LIMIT),
    ];
    let over = counts.into_iter().find(|&(_, found, limit)| found > limit);
    Ok(over.map(|(what, found, limit)| OverQuota { what, found, limit }))
}

fn usage(connection: &Connection, client: &str) -> Result<Usage> {
    connection
        .prepare_cached(
            "SELECT coalesce(sum(stored), 0), coalesce(sum(jobs.state NOT IN ('done', 'failed', 'cancelled')), 0)
             FROM files LEFT JOIN jobs USING (file) WHERE client = ?1",
        )?
        .query_row([client], |row| {
            Ok(Usage {
                stored_bytes: row.get(0)?,
                open_jobs: row.get(1)?,
            })
        })
}

fn set_open(connection: &Connection, file: i64, open: bool) -> Result<()> {
    let sql = "UPDATE files SET open = ?2 WHERE file = ?1";
    connection.execute(sql, params![file, open])?;
    Ok(())
}

fn touch(connection: &Connection, file: i64) -> Result<()> {
    connection
        .prepare_cached("UPDATE files SET touched = ?2 WHERE file = ?1")?
        .execute(params![file, now()])?;
    Ok(())
}

/// Reads a value that is kept as text.
fn parsed<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(text.into()).map_err(|error| unreadable(column, error))
}

/// Reads a value that is kept as JSON.
fn from_json<T: DeserializeOwned>(text: &str, column: usize) -> Result<T> {
    serde_json::from_str(text).map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests;
