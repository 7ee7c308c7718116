//! Measuring a whole run: keys, encryption, evaluation, decryption, and how good the result is.

use std::time::Instant;

use sordino_graph::Model;
use sordino_plan::{Operation, Plan, ServerPlan, Term};
use sordino_protocol::ReceivedRequest;
use sordino_report::{Environment, Phase, Record};
use sordino_ring::backend::{Backend, measure_int8_peak};
use sordino_runtime::{Options, Progress, Trace};

use crate::{Error, Reference, Workflow};

/// A run longer than this is not repeated.
const LONG_RUN_SECONDS: f64 = 60.0;

/// How a run is measured.
pub struct MeasureOptions<'a> {
    /// The back end.
    pub backend: &'static Backend,
    /// Threads of the current pool, for the record and the machine's peak.
    pub threads: usize,
    /// Runs whose median counts; one that takes longer than a minute is the only one.
    pub runs: usize,
    /// Called after every step of every evaluation.
    pub progress: Option<&'a (dyn Fn(&Progress<'_>) + Sync)>,
}

/// What came of it.
pub struct Measurement {
    /// The record; all of it but the peak memory, which takes a process of its own.
    pub record: Record,
    /// Keys and plan that were measured.
    pub workflow: Workflow,
    /// The request that was evaluated.
    pub request: Vec<u8>,
}

/// Seconds of one call, appended to `samples`, and its result.
fn timed<T>(samples: &mut Vec<f64>, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
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
    let reference = Reference::compute(model, &plan.server, images)?;

    let mut seconds = Vec::new();
    let mut workflow = timed(&mut seconds, || {
        Workflow::new(plan.clone(), options.backend)
    })?;
    for _ in 1..options.runs {
        workflow = timed(&mut seconds, || {
            Workflow::new(plan.clone(), options.backend)
        })?;
    }
    record.set_seconds(Phase::KeyGeneration, &seconds);

    let mut seconds = Vec::new();
    let mut request = timed(&mut seconds, || workflow.encrypt(images))?;
    while seconds.len() < options.runs && seconds[0] <= LONG_RUN_SECONDS {
        request = timed(&mut seconds, || workflow.encrypt(images))?;
    }
    record.set_seconds(Phase::Encrypt, &seconds);
    record.upload_bytes = Some(request.len() as u64);
    record.key_bytes = Some(match &workflow.keys().evaluation {
        Some(key) => key.to_bytes()?.len() as u64,
        None => 0,
    });

    let (mut reading, mut evaluating, mut linear) = (Vec::new(), Vec::new(), Vec::new());
    let shape = workflow.client().request_shape();
    let reply = loop {
        let received = timed(&mut reading, || {
            Ok(ReceivedRequest::from_bytes(&request, &shape)?)
        })?;
        let mut trace = Trace::default();
        let options_of_run = Options {
            progress: options.progress,
            trace: Some(&mut trace),
        };
        let reply = timed(&mut evaluating, || {
            workflow.answer(received, options_of_run)
        })?;
        let of_linear = trace.steps.iter().filter(|step| step.operation == "linear");
        linear.push(of_linear.map(|step| step.seconds).sum::<f64>());
        if evaluating.len() >= options.runs || evaluating[0] > LONG_RUN_SECONDS {
            break reply;
        }
    };
    record.set_seconds(Phase::Read, &reading);
    record.set_seconds(Phase::Evaluate, &evaluating);
    record.reply_bytes = Some(reply.len() as u64);
    let products = byte_products(&workflow.plan().server) * record.blocks as f64;
    set_rates(&mut record, products, &linear);

    let mut seconds = Vec::new();
    let mut predictions = timed(&mut seconds, || workflow.decrypt(&reply))?;
    while seconds.len() < options.runs {
        predictions = timed(&mut seconds, || workflow.decrypt(&reply))?;
    }
    record.set_seconds(Phase::Decrypt, &seconds);

    let comparison = reference.compare(predictions.classes(), labels)?;
    record.accuracy_plain = comparison.accuracy_plain;
    record.accuracy_integer = comparison.accuracy_integer;
    record.accuracy_encrypted = comparison.accuracy_encrypted;
    record.agreement = Some(comparison.agreement);
    record.agreement_float = Some(comparison.agreement_float);
    let (client, key) = (workflow.client(), &workflow.keys().secret);
    let reply = client.reply_from_bytes(&reply)?;
    record.worst_logit_error = Some(client.worst_logit_error(key, &reply, reference.integer())?);
    record.worst_logit_error_float =
        Some(client.worst_logit_error(key, &reply, reference.float())?);
    Ok(Measurement {
        record,
        workflow,
        request,
    })
}

/// Fills in what is known before anything runs.
fn describe(
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
    record.blocks = images.div_ceil(parameters.ring_degree()) as u64;
    record.packing = server.packing().to_string();
    record.ring_degree = Some(parameters.ring_degree() as u64);
    record.log2_q = Some(parameters.log2_q());
    record.log2_qp = Some(parameters.log2_qp());
    record.security_bits = Some(u64::from(parameters.security_bits()));
    record.log2_scale = Some(server.input().scale.log2());
    record.weight_bits = products(server).map(|(_, _, bytes)| 8 * bytes as u64).max();
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

/// Every whole-layer product of a plan: index of its step, its weights, bytes of a weight.
fn products(plan: &ServerPlan) -> impl Iterator<Item = (usize, u64, usize)> + '_ {
    plan.steps().iter().enumerate().flat_map(|(index, step)| {
        let terms = match &step.operation {
            Operation::Linear { terms, .. } => &terms[..],
            _ => &[],
        };
        terms.iter().filter_map(move |term| match term {
            Term::Product { map, .. } => Some((
                index,
                map.multiply_accumulates(),
                map.weight_width().bytes(),
            )),
            Term::Scaled { .. } => None,
        })
    })
}

/// Products of two bytes that the linear layers of one block take.
fn byte_products(plan: &ServerPlan) -> f64 {
    let parameters = plan.parameters();
    let residue_bytes = |limbs: usize| -> u64 {
        let bytes = |prime: &u64| u64::from((u64::BITS - prime.leading_zeros()).div_ceil(8));
        parameters.primes()[..limbs].iter().map(bytes).sum()
    };
    products(plan)
        .map(|(index, weights, weight_bytes)| {
            let step = &plan.steps()[index];
            let bytes = residue_bytes(step.limbs) * step.components as u64 * weight_bytes as u64;
            weights as f64 * bytes as f64 * parameters.ring_degree() as f64
        })
        .sum()
}

/// Fills in the rates of the linear layers, from the seconds that they took in every run.
fn set_rates(record: &mut Record, products: f64, linear: &[f64]) {
    let Some(seconds) = sordino_report::Statistics::of(linear).filter(|s| s.median > 0.0) else {
        return;
    };
    let gmacs = products / seconds.median * 1e-9;
    record.int8_gmacs = Some(gmacs);
    record.linear_share_of_peak = record.int8_peak_gmacs.map(|peak| gmacs / peak);
    record.evaluation_share_of_peak = record
        .int8_peak_gmacs
        .zip(record.evaluate_seconds)
        .map(|(peak, seconds)| products * 1e-9 / seconds / peak);
}
