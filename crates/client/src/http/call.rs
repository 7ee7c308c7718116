//! One call: a request, and the answer within its limits.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sordino_protocol::api::{BINARY_MEDIA_TYPE, DIGEST_HEADER, Problem, content_digest};

use super::cause::{
    innermost, is_about_tls, is_authority_itself, is_closed, is_no_http, is_no_tls,
};
use super::connect::RemoteServer;
use super::retry::{Failure, Tries, passes, retry_after};
use crate::Error;

/// How long a call may take whose answer is a message.
pub(super) const MESSAGE_TIME: Duration = Duration::from_secs(60);

/// How long one may take that makes the server read a whole file.
pub(super) const CHECK_TIME: Duration = Duration::from_secs(600);

/// How long the upload of one chunk may take.
pub(super) const CHUNK_TIME: Duration = Duration::from_secs(300);

/// Most bytes of an answer that is a message; the longest are lists of jobs.
pub(super) const MESSAGE_LIMIT: u64 = 4 << 20;

/// Most bytes of the description of a problem.
const PROBLEM_LIMIT: u64 = 64 << 10;

/// Most characters of what a server says that are shown.
const SHOWN: usize = 1000;

/// A call before it is made; it can be made again.
pub(super) struct Call {
    /// Completes "cannot …".
    pub what: String,
    request: Request,
    time: Duration,
    limit: u64,
}

/// A good answer.
pub(super) struct Answer {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Call {
    /// A call of a route, without a body.
    pub(super) fn new(
        server: &RemoteServer,
        what: impl Into<String>,
        method: Method,
        path: &[&str],
    ) -> Self {
        let mut request = Request::new(method, server.url(path));
        request
            .headers_mut()
            .insert(AUTHORIZATION, server.authorization());
        Self {
            what: what.into(),
            request,
            time: MESSAGE_TIME,
            limit: MESSAGE_LIMIT,
        }
    }

    /// With a message to send.
    pub(super) fn message(self, message: &impl Serialize) -> Self {
        // The messages are strings and numbers, which can always be written down.
        let body = serde_json::to_vec(message).unwrap_or_default();
        self.header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body)
    }

    /// With a chunk to send.
    pub(super) fn chunk(self, chunk: Vec<u8>) -> Self {
        let digest = HeaderName::from_static(DIGEST_HEADER);
        // Base64 in a header is plain text.
        let value = HeaderValue::from_str(&content_digest(&chunk));
        let value = value.unwrap_or(HeaderValue::from_static(""));
        self.header(CONTENT_TYPE, HeaderValue::from_static(BINARY_MEDIA_TYPE))
            .header(digest, value)
            .body(chunk)
            .time(CHUNK_TIME)
    }

    fn body(mut self, body: Vec<u8>) -> Self {
        *self.request.body_mut() = Some(body.into());
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.request.headers_mut().insert(name, value);
        self
    }

    /// With another limit on the time that it takes.
    pub(super) fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// With another limit on the answer.
    pub(super) fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }
}

impl RemoteServer {
    /// Makes a call until it is answered.
    pub(super) async fn call(&self, call: Call) -> Result<Answer, Error> {
        let mut tries = Tries::new(self);
        loop {
            match self.try_call(&call).await {
                Ok(answer) => {
                    self.heard();
                    return Ok(answer);
                }
                Err(failure) => tries.pause(failure).await?,
            }
        }
    }

