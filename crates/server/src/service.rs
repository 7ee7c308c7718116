//! What all parts of the service share.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sordino_evaluator::Stop;
use sordino_protocol::api::{Chunks, Job, JobState, Key, KeyState, Progress};
use sordino_ring::backend::Backend;
use tokio::sync::{Semaphore, watch};

use super::blobs::Blobs;
use super::clock::precise_now;
use super::config::{ClientConfig, ServeConfig};
use super::database::{Database, JobRow, KeyRow, Quota};
use super::metrics::Metrics;
use super::models::Models;
use super::queue::Queue;
use super::refusal::Refusal;
use super::token::TokenHash;

/// Chunks that are received at once; each is in memory.
pub(super) const CHUNKS_AT_ONCE: usize = 16;
/// Chunks of one client that are received at once.
const CHUNKS_AT_ONCE_OF_CLIENT: usize = 4;
/// Chunks of one client that wait to be received; each holds a connection.
const CHUNKS_WAITING_OF_CLIENT: usize = 16;
/// Streams of events at once of one client.
const STREAMS_OF_CLIENT: usize = 32;
/// Requests of one client that are answered at once, from their head to the last byte of the answer.
const REQUESTS_OF_CLIENT: usize = 96;
/// Kibibytes of lists that are on their way to clients at once, all clients together.
pub(super) const LISTED_KIBIBYTES: usize = 32 << 10;

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
    /// Memory of lists, in kibibytes.
    pub listed: Arc<Semaphore>,
    /// Keys that are read and checked; one at a time, since they may be large.
    pub checking: Semaphore,
    database: Arc<Database>,
    clients: HashMap<TokenHash, Arc<Client>>,
    running: Mutex<HashMap<i64, Running>>,
    /// Counts changes of jobs.
    changes: watch::Sender<u64>,
    /// Chunks that are being received: file and number.
    arriving: Mutex<HashSet<(i64, u64)>>,
    stopping: watch::Sender<bool>,
}

/// A client of the service.
#[derive(Debug)]
pub(super) struct Client {
    pub name: String,
    pub quota: Quota,
    pub metrics: bool,
    pub receiving: Semaphore,
    /// Places of chunks that are received or wait to be.
    pub chunks: Semaphore,
    pub streams: Arc<Semaphore>,
    pub requests: Arc<Semaphore>,
}

