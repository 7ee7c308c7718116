//! The time of an evaluation's steps, and its share of the machine's int8 peak.

use sordino::plan::{ServerPlan, Step};
use sordino::ring::linear::LinearMap;

use crate::record::{Layer, Record, Timing};

/// Which products a step has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Products {
    /// Every output reads the same inputs.
    Dense,
    /// Any other step with products: a convolution, a pooling, a sum of several layers.
    Sparse,
    None,
}

impl Products {
    fn of(step: &Step) -> Self {
        let mut tiles = step.maps().flat_map(LinearMap::tiles);
        // Terms of several sources do not read the same inputs, even where the indices agree.
        match (tiles.next(), step.maps().count()) {
            (None, _) => Self::None,
            (Some(first), 1) if tiles.all(|tile| tile.inputs == first.inputs) => Self::Dense,
            _ => Self::Sparse,
        }
    }
}

/// Products of two bytes that a step takes for one block.
fn byte_products(plan: &ServerPlan, step: &Step) -> f64 {
    let parameters = plan.parameters();
    let width = |prime: &u64| u64::from((u64::BITS - prime.leading_zeros()).div_ceil(8));
    let residue_bytes: u64 = parameters.primes()[..step.limbs].iter().map(width).sum();
    let weight_bytes: u64 = step
        .maps()
        .map(|map| map.multiply_accumulates() * map.weight_width().bytes() as u64)
        .sum();
    (weight_bytes * residue_bytes * step.components as u64) as f64 * parameters.ring_degree() as f64
}

/// The seconds of every step of a plan, summed over the blocks; `None` where the trace has no such step.
fn step_seconds(steps: usize, executed: impl Iterator<Item = (usize, f64)>) -> Vec<Option<f64>> {
    let mut seconds = vec![None; steps];
    for (step, taken) in executed {
        if let Some(sum) = seconds.get_mut(step) {
            *sum = Some(sum.unwrap_or(0.0) + taken);
        }
    }
    seconds
}

/// Fills in `layers` and the rates, from the steps and their seconds in all runs. Set `blocks`, the peak and the seconds first.
///
/// Steps that a run does not have take no part in the rates of the layers: neither their products nor their time,
/// which another step then includes.
pub(super) fn set_rates(record: &mut Record, plan: &ServerPlan, executed: &[Vec<(usize, f64)>]) {
    let steps = plan.steps();
    // Channel-wise steps multiply by encoded diagonals, not by bytes.
    let of_bytes = plan.channel().is_none();
    let peak = record
        .int8_peak_gmacs
        .filter(|&peak| of_bytes && peak > 0.0);
    let runs: Vec<Vec<Option<f64>>> = executed
        .iter()
        .map(|run| step_seconds(steps.len(), run.iter().copied()))
        .collect();
    let giga_products: Vec<f64> = steps
        .iter()
        .map(|step| match of_bytes {
            true => byte_products(plan, step) * record.blocks as f64 * 1e-9,
            false => 0.0,
        })
        .collect();
    let share = |gmacs: Option<f64>| gmacs.zip(peak).map(|(gmacs, peak)| gmacs / peak);
    let kinds: Vec<Products> = steps.iter().map(Products::of).collect();

    record.layers = steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let samples: Vec<f64> = runs.iter().filter_map(|run| run[index]).collect();
            let seconds = Timing::of(&samples).median;
            let gmacs = seconds
                .filter(|&seconds| seconds > 0.0 && giga_products[index] > 0.0)
                .map(|seconds| giga_products[index] / seconds);
            Layer {
                name: step.name.clone(),
                operation: match kinds[index] {
                    Products::Dense => "dense",
                    Products::Sparse => "convolution",
                    Products::None => step.operation.kind(),
                }
                .to_owned(),
                seconds,
                int8_gmacs: gmacs,
                share_of_peak: share(gmacs),
                predicted_bits: step.predicted_bits(),
                measured_bits: None,
            }
        })
        .collect();

    let rate = |kind: Products| -> Option<f64> {
        let rates: Vec<f64> = runs
            .iter()
            .filter_map(|run| {
                let (products, seconds) = (0..steps.len())
                    .filter(|&index| kinds[index] == kind)
                    .filter_map(|index| Some((giga_products[index], run[index]?)))
                    .fold((0.0, 0.0), |sum, (p, s)| (sum.0 + p, sum.1 + s));
                (seconds > 0.0).then(|| products / seconds)
            })
            .collect();
        Timing::of(&rates).median.filter(|_| of_bytes)
    };
    record.int8_gmacs = rate(Products::Dense);
    record.linear_share_of_peak = share(record.int8_gmacs);
    record.convolution_share_of_peak = share(rate(Products::Sparse));
    let whole = record.evaluate.median.filter(|&seconds| seconds > 0.0);
    let products: f64 = giga_products.iter().sum();
    record.evaluation_share_of_peak = share(whole.map(|seconds| products / seconds));
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordino::plan::{Operation, Term};
    use sordino::ring::linear::{Tile, WeightWidth};

    fn linear(tiles: &[(&[u32], &[u32])], maps: usize) -> Step {
        let tiles = tiles
            .iter()
            .map(|(outputs, inputs)| Tile {
                outputs: outputs.to_vec(),
                inputs: inputs.to_vec(),
                weights: vec![1; outputs.len() * inputs.len()],
            })
            .collect();
        let map = LinearMap::new(4, 4, WeightWidth::Eight, tiles).unwrap();
        let term = Term::Product {
            source: 0,
            map,
            weight_scale: 1.0,
        };
        Step {
            name: "x".into(),
            operation: Operation::Linear {
                terms: vec![term; maps],
                bias: vec![0; 4],
            },
            elements: 4,
            components: 2,
            limbs: 1,
            scale: 1.0,
            rms_noise: None,
            seconds: None,
        }
    }

    #[test]
    fn a_layer_is_dense_where_every_output_reads_the_same() {
        let one: (&[u32], &[u32]) = (&[0, 1], &[0, 1, 2]);
        assert_eq!(Products::of(&linear(&[one], 1)), Products::Dense);
        let same = [one, (&[2], &[0, 1, 2])];
        assert_eq!(Products::of(&linear(&same, 1)), Products::Dense);
        let other = [one, (&[2], &[1, 2, 3])];
        assert_eq!(Products::of(&linear(&other, 1)), Products::Sparse);
        assert_eq!(Products::of(&linear(&[one], 2)), Products::Sparse);
        assert_eq!(Products::of(&linear(&[], 1)), Products::None);
    }

    #[test]
    fn traces_may_lack_steps_and_name_others() {
        let executed = [(1, 1.0), (1, 2.0), (9, 4.0)].into_iter();
        assert_eq!(step_seconds(3, executed), [None, Some(3.0), None]);
    }
}