    /// [`call`](Self::call) whose answer is a message.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let what = call.what.clone();
        let answer = self.call(call).await?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| self.unexpected(&what, "a message", printable(&error.to_string())))
    }

    async fn try_call(&self, call: &Call) -> Result<Answer, Failure> {
        let whole = async {
            let mut response = self.send(call).await?;
            let body = self
                .read_body(&call.what, &mut response, call.limit)
                .await?;
            let headers = std::mem::take(response.headers_mut());
            Ok(Answer { headers, body })
        };
        self.within(call.time, &call.what, whole).await
    }

    /// Makes a call once, and leaves the body of a good answer to be read.
    pub(super) async fn send(&self, call: &Call) -> Result<Response, Failure> {
        // Every body here is in memory, so that the request can be copied.
        let request = call.request.try_clone();
        let request = request.ok_or_else(|| self.unexpected(&call.what, "a request", "none"))?;
        let mut response = self
            .http()
            .execute(request)
            .await
            .map_err(|error| self.broken(&call.what, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers();
        let (passes, retry_after) = (passes(status, headers), retry_after(headers));
        let body = self
            .read_body(&call.what, &mut response, PROBLEM_LIMIT)
            .await;
        Err(Failure {
            error: Box::new(self.refused(&call.what, status, &body.unwrap_or_default())),
            passes,
            retry_after,
        })
    }

    /// The body of an answer, unless it is over the limit.
    async fn read_body(
        &self,
        what: &str,
        response: &mut Response,
        limit: u64,
    ) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(part) = self.next_part(what, response).await? {
            if (body.len() + part.len()) as u64 > limit {
                let expected = format!("an answer of {limit} bytes at most");
                return Err(self.unexpected(what, expected, "a longer one").into());
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    /// The next part of a body as it comes, `None` at the end.
    pub(super) async fn next_part(
        &self,
        what: &str,
        response: &mut Response,
    ) -> Result<Option<impl AsRef<[u8]> + std::ops::Deref<Target = [u8]> + use<>>, Failure> {
        let part = response.chunk().await;
        part.map_err(|error| self.broken(what, &error))
    }

    /// A connection that was not made or broke.
    fn broken(&self, what: &str, error: &reqwest::Error) -> Failure {
        let (what, server) = (what.to_owned(), self.address().to_owned());
        let detail = if error.is_timeout() {
            "the connection took too long to be made".to_owned()
        } else {
            printable(&innermost(error))
        };
        if error.is_connect() && is_no_tls(error) {
            let advice = "it speaks http, or something else: give the address with http:// (and --plain if the server is another machine), or the port that speaks https";
            let scheme = "https";
            return Error::OtherProtocol {
                what,
                server,
                scheme,
                advice,
            }
            .into();
        }
        if !self.is_secure() && is_no_http(error) {
            let advice = "it speaks https, or something else: give the address with https://";
            let scheme = "http";
            return Error::OtherProtocol {
                what,
                server,
                scheme,
                advice,
            }
            .into();
        }
        if error.is_connect() && is_about_tls(error) {
            let advice = if is_authority_itself(error) {
                "the server shows the certificate of an authority as its own: make it one with CA:FALSE, as with `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`"
            } else {
                "check the address, or give the certificate that it is signed with (--ca FILE)"
            };
            return Error::Certificate {
                what,
                server,
                detail,
                advice,
            }
            .into();
        }
        let detail = match !self.is_secure() && is_closed(error) {
            true => format!(
                "{detail} (a server that speaks https closes it so: then give the address with https://)"
            ),
            false => detail,
        };
        Failure::passing(Error::Connection {
            what,
            server,
            detail,
        })
    }

    /// What `work` comes to, unless that takes too long.
    pub(super) async fn within<T>(
        &self,
        time: Duration,
        what: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let done = tokio::time::timeout(time, work).await;
        done.unwrap_or_else(|_| {
            Err(Failure::passing(Error::Connection {
                what: what.to_owned(),
                server: self.address().to_owned(),
                detail: format!("no answer within {} s", time.as_secs()),
            }))
        })
    }

    fn refused(&self, what: &str, status: StatusCode, body: &[u8]) -> Error {
        let (kind, detail) = describe(status, body);
        Error::Refused {
            what: what.to_owned(),
            server: self.address().to_owned(),
            status: status.as_u16(),
            kind,
            detail,
        }
    }

    /// An answer that makes no sense.
    pub(super) fn unexpected(
        &self,
        what: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        Error::Answer {
            what: what.to_owned(),
            server: self.address().to_owned(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// What a refusal says: a problem document, or whatever a proxy on the way had to say.
fn describe(
    status: StatusCode,
    body: &[u8],
) -> (Option<sordino_protocol::api::ProblemKind>, String) {
    #[derive(serde::Deserialize)]
    struct Loose {
        title: Option<String>,
        detail: Option<String>,
    }
    if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
        let text = format!("{}: {}", problem.title, problem.detail);
        return (Some(problem.kind), printable(&text));
    }
    let loose = serde_json::from_slice::<Loose>(body).ok();
    let text = match loose {
        Some(Loose { title, detail }) if title.is_some() || detail.is_some() => [title, detail]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(": "),
        _ => status.canonical_reason().unwrap_or("refused").to_owned(),
    };
    (None, printable(&text))
}

/// What a server says, so that it can be shown: on one line, cleaned, and not for ever.
pub(super) fn printable(text: &str) -> String {
    let short: String = text.chars().take(SHOWN).collect();
    sordino_container::printable(&short.replace(['\n', '\t'], " ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordino_protocol::api::ProblemKind;

    #[test]
    fn refusals_are_read_whatever_they_are() {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let problem = Problem::new(ProblemKind::Invalid, "expected 5 chunks, found 4");
        let body = serde_json::to_vec(&problem).expect("JSON");
        let (kind, text) = describe(status, &body);
        assert_eq!(kind, Some(ProblemKind::Invalid));
        assert!(
            text.ends_with("should be: expected 5 chunks, found 4"),
            "{text}"
        );

        let later = br#"{"type":"/problems/new","title":"new","status":422,"detail":"later"}"#;
        assert_eq!(describe(status, later), (None, "new: later".to_owned()));
        for other in [&b"<html>bad gateway"[..], b"", b"[]", b"{}", b"\xff"] {
            let (kind, text) = describe(StatusCode::BAD_GATEWAY, other);
            assert_eq!((kind, text.as_str()), (None, "Bad Gateway"));
        }
    }

    #[test]
    fn a_server_cannot_write_on_the_terminal() {
        assert_eq!(
            printable("a\x1b[2Jb\r\n\u{9b}c"),
            "a\u{fffd}[2Jb\u{fffd} \u{fffd}c"
        );
        assert_eq!(printable(&"x".repeat(5000)).len(), SHOWN);
    }
}
