//! Keys and jobs: files that clients upload in chunks, under names that they choose.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sordino_evaluator::free_bytes;
use sordino_protocol::api::{Chunks, DIGEST_HEADER, Id, Job, Key, ProblemKind, content_digest};
use tokio::time::timeout;

use super::extract::{Asking, Named};
use super::{App, body};
use crate::database::{ChunkRow, Database, JobRow, KeyRow, Made, OverQuota, Owned, Quota};
use crate::refusal::Refusal;
use crate::service::{Arriving, Client, Service};

/// Most keys or jobs of a page.
const PAGE_ITEMS: u64 = 100;
/// Memory of one of them, with up to some hundred ranges of chunks.
const ITEM_BYTES: u64 = 8 << 10;
/// How long a chunk waits until the server can receive it.
const CHUNK_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that are left free on the disk.
const ROOM_BYTES: u64 = 64 << 20;

/// A key or a job.
pub(super) trait Upload: Owned + Send + 'static {
    /// It as clients see it.
    type Description: Serialize;

    /// Describes it to clients; `chunks` are the numbers of those that are there.
    fn describe(&self, service: &Service, chunks: Vec<u64>) -> Self::Description;
}

impl Upload for KeyRow {
    type Description = Key;

    fn describe(&self, service: &Service, chunks: Vec<u64>) -> Key {
        service.describe_key(self, chunks)
    }
}

impl Upload for JobRow {
    type Description = Job;

    fn describe(&self, service: &Service, chunks: Vec<u64>) -> Job {
        service.describe_job(self, chunks)
    }
}

/// A client's key or job, with its chunks.
pub(super) async fn find<T: Upload>(
    service: &App,
    client: &Client,
    id: &Id,
) -> Result<(T, Vec<ChunkRow>), Refusal> {
    let (name, asked) = (client.name.clone(), id.clone());
    let found = service.database(move |database| {
        let row = database.find(&name, &asked)?;
        row.map(|row| database.with_chunks(row)).transpose()
    });
    found.await?.ok_or_else(|| not_found::<T>(id))
}

/// A key or job that is not there, or is another client's.
fn not_found<T: Upload>(id: &Id) -> Refusal {
    let what = T::KIND.name();
    Refusal::new(
        ProblemKind::NotFound,
        format!(
            "no {what} {id} of this client is here: it was not made, was removed, or has expired"
        ),
    )
}

/// A client's key or job as it sees it.
pub(super) async fn describe<T: Upload>(
    service: &App,
    client: &Client,
    id: &Id,
) -> Result<T::Description, Refusal> {
    let (row, chunks) = find::<T>(service, client, id).await?;
    Ok(row.describe(service, numbers(&chunks)))
}

pub(super) fn numbers(chunks: &[ChunkRow]) -> Vec<u64> {
    chunks.iter().map(|chunk| chunk.number).collect()
}

/// Which part of a list is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Behind this one.
    after: Option<Id>,
    /// So many at most.
    limit: Option<u64>,
}

/// A page of a client's keys or jobs, the newest first, put into a message by `make`; it counts as memory until it was sent.
pub(super) async fn list<T: Upload, M: Serialize>(
    service: &App,
    client: &Client,
    page: Page,
    make: impl FnOnce(Vec<T::Description>, Option<Id>) -> M,
) -> Result<Response, Refusal> {
    let limit = page.limit.unwrap_or(PAGE_ITEMS);
    if !(1..=PAGE_ITEMS).contains(&limit) {
        return Err(Refusal::new(
            ProblemKind::Invalid,
            format!("expected a limit of 1 to {PAGE_ITEMS}, found {limit}"),
        ));
    }
    // Before anything is read from the database: what there is no memory for is not begun.
    let most = (limit * ITEM_BYTES).div_ceil(1 << 10) as u32;
    let Ok(memory) = Arc::clone(&service.listed).try_acquire_many_owned(most) else {
        return Err(Refusal::new(
            ProblemKind::Unavailable,
            "many lists are being sent: try again, or ask for a smaller page",
        ));
    };
    let (name, after) = (client.name.clone(), page.after);
    let found = service.database(move |database| {
        let before = match &after {
            None => None,
            Some(id) => match database.file(&name, T::KIND, id)? {
                Some(file) => Some(file.file),
                None => return Ok(Err(id.clone())),
            },
        };
        // One more tells whether there are more.
        database.list::<T>(&name, before, limit + 1).map(Ok)
    });
    let mut rows = found.await?.map_err(|id| not_found::<T>(&id))?;
    let more = rows.len() as u64 > limit;
    rows.truncate(limit as usize);
    let next = rows
        .last()
        .filter(|_| more)
        .map(|(row, _)| row.name().clone());
    let described = rows
        .into_iter()
        .map(|(row, chunks)| row.describe(service, chunks));
    let message = make(described.collect(), next);
    let body = serde_json::to_vec(&message).map_err(|error| Refusal::bug(&error))?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, body::holding(Body::from(body), memory)).into_response())
}

