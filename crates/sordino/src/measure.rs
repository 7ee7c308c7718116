//! Measuring a whole run: keys, encryption, evaluation, decryption, and how good the result is.

use std::time::Instant;

use sordino_client::Client;
use sordino_graph::Model;
use sordino_plan::{Plan, ServerPlan};
use sordino_protocol::{ReceivedRequest, Reply};
use sordino_report::{Environment, Phase, Record};
use sordino_ring::backend::{Backend, measure_int8_peak};
use sordino_runtime::{Options, Progress, Trace};
use sordino_secret::SecretKey;

use crate::accuracy::area_under_curve;
use crate::rates::{maps, set_rates};
use crate::{Error, Reference, Workflow};

/// A run longer than this is not repeated, unless the options say otherwise.
const LONG_RUN_SECONDS: f64 = 60.0;

/// How a run is measured.
pub struct MeasureOptions<'a> {
    /// The back end.
    pub backend: &'static Backend,
    /// Threads of the current pool, for the record and the machine's peak.
    pub threads: usize,
    /// Runs whose median counts; one that is long is the only one.
    pub runs: usize,
    /// What is long.
    pub long_run_seconds: f64,
    /// How many images, from the first on, accuracy and agreement are taken from. Errors of logits are left out unless these
    /// are all.
    pub judged: usize,
    /// Called after every step of every evaluation.
    pub progress: Option<&'a (dyn Fn(&Progress<'_>) + Sync)>,
}

impl MeasureOptions<'_> {
    /// So many runs of all images, none repeated that takes longer than a minute, without progress.
    pub fn new(backend: &'static Backend, threads: usize, runs: usize) -> Self {
        Self {
            backend,
            threads,
            runs,
            long_run_seconds: LONG_RUN_SECONDS,
            judged: usize::MAX,
            progress: None,
        }
    }

    /// Whether a phase is run once more.
    pub(crate) fn repeats(&self, seconds: &[f64]) -> bool {
        seconds.is_empty() || (seconds.len() < self.runs && seconds[0] <= self.long_run_seconds)
    }
}

/// What came of it.
pub struct Measurement {
    /// The record; all of it but the peak memory, which takes a process of its own.
    pub record: Record,
    /// Keys and plan that were measured.
    pub workflow: Workflow,
    /// The request that was evaluated.
    pub request: Vec<u8>,
    /// The reply, the same in every run.
    pub reply: Vec<u8>,
    /// The class of every image, as decrypted.
    pub classes: Vec<usize>,
}

/// Seconds of one call, appended to `samples`, and its result.
pub(crate) fn timed<T>(
    samples: &mut Vec<f64>,
    run: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let start = Instant::now();
    let result = run()?;
    samples.push(start.elapsed().as_secs_f64());
    Ok(result)
}

/// Runs a plan on prepared images, several times, and compares the result with the networks in the clear.
///
/// # Shapes
/// `images` is `[count, C, H, W]`.
///
/// # Errors
/// Those of every step.
pub fn measure(
    model: &Model,
    plan: Plan,
    images: &[f32],
    labels: Option<&[u16]>,
    options: &MeasureOptions<'_>,
) -> Result<Measurement, Error> {
    let mut record = Record::new(&model.name, &model.dataset, &Environment::here());
    let count = images.len() / plan.server.input().features.max(1);
    describe(&mut record, model, &plan, count, options)?;
    let judged = options.judged.min(count);
    let reference = (judged > 0)
        .then(|| {
            let images = &images[..judged * plan.server.input().features];
            Reference::compute(model, &plan.server, images)
        })
        .transpose()?;

    let mut seconds = Vec::new();
    let generate = || {
        let client = Client::new(plan.client.clone(), options.backend)?;
        let keys = client.generate_keys()?;
        Ok((client, keys))
    };
    let mut made = timed(&mut seconds, generate)?;
    while options.repeats(&seconds) {
        made = timed(&mut seconds, generate)?;
    }
    record.set_seconds(Phase::KeyGeneration, &seconds);
    let (client, keys) = made;
    let workflow = Workflow::with_keys(plan, client, keys)?;

    let mut seconds = Vec::new();
    let mut request = timed(&mut seconds, || workflow.encrypt(images))?;
    while options.repeats(&seconds) {
        request = timed(&mut seconds, || workflow.encrypt(images))?;
    }
    record.set_seconds(Phase::Encrypt, &seconds);
    record.upload_bytes = Some(request.len() as u64);
    record.key_bytes = Some(match &workflow.keys().evaluation {
        Some(key) => key.to_bytes()?.len() as u64,
        None => 0,
    });

    let mut evaluation = Evaluation::default();
    let reply = loop {
        let reply = evaluation.run(&workflow, &request, options.progress)?;
        if !options.repeats(&evaluation.evaluating) {
            break reply;
        }
    };
    evaluation.describe(&mut record, &workflow.plan().server);
    record.reply_bytes = Some(reply.len() as u64);

    let mut seconds = Vec::new();
    let mut predictions = timed(&mut seconds, || workflow.decrypt(&reply))?;
    while options.repeats(&seconds) {
        predictions = timed(&mut seconds, || workflow.decrypt(&reply))?;
    }
    record.set_seconds(Phase::Decrypt, &seconds);

    let classes = predictions.classes().to_vec();
    if let Some(reference) = reference {
        let labels = labels.map(|labels| &labels[..judged.min(labels.len())]);
        set_agreement(&mut record, &reference, &classes[..judged], labels)?;
        if judged == count {
            let (client, key) = (workflow.client(), &workflow.keys().secret);
            let parsed = client.reply_from_bytes(&reply)?;
            set_errors(&mut record, &reference, client, key, &parsed)?;
        }
    }
    Ok(Measurement {
        record,
        workflow,
        request,
        reply,
        classes,
    })
}

