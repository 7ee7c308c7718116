//! Evaluation keys.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use sordino_ckks::EvaluationKey;
use sordino_protocol::api::{Id, Key, Keys, NewKey, ProblemKind};

use super::chunks::{self, missing, stopping};
use super::extract::{Asking, Named};
use super::jobs::{made, room_for};
use super::{App, Refusal, body};
use crate::database::{ChunkRow, Database, FileKind, KeyRow, NewKeyRow};
use crate::service::Client;

const WHAT: &str = "key";

pub(super) async fn all(
    Asking(client): Asking,
    State(service): State<App>,
) -> Result<Json<Keys>, Refusal> {
    let rows = chunks::list(&service, &client, Database::keys).await?;
    let keys = rows
        .iter()
        .map(|(row, chunks)| service.describe_key(row, chunks));
    Ok(Json(Keys {
        keys: keys.collect::<Result<_, _>>()?,
    }))
}

/// A key with its chunks.
async fn find(service: &App, client: &Client, id: &Id) -> Result<(KeyRow, Vec<ChunkRow>), Refusal> {
    chunks::find(service, client, WHAT, id, Database::key).await
}

pub(super) async fn one(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
) -> Result<Json<Key>, Refusal> {
    let (row, chunks) = find(&service, &client, &id).await?;
    service.describe_key(&row, &chunks).map(Json)
}

pub(super) async fn make(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Refusal> {
    let new: NewKey = body::message(&headers, sent).await?;
    if service.is_stopping() {
        return Err(stopping());
    }
    if service.models.with_parameters(new.parameters).is_none() {
        return Err(Refusal::new(
            ProblemKind::Invalid,
            "no model here needs a key for these parameters: make it with the client plan of a model that does",
        ));
    }
    let largest = service.models.largest_key();
    if new.bytes == 0 || new.bytes > largest {
        return Err(Refusal::new(
            ProblemKind::TooLarge,
            format!(
                "expected a key of at most {largest} bytes, found {}",
                new.bytes
            ),
        ));
    }
    room_for(&service, new.bytes)?;
    let (name, quota, asked) = (client.name.clone(), client.quota, id.clone());
    let result = service.database(move |database| {
        let new = NewKeyRow {
            client: &name,
            id: &asked,
            parameters: new.parameters,
            bytes: new.bytes,
        };
        let made = database.make_key(&new, quota)?;
        made.and_then(|row| database.with_chunks(row))
    });
    let (status, (row, chunks)) = made(result.await?, WHAT, &id)?;
    Ok((status, Json(service.describe_key(&row, &chunks)?)).into_response())
}

pub(super) async fn chunk(
    Asking(client): Asking,
    Named((id, number)): Named<(Id, u64)>,
    State(service): State<App>,
    headers: HeaderMap,
    sent: Body,
) -> Result<StatusCode, Refusal> {
    chunks::take(
        &service,
        &client,
        (FileKind::Key, WHAT),
        &id,
        number,
        &headers,
        sent,
    )
    .await
}

pub(super) async fn complete(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
) -> Result<Json<Key>, Refusal> {
    let (row, chunks) = find(&service, &client, &id).await?;
    if row.key_id.is_some() {
        return service.describe_key(&row, &chunks).map(Json);
    }
    if let Some(refusal) = missing(WHAT, &id, row.bytes, &chunks) {
        return Err(refusal);
    }
    let Some(model) = service.models.with_parameters(row.parameters).cloned() else {
        return Err(Refusal::new(
            ProblemKind::Conflict,
            "no model here needs a key for these parameters any more",
        ));
    };
    let Ok(_checking) = service.checking.acquire().await else {
        return Err(Refusal::bug(&"the semaphore is never closed"));
    };
    let file = row.file;
    // No chunk may change under the reader.
    service
        .database(move |database| database.set_open(file, false))
        .await?;
    let reader = service.blobs.reader(file, chunks);
    let bytes = row.bytes;
    let read = tokio::task::spawn_blocking(move || {
        let context = model.evaluator.context();
        let key = EvaluationKey::from_source(context, reader, bytes, "the evaluation key");
        key.map(|key| key.key_id().to_string())
    });
    let key_id = match read.await {
        Err(error) => Err(Refusal::bug(&error)),
        Ok(Err(error)) => Err(Refusal::of_content(&error.into())),
        Ok(Ok(key_id)) => Ok(key_id),
    };
    match key_id {
        Ok(key_id) => {
            service
                .database(move |database| database.complete_key(file, &key_id))
                .await?;
        }
        Err(refusal) if refusal.problem.kind == ProblemKind::Invalid => {
            service
                .database(move |database| database.forget_chunks(file))
                .await?;
            service.blobs.remove(file, false).await?;
            return Err(refusal);
        }
        Err(refusal) => {
            service
                .database(move |database| database.set_open(file, true))
                .await?;
            return Err(refusal);
        }
    }
    tracing::info!(client = client.name, bytes, "key registered");
    let (row, chunks) = find(&service, &client, &id).await?;
    service.describe_key(&row, &chunks).map(Json)
}

pub(super) async fn remove(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
) -> Result<StatusCode, Refusal> {
    let (row, _) = find(&service, &client, &id).await?;
    let file = row.file;
    if !service
        .database(move |database| database.remove_key(file))
        .await?
    {
        return Err(Refusal::new(
            ProblemKind::Conflict,
            format!("a job that is not over uses the key {id}: wait for it, or cancel it"),
        ));
    }
    service.blobs.remove(file, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The key that a job uses, which has to be complete.
pub(super) async fn for_job(
    service: &App,
    client: &Arc<Client>,
    id: &Id,
) -> Result<KeyRow, Refusal> {
    let (row, _) = find(service, client, id).await?;
    if row.key_id.is_none() {
        return Err(Refusal::new(
            ProblemKind::Conflict,
            format!("the key {id} is not complete: send its chunks and complete it first"),
        ));
    }
    Ok(row)
}
