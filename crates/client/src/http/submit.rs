//! From images to predictions on a server that sees neither.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sordino_container::{Digest, Error as FileError, HEADER_BYTES};
use sordino_data::Prepared;
use sordino_protocol::Reply;
use sordino_protocol::api::{Id, Job, JobState, KeyState, Model, NewJob, NewKey};

use super::again::Again;
use super::connect::RemoteServer;
use super::event::Event;
use super::key_place::{KeyPlace, Lasting, Unkeyed};
use super::out;
use super::pin::{Pin, Sight};
use super::submission::{JobRecord, RequestFile, Submission};
use super::submitted::{SubmitOptions, SubmitTimes, Submitted};
use crate::{
    Client, Error, EvaluationKeyFile, ImageSource, KeyFolder, Marks, Predictions, Provenance,
};

/// How often a job is made that the server forgets.
const MAKES: usize = 3;

/// How often chunks are sent that the server loses.
const SENDS: usize = 5;

/// How long to try to remove a job that is no longer needed.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(20);

/// Values that are digested at once.
const DIGESTED: usize = 1 << 18;

/// What all parts of a submission need.
struct Submitter<'a> {
    server: &'a RemoteServer,
    options: &'a SubmitOptions,
    model: Model,
    client: Arc<Client>,
    keys: Arc<KeyFolder>,
    place: KeyPlace,
    marks: Marks,
    /// As many as the request says it has.
    images: usize,
    times: SubmitTimes,
}

/// Encrypts images, has them evaluated and writes the predictions.
///
/// Called again with the same arguments after it was ended at any moment, it resumes: there is no second job, images are not
/// encrypted twice, and what the server has acknowledged is not sent again. When the predictions are written, the job is removed from
/// the server.
///
/// # Errors
/// [`Error::File`] for predictions that exist, before anything is done; [`Error::RefusedPlan`] and [`Error::ServedPlan`] for a plan that is not to
/// be used; [`Error::KeyFolder`]; [`Error::JobFailed`] and [`Error::JobCancelled`]; [`Error::Busy`]; those of images, keys
/// and decryption, and of all calls of [`RemoteServer`].
pub async fn submit(
    server: &RemoteServer,
    model: &str,
    images: impl Into<ImageSource>,
    options: &SubmitOptions,
) -> Result<Submitted, Error> {
    let images = images.into();
    let began = Instant::now();
    let written = out::check(options)?;
    let (model, client) = open_known_model(server, model, options).await?;
    let client = Arc::new(client);
    let (layout, range) = (options.layout, options.range);
    let (unusual, views) = (options.unusual, options.views);
    let preparing = {
        let client = Arc::clone(&client);
        move || {
            let Prepared {
                values,
                names,
                notes,
                ..
            } = images.prepare(&client, layout, range)?;
            let marks = client.with_views(client.screen(&values, unusual)?, views)?;
            let digest = digest_of(&values, names.as_deref());
            Ok((values, digest, marks, names, notes))
        }
    };
    let (prepared, digest, marks, names, notes) = blocking("preparation", preparing).await?;
    for text in &notes {
        server.report(&Event::Note { text });
    }
    if !marks.unusual().is_empty() {
        server.report(&Event::Unusual { marks: &marks });
    }
    let batch = Batch {
        server,
        options,
        model,
        client,
        prepared: Arc::new(prepared),
        names,
        images: digest,
    };
    let again = Again::read(options, digest)?;
    let first = again.is_none();
    let marks = again.map_or(marks, Again::marks);
    let mut submitted = match batch.submit(&marks, written.clone()).await {
        Err(error) if first => {
            let Error::CheckImages { suspects, .. } = &error else {
                return Err(error);
            };
            let images = batch.client.request_images(&marks)?;
            let Some(again) = Again::new(options, digest, &marks, images, suspects) else {
                return Err(error);
            };
            again.write(options)?;
            server.report(&Event::SentAgain { without: suspects });
            batch.submit(&again.marks(), written).await?
        }
        other => other?,
    };
    submitted.times.total = began.elapsed().as_secs_f64();
    Ok(submitted)
}

/// A batch on its way.
struct Batch<'a> {
    server: &'a RemoteServer,
    options: &'a SubmitOptions,
    model: Model,
    client: Arc<Client>,
    prepared: Arc<Vec<f32>>,
    names: Option<Vec<String>>,
    /// Digest of all images and their names.
    images: Digest,
}

