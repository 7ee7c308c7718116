//! Keys and jobs: files that clients upload in chunks, under names that they choose.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sordino_evaluator::free_bytes;
use sordino_protocol::api::{Chunks, DIGEST_HEADER, Id, Job, Key, ProblemKind, content_digest};

use super::extract::{Asking, Named};
use super::{App, body};
use crate::database::{ChunkRow, Database, JobRow, KeyRow, Made, OverQuota, Owned, Quota};
use crate::refusal::Refusal;
use crate::service::{Client, Service};

/// Bytes that are left free on the disk.
const ROOM_BYTES: u64 = 64 << 20;

/// A key or a job.
pub(super) trait Upload: Owned + Send + 'static {
    /// It as clients see it.
    type Description: Serialize;

    /// Describes it to clients.
    fn describe(&self, service: &Service, chunks: &[ChunkRow]) -> Self::Description;
}

impl Upload for KeyRow {
    type Description = Key;

    fn describe(&self, service: &Service, chunks: &[ChunkRow]) -> Key {
        service.describe_key(self, chunks)
    }
}

impl Upload for JobRow {
    type Description = Job;

    fn describe(&self, service: &Service, chunks: &[ChunkRow]) -> Job {
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
    Ok(row.describe(service, &chunks))
}

/// All keys or jobs of a client as it sees them.
pub(super) async fn all<T: Upload>(
    service: &App,
    client: &Client,
) -> Result<Vec<T::Description>, Refusal> {
    let name = client.name.clone();
    let found = service.database(move |database| {
        let rows = database.list::<T>(&name)?.into_iter();
        rows.map(|row| database.with_chunks(row))
            .collect::<Result<Vec<_>, _>>()
    });
    let rows = found.await?.into_iter();
    Ok(rows
        .map(|(row, chunks)| row.describe(service, &chunks))
        .collect())
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
    if free_bytes(&service.config.state).is_some_and(|free| free < bytes.saturating_add(ROOM_BYTES))
    {
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
    // What waits here is not read from the network.
    let permits = (
        client.receiving.acquire().await,
        service.receiving.acquire().await,
    );
    let (Ok(_one_of_client), Ok(_one_of_all)) = permits else {
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
    service.blobs.put_chunk(file.file, &chunk, content).await?;
    let added = service.database(move |database| database.add_chunk(file.file, &chunk));
    if !added.await? {
        return Err(closed::<T>(&id));
    }
    service.metrics.received_chunk(range.end - range.start);
    service.job_changed();
    Ok(StatusCode::NO_CONTENT)
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
