//! Units of work: which elements of which steps are computed together, in which order, and what is in memory meanwhile.
//!
//! A step need not be computed at once. A window of a convolution reads few elements of the layer before it, so with a
//! tight memory limit a layer is computed piece by piece, each piece when the next layer asks for it, and dropped when no
//! piece reads it any more. Without a limit pieces are as large as the cache likes. A unit names what it reads and what it
//! makes, so whoever has those feature maps can compute it: a thread pool here, a machine of a cluster elsewhere.

mod build;
mod needs;

use std::ops::Range;

use sordino_ckks::Parameters;

use crate::estimate::BASE_BYTES;
use crate::{Error, Estimate, Operation, ServerPlan, Step, Term};
use build::Builder;
use needs::Needs;

/// Some elements of one step's value, or of that of a run of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The steps: one, or several linear steps and squares, each the only reader of the one before it.
    pub steps: Range<usize>,
    /// For each of `steps`, the elements of its value that are computed, ascending. Those of the last step are the
    /// unit's piece, which later units read.
    pub elements: Vec<Vec<u32>>,
    /// For each source of the first step, in the order of [`Operation::sources`], the elements read, ascending.
    pub reads: Vec<Vec<u32>>,
    /// Units whose pieces nobody reads after this one.
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

/// The units of a plan in the order in which they are computed, for one block.
///
/// The first unit is the input. Every element of every value that is read is computed exactly once, but for those inside a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    units: Vec<Unit>,
    memory_bytes: u64,
}

impl Schedule {
    /// The schedule of an element-wise plan's steps with the fewest and largest pieces that takes, with `beside` bytes beside
    /// feature maps, no more memory than `limit`.
    ///
    /// # Errors
    /// [`Error::Memory`] where even the smallest pieces do not fit, with what they need.
    pub fn new(
        steps: &[Step],
        parameters: &Parameters,
        beside: u64,
        limit: Option<u64>,
    ) -> Result<Self, Error> {
        let sizes = Sizes::new(parameters);
        let needs = Needs::new(steps);
        let layers = needs.layers();
        let build = |unit_bytes: u64, whole: &[bool]| {
            let units = Builder::new(steps, &needs, &sizes, unit_bytes).build(whole);
            let memory_bytes = beside + peak_bytes(&units, steps, &sizes);
            Self {
                units,
                memory_bytes,
            }
        };
        let Some(limit) = limit else {
            return Ok(build(u64::MAX, &vec![true; layers]));
        };
        let mut needed = u64::MAX;
        // Sizes of pieces that every larger limit tries too: what is said to be needed is then enough.
        let steps_down = (limit / 16).max(1).ilog2() / PIECE_STEP_BITS;
        for unit_bytes in (0..=steps_down)
            .rev()
            .map(|step| 1 << (step * PIECE_STEP_BITS))
        {
            // Layers that are finished before the next one begins: all of them, as long as memory lasts.
            let mut whole = vec![true; layers];
            let mut schedule = build(unit_bytes, &whole);
            loop {
                if schedule.memory_bytes <= limit {
                    return Ok(schedule);
                }
                needed = needed.min(schedule.memory_bytes);
                let streamed = (0..layers.saturating_sub(1))
                    .filter(|&layer| whole[layer])
                    .map(|layer| {
                        let mut whole = whole.clone();
                        whole[layer] = false;
                        (build(unit_bytes, &whole), layer)
                    });
                let least = streamed.min_by_key(|(schedule, _)| schedule.memory_bytes);
                let Some((next, layer)) = least else { break };
                whole[layer] = false;
                schedule = next;
            }
            if unit_bytes < sizes.polynomial[1] {
                // Smaller there is nothing.
                break;
            }
        }
        Err(Error::Memory { limit, needed })
    }

