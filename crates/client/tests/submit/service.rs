//! A service that evaluates, forgets nothing that it acknowledged, and counts what it is told twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use sordino_ckks::{Context, EvaluationKey, KeyId};
use sordino_client::Client;
use sordino_container::Digest;
use sordino_plan::{CompileOptions, PackingKind, Plan};
use sordino_protocol::api::{
    Chunks, Job, JobState, Key, KeyState, Model, NewJob, NewKey, Problem, ProblemKind,
    content_digest,
};
use sordino_protocol::{ReceivedRequest, Reply};
use sordino_ring::backend;
use sordino_runtime::compile;
use sordino_runtime::{Options, evaluate};

use crate::common::model;
use crate::http::{Asked, Given, Server, Then};

/// Pixels of an image.
pub(crate) const SIZE: (usize, usize) = (16, 16);

pub(crate) const FEATURES: usize = SIZE.0 * SIZE.1;

/// Chunks by number.
type File = BTreeMap<u64, Vec<u8>>;

struct KeyEntry {
    new: NewKey,
    chunks: File,
    ready: Option<Arc<EvaluationKey>>,
}

struct JobEntry {
    new: NewJob,
    chunks: File,
    state: JobState,
    problem: Option<Problem>,
    reply: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct State {
    keys: HashMap<String, KeyEntry>,
    jobs: HashMap<String, JobEntry>,
    /// Of every call: method and path.
    pub(crate) calls: Vec<String>,
    /// Chunks that came though they had been acknowledged.
    pub(crate) sent_again: usize,
    /// Jobs that were ever made.
    pub(crate) made: Vec<String>,
    /// Images that jobs said their requests had.
    pub(crate) images: Vec<u64>,
    /// Keys of the requests that were evaluated.
    pub(crate) requests: Vec<KeyId>,
}

impl State {
    pub(crate) fn evaluations(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn forget_jobs(&mut self) {
        self.jobs.clear();
    }

    /// As after a power cut: a chunk of every key and of every job is gone.
    pub(crate) fn lose_chunks(&mut self) {
        for key in self.keys.values_mut() {
            key.chunks.pop_last();
            key.ready = None;
        }
        for job in self.jobs.values_mut() {
            job.chunks.pop_first();
            job.state = JobState::Uploading;
        }
    }

    pub(crate) fn calls(&self, start: &str) -> usize {
        self.calls
            .iter()
            .filter(|call| call.starts_with(start))
            .count()
    }
}

/// What goes wrong with a call: it never arrives, or its answer does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Lost,
    Unanswered,
    Status(u16),
}

pub(crate) type Faults = Box<dyn FnMut(&Asked) -> Option<Fault> + Send>;

pub(crate) struct Service {
    pub(crate) state: Mutex<State>,
    pub(crate) plan: Mutex<Arc<Plan>>,
    /// What goes wrong.
    pub(crate) faults: Mutex<Faults>,
    /// The kind of problem that evaluations end with.
    pub(crate) failing: Mutex<Option<ProblemKind>>,
}

/// A plan without a key, whose requests have several chunks, or one with a key; another batch makes it another plan.
pub(crate) fn plan(packing: PackingKind, batch: usize) -> Arc<Plan> {
    let options = CompileOptions::new(batch).with_packing(packing);
    Arc::new(compile(&model(SIZE, 1), &options).unwrap())
}

impl Service {
    pub(crate) async fn start(plan: Arc<Plan>) -> (Arc<Self>, Server) {
        let service = Arc::new(Self {
            state: Mutex::default(),
            plan: Mutex::new(plan),
            faults: Mutex::new(Box::new(|_| None)),
            failing: Mutex::new(None),
        });
        let handling = Arc::clone(&service);
        let server = Server::start(move |asked| handling.handle(asked)).await;
        (service, server)
    }

