//! Evaluation keys.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use sordino_ckks::EvaluationKey;
use sordino_protocol::api::{Id, Key, Keys, NewKey, ProblemKind};

use super::extract::{Asking, Named, Query};
use super::uploads::{self, Page, missing, numbers, stopping};
use super::{App, body};
use crate::database::{Database, KeyRow};
use crate::refusal::Refusal;
use crate::retention::forget_lost;
use crate::service::Client;

pub(super) async fn all(
    Asking(client): Asking,
    Query(page): Query<Page>,
    State(service): State<App>,
) -> Result<Response, Refusal> {
    let make = |keys, next| Keys { keys, next };
    uploads::list::<KeyRow, _>(&service, &client, page, make).await
}

pub(super) async fn make(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
    headers: HeaderMap,
    sent: Body,
) -> Result<(StatusCode, Json<Key>), Refusal> {
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
    let bytes = new.bytes;
    let make = move |database: &Database, client: &str, id: &Id, quota| {
        database.make_key(client, id, &new, quota)
    };
    uploads::make::<KeyRow>(&service, &client, &id, bytes, make).await
}

pub(super) async fn complete(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
) -> Result<Json<Key>, Refusal> {
    let (row, chunks) = uploads::find::<KeyRow>(&service, &client, &id).await?;
    if row.key_id.is_some() {
        return Ok(Json(service.describe_key(&row, numbers(&chunks))));
    }
    if let Some(refusal) = missing::<KeyRow>(&id, row.bytes, &chunks) {
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
        Ok(Err(error)) => Err(Refusal::of_content(&error)),
        Ok(Ok(key_id)) => Ok(key_id),
    };
    match key_id {
        Ok(key_id) => {
            service
                .database(move |database| database.complete_key(file, &key_id))
                .await?;
        }
        Err(_) if forget_lost(&service, file).await? > 0 => {
            return Err(uploads::lost::<KeyRow>(&id));
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
    uploads::describe::<KeyRow>(&service, &client, &id)
        .await
        .map(Json)
}

pub(super) async fn remove(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
) -> Result<StatusCode, Refusal> {
    let (row, _) = uploads::find::<KeyRow>(&service, &client, &id).await?;
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
    let (row, _) = uploads::find::<KeyRow>(service, client, id).await?;
    if row.key_id.is_none() {
        return Err(Refusal::new(
            ProblemKind::Conflict,
            format!("the key {id} is not complete: send its chunks and complete it first"),
        ));
    }
    Ok(row)
}
