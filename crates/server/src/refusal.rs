//! Why something is not done, as problem documents.

use std::fmt::Display;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sordino_fault::{Classified, Fault};
use sordino_protocol::api::{PROBLEM_MEDIA_TYPE, Problem, ProblemKind};

/// Seconds after which to ask again.
const RETRY_SECONDS: u32 = 2;

/// Why something is not done.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub problem: Problem,
}

impl Refusal {
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let problem = Problem::new(kind, detail);
        Self { problem }
    }

    /// A failure of the server; its reason goes to the log only.
    pub(super) fn bug(reason: &dyn Display) -> Self {
        tracing::error!(%reason, "failed");
        Self::new(
            ProblemKind::Internal,
            "the server failed, and its log says why: ask again, and tell its operator if that does not help",
        )
    }

    /// Why a key or a request that a client sent is not taken; whatever is not the client's fault goes to the log only.
    pub(super) fn of_content(error: &impl Classified) -> Self {
        match problem_kind(error.fault()) {
            ProblemKind::Internal => Self::bug(error),
            kind => Self::new(kind, error.to_string()),
        }
    }
}

/// The kind of problem that an error is to the client; nothing else decides one from an error.
pub fn problem_kind(fault: Fault) -> ProblemKind {
    match fault {
        // Such as parameters below the least security.
        Fault::BadFile | Fault::Limits => ProblemKind::Invalid,
        // Plans and keys were checked before; what is left is the server's own trouble.
        Fault::Usage
        | Fault::CheckFailed
        | Fault::Io
        | Fault::Refused
        | Fault::Interrupted
        | Fault::Bug => ProblemKind::Internal,
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
            tracing::error!(%error, "no room for the database");
            return no_room();
        }
        Self::bug(&error)
    }
}

impl From<object_store::Error> for Refusal {
    fn from(error: object_store::Error) -> Self {
        let mut source = std::error::Error::source(&error);
        while let Some(reason) = source {
            if let Some(reason) = reason.downcast_ref::<std::io::Error>()
                && reason.kind() == std::io::ErrorKind::StorageFull
            {
                tracing::error!(%error, "no room for blobs");
                return no_room();
            }
            source = reason.source();
        }
        Self::bug(&error)
    }
}

fn no_room() -> Refusal {
    Refusal::new(
        ProblemKind::Storage,
        "the server's disk is full: tell its operator, and try again later",
    )
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Problem { kind, status, .. } = self.problem;
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = body.into_response();
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(PROBLEM_MEDIA_TYPE),
        );
        match kind {
            ProblemKind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ProblemKind::Unavailable | ProblemKind::Quota => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
            }
            ProblemKind::Timeout => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
