//! Noise of a sketched plan, by folded node, and the gadget's share of it.

use sordino_ckks::{Gadget, noise};

use crate::estimate::{GadgetChoice, Limbs};
use crate::network::Network;
use crate::precision::NodeNoise;
use crate::schedule::{Choice, Kind, Sketch};

/// Error variances at every folded node, in units of its real value, without relinearization.
pub(crate) fn without_gadget(
    network: &Network,
    choice: &Choice,
    sketch: &Sketch,
) -> Vec<NodeNoise> {
    let n = choice.ring_degree;
    let mut nodes = vec![NodeNoise::default(); network.nodes.len()];
    for operation in &sketch.operations {
        let node = &mut nodes[operation.node];
        match operation.kind {
            Kind::Input => node.gaussian += square(noise::fresh(n) / operation.scale),
            Kind::Rescale if operation.components == 3 => {
                node.keyed += square(noise::rescale_three(n) / operation.scale)
            }
            Kind::Rescale => node.keyed += square(noise::rescale_two(n) / operation.scale),
            Kind::Linear | Kind::Square | Kind::Relinearize => {}
        }
    }
    nodes
}

/// Adds what relinearization with `gadget` adds.
pub(crate) fn add_gadget(
    nodes: &mut [NodeNoise],
    choice: &Choice,
    sketch: &Sketch,
    gadget: GadgetChoice,
    limbs: &Limbs,
) {
    let n = choice.ring_degree;
    for operation in sketch
        .operations
        .iter()
        .filter(|op| op.kind == Kind::Relinearize)
    {
        let bits = &limbs.bits[..limbs.left[operation.dropped]];
        let mut variance = switching_variance(n, gadget, bits);
        if gadget.gadget == Gadget::SpecialPrime {
            variance += square(noise::rescale_two(n));
        }
        nodes[operation.node].keyed += variance / square(operation.scale);
    }
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
