//! Units of work: which elements of which steps are computed together, in which order, and what is in memory at each point.
//!
//! A window of a convolution reads few elements of the layer before it. With a tight memory limit a layer is therefore
//! computed piece by piece: each piece when the next layer reads it first, and dropped after its last reader. Without a limit
//! pieces are as large as the cache has room for. A unit names what it reads and what it makes, so that it can be computed
//! wherever those feature maps are: by a thread pool, or by a machine of a cluster.

mod build;
mod needs;
mod residency;

use std::collections::BTreeSet;
use std::ops::Range;

use sordino_ckks::Parameters;
use sordino_container::Digest;
use sordino_ring::linear::LinearMap;

use crate::estimate::BASE_BYTES;
use crate::{Error, Estimate, Operation, ServerPlan, Step, last_readers};
use build::Builder;
use needs::Needs;
pub use residency::Transfers;
use residency::{Residency, residency};

/// A part of the work: some elements of a step's value, or of the value of a run of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The steps: one, or several linear steps and squares, each the only reader of the one before it.
    pub steps: Range<usize>,
    /// For each of `steps`, the elements of its value that are computed, ascending. Those of the last step are the
    /// unit's piece, which later units read.
    pub elements: Vec<Vec<u32>>,
    /// For each source of the first step, in the order of [`Operation::sources`], the elements read, ascending.
    pub reads: Vec<Vec<u32>>,
    /// Units that made what is read, ascending.
    pub from: Vec<usize>,
    /// Units whose pieces are unused after this one.
    pub frees: Vec<usize>,
}

impl Unit {
    /// The elements of the unit's piece.
    pub fn piece(&self) -> &[u32] {
        self.elements.last().expect("a unit has a step")
    }

    /// The step that the piece belongs to.
    pub fn last_step(&self) -> usize {
        self.steps.end - 1
    }
}

/// What an evaluation may take; by default any memory, and no scratch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of memory, if there is a limit.
    pub memory_bytes: Option<u64>,
    /// Bytes of scratch.
    pub scratch_bytes: u64,
}

impl Budget {
    /// Scratch that an evaluation may take unless asked otherwise.
    pub const USUAL_SCRATCH_BYTES: u64 = 30 << 30;

    /// Most bytes of memory for pieces on the way to scratch, and as many for those on the way back, where pieces leave memory.
    pub fn transfer_bytes(&self) -> u64 {
        self.memory_bytes.map_or(0, transfer_bytes)
    }
}

const fn transfer_bytes(memory_bytes: u64) -> u64 {
    memory_bytes / 16
}

/// Bytes for pieces that stay in memory where others leave it, besides `other` bytes.
fn room_beside_transfers(memory_bytes: u64, other: u64) -> u64 {
    let pieces = without_fragments(memory_bytes.saturating_sub(other));
    pieces.saturating_sub(2 * transfer_bytes(memory_bytes))
}

/// The least memory that has room for so many bytes of pieces where others leave it.
fn memory_beside_transfers(pieces: u64, other: u64) -> u64 {
    let (mut too_little, mut enough) = (0, u64::MAX / 2);
    while enough - too_little > 1 {
        let middle = too_little + (enough - too_little) / 2;
        match room_beside_transfers(middle, other) >= pieces {
            true => enough = middle,
            false => too_little = middle,
        }
    }
    enough
}

/// The units of a plan in the order in which they are computed, for one block.
///
/// The first unit is the input. Every element that is read is computed exactly once, except for those inside a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    units: Vec<Unit>,
    /// By step: elements of its value, or ciphertexts.
    rows: Vec<usize>,
    /// Transfers before each unit; empty where nothing leaves memory.
    transfers: Vec<Transfers>,
    /// Bytes in memory, by unit.
    live_bytes: Vec<u64>,
    memory_bytes: u64,
    scratch_bytes: u64,
    moved_bytes: u64,
}

