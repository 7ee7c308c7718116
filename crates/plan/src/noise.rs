//! Noise of a sketched plan, by folded node, and the gadget's share of it.

use sordino_ckks::{Gadget, noise};

use crate::modulus::{GadgetChoice, SizedSketch, digits_of};
use crate::precision::NodeNoise;
use crate::sketch::{SketchKind, SketchOperation};
use crate::{Step, Term};

/// Error variances at every folded node, in units of its real value; without relinearization if there is no gadget.
pub(crate) fn of_sketch(sized: &SizedSketch<'_>) -> Vec<NodeNoise> {
    let operations = &sized.sketch.operations;
    let mut nodes = vec![NodeNoise::default(); sized.network.nodes.len()];
    for operation in operations {
        let node = &mut nodes[operation.node];
        let variance = of_operation(operation, sized.ring_degree());
        match operation.kind {
            SketchKind::Input => node.gaussian += variance,
            _ => node.keyed += variance,
        }
    }
    let relinearizes = |op: &&SketchOperation| op.kind == SketchKind::Relinearize;
    if let Some(gadget) = sized.gadget {
        for operation in operations.iter().filter(relinearizes) {
            nodes[operation.node].keyed += of_relinearization(operation, gadget, sized);
        }
    }
    nodes
}

/// Variance that an operation other than relinearization adds, in units of the real value.
fn of_operation(operation: &SketchOperation, ring_degree: usize) -> f64 {
    let added = match operation.kind {
        SketchKind::Input => noise::fresh(ring_degree),
        SketchKind::Rescale if operation.components == 3 => noise::rescale_three(ring_degree),
        SketchKind::Rescale => noise::rescale_two(ring_degree),
        SketchKind::Linear | SketchKind::Square | SketchKind::Relinearize => 0.0,
    };
    square(added / operation.scale)
}

/// Sets the expected noise of every step's values, rms over elements and images.
///
/// Errors are taken to be independent, and squared values to be centred, as batch normalization leaves it: E[(2x + r)²] is then
/// 4 E[x²] + r².
pub(crate) fn set_rms_noise(steps: &mut [Step], sized: &SizedSketch<'_>) {
    let (network, operations) = (sized.network, &sized.sketch.operations);
    let mut variances: Vec<f64> = Vec::with_capacity(steps.len());
    for (step, operation) in steps.iter_mut().zip(operations) {
        let carried = match &step.operation {
            crate::Operation::Input => 0.0,
            crate::Operation::Linear { terms, .. } => {
                let carried = |term: &Term| {
                    // What one unit of a real weight is as an integer.
                    let scale = operation.scale / operations[term.source()].scale;
                    variances[term.source()] * sum_of_squares(term) / square(scale)
                };
                terms.iter().map(carried).sum::<f64>() / step.elements as f64
            }
            crate::Operation::Square { source, shift } => {
                // The scale of what is squared is the root of that of the square.
                let shifts = shift.iter().map(|&r| square(r as f64)).sum::<f64>();
                let shift = shifts / (shift.len() as f64 * step.scale);
                let value = network.nodes[operations[*source].node].mean_square;
                variances[*source] * (4.0 * value + shift)
            }
            crate::Operation::Relinearize { source } => {
                let gadget = sized.gadget.expect("a plan that relinearizes has a gadget");
                variances[*source] + of_relinearization(operation, gadget, sized)
            }
            crate::Operation::Rescale { source, .. } => variances[*source],
        };
        let variance = carried + of_operation(operation, sized.ring_degree());
        variances.push(variance);
        step.rms_noise = Some(variance.sqrt());
    }
}

/// Sum of the squares of a term's integer weights.
fn sum_of_squares(term: &Term) -> f64 {
    match term {
        Term::Product { map, .. } => {
            let weights = map.tiles().iter().flat_map(|tile| &tile.weights);
            weights.map(|&w| square(f64::from(w))).sum()
        }
        Term::Scaled { factors, .. } => factors.iter().map(|&f| square(f as f64)).sum(),
    }
}

/// Variance that a relinearization adds, in units of the real value.
fn of_relinearization(
    operation: &SketchOperation,
    gadget: GadgetChoice,
    sized: &SizedSketch<'_>,
) -> f64 {
    let n = sized.ring_degree();
    let mut variance = switching_variance(n, gadget, sized.bits(operation));
    if gadget.special_primes > 0 {
        variance += square(noise::rescale_two(n));
    }
    variance / square(operation.scale)
}

/// Variance in a slot of what switching a key adds to a polynomial of limbs of these bits, rounding after special primes
/// not counted.
pub(crate) fn switching_variance(ring_degree: usize, gadget: GadgetChoice, bits: &[u32]) -> f64 {
    let digits = |bits: &[u32]| {
        let bits: u32 = bits.iter().sum();
        let (count, of_digit) = match gadget.gadget {
            Gadget::SpecialPrime | Gadget::WideDigits { .. } => {
                (1, f64::from(bits) - f64::from(gadget.special_bits))
            }
            Gadget::SmallDigits { digit_bits } => {
                let digits = digits_of(bits, digit_bits);
                (digits as usize, f64::from(bits) / f64::from(digits))
            }
        };
        noise::relinearize_small(ring_degree, count, of_digit)
    };
    let groups = bits.chunks(gadget.digit_limbs().max(1) as usize);
    groups.map(|group| square(digits(group))).sum()
}

fn square(x: f64) -> f64 {
    x * x
}
