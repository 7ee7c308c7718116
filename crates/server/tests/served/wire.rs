//! HTTP/1.1 at the socket: requests may be as malformed as a test likes, and every byte of an answer is seen.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long any answer may take that computes nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it is going to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: vec![("Host".to_owned(), b"localhost".to_vec())],
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// With a body and its length.
    pub(crate) fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("Content-Type", media_type)
            .header("Content-Length", length)
    }

    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// The head as bytes, with the empty line behind it.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut bytes =
            format!("{} {} {}\r\n", self.method, self.target, self.version).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }
}

/// An answer, whole.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Head and body as they came.
    pub(crate) raw: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(600)]);
        write!(f, "{} {:?} {body:?}", self.status, self.headers)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The media type without parameters.
    pub(crate) fn media_type(&self) -> &str {
        let value = self.header("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The answer has this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The answer is a problem document of this status.
    #[track_caller]
    pub(crate) fn refused(self, status: u16) -> Self {
        let answer = self.is(status);
        if let Err(fault) = answer.check_problem() {
            panic!("{fault}: {answer:?}");
        }
        answer
    }

    /// Whether the body is a problem document that fits the status.
    pub(crate) fn check_problem(&self) -> Result<(), String> {
        if self.media_type() != "application/problem+json" {
            return Err("no problem document".to_owned());
        }
        let document: serde_json::Value =
            serde_json::from_slice(&self.body).map_err(|error| format!("no JSON: {error}"))?;
        for name in ["type", "title", "detail"] {
            if document[name].as_str().is_none_or(str::is_empty) {
                return Err(format!("a problem without {name}"));
            }
        }
        if document["status"].as_u64() != Some(u64::from(self.status)) {
            return Err("a problem of another status".to_owned());
        }
        Ok(())
    }

    fn says_close(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.to_ascii_lowercase().contains("close"))
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection could not be made.
    Refused,
    /// It ended before the first byte.
    Closed,
    /// It ended within the answer.
    Cut,
    /// The answer did not come in time.
    Late,
    /// The answer is no HTTP.
    Nonsense(String),
}

/// A connection that may be kept for further requests.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Bytes that were read and belong to no answer yet.
    read: Vec<u8>,
    pub(crate) usable: bool,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).map_err(|_| Failure::Refused)?;
        stream.set_nodelay(true).expect("a socket");
        // What is sent to somebody who does not read must not block the test either.
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a write timeout");
        Ok(Self {
            stream,
            read: Vec::new(),
            usable: true,
        })
    }

    /// Sends; a server that refuses early may close the connection meanwhile, so that an error is for the answer to tell.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// No more is going to be sent.
    pub(crate) fn end(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Reads the next answer to a request of a method.
    pub(crate) fn answer(&mut self, method: &str, patience: Duration) -> Result<Answer, Failure> {
        let until = Instant::now() + patience;
        let answer = self.try_answer(method, until);
        self.usable &= answer.as_ref().is_ok_and(|answer| !answer.says_close());
        answer
    }

    fn try_answer(&mut self, method: &str, until: Instant) -> Result<Answer, Failure> {
        loop {
            let (status, headers, head) = self.take_head(until)?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let mut answer = Answer {
                status,
                headers,
                body: Vec::new(),
                raw: head,
            };
            if method != "HEAD" && !matches!(status, 204 | 304) {
                self.take_body(&mut answer, until)?;
            }
            return Ok(answer);
        }
    }

    #[allow(clippy::type_complexity)]
    fn take_head(
        &mut self,
        until: Instant,
    ) -> Result<(u16, Vec<(String, String)>, Vec<u8>), Failure> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if self.read.len() > 1 << 20 {
                return Err(Failure::Nonsense("an endless head".to_owned()));
            }
            let empty = self.read.is_empty();
            if !self.fill(until)? {
                return Err(if empty { Failure::Closed } else { Failure::Cut });
            }
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let text = String::from_utf8_lossy(&head).into_owned();
        let nonsense = || Failure::Nonsense(text.clone());
        let mut lines = text.trim_end().split("\r\n");
        let mut first = lines.next().ok_or_else(nonsense)?.splitn(3, ' ');
        if !first.next().is_some_and(|name| name.starts_with("HTTP/1.")) {
            return Err(nonsense());
        }
        let status = first.next().and_then(|status| status.parse().ok());
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_owned(), value.trim().to_owned()))
            })
            .collect::<Option<_>>();
        let (status, headers) = status.zip(headers).ok_or_else(nonsense)?;
        Ok((status, headers, head))
    }

    fn take_body(&mut self, answer: &mut Answer, until: Instant) -> Result<(), Failure> {
        let chunked = answer
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let length = answer.header("content-length").map(str::parse::<usize>);
        match length {
            _ if chunked => loop {
                let line = self.take_line(until)?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let Ok(size) = usize::from_str_radix(digits, 16) else {
                    return Err(Failure::Nonsense(format!("a chunk of {line:?}")));
                };
                let piece = self.take(size, until)?;
                self.take(2, until)?;
                answer.raw.extend_from_slice(&piece);
                answer.body.extend_from_slice(&piece);
                if size == 0 {
                    return Ok(());
                }
            },
            Some(Ok(length)) => {
                answer.body = self.take(length, until)?;
                answer.raw.extend_from_slice(&answer.body);
            }
            Some(Err(_)) => return Err(Failure::Nonsense("a bad length".to_owned())),
            None => {
                while self.fill(until)? {}
                answer.body = std::mem::take(&mut self.read);
                answer.raw.extend_from_slice(&answer.body);
                self.usable = false;
            }
        }
        Ok(())
    }

    /// The next line, without its end.
    pub(crate) fn take_line(&mut self, until: Instant) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if !self.fill(until)? {
                return Err(Failure::Cut);
            }
        }
    }

    fn take(&mut self, count: usize, until: Instant) -> Result<Vec<u8>, Failure> {
        while self.read.len() < count {
            if !self.fill(until)? {
                return Err(Failure::Cut);
            }
        }
        let rest = self.read.split_off(count);
        Ok(std::mem::replace(&mut self.read, rest))
    }

    /// Reads some bytes; false at the end of the connection.
    fn fill(&mut self, until: Instant) -> Result<bool, Failure> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Late);
        }
        let timeout = left.max(Duration::from_millis(1));
        self.stream
            .set_read_timeout(Some(timeout))
            .expect("a read timeout");
        let mut piece = [0; 1 << 16];
        match self.stream.read(&mut piece) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.read.extend_from_slice(&piece[..count]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Failure::Late)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            // A reset: the other side closed while it had unread bytes of ours.
            Err(_) => Ok(false),
        }
    }
}

/// One request on a connection of its own.
pub(crate) fn once(address: &str, request: &Request) -> Result<Answer, Failure> {
    let mut connection = Connection::open(address)?;
    connection.send(&request.bytes());
    connection.answer(&request.method, PATIENCE)
}