impl Schedule {
    /// Cuts the steps of an element-wise plan into the fewest and largest pieces that fit the budget's memory. Besides feature
    /// maps, `other` bytes are in memory.
    ///
    /// Where no order of pieces fits, some pieces wait on scratch, and the schedule is the one that moves the fewest bytes.
    ///
    /// # Errors
    /// [`Error::Memory`] where even the smallest pieces do not fit, with the bytes that they need. [`Error::Scratch`] where they
    /// fit, but what has to leave memory does not fit the scratch.
    pub fn new(
        steps: &[Step],
        parameters: &Parameters,
        other: u64,
        budget: Budget,
    ) -> Result<Self, Error> {
        let sizes = Sizes::new(parameters);
        let orders: Vec<Needs> = (1..=MOST_STRIPS)
            .map(|strips| Needs::new(steps, strips))
            .collect();
        let layers = orders[0].layers();
        let build = |needs: &Needs, unit_bytes: u64, whole: &[bool]| {
            let units = Builder::new(steps, needs, &sizes, unit_bytes).build(whole);
            let Ok(residency) = residency(&units, steps, &sizes, None) else {
                unreachable!("there is room for everything")
            };
            Self::of(units, steps, residency, other)
        };
        let whole = build(&orders[0], u64::MAX, &vec![true; layers]);
        let Some(limit) = budget.memory_bytes else {
            return Ok(whole);
        };
        let mut needed = u64::MAX;
        // The first schedule that fits a limit. Where scratch may be used, other orders than row by row are tried with it.
        let tried = match budget.scratch_bytes {
            0 => &orders[..],
            _ => &orders[..1],
        };
        let mut fitting = |limit: u64| {
            let mut units = 0;
            for unit_bytes in piece_sizes(limit, &sizes) {
                let streamed = build(&orders[0], unit_bytes, &vec![false; layers]);
                if std::mem::replace(&mut units, streamed.units.len()) == streamed.units.len() {
                    // No piece is smaller than a window.
                    continue;
                }
                for needs in tried {
                    // Layers that are finished before the next one begins: all of them, as long as memory lasts.
                    let mut whole = vec![true; layers];
                    let mut schedule = build(needs, unit_bytes, &whole);
                    while schedule.memory_bytes > limit {
                        needed = needed.min(schedule.memory_bytes);
                        let streamed = flipped(&whole, |&whole| whole).map(|whole| {
                            let schedule = build(needs, unit_bytes, &whole);
                            (schedule, whole)
                        });
                        let next = streamed.min_by_key(|(schedule, _)| schedule.memory_bytes);
                        let Some(next) = next else { break };
                        (schedule, whole) = next;
                    }
                    if schedule.memory_bytes <= limit {
                        return Some(schedule);
                    }
                }
            }
            None
        };
        let half = whole.memory_bytes / 2;
        if whole.memory_bytes > WHOLE_BYTES
            && half < limit
            && let Some(schedule) = fitting(half)
        {
            return Ok(schedule);
        }
        if let Some(schedule) = fitting(limit) {
            return Ok(schedule);
        }
        if budget.scratch_bytes == 0 {
            let hint = String::new();
            return Err(Error::Memory {
                limit,
                needed,
                hint,
            });
        }
        Self::least_moved(steps, &orders, &sizes, other, budget)
    }

    /// The schedule that moves the fewest bytes between memory and scratch, of those that were tried.
    fn least_moved(
        steps: &[Step],
        orders: &[Needs],
        sizes: &Sizes,
        other: u64,
        Budget {
            memory_bytes,
            scratch_bytes: scratch,
        }: Budget,
    ) -> Result<Self, Error> {
        let limit = memory_bytes.unwrap_or(u64::MAX);
        let room = room_beside_transfers(limit, other);
        let (mut needed, mut scratch_needed) = (u64::MAX, u64::MAX);
        for unit_bytes in piece_sizes(limit / 8, sizes) {
            let mut best: Option<(Vec<Unit>, Residency, Vec<bool>)> = None;
            for needs in orders {
                let mut tried = |whole: Vec<bool>| {
                    let units = Builder::new(steps, needs, sizes, unit_bytes).build(&whole);
                    match residency(&units, steps, sizes, Some(room)) {
                        Err(least) => {
                            needed = needed.min(memory_beside_transfers(least, other));
                            None
                        }
                        Ok(residency) if residency.scratch_bytes > scratch => {
                            scratch_needed = scratch_needed.min(residency.scratch_bytes);
                            None
                        }
                        Ok(residency) => Some((units, residency, whole)),
                    }
                };
                let streamed = || vec![false; needs.layers()];
                let begin = best
                    .as_ref()
                    .map_or_else(streamed, |(_, _, whole)| whole.clone());
                let mut found = tried(begin.clone());
                loop {
                    let whole = found.as_ref().map_or(&begin, |(_, _, whole)| whole);
                    let others: Vec<Vec<bool>> = flipped(whole, |_| true).collect();
                    let next = others.into_iter().filter_map(&mut tried).min_by_key(moved);
                    match (next, &found) {
                        (Some(next), Some(last)) if moved(&next) >= moved(last) => break,
                        (None, _) => break,
                        (next, _) => found = next,
                    }
                }
                let both = best.into_iter().chain(found);
                best = both.min_by_key(moved);
            }
            if let Some((units, residency, _)) = best {
                let beside = other + 2 * transfer_bytes(limit);
                return Ok(Self::of(units, steps, residency, beside));
            }
        }
        Err(match scratch_needed {
            u64::MAX => Error::Memory {
                limit,
                needed,
                hint: String::new(),
            },
            needed => Error::Scratch {
                memory: limit,
                limit: scratch,
                needed,
            },
        })
    }

