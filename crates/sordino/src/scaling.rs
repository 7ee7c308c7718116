//! One network over more and more full blocks, or threads. The runs take turns, so that other load on the machine
//! falls on all of them alike.

use std::ops::RangeInclusive;

use sordino_graph::Model;
use sordino_plan::{CompileOptions, PackingKind, compile};
use sordino_report::{Environment, Phase, Record, Statistics};
use sordino_ring::backend::measure_int8_peak;

use crate::measure::{Evaluation, describe};
use crate::{Error, MeasureOptions, Measurement, Reference, Workflow};

/// What a series over blocks is measured on.
#[derive(Clone, Debug)]
pub struct BlockSeries<'a> {
    /// Numbers of blocks.
    pub blocks: RangeInclusive<usize>,
    /// Ring degree of every plan, hence images of a block.
    pub ring_degree: usize,
    /// Prepared images, `[count, C, H, W]`, as many as the largest number of blocks holds.
    pub images: &'a [f32],
    /// How many of them, from the first on, accuracy and agreement are taken from.
    pub judged: usize,
    /// Labels of the judged images.
    pub labels: Option<&'a [u16]>,
}

/// One number of blocks, ready to run.
struct Entry {
    record: Record,
    workflow: Workflow,
    request: Vec<u8>,
    reply: Vec<u8>,
    evaluation: Evaluation,
}

/// Evaluates a network on 1, 2, … full blocks, a plan for each, and gives a record for each.
///
/// Accuracy and agreement are those of the judged images. Keys, encryption and decryption are not timed.
///
/// # Errors
/// [`Error::TooFewImages`], and those of every step.
pub fn measure_block_scaling(
    model: &Model,
    series: &BlockSeries<'_>,
    options: &MeasureOptions<'_>,
) -> Result<Vec<Record>, Error> {
    let environment = Environment::here();
    let mut entries = Vec::new();
    for blocks in series.blocks.clone() {
        entries.push(Entry::prepare(
            model,
            series,
            blocks,
            options,
            &environment,
        )?);
    }
    for run in 0..options.runs.max(1) {
        if run > 0 && entries.iter().any(|entry| entry.evaluation.is_long()) {
            break;
        }
        for entry in &mut entries {
            let Entry {
                workflow,
                request,
                evaluation,
                ..
            } = entry;
            entry.reply = evaluation.run(workflow, request, options.progress)?;
        }
    }
    entries
        .into_iter()
        .map(|entry| entry.finish(model, series))
        .collect()
}

impl Entry {
    fn prepare(
        model: &Model,
        series: &BlockSeries<'_>,
        blocks: usize,
        options: &MeasureOptions<'_>,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let count = blocks * series.ring_degree;
        let compile_options = CompileOptions {
            ring_degree: Some(series.ring_degree),
            ..CompileOptions::new(count).with_packing(PackingKind::ElementWise)
        };
        let plan = compile(model, &compile_options)?;
        let features = plan.server.input().features.max(1);
        let images = series
            .images
            .get(..count * features)
            .ok_or(Error::TooFewImages {
                blocks,
                ring_degree: series.ring_degree,
                expected: count,
                found: series.images.len() / features,
            })?;
        let mut record = Record::new(&model.name, &model.dataset, environment);
        record.scaling = Some("blocks".into());
        describe(&mut record, model, &plan, count, options)?;
        let workflow = Workflow::new(plan, options.backend)?;
        let request = workflow.encrypt(images)?;
        record.upload_bytes = Some(request.len() as u64);
        record.key_bytes = Some(match &workflow.keys().evaluation {
            Some(key) => key.to_bytes()?.len() as u64,
            None => 0,
        });
        Ok(Self {
            record,
            workflow,
            request,
            reply: Vec::new(),
            evaluation: Evaluation::default(),
        })
    }

    fn finish(mut self, model: &Model, series: &BlockSeries<'_>) -> Result<Record, Error> {
        let server = &self.workflow.plan().server;
        self.evaluation.describe(&mut self.record, server);
        self.record.reply_bytes = Some(self.reply.len() as u64);
        let judged = series.judged.min(self.record.images as usize);
        if judged > 0 {
            let images = &series.images[..judged * server.input().features];
            let reference = Reference::compute(model, server, images)?;
            let predictions = self.workflow.decrypt(&self.reply)?;
            let labels = series.labels.and_then(|labels| labels.get(..judged));
            let comparison = reference.compare(&predictions.classes()[..judged], labels)?;
            self.record.accuracy_plain = comparison.accuracy_plain;
            self.record.accuracy_integer = comparison.accuracy_integer;
            self.record.accuracy_encrypted = comparison.accuracy_encrypted;
            self.record.agreement = Some(comparison.agreement);
            self.record.agreement_float = Some(comparison.agreement_float);
        }
        Ok(self.record)
    }
}

/// Evaluates the same request with one thread and with others, and gives a record for each number of threads.
///
/// Accuracy and agreement are those of the measurement, as every reply is the same byte for byte.
///
/// # Errors
/// [`Error::Threads`], and those of an evaluation.
///
/// # Panics
/// If a reply differs: evaluation does not depend on the number of threads.
pub fn measure_thread_scaling(
    measurement: &Measurement,
    threads: &[usize],
    options: &MeasureOptions<'_>,
) -> Result<Vec<Record>, Error> {
    let mut entries = Vec::new();
    for &threads in threads {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| Error::Threads {
                threads,
                detail: error.to_string(),
            })?;
        let mut record = measurement.record.clone();
        record.scaling = Some("threads".into());
        record.threads = Some(threads as u64);
        for phase in [Phase::KeyGeneration, Phase::Encrypt, Phase::Decrypt] {
            record.set_seconds(phase, &[]);
        }
        record.set_peak_memory(None);
        record.int8_peak_gmacs = Some(measure_int8_peak(options.backend, threads));
        entries.push((record, pool, Evaluation::default()));
    }
    let Measurement {
        workflow,
        request,
        reply,
        ..
    } = measurement;
    for run in 0..options.runs.max(1) {
        if run > 0 && entries.iter().any(|(.., evaluation)| evaluation.is_long()) {
            break;
        }
        for (record, pool, evaluation) in &mut entries {
            let found = pool.install(|| evaluation.run(workflow, request, options.progress))?;
            assert!(
                found == *reply,
                "the reply with {:?} threads differs from the measured one",
                record.threads
            );
        }
    }
    let first = entries
        .first()
        .and_then(|(.., evaluation)| Statistics::of(&evaluation.evaluating));
    Ok(entries
        .into_iter()
        .map(|(mut record, _, evaluation)| {
            evaluation.describe(&mut record, &workflow.plan().server);
            record.speedup = first
                .zip(record.evaluate_seconds.filter(|&seconds| seconds > 0.0))
                .map(|(first, seconds)| first.median / seconds);
            record
        })
        .collect())
}
