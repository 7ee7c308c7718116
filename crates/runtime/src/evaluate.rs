//! Whole batches: block after block through an engine.

use std::time::Instant;

use rayon::prelude::*;
use sordino_ckks::{Ciphertexts, Context, EvaluationKey, SeededCiphertexts};
use sordino_plan::{Budget, ServerPlan, Step, last_readers};

use crate::clear_product::LANES;
use crate::element::{at, check_parameters};
use crate::recorder::Recorder;
use crate::{
    BlockState, ChannelEngine, ChannelWeights, ClearEngine, ElementEngine, Error, PackedWeights,
    Scratch, Trace, walk,
};

/// How far an evaluation is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// Blocks finished.
    pub block: usize,
    /// Blocks in all.
    pub blocks: usize,
    /// Pieces of work of this block finished.
    pub unit: usize,
    /// Pieces of work of a block.
    pub units: usize,
    /// Name of the step that just ended.
    pub name: &'a str,
    /// Estimate of what is left.
    pub seconds_left: f64,
}

/// What an evaluation reports while it runs.
#[derive(Default)]
pub struct Options<'a> {
    /// Called after every piece of work.
    pub progress: Option<&'a (dyn Fn(&Progress<'_>) + Sync)>,
    /// Filled with what every step took.
    pub trace: Option<&'a mut Trace>,
    /// Where pieces go that memory has no room for, and where a run that was ended is gone on with.
    pub scratch: Option<&'a mut dyn Scratch>,
}

/// Evaluates a plan on encrypted blocks and returns one map of logits a block.
///
/// Deterministic: the same plan, key and blocks give the same residues with any backend and number of threads.
///
/// # Shapes
/// A block holds the plan's input ciphertexts of N slots; its reply the output ciphertexts.
///
/// # Errors
/// [`Error::Parameters`] and [`Error::Input`] when context, key or blocks do not belong to the plan,
/// [`Error::MissingKey`] when it relinearizes without a key.
pub fn evaluate(
    plan: &ServerPlan,
    context: &Context,
    key: Option<&EvaluationKey>,
    blocks: Vec<SeededCiphertexts>,
    options: Options<'_>,
) -> Result<Vec<Ciphertexts>, Error> {
    let count = blocks.len();
    let blocks = blocks.into_iter().map(Ok::<_, Error>);
    let weights = Weights::new(plan, context, Budget::default())?;
    evaluate_blocks(plan, &weights, context, key, blocks, count, options)
}

/// A plan's weights, ready for the engine of its packing; the same for every client.
#[derive(Debug)]
pub enum Weights {
    /// Packed for the matrix kernels.
    ElementWise(PackedWeights),
    /// Encoded as plaintexts.
    ChannelWise(ChannelWeights),
}

impl Weights {
    /// Prepares the weights of a plan, for an evaluation within a budget.
    ///
    /// # Errors
    /// [`Error::Parameters`] when the context belongs to other parameters, [`Error::Step`] for weights that cannot be
    /// encoded, [`Error::Plan`] where an element-wise evaluation needs more memory even in the smallest pieces.
    pub fn new(plan: &ServerPlan, context: &Context, budget: Budget) -> Result<Self, Error> {
        check_parameters(plan, context, None)?;
        match plan.channel() {
            None => PackedWeights::new(plan, context, budget).map(Self::ElementWise),
            Some(channel) => ChannelWeights::new(plan, channel, context).map(Self::ChannelWise),
        }
    }
}

