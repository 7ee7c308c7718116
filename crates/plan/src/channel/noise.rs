//! What rotations and plaintexts add to the noise of a sketched plan.

use sordino_ckks::noise;

use super::geometry::Geometry;
use crate::modulus::{GadgetChoice, SizedSketch};
use crate::network::NodeKind;
use crate::noise::{of_sketch, switching_variance};
use crate::precision::NodeNoise;
use crate::sketch::SketchKind;

/// Error variances at every folded node, in units of its real value.
///
/// The sketch must be drawn with the plaintexts' factor in the weight scales.
pub(crate) fn of_channel_wise(
    sized: &SizedSketch<'_>,
    gadget: GadgetChoice,
    geometry: &Geometry,
) -> Vec<NodeNoise> {
    let (network, sketch, n) = (sized.network, sized.sketch, sized.ring_degree());
    let mut nodes = of_sketch(sized);
    // A plaintext of coefficients rounded to integers: so much in a slot.
    let rounding = (2.0 * n as f64 / 12.0).sqrt();
    for operation in sketch
        .operations
        .iter()
        .filter(|op| op.kind == SketchKind::Linear)
    {
        let Some(counts) = geometry.counts[operation.node] else {
            continue;
        };
        let variance = switching_variance(n, gadget, sized.bits(operation));
        let NodeKind::Linear { sources, .. } = &network.nodes[operation.node].kind else {
            unreachable!("a linear operation belongs to a linear node")
        };
        let terms = sources.iter().zip(&operation.sources);
        for ((&source, &value), &energy) in terms.zip(&geometry.energies[operation.node]) {
            // A hoisted rotation adds to what it rotates; the division by P comes after the sum.
            if counts.hoisted > 0 {
                nodes[source].keyed += variance / sketch.operations[value].scale.powi(2);
            }
            let scale = operation.scale / sketch.operations[value].scale;
            // No element has a larger error, so the sum over elements in a logit's sensitivity stays a bound.
            nodes[operation.node].gaussian += (rounding / scale).powi(2) * energy;
        }
        // Sums are divided by P once each, rotated again and folded.
        let switched = (counts.sums + counts.outer) as f64 * counts.shares as f64;
        nodes[operation.node].keyed +=
            switched * (variance + noise::rescale_two(n).powi(2)) / operation.scale.powi(2);
    }
    nodes
}