pub(super) async fn one<T: Upload>(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
) -> Result<Json<T::Description>, Refusal> {
    describe::<T>(&service, &client, &id).await.map(Json)
}

/// Makes a key or job with a file of this length, where the disk has room for it.
pub(super) async fn make<T: Upload>(
    service: &App,
    client: &Client,
    id: &Id,
    bytes: u64,
    make: impl FnOnce(&Database, &str, &Id, Quota) -> Result<Made, rusqlite::Error> + Send + 'static,
) -> Result<(StatusCode, Json<T::Description>), Refusal> {
    // The file goes to the blobs, and what is computed to the state folder, which may be on another disk.
    let state = (&*service.config.state, ROOM_BYTES);
    let blobs = service.blobs.folder();
    let blobs = blobs.map(|folder| (folder, bytes.saturating_add(ROOM_BYTES)));
    let has_no_room =
        |(folder, needed): (&Path, u64)| free_bytes(folder).is_some_and(|free| free < needed);
    if blobs.into_iter().chain([state]).any(has_no_room) {
        return Err(Refusal::new(
            ProblemKind::Storage,
            format!(
                "the server has no room for {bytes} bytes: tell its operator, and try again later"
            ),
        ));
    }
    let (name, quota, asked) = (client.name.clone(), client.quota, id.clone());
    let made = service.database(move |database| make(database, &name, &asked, quota));
    let status = match made.await? {
        Made::New => StatusCode::CREATED,
        Made::Same => StatusCode::OK,
        Made::Differs => {
            let what = T::KIND.name();
            return Err(Refusal::new(
                ProblemKind::Conflict,
                format!(
                    "a {what} {id} is here that was made with another body: choose another name, or delete it first"
                ),
            ));
        }
        Made::OverQuota(OverQuota { what, found, limit }) => {
            return Err(Refusal::new(
                ProblemKind::Quota,
                format!(
                    "expected at most {limit} {what} of this client, this would make {found}: delete what is not needed"
                ),
            ));
        }
    };
    let description = describe::<T>(service, client, id).await?;
    Ok((status, Json(description)))
}

/// Takes a chunk; once that is answered it is kept.
pub(super) async fn chunk<T: Upload>(
    Asking(client): Asking,
    Named((id, number)): Named<(Id, u64)>,
    State(service): State<App>,
    headers: HeaderMap,
    sent: Body,
) -> Result<StatusCode, Refusal> {
    let (name, asked) = (client.name.clone(), id.clone());
    let found = service.database(move |database| {
        let Some(file) = database.file(&name, T::KIND, &asked)? else {
            return Ok(None);
        };
        let range = Chunks::range(file.bytes, number);
        let kept = match range {
            Some(_) => database.chunk(file.file, number)?,
            None => None,
        };
        Ok(Some((file, range, kept)))
    });
    let (file, range, kept) = match found.await {
        Ok(Some(found)) => found,
        Ok(None) => return Err(body::drain(sent, not_found::<T>(&id)).await),
        Err(refusal) => return Err(body::drain(sent, refusal).await),
    };
    let Some(range) = range else {
        let count = Chunks::count(file.bytes);
        let detail = format!(
            "expected a chunk number below {count} of {} bytes, found {number}",
            file.bytes
        );
        return Err(body::drain(sent, Refusal::new(ProblemKind::Invalid, detail)).await);
    };
    if service.is_stopping() {
        return Err(body::drain(sent, stopping()).await);
    }
    let Some(arriving) = service.claim(file.file, number) else {
        let refusal = busy("another upload of this chunk is in progress: wait for it");
        return Err(body::drain(sent, refusal).await);
    };
    let Ok(_place) = client.chunks.try_acquire() else {
        let refusal = busy("too many chunks of this client are being sent: send fewer at once");
        return Err(body::drain(sent, refusal).await);
    };
    // What waits here is not read from the network.
    let permits = async {
        let of_client = client.receiving.acquire().await;
        let of_all = service.receiving.acquire().await;
        of_client.ok().zip(of_all.ok())
    };
    let Ok(permits) = timeout(CHUNK_PATIENCE, permits).await else {
        let refusal = busy("the server is busy with other chunks: send this one again");
        return Err(body::drain(sent, refusal).await);
    };
    let Some((_one_of_client, _one_of_all)) = permits else {
        return Err(Refusal::bug(&"the semaphores are never closed"));
    };
    let content = body::chunk(&headers, sent, range.end - range.start).await?;
    let sha256: [u8; 32] = Sha256::digest(&content).into();
    let claimed = headers
        .get(DIGEST_HEADER)
        .and_then(|value| value.to_str().ok());
    let expected = content_digest(&content);
    if claimed.is_none_or(|claimed| !claimed.split(',').any(|one| one.trim() == expected)) {
        return Err(Refusal::new(
            ProblemKind::Invalid,
            match claimed {
                None => "expected the header Content-Digest with the SHA-256 digest of the chunk"
                    .to_owned(),
                Some(_) => format!(
                    "the chunk does not have the Content-Digest that came with it, but {expected}: send it again"
                ),
            },
        ));
    }
    let chunk = ChunkRow { number, sha256 };
    match kept {
        Some(kept) if kept == sha256 => return Ok(StatusCode::NO_CONTENT),
        Some(_) => return Err(differs(number)),
        None if !file.open => return Err(closed::<T>(&id)),
        None => {}
    }
    // On a task of its own: a client that goes away now must not leave a blob that no row names.
    let keeping = keep(Arc::clone(&service), file.file, chunk, content, arriving);
    match tokio::spawn(keeping).await {
        Ok(Ok(true)) => Ok(StatusCode::NO_CONTENT),
        Ok(Ok(false)) => Err(closed::<T>(&id)),
        Ok(Err(refusal)) => Err(refusal),
        Err(panic) => Err(Refusal::bug(&panic)),
    }
}

