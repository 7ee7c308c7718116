//! The service as a client sees it: one kept connection, one call a route.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sordino_protocol::api::{CHUNK_BYTES, content_digest};

use crate::files::Case;
use crate::server::Server;
use crate::wire::{Answer, Connection, Failure, PATIENCE, Request};

/// How long a job of these tests may take.
pub(crate) const JOB_PATIENCE: Duration = Duration::from_secs(180);

/// A client's connection.
pub(crate) struct Service {
    address: String,
    token: String,
    connection: Option<Connection>,
    /// How long every request took, by a name for its route.
    pub(crate) timings: Vec<(&'static str, Duration)>,
}

impl Service {
    pub(crate) fn new(server: &Server, client: &str) -> Self {
        Self::with_token(server, &server.client(client).token)
    }

    pub(crate) fn with_token(server: &Server, token: &str) -> Self {
        Self {
            address: server.address.clone(),
            token: token.to_owned(),
            connection: None,
            timings: Vec::new(),
        }
    }

    /// Sends a request as it is, and reads its answer.
    pub(crate) fn send(&mut self, request: &Request) -> Result<Answer, Failure> {
        // A kept connection may have been closed for its age: then once more on a fresh one.
        for fresh in [false, true] {
            let kept = self.connection.take().filter(|kept| kept.usable && !fresh);
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(kept) => kept,
                None => Connection::open(&self.address)?,
            };
            connection.send(&request.bytes());
            let answer = connection.answer(&request.method, PATIENCE);
            if was_kept && matches!(answer, Err(Failure::Closed)) {
                continue;
            }
            self.connection = Some(connection);
            return answer;
        }
        Err(Failure::Closed)
    }

    /// Sends a request with the token.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Answer, Failure> {
        let request = request.token(&self.token);
        self.send(&request)
    }

    #[track_caller]
    fn timed(&mut self, name: &'static str, request: Request) -> Answer {
        let begun = Instant::now();
        let answer = self.ask(request);
        self.timings.push((name, begun.elapsed()));
        answer.unwrap_or_else(|failure| panic!("{name}: {failure:?}"))
    }

    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.timed("get", Request::new("GET", target))
    }

    #[track_caller]
    pub(crate) fn delete(&mut self, target: &str) -> Answer {
        self.timed("delete", Request::new("DELETE", target))
    }

    #[track_caller]
    pub(crate) fn post(&mut self, target: &str) -> Answer {
        self.timed("post", post(target))
    }

    #[track_caller]
    pub(crate) fn put(&mut self, target: &str, body: &Value) -> Answer {
        self.timed("put", Request::new("PUT", target).json(body))
    }

    /// Sends a chunk with its digest.
    #[track_caller]
    pub(crate) fn put_chunk(&mut self, of: &str, number: u64, bytes: &[u8]) -> Answer {
        self.timed("chunk", chunk_request(of, number, bytes))
    }

    /// Sends all chunks of a file.
    #[track_caller]
    pub(crate) fn upload(&mut self, of: &str, bytes: &[u8]) {
        for (number, chunk) in (0..).zip(bytes.chunks(CHUNK_BYTES as usize)) {
            self.put_chunk(of, number, chunk).is(204);
        }
    }

    /// Registers and completes a key.
    #[track_caller]
    pub(crate) fn register(&mut self, id: &str, case: &Case) {
        let Some(key) = &case.key else { return };
        self.put(&format!("/v1/keys/{id}"), &new_key(case)).is(201);
        self.upload(&format!("/v1/keys/{id}"), key);
        let answer = self.post(&format!("/v1/keys/{id}/complete")).is(200);
        assert_eq!(answer.json()["state"], "ready");
    }

    /// Makes a job, sends its request and starts it.
    #[track_caller]
    pub(crate) fn begin(&mut self, id: &str, case: &Case, key: Option<&str>) {
        let job = format!("/v1/jobs/{id}");
        self.put(&job, &new_job(case, key)).is(201);
        self.upload(&job, &case.request);
        self.post(&format!("{job}/start")).is(202);
    }

    /// Waits for a job to be over.
    #[track_caller]
    pub(crate) fn wait(&mut self, id: &str) -> Value {
        self.wait_for(id, |state| matches!(state, "done" | "failed" | "cancelled"))
    }

    /// Waits for a job to be in a state.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, id: &str, wanted: impl Fn(&str) -> bool) -> Value {
        let until = Instant::now() + JOB_PATIENCE;
        let mut pause = Duration::from_millis(4);
        loop {
            let job = self.get(&format!("/v1/jobs/{id}")).is(200).json();
            if wanted(job["state"].as_str().expect("a state")) {
                return job;
            }
            assert!(Instant::now() < until, "{job}");
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// A job from its beginning to the reply that is expected.
    #[track_caller]
    pub(crate) fn run(&mut self, id: &str, case: &Case, key: Option<&str>) {
        self.begin(id, case, key);
        let job = self.wait(id);
        assert_eq!(job["state"], "done", "{job}");
        self.check_reply(id, case);
    }

    /// The reply is that of `evaluate`, byte for byte.
    #[track_caller]
    pub(crate) fn check_reply(&mut self, id: &str, case: &Case) {
        let name = "reply";
        let request = Request::new("GET", &format!("/v1/jobs/{id}/reply"));
        let answer = self.timed(name, request).is(200);
        assert!(answer.body == case.reply, "another reply to {id}");
    }

    /// Ids of a list, `keys` or `jobs`.
    #[track_caller]
    pub(crate) fn ids(&mut self, list: &str) -> BTreeSet<String> {
        let answer = self.get(&format!("/v1/{list}")).is(200).json();
        let items = answer[list].as_array().expect("a list").iter();
        let ids: Vec<_> = items
            .map(|item| item["id"].as_str().expect("an id").to_owned())
            .collect();
        let set: BTreeSet<String> = ids.iter().cloned().collect();
        assert_eq!(set.len(), ids.len(), "twice in a list: {ids:?}");
        set
    }
}

/// A request without body that some servers want to know the length of.
pub(crate) fn post(target: &str) -> Request {
    Request::new("POST", target).header("Content-Length", "0")
}

/// A chunk with its digest, addressed to `/v1/jobs/ID` or `/v1/keys/ID`.
pub(crate) fn chunk_request(of: &str, number: u64, bytes: &[u8]) -> Request {
    Request::new("PUT", &format!("{of}/chunks/{number}"))
        .body("application/octet-stream", bytes)
        .header("Content-Digest", content_digest(bytes))
}

/// What a case's key is registered with.
pub(crate) fn new_key(case: &Case) -> Value {
    let bytes = case.key.as_ref().map_or(0, Vec::len);
    json!({"parameters": case.parameters, "bytes": bytes})
}

/// What a job of a case is made with.
pub(crate) fn new_job(case: &Case, key: Option<&str>) -> Value {
    let mut job = json!({
        "model": case.name,
        "plan": case.plan,
        "images": case.images,
        "bytes": case.request.len(),
    });
    if let Some(key) = key {
        job["key"] = key.into();
    }
    job
}

/// The numbers of the chunks that `chunks` of a job or key says are there.
pub(crate) fn received(item: &Value) -> BTreeSet<u64> {
    let ranges = item["chunks"]["received"]
        .as_array()
        .expect("ranges")
        .iter();
    ranges
        .flat_map(|range| {
            let [first, last] = [0, 1].map(|end| range[end].as_u64().expect("a number"));
            first..=last
        })
        .collect()
}
