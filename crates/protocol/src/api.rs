//! Messages of the HTTP service, version 1: what `docs/reference/openapi.json` describes.
//!
//! A job and a key are made under an identifier that the client chooses, so that everything may be said twice: the same `PUT` again
//! changes nothing, and one that differs is refused. Content is sent in chunks of [`CHUNK_BYTES`], in any order, each with the
//! SHA-256 digest of [RFC 9530](https://www.rfc-editor.org/rfc/rfc9530) in its header `Content-Digest`; what was acknowledged stays.
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

/// Bytes of a body that is no chunk.
pub const MESSAGE_BYTES: u64 = 64 << 10;

/// Bytes of the largest client plan that is served and taken.
pub const CLIENT_PLAN_BYTES: u64 = (8 << 20) + (64 << 10);

/// Media type of chunks, plans and replies.
pub const BINARY_MEDIA_TYPE: &str = "application/octet-stream";

/// The header with the digest of a body.
pub const DIGEST_HEADER: &str = "content-digest";

/// Answer to `GET /v1/models`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Models {
    /// What the server evaluates.
    pub models: Vec<Model>,
}

/// A network that the server evaluates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its name here.
    pub name: String,
    /// Digest of the plan, which requests name.
    pub plan: Digest,
    /// Digest of the parameters, which keys are made for.
    pub parameters: Digest,
    /// The network's name in the model file.
    pub network: String,
    /// What it was trained on.
    pub dataset: String,
    /// Most images a request.
    pub batch: u64,
    /// Security of the parameters.
    pub security_bits: u32,
    /// Whether a job needs an evaluation key.
    pub needs_key: bool,
    /// Most memory that a job takes here.
    pub memory_bytes: u64,
    /// Most scratch that it takes.
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
}

/// Answer to `GET /v1/keys`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keys {
    /// Those of the asking client, the newest first.
    pub keys: Vec<Key>,
}

/// An evaluation key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// The client's name for it.
    pub id: Id,
    /// The parameters that it was made for.
    pub parameters: Digest,
    /// Bytes of the key file.
    pub bytes: u64,
    /// Where it is.
    pub state: KeyState,
    /// Chunks that are here.
    pub chunks: Chunks,
    /// When it was registered.
    pub created: u64,
    /// When it is removed, unless a job uses it.
    pub expires: u64,
}

/// Where a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Chunks are missing, or it was not completed.
    Uploading,
    /// Jobs can use it.
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
    /// Those of the asking client, the newest first.
    pub jobs: Vec<Job>,
}

/// A request on its way to a reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The client's name for it.
    pub id: Id,
    /// The model's name.
    pub model: String,
    /// The plan that the request was made with.
    pub plan: Digest,
    /// The key that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Id>,
    /// Images in the request.
    pub images: u64,
    /// Bytes of the request file.
    pub bytes: u64,
    /// Where it is.
    pub state: JobState,
    /// Chunks of the request that are here.
    pub chunks: Chunks,
    /// While it waits: how many jobs are evaluated before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_ahead: Option<u64>,
    /// While it is evaluated: how far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Seconds from its start until it was evaluated, or until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_seconds: Option<f64>,
    /// Seconds that it was evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluated_seconds: Option<f64>,
    /// Bytes of the reply file, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_bytes: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// When it was made.
    pub created: u64,
    /// When it is removed, with its reply; not before it was evaluated.
    pub expires: u64,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Not started: chunks may be missing.
    Uploading,
    /// Started, and others are before it.
    Queued,
    /// Being evaluated.
    Running,
    /// The reply is there.
    Done,
    /// There will be no reply; `problem` says why.
    Failed,
    /// The client does not want it any more.
    Cancelled,
}

impl JobState {
    /// Whether nothing will change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// The name in messages.
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
    /// Pieces of work in all.
    pub of: u64,
    /// What was done last.
    pub step: String,
    /// Estimate of what is left; none while nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
}

/// Answer to `GET /v1/account`: what a client has here and may have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The client's name.
    pub client: String,
    /// Bytes of keys, requests and replies.
    pub stored_bytes: u64,
    /// Most bytes of them.
    pub stored_bytes_limit: u64,
    /// Jobs that are not over.
    pub open_jobs: u64,
    /// Most of them.
    pub open_jobs_limit: u64,
}

/// Answer to `GET /v1/queue`: how busy the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Jobs that are evaluated.
    pub running: u64,
    /// Jobs that wait.
    pub waiting: u64,
    /// Jobs that are evaluated at once, at most.
    pub at_once: u64,
}

/// Answer to `GET /health` and `GET /ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `"ok"`, or `"stopping"` while the server ends.
    pub status: String,
    /// The server's version.
    pub version: String,
}