impl Batch<'_> {
    /// Sends the images that the marks leave in the batch, and writes the predictions.
    async fn submit(&self, marks: &Marks, written: Option<Vec<u8>>) -> Result<Submitted, Error> {
        let started = Instant::now();
        let Self {
            server,
            options,
            model,
            client,
            ..
        } = self;
        let count = client.request_images(marks)?;
        let what = Unkeyed {
            server: server.address().to_owned(),
            model: model.name.clone(),
            plan: model.plan,
            images: self.digest_with(marks)?,
        };
        let (place, given_up) = KeyPlace::choose(options, client, count, &what)?;
        let (opening, folder) = (Arc::clone(client), place.folder.clone());
        let passphrase = options.passphrase.clone();
        let opening = move || opening.open_key_folder(&folder, passphrase.as_deref());
        let keys = blocking("key generation", opening).await?;
        if keys.made && place.lasting != Lasting::Once {
            let folder = place.folder.as_path();
            server.report(&Event::KeysMade { folder });
        }
        let evaluation_bytes = keys.evaluation.as_ref().map_or(0, |key| key.bytes);
        if let Some(event) = place.event(evaluation_bytes) {
            server.report(&event);
        }
        let identity = what.with(keys.secret.key_id());
        let mut submitter = Submitter {
            server,
            options,
            model: model.clone(),
            client: Arc::clone(client),
            keys: Arc::new(keys),
            place,
            marks: marks.clone(),
            images: count,
            times: SubmitTimes::default(),
        };
        submitter.times.keys = started.elapsed().as_secs_f64();
        for record in given_up {
            submitter.drop_outdated_job(&record.job).await;
        }
        let folder = submitter.place.folder.clone();
        let opening = move || Submission::open(&folder, identity);
        let submission = Arc::new(blocking("opening of the submission", opening).await?);
        let resumed = submission.record().is_some();
        submitter.drop_outdated(&submission).await;
        if written.is_some() && !submission.has_reply() {
            if submission.is_empty() {
                submitter.finish(&submission);
            }
            let path = options.out.clone();
            return Err(FileError::Exists { path }.into());
        }
        let record = match submission.record().filter(|_| submission.has_reply()) {
            Some(record) => record,
            None => submitter.fetch_reply(&submission, &self.prepared).await?,
        };
        let (reply, reply_digest) = submitter.open_reply(&submission, &record).await?;
        let reply_bytes = fs::metadata(submission.reply_path()).map_or(0, |found| found.len());
        // The server hears nothing more once the key is used: not even when that was done, which could depend on what was decrypted.
        if !options.keep_job {
            submitter.drop_job(&record.job).await;
        }
        server.hang_up();
        submitter.place.note_use()?;
        let predictions = match submitter.decrypt(reply).await {
            Err(error @ Error::CheckImages { .. }) => {
                // The same command again should not decrypt the same reply again.
                submitter.finish(&submission);
                return Err(error);
            }
            other => other?,
        };
        let provenance = Provenance::new(client.plan(), &predictions, record.request, reply_digest);
        let names = self.names.as_deref();
        out::write(options, &predictions, names, &provenance, written)?;
        submitter.finish(&submission);
        Ok(Submitted {
            logit_range: submitter.client.plan().logit_range,
            model: submitter.model,
            job: record.job,
            predictions,
            request_bytes: record.request_bytes,
            reply_bytes,
            made_keys: submitter.keys.made,
            resumed,
            times: submitter.times,
        })
    }

    /// A digest of the images, their names and what is done with them.
    fn digest_with(&self, marks: &Marks) -> Result<Digest, Error> {
        let text = serde_json::to_vec(marks)
            .map_err(|error| Error::bug("description of the images", error))?;
        let parts = [self.images.as_bytes().as_slice(), &text].concat();
        Ok(Digest::of(
            "sordino submission, content and marks v1",
            &parts,
        ))
    }
}

/// The model and its plan, if that is the one that was seen before.
async fn open_known_model(
    server: &RemoteServer,
    model: &str,
    options: &SubmitOptions,
) -> Result<(Model, Client), Error> {
    let (model, client, client_plan) = server.open_model_file(model, options.backend).await?;
    let pin = Pin {
        server: server.address().to_owned(),
        model: model.name.clone(),
        client_plan,
    };
    let sight = pin.check(&options.state_folder()?, options.accept_plan)?;
    if sight != Sight::Known {
        let model = &model.name;
        server.report(&Event::PlanSeen { model, client_plan });
    }
    Ok((model, client))
}

