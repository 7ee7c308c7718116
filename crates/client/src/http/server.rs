//! One method for each route that a submission needs.

use std::path::Path;

use reqwest::Method;
use reqwest::header::HeaderName;
use sordino_protocol::api::{
    CLIENT_PLAN_BYTES, Chunks, DIGEST_HEADER, Id, Job, Key, Model, Models, NewJob, NewKey,
    content_digest,
};

use super::call::{CHECK_TIME, Call};
use super::connect::RemoteServer;
use super::event::Upload;
use crate::Error;

impl RemoteServer {
    fn get(&self, what: impl Into<String>, path: &[&str]) -> Call {
        Call::new(self, what, Method::GET, path)
    }

    /// The models that the server evaluates.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::GaveUp`], [`Error::Answer`]; so for every call here.
    pub async fn models(&self) -> Result<Models, Error> {
        self.ask(self.get("list the models", &["models"])).await
    }

    /// One model.
    ///
    /// # Errors
    /// As [`models`](Self::models).
    pub async fn model(&self, name: &str) -> Result<Model, Error> {
        let model: Model = self
            .ask(self.get(format!("ask for model {name:?}"), &["models", name]))
            .await?;
        self.same("ask for the model", name, &model.name)?;
        Ok(model)
    }

    /// The client's part of a model's plan, as it comes. [`ClientPlan::from_bytes`](sordino_plan::ClientPlan::from_bytes) checks it.
    ///
    /// # Errors
    /// As [`models`](Self::models).
    pub async fn client_plan(&self, model: &str) -> Result<Vec<u8>, Error> {
        let what = format!("fetch the client plan of model {model:?}");
        let call = self.get(&what, &["models", model, "client.plan"]);
        let answer = self.call(call.limit(CLIENT_PLAN_BYTES)).await?;
        let digest = answer.headers.get(HeaderName::from_static(DIGEST_HEADER));
        let right = content_digest(&answer.body);
        if digest.is_some_and(|digest| digest.as_bytes() != right.as_bytes()) {
            return Err(self.unexpected(&what, "a plan with the digest of its header", "another"));
        }
        Ok(answer.body)
    }

    /// Registers an evaluation key; the same again changes nothing.
    ///
    /// # Errors
    /// As [`models`](Self::models).
    pub async fn register_key(&self, id: &Id, new: &NewKey) -> Result<Key, Error> {
        let call = self.on_key("register", id, Method::PUT, None).message(new);
        let key: Key = self.ask(call).await?;
        self.same("register the key", id.as_str(), key.id.as_str())?;
        self.check_chunks("register the key", new.bytes, &key.chunks)?;
        Ok(key)
    }

    /// One key.
    ///
    /// # Errors
    /// As [`models`](Self::models).
    pub async fn key(&self, id: &Id) -> Result<Key, Error> {
        self.ask(self.on_key("ask for", id, Method::GET, None))
            .await
    }

    /// Tells the server that all chunks of a key are there, so that it reads and checks it.
    ///
    /// # Errors
    /// As [`models`](Self::models).
    pub async fn complete_key(&self, id: &Id) -> Result<Key, Error> {
        let call = self.on_key("complete", id, Method::POST, Some("complete"));
        self.ask(call.time(CHECK_TIME)).await
    }

    /// Sends those chunks of a key file that the server does not have; `chunks` is what it said last.
    ///
    /// # Errors
    /// As [`models`](Self::models), and [`Error::File`].
    pub async fn upload_key(&self, id: &Id, file: &Path, chunks: &Chunks) -> Result<(), Error> {
        self.upload(Upload::Key, id, file, chunks).await
    }

    /// Makes a job; the same again changes nothing.
    ///
    /// # Errors
    /// As [`models`](Self::models).
    pub async fn make_job(&self, id: &Id, new: &NewJob) -> Result<Job, Error> {
        let call = self.on_job("make", id, Method::PUT, None).message(new);
        let job = self.ask_job(id, call).await?;
        self.check_chunks("make the job", new.bytes, &job.chunks)?;
        Ok(job)
    }

    /// One job.
    ///
    /// # Errors
    /// As [`models`](Self::models).
    pub async fn job(&self, id: &Id) -> Result<Job, Error> {
        let call = self.on_job("ask for", id, Method::GET, None);
        self.ask_job(id, call).await
    }

    /// Sends those chunks of a request file that the server does not have; `chunks` is what it said last.
    ///
    /// # Errors
    /// As [`models`](Self::models), and [`Error::File`].
    pub async fn upload_request(&self, id: &Id, file: &Path, chunks: &Chunks) -> Result<(), Error> {
        self.upload(Upload::Request, id, file, chunks).await
    }

    /// Starts a job whose chunks are all there.
    ///
    /// # Errors
    /// As [`models`](Self::models).
    pub async fn start_job(&self, id: &Id) -> Result<Job, Error> {
        let call = self.on_job("start", id, Method::POST, Some("start"));
        self.ask_job(id, call.time(CHECK_TIME)).await
    }

    /// Removes a job and its reply.
    ///
    /// # Errors
    /// As [`models`](Self::models).
    pub async fn delete_job(&self, id: &Id) -> Result<(), Error> {
        let call = self.on_job("remove", id, Method::DELETE, None);
        self.call(call).await.map(drop)
    }

    async fn ask_job(&self, id: &Id, call: Call) -> Result<Job, Error> {
        let what = call.what.clone();
        let job: Job = self.ask(call).await?;
        self.same(&what, id.as_str(), job.id.as_str())?;
        Ok(job)
    }

    fn on_key(&self, verb: &str, id: &Id, method: Method, route: Option<&str>) -> Call {
        let what = format!("{verb} key {id}");
        let path = ["keys", id.as_str()].into_iter().chain(route);
        Call::new(self, what, method, &path.collect::<Vec<_>>())
    }

    pub(super) fn on_job(&self, verb: &str, id: &Id, method: Method, route: Option<&str>) -> Call {
        let what = format!("{verb} job {id}");
        let path = ["jobs", id.as_str()].into_iter().chain(route);
        Call::new(self, what, method, &path.collect::<Vec<_>>())
    }

    /// Checks that an answer is about what was asked for.
    pub(super) fn same(&self, what: &str, asked: &str, found: &str) -> Result<(), Error> {
        if asked == found {
            return Ok(());
        }
        let found = super::call::printable(found);
        Err(self.unexpected(
            what,
            format!("an answer about {asked}"),
            format!("one about {found}"),
        ))
    }

    /// The list of chunks is that of the file that was announced, so that what is missing can be gone through.
    fn check_chunks(&self, what: &str, bytes: u64, chunks: &Chunks) -> Result<(), Error> {
        let expected = Chunks::count(bytes);
        if chunks.of == expected {
            return Ok(());
        }
        Err(self.unexpected(what, format!("{expected} chunks"), chunks.of.to_string()))
    }
}

impl Error {
    /// Whether a server said that something is not there.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}
