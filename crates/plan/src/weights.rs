//! The scale of each layer's integer weights.
//!
//! Rounding a weight to 1/S adds to every output an error of variance E[x²]/(12·S²) for each input. With the network's
//! sensitivities this gives the rms difference between the integer network's logits and the float network's. It may
//! take a budget; within it, every bit less of a scale saves bits of modulus, hence bytes of every ciphertext.

use sordino_graph::WeightFormat;

use crate::network::{Network, NodeInfo, NodeKind};

/// Weights of this many bits or fewer take one pass of the kernel.
pub(crate) const NARROW_BITS: u8 = 8;
/// Most bits of a weight.
pub(crate) const WIDE_BITS: u8 = 16;
/// Tolerated rms logit error of weight rounding, relative to the usual size of a logit, for models that do not say
/// their own: see docs/decisions/planner.md for how many predictions it moves.
pub const DEFAULT_WEIGHT_ERROR: f64 = 1.0 / 100.0;
/// Shares of the tolerated error that the search tries.
const SHARES: [f64; 7] = [1.0, 0.8, 0.65, 0.5, 0.35, 0.25, 0.18];

/// Largest integer weight at `bits` bits.
pub(crate) fn largest(bits: u8) -> f64 {
    f64::from(((1i32 << (bits - 1)) - 1).min(32_639))
}

/// Sets the largest weight scales that the given bits a weighted node have room for, in node order.
fn apply(network: &mut Network, bits: &[u8]) {
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
    let format = |info: &NodeInfo| match info.kind {
        NodeKind::Linear { exact, .. } => Some(WeightFormat {
            bits: if info.wide { 16 } else { 8 },
            scale: (!exact).then_some(info.weight_scale),
        }),
        NodeKind::Input | NodeKind::Square { .. } => None,
    };
    network.nodes.iter().filter_map(format).collect()
}

/// Variance of a logit that weight rounding of each weighted node causes, at its present weight scale.
fn variances(network: &Network) -> Vec<f64> {
    let variance = |node: usize| {
        let info = &network.nodes[node];
        let gain: f64 = info.gains.iter().map(|(weight, gain)| weight * gain).sum();
        info.input_energy / (12.0 * info.weight_scale * info.weight_scale) * gain
    };
    network.weighted().map(variance).collect()
}

/// rms difference of a logit between the integer and the float network, as predicted.
pub(crate) fn rounding_error(network: &Network) -> f64 {
    variances(network).iter().sum::<f64>().sqrt()
}

/// The networks with the weight scales that the search tries, coarse ones first; `modulus_bits` says how many bits of
/// modulus a bit of each weighted node's scale costs.
///
/// With `fixed` bits there is only one: all of them.
pub(crate) fn options(
    network: &Network,
    fixed: Option<u8>,
    modulus_bits: impl Fn(&Network) -> Vec<f64>,
) -> Vec<Network> {
    let count = network.weighted().count();
    let mut finest = network.clone();
    let mut bits = vec![fixed.unwrap_or(NARROW_BITS); count];
    apply(&mut finest, &bits);
    if fixed.is_some() {
        return vec![finest];
    }
    let tolerated = network.weight_error * network.usual_logit;
    while rounding_error(&finest) > tolerated {
        let variances = variances(&finest);
        // A wide layer costs the second pass whatever its bits: widen the worst one, by two bits at a time.
        let worst = (0..count)
            .filter(|&i| bits[i] < WIDE_BITS)
            .max_by(|&a, &b| variances[a].total_cmp(&variances[b]));
        let Some(worst) = worst else { break };
        bits[worst] = (bits[worst] + 2).min(WIDE_BITS);
        apply(&mut finest, &bits);
    }
    let costs = modulus_bits(&finest);
    let variances = variances(&finest);
    let budgets = SHARES.iter().map(|share| (share * tolerated).powi(2));
    let budgets = budgets.take_while(|budget| variances.iter().sum::<f64>() < *budget);
    let coarser = budgets.map(|budget| {
        let mut coarse = finest.clone();
        let factors = coarsen(&variances, &costs, budget);
        for (node, factor) in network.weighted().zip(factors) {
            coarse.nodes[node].weight_scale /= factor;
        }
        coarse
    });
    let mut options: Vec<Network> = coarser.collect();
    options.push(finest);
    options
}

/// By which factors, 1 or more, to divide the scales of layers with these error variances, so that the variances sum to
/// `budget` and the most bits are saved, weighted by `costs`.
///
/// Without the bound of 1 the optimum has variances in proportion to the costs; where that asks for a factor below 1
/// the layer keeps its scale and the other layers share the rest.
fn coarsen(variances: &[f64], costs: &[f64], budget: f64) -> Vec<f64> {
    let mut fixed: Vec<bool> = variances.iter().map(|&v| v <= 0.0).collect();
    loop {
        let of = |values: &[f64], kept: bool| -> f64 {
            let chosen = values.iter().zip(&fixed).filter(|(_, f)| **f == kept);
            chosen.map(|(v, _)| v).sum()
        };
        let left = budget - of(variances, true);
        let unit = left / of(costs, false);
        let short = (0..variances.len()).find(|&i| !fixed[i] && unit * costs[i] < variances[i]);
        match short {
            Some(layer) => fixed[layer] = true,
            None => {
                let factor = |i: usize| match fixed[i] {
                    true => 1.0,
                    false => (unit * costs[i] / variances[i]).sqrt(),
                };
                return (0..variances.len()).map(factor).collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::coarsen;

    #[test]
    fn scales_shrink_until_the_budget_is_spent() {
        let (variances, costs) = ([1.0, 1.0, 4.0], [2.0, 1.0, 1.0]);
        for budget in [6.5, 8.0, 50.0] {
            let factors = coarsen(&variances, &costs, budget);
            let spent: f64 = variances.iter().zip(&factors).map(|(v, f)| v * f * f).sum();
            assert!(
                (spent / budget - 1.0).abs() < 1e-12,
                "{budget}: {factors:?}"
            );
            assert!(factors.iter().all(|&f| f >= 1.0));
        }
        // Free of the bound, errors are in proportion to what a bit costs.
        assert_eq!(coarsen(&variances, &costs, 64.0), [32f64.sqrt(), 4.0, 2.0]);
        // The third layer is over its share already.
        let factors = coarsen(&variances, &costs, 7.0);
        assert_eq!(factors[2], 1.0);
        assert!((factors[0] / factors[1] - 2f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn no_other_allocation_saves_more() {
        let (variances, costs, budget) = ([0.5, 2.0, 1.0], [2.0, 1.0, 1.5], 9.0);
        let best = coarsen(&variances, &costs, budget);
        let saved = |factors: &[f64]| -> f64 {
            factors.iter().zip(&costs).map(|(f, c)| c * f.log2()).sum()
        };
        for i in 0..20 {
            for j in 0..20 - i {
                // Any split of the budget above what the layers need at least.
                let spare = budget - 3.5;
                let shares = [i, j, 20 - i - j].map(|part| spare * f64::from(part) / 20.0);
                let factors: Vec<f64> = (0..3)
                    .map(|k| ((variances[k] + shares[k]) / variances[k]).sqrt())
                    .collect();
                assert!(saved(&factors) <= saved(&best) + 1e-9, "{factors:?}");
            }
        }
    }
}