/// [`evaluate`] with weights that were prepared before, for blocks that come one after the other, `count` of them by what was announced.
///
/// A block is asked for when the one before it is done, and dropped as soon as its last reader is.
///
/// # Errors
/// As [`evaluate`], and what the blocks fail with.
pub fn evaluate_blocks<E: From<Error>>(
    plan: &ServerPlan,
    weights: &Weights,
    context: &Context,
    key: Option<&EvaluationKey>,
    blocks: impl IntoIterator<Item = Result<SeededCiphertexts, E>>,
    count: usize,
    options: Options<'_>,
) -> Result<Vec<Ciphertexts>, E> {
    let engine = AnyEngine::new(plan, weights, context, key)?;
    let Options {
        progress,
        trace,
        mut scratch,
    } = options;
    match weights.scratch_bytes() {
        needed if needed > 0 && scratch.is_none() => Err(Error::NoScratch { needed })?,
        _ => {}
    }
    let mut recorder = Recorder::new(plan.steps(), engine.units(), count, progress, trace);
    let mut replies = Vec::with_capacity(count);
    for (block, request) in blocks.into_iter().enumerate() {
        let request = request?;
        check_input(plan, context, &request)?;
        let state = match &mut scratch {
            Some(scratch) => scratch.begin_block(context, block)?,
            None => BlockState::New,
        };
        let done = match state {
            BlockState::New => 0,
            BlockState::Units(done) => done,
            BlockState::Finished(reply) => {
                recorder.skip_block();
                replies.push(reply);
                continue;
            }
        };
        recorder.begin_block(block);
        let at = At {
            done,
            // Lent out for the block.
            scratch: scratch.as_deref_mut().map(|scratch| scratch as _),
        };
        let reply = engine.evaluate(context, plan.steps(), request, at, &mut recorder)?;
        recorder.end_block();
        if let Some(scratch) = &mut scratch {
            scratch.end_block(&reply)?;
        }
        replies.push(reply);
    }
    Ok(replies)
}

/// Where the evaluation of a block begins, and what it may use.
struct At<'a> {
    /// Units that are done already.
    done: usize,
    scratch: Option<&'a mut dyn Scratch>,
}

impl Weights {
    /// What an evaluation with them keeps on scratch.
    fn scratch_bytes(&self) -> u64 {
        match self {
            Self::ElementWise(weights) => weights.schedule().scratch_bytes(),
            Self::ChannelWise(_) => 0,
        }
    }
}

/// The engine for a plan's packing.
enum AnyEngine<'a> {
    ElementWise(ElementEngine<'a>, &'a PackedWeights),
    ChannelWise(ChannelEngine<'a>),
}

impl<'a> AnyEngine<'a> {
    fn new(
        plan: &'a ServerPlan,
        weights: &'a Weights,
        context: &'a Context,
        key: Option<&'a EvaluationKey>,
    ) -> Result<Self, Error> {
        check_parameters(plan, context, key)?;
        match weights {
            Weights::ElementWise(weights) => {
                let engine = ElementEngine::new(plan, weights, context, key)?;
                Ok(Self::ElementWise(engine, weights))
            }
            Weights::ChannelWise(weights) => {
                ChannelEngine::new(plan, weights, context, key).map(Self::ChannelWise)
            }
        }
    }

    /// Pieces of work a block, if they are not the steps.
    fn units(&self) -> Option<usize> {
        match self {
            Self::ElementWise(_, weights) => Some(weights.schedule().units().len()),
            Self::ChannelWise(_) => None,
        }
    }

