//! The status page, and what machines ask about the server itself.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sordino_protocol::api::{Health, ProblemKind};

use super::App;
use super::extract::Asking;
use crate::refusal::Refusal;

/// The description of the routes.
pub(super) const OPENAPI: &str = include_str!("../../../../docs/reference/openapi.json");

/// What a browser may do with anything from here.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn text(media_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}

pub(super) async fn page() -> Response {
    text(
        "text/html; charset=utf-8",
        include_str!("../page/status.html"),
    )
}

pub(super) async fn style() -> Response {
    text(
        "text/css; charset=utf-8",
        include_str!("../page/status.css"),
    )
}

pub(super) async fn script() -> Response {
    text(
        "text/javascript; charset=utf-8",
        include_str!("../page/status.js"),
    )
}

pub(super) async fn openapi() -> Response {
    text("application/json", OPENAPI)
}

fn state(status: &str) -> Json<Health> {
    Json(Health {
        status: status.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

pub(super) async fn health() -> Json<Health> {
    state("ok")
}

pub(super) async fn ready(State(service): State<App>) -> (StatusCode, Json<Health>) {
    if service.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, state("stopping"))
    } else {
        (StatusCode::OK, state("ok"))
    }
}

pub(super) async fn metrics(
    Asking(client): Asking,
    State(service): State<App>,
) -> Result<Response, Refusal> {
    if !client.metrics {
        return Err(Refusal::new(
            ProblemKind::Forbidden,
            "this token may not read the metrics: its client needs metrics = true in the configuration",
        ));
    }
    let stored = service.database(|database| database.stored_bytes()).await?;
    let (waiting, running) = (service.queue.len(), service.running_jobs());
    let text = service.metrics.text(waiting, running, stored);
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}
