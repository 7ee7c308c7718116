//! Who asks, and for what.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use sordino_protocol::api::ProblemKind;

use super::App;
use crate::refusal::Refusal;
use crate::service::Client;

/// The client whose token came with a request.
pub(super) struct Asking(pub Arc<Client>);

impl FromRequestParts<App> for Asking {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, service: &App) -> Result<Self, Refusal> {
        let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
        let token = headers.next().and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then_some(token.trim())
        });
        let client = token.and_then(|token| service.client(token));
        match client {
            Some(client) if headers.next().is_none() => Ok(Self(client)),
            _ => Err(Refusal::new(
                ProblemKind::Unauthorized,
                "expected the header \"Authorization: Bearer TOKEN\" with a token of this server: ask its operator for one",
            )),
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
