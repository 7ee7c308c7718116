//! Models, and what is going on.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use sordino_protocol::api::{
    Account, BINARY_MEDIA_TYPE, DIGEST_HEADER, Model, Models, ProblemKind, Queue, content_digest,
};

use super::App;
use super::extract::{Asking, Named};
use crate::refusal::Refusal;

pub(super) async fn all(_: Asking, State(service): State<App>) -> Json<Models> {
    let models = service
        .models
        .all()
        .iter()
        .map(|model| model.describe())
        .collect();
    Json(Models { models })
}

pub(super) async fn one(
    _: Asking,
    Named(name): Named<String>,
    State(service): State<App>,
) -> Result<Json<Model>, Refusal> {
    let model = service.models.named(&name).ok_or_else(unknown)?;
    Ok(Json(model.describe()))
}

pub(super) async fn client_plan(
    _: Asking,
    Named(name): Named<String>,
    State(service): State<App>,
) -> Result<Response, Refusal> {
    let model = service.models.named(&name).ok_or_else(unknown)?;
    let plan = model.client_plan.clone();
    let digest = content_digest(&plan);
    let mut response = plan.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(BINARY_MEDIA_TYPE),
    );
    if let Ok(digest) = HeaderValue::from_str(&digest) {
        headers.insert(DIGEST_HEADER, digest);
    }
    Ok(response)
}

/// A model that is not among those of the configuration.
pub(super) fn unknown() -> Refusal {
    Refusal::new(
        ProblemKind::NotFound,
        "there is no model of this name here: GET /v1/models lists those that there are",
    )
}

pub(super) async fn account(
    Asking(client): Asking,
    State(service): State<App>,
) -> Result<Json<Account>, Refusal> {
    let name = client.name.clone();
    let usage = service
        .database(move |database| database.usage(&name))
        .await?;
    Ok(Json(Account {
        client: client.name.clone(),
        stored_bytes: usage.stored_bytes,
        stored_bytes_limit: client.quota.stored_bytes,
        open_jobs: usage.open_jobs,
        open_jobs_limit: client.quota.open_jobs,
    }))
}

pub(super) async fn queue(_: Asking, State(service): State<App>) -> Json<Queue> {
    Json(Queue {
        running: service.running_jobs() as u64,
        waiting: service.queue.len() as u64,
        at_once: service.config.jobs_at_once as u64,
    })
}
