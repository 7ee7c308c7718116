//! Jobs.

use rusqlite::{Connection, OptionalExtension, Row, params};
use sordino_container::Digest;
use sordino_protocol::api::{Id, JobState, NewJob, Problem};

use super::{
    Database, FileKind, Made, Quota, Result, make_file, over_quota, parsed, signed, touch, unsigned,
};
use crate::clock::precise_now;

/// A job.
#[derive(Clone, Debug)]
pub(crate) struct JobRow {
    /// The number of its file.
    pub file: i64,
    /// The client's name for it.
    pub name: String,
    /// Bytes of the request.
    pub bytes: u64,
    /// The model's name.
    pub model: String,
    /// The plan that the request was made with.
    pub plan: Digest,
    /// The file of the key, and the client's name for it.
    pub key: Option<(i64, String)>,
    /// Images in the request.
    pub images: u64,
    /// Where it is.
    pub state: JobState,
    /// When it was made.
    pub created: u64,
    /// When something was last done with it.
    pub touched: u64,
    /// When it was started, when it began to be evaluated, when that ended.
    pub started: Option<f64>,
    pub began: Option<f64>,
    pub ended: Option<f64>,
    /// The reply's bytes and digest.
    pub reply: Option<(u64, String)>,
    /// Why it failed.
    pub problem: Option<Problem>,
}

/// A job that is to be evaluated, as the queue needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WaitingJob {
    pub file: i64,
    pub client: String,
}

/// What a start came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// It is to be queued.
    Now,
    /// It was started before, or is over.
    Before,
}

/// How an evaluation ended.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// With a reply.
    Done { bytes: u64, digest: Digest },
    /// Without.
    Failed(Problem),
    /// It goes on later.
    Again,
}

const COLUMNS: &str = "files.file, name, bytes, model, plan, key_file, key_name, images, state,
    created, touched, started, began, ended, reply_bytes, reply_digest, problem
    FROM files JOIN jobs USING (file)";

impl Database {
    /// Makes a job; `reply_bytes` are reserved for its reply.
    pub(crate) fn make_job(
        &self,
        client: &str,
        id: &Id,
        new: &NewJob,
        key_file: Option<i64>,
        reply_bytes: u64,
        quota: Quota,
    ) -> Result<Made<JobRow>> {
        self.change(|change| {
            if let Some(found) = job(change, client, id)? {
                let same = found.model == new.model
                    && found.plan == new.plan
                    && found.key.as_ref().map(|(_, name)| name.as_str())
                        == new.key.as_ref().map(Id::as_str)
                    && found.images == new.images
                    && found.bytes == new.bytes;
                return Ok(if same {
                    Made::Same(found)
                } else {
                    Made::Differs
                });
            }
            let stored = new.bytes.saturating_add(reply_bytes);
            if let Some(over) = over_quota(change, client, FileKind::Job, stored, quota)? {
                return Ok(Made::OverQuota(over));
            }
            let file = make_file(change, client, FileKind::Job, id, new.bytes, stored)?;
            change.execute(
                "INSERT INTO jobs (file, model, plan, key_file, key_name, images, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'uploading')",
                params![
                    file,
                    new.model,
                    new.plan.to_string(),
                    key_file,
                    new.key.as_ref().map(Id::as_str),
                    signed(new.images)
                ],
            )?;
            if let Some(key) = key_file {
                touch(change, key)?;
            }
            let made = job(change, client, id)?;
            made.map(Made::New)
                .ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// A client's job.
    pub(crate) fn job(&self, client: &str, id: &Id) -> Result<Option<JobRow>> {
        let connection = self.connection();
        job(&connection, client, id)
    }

    /// A job by the number of its file.
    pub(crate) fn job_of_file(&self, file: i64) -> Result<Option<JobRow>> {
        let connection = self.connection();
        connection
            .prepare_cached(&format!("SELECT {COLUMNS} WHERE files.file = ?1"))?
            .query_row([file], row)
            .optional()
    }

    /// All jobs of a client, the newest first.
    pub(crate) fn jobs(&self, client: &str) -> Result<Vec<JobRow>> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} WHERE client = ?1 ORDER BY files.file DESC"
        ))?;
        let rows = statement.query_map([client], row)?;
        rows.collect()
    }

    /// Jobs that are to be evaluated, in the order in which they were started; those that a server was at when it ended come first.
    pub(crate) fn waiting_jobs(&self) -> Result<Vec<WaitingJob>> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "SELECT file, client FROM files JOIN jobs USING (file)
             WHERE state IN ('queued', 'running') ORDER BY state = 'queued', started, file",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(WaitingJob {
                file: row.get(0)?,
                client: row.get(1)?,
            })
        })?;
        rows.collect()
    }

    /// Starts a job that has all of its chunks.
    pub(crate) fn start_job(&self, file: i64) -> Result<Started> {
        self.change(|change| {
            let started = change.execute(
                "UPDATE jobs SET state = 'queued', started = ?2 WHERE file = ?1 AND state = 'uploading'",
                params![file, precise_now()],
            )?;
            change.execute("UPDATE files SET open = 0 WHERE file = ?1", [file])?;
            touch(change, file)?;
            Ok(if started > 0 {
                Started::Now
            } else {
                Started::Before
            })
        })
    }

    /// A job is evaluated from now on. How often that was begun without an end, this time included; `None` if nobody wants it any more.
    pub(crate) fn begin_job(&self, file: i64) -> Result<Option<u32>> {
        self.change(|change| {
            let begun = change.execute(
                "UPDATE jobs SET state = 'running', began = coalesce(began, ?2), attempts = attempts + 1
                 WHERE file = ?1 AND state IN ('queued', 'running')",
                params![file, precise_now()],
            )?;
            if begun == 0 {
                return Ok(None);
            }
            change
                .query_row("SELECT attempts FROM jobs WHERE file = ?1", [file], |row| {
                    row.get(0)
                })
                .optional()
        })
    }

    /// The evaluation of a job ended; says whether anybody wanted to know.
    pub(crate) fn end_job(&self, file: i64, fate: &Fate) -> Result<bool> {
        self.change(|change| {
            let ended = precise_now();
            let rows = match fate {
                Fate::Done { bytes, digest } => {
                    let rows = change.execute(
                        "UPDATE jobs SET state = 'done', ended = ?2, reply_bytes = ?3, reply_digest = ?4
                         WHERE file = ?1 AND state = 'running'",
                        params![file, ended, signed(*bytes), digest.to_string()],
                    )?;
                    if rows > 0 {
                        release(change, file, *bytes)?;
                    }
                    rows
                }
                Fate::Failed(problem) => fail(change, file, problem)?,
                Fate::Again => change.execute(
                    "UPDATE jobs SET state = 'queued', attempts = attempts - 1
                     WHERE file = ?1 AND state = 'running'",
                    [file],
                )?,
            };
            touch(change, file)?;
            Ok(rows > 0)
        })
    }

    /// A job that was not evaluated cannot be.
    pub(crate) fn fail_job(&self, file: i64, problem: &Problem) -> Result<()> {
        self.change(|change| {
            fail(change, file, problem)?;
            touch(change, file)
        })
    }

    /// Nobody wants a job any more; says in which state it was.
    pub(crate) fn cancel_job(&self, file: i64) -> Result<Option<JobState>> {
        self.change(|change| {
            let state: Option<String> = change
                .query_row("SELECT state FROM jobs WHERE file = ?1", [file], |row| {
                    row.get(0)
                })
                .optional()?;
            let Some(state) = state else {
                return Ok(None);
            };
            let state = state_of(0, &state)?;
            if !state.is_final() {
                change.execute(
                    "UPDATE jobs SET state = 'cancelled', ended = ?2 WHERE file = ?1",
                    params![file, precise_now()],
                )?;
                release(change, file, 0)?;
                touch(change, file)?;
            }
            Ok(Some(state))
        })
    }
}

