//! Whole batches: block after block through an engine.

use std::time::Instant;

use rayon::prelude::*;
use sordino_ckks::{Ciphertexts, Context, EvaluationKey, SeededCiphertexts};
use sordino_plan::{Budget, Packing, ServerPlan, Step, unread};
use sordino_ring::allocator::Keeping;

use crate::clear_product::LANES;
use crate::element::check_parameters;
use crate::engine::{EncryptedEngine, advance};
use crate::recorder::Recorder;
use crate::{
    BlockState, ChannelEngine, ChannelWeights, ClearEngine, ElementEngine, Error, PackedWeights,
    Piece, Scratch, Trace, walk,
};

/// Progress of an evaluation.
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
    /// Estimated seconds that are left.
    pub seconds_left: f64,
}

/// What an evaluation reports while it runs.
#[derive(Default)]
pub struct Options<'a> {
    /// Called after every piece of work.
    pub progress: Option<&'a (dyn Fn(&Progress<'_>) + Sync)>,
    /// Filled with what every step took.
    pub trace: Option<&'a mut Trace>,
    /// Where pieces go that memory has no room for, and where a later run finds what it needs to resume.
    pub scratch: Option<&'a mut dyn Scratch>,
}

/// Evaluates a plan on encrypted blocks and returns one map of logits per block.
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
        match plan.packing() {
            Packing::ElementWise => {
                PackedWeights::new(plan, context, budget).map(Self::ElementWise)
            }
            Packing::ChannelWise(channel) => {
                let beforehand = plan.channel_memory(budget.memory_bytes);
                let beforehand = beforehand.is_none_or(|(_, beforehand)| beforehand);
                ChannelWeights::new(plan, channel, context, beforehand).map(Self::ChannelWise)
            }
        }
    }
}

/// [`evaluate`] with prepared weights, for blocks that arrive one after the other; `count` is the announced number of blocks.
///
/// A block is taken when the one before it is done, and dropped as soon as no later unit reads it.
///
/// # Errors
/// As [`evaluate`], and the errors of the blocks.
pub fn evaluate_blocks<E: From<Error>>(
    plan: &ServerPlan,
    weights: &Weights,
    context: &Context,
    key: Option<&EvaluationKey>,
    blocks: impl IntoIterator<Item = Result<SeededCiphertexts, E>>,
    count: usize,
    options: Options<'_>,
) -> Result<Vec<Ciphertexts>, E> {
    check_parameters(plan, context, key)?;
    let engine: Box<dyn EncryptedEngine> = match weights {
        Weights::ElementWise(weights) => Box::new(ElementEngine::new(plan, weights, context, key)?),
        Weights::ChannelWise(weights) => Box::new(ChannelEngine::new(plan, weights, context, key)?),
    };
    let Options {
        progress,
        trace,
        mut scratch,
    } = options;
    let needed = engine.schedule().scratch_bytes();
    if needed > 0 && scratch.is_none() {
        Err(Error::NoScratch { needed })?;
    }
    // Pieces of a channel-wise evaluation are not kept.
    let keeps = matches!(weights, Weights::ElementWise(_));
    let units = engine.schedule().units().len();
    let live = (0..units).map(|unit| engine.schedule().live_bytes(unit));
    let peak_bytes = live.max().unwrap_or(0).max(1);
    let mut recorder = Recorder::new(plan.steps(), units, count, progress, trace);
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
        let block = Block {
            engine: &*engine,
            context,
            steps: plan.steps(),
            peak_bytes,
            // Lent out for the block.
            scratch: scratch
                .as_deref_mut()
                .filter(|_| keeps)
                .map(|scratch| scratch as _),
            recorder: &mut recorder,
        };
        let reply = block.evaluate(request, if keeps { done } else { 0 })?;
        recorder.end_block();
        if let Some(scratch) = &mut scratch {
            scratch.end_block(&reply)?;
        }
        replies.push(reply);
    }
    Ok(replies)
}

/// Units in advance that are looked at for what comes back from scratch.
const LOOK_AHEAD: usize = 64;