    /// Runs all steps on one block.
    fn evaluate(
        &self,
        context: &Context,
        steps: &[Step],
        block: SeededCiphertexts,
        at_unit: At<'_>,
        recorder: &mut Recorder<'_>,
    ) -> Result<Ciphertexts, Error> {
        let bytes = |step: usize, ciphertexts: usize| {
            // Half of a fresh ciphertext is a seed.
            let components = if step == 0 { 1 } else { steps[step].components };
            let limbs = steps[step].limbs;
            let widths = (0..limbs).map(|limb| context.modulus(limb).byte_width());
            let residue_bytes: usize = widths.sum();
            (ciphertexts * components * residue_bytes * context.ring_degree()) as u64
        };
        match self {
            Self::ElementWise(engine, weights) => {
                let schedule = weights.schedule();
                let live = |unit: usize| schedule.live_bytes(unit) as f64;
                let peak = (0..schedule.units().len()).map(live).fold(1.0, f64::max);
                let At { done, scratch } = at_unit;
                recorder.skip_units(&schedule.units()[..done]);
                engine.evaluate(block, done, scratch, |finished| {
                    let unit = finished.unit;
                    let sources = steps[unit.steps.start].operation.sources();
                    let read = sources.iter().zip(&unit.reads);
                    let read = read
                        .map(|(&source, elements)| bytes(source, elements.len()))
                        .sum();
                    let written = bytes(unit.last_step(), unit.piece().len());
                    recorder.add_bytes(unit.steps.start, read, 0);
                    recorder.add_bytes(unit.last_step(), 0, written);
                    if unit.steps.start == 1 {
                        recorder.add(0, 0.0, finished.seconds[0]);
                    }
                    let of_steps = unit.steps.clone().zip(&unit.elements);
                    for ((step, elements), &seconds) in of_steps.zip(&finished.seconds[1..]) {
                        let share = elements.len() as f64 / steps[step].elements as f64;
                        recorder.add(step, share, seconds);
                        recorder.set_share_of_peak(step, live(finished.index) / peak);
                    }
                    recorder.unit_done(unit.last_step());
                })
            }
            Self::ChannelWise(engine) => {
                let block = block.expand(context).map_err(at(&steps[0]))?;
                let mut last = Instant::now();
                let mut written = vec![0; steps.len()];
                let last_reader = last_readers(steps);
                let mut live = vec![0; steps.len()];
                let result = walk(engine, steps, block, |finished| {
                    let step = finished.step;
                    written[step] = finished.value.size_bytes() as u64;
                    let sources = steps[step].operation.sources().into_iter();
                    let read = sources.map(|source| written[source]).sum();
                    recorder.add_bytes(step, read, written[step]);
                    // Values that are read now or later.
                    let there = (0..=step).filter(|&value| last_reader[value] >= step);
                    live[step] = there.map(|value| written[value]).sum();
                    recorder.add(step, 1.0, last.elapsed().as_secs_f64());
                    recorder.unit_done(step);
                    last = Instant::now();
                })?;
                let peak = live.iter().copied().max().unwrap_or(0).max(1) as f64;
                for (step, &live) in live.iter().enumerate() {
                    recorder.set_share_of_peak(step, live as f64 / peak);
                }
                Ok(result)
            }
        }
    }
}

fn check_input(
    plan: &ServerPlan,
    context: &Context,
    block: &SeededCiphertexts,
) -> Result<(), Error> {
    let (expected, found) = (context.digest(), block.parameters());
    if expected != found {
        return Err(Error::Parameters {
            what: "the request",
            expected,
            found,
        });
    }
    let input = plan.input();
    let differs = |what, expected: &dyn ToString, found: &dyn ToString| {
        Err(Error::Input {
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        })
    };
    if block.len() != plan.input_ciphertexts() {
        let expected = plan.input_ciphertexts();
        return differs("number of ciphertexts", &expected, &block.len());
    }
    if block.limbs() != input.limbs {
        return differs("number of limbs", &input.limbs, &block.limbs());
    }
    if block.scale().value() != input.scale {
        return differs("scale", &input.scale, &block.scale().value());
    }
    Ok(())
}

/// Evaluates a plan's integers in the clear: the scores that decryption would give without noise.
///
/// Images are shared out to the threads of the current pool, a few at a time. Every image is computed by itself and
/// exactly, so that neither their number nor that of the threads changes a result.
///
/// # Shapes
/// Prepared images × features in, images × logits out.
///
/// # Errors
/// [`Error::Input`] when the images are not `count` times the plan's features.
pub fn evaluate_clear(plan: &ServerPlan, images: &[f32], count: usize) -> Result<Vec<f64>, Error> {
    let input = plan.input();
    if images.len() != count * input.features {
        let (expected, found) = (
            (count * input.features).to_string(),
            images.len().to_string(),
        );
        return Err(Error::Input {
            what: "number of values",
            expected,
            found,
        });
    }
    let chunks = images.par_chunks(LANES * input.features.max(1));
    let logits: Vec<Vec<f64>> = chunks
        .map(|chunk| {
            let size = chunk.len() / input.features;
            let engine = ClearEngine::new(plan, size);
            let encoded = engine.encode(chunk, input.features, input.scale);
            let value = walk(&engine, plan.steps(), encoded, |_| ())?;
            let scores = (0..size).flat_map(|image| value[image..].iter().step_by(size));
            Ok(scores.map(|&v| v as f64 / plan.output().scale).collect())
        })
        .collect::<Result<_, Error>>()?;
    Ok(logits.concat())
}