/// Keeps a chunk, blob before row; false, and nothing kept, where its file takes no chunk any more.
async fn keep(
    service: App,
    file: i64,
    chunk: ChunkRow,
    content: Bytes,
    _arriving: Arriving,
) -> Result<bool, Refusal> {
    let bytes = content.len() as u64;
    service.blobs.put_chunk(file, &chunk, content).await?;
    let row = chunk.clone();
    let added = service.database(move |database| database.add_chunk(file, &row));
    match added.await {
        Ok(true) => {
            service.metrics.received_chunk(bytes);
            service.job_changed();
            Ok(true)
        }
        // Removed or ended meanwhile, or the row could not be written.
        outcome => {
            let number = chunk.number;
            let named = service.database(move |database| database.chunk(file, number));
            if named.await? != Some(chunk.sha256) {
                service.blobs.remove_chunk(file, &chunk).await?;
            }
            outcome
        }
    }
}

/// Refuses what may go better in a moment.
fn busy(detail: &str) -> Refusal {
    Refusal::new(ProblemKind::Quota, detail)
}

/// Chunks that were acknowledged are not there any more.
pub(super) fn lost<T: Upload>(id: &Id) -> Refusal {
    let what = T::KIND.name();
    Refusal::new(
        ProblemKind::Conflict,
        format!("chunks of the {what} {id} were lost: send those that are missing again"),
    )
}

fn differs(number: u64) -> Refusal {
    Refusal::new(
        ProblemKind::Conflict,
        format!(
            "chunk {number} is here with another content: delete and make anew what it belongs to"
        ),
    )
}

fn closed<T: Upload>(id: &Id) -> Refusal {
    let what = T::KIND.name();
    Refusal::new(
        ProblemKind::Conflict,
        format!("the {what} {id} takes no more chunks: it is complete, or over"),
    )
}

/// Refuses new work while the server ends.
pub(super) fn stopping() -> Refusal {
    Refusal::new(
        ProblemKind::Unavailable,
        "the server is about to end: try again when it is back",
    )
}

/// What is missing before something can be read.
pub(super) fn missing<T: Upload>(id: &Id, bytes: u64, chunks: &[ChunkRow]) -> Option<Refusal> {
    let what = T::KIND.name();
    let chunks = Chunks::new(bytes, chunks.iter().map(|chunk| chunk.number));
    let first = chunks.missing().next()?;
    Some(Refusal::new(
        ProblemKind::Conflict,
        format!(
            "the {what} {id} has {} of {} chunks, chunk {first} is missing: send it first",
            chunks.of - chunks.missing().count() as u64,
            chunks.of
        ),
    ))
}
