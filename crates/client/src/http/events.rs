//! Server-sent events; the data of each is a job.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response};
use sordino_protocol::api::{Id, Job};

use super::call::{MESSAGE_TIME, printable};
use super::connect::RemoteServer;
use crate::Error;

/// How long nothing may come, not even a comment.
const SILENCE: Duration = Duration::from_secs(60);

/// Most bytes of an event.
const EVENT_LIMIT: usize = 1 << 20;

/// The media type of events.
const EVENT_STREAM: &str = "text/event-stream";

/// A job as it changes.
pub struct JobEvents {
    server: RemoteServer,
    id: Id,
    response: Response,
    parser: Parser,
    ready: VecDeque<Job>,
}

impl RemoteServer {
    /// The job whenever something changes: at first as it is, at last when it is over. The stream can end before, and is then
    /// to be asked for again; [`wait`](Self::wait) does that.
    ///
    /// # Errors
    /// As [`models`](Self::models), after one try.
    pub async fn job_events(&self, id: &Id) -> Result<JobEvents, Error> {
        let call = self
            .on_job("follow", id, Method::GET, Some("events"))
            .header(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        let response = self
            .within(MESSAGE_TIME, &call.what, self.send(&call))
            .await;
        let response = response.map_err(|failure| *failure.error)?;
        let media_type = response.headers().get(CONTENT_TYPE);
        let media_type = media_type
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        if !media_type.starts_with(EVENT_STREAM) {
            return Err(self.unexpected(&call.what, EVENT_STREAM, printable(media_type)));
        }
        Ok(JobEvents {
            server: self.clone(),
            id: id.clone(),
            response,
            parser: Parser::default(),
            ready: VecDeque::new(),
        })
    }
}

impl JobEvents {
    /// The job at the next change, `None` at the end of the stream.
    ///
    /// # Errors
    /// [`Error::Connection`] for a stream that broke or fell silent, [`Error::Answer`] for one that makes no sense.
    pub async fn next(&mut self) -> Result<Option<Job>, Error> {
        const WHAT: &str = "follow the job";
        loop {
            if let Some(job) = self.ready.pop_front() {
                return Ok(Some(job));
            }
            let part = self.server.next_part(WHAT, &mut self.response);
            let part = self.server.within(SILENCE, WHAT, part).await;
            let Some(part) = part.map_err(|failure| *failure.error)? else {
                return Ok(None);
            };
            self.server.heard();
            let unexpected = |found: String| {
                self.server
                    .unexpected(WHAT, "events with jobs", printable(&found))
            };
            let events = self
                .parser
                .feed(&part)
                .map_err(|found| unexpected(found.to_owned()))?;
            for data in events {
                let job: Job =
                    serde_json::from_str(&data).map_err(|error| unexpected(error.to_string()))?;
                self.server.same(WHAT, self.id.as_str(), job.id.as_str())?;
                self.ready.push_back(job);
            }
        }
    }
}

/// Splits a stream into events, as the HTML standard has it (server-sent events, parsing an event stream).
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    after_return: bool,
    name: String,
    data: String,
}

impl Parser {
    /// The data of the events named `job` that end in this part.
    fn feed(&mut self, part: &[u8]) -> Result<Vec<String>, &'static str> {
        let mut events = Vec::new();
        for &byte in part {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.len() > EVENT_LIMIT {
                return Err("an event without an end");
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Result<Option<String>, &'static str> {
        let line = std::mem::take(&mut self.line);
        let line = std::str::from_utf8(&line).map_err(|_| "an event that is no text")?;
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = std::mem::take(&mut self.data);
            return Ok((name == "job" && !data.is_empty()).then_some(data));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments, which keep the connection alive, and fields that mean nothing here.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_however_they_are_cut() {
        let stream = b": hello\n\nevent: job\ndata: {\"a\":\ndata: 1}\n\nevent: other\ndata: x\n\n\
            data: y\n\nevent:job\r\ndata:2\r\n\r\nid: 7\revent: job\rdata: 3\r\r\nevent: job\n\n";
        let expected = ["{\"a\":\n1}", "2", "3"];
        assert_eq!(Parser::default().feed(stream).expect("events"), expected);
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let found: Vec<String> = stream
                .chunks(size)
                .flat_map(|part| parser.feed(part).expect("events"))
                .collect();
            assert_eq!(found, expected, "in parts of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let part = [b'x'; 1 << 16];
        let mut parser = Parser::default();
        let fed = (0..100).take_while(|_| parser.feed(&part).is_ok()).count();
        assert!(fed <= EVENT_LIMIT / part.len(), "{fed}");
        let mut parser = Parser::default();
        let fed = (0..10_000_000)
            .take_while(|_| parser.feed(b"data: xxxxxxxxxxxxxxxxxxxx\n").is_ok())
            .count();
        assert!(fed < EVENT_LIMIT, "{fed}");
        assert!(Parser::default().feed(b"\xff\n").is_err());
    }
}
