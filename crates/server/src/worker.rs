//! Evaluating jobs, one after the other.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sordino_ckks::EvaluationKey;
use sordino_container::{Digest, Overwrite};
use sordino_evaluator::{Error, EvaluateOptions, Stop, evaluate_request};
use sordino_protocol::RequestReader;
use sordino_protocol::api::{self, JobState, Problem, ProblemKind};
use sordino_runtime::Progress;

use super::database::{ChunkRow, Fate, JobRow, WaitingJob};
use super::models::Model;
use super::refusal::Refusal;
use super::retention::forget_lost;
use super::service::Service;

/// Pause before a job is tried again after a failure of the server.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How often a job is tried again after a failure of the server.
const RETRIES: u32 = 3;
/// Between two reports of how far a job is.
const REPORT_INTERVAL: Duration = Duration::from_millis(200);
/// The reply while it is in the work folder.
const REPLY: &str = "reply";

/// Evaluates jobs until the server ends.
pub(super) async fn work(service: Arc<Service>) {
    loop {
        let job = tokio::select! {
            // In this order: a server that ends begins nothing.
            biased;
            () = service.stopping() => return,
            job = service.queue.next() => job,
        };
        let file = job.file;
        if let Err(refusal) = evaluate(&service, job).await {
            // The database or the disk: the job stays as it is, and is tried again when the server is started again.
            tracing::error!(
                job = file,
                reason = refusal.problem.detail,
                "a job could not be ended"
            );
        }
        service.end(file);
    }
}