/// Fills in how the classes agree with both networks in the clear and with the labels.
pub(crate) fn set_agreement(
    record: &mut Record,
    reference: &Reference,
    classes: &[usize],
    labels: Option<&[u16]>,
) -> Result<(), Error> {
    let comparison = reference.compare(classes, labels)?;
    record.accuracy_plain = comparison.accuracy_plain;
    record.accuracy_integer = comparison.accuracy_integer;
    record.accuracy_encrypted = comparison.accuracy_encrypted;
    record.agreement = Some(comparison.agreement);
    record.agreement_float = Some(comparison.agreement_float);
    if reference.classes() == 2 {
        record.auc = labels.and_then(|labels| area_under_curve(reference.float(), labels));
    }
    Ok(())
}

/// Fills in how far the logits of a reply are from those of both networks in the clear.
pub(crate) fn set_errors(
    record: &mut Record,
    reference: &Reference,
    client: &Client,
    key: &SecretKey,
    reply: &Reply,
) -> Result<(), Error> {
    let worst = |expected: &[f64]| client.worst_logit_error(key, reply, expected);
    record.worst_logit_error = Some(worst(reference.integer())?);
    record.worst_logit_error_float = Some(worst(reference.float())?);
    Ok(())
}

/// Seconds and traces of several evaluations of one request.
#[derive(Default)]
pub(crate) struct Evaluation {
    pub reading: Vec<f64>,
    pub evaluating: Vec<f64>,
    pub traces: Vec<Trace>,
}

impl Evaluation {
    /// Evaluates once, in the current pool, and returns the reply.
    pub(crate) fn run(
        &mut self,
        workflow: &Workflow,
        request: &[u8],
        progress: Option<&(dyn Fn(&Progress<'_>) + Sync)>,
    ) -> Result<Vec<u8>, Error> {
        let shape = workflow.client().request_shape();
        let received = timed(&mut self.reading, || {
            Ok(ReceivedRequest::from_bytes(request, &shape)?)
        })?;
        let mut trace = Trace::default();
        let options = Options {
            progress,
            trace: Some(&mut trace),
            scratch: None,
        };
        let reply = timed(&mut self.evaluating, || workflow.answer(received, options))?;
        self.traces.push(trace);
        Ok(reply)
    }

    /// Whether another run is worth its time.
    pub(crate) fn is_long(&self) -> bool {
        self.evaluating
            .first()
            .is_some_and(|&seconds| seconds > LONG_RUN_SECONDS)
    }

    /// Fills in seconds and rates.
    pub(crate) fn describe(&self, record: &mut Record, plan: &ServerPlan) {
        record.set_seconds(Phase::Read, &self.reading);
        record.set_seconds(Phase::Evaluate, &self.evaluating);
        let executed = |trace: &Trace| {
            let steps = trace.steps.iter().map(|step| (step.step, step.seconds));
            steps.collect()
        };
        let executed: Vec<Vec<(usize, f64)>> = self.traces.iter().map(executed).collect();
        set_rates(record, plan, &executed);
    }
}

/// Fills in what is known before anything runs.
pub(crate) fn describe(
    record: &mut Record,
    model: &Model,
    plan: &Plan,
    images: usize,
    options: &MeasureOptions<'_>,
) -> Result<(), Error> {
    let server = &plan.server;
    let parameters = server.parameters();
    record.images = images as u64;
    record.batch = server.batch() as u64;
    record.blocks = images.div_ceil(server.block_images()) as u64;
    record.packing = server.packing().kind().to_string();
    record.block_images = Some(server.block_images() as u64);
    record.rotations = Some(server.rotations().len() as u64);
    record.ring_degree = Some(parameters.ring_degree() as u64);
    record.log2_q = Some(parameters.log2_q());
    record.log2_qp = Some(parameters.log2_qp());
    record.security_bits = Some(u64::from(parameters.security_bits()));
    record.log2_scale = Some(server.input().scale.log2());
    record.weight_bits = server
        .steps()
        .iter()
        .flat_map(maps)
        .map(|map| 8 * map.weight_width().bytes() as u64)
        .max();
    record.threads = Some(options.threads as u64);
    record.backend = Some(options.backend.name.to_owned());
    record.int8_peak_gmacs = Some(measure_int8_peak(options.backend, options.threads));
    record.macs_per_image = Some(model.graph.multiply_accumulates());
    record.parameters = Some(model.graph.parameters());
    record.activations_per_image = Some(model.graph.activations());
    record.model_digest = Some(model.digest()?.to_string());
    record.plan_digest = Some(server.digest().to_string());
    Ok(())
}