    fn handle(&self, asked: Asked) -> Given {
        let fault = (*self.faults.lock().unwrap())(&asked);
        if fault == Some(Fault::Lost) {
            return Given::new(500, "").then(Then::Nothing);
        }
        if let Some(Fault::Status(status)) = fault {
            return Given::new(status, "");
        }
        let given = self.route(&asked);
        if fault == Some(Fault::Unanswered) {
            return given.then(Then::Nothing);
        }
        given
    }

    fn route(&self, asked: &Asked) -> Given {
        let plan = Arc::clone(&self.plan.lock().unwrap());
        let mut state = self.state.lock().unwrap();
        state.calls.push(format!("{} {}", asked.method, asked.path));
        let path: Vec<&str> = asked.path.trim_start_matches("/v1/").split('/').collect();
        match (asked.method.as_str(), path.as_slice()) {
            ("GET", ["models", "small"]) => Given::json(200, &describe(&plan)),
            ("GET", ["models", "small", "client.plan"]) => {
                let bytes = plan.client.to_bytes().unwrap();
                let digest = content_digest(&bytes);
                Given::new(200, bytes).with("content-digest", digest)
            }
            (method, ["keys", id, rest @ ..]) => {
                key_route(&mut state, &plan, method, id, rest, asked)
            }
            (method, ["jobs", id, rest @ ..]) => {
                let failing = *self.failing.lock().unwrap();
                job_route(&mut state, &plan, failing, method, id, rest, asked)
            }
            _ => refuse(ProblemKind::NotFound, "no such route"),
        }
    }
}

fn describe(plan: &Plan) -> Model {
    let parameters = plan.server.parameters();
    Model {
        name: "small".to_owned(),
        plan: plan.server.digest(),
        parameters: parameters.digest(),
        network: plan.server.network().to_owned(),
        dataset: plan.server.dataset().to_owned(),
        batch: plan.server.batch() as u64,
        security_bits: parameters.security_bits(),
        needs_key: plan.server.needs_evaluation_key(),
        memory_bytes: 1,
        scratch_bytes: 0,
        client_plan_bytes: plan.client.to_bytes().unwrap().len() as u64,
    }
}

fn refuse(kind: ProblemKind, detail: &str) -> Given {
    let problem = Problem::new(kind, detail);
    Given::json(problem.status, &problem)
}

/// Keeps a chunk; tells whether it was there before.
fn keep(chunks: &mut File, bytes: u64, number: &str, asked: &Asked) -> Result<bool, Given> {
    let number: u64 = number.parse().unwrap();
    let range = Chunks::range(bytes, number).unwrap();
    let right = content_digest(&asked.body);
    if asked.header("content-digest") != Some(&right) {
        return Err(refuse(ProblemKind::Invalid, "another digest"));
    }
    assert_eq!(asked.body.len() as u64, range.end - range.start);
    match chunks.insert(number, asked.body.clone()) {
        None => Ok(false),
        Some(before) if before == asked.body => Ok(true),
        Some(before) => {
            chunks.insert(number, before);
            Err(refuse(ProblemKind::Conflict, "another chunk is there"))
        }
    }
}

fn whole(chunks: &File, bytes: u64) -> Option<Vec<u8>> {
    let here = Chunks::new(bytes, chunks.keys().copied());
    here.is_complete()
        .then(|| chunks.values().flatten().copied().collect())
}

fn key_route(
    state: &mut State,
    plan: &Plan,
    method: &str,
    id: &str,
    rest: &[&str],
    asked: &Asked,
) -> Given {
    if (method, rest) == ("PUT", &[]) {
        let new: NewKey = serde_json::from_slice(&asked.body).unwrap();
        let entry = state.keys.entry(id.to_owned()).or_insert_with(|| KeyEntry {
            new: new.clone(),
            chunks: File::new(),
            ready: None,
        });
        if entry.new != new {
            return refuse(ProblemKind::Conflict, "another key");
        }
    }
    let Some(entry) = state.keys.get_mut(id) else {
        return refuse(ProblemKind::NotFound, "no such key");
    };
    let bytes = entry.new.bytes;
    match (method, rest) {
        ("PUT", ["chunks", number]) => match keep(&mut entry.chunks, bytes, number, asked) {
            Ok(before) => {
                state.sent_again += usize::from(before);
                return Given::new(204, "");
            }
            Err(refusal) => return refusal,
        },
        ("POST", ["complete"]) if entry.ready.is_none() => {
            let Some(content) = whole(&entry.chunks, bytes) else {
                return refuse(ProblemKind::Conflict, "chunks are missing");
            };
            let context = context(plan);
            match EvaluationKey::from_bytes(&context, &content) {
                Ok(key) => entry.ready = Some(Arc::new(key)),
                Err(error) => {
                    entry.chunks.clear();
                    return refuse(ProblemKind::Invalid, &error.to_string());
                }
            }
        }
        _ => {}
    }
    let key = Key {
        id: id.parse().unwrap(),
        parameters: entry.new.parameters,
        bytes,
        state: match entry.ready {
            Some(_) => KeyState::Ready,
            None => KeyState::Uploading,
        },
        chunks: Chunks::new(bytes, entry.chunks.keys().copied()),
        created: 0,
        expires: u64::MAX,
    };
    Given::json(200, &key)
}

fn context(plan: &Plan) -> Context {
    Context::new(
        plan.server.parameters().clone(),
        backend::select(None).unwrap(),
    )
    .unwrap()
}

fn job_route(
    state: &mut State,
    plan: &Plan,
    failing: Option<ProblemKind>,
    method: &str,
    id: &str,
    rest: &[&str],
    asked: &Asked,
) -> Given {
    if (method, rest) == ("PUT", &[]) {
        let new: NewJob = serde_json::from_slice(&asked.body).unwrap();
        if new.plan != plan.server.digest() {
            return refuse(ProblemKind::Conflict, "another plan");
        }
        if !state.jobs.contains_key(id) {
            state.made.push(id.to_owned());
            state.images.push(new.images);
        }
        let entry = state.jobs.entry(id.to_owned()).or_insert_with(|| JobEntry {
            new: new.clone(),
            chunks: File::new(),
            state: JobState::Uploading,
            problem: None,
            reply: Vec::new(),
        });
        if entry.new != new {
            return refuse(ProblemKind::Conflict, "another job");
        }
    }
    if (method, rest) == ("DELETE", &[]) {
        return match state.jobs.remove(id) {
            Some(_) => {
                let is_of_job =
                    |key: &KeyEntry| key.new.job.as_ref().is_some_and(|job| job.as_str() == id);
                state.keys.retain(|_, key| !is_of_job(key));
                Given::new(204, "")
            }
            None => refuse(ProblemKind::NotFound, "no such job"),
        };
    }
    let Some(entry) = state.jobs.get_mut(id) else {
        return refuse(ProblemKind::NotFound, "no such job");
    };
    let bytes = entry.new.bytes;
    match (method, rest) {
        ("PUT", ["chunks", number]) if entry.state == JobState::Uploading => {
            return match keep(&mut entry.chunks, bytes, number, asked) {
                Ok(before) => {
                    state.sent_again += usize::from(before);
                    Given::new(204, "")
                }
                Err(refusal) => refusal,
            };
        }
        ("PUT", ["chunks", _]) => return refuse(ProblemKind::Conflict, "started already"),
        ("POST", ["start"]) if entry.state == JobState::Uploading => {
            if whole(&entry.chunks, bytes).is_none() {
                return refuse(ProblemKind::Conflict, "chunks are missing");
            }
            entry.state = JobState::Queued;
        }
        ("GET", ["events"]) => {
            let mut body = String::new();
            loop {
                let job = serde_json::to_string(&show(id, entry)).unwrap();
                body += &format!(": still here\n\nevent: job\ndata: {job}\n\n");
                if entry.state.is_final() || entry.state == JobState::Uploading {
                    return Given::new(200, body).with("content-type", "text/event-stream");
                }
                state
                    .requests
                    .extend(advance(entry, &state.keys, plan, failing));
            }
        }
        ("GET", ["reply"]) if entry.state == JobState::Done => return reply(entry, asked),
        ("GET", ["reply"]) => return refuse(ProblemKind::Conflict, "no reply yet"),
        ("GET", []) => {
            let given = Given::json(200, &show(id, entry));
            state
                .requests
                .extend(advance(entry, &state.keys, plan, failing));
            return given;
        }
        _ => {}
    }
    Given::json(200, &show(id, entry))
}

fn show(id: &str, entry: &JobEntry) -> Job {
    let bytes = entry.new.bytes;
    Job {
        id: id.parse().unwrap(),
        model: entry.new.model.clone(),
        plan: entry.new.plan,
        key: entry.new.key.clone(),
        images: entry.new.images,
        bytes,
        state: entry.state,
        chunks: Chunks::new(bytes, entry.chunks.keys().copied()),
        jobs_ahead: (entry.state == JobState::Queued).then_some(0),
        progress: None,
        waited_seconds: Some(0.25),
        evaluated_seconds: (entry.state == JobState::Done).then_some(0.5),
        reply_bytes: (entry.state == JobState::Done).then_some(entry.reply.len() as u64),
        problem: entry.problem.clone(),
        created: 0,
        expires: u64::MAX,
    }
}

/// A job one state on; evaluated when it was running. Gives the key of the request that was evaluated.
fn advance(
    entry: &mut JobEntry,
    keys: &HashMap<String, KeyEntry>,
    plan: &Plan,
    failing: Option<ProblemKind>,
) -> Option<KeyId> {
    match entry.state {
        JobState::Queued => entry.state = JobState::Running,
        JobState::Running => {
            if let Some(kind) = failing {
                entry.problem = Some(Problem::new(kind, "expected to fail"));
                entry.state = JobState::Failed;
                return None;
            }
            let content = whole(&entry.chunks, entry.new.bytes).unwrap();
            let key = entry.new.key.as_ref().map(|id| &keys[id.as_str()]);
            let key = key.map(|key| Arc::clone(key.ready.as_ref().unwrap()));
            entry.reply = evaluated(plan, key.as_deref(), &content);
            entry.state = JobState::Done;
            let context = context(plan);
            let shape = plan.client.request_shape(&context);
            let received = ReceivedRequest::from_bytes(&content, &shape).unwrap();
            return Some(received.header.key_id);
        }
        _ => {}
    }
    None
}

/// The reply to a request, computed here.
pub(crate) fn evaluated(plan: &Plan, key: Option<&EvaluationKey>, request: &[u8]) -> Vec<u8> {
    let client = Client::new(plan.client.clone(), backend::select(None).unwrap()).unwrap();
    let shape = client.request_shape();
    let received = ReceivedRequest::from_bytes(request, &shape).unwrap();
    let (header, digest) = (received.header.clone(), received.digest);
    let blocks = received.parse(&shape).unwrap().into_blocks();
    let context = client.context();
    let blocks = evaluate(&plan.server, context, key, blocks, Options::default()).unwrap();
    let reply = Reply::new(&client.reply_shape(), &header, digest, blocks).unwrap();
    reply.to_bytes().unwrap()
}

fn reply(entry: &JobEntry, asked: &Asked) -> Given {
    let tag = format!("\"{}\"", Digest::of_bytes(&entry.reply));
    let range = asked.header("range");
    let range = range.filter(|_| asked.header("if-range").is_none_or(|wanted| wanted == tag));
    let Some(range) = range else {
        return Given::new(200, entry.reply.as_slice()).with("etag", tag);
    };
    let start = range
        .strip_prefix("bytes=")
        .and_then(|range| range.strip_suffix('-'));
    let start: usize = start.unwrap().parse().unwrap();
    if start >= entry.reply.len() {
        return refuse(ProblemKind::Range, "behind the end");
    }
    let length = entry.reply.len();
    Given::new(206, &entry.reply[start..])
        .with("etag", tag)
        .with(
            "content-range",
            format!("bytes {start}-{}/{length}", length - 1),
        )
}
