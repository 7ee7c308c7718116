//! Searching for the cheapest plan: the part that both packings share.

pub(crate) mod channel_wise;
mod closest;
pub(crate) mod element_wise;
mod runners_up;

use crate::network::Network;
use crate::precision::{Gains, NodeNoise, QuickLook, meets, rms_logit_error, worst_logit_error};
use crate::sketch::Sketch;
use crate::{CompileOptions, weights};

/// Worst error relative to the usual size of a logit, unless asked otherwise: see docs/decisions/planner.md for how
/// many predictions it moves.
const DEFAULT_RELATIVE_ERROR: f64 = 1.0 / 300.0;
/// The full prediction of the worst error is slow: after a candidate has missed the precision, only errors below this share
/// of its rms error are looked at.
const CLEARLY_LESS: f64 = 0.98;

/// The precision that a plan is asked for, and how noise is compared with it.
pub(crate) struct Demand<'a> {
    /// −log2 of the largest tolerated error of a logit.
    bits: f64,
    /// The largest tolerated error of a logit.
    target: f64,
    /// By folded node.
    gains: Vec<Gains<'a>>,
    /// Logits of a batch.
    samples: f64,
    quick_look: QuickLook,
}

impl<'a> Demand<'a> {
    pub(crate) fn new(network: &'a Network, options: &CompileOptions) -> Self {
        let usual = -(DEFAULT_RELATIVE_ERROR * network.usual_logit).log2();
        let bits = options.precision_bits.unwrap_or(usual);
        let logits = network.nodes.last().map_or(1, |n| n.elements);
        let samples = (options.batch * logits) as f64;
        Self {
            bits,
            target: (-bits).exp2(),
            gains: network.nodes.iter().map(|n| &n.gains[..]).collect(),
            samples,
            quick_look: QuickLook::new(samples, (-bits).exp2()),
        }
    }

    /// False only where [`meets`](Self::meets) is false, with the rms error.
    fn may_meet(&self, noise: &[NodeNoise]) -> (bool, f64) {
        self.quick_look.may_meet(noise, &self.gains)
    }

    /// Whether the worst error is within the precision.
    fn meets(&self, noise: &[NodeNoise]) -> bool {
        meets(noise, &self.gains, self.samples, self.target)
    }

    /// −log2 of the predicted worst error of a logit of the batch.
    pub(crate) fn precision_bits(&self, noise: &[NodeNoise]) -> f64 {
        -worst_logit_error(noise, &self.gains, self.samples).log2()
    }

    /// rms error of a logit.
    pub(crate) fn rms(&self, noise: &[NodeNoise]) -> f64 {
        rms_logit_error(noise, &self.gains)
    }
}

/// The network with the scales of integer weights that are worth trying, the finest ones last.
fn weight_networks(network: &Network, options: &CompileOptions) -> Vec<Network> {
    weights::options(network, options.weight_bits, modulus_bits)
}

/// Bits of modulus that one bit of each weighted node's scale costs.
fn modulus_bits(network: &Network) -> Vec<f64> {
    // Many bits at once, so that neither rounding nor the value that needs the most modulus decides.
    const STEP_BITS: f64 = 32.0;
    let choice = element_wise::plainest(network, 1 << 15);
    let before = Sketch::draw(network, &choice, None).log2_q();
    network
        .weighted()
        .map(|node| {
            let mut scaled = network.clone();
            scaled.nodes[node].weight_scale *= STEP_BITS.exp2();
            let after = Sketch::draw(&scaled, &choice, None).log2_q();
            ((after - before) / STEP_BITS).max(1.0)
        })
        .collect()
}
