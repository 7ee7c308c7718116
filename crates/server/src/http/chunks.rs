//! Chunks of keys and of requests.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};
use sordino_protocol::api::{Chunks, DIGEST_HEADER, Id, ProblemKind, content_digest};

use super::extract::not_found;
use super::{App, Refusal, body};
use crate::database::{ChunkRow, Database, FileKind, OfFile};
use crate::service::Client;

/// A client's key or job, which `ask` finds, with its chunks.
pub(super) async fn find<T: OfFile + Send + 'static>(
    service: &App,
    client: &Client,
    what: &str,
    id: &Id,
    ask: fn(&Database, &str, &Id) -> Result<Option<T>, rusqlite::Error>,
) -> Result<(T, Vec<ChunkRow>), Refusal> {
    let (name, asked) = (client.name.clone(), id.clone());
    let found = service.database(move |database| {
        let row = ask(database, &name, &asked)?;
        row.map(|row| database.with_chunks(row)).transpose()
    });
    found.await?.ok_or_else(|| not_found(what, id))
}

/// All keys or jobs of a client, which `ask` finds, with their chunks.
pub(super) async fn list<T: OfFile + Send + 'static>(
    service: &App,
    client: &Client,
    ask: fn(&Database, &str) -> Result<Vec<T>, rusqlite::Error>,
) -> Result<Vec<(T, Vec<ChunkRow>)>, Refusal> {
    let name = client.name.clone();
    let found = service.database(move |database| {
        let rows = ask(database, &name)?.into_iter();
        rows.map(|row| database.with_chunks(row)).collect()
    });
    found.await
}

/// Takes a chunk; once that is answered it is kept.
pub(super) async fn take(
    service: &App,
    client: &Client,
    (kind, what): (FileKind, &str),
    id: &Id,
    number: u64,
    headers: &HeaderMap,
    sent: Body,
) -> Result<StatusCode, Refusal> {
    let (name, asked) = (client.name.clone(), id.clone());
    let found = service.database(move |database| {
        let Some(file) = database.file(&name, kind, &asked)? else {
            return Ok(None);
        };
        let kept = database.chunk(file.file, number)?;
        Ok(Some((file, kept)))
    });
    let (file, kept) = match found.await {
        Ok(Some(found)) => found,
        Ok(None) => return Err(body::drain(sent, not_found(what, id)).await),
        Err(refusal) => return Err(body::drain(sent, refusal).await),
    };
    let Some(range) = Chunks::range(file.bytes, number) else {
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
    let content = body::chunk(headers, sent, range.end - range.start).await?;
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
        None if !file.open => return Err(closed(what, id)),
        None => {}
    }
    service.blobs.put_chunk(file.file, &chunk, content).await?;
    let added = service.database(move |database| database.add_chunk(file.file, &chunk));
    if !added.await? {
        return Err(closed(what, id));
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

fn closed(what: &str, id: &Id) -> Refusal {
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
pub(super) fn missing(what: &str, id: &Id, bytes: u64, chunks: &[ChunkRow]) -> Option<Refusal> {
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