/// What the evaluation of a block uses.
struct Block<'a, 'r, 's> {
    engine: &'a dyn EncryptedEngine,
    context: &'a Context,
    steps: &'a [Step],
    /// Most that pieces in memory take.
    peak_bytes: u64,
    scratch: Option<&'s mut dyn Scratch>,
    recorder: &'a mut Recorder<'r>,
}

impl Block<'_, '_, '_> {
    /// Computes the units that come after the first `done`.
    fn evaluate(mut self, input: SeededCiphertexts, done: usize) -> Result<Ciphertexts, Error> {
        let schedule = self.engine.schedule();
        let units = schedule.units();
        (0..done).for_each(|unit| self.recorder.skip_unit(schedule.shares(unit)));
        let mut pieces: Vec<Option<Piece>> = units.iter().map(|_| None).collect();
        let mut memory = Keeping::default();
        let mut there = schedule.in_memory(done);
        let start = Instant::now();
        if done == 0 || there.remove(&0) {
            pieces[0] = Some(self.engine.input(input)?);
        }
        let fresh = matches!(pieces[0], Some(Piece::Fresh(_)));
        if done == 0 {
            self.record(0, fresh, start, &[0, 1]);
        }
        self.load(there, &mut pieces)?;
        for (index, unit) in units.iter().enumerate().skip(done.max(1)) {
            if let Some(transfers) = schedule.transfers(index) {
                for &evicted in &transfers.evict {
                    let piece = pieces[evicted].take();
                    if let (Some(Piece::Expanded(piece)), Some(scratch)) =
                        (piece, &mut self.scratch)
                    {
                        scratch.store(evicted, piece)?;
                    }
                }
                self.load(transfers.load.iter().copied(), &mut pieces)?;
                self.prefetch(index + 1, &pieces);
            }
            // Pieces that leave make room for those that come.
            let live = schedule.live_bytes(index);
            memory.limit(self.peak_bytes.saturating_sub(live));
            let start = Instant::now();
            let shares = advance(self.engine, schedule, index, &mut pieces)?;
            self.record(index, fresh, start, &shares);
            if let Some(scratch) = &mut self.scratch {
                scratch.free(&unit.frees)?;
                scratch.units_done(index + 1, &expanded(&pieces))?;
            }
        }
        self.engine.result(&mut pieces)
    }

    /// Brings pieces back.
    fn load(
        &mut self,
        units: impl IntoIterator<Item = usize>,
        pieces: &mut [Option<Piece>],
    ) -> Result<(), Error> {
        if let Some(scratch) = &mut self.scratch {
            for unit in units {
                pieces[unit] = Some(Piece::Expanded(scratch.load(self.context, unit)?));
            }
        }
        Ok(())
    }

    /// Says which pieces come back from unit `next` on.
    fn prefetch(&mut self, next: usize, pieces: &[Option<Piece>]) {
        let schedule = self.engine.schedule();
        let soon = (next..next + LOOK_AHEAD).filter_map(|unit| schedule.transfers(unit));
        let mut soon = soon.flat_map(|transfers| transfers.load.iter().copied());
        if let Some(scratch) = &mut self.scratch {
            soon.all(|unit| pieces[unit].is_some() || scratch.prefetch(self.context, unit));
        }
    }

    /// Records a unit that took the time since `start`.
    fn record(&mut self, index: usize, fresh: bool, start: Instant, shares: &[u64]) {
        let (schedule, recorder) = (self.engine.schedule(), &mut *self.recorder);
        let per_share = start.elapsed().as_secs_f64() / shares.iter().sum::<u64>().max(1) as f64;
        let unit = &schedule.units()[index];
        let bytes = |step: usize, rows: &[u32]| {
            let Step {
                components, limbs, ..
            } = self.steps[step];
            // Half of a fresh ciphertext is a seed.
            let components = if step == 0 && fresh { 1 } else { components };
            let widths = (0..limbs).map(|limb| self.context.modulus(limb).byte_width());
            let residue_bytes: usize = widths.sum();
            (rows.len() * components * residue_bytes * self.context.ring_degree()) as u64
        };
        let sources = self.steps[unit.steps.start].operation.sources();
        let read = sources.iter().zip(&unit.reads);
        let read: u64 = read.map(|(&source, rows)| bytes(source, rows)).sum();
        let written = bytes(unit.last_step(), unit.piece());
        recorder.step(unit.steps.start).bytes_read += read;
        recorder.step(unit.last_step()).bytes_written += written;
        let seconds = |share: u64| share as f64 * per_share;
        if unit.steps.start == 1 {
            recorder.add(0, 0.0, seconds(shares[0]));
        }
        let share_of_peak = schedule.live_bytes(index) as f64 / self.peak_bytes as f64;
        for ((step, part), &share) in schedule.shares(index).zip(&shares[1..]) {
            recorder.add(step, part, seconds(share));
            let known = &mut recorder.step(step).share_of_peak;
            *known = known.max(share_of_peak);
        }
        recorder.unit_done(unit.last_step());
    }
}

