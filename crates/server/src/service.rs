//! What all parts of the service share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sordino_evaluator::Stop;
use sordino_protocol::api::{Chunks, Id};
use sordino_protocol::api::{Job, JobState, Key, KeyState, Progress};
use sordino_ring::backend::Backend;
use tokio::sync::{Semaphore, watch};

use super::blobs::Blobs;
use super::clock::precise_now;
use super::config::{ClientConfig, ServeConfig};
use super::database::{ChunkRow, Database, JobRow, KeyRow, Quota};
use super::http::Refusal;
use super::metrics::Metrics;
use super::models::Models;
use super::queue::Queue;
use super::token::TokenHash;

/// Chunks that are received at once, each of which is in memory.
pub(super) const CHUNKS_AT_ONCE: usize = 16;
/// And of one client.
const CHUNKS_AT_ONCE_OF_CLIENT: usize = 4;
/// Streams of events at once of one client.
const STREAMS_OF_CLIENT: usize = 32;

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    pub config: ServeConfig,
    pub backend: &'static Backend,
    pub models: Models,
    pub blobs: Blobs,
    pub queue: Queue,
    pub metrics: Metrics,
    pub receiving: Semaphore,
    /// Keys that are read and checked; one at a time, since they may be large.
    pub checking: Semaphore,
    database: Arc<Database>,
    clients: HashMap<TokenHash, Arc<Client>>,
    running: Mutex<HashMap<i64, Running>>,
    /// Counts changes of jobs.
    changes: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
}

/// Who asks.
#[derive(Debug)]
pub(super) struct Client {
    pub name: String,
    pub quota: Quota,
    pub metrics: bool,
    pub receiving: Semaphore,
    pub streams: Arc<Semaphore>,
}

/// A job that is evaluated.
#[derive(Debug)]
struct Running {
    stop: Arc<Stop>,
    progress: Option<Progress>,
}

impl Client {
    fn new(config: &ClientConfig) -> Self {
        Self {
            name: config.name.clone(),
            quota: Quota {
                stored_bytes: config.storage,
                open_jobs: config.jobs,
            },
            metrics: config.metrics,
            receiving: Semaphore::new(CHUNKS_AT_ONCE_OF_CLIENT),
            streams: Arc::new(Semaphore::new(STREAMS_OF_CLIENT)),
        }
    }
}

impl Service {
    pub(super) fn new(
        config: ServeConfig,
        backend: &'static Backend,
        models: Models,
        database: Database,
        blobs: Blobs,
    ) -> Self {
        let clients = config.clients.iter();
        let clients = clients.map(|client| (client.token, Arc::new(Client::new(client))));
        Self {
            clients: clients.collect(),
            config,
            backend,
            models,
            blobs,
            queue: Queue::default(),
            metrics: Metrics::default(),
            receiving: Semaphore::new(CHUNKS_AT_ONCE),
            checking: Semaphore::new(1),
            database: Arc::new(database),
            running: Mutex::new(HashMap::new()),
            changes: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        }
    }

