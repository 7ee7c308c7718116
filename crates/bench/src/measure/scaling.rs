//! One network over more and more full blocks, or threads. The runs take turns, so that other load on the machine
//! falls on all of them alike.

use std::ops::RangeInclusive;

use sordino::compile;
use sordino::plan::{CompileOptions, PackingKind};
use sordino::ring::backend::measure_int8_peak;
use sordino::{Model, Reference, Workflow};

use super::evaluation::Evaluation;
use super::options::{LONG_RUN_SECONDS, MeasureOptions};
use super::parts::{describe, key_bytes, set_agreement};
use super::run::Measurement;
use crate::Error;
use crate::record::{Record, Timing};

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

/// Evaluates every entry once, then again and again until there are enough runs; once only if a run is long.
fn take_turns<E>(
    entries: &mut [(Evaluation, E)],
    options: &MeasureOptions<'_>,
    mut run: impl FnMut(&mut Evaluation, &mut E) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for _ in 0..options.runs.max(1) {
        for (evaluation, entry) in &mut *entries {
            run(evaluation, entry)?;
        }
        let mut seconds = entries
            .iter()
            .flat_map(|(evaluation, _)| &evaluation.evaluating);
        if seconds.any(|&seconds| seconds > LONG_RUN_SECONDS) {
            break;
        }
    }
    Ok(())
}

/// One number of blocks, ready to run.
struct Blocks {
    record: Record,
    workflow: Workflow,
    request: Vec<u8>,
    reply: Vec<u8>,
}

/// Evaluates a network on 1, 2, … full blocks, with a plan for each number, and gives a record for each.
///
/// Accuracy and agreement are those of the judged images. Keys, encryption and decryption are not timed.
///
/// # Errors
/// [`Error::TooFewImages`], and those of every step.
pub fn measure_block_scaling(
    model: &Model,
    series: &BlockSeries<'_>,
    options: &MeasureOptions<'_>,
) -> anyhow::Result<Vec<Record>> {
    let mut entries = Vec::new();
    for blocks in series.blocks.clone() {
        let prepared = Blocks::prepare(model, series, blocks, options)?;
        entries.push((Evaluation::default(), prepared));
    }
    take_turns(&mut entries, options, |evaluation, entry| {
        entry.reply = evaluation.run(&entry.workflow, &entry.request, options)?;
        Ok(())
    })?;
    let finish =
        |(evaluation, entry): (Evaluation, Blocks)| entry.finish(&evaluation, model, series);
    entries.into_iter().map(finish).collect()
}

impl Blocks {
    fn prepare(
        model: &Model,
        series: &BlockSeries<'_>,
        blocks: usize,
        options: &MeasureOptions<'_>,
    ) -> anyhow::Result<Self> {
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
        let mut record = describe(model, &plan, count, options)?;
        record.scaling = Some("blocks".into());
        let workflow = Workflow::new(plan, options.backend)?;
        let request = workflow.encrypt(images)?;
        record.upload_bytes = Some(request.len() as u64);
        record.key_bytes = Some(key_bytes(&workflow)?);
        Ok(Self {
            record,
            workflow,
            request,
            reply: Vec::new(),
        })
    }

    fn finish(
        mut self,
        evaluation: &Evaluation,
        model: &Model,
        series: &BlockSeries<'_>,
    ) -> anyhow::Result<Record> {
        let server = self.workflow.evaluator().plan();
        evaluation.describe(&mut self.record, server);
        self.record.reply_bytes = Some(self.reply.len() as u64);
        let judged = series.judged.min(self.record.images as usize);
        if judged > 0 {
            let images = &series.images[..judged * server.input().features];
            let reference = Reference::compute(model, server, images)?;
            let predictions = self.workflow.decrypt(&self.reply)?;
            let labels = series.labels.and_then(|labels| labels.get(..judged));
            let classes = &predictions.classes()[..judged];
            set_agreement(&mut self.record, &reference, classes, labels)?;
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
) -> anyhow::Result<Vec<Record>> {
    let pool = |&threads: &usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| Error::Threads {
            threads,
            detail: error.to_string(),
        })?;
        let peak = measure_int8_peak(options.backend, threads);
        Ok((Evaluation::default(), (pool, peak)))
    };
    let entries: Result<Vec<_>, Error> = threads.iter().map(pool).collect();
    let mut entries = entries?;
    let workflow = &measurement.workflow;
    take_turns(&mut entries, options, |evaluation, (pool, _)| {
        let reply = pool.install(|| evaluation.run(workflow, &measurement.request, options))?;
        assert!(
            reply == measurement.reply,
            "the reply with {} threads differs from the measured one",
            pool.current_num_threads()
        );
        Ok(())
    })?;
    let first = entries
        .first()
        .and_then(|(evaluation, _)| Timing::of(&evaluation.evaluating).median);
    let record = |(evaluation, (pool, peak)): (Evaluation, (rayon::ThreadPool, f64))| {
        let mut record = Record {
            scaling: Some("threads".into()),
            threads: Some(pool.current_num_threads() as u64),
            int8_peak_gmacs: Some(peak),
            keygen: Timing::default(),
            encrypt: Timing::default(),
            decrypt: Timing::default(),
            ..measurement.record.clone()
        };
        record.set_peak_memory(None);
        evaluation.describe(&mut record, workflow.evaluator().plan());
        let seconds = record.evaluate.median.filter(|&seconds| seconds > 0.0);
        record.speedup = first.zip(seconds).map(|(first, seconds)| first / seconds);
        record
    };
    Ok(entries.into_iter().map(record).collect())
}