fn fail(change: &Connection, file: i64, problem: &Problem) -> Result<usize> {
    let text = serde_json::to_string(problem).unwrap_or_default();
    let rows = change.execute(
        "UPDATE jobs SET state = 'failed', ended = ?2, problem = ?3
         WHERE file = ?1 AND state IN ('uploading', 'queued', 'running')",
        params![file, precise_now(), text],
    )?;
    if rows > 0 {
        release(change, file, 0)?;
    }
    Ok(rows)
}

/// A job is over: its request is not kept, and counts no more.
fn release(change: &Connection, file: i64, stored: u64) -> Result<()> {
    change.execute(
        "UPDATE files SET stored = ?2, open = 0 WHERE file = ?1",
        params![file, signed(stored)],
    )?;
    change.execute("DELETE FROM chunks WHERE file = ?1", [file])?;
    Ok(())
}

fn job(connection: &Connection, client: &str, id: &Id) -> Result<Option<JobRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} WHERE client = ?1 AND kind = ?2 AND name = ?3"
        ))?
        .query_row(params![client, FileKind::Job as i64, id.as_str()], row)
        .optional()
}

fn row(row: &Row<'_>) -> Result<JobRow> {
    let key_file: Option<i64> = row.get(5)?;
    let key_name: Option<String> = row.get(6)?;
    let reply_bytes: Option<i64> = row.get(14)?;
    let reply_digest: Option<String> = row.get(15)?;
    let problem: Option<String> = row.get(16)?;
    Ok(JobRow {
        file: row.get(0)?,
        name: row.get(1)?,
        bytes: unsigned(row.get(2)?),
        model: row.get(3)?,
        plan: parsed(4, &row.get::<_, String>(4)?)?,
        key: key_file.zip(key_name),
        images: unsigned(row.get(7)?),
        state: state_of(8, &row.get::<_, String>(8)?)?,
        created: unsigned(row.get(9)?),
        touched: unsigned(row.get(10)?),
        started: row.get(11)?,
        began: row.get(12)?,
        ended: row.get(13)?,
        reply: reply_bytes.map(unsigned).zip(reply_digest),
        problem: problem.and_then(|text| serde_json::from_str(&text).ok()),
    })
}

fn state_of(column: usize, text: &str) -> Result<JobState> {
    let states = [
        JobState::Uploading,
        JobState::Queued,
        JobState::Running,
        JobState::Done,
        JobState::Failed,
        JobState::Cancelled,
    ];
    let state = states.into_iter().find(|state| state.name() == text);
    state.ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            format!("{text:?} is no state").into(),
        )
    })
}