    /// Asks the database, on a thread that may block.
    pub(super) async fn database<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Database) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, Refusal> {
        let database = Arc::clone(&self.database);
        let answer = tokio::task::spawn_blocking(move || ask(&database)).await;
        match answer {
            Ok(answer) => Ok(answer?),
            Err(error) => Err(Refusal::bug(&error)),
        }
    }

    /// The client that a token belongs to.
    pub(super) fn client(&self, token: &str) -> Option<Arc<Client>> {
        // Found by a hash of what only the client knows: how long that takes tells nothing of use.
        self.clients.get(&TokenHash::of(token)).cloned()
    }

    /// Where a job works.
    pub(super) fn work_folder(&self, file: i64) -> PathBuf {
        self.config.state.join("work").join(file.to_string())
    }

    fn running(&self) -> MutexGuard<'_, HashMap<i64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job is evaluated from now on.
    pub(super) fn begin(&self, file: i64, stop: Arc<Stop>) {
        let progress = None;
        self.running().insert(file, Running { stop, progress });
        self.job_changed();
    }

    /// How far it is.
    pub(super) fn set_progress(&self, file: i64, progress: Progress) {
        if let Some(running) = self.running().get_mut(&file) {
            running.progress = Some(progress);
        }
        self.job_changed();
    }

    /// It is evaluated no more.
    pub(super) fn end(&self, file: i64) {
        self.running().remove(&file);
        self.job_changed();
    }

    /// Ends the evaluation of a job that nobody wants.
    pub(super) fn stop_job(&self, file: i64) {
        self.queue.remove(file);
        if let Some(running) = self.running().get(&file) {
            running.stop.now();
        }
        self.job_changed();
    }

    /// Ends all evaluations at a checkpoint.
    pub(super) fn stop_all(&self) {
        self.running()
            .values()
            .for_each(|running| running.stop.at_checkpoint());
    }

    /// How many jobs are evaluated.
    pub(super) fn running_jobs(&self) -> usize {
        self.running().len()
    }

    /// Whether the server is about to end.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// The server is about to end: nothing new is taken.
    pub(super) fn begin_stopping(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until the server is about to end.
    pub(super) async fn stopping(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as the service.
        let _ = stopping.wait_for(|&stopping| stopping).await;
    }

    /// Something changed about some job.
    pub(super) fn job_changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Hears of changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A job as clients see it.
    pub(super) fn describe_job(&self, row: &JobRow, chunks: &[ChunkRow]) -> Result<Job, Refusal> {
        let (jobs_ahead, progress) = match row.state {
            JobState::Queued => (self.queue.ahead_of(row.file), None),
            JobState::Running => {
                let running = self.running();
                (
                    None,
                    running
                        .get(&row.file)
                        .and_then(|running| running.progress.clone()),
                )
            }
            _ => (None, None),
        };
        let since = |from: Option<f64>, to: Option<f64>| {
            from.map(|from| (to.unwrap_or_else(precise_now) - from).max(0.0))
        };
        let key = row.key.as_ref().map(|(_, name)| id(name)).transpose()?;
        Ok(Job {
            id: id(&row.name)?,
            model: row.model.clone(),
            plan: row.plan,
            key,
            images: row.images,
            bytes: row.bytes,
            state: row.state,
            chunks: if row.state == JobState::Uploading {
                received(row.bytes, chunks)
            } else if row.started.is_some() {
                Chunks::new(row.bytes, 0..Chunks::count(row.bytes))
            } else {
                Chunks::new(row.bytes, [])
            },
            jobs_ahead,
            progress,
            waited_seconds: since(row.started, row.began.or(row.ended)),
            evaluated_seconds: since(row.began, row.ended),
            reply_bytes: row.reply.as_ref().map(|&(bytes, _)| bytes),
            problem: row.problem.clone(),
            created: row.created,
            expires: self.expires(row.touched),
        })
    }

    /// A key as clients see it.
    pub(super) fn describe_key(&self, row: &KeyRow, chunks: &[ChunkRow]) -> Result<Key, Refusal> {
        Ok(Key {
            id: id(&row.name)?,
            parameters: row.parameters,
            bytes: row.bytes,
            state: if row.key_id.is_some() {
                KeyState::Ready
            } else {
                KeyState::Uploading
            },
            chunks: received(row.bytes, chunks),
            created: row.created,
            expires: self.expires(row.touched),
        })
    }

    fn expires(&self, touched: u64) -> u64 {
        touched.saturating_add(self.config.retention.as_secs())
    }
}

fn received(bytes: u64, chunks: &[ChunkRow]) -> Chunks {
    Chunks::new(bytes, chunks.iter().map(|chunk| chunk.number))
}

/// A name that was an identifier when it was written.
fn id(name: &str) -> Result<Id, Refusal> {
    name.parse().map_err(|error: String| Refusal::bug(&error))
}