    /// The schedule with one unit per step, each of which makes the whole value of its step.
    fn of_whole_steps(plan: &ServerPlan) -> Self {
        let steps = plan.steps();
        let ciphertexts = |step: usize| match plan.channel() {
            None => steps[step].elements,
            Some(channel) => channel.layouts[step].ciphertexts,
        };
        let all = |step: usize| -> Vec<u32> { (0..ciphertexts(step) as u32).collect() };
        let last_reader = last_readers(steps);
        let sizes = Sizes::new(plan.parameters());
        let bytes = |step: usize| {
            let polynomials = (ciphertexts(step) * steps[step].components) as u64;
            polynomials * sizes.polynomial[steps[step].limbs]
        };
        let units = steps.iter().enumerate().map(|(index, step)| {
            let sources = step.operation.sources();
            let from: BTreeSet<usize> = sources.iter().copied().collect();
            Unit {
                steps: index..index + 1,
                elements: vec![all(index)],
                reads: sources.into_iter().map(all).collect(),
                frees: from
                    .iter()
                    .copied()
                    .filter(|&source| last_reader[source] == index)
                    .collect(),
                from: from.into_iter().collect(),
            }
        });
        // Values that are read by this step or a later one.
        let live = |step: usize| {
            (0..=step)
                .filter(|&value| last_reader[value] >= step)
                .map(bytes)
                .sum()
        };
        Self {
            units: units.collect(),
            rows: (0..steps.len()).map(ciphertexts).collect(),
            transfers: Vec::new(),
            live_bytes: (0..steps.len()).map(live).collect(),
            memory_bytes: plan.estimate().memory_bytes,
            scratch_bytes: 0,
            moved_bytes: 0,
        }
    }

    fn of(units: Vec<Unit>, steps: &[Step], residency: Residency, other: u64) -> Self {
        Self {
            units,
            rows: steps.iter().map(|step| step.elements).collect(),
            memory_bytes: other + with_fragments(residency.peak_bytes()),
            live_bytes: residency.live,
            transfers: residency.transfers,
            scratch_bytes: residency.scratch_bytes,
            moved_bytes: residency.moved_bytes,
        }
    }

    /// The units. Each reads pieces of earlier units only.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// What moves between memory and scratch before a unit is computed, in a process that computes all units.
    pub fn transfers(&self, unit: usize) -> Option<&Transfers> {
        self.transfers.get(unit)
    }

    /// The units whose pieces are in memory when the first `done` units are done.
    pub fn in_memory(&self, done: usize) -> BTreeSet<usize> {
        let mut there = BTreeSet::new();
        for (index, unit) in self.units.iter().enumerate().take(done) {
            if let Some(transfers) = self.transfers(index) {
                for evicted in &transfers.evict {
                    there.remove(evicted);
                }
                there.extend(&transfers.load);
            }
            there.insert(index);
            for freed in &unit.frees {
                there.remove(freed);
            }
        }
        there
    }

