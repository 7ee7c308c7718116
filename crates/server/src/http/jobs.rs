//! Jobs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use sordino_protocol::api::{Id, Job, JobState, Jobs, NewJob, ProblemKind};
use sordino_protocol::{RequestReader, shorten};

use super::extract::{Asking, Named, Query};
use super::uploads::{self, Page, missing, stopping};
use super::{App, body, keys, models};
use crate::database::{ChunkRow, Database, JobRow, WaitingJob};
use crate::refusal::Refusal;
use crate::retention::forget_lost;
use crate::service::Client;

/// Between two looks of a stream for news.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Between two events of a stream that tell of progress only.
const EVENT_INTERVAL: Duration = Duration::from_millis(250);
/// How often a stream that says nothing shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn all(
    Asking(client): Asking,
    Query(page): Query<Page>,
    State(service): State<App>,
) -> Result<Response, Refusal> {
    let make = |jobs, next| Jobs { jobs, next };
    uploads::list::<JobRow, _>(&service, &client, page, make).await
}

/// A job with its chunks.
pub(super) async fn find(
    service: &App,
    client: &Client,
    id: &Id,
) -> Result<(JobRow, Vec<ChunkRow>), Refusal> {
    uploads::find(service, client, id).await
}

async fn describe(service: &App, client: &Client, id: &Id) -> Result<Job, Refusal> {
    uploads::describe::<JobRow>(service, client, id).await
}

pub(super) async fn make(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
    headers: HeaderMap,
    sent: Body,
) -> Result<(StatusCode, Json<Job>), Refusal> {
    let new: NewJob = body::message(&headers, sent).await?;
    if service.is_stopping() {
        return Err(stopping());
    }
    let model = service
        .models
        .named(&new.model)
        .ok_or_else(models::unknown)?;
    let invalid = |detail: String| Err(Refusal::new(ProblemKind::Invalid, detail));
    let plan = model.evaluator.plan();
    if new.plan != plan.digest() {
        return invalid(format!(
            "the model has plan {}, the request was made with {}: fetch its client plan again and encrypt with that",
            shorten(plan.digest()),
            shorten(new.plan)
        ));
    }
    if new.images == 0 || new.images > plan.batch() as u64 {
        return invalid(format!(
            "expected 1 to {} images, found {}: split the images",
            plan.batch(),
            new.images
        ));
    }
    let bytes = model
        .request_bytes(new.images)
        .zip(model.reply_bytes(new.images));
    let Some(((least, most), reply_bytes)) = bytes else {
        return invalid("so many images make no request".to_owned());
    };
    if !(least..=most).contains(&new.bytes) {
        return invalid(format!(
            "a request of {} images has {least} bytes and at most {} of description more, found {}",
            new.images,
            most - least,
            new.bytes
        ));
    }
    let key = match (&new.key, plan.needs_evaluation_key()) {
        (Some(key), true) => {
            let row = keys::for_job(&service, &client, key).await?;
            if row.parameters != model.parameters {
                return invalid(format!(
                    "the key {key} is for parameters {}, the model has {}: register one that fits",
                    shorten(row.parameters),
                    shorten(model.parameters)
                ));
            }
            Some(row.file)
        }
        (None, false) => None,
        (None, true) => {
            return invalid(
                "the model needs an evaluation key: register one and name it".to_owned(),
            );
        }
        (Some(_), false) => {
            return invalid("the model needs no evaluation key: name none".to_owned());
        }
    };
    let bytes = new.bytes;
    let make = move |database: &Database, client: &str, id: &Id, quota| {
        database.make_job(client, id, &new, key, reply_bytes, quota)
    };
    let made = uploads::make::<JobRow>(&service, &client, &id, bytes, make).await?;
    service.job_changed();
    Ok(made)
}

pub(super) async fn start(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
) -> Result<(StatusCode, Json<Job>), Refusal> {
    let (row, chunks) = find(&service, &client, &id).await?;
    if row.state == JobState::Uploading {
        if service.is_stopping() {
            return Err(stopping());
        }
        if let Some(refusal) = missing::<JobRow>(&id, row.bytes, &chunks) {
            return Err(refusal);
        }
        check_header(&service, &client, &row, chunks).await?;
        let file = row.file;
        if service
            .database(move |database| database.start_job(file))
            .await?
        {
            let client = client.name.clone();
            tracing::info!(
                client,
                job = file,
                model = row.model,
                images = row.images,
                "job queued"
            );
            service.queue.push(WaitingJob {
                file,
                client,
                attempts: 0,
            });
            service.job_changed();
        }
    } else if matches!(row.state, JobState::Failed | JobState::Cancelled) {
        return Err(over(&row, &id));
    }
    Ok((
        StatusCode::ACCEPTED,
        Json(describe(&service, &client, &id).await?),
    ))
}

/// A job without a reply, and why.
pub(super) fn over(row: &JobRow, id: &Id) -> Refusal {
    match &row.problem {
        Some(problem) => Refusal {
            problem: problem.clone(),
        },
        None => Refusal::new(
            ProblemKind::Conflict,
            format!("the job {id} is {}: make another one", row.state.name()),
        ),
    }
}

