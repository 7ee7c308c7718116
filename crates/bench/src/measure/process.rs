//! Measuring an evaluation in a process of its own, which has most of the memory for itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use serde::Deserialize;
use sordino::ckks::EvaluationKey;
use sordino::client::Client;
use sordino::container::{Error as FileError, Overwrite, TemporaryFolder};
use sordino::plan::{Plan, ServerPlan};
use sordino::{Model, Reference};

use super::options::MeasureOptions;
use super::parts::{describe, set_agreement, set_errors};
use super::rates::set_rates;
use super::run::Measurement;
use crate::Error;
use crate::record::{Record, Timing};

/// The files of one evaluation, removed when dropped: what a server needs, and no secret key.
struct EvaluationFolder {
    folder: TemporaryFolder,
    keyed: bool,
}

/// The result line of `sordino evaluate --json`.
#[derive(Deserialize)]
struct Evaluated {
    read_seconds: f64,
    evaluate_seconds: f64,
    peak_rss_bytes: Option<u64>,
}

/// The file of `sordino evaluate --trace`.
#[derive(Deserialize)]
struct Traced {
    steps: Vec<TracedStep>,
}

#[derive(Deserialize)]
struct TracedStep {
    step: usize,
    seconds: f64,
}

impl EvaluationFolder {
    /// Writes plan and evaluation key into a new folder in `parent`, by default the system's folder for temporary files.
    fn new(
        parent: Option<&Path>,
        plan: &ServerPlan,
        key: Option<&EvaluationKey>,
    ) -> anyhow::Result<Self> {
        let folder = TemporaryFolder::unique(parent)?;
        let folder = Self {
            folder,
            keyed: key.is_some(),
        };
        plan.write(folder.at("server.plan"), Overwrite::Refuse)?;
        if let Some(key) = key {
            key.write_file(folder.at("evaluation.key"), Overwrite::Refuse)?;
        }
        Ok(folder)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn size(&self, name: &str) -> anyhow::Result<u64> {
        let path = self.at(name);
        let found = std::fs::metadata(&path);
        Ok(found
            .map_err(|error| FileError::io(&path, "look up", error))?
            .len())
    }

    /// Runs this program's command `evaluate` on the files, with further `arguments`. It shows its own progress, or, if `quiet`,
    /// nothing, and its messages are part of the error.
    fn evaluate(
        &self,
        options: &MeasureOptions<'_>,
        quiet: bool,
        arguments: &[String],
    ) -> anyhow::Result<Evaluated> {
        let program = std::env::current_exe().context("the path of this program")?;
        let mut command = Command::new(program);
        command.current_dir(self.folder.path());
        command.args(["evaluate", "--json", "--plan", "server.plan"]);
        command.args(["--request", "request", "--out", "reply"]);
        command.args(["--threads", &options.threads.to_string()]);
        command.args(["--backend", options.backend.name]);
        if self.keyed {
            command.args(["--keys", "evaluation.key"]);
        }
        command.args(arguments);
        match quiet {
            true => command.arg("--quiet"),
            false => command.stderr(Stdio::inherit()),
        };
        let result = command
            .output()
            .context("starting the separate evaluation")?;
        if !result.status.success() {
            return Err(Error::SeparateProcess {
                status: result.status,
                messages: String::from_utf8_lossy(&result.stderr).trim().to_owned(),
            }
            .into());
        }
        Ok(serde_json::from_slice(&result.stdout)?)
    }
}

/// Evaluates once more in a process of its own, and fills in its peak memory and the time that reading takes.
pub fn set_separate(
    measurement: &mut Measurement,
    options: &MeasureOptions<'_>,
) -> anyhow::Result<()> {
    let workflow = &measurement.workflow;
    let key = workflow.keys().evaluation.as_ref();
    let folder = EvaluationFolder::new(None, workflow.evaluator().plan(), key)?;
    let request = folder.at("request");
    std::fs::write(&request, &measurement.request)
        .map_err(|error| FileError::io(&request, "write", error))?;
    let evaluated = folder.evaluate(options, true, &[])?;
    let record = &mut measurement.record;
    record.set_peak_memory(evaluated.peak_rss_bytes);
    record.read = Timing::of(&[evaluated.read_seconds]);
    Ok(())
}

/// How an evaluation in a process of its own runs.
#[derive(Clone, Debug, Default)]
pub struct SeparateOptions {
    /// Folder for plan, request, reply and scratch; by default the system's for temporary files.
    pub folder: Option<PathBuf>,
    /// Whether the process shows no progress.
    pub quiet: bool,
    /// Further arguments of `sordino evaluate`.
    pub arguments: Vec<String>,
}

/// Like [`measure`](super::run::measure), once, for a network whose request and feature maps do not fit into memory together: a
/// process of its own evaluates files, and nothing large is in memory meanwhile.
///
/// # Shapes
/// `images` is `[count, C, H, W]`.
///
/// # Errors
/// Those of every step.
pub fn measure_separately(
    model: &Model,
    plan: Plan,
    images: &[f32],
    labels: Option<&[u16]>,
    options: &MeasureOptions<'_>,
    separate: &SeparateOptions,
) -> anyhow::Result<Record> {
    let count = images.len() / plan.server.input().features.max(1);
    let mut record = describe(model, &plan, count, options)?;
    let reference = Reference::compute(model, &plan.server, images)?;

    let start = Instant::now();
    let client = Client::new(plan.client, options.backend)?;
    let keys = client.generate_keys()?;
    record.keygen = Timing::of(&[start.elapsed().as_secs_f64()]);
    let key = keys.evaluation.as_ref();
    let folder = EvaluationFolder::new(separate.folder.as_deref(), &plan.server, key)?;
    record.key_bytes = Some(match key {
        Some(_) => folder.size("evaluation.key")?,
        None => 0,
    });

    let start = Instant::now();
    let request = client.encrypt(&keys.secret, images)?;
    request.write_file(folder.at("request"), Overwrite::Refuse)?;
    record.encrypt = Timing::of(&[start.elapsed().as_secs_f64()]);
    drop(request);
    record.upload_bytes = Some(folder.size("request")?);

    let mut arguments = separate.arguments.clone();
    arguments.extend(["--trace", "trace"].map(str::to_owned));
    let evaluated = folder.evaluate(options, separate.quiet, &arguments)?;
    let read = |name: &str| {
        let path = folder.at(name);
        std::fs::read(&path).map_err(|error| FileError::io(path, "read", error))
    };
    let trace: Traced = serde_json::from_slice(&read("trace")?)?;
    let steps = trace.steps.iter().map(|step| (step.step, step.seconds));
    record.read = Timing::of(&[evaluated.read_seconds]);
    record.set_evaluation(&[evaluated.evaluate_seconds]);
    record.set_peak_memory(evaluated.peak_rss_bytes);
    set_rates(&mut record, &plan.server, &[steps.collect()]);
    record.reply_bytes = Some(folder.size("reply")?);

    let start = Instant::now();
    let reply = client.reply_from_bytes(&read("reply")?)?;
    let predictions = client.decrypt(&keys.secret, &reply)?;
    record.decrypt = Timing::of(&[start.elapsed().as_secs_f64()]);
    set_agreement(&mut record, &reference, predictions.classes(), labels)?;
    set_errors(&mut record, &reference, &client, &keys.secret, &reply)?;
    Ok(record)
}
