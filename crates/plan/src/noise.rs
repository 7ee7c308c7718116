//! Noise of a sketched plan, by folded node, and the gadget's share of it.

use sordino_ckks::{Gadget, noise};

use crate::estimate::{GadgetChoice, Limbs};
use crate::network::Network;
use crate::precision::NodeNoise;
use crate::schedule::{Choice, Kind, Operation, Sketch};
use crate::{Step, Term};

/// Error variances at every folded node, in units of its real value, without relinearization.
pub(crate) fn without_gadget(
    network: &Network,
    choice: &Choice,
    sketch: &Sketch,
) -> Vec<NodeNoise> {
    let mut nodes = vec![NodeNoise::default(); network.nodes.len()];
    for operation in &sketch.operations {
        let node = &mut nodes[operation.node];
        let variance = of_operation(operation, choice.ring_degree);
        match operation.kind {
            Kind::Input => node.gaussian += variance,
            _ => node.keyed += variance,
        }
    }
    nodes
}

/// Variance that an operation other than relinearization adds, in units of the real value.
fn of_operation(operation: &Operation, ring_degree: usize) -> f64 {
    let added = match operation.kind {
        Kind::Input => noise::fresh(ring_degree),
        Kind::Rescale if operation.components == 3 => noise::rescale_three(ring_degree),
        Kind::Rescale => noise::rescale_two(ring_degree),
        Kind::Linear | Kind::Square | Kind::Relinearize => 0.0,
    };
    square(added / operation.scale)
}

/// Writes down for every step how far noise is expected to move its values, rms over elements and images.
///
/// Errors are taken to be independent, and what is squared to be centred, as batch normalization leaves it: E[(2x + r)²] is then
/// 4 E[x²] + r².
pub(crate) fn set_rms_noise(
    steps: &mut [Step],
    network: &Network,
    choice: &Choice,
    sketch: &Sketch,
    gadget: Option<GadgetChoice>,
    limbs: &Limbs,
) {
    let mut variances: Vec<f64> = Vec::with_capacity(steps.len());
    for (step, operation) in steps.iter_mut().zip(&sketch.operations) {
        let carried = match &step.operation {
            crate::Operation::Input => 0.0,
            crate::Operation::Linear { terms, .. } => {
                let carried = |term: &Term| {
                    // What one unit of a real weight is as an integer.
                    let scale = operation.scale / sketch.operations[term.source()].scale;
                    variances[term.source()] * sum_of_squares(term) / square(scale)
                };
                terms.iter().map(carried).sum::<f64>() / step.elements as f64
            }
            crate::Operation::Square { source, shift } => {
                // The scale of what is squared is the root of that of the square.
                let shifts = shift.iter().map(|&r| square(r as f64)).sum::<f64>();
                let shift = shifts / (shift.len() as f64 * step.scale);
                let value = network.nodes[sketch.operations[*source].node].mean_square;
                variances[*source] * (4.0 * value + shift)
            }
            crate::Operation::Relinearize { source } => {
                let gadget = gadget.expect("a plan that relinearizes has a gadget");
                variances[*source] + of_relinearization(operation, choice, gadget, limbs)
            }
            crate::Operation::Rescale { source, .. } => variances[*source],
        };
        let variance = carried + of_operation(operation, choice.ring_degree);
        variances.push(variance);
        step.rms_noise = Some(variance.sqrt());
    }
}

/// Of a term's integer weights.
fn sum_of_squares(term: &Term) -> f64 {
    match term {
        Term::Product { map, .. } => {
            let weights = map.tiles().iter().flat_map(|tile| &tile.weights);
            weights.map(|&w| square(f64::from(w))).sum()
        }
        Term::Scaled { factors, .. } => factors.iter().map(|&f| square(f as f64)).sum(),
    }
}

/// Adds what relinearization with `gadget` adds.
pub(crate) fn add_gadget(
    nodes: &mut [NodeNoise],
    choice: &Choice,
    sketch: &Sketch,
    gadget: GadgetChoice,
    limbs: &Limbs,
) {
    for operation in sketch
        .operations
        .iter()
        .filter(|op| op.kind == Kind::Relinearize)
    {
        nodes[operation.node].keyed += of_relinearization(operation, choice, gadget, limbs);
    }
}

/// Variance that a relinearization adds, in units of the real value.
fn of_relinearization(
    operation: &Operation,
    choice: &Choice,
    gadget: GadgetChoice,
    limbs: &Limbs,
) -> f64 {
    let n = choice.ring_degree;
    let bits = &limbs.bits[..limbs.left[operation.dropped]];
    let mut variance = switching_variance(n, gadget, bits);
    if gadget.gadget == Gadget::SpecialPrime {
        variance += square(noise::rescale_two(n));
    }
    variance / square(operation.scale)
}

/// Variance in a slot of what switching a key adds to a polynomial of limbs of these bits, rounding after a special prime
/// not counted.
pub(crate) fn switching_variance(ring_degree: usize, gadget: GadgetChoice, bits: &[u32]) -> f64 {
    let digits = |bits: u32| match gadget.gadget {
        Gadget::SpecialPrime => noise::relinearize_small(
            ring_degree,
            1,
            f64::from(bits) - f64::from(gadget.special_bits),
        ),
        Gadget::SmallDigits { digit_bits } => {
            let digits = digits_of(bits, digit_bits);
            noise::relinearize_small(
                ring_degree,
                digits as usize,
                f64::from(bits) / f64::from(digits),
            )
        }
    };
    bits.iter().map(|&bits| square(digits(bits))).sum()
}

/// Balanced digits of `digit_bits` bits that a residue modulo a prime of `bits` bits has.
pub(crate) fn digits_of(bits: u32, digit_bits: u32) -> u32 {
    bits.div_ceil(digit_bits)
}

fn square(x: f64) -> f64 {
    x * x
}