async fn evaluate(
    service: &Arc<Service>,
    WaitingJob { file, client, .. }: WaitingJob,
) -> Result<(), Refusal> {
    let stop = Arc::new(Stop::default());
    service.begin(file, Arc::clone(&stop));
    let begun = service.database(move |database| {
        let begun = database.begin_job(file)?;
        let row = database.job_of_file(file)?;
        let chunks = database.chunks(file)?;
        let key = match row.as_ref().and_then(|row| row.key.as_ref()) {
            None => None,
            Some(&(key, _)) => {
                let bytes = database.file_bytes(key)?.unwrap_or(0);
                Some((key, bytes, database.chunks(key)?))
            }
        };
        Ok((begun, row, chunks, key))
    });
    let (begun, row, chunks, key) = begun.await?;
    let row = match row {
        Some(row) if begun => row,
        // Its turn came, but something has to be sent again first; or another worker was faster.
        Some(row) if row.state != JobState::Cancelled => return Ok(()),
        _ => {
            return service
                .blobs
                .remove(file, false)
                .await
                .map_err(Refusal::from);
        }
    };
    service.job_changed();
    let start = Instant::now();
    let mut retries = 0;
    let fate = loop {
        let task = Task {
            service: Arc::clone(service),
            stop: Arc::clone(&stop),
            row: row.clone(),
            chunks: chunks.clone(),
            key: key.clone(),
        };
        let refusal = match task.run().await {
            Ok(fate) => break fate,
            Err(refusal) => refusal,
        };
        let mut lost = forget_lost(service, file).await?;
        if let Some(&(key, ..)) = key.as_ref() {
            lost += forget_lost(service, key).await?;
        }
        if lost > 0 {
            // The client sends these chunks and starts the job again.
            return Ok(());
        }
        if refusal.problem.kind == ProblemKind::Invalid || retries == RETRIES {
            break Fate::Failed(refusal.problem);
        }
        retries += 1;
        tokio::select! {
            () = service.stopping() => break Fate::Again,
            () = tokio::time::sleep(RETRY_AFTER * retries) => {}
        }
    };
    let ended = {
        let fate = fate.clone();
        service
            .database(move |database| database.end_job(file, &fate))
            .await?
    };
    let seconds = start.elapsed().as_secs_f64();
    let state = match &fate {
        _ if !ended => "cancelled",
        Fate::Done { .. } => "done",
        Fate::Failed(_) => "failed",
        Fate::Again => "stopped",
    };
    let problem = match &fate {
        Fate::Failed(problem) => problem.detail.as_str(),
        _ => "",
    };
    tracing::info!(
        client,
        job = file,
        model = row.model,
        images = row.images,
        state,
        seconds,
        problem,
        "job ended"
    );
    service.metrics.job_ended(&row.model, state);
    if state == "done" {
        service.metrics.evaluated(&row.model, row.images, seconds);
    }
    if state != "stopped" {
        service.blobs.remove(file, state == "done").await?;
        let folder = service.work_folder(file);
        tokio::fs::remove_dir_all(&folder)
            .await
            .or_else(absent_is_fine)
            .map_err(|error| Refusal::bug(&error))?;
    }
    Ok(())
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

/// One attempt at a job.
struct Task {
    service: Arc<Service>,
    stop: Arc<Stop>,
    row: JobRow,
    chunks: Vec<ChunkRow>,
    /// File, bytes and chunks.
    key: Option<(i64, u64, Vec<ChunkRow>)>,
}

impl Task {
    async fn run(self) -> Result<Fate, Refusal> {
        let (service, file) = (Arc::clone(&self.service), self.row.file);
        let Some(model) = service.models.named(&self.row.model).cloned() else {
            return Ok(Fate::Failed(Problem::new(
                ProblemKind::Conflict,
                "the server does not have this model any more: make a new job for another one",
            )));
        };
        let reply = service.work_folder(file).join(REPLY);
        let evaluated = tokio::task::spawn_blocking(move || self.evaluate(&model)).await;
        let evaluated = match evaluated {
            Ok(Ok(digest)) => digest,
            Ok(Err(Error::Runtime(sordino_runtime::Error::Stopped))) => return Ok(Fate::Again),
            Ok(Err(error)) => return Err(Refusal::of_content(&error)),
            Err(panic) => {
                let refusal = Refusal::bug(&panic);
                return Ok(Fate::Failed(refusal.problem));
            }
        };
        service.blobs.put_reply(file, &reply).await?;
        let found = tokio::fs::metadata(&reply)
            .await
            .map_err(|error| Refusal::bug(&error))?;
        Ok(Fate::Done {
            bytes: found.len(),
            digest: evaluated,
        })
    }

    /// Evaluates or resumes the job; returns the reply's digest.
    fn evaluate(self, model: &Model) -> Result<Digest, Error> {
        let folder = self.service.work_folder(self.row.file);
        let failed = |error| sordino_container::Error::io(&folder, "create", error);
        fs::create_dir_all(&folder).map_err(failed)?;
        let reply = folder.join(REPLY);
        if let Some(digest) = finished_before(&reply) {
            return Ok(digest);
        }
        let resume = has_checkpoint(&folder);
        match self.attempt(model, &folder, &reply, resume) {
            // A checkpoint of a server with more memory, or one that a power cut damaged, costs time but not the job.
            Err(error) if resume && !is_stop(&error) => {
                tracing::warn!(job = self.row.file, %error, "begun anew: the checkpoint is of no use");
                self.attempt(model, &folder, &reply, false)
            }
            result => result,
        }
    }

    fn attempt(
        &self,
        model: &Model,
        folder: &Path,
        reply: &Path,
        resume: bool,
    ) -> Result<Digest, Error> {
        let service = &*self.service;
        let evaluator = &model.evaluator;
        let key = self.key.as_ref().map(|(file, bytes, chunks)| {
            let source = service.blobs.reader(*file, chunks.clone());
            EvaluationKey::from_source(evaluator.context(), source, *bytes, "the evaluation key")
        });
        let key = key.transpose()?;
        let source = service.blobs.reader(self.row.file, self.chunks.clone());
        let shape = evaluator.request_shape();
        let request = RequestReader::from_source(source, self.row.bytes, "the request", &shape)?;
        let reports = Reports::new(service, self.row.file);
        let report = |progress: &Progress<'_>| reports.report(progress);
        let budget = service.models.budget;
        let options = EvaluateOptions {
            memory_bytes: budget.memory_bytes,
            scratch: Some(folder),
            scratch_bytes: Some(budget.scratch_bytes),
            resume,
            stop: Some(Arc::clone(&self.stop)),
            overwrite: Overwrite::Replace,
            progress: Some(&report),
            ..EvaluateOptions::new(service.backend)
        };
        let evaluation = evaluate_request(evaluator, key.as_ref(), request, reply, &options);
        sordino_ring::allocator::give_back();
        Ok(evaluation?.reply)
    }
}

/// Whether an evaluation ended because it was asked to.
fn is_stop(error: &Error) -> bool {
    matches!(error, Error::Runtime(sordino_runtime::Error::Stopped))
}

/// Whether a server that was ended left a checkpoint in a job's folder.
fn has_checkpoint(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path().join("checkpoint"))
        .any(|path| path.exists())
}

/// The digest of a reply that was finished right before the server ended.
fn finished_before(reply: &Path) -> Option<Digest> {
    if !reply.exists() {
        return None;
    }
    Some(sordino_container::inspect_file(reply).ok()?.digest)
}

/// Reports the progress of a job to the service, at most once per interval.
struct Reports<'a> {
    service: &'a Service,
    file: i64,
    last: std::sync::Mutex<Option<Instant>>,
}

impl<'a> Reports<'a> {
    fn new(service: &'a Service, file: i64) -> Self {
        let last = std::sync::Mutex::new(None);
        Self {
            service,
            file,
            last,
        }
    }

    fn report(&self, progress: &Progress<'_>) {
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        if last.is_some_and(|last| last.elapsed() < REPORT_INTERVAL) {
            return;
        }
        *last = Some(Instant::now());
        let units = progress.units as u64;
        let progress = api::Progress {
            done: progress.block as u64 * units + progress.unit as u64,
            of: progress.blocks as u64 * units,
            step: progress.name.to_owned(),
            seconds_left: progress
                .seconds_left
                .is_finite()
                .then_some(progress.seconds_left),
        };
        self.service.set_progress(self.file, progress);
    }
}