impl Submitter<'_> {
    /// Says that the plan of an earlier submission is not served any more, and gives that one up: nothing could decrypt its reply.
    async fn drop_outdated(&self, submission: &Submission) {
        for (outdated, record) in submission.outdated() {
            self.drop_outdated_job(&record.job).await;
            outdated.finish();
        }
    }

    async fn drop_outdated_job(&self, job: &Id) {
        let model = &self.model.name;
        self.server.report(&Event::PlanChanged { model, job });
        self.drop_job(job).await;
    }

    /// Removes what was kept of the submission, with keys that were for it alone.
    fn finish(&self, submission: &Submission) {
        submission.finish();
        self.place.finish(self.options);
    }

    /// Everything up to the reply in the submission's folder.
    async fn fetch_reply(
        &mut self,
        submission: &Arc<Submission>,
        prepared: &Arc<Vec<f32>>,
    ) -> Result<JobRecord, Error> {
        let request = self.request(submission, prepared).await?;
        let known = submission.record().is_some();
        let record = submission.job(&request)?;
        if known {
            self.server.report(&Event::Resumed { job: &record.job });
        }
        let mut left = MAKES;
        loop {
            left -= 1;
            match self.run(submission, &record, &request).await {
                // Expired, or removed by somebody else; a model or key that is not there says the same when asked again.
                Err(error) if error.is_not_found() && left > 0 => {
                    let job = &record.job;
                    self.server.report(&Event::JobForgotten { job });
                }
                outcome => return outcome.map(|()| record),
            }
        }
    }

    async fn request(
        &mut self,
        submission: &Arc<Submission>,
        prepared: &Arc<Vec<f32>>,
    ) -> Result<RequestFile, Error> {
        let images = self.images;
        if let Some(request) = submission.request(&self.client, &self.keys.secret, images)? {
            return Ok(request);
        }
        self.server.report(&Event::Encrypting {
            images: self.marks.encrypted(),
        });
        let started = Instant::now();
        let (client, keys) = (Arc::clone(&self.client), Arc::clone(&self.keys));
        // It keeps the folder locked even if the caller stopped waiting.
        let submission = Arc::clone(submission);
        let (marks, prepared) = (self.marks.clone(), Arc::clone(prepared));
        let encrypting = move || submission.encrypt(&client, &keys.secret, &prepared, &marks);
        let request = blocking("encryption", encrypting).await?;
        self.times.encrypt = started.elapsed().as_secs_f64();
        Ok(request)
    }

    /// Takes the job from wherever it is to the reply.
    async fn run(
        &mut self,
        submission: &Submission,
        record: &JobRecord,
        request: &RequestFile,
    ) -> Result<(), Error> {
        let mut left = SENDS;
        let job = loop {
            left -= 1;
            let started = Instant::now();
            let uploaded = self.uploaded(record, request).await;
            self.times.upload += started.elapsed().as_secs_f64();
            let started = Instant::now();
            let outcome = match uploaded {
                Ok(job) if job.state.is_final() => Ok(job),
                Ok(_) => self.server.wait(&record.job).await,
                Err(error) => Err(error),
            };
            self.times.wait += started.elapsed().as_secs_f64();
            let job = &record.job;
            let error = match outcome {
                Ok(job) if job.state.is_final() => break job,
                // After a power cut: what was acknowledged is not there any more.
                Ok(_) => self.server.unexpected(
                    &format!("run job {job}"),
                    "a server that keeps what it acknowledged",
                    format!("one that lost chunks {SENDS} times: tell its operator"),
                ),
                Err(error) if error.status() == Some(409) => error,
                Err(error) => return Err(error),
            };
            if left == 0 {
                return Err(error);
            }
            self.server.report(&Event::ChunksLost { job });
        };
        self.times.queue = job.waited_seconds.unwrap_or(0.0);
        self.times.evaluate = job.evaluated_seconds.unwrap_or(0.0);
        match job.state {
            JobState::Done => {}
            JobState::Cancelled => {
                submission.forget_job()?;
                let job = record.job.clone();
                return Err(Error::JobCancelled { job });
            }
            _ => return Err(self.failed(submission, job).await?),
        }
        let bytes = self.reply_bytes(&job)?;
        let started = Instant::now();
        let path = submission.reply_path();
        self.server
            .download_reply(&record.job, bytes, &path)
            .await?;
        self.times.download = started.elapsed().as_secs_f64();
        Ok(())
    }

    /// The job once it was started, whether now or earlier.
    async fn uploaded(&self, record: &JobRecord, request: &RequestFile) -> Result<Job, Error> {
        let id = &record.job;
        match self.server.job(id).await {
            Ok(job) if job.state != JobState::Uploading => return Ok(job),
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        let key = match &self.keys.evaluation {
            Some(key) => Some(self.register(key, id).await?),
            None => None,
        };
        let new = NewJob {
            model: self.model.name.clone(),
            plan: self.model.plan,
            key,
            images: self.images as u64,
            bytes: request.bytes,
        };
        let job = self.server.make_job(id, &new).await?;
        if job.state != JobState::Uploading {
            return Ok(job);
        }
        self.server
            .upload_request(id, &request.path, &job.chunks)
            .await?;
        self.server.start_job(id).await
    }

    /// Makes sure that the server has the evaluation key, under a name that follows from its content.
    async fn register(&self, key: &EvaluationKeyFile, job: &Id) -> Result<Id, Error> {
        let digest = key.digest.to_string();
        let id: Id = digest[..32]
            .parse()
            .map_err(|detail: String| Error::bug("choice of a key's name", detail))?;
        let new = NewKey {
            parameters: self.model.parameters,
            bytes: key.bytes,
            job: (self.place.lasting == Lasting::Once).then(|| job.clone()),
        };
        let found = self.server.register_key(&id, &new).await?;
        if found.state == KeyState::Ready {
            return Ok(id);
        }
        let sent = match self.server.upload_key(&id, &key.path, &found.chunks).await {
            Ok(()) => self.server.complete_key(&id).await.map(drop),
            Err(error) => Err(error),
        };
        match sent {
            // Another process with the same key was faster.
            Err(error) if error.status() == Some(409) => match self.server.key(&id).await?.state {
                KeyState::Ready => Ok(id),
                KeyState::Uploading => Err(error),
            },
            other => other.map(|()| id),
        }
    }

    /// The length of a reply, which the plan limits.
    fn reply_bytes(&self, job: &Job) -> Result<u64, Error> {
        let limits = self.client.reply_shape().limits()?;
        let most = HEADER_BYTES as u64 + limits.metadata_bytes + limits.payload_bytes;
        match job.reply_bytes {
            Some(bytes) if (1..=most).contains(&bytes) => Ok(bytes),
            found => {
                let found = found.map_or("none".to_owned(), |bytes| format!("{bytes} bytes"));
                let expected = format!("a reply of at most {most} bytes");
                Err(self.server.unexpected("wait for the job", expected, found))
            }
        }
    }

    /// The error of a job that failed; the next run makes another one, with another request if this one was at fault.
    async fn failed(&self, submission: &Submission, job: Job) -> Result<Error, Error> {
        let (status, detail) = match job.problem {
            Some(problem) => (problem.status, super::call::printable(&problem.to_string())),
            None => (500, "the server does not say why".to_owned()),
        };
        if status < 500 {
            submission.forget_request()?;
        } else {
            submission.forget_job()?;
        }
        if !self.options.keep_job {
            self.drop_job(&job.id).await;
        }
        let server = self.server.address().to_owned();
        Ok(Error::JobFailed {
            job: job.id,
            server,
            status,
            detail,
        })
    }

    /// The reply, once everything about it is checked that needs no key.
    async fn open_reply(
        &self,
        submission: &Submission,
        record: &JobRecord,
    ) -> Result<(Reply, Digest), Error> {
        let client = Arc::clone(&self.client);
        let (path, key_id) = (submission.reply_path(), self.keys.secret.key_id());
        let reading = move || client.read_reply_noted(&path, key_id);
        let outcome = blocking("reading of the reply", reading).await;
        let outcome = outcome.and_then(|(reply, digest)| {
            let header = reply.header();
            if header.parents.request == record.request && header.images == self.images as u64 {
                return Ok((reply, digest));
            }
            let expected = "a reply to the request that was sent";
            Err(self
                .server
                .unexpected("read the reply", expected, "one to another request"))
        });
        if outcome.is_err() {
            submission.forget_reply()?;
        }
        outcome
    }

    async fn decrypt(&mut self, reply: Reply) -> Result<Predictions, Error> {
        let started = Instant::now();
        let (client, keys) = (Arc::clone(&self.client), Arc::clone(&self.keys));
        let marks = self.marks.clone();
        let decrypting = move || client.decrypt_marked(&keys.secret, &reply, marks);
        let outcome = blocking("decryption", decrypting).await;
        self.times.decrypt = started.elapsed().as_secs_f64();
        outcome
    }

    /// Removes a job; if that cannot be done, it stays until it expires.
    async fn drop_job(&self, job: &Id) {
        let patience = self.server.patience().min(REMOVAL_PATIENCE);
        match self.server.with_patience(patience).delete_job(job).await {
            Err(error) if !error.is_not_found() => self.server.report(&Event::JobLeft {
                job,
                reason: &error.to_string(),
            }),
            _ => {}
        }
    }
}

/// A digest of prepared images and their names.
fn digest_of(prepared: &[f32], names: Option<&[String]>) -> Digest {
    let mut parts = Vec::new();
    let mut bytes = Vec::with_capacity(4 * DIGESTED.min(prepared.len()));
    for values in prepared.chunks(DIGESTED) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        parts.extend_from_slice(Digest::of("sordino submission, images v1", &bytes).as_bytes());
    }
    // Length first, so that no two lists read the same.
    let name = |name: &String| {
        let mut bytes = (name.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(name.as_bytes());
        bytes
    };
    let names: Vec<u8> = names.unwrap_or_default().iter().flat_map(name).collect();
    parts.extend_from_slice(Digest::of("sordino submission, names v1", &names).as_bytes());
    Digest::of("sordino submission, content v1", &parts)
}

/// Does long work on a thread of its own, so that connections are served meanwhile.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| Error::bug(what, panic))?
}