    /// Identifies the units and their order: equal for equal schedules of one plan.
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        let mut put = |list: &mut dyn Iterator<Item = u64>| {
            let numbers: Vec<u64> = list.collect();
            bytes.extend((numbers.len() as u64).to_le_bytes());
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        };
        for (index, unit) in self.units.iter().enumerate() {
            put(&mut unit.steps.clone().map(|step| step as u64));
            put(&mut unit.piece().iter().map(|&element| element.into()));
            if let Some(Transfers { evict, load }) = self.transfers(index) {
                put(&mut evict.iter().map(|&unit| unit as u64));
                put(&mut load.iter().map(|&unit| unit as u64));
            }
        }
        Digest::of("sordino schedule v1", &bytes)
    }

    /// The part of each of a unit's steps that the unit computes, by number of elements.
    pub fn shares(&self, unit: usize) -> impl Iterator<Item = (usize, f64)> {
        let unit = &self.units[unit];
        let of_steps = unit.steps.clone().zip(&unit.elements);
        of_steps.map(|(step, rows)| (step, rows.len() as f64 / self.rows[step] as f64))
    }

    /// Bytes of pieces in memory while a unit is computed, including its own and those that it reads.
    pub fn live_bytes(&self, unit: usize) -> u64 {
        self.live_bytes[unit]
    }

    /// Most bytes of memory that an evaluation takes: for pieces, including the fresh input, and for everything else.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Bytes that are written to scratch and those that are read back, together.
    pub fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    /// Most bytes on scratch; 0 where nothing has to leave memory.
    pub fn scratch_bytes(&self) -> u64 {
        self.scratch_bytes
    }
}

impl ServerPlan {
    /// Cuts an element-wise plan into units that fit a budget when they are computed one after the other.
    ///
    /// # Errors
    /// [`Error::Memory`] where even the smallest pieces do not fit, [`Error::Scratch`] where what has to leave memory does not.
    pub fn schedule(&self, budget: Budget) -> Result<Schedule, Error> {
        let other = other_bytes(self.steps(), self.estimate(), self.blocks());
        Schedule::new(self.steps(), self.parameters(), other, budget)
    }

    /// One unit per step, whatever the packing. The rows that units name are the ciphertexts of the steps' values.
    pub fn whole_steps(&self) -> Schedule {
        Schedule::of_whole_steps(self)
    }
}

/// Memory of an evaluation for other things than feature maps: weights as integers and packed, the key as read and as used,
/// the next block, the reply.
pub(crate) fn other_bytes(steps: &[Step], estimate: &Estimate, blocks: usize) -> u64 {
    let bytes =
        |map: &LinearMap| map.multiply_accumulates() * (2 + map.weight_width().bytes() as u64);
    let weights: u64 = steps.iter().flat_map(Step::maps).map(bytes).sum();
    let next = if blocks > 1 {
        estimate.upload_bytes / blocks as u64
    } else {
        0
    };
    weights + 2 * estimate.key_bytes + next + estimate.reply_bytes + BASE_BYTES
}

/// Maps that take more than this together are streamed where streaming halves their memory: memory that was used before costs
/// less than new memory, which the system clears page by page.
const WHOLE_BYTES: u64 = 1 << 30;

/// Memory of pieces with the loss between them: 4 to 6.5 % was measured.
fn with_fragments(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 12)
}

/// Most bytes of pieces that fit into so much memory.
fn without_fragments(bytes: u64) -> u64 {
    let pieces = bytes / 13 * 12;
    // Rounding may have cost a few bytes.
    (pieces..pieces + 13)
        .rev()
        .find(|&pieces| with_fragments(pieces) <= bytes)
        .unwrap_or(pieces)
}

/// Every size of pieces that is tried is smaller than the one before by 2 to this power.
const PIECE_STEP_BITS: u32 = 3;

/// Most strips of columns in which images are computed where pieces leave memory. Of two or more strips less is at hand at a
/// time, and what lies along their edges waits.
const MOST_STRIPS: usize = 4;

/// Sizes of pieces that are tried, largest first: those that every larger limit tries too, so that what is said to be needed is
/// enough.
fn piece_sizes(limit: u64, sizes: &Sizes) -> impl Iterator<Item = u64> {
    // The smallest one of them makes no difference to smaller ones: no piece is smaller than a polynomial.
    let least = sizes.polynomial[1].ilog2() / PIECE_STEP_BITS;
    let most = (limit / 16).max(1).ilog2() / PIECE_STEP_BITS;
    let steps = least.min(most)..=most;
    steps.rev().map(|step| 1 << (step * PIECE_STEP_BITS))
}

