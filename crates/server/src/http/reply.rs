//! Replies, whole or from somewhere on.

use std::ops::Range;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sordino_protocol::api::{BINARY_MEDIA_TYPE, Id, JobState, ProblemKind};

use super::extract::{Asking, Named};
use super::{App, jobs};
use crate::refusal::Refusal;

pub(super) async fn reply(
    Asking(client): Asking,
    Named(id): Named<Id>,
    State(service): State<App>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (row, _) = jobs::find(&service, &client, &id).await?;
    let (bytes, digest) = match (row.state, &row.reply) {
        (JobState::Done, Some((bytes, digest))) => (*bytes, digest),
        (state, _) if state.is_final() => return Err(jobs::over(&row, &id)),
        (state, _) => {
            return Err(Refusal::new(
                ProblemKind::Conflict,
                format!(
                    "the job {id} is {}: there is a reply when it is done",
                    state.name()
                ),
            ));
        }
    };
    let tag = format!("\"{digest}\"");
    let asked = headers.get(header::RANGE).filter(|_| {
        // A part of another content would be of no use.
        headers
            .get(header::IF_RANGE)
            .is_none_or(|only| only.as_bytes() == tag.as_bytes())
    });
    let range = match asked.map(|value| {
        value
            .to_str()
            .ok()
            .and_then(|text| parse_range(text, bytes))
    }) {
        // What is no range of ours is no range.
        None | Some(Some(Asked::Whole) | None) => None,
        Some(Some(Asked::Part(range))) => Some(range),
        Some(Some(Asked::Outside)) => {
            let refusal = Refusal::new(
                ProblemKind::Range,
                format!("the reply has {bytes} bytes, the range begins behind them"),
            );
            let mut response = refusal.into_response();
            insert(
                &mut response,
                header::CONTENT_RANGE,
                &format!("bytes */{bytes}"),
            );
            return Ok(response);
        }
    };
    let part = range.clone().unwrap_or(0..bytes);
    let stream = service.blobs.reply(row.file, part.clone()).await?;
    let mut response = Body::from_stream(stream).into_response();
    insert(&mut response, header::CONTENT_TYPE, BINARY_MEDIA_TYPE);
    insert(&mut response, header::ACCEPT_RANGES, "bytes");
    insert(&mut response, header::ETAG, &tag);
    insert(
        &mut response,
        header::CONTENT_LENGTH,
        &(part.end - part.start).to_string(),
    );
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("bytes {}-{}/{bytes}", part.start, part.end - 1);
        insert(&mut response, header::CONTENT_RANGE, &text);
    }
    Ok(response)
}

fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// What a header `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// More than one range, which is answered with everything.
    Whole,
    Part(Range<u64>),
    Outside,
}

/// Reads `bytes=A-`, `bytes=A-B` and `bytes=-N` of a content of so many bytes; `None` if it is no range.
fn parse_range(text: &str, bytes: u64) -> Option<Asked> {
    let ranges = text.trim().strip_prefix("bytes=")?;
    if ranges.contains(',') {
        return Some(Asked::Whole);
    }
    let (first, last) = ranges.split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let range = match (first.trim(), last.trim()) {
        ("", last) => bytes.saturating_sub(number(last)?)..bytes,
        (first, "") => number(first)?..bytes,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..bytes.min(last.saturating_add(1))
        }
    };
    Some(if range.is_empty() {
        Asked::Outside
    } else {
        Asked::Part(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes=0-", Some(Asked::Part(0..10))),
            ("bytes=3-", Some(Asked::Part(3..10))),
            ("bytes=3-3", Some(Asked::Part(3..4))),
            ("bytes=3-99", Some(Asked::Part(3..10))),
            ("bytes=-4", Some(Asked::Part(6..10))),
            ("bytes=-40", Some(Asked::Part(0..10))),
            ("bytes=10-", Some(Asked::Outside)),
            ("bytes=99999999999999999999999-", Some(Asked::Outside)),
            ("bytes=-0", Some(Asked::Outside)),
            ("bytes=0-1,3-4", Some(Asked::Whole)),
            ("bytes=4-3", None),
            ("bytes=a-", None),
            ("bytes=-", None),
            ("bytes=+1-", None),
            ("items=0-", None),
            ("", None),
        ] {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
    }
}
