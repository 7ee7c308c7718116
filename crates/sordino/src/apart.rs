//! Measuring an evaluation that has a process and most of the memory for itself.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sordino_client::{Client, Keys};
use sordino_container::{Error as FileError, Overwrite};
use sordino_graph::Model;
use sordino_plan::{Plan, ServerPlan};
use sordino_report::{Environment, Phase, Record};

use crate::measure::{describe, set_agreement, set_errors};
use crate::rates::set_rates;
use crate::{Error, MeasureOptions, Reference};

/// The files of one evaluation.
#[derive(Clone, Debug)]
pub struct FilesApart {
    /// The server's half of the plan.
    pub plan: PathBuf,
    /// The evaluation key, if the plan needs one.
    pub keys: Option<PathBuf>,
    /// The request.
    pub request: PathBuf,
    /// Where the reply is to be written.
    pub reply: PathBuf,
}

/// What a process says that has evaluated.
#[derive(Clone, Debug)]
pub struct EvaluatedApart {
    /// Reading and checking files.
    pub read_seconds: f64,
    /// From the request in memory to the reply.
    pub evaluate_seconds: f64,
    /// Largest resident memory of the process.
    pub peak_rss_bytes: Option<u64>,
    /// Step and seconds of everything that it traced.
    pub steps: Vec<(usize, f64)>,
}

/// As [`measure`](crate::measure), once and for a network of which request and feature maps do not fit into memory together: keys
/// and request become files in `folder`, `evaluate` makes the reply of them, and nothing large is held meanwhile.
///
/// The folder has no secret key. Its request is removed when it has been evaluated.
///
/// # Shapes
/// `images` is `[count, C, H, W]`.
///
/// # Errors
/// Those of every step, and of `evaluate`.
pub fn measure_apart<E: From<Error>>(
    model: &Model,
    plan: Plan,
    images: &[f32],
    labels: Option<&[u16]>,
    folder: &Path,
    options: &MeasureOptions<'_>,
    evaluate: impl FnOnce(&FilesApart) -> Result<EvaluatedApart, E>,
) -> Result<Record, E> {
    let prepared = Prepared::new(model, plan, images, folder, options)?;
    let evaluated = evaluate(&prepared.files)?;
    Ok(prepared.finish(evaluated, labels)?)
}

/// What is held while the other process evaluates.
struct Prepared {
    record: Record,
    server: ServerPlan,
    reference: Reference,
    client: Client,
    keys: Keys,
    files: FilesApart,
}

impl Prepared {
    fn new(
        model: &Model,
        plan: Plan,
        images: &[f32],
        folder: &Path,
        options: &MeasureOptions<'_>,
    ) -> Result<Self, Error> {
        let mut record = Record::new(&model.name, &model.dataset, &Environment::here());
        let count = images.len() / plan.server.input().features.max(1);
        describe(&mut record, model, &plan, count, options)?;
        let reference = Reference::compute(model, &plan.server, images)?;
        let Plan { server, client } = plan;
        let keyed = server.needs_evaluation_key();
        let files = FilesApart {
            plan: folder.join("server.plan"),
            keys: keyed.then(|| folder.join("evaluation.key")),
            request: folder.join("request"),
            reply: folder.join("reply"),
        };
        let start = Instant::now();
        let client = Client::new(client, options.backend)?;
        let keys = client.generate_keys()?;
        record.set_seconds(Phase::KeyGeneration, &[start.elapsed().as_secs_f64()]);
        record.key_bytes = Some(0);
        server.write(&files.plan, Overwrite::Refuse)?;
        if let (Some(path), Some(key)) = (&files.keys, &keys.evaluation) {
            key.write_file(path, Overwrite::Refuse)?;
            record.key_bytes = Some(size(path)?);
        }
        let start = Instant::now();
        let request = client.encrypt(&keys.secret, images)?;
        request.write_file(&files.request, Overwrite::Refuse)?;
        record.set_seconds(Phase::Encrypt, &[start.elapsed().as_secs_f64()]);
        record.upload_bytes = Some(size(&files.request)?);
        Ok(Self {
            record,
            server,
            reference,
            client,
            keys,
            files,
        })
    }

    fn finish(
        mut self,
        evaluated: EvaluatedApart,
        labels: Option<&[u16]>,
    ) -> Result<Record, Error> {
        let (record, files) = (&mut self.record, &self.files);
        std::fs::remove_file(&files.request)
            .map_err(|error| FileError::io(&files.request, "remove", error))?;
        record.set_seconds(Phase::Read, &[evaluated.read_seconds]);
        record.set_seconds(Phase::Evaluate, &[evaluated.evaluate_seconds]);
        record.set_peak_memory(evaluated.peak_rss_bytes);
        set_rates(record, &self.server, &[evaluated.steps]);
        record.reply_bytes = Some(size(&files.reply)?);

        let start = Instant::now();
        let bytes = std::fs::read(&files.reply)
            .map_err(|error| FileError::io(&files.reply, "read", error))?;
        let reply = self.client.reply_from_bytes(&bytes)?;
        let predictions = self.client.decrypt(&self.keys.secret, &reply)?;
        record.set_seconds(Phase::Decrypt, &[start.elapsed().as_secs_f64()]);
        set_agreement(record, &self.reference, predictions.classes(), labels)?;
        let (client, key) = (&self.client, &self.keys.secret);
        set_errors(record, &self.reference, client, key, &reply)?;
        Ok(self.record)
    }
}

fn size(path: &Path) -> Result<u64, Error> {
    let metadata =
        std::fs::metadata(path).map_err(|error| FileError::io(path, "look up", error))?;
    Ok(metadata.len())
}
