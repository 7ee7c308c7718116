//! Messages of the HTTP service, version 1: what `docs/reference/openapi.json` describes.
//!
//! The client chooses the identifiers of its jobs and keys, so that it can repeat every request: the same `PUT` again changes
//! nothing, and a different one is refused. Content is sent in chunks of [`CHUNK_BYTES`], in any order. Each chunk has its
//! SHA-256 digest in the header `Content-Digest` of [RFC 9530](https://www.rfc-editor.org/rfc/rfc9530). The server keeps every
//! chunk that it acknowledged.
//!
//! Times are seconds since 1970.

mod chunks;
mod id;
mod problem;

use serde::{Deserialize, Serialize};
use sordino_container::Digest;

pub use chunks::{Chunks, content_digest};
pub use id::Id;
pub use problem::{PROBLEM_MEDIA_TYPE, Problem, ProblemKind};

/// Bytes of a chunk; only the last one of a file is shorter.
pub const CHUNK_BYTES: u64 = 4 << 20;

/// Most bytes of a body that is not a chunk.
pub const MESSAGE_BYTES: u64 = 64 << 10;

/// Most bytes of a client plan that a server offers and a client accepts; most of it is check images.
pub const CLIENT_PLAN_BYTES: u64 = (64 << 20) + (64 << 10);

/// Media type of chunks, plans and replies.
pub const BINARY_MEDIA_TYPE: &str = "application/octet-stream";

/// The header with the digest of a body.
pub const DIGEST_HEADER: &str = "content-digest";

/// Answer to `GET /v1/models`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Models {
    /// The networks that the server evaluates.
    pub models: Vec<Model>,
}

/// A network that the server evaluates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The network's name on this server.
    pub name: String,
    /// Digest of the plan; requests name it.
    pub plan: Digest,
    /// Digest of the parameters; keys are made for them.
    pub parameters: Digest,
    /// The network's name in the model file.
    pub network: String,
    /// The data set that it was trained on.
    pub dataset: String,
    /// Most images per request.
    pub batch: u64,
    /// Security of the parameters, in bits.
    pub security_bits: u32,
    /// Whether a job needs an evaluation key.
    pub needs_key: bool,
    /// Most bytes of memory that a job takes.
    pub memory_bytes: u64,
    /// Most bytes of scratch that a job takes.
    pub scratch_bytes: u64,
    /// Bytes of the client plan.
    pub client_plan_bytes: u64,
}

/// Body of `PUT /v1/keys/{key}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The parameters that the key was made for.
    pub parameters: Digest,
    /// Bytes of the key file.
    pub bytes: u64,
    /// The job that the key is for alone: the server removes the key with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Id>,
}

/// Answer to `GET /v1/keys`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keys {
    /// The client's keys, newest first.
    pub keys: Vec<Key>,
    /// Where there are more: what to ask for with `?after=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Id>,
}

/// An evaluation key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// The identifier that the client chose.
    pub id: Id,
    /// The parameters that the key was made for.
    pub parameters: Digest,
    /// Bytes of the key file.
    pub bytes: u64,
    /// Whether jobs can use the key.
    pub state: KeyState,
    /// Chunks that the server has.
    pub chunks: Chunks,
    /// When the key was registered.
    pub created: u64,
    /// When the key is removed, unless a job uses it.
    pub expires: u64,
}

/// Whether jobs can use a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Chunks are missing, or the client has not completed the upload.
    Uploading,
    /// Jobs can use the key.
    Ready,
}

/// Body of `PUT /v1/jobs/{job}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// The model's name.
    pub model: String,
    /// The plan that the request was made with.
    pub plan: Digest,
    /// The key to use, where the plan needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Id>,
    /// Images in the request.
    pub images: u64,
    /// Bytes of the request file.
    pub bytes: u64,
}

/// Answer to `GET /v1/jobs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Jobs {
    /// The client's jobs, newest first.
    pub jobs: Vec<Job>,
    /// Where there are more: what to ask for with `?after=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Id>,
}

/// A request on its way to a reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The identifier that the client chose.
    pub id: Id,
    /// The model's name.
    pub model: String,
    /// The plan that the request was made with.
    pub plan: Digest,
    /// The key that the job uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Id>,
    /// Images in the request.
    pub images: u64,
    /// Bytes of the request file.
    pub bytes: u64,
    /// How far the job is.
    pub state: JobState,
    /// Chunks of the request that the server has.
    pub chunks: Chunks,
    /// How many jobs are evaluated before this one, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_ahead: Option<u64>,
    /// How far the evaluation is, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Seconds from the start of the job to the start of its evaluation, or until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_seconds: Option<f64>,
    /// Seconds that the evaluation took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluated_seconds: Option<f64>,
    /// Bytes of the reply file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_bytes: Option<u64>,
    /// Why the job failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// When the job was made.
    pub created: u64,
    /// When the job is removed with its reply; not before its evaluation has ended.
    pub expires: u64,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Not started: chunks may be missing.
    Uploading,
    /// Started, and waiting for its turn.
    Queued,
    /// Being evaluated.
    Running,
    /// The reply can be fetched.
    Done,
    /// There will be no reply; `problem` says why.
    Failed,
    /// The client has cancelled it.
    Cancelled,
}

impl JobState {
    /// Whether the state will never change.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// The state's name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uploading => "uploading",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How far an evaluation is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Pieces of work done.
    pub done: u64,
    /// Pieces of work in total.
    pub of: u64,
    /// The step that was done last.
    pub step: String,
    /// Estimated seconds that are left, once they can be estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
}

/// Answer to `GET /v1/account`: what a client stores and may store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The client's name.
    pub client: String,
    /// Bytes of keys, requests and replies.
    pub stored_bytes: u64,
    /// Most bytes of keys, requests and replies.
    pub stored_bytes_limit: u64,
    /// Jobs that have not ended.
    pub open_jobs: u64,
    /// Most jobs that may be open.
    pub open_jobs_limit: u64,
}

/// Answer to `GET /v1/queue`: how busy the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Jobs that are being evaluated.
    pub running: u64,
    /// Jobs that wait for evaluation.
    pub waiting: u64,
    /// Most jobs that are evaluated at the same time.
    pub at_once: u64,
}

/// Answer to `GET /health` and `GET /ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `"ok"`, or `"stopping"` while the server shuts down.
    pub status: String,
    /// The server's version.
    pub version: String,
}