/// Compares the header of a request with plan and key, before it waits for its turn. What is wrong ends the job.
async fn check_header(
    service: &App,
    client: &Arc<Client>,
    row: &JobRow,
    chunks: Vec<ChunkRow>,
) -> Result<(), Refusal> {
    let model = service
        .models
        .named(&row.model)
        .filter(|model| model.evaluator.plan().digest() == row.plan);
    let Some(model) = model.cloned() else {
        return Err(Refusal::new(
            ProblemKind::Conflict,
            "the server's model is another one now: fetch its client plan again, encrypt with that, and make a new job",
        ));
    };
    let (reader, bytes) = (service.blobs.reader(row.file, chunks), row.bytes);
    let read = tokio::task::spawn_blocking(move || {
        let shape = model.evaluator.request_shape();
        let reader = RequestReader::from_source(reader, bytes, "the request", &shape)?;
        let header = reader.header();
        Ok::<_, sordino_protocol::Error>((header.images, header.key_id.to_string()))
    });
    let refusal = match read.await {
        Err(error) => return Err(Refusal::bug(&error)),
        Ok(Err(error)) => Refusal::of_content(&error),
        Ok(Ok((images, key_id))) => {
            let key = match &row.key {
                None => None,
                Some((_, id)) => keys::for_job(service, client, id).await?.key_id,
            };
            let detail = if images != row.images {
                format!(
                    "the request has {images} images, the job was made for {}",
                    row.images
                )
            } else if key.is_some_and(|key| key != key_id) {
                "the request was encrypted with another secret key than the evaluation key belongs to: register the key that goes with it".to_owned()
            } else {
                return Ok(());
            };
            Refusal::new(ProblemKind::Invalid, detail)
        }
    };
    if forget_lost(service, row.file).await? > 0 {
        return Err(uploads::lost::<JobRow>(&row.name));
    }
    if refusal.problem.kind == ProblemKind::Invalid {
        let (file, problem) = (row.file, refusal.problem.clone());
        service
            .database(move |database| database.fail_job(file, &problem))
            .await?;
        service.blobs.remove(file, false).await?;
        service.job_changed();
    }
    Err(refusal)
}

pub(super) async fn cancel(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
) -> Result<Json<Job>, Refusal> {
    let (row, _) = find(&service, &client, &id).await?;
    end(&service, row.file).await?;
    describe(&service, &client, &id).await.map(Json)
}

/// Nobody wants a job any more.
async fn end(service: &App, file: i64) -> Result<(), Refusal> {
    let state = service
        .database(move |database| database.cancel_job(file))
        .await?;
    service.stop_job(file);
    // The worker that is at a job removes its blobs.
    if matches!(state, Some(JobState::Uploading | JobState::Queued)) {
        service.blobs.remove(file, false).await?;
    }
    Ok(())
}

pub(super) async fn remove(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
) -> Result<StatusCode, Refusal> {
    let (row, _) = find(&service, &client, &id).await?;
    let file = row.file;
    end(&service, file).await?;
    service.remove_file(file).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn events(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let Ok(permit) = Arc::clone(&client.streams).try_acquire_owned() else {
        return Err(Refusal::new(
            ProblemKind::Quota,
            "too many streams of events of this client are open: close one, or ask for the job instead",
        ));
    };
    // What is not there is refused, not streamed.
    let first = describe(&service, &client, &id).await?;
    let state = Streamed {
        changes: service.changes(),
        service,
        client,
        id,
        next: Some(first),
        last: None,
        sent: Instant::now(),
        _permit: permit,
    };
    let stream = futures_util::stream::unfold(state, Streamed::next);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// A stream of what changes about a job.
struct Streamed {
    service: App,
    client: Arc<Client>,
    id: Id,
    changes: tokio::sync::watch::Receiver<u64>,
    /// What is to be sent.
    next: Option<Job>,
    /// What was sent.
    last: Option<Job>,
    sent: Instant,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Streamed {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.last.as_ref().is_some_and(|job| job.state.is_final()) {
            return None;
        }
        while self.next.is_none() {
            tokio::time::sleep(LOOK_INTERVAL).await;
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = self.service.stopping() => return None,
            }
            // A job that was removed has no more events.
            let job = describe(&self.service, &self.client, &self.id).await.ok()?;
            let (moved, news) = self.last.as_ref().map_or((true, true), |last| {
                (last.state != job.state, differs(last, &job))
            });
            if moved || news && self.sent.elapsed() >= EVENT_INTERVAL {
                self.next = Some(job);
            } else if news {
                // Told of at the next look, whether something more changes or not.
                self.changes.mark_changed();
            }
        }
        self.sent = Instant::now();
        let job = self.next.take()?;
        let event = Event::default().event("job").json_data(&job).ok()?;
        self.last = Some(job);
        Some((Ok(event), self))
    }
}

/// Whether there is news about a job: times that pass are none.
fn differs(one: &Job, other: &Job) -> bool {
    let timeless = |job: &Job| Job {
        waited_seconds: None,
        evaluated_seconds: None,
        expires: 0,
        ..job.clone()
    };
    timeless(one) != timeless(other)
}