/// A job whose evaluation runs.
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
            chunks: Semaphore::new(CHUNKS_AT_ONCE_OF_CLIENT + CHUNKS_WAITING_OF_CLIENT),
            streams: Arc::new(Semaphore::new(STREAMS_OF_CLIENT)),
            requests: Arc::new(Semaphore::new(REQUESTS_OF_CLIENT)),
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
            listed: Arc::new(Semaphore::new(LISTED_KIBIBYTES)),
            checking: Semaphore::new(1),
            database: Arc::new(database),
            running: Mutex::new(HashMap::new()),
            changes: watch::Sender::new(0),
            arriving: Mutex::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// Runs a query on a thread that may block.
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
        // Found by a hash of what only the client knows: the time that takes tells an attacker nothing.
        self.clients.get(&TokenHash::of(token)).cloned()
    }

    /// Claims a chunk for one upload: while that is in progress there is no other of the same chunk.
    pub(super) fn claim(self: &Arc<Self>, file: i64, number: u64) -> Option<Arriving> {
        let chunk = (file, number);
        let is_first = self.arriving().insert(chunk);
        is_first.then(|| Arriving {
            service: Arc::clone(self),
            chunk,
        })
    }

    fn arriving(&self) -> MutexGuard<'_, HashSet<(i64, u64)>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder that a job is evaluated in.
    pub(super) fn work_folder(&self, file: i64) -> PathBuf {
        self.config.state.join("work").join(file.to_string())
    }

    fn running(&self) -> MutexGuard<'_, HashMap<i64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the evaluation of a job begins.
    pub(super) fn begin(&self, file: i64, stop: Arc<Stop>) {
        let progress = None;
        self.running().insert(file, Running { stop, progress });
        self.job_changed();
    }

    /// Notes the progress of a job.
    pub(super) fn set_progress(&self, file: i64, progress: Progress) {
        if let Some(running) = self.running().get_mut(&file) {
            running.progress = Some(progress);
        }
        self.job_changed();
    }

    /// Notes that the evaluation of a job ended.
    pub(super) fn end(&self, file: i64) {
        self.running().remove(&file);
        self.job_changed();
    }

    /// Removes a file with everything that hangs on it.
    pub(super) async fn remove_file(&self, file: i64) -> Result<(), Refusal> {
        let gone = self.database(move |database| database.remove_file(file));
        for file in gone.await? {
            self.blobs.remove(file, false).await?;
        }
        Ok(())
    }

    /// Ends the evaluation of a cancelled job.
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

    /// Number of jobs that are evaluated now.
    pub(super) fn running_jobs(&self) -> usize {
        self.running().len()
    }

    /// Whether the server is about to end.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Notes that the server is about to end: it accepts nothing new.
    pub(super) fn begin_stopping(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until the server is about to end.
    pub(super) async fn stopping(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as the service.
        let _ = stopping.wait_for(|&stopping| stopping).await;
    }

    /// Notes that some job changed.
    pub(super) fn job_changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Receives a count that grows whenever a job changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How far a job is that is evaluated now.
    fn progress(&self, file: i64) -> Option<Progress> {
        self.running().get(&file)?.progress.clone()
    }

    /// A job as clients see it.
    pub(super) fn describe_job(&self, row: &JobRow, chunks: Vec<u64>) -> Job {
        let (jobs_ahead, progress) = match row.state {
            JobState::Queued => (self.queue.ahead_of(row.file), None),
            JobState::Running => (None, self.progress(row.file)),
            _ => (None, None),
        };
        let since = |from: Option<f64>, to: Option<f64>| {
            from.map(|from| (to.unwrap_or_else(precise_now) - from).max(0.0))
        };
        Job {
            id: row.name.clone(),
            model: row.model.clone(),
            plan: row.plan,
            key: row.key.as_ref().map(|(_, name)| name.clone()),
            images: row.images,
            bytes: row.bytes,
            state: row.state,
            chunks: match row.state {
                JobState::Uploading => Chunks::new(row.bytes, chunks),
                // The chunks of a job that was started were all there.
                _ if row.started.is_some() => Chunks::new(row.bytes, 0..Chunks::count(row.bytes)),
                _ => Chunks::new(row.bytes, []),
            },
            jobs_ahead,
            progress,
            waited_seconds: since(row.started, row.began.or(row.ended)),
            evaluated_seconds: since(row.began, row.ended),
            reply_bytes: row.reply.as_ref().map(|&(bytes, _)| bytes),
            problem: row.problem.clone(),
            created: row.created,
            expires: self.expires(row.touched),
        }
    }

    /// A key as clients see it.
    pub(super) fn describe_key(&self, row: &KeyRow, chunks: Vec<u64>) -> Key {
        Key {
            id: row.name.clone(),
            parameters: row.parameters,
            bytes: row.bytes,
            state: match row.key_id {
                Some(_) => KeyState::Ready,
                None => KeyState::Uploading,
            },
            chunks: Chunks::new(row.bytes, chunks),
            created: row.created,
            expires: self.expires(row.touched),
        }
    }

    fn expires(&self, touched: u64) -> u64 {
        touched.saturating_add(self.config.retention.as_secs())
    }
}

/// A chunk that is being received, until this is dropped.
#[derive(Debug)]
pub(super) struct Arriving {
    service: Arc<Service>,
    chunk: (i64, u64),
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.service.arriving().remove(&self.chunk);
    }
}
