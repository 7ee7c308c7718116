//! Jobs.

use rusqlite::{Connection, Row, params};
use sordino_container::Digest;
use sordino_protocol::api::{Id, JobState, NewJob, Problem};

use super::{Database, FileKind, Made, Owned, Quota, Result, all, one, parsed, set_open, touch};
use crate::clock::precise_now;

/// A job.
#[derive(Clone, Debug)]
pub(crate) struct JobRow {
    /// The number of its file.
    pub file: i64,
    /// The client's name for it.
    pub name: Id,
    /// Bytes of the request.
    pub bytes: u64,
    /// The model's name.
    pub model: String,
    /// The plan that the request was made with.
    pub plan: Digest,
    /// The file of the key, and the client's name for it.
    pub key: Option<(i64, Id)>,
    /// Images in the request.
    pub images: u64,
    /// Its state.
    pub state: JobState,
    /// When it was made.
    pub created: u64,
    /// When it was last used.
    pub touched: u64,
    /// When it was started, when its evaluation began, when that ended.
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
    /// How often the process ended while it was evaluated.
    pub attempts: u32,
}

/// How an evaluation ended.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// With a reply.
    Done { bytes: u64, digest: Digest },
    /// Without.
    Failed(Problem),
    /// It was stopped, and is resumed later.
    Again,
}

impl Owned for JobRow {
    const KIND: FileKind = FileKind::Job;
    const COLUMNS: &'static str =
        "files.file, name, bytes, model, plan, key_file, key_name, images, state,
        created, touched, started, began, ended, reply_bytes, reply_digest, problem";
    const TABLE: &'static str = "jobs";

    fn read(row: &Row<'_>) -> Result<Self> {
        let key: Option<i64> = row.get(5)?;
        let key = match key {
            Some(key) => Some((key, parsed(row, 6)?)),
            None => None,
        };
        let (reply_bytes, reply_digest): (Option<_>, Option<_>) = (row.get(14)?, row.get(15)?);
        let problem: Option<String> = row.get(16)?;
        Ok(Self {
            file: row.get(0)?,
            name: parsed(row, 1)?,
            bytes: row.get(2)?,
            model: row.get(3)?,
            plan: parsed(row, 4)?,
            key,
            images: row.get(7)?,
            state: parsed(row, 8)?,
            created: row.get(9)?,
            touched: row.get(10)?,
            started: row.get(11)?,
            began: row.get(12)?,
            ended: row.get(13)?,
            reply: reply_bytes.zip(reply_digest),
            problem: problem.and_then(|text| serde_json::from_str(&text).ok()),
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
    /// Makes a job; `reply_bytes` are reserved for its reply.
    pub(crate) fn make_job(
        &self,
        client: &str,
        id: &Id,
        new: &NewJob,
        key_file: Option<i64>,
        reply_bytes: u64,
        quota: Quota,
    ) -> Result<Made> {
        let key_name = new.key.as_ref();
        self.make(
            (client, id),
            (new.bytes, new.bytes.saturating_add(reply_bytes)),
            quota,
            |found: &JobRow| {
                found.model == new.model
                    && found.plan == new.plan
                    && found.key.as_ref().map(|(_, name)| name) == key_name
                    && found.images == new.images
                    && found.bytes == new.bytes
            },
            |change, file| {
                let (model, plan, images) = (&new.model, new.plan.to_string(), new.images);
                let key_name = key_name.map(Id::as_str);
                change.execute(
                    "INSERT INTO jobs (file, model, plan, key_file, key_name, images, state)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'uploading')",
                    params![file, model, plan, key_file, key_name, images],
                )?;
                key_file.map_or(Ok(()), |key| touch(change, key))
            },
        )
    }

    /// A job by the number of its file.
    pub(crate) fn job_of_file(&self, file: i64) -> Result<Option<JobRow>> {
        let columns = JobRow::COLUMNS;
        let sql =
            format!("SELECT {columns} FROM files JOIN jobs USING (file) WHERE files.file = ?1");
        one(&self.connection(), &sql, [file], JobRow::read)
    }

    /// Jobs that are to be evaluated, in the order in which they were started; those that were running when a server ended come first.
    pub(crate) fn waiting_jobs(&self) -> Result<Vec<WaitingJob>> {
        all(
            &self.connection(),
            "SELECT file, client, attempts FROM files JOIN jobs USING (file)
             WHERE state IN ('queued', 'running') ORDER BY state = 'queued', started, file",
            [],
            |row| {
                Ok(WaitingJob {
                    file: row.get(0)?,
                    client: row.get(1)?,
                    attempts: row.get(2)?,
                })
            },
        )
    }

    /// Starts a job that has all of its chunks; false if it was started before, or is over.
    pub(crate) fn start_job(&self, file: i64) -> Result<bool> {
        self.change(|change| {
            let started = change.execute(
                "UPDATE jobs SET state = 'queued', started = ?2 WHERE file = ?1 AND state = 'uploading'",
                params![file, precise_now()],
            )?;
            set_open(change, file, false)?;
            touch(change, file)?;
            Ok(started > 0)
        })
    }

    /// Marks a job as running; false if it is not queued any more.
    pub(crate) fn begin_job(&self, file: i64) -> Result<bool> {
        self.change(|change| {
            let begun = change.execute(
                "UPDATE jobs SET state = 'running', began = coalesce(began, ?2), attempts = attempts + 1
                 WHERE file = ?1 AND state IN ('queued', 'running')",
                params![file, precise_now()],
            )?;
            Ok(begun > 0)
        })
    }

    /// Records how the evaluation of a job ended; false if the job was cancelled or removed meanwhile.
    pub(crate) fn end_job(&self, file: i64, fate: &Fate) -> Result<bool> {
        self.change(|change| {
            let ended = precise_now();
            let rows = match fate {
                Fate::Done { bytes, digest } => {
                    let rows = change.execute(
                        "UPDATE jobs SET state = 'done', ended = ?2, reply_bytes = ?3, reply_digest = ?4
                         WHERE file = ?1 AND state = 'running'",
                        params![file, ended, bytes, digest.to_string()],
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

    /// Marks a job as failed before it was evaluated.
    pub(crate) fn fail_job(&self, file: i64, problem: &Problem) -> Result<()> {
        self.change(|change| {
            fail(change, file, problem)?;
            touch(change, file)
        })
    }

    /// Cancels a job unless it is over; returns the state that it was in.
    pub(crate) fn cancel_job(&self, file: i64) -> Result<Option<JobState>> {
        self.change(|change| {
            let sql = "SELECT state FROM jobs WHERE file = ?1";
            let state: Option<JobState> = one(change, sql, [file], |row| parsed(row, 0))?;
            if state.is_some_and(|state| !state.is_final()) {
                change.execute(
                    "UPDATE jobs SET state = 'cancelled', ended = ?2 WHERE file = ?1",
                    params![file, precise_now()],
                )?;
                release(change, file, 0)?;
                touch(change, file)?;
            }
            Ok(state)
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

/// Forgets the request of a job that is over, and counts only its reply.
fn release(change: &Connection, file: i64, stored: u64) -> Result<()> {
    change.execute(
        "UPDATE files SET stored = ?2, open = 0 WHERE file = ?1",
        params![file, stored],
    )?;
    change.execute("DELETE FROM chunks WHERE file = ?1", [file])?;
    Ok(())
}
