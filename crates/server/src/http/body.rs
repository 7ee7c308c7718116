//! Bodies: bounded, and not too slow.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde::de::DeserializeOwned;
use sordino_protocol::api::{BINARY_MEDIA_TYPE, CHUNK_BYTES, MESSAGE_BYTES, ProblemKind};
use tokio::time::{Instant, timeout_at};

use crate::refusal::Refusal;

/// The time that every body may take, however short, and the most that a sender may be late.
const PATIENCE: Duration = Duration::from_secs(15);
/// The least rate of a longer body, in bytes per second.
const SLOWEST: u64 = 16 << 10;
/// How long the rest of a refused body is read, so that the client reads the response.
const DRAINING: Duration = Duration::from_secs(2);

/// Reads a message.
pub(super) async fn message<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refusal> {
    if let Err(refusal) = check_media_type(headers, "application/json") {
        return Err(drain(body, refusal).await);
    }
    let length = body.size_hint().exact();
    if length.is_some_and(|length| length > MESSAGE_BYTES) {
        return Err(drain(body, too_large(MESSAGE_BYTES)).await);
    }
    let bytes = read(body, length.unwrap_or(MESSAGE_BYTES)).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Refusal::new(
            ProblemKind::Malformed,
            format!("the body is not the JSON that is expected: {error}"),
        )
    })
}

/// Reads a chunk, which has exactly `expected` bytes.
pub(super) async fn chunk(
    headers: &HeaderMap,
    body: Body,
    expected: u64,
) -> Result<Bytes, Refusal> {
    if headers.contains_key(header::CONTENT_TYPE)
        && let Err(refusal) = check_media_type(headers, BINARY_MEDIA_TYPE)
    {
        return Err(drain(body, refusal).await);
    }
    let refusal = match body.size_hint().exact() {
        None => Refusal::new(
            ProblemKind::LengthRequired,
            "expected the header Content-Length with a chunk",
        ),
        Some(length) if length == expected => return read(body, expected).await,
        Some(length) if length > CHUNK_BYTES => too_large(CHUNK_BYTES),
        Some(length) => Refusal::new(
            ProblemKind::Invalid,
            format!(
                "expected {expected} bytes of this chunk, found {length}: chunks have {CHUNK_BYTES} bytes, only the last one has fewer"
            ),
        ),
    };
    Err(drain(body, refusal).await)
}

fn too_large(limit: u64) -> Refusal {
    Refusal::new(
        ProblemKind::TooLarge,
        format!("expected a body of at most {limit} bytes"),
    )
}

fn check_media_type(headers: &HeaderMap, expected: &str) -> Result<(), Refusal> {
    let found = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let found = found.map(|value| value.split(';').next().unwrap_or("").trim());
    if found.is_some_and(|found| found.eq_ignore_ascii_case(expected)) {
        return Ok(());
    }
    Err(Refusal::new(
        ProblemKind::MediaType,
        format!("expected the header \"Content-Type: {expected}\""),
    ))
}

/// Reads a body of at most `limit` bytes.
async fn read(mut body: Body, limit: u64) -> Result<Bytes, Refusal> {
    // Each byte earns time, at most the patience: bytes that came early do not pay for a later pause.
    let mut deadline = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(Bytes::from(bytes)),
            Ok(Some(Err(_))) => {
                return Err(Refusal::new(
                    ProblemKind::Malformed,
                    "the body ended before its length: send it again",
                ));
            }
            Err(_) => {
                return Err(Refusal::new(
                    ProblemKind::Timeout,
                    format!(
                        "the body came too slowly: at least {SLOWEST} bytes per second are expected"
                    ),
                ));
            }
        };
        if let Ok(data) = frame.into_data() {
            if bytes.len() as u64 + data.len() as u64 > limit {
                return Err(drain(body, too_large(limit)).await);
            }
            if bytes.is_empty() {
                bytes.reserve_exact(limit.min(CHUNK_BYTES) as usize);
            }
            bytes.extend_from_slice(&data);
            let earned = Duration::from_secs_f64(data.len() as f64 / SLOWEST as f64);
            deadline = (deadline + earned).min(Instant::now() + PATIENCE);
        }
    }
}

/// Reads some more of a body that is refused, without keeping it: a sender that is still at it would not see the answer.
pub(super) async fn drain(mut body: Body, refusal: Refusal) -> Refusal {
    let deadline = Instant::now() + DRAINING;
    let mut left = 2 * CHUNK_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    refusal
}

/// A body that holds something until it was sent or given up, such as a place among those that are answered.
pub(super) fn holding<T: Send + Unpin + 'static>(body: Body, held: T) -> Body {
    Body::new(Holding { body, _held: held })
}

struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
