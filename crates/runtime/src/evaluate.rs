//! Whole batches: block after block through an engine.

use std::time::Instant;

use rayon::prelude::*;
use sordino_ckks::{Ciphertexts, Context, EvaluationKey, SeededCiphertexts};
use sordino_plan::{Operation, ServerPlan, Step};

use crate::clear_product::LANES;
use crate::encrypted::{at, check_parameters};
use crate::{
    ChannelEngine, ChannelWeights, ClearEngine, EncryptedEngine, Error, FeatureMap, PackedWeights,
    StepTrace, Trace, walk,
};

/// How far an evaluation is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// Blocks finished.
    pub block: usize,
    /// Blocks in all.
    pub blocks: usize,
    /// Steps of this block finished.
    pub step: usize,
    /// Steps of a block.
    pub steps: usize,
    /// Name of the step that just ended.
    pub name: &'a str,
    /// Estimate of what is left.
    pub seconds_left: f64,
}

/// What an evaluation reports while it runs.
#[derive(Default)]
pub struct Options<'a> {
    /// Called after every step.
    pub progress: Option<&'a (dyn Fn(&Progress<'_>) + Sync)>,
    /// Filled with what every step took.
    pub trace: Option<&'a mut Trace>,
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
    let weights = Weights::new(plan, context)?;
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
    /// Prepares the weights of a plan.
    ///
    /// # Errors
    /// [`Error::Parameters`] when the context belongs to other parameters, [`Error::Step`] for weights that cannot be
    /// encoded.
    pub fn new(plan: &ServerPlan, context: &Context) -> Result<Self, Error> {
        check_parameters(plan, context, None)?;
        match plan.channel() {
            None => Ok(Self::ElementWise(PackedWeights::new(plan, context))),
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
    mut options: Options<'_>,
) -> Result<Vec<Ciphertexts>, E> {
    let engine = AnyEngine::new(plan, weights, context, key)?;
    let steps = plan.steps();
    let work: Vec<f64> = steps.iter().map(|step| weight(step, steps)).collect();
    let block_work: f64 = work.iter().sum();
    let start = Instant::now();
    let mut done = 0.0;
    let mut replies = Vec::with_capacity(count);
    for (block, request) in blocks.into_iter().enumerate() {
        let request = request?;
        check_input(plan, context, &request)?;
        let mut last = Instant::now();
        let reply = engine.walk(context, steps, request, |index, seconds, result_bytes| {
            let step = &steps[index];
            done += work[index];
            if let Some(trace) = options.trace.as_deref_mut() {
                trace.steps.push(StepTrace {
                    block,
                    step: index,
                    name: step.name.clone(),
                    operation: step.operation.kind(),
                    seconds: seconds.unwrap_or_else(|| last.elapsed().as_secs_f64()),
                    result_bytes,
                    level: step.limbs - 1,
                    log2_scale: step.scale.log2(),
                });
            }
            last = Instant::now();
            if let Some(progress) = options.progress {
                let fraction = done / (block_work * count as f64);
                progress(&Progress {
                    block,
                    blocks: count,
                    step: index + 1,
                    steps: steps.len(),
                    name: &step.name,
                    seconds_left: start.elapsed().as_secs_f64() * (1.0 - fraction)
                        / fraction.max(1e-9),
                });
            }
        })?;
        replies.push(reply);
    }
    Ok(replies)
}

/// The engine for a plan's packing.
enum AnyEngine<'a> {
    ElementWise(EncryptedEngine<'a>),
    ChannelWise(ChannelEngine<'a>),
}

impl<'a> AnyEngine<'a> {
    fn new(
        plan: &ServerPlan,
        weights: &'a Weights,
        context: &'a Context,
        key: Option<&'a EvaluationKey>,
    ) -> Result<Self, Error> {
        check_parameters(plan, context, key)?;
        match weights {
            Weights::ElementWise(weights) => {
                EncryptedEngine::new(plan, weights, context, key).map(Self::ElementWise)
            }
            Weights::ChannelWise(weights) => {
                ChannelEngine::new(plan, weights, context, key).map(Self::ChannelWise)
            }
        }
    }

    /// Runs all steps on one block; `after` hears of every finished step's index, seconds if they are known, and bytes.
    fn walk(
        &self,
        context: &Context,
        steps: &[Step],
        block: SeededCiphertexts,
        mut after: impl FnMut(usize, Option<f64>, usize),
    ) -> Result<Ciphertexts, Error> {
        let expand = |block: SeededCiphertexts| block.expand(context).map_err(at(&steps[0]));
        match self {
            AnyEngine::ElementWise(engine) => {
                let reply = walk(engine, steps, FeatureMap::Seeded(block), |finished| {
                    let bytes = match finished.value {
                        Some(FeatureMap::Expanded(value)) => value.size_bytes(),
                        Some(FeatureMap::Seeded(_)) | None => 0,
                    };
                    after(finished.step, finished.seconds, bytes);
                })?;
                match reply {
                    FeatureMap::Expanded(reply) => Ok(reply),
                    FeatureMap::Seeded(reply) => expand(reply),
                }
            }
            AnyEngine::ChannelWise(engine) => walk(engine, steps, expand(block)?, |finished| {
                let bytes = finished.value.map_or(0, Ciphertexts::size_bytes);
                after(finished.step, finished.seconds, bytes);
            }),
        }
    }
}

/// A rough share of the time: byte products of linear steps against residues touched by the others.
fn weight(step: &Step, steps: &[Step]) -> f64 {
    let residues = (step.elements * step.components * step.limbs) as f64;
    match &step.operation {
        Operation::Input => 0.0,
        Operation::Linear { .. } => {
            0.01 * step.multiply_accumulates() as f64 * (step.components * step.limbs) as f64
                + residues
        }
        Operation::Square { .. } => 4.0 * residues,
        Operation::Relinearize { .. } => 40.0 * residues * step.limbs as f64,
        Operation::Rescale { source, .. } => {
            10.0 * residues * steps[*source].limbs as f64 / step.limbs as f64
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
