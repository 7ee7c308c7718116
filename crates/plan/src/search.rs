//! Searching for the cheapest plan: the part that both packings share.

pub(crate) mod channel_wise;
mod closest;
pub(crate) mod element_wise;
mod runners_up;

use crate::network::Network;
use crate::sketch::Sketch;
use crate::{CompileOptions, weights};

/// The full prediction of the worst error is slow: after a candidate has missed the precision, only errors below this share
/// of its rms error are looked at.
const CLEARLY_LESS: f64 = 0.98;

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