/// The pieces in memory, but for a fresh input.
fn expanded(pieces: &[Option<Piece>]) -> Vec<(usize, &Ciphertexts)> {
    let pieces = pieces.iter().enumerate().skip(1);
    let present = pieces.filter_map(|(unit, piece)| Some((unit, piece.as_ref()?.expanded())));
    present.collect()
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
    let (expected, found) = (plan.input_ciphertexts(), block.len());
    if found != expected {
        return Err(Error::input("number of ciphertexts", expected, found));
    }
    if block.limbs() != input.limbs {
        return Err(Error::input("number of limbs", input.limbs, block.limbs()));
    }
    let found = block.scale().value();
    if found != input.scale {
        return Err(Error::input("scale", input.scale, found));
    }
    Ok(())
}

/// Evaluates a plan's integers in the clear: the scores that decryption would give without noise.
///
/// The threads of the current pool take a few images at a time. Every image is computed by itself and exactly, so that
/// neither the number of images nor that of threads changes a result.
///
/// # Shapes
/// Prepared images × features in, images × logits out.
///
/// # Errors
/// [`Error::Input`] when the images are not `count` times the plan's features.
pub fn evaluate_clear(plan: &ServerPlan, images: &[f32], count: usize) -> Result<Vec<f64>, Error> {
    Ok(evaluate_clear_with_norms(plan, images, count)?.0)
}

/// As [`evaluate_clear`], with the values of layers that a reply has besides the logits, at the scale of the reply whatever theirs is.
pub(crate) fn evaluate_clear_with_norms(
    plan: &ServerPlan,
    images: &[f32],
    count: usize,
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let input = plan.input();
    if images.len() != count * input.features {
        let (expected, found) = (count * input.features, images.len());
        return Err(Error::input("number of values", expected, found));
    }
    let schedule = plan.whole_steps();
    let norms = unread(plan.steps());
    let chunks = images.par_chunks(LANES * input.features.max(1));
    let values: Vec<(Vec<f64>, Vec<f64>)> = chunks
        .map(|chunk| {
            let size = chunk.len() / input.features;
            let engine = ClearEngine::new(plan, size);
            let encoded = engine.encode(chunk, input.features, input.scale);
            let mut of_layers = Vec::new();
            let value = walk(&engine, &schedule, encoded, |step, value| {
                if norms.contains(&step) {
                    of_layers.extend_from_slice(value);
                }
            })?;
            let by_image = |value: &[i128]| -> Vec<f64> {
                let of_image = |image: usize| value.get(image..).unwrap_or_default().iter();
                let values = (0..size).flat_map(|image| of_image(image).step_by(size));
                values.map(|&v| v as f64 / plan.output().scale).collect()
            };
            Ok((by_image(&value), by_image(&of_layers)))
        })
        .collect::<Result<_, Error>>()?;
    let (logits, norms): (Vec<_>, Vec<_>) = values.into_iter().unzip();
    Ok((logits.concat(), norms.concat()))
}