/// The choices that differ in one place, where it may differ; the last layer has none.
fn flipped(whole: &[bool], may: impl Fn(&bool) -> bool) -> impl Iterator<Item = Vec<bool>> {
    let last = whole.len().saturating_sub(1);
    let layers = (0..last).filter(move |&layer| may(&whole[layer]));
    layers.map(|layer| {
        let mut other = whole.to_vec();
        other[layer] ^= true;
        other
    })
}

/// The bytes that a schedule moves.
fn moved((_, residency, _): &(Vec<Unit>, Residency, Vec<bool>)) -> u64 {
    residency.moved_bytes
}

/// Bytes of ciphertexts.
struct Sizes {
    /// Bytes of a polynomial, by number of limbs.
    polynomial: Vec<u64>,
    /// Bytes of a residue of the widest limb.
    widest: u64,
}

impl Sizes {
    fn new(parameters: &Parameters) -> Self {
        let widths = parameters
            .primes()
            .iter()
            .map(|&prime| u64::from(prime.ilog2() / 8 + 1));
        let degree = parameters.ring_degree() as u64;
        let mut polynomial = vec![0];
        for width in widths.clone() {
            polynomial.push(polynomial[polynomial.len() - 1] + width * degree);
        }
        Self {
            polynomial,
            widest: widths.max().unwrap_or(8),
        }
    }

    /// Bytes of some elements of a step's value; a fresh input has a seed instead of half of them.
    fn elements(&self, steps: &[Step], step: usize, elements: usize) -> u64 {
        let components = if step == 0 { 1 } else { steps[step].components };
        elements as u64 * components as u64 * self.polynomial[steps[step].limbs]
    }

    /// Bytes of a unit's piece.
    fn piece(&self, steps: &[Step], unit: &Unit) -> u64 {
        self.elements(steps, unit.last_step(), unit.piece().len())
    }
}

impl Unit {
    /// Whether the unit can work in the memory of the one piece that it reads.
    pub fn takes_over(&self, units: &[Unit], steps: &[Step]) -> bool {
        let run = &steps[self.steps.clone()];
        let source = run[0]
            .operation
            .sources()
            .first()
            .map(|&source| &steps[source]);
        let within = run.iter().all(Step::is_row_local)
            && source.is_some_and(|source| run[run.len() - 1].components <= source.components);
        within && matches!(self.frees[..], [source] if units[source].piece() == self.reads[0])
    }
}

/// For every step, the place of its elements in the order in which they are best computed; elements of one place are one window.
pub(crate) fn places_of(steps: &[Step]) -> Vec<Vec<u32>> {
    Needs::new(steps, 1).place
}

/// The steps that one unit may take together, from a step on, each the only reader of the one before it: linear steps of
/// products and squares, a few columns at a time; or rescales, squares and relinearizations, a few ciphertexts at a time. Any
/// other step is alone.
fn run_from(steps: &[Step], last_reader: &[usize], start: usize) -> Range<usize> {
    let column_local = |step: &Step| match &step.operation {
        Operation::Square { .. } => true,
        Operation::Linear { terms, .. } => terms.iter().all(|term| term.map().is_some()),
        _ => false,
    };
    let joined = |step: usize| {
        step < steps.len()
            && steps[step].operation.sources() == [step - 1]
            && last_reader[step - 1] == step
    };
    let in_columns = |step: usize| {
        joined(step) && column_local(&steps[step]) && steps[step - 1].limbs == steps[step].limbs
    };
    let run = |continues: &dyn Fn(usize) -> bool| {
        let mut end = start + 1;
        while continues(end) {
            end += 1;
        }
        start..end
    };
    let squares = |step: usize| matches!(steps[step].operation, Operation::Square { .. });
    if column_local(&steps[start]) && (!squares(start) || in_columns(start + 1)) {
        return run(&in_columns);
    }
    if !steps[start].is_row_local() {
        return start..start + 1;
    }
    // A square that a layer reads at once belongs to the layer.
    run(&|step| {
        joined(step) && steps[step].is_row_local() && !(squares(step) && in_columns(step + 1))
    })
}
