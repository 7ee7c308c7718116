//! The two stages of the server.

use std::io::Write;
use std::time::Instant;

use serde::Serialize;
use sordino_ckks::EvaluationKey;
use sordino_container::{Access, AtomicFile, Error as FileError, Overwrite};
use sordino_evaluator::Evaluator;
use sordino_protocol::ReceivedRequest;
use sordino_ring::backend;
use sordino_runtime::Options;

use crate::{EVALUATION_KEY_FILE, Error, Folders, REPLY_FILE, REQUEST_FILE, Size, server_plan};

/// Seconds by step as the suite stores them beside its own figures; the names are shown as they are.
#[derive(Serialize)]
struct ReportedSteps {
    /// Plan, tables of the parameters, packed weights, evaluation key.
    #[serde(rename = "Setup")]
    setup: f64,
    /// From the disk to memory, digest checked.
    #[serde(rename = "Reading the encrypted input")]
    reading: f64,
    /// From the request in memory to the reply in memory.
    #[serde(rename = "Encrypted computation")]
    evaluation: f64,
    #[serde(rename = "Writing the encrypted result")]
    writing: f64,
    #[serde(rename = "Total")]
    total: f64,
}

/// Stage `server_preprocess_model`: checks that the plans of this program can be read.
///
/// There is no more to do before an input comes. Weights were folded and rounded when the plans were compiled; packing them for the
/// processor takes less time than reading them packed from a file would.
///
/// # Errors
/// [`Error::Plan`].
pub fn preprocess_model() -> Result<(), Error> {
    for size in Size::ALL {
        server_plan(size)?;
    }
    Ok(())
}

/// Stage `server_encrypted_compute`: evaluates the encrypted input of an instance.
///
/// # Errors
/// Every one of [`Error`]; then there is no new result.
pub fn compute(folders: &Folders) -> Result<(), Error> {
    let start = Instant::now();
    let evaluator = Evaluator::new(server_plan(folders.size())?, backend::select(None)?)?;
    evaluator.prepare()?;
    let key = match evaluator.plan().needs_evaluation_key() {
        true => Some(EvaluationKey::read_file(
            evaluator.context(),
            folders.public_keys().join(EVALUATION_KEY_FILE),
        )?),
        false => None,
    };
    let setup = start.elapsed().as_secs_f64();

    let step = Instant::now();
    let path = folders.upload().join(REQUEST_FILE);
    let request = ReceivedRequest::read_file(path, &evaluator.request_shape())?;
    let reading = step.elapsed().as_secs_f64();

    let step = Instant::now();
    let reply = evaluator.evaluate(key.as_ref(), request, Options::default())?;
    let evaluation = step.elapsed().as_secs_f64();

    let step = Instant::now();
    let folder = folders.download();
    Folders::create(&folder)?;
    reply.write_file(folder.join(REPLY_FILE), Overwrite::Replace)?;
    let writing = step.elapsed().as_secs_f64();

    report(
        folders,
        &ReportedSteps {
            setup,
            reading,
            evaluation,
            writing,
            total: start.elapsed().as_secs_f64(),
        },
    )
}

fn report(folders: &Folders, steps: &ReportedSteps) -> Result<(), Error> {
    let mut bytes = serde_json::to_vec_pretty(steps).map_err(|error| Error::Report {
        detail: error.to_string(),
    })?;
    bytes.push(b'\n');
    let path = folders.reported_steps();
    let mut file = AtomicFile::create(&path, Overwrite::Replace, Access::Shared)?;
    file.write_all(&bytes)
        .map_err(|error| FileError::io(&path, "write", error))?;
    // A report of times that is lost with a power cut is no loss.
    Ok(file.commit_unsynced()?)
}