    /// The units; each reads pieces of earlier ones only.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Most bytes that an evaluation takes by this schedule: pieces, the fresh input among them, and what is beside them.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

impl ServerPlan {
    /// Cuts an element-wise plan into units that an evaluation in `memory_bytes` of memory can take one after the other.
    ///
    /// # Errors
    /// [`Error::Memory`] where even the smallest pieces do not fit, with what they need.
    pub fn schedule(&self, memory_bytes: Option<u64>) -> Result<Schedule, Error> {
        let beside = beside_bytes(self.steps(), self.estimate(), self.blocks());
        Schedule::new(self.steps(), self.parameters(), beside, memory_bytes)
    }
}

/// Memory of an evaluation beside feature maps: weights as integers and packed, the key as read and as used, the next
/// block, the reply.
pub(crate) fn beside_bytes(steps: &[Step], estimate: &Estimate, blocks: usize) -> u64 {
    let terms = steps.iter().flat_map(|step| match &step.operation {
        Operation::Linear { terms, .. } => &terms[..],
        _ => &[],
    });
    let weights: u64 = terms
        .map(|term| match term {
            Term::Product { map, .. } => {
                map.multiply_accumulates() * (2 + map.weight_width().bytes() as u64)
            }
            Term::Scaled { .. } => 0,
        })
        .sum();
    let next = if blocks > 1 {
        estimate.upload_bytes / blocks as u64
    } else {
        0
    };
    weights + 2 * estimate.key_bytes + next + estimate.reply_bytes + BASE_BYTES
}

/// Each size of pieces that is tried is 2 to this power smaller than the last.
const PIECE_STEP_BITS: u32 = 3;

/// Bytes of ciphertexts.
struct Sizes {
    /// Of a polynomial with so many limbs.
    polynomial: Vec<u64>,
    /// Of a residue of the widest limb.
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

    /// Of some elements of a step's value; a fresh input is seeded, which halves it.
    fn elements(&self, steps: &[Step], step: usize, elements: usize) -> u64 {
        let components = if step == 0 { 1 } else { steps[step].components };
        elements as u64 * components as u64 * self.polynomial[steps[step].limbs]
    }
}

fn peak_bytes(units: &[Unit], steps: &[Step], sizes: &Sizes) -> u64 {
    let bytes = |unit: &Unit| sizes.elements(steps, unit.last_step(), unit.piece().len());
    let (mut live, mut peak) = (0, 0);
    for unit in units {
        let freed: u64 = unit.frees.iter().map(|&unit| bytes(&units[unit])).sum();
        if !unit.takes_over(units, steps) {
            live += bytes(unit);
            peak = peak.max(live);
            live -= freed;
        } else {
            live = live - freed + bytes(unit);
        }
    }
    peak
}

impl Unit {
    /// Whether the unit can work in the memory of the one piece that it reads.
    pub fn takes_over(&self, units: &[Unit], steps: &[Step]) -> bool {
        let unary = matches!(
            steps[self.steps.start].operation,
            Operation::Relinearize { .. } | Operation::Rescale { .. }
        );
        unary && matches!(self.frees[..], [source] if units[source].piece() == self.reads[0])
    }
}

/// The steps that one unit may take together, from a step on: linear steps of products and squares, each the only reader
/// of the one before it. Any other step is alone.
fn run_from(steps: &[Step], last_reader: &[usize], start: usize) -> Range<usize> {
    let mut end = start + 1;
    let column_local = |step: &Step| match &step.operation {
        Operation::Square { .. } => true,
        Operation::Linear { terms, .. } => {
            let product = |term: &Term| matches!(term, Term::Product { .. });
            terms.iter().all(product)
        }
        _ => false,
    };
    if !column_local(&steps[start]) {
        return start..end;
    }
    while end < steps.len() {
        let step = &steps[end];
        let joined = step.operation.sources() == [end - 1]
            && last_reader[end - 1] == end
            && steps[end - 1].limbs == step.limbs;
        if !(joined && column_local(step)) {
            break;
        }
        end += 1;
    }
    start..end
}
