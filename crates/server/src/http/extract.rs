//! Who asks, and for what.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use sordino_protocol::api::ProblemKind;

use super::App;
use crate::refusal::Refusal;
use crate::service::Client;

/// The client whose token came with a request; [`identify`] has found it.
pub(super) struct Asking(pub Arc<Client>);

/// The client whose token comes with a request, if it is one of ours.
pub(super) fn identify(service: &App, headers: &HeaderMap) -> Option<Arc<Client>> {
    let mut headers = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, token) = headers.next()?.to_str().ok()?.split_once(' ')?;
    let is_one = scheme.eq_ignore_ascii_case("bearer") && headers.next().is_none();
    is_one.then(|| service.client(token.trim())).flatten()
}

impl FromRequestParts<App> for Asking {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refusal> {
        let client = parts.extensions.get::<Arc<Client>>();
        client.cloned().map(Self).ok_or_else(|| {
            Refusal::new(
                ProblemKind::Unauthorized,
                "expected the header \"Authorization: Bearer TOKEN\" with a token of this server: ask its operator for one",
            )
        })
    }
}

/// What stands behind the `?` of an address.
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, service: &App) -> Result<Self, Refusal> {
        match axum::extract::Query::<T>::from_request_parts(parts, service).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(error) => Err(Refusal::new(ProblemKind::Malformed, error.body_text())),
        }
    }
}

/// What stands in the address.
pub(super) struct Named<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, service: &App) -> Result<Self, Refusal> {
        match Path::<T>::from_request_parts(parts, service).await {
            Ok(Path(named)) => Ok(Self(named)),
            Err(error) => Err(Refusal::new(ProblemKind::Malformed, error.body_text())),
        }
    }
}
