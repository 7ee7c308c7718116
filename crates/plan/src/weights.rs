//! How many bits the weights of each layer get.
//!
//! Rounding a weight to 1/S adds to every output an error of variance E[x²]/(12·S²) for each input. With the network's
//! sensitivities this gives the rms difference between the integer network's logits and the float network's, which
//! decides whether 8 bits (one pass of the kernel) are enough.

use sordino_graph::WeightFormat;

use crate::network::{Network, NodeKind};

/// Weights of this many bits or fewer take one pass of the kernel.
pub(crate) const NARROW_BITS: u8 = 8;
/// Most bits of a weight.
pub(crate) const WIDE_BITS: u8 = 16;
/// Tolerated rms logit error of weight rounding, relative to the largest calibrated logit.
const RELATIVE_ERROR: f64 = 1.0 / 150.0;

/// Largest integer weight at `bits` bits.
pub(crate) fn largest(bits: u8) -> f64 {
    f64::from(((1i32 << (bits - 1)) - 1).min(32_639))
}

/// Sets weight scales for the given bits a weighted node, in node order.
pub(crate) fn apply(network: &mut Network, bits: &[u8]) {
    let weighted: Vec<usize> = network.weighted().collect();
    for (&node, &bits) in weighted.iter().zip(bits) {
        let info = &mut network.nodes[node];
        info.weight_scale = if info.max_weight > 0.0 {
            largest(bits) / info.max_weight
        } else {
            1.0
        };
        info.wide = bits > NARROW_BITS;
    }
}

/// How the quantizing pass is to round every linear node.
pub(crate) fn formats(network: &Network) -> Vec<WeightFormat> {
    let linear = network.nodes.iter().filter_map(|info| match info.kind {
        NodeKind::Linear { exact, .. } => Some((info, exact)),
        NodeKind::Input | NodeKind::Square { .. } => None,
    });
    linear
        .map(|(info, exact)| WeightFormat {
            bits: if info.wide { 16 } else { 8 },
            scale: (!exact).then_some(info.weight_scale),
        })
        .collect()
}

/// Variance of a logit that weight rounding of each weighted node causes, at its present weight scale.
fn variances(network: &Network) -> Vec<f64> {
    network
        .weighted()
        .map(|node| {
            let info = &network.nodes[node];
            let gain: f64 = info.gains.iter().map(|(weight, gain)| weight * gain).sum();
            info.input_energy / (12.0 * info.weight_scale * info.weight_scale) * gain
        })
        .collect()
}

/// rms difference of a logit between the integer and the float network, as predicted.
pub(crate) fn rounding_error(network: &Network) -> f64 {
    variances(network).iter().sum::<f64>().sqrt()
}

/// Gives every node the fewest bits that keep [`rounding_error`] small, or `fixed` ones.
pub(crate) fn choose(network: &mut Network, fixed: Option<u8>) {
    let count = network.weighted().count();
    let mut bits = vec![fixed.unwrap_or(NARROW_BITS); count];
    apply(network, &bits);
    if fixed.is_some() {
        return;
    }
    let logits = network.nodes.last().map_or(1.0, |node| node.max_abs);
    while rounding_error(network) > RELATIVE_ERROR * logits {
        let variances = variances(network);
        // A wide layer costs the second pass whatever its bits: widen the worst one, by two bits at a time.
        let worst = (0..count)
            .filter(|&i| bits[i] < WIDE_BITS)
            .max_by(|&a, &b| variances[a].total_cmp(&variances[b]));
        let Some(worst) = worst else { break };
        bits[worst] = (bits[worst] + 2).min(WIDE_BITS);
        apply(network, &bits);
    }
}
