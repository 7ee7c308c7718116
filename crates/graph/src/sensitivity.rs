//! How much an error at a node of the folded network moves the logits.
//!
//! For every node, image and logit: G = Σ_f (∂logit/∂value_f)². Independent errors of variance v in every element of
//! the node give the logit an error of variance v·G. The derivatives are exact for each image (reverse mode over linear
//! maps and squares), so correlations between elements are in them.

use rayon::prelude::*;

use crate::blocks::{run_block, transpose_out};
use crate::{Folded, FoldedOp, Term};

/// A distribution as (weight, value), values ascending, weights adding up to 1; every value is the upper end of its
/// share, the last one the maximum.
pub type Distribution = Vec<(f64, f64)>;

/// Shares that a distribution is cut at: tenths, then hundredths of the last tenth, then thousandths of that.
fn shares() -> impl Iterator<Item = f64> {
    let tenths = (1..=9).map(|i| f64::from(i) / 10.0);
    let hundredths = (1..=9).map(|i| 0.9 + f64::from(i) / 100.0);
    let thousandths = (1..=10).map(|i| 0.99 + f64::from(i) / 1000.0);
    tenths.chain(hundredths).chain(thousandths)
}

/// The distribution of G over images and logits, for every node.
///
/// # Shapes
/// Images × input elements in.
///
/// # Cost
/// As many multiply-accumulates as `logits` + 1 evaluations of every image.
pub fn sensitivities(folded: &Folded, images: &[f32]) -> Vec<Distribution> {
    let elements = folded.nodes[0].elements;
    let per_image: Vec<Vec<Vec<f64>>> = images
        .par_chunks_exact(elements)
        .map(|image| of_image(folded, image))
        .collect();
    (0..folded.nodes.len())
        .map(|node| {
            let mut gains: Vec<f64> = per_image
                .iter()
                .flat_map(|image| image[node].iter().copied())
                .collect();
            gains.sort_by(f64::total_cmp);
            distribution(&gains)
        })
        .collect()
}

fn distribution(sorted: &[f64]) -> Distribution {
    let Some(last) = sorted.len().checked_sub(1) else {
        return Vec::new();
    };
    let mut below = 0.0;
    shares()
        .map(|share| {
            let weight = share - below;
            below = share;
            let index = ((share * sorted.len() as f64).ceil() as usize).saturating_sub(1);
            (weight, sorted[index.min(last)])
        })
        .collect()
}

/// G of every node and logit for one image.
fn of_image(folded: &Folded, image: &[f32]) -> Vec<Vec<f64>> {
    let mut values = Vec::with_capacity(folded.nodes.len());
    run_block(folded, image, &mut |_, value| {
        values.push(transpose_out(value, 1))
    });
    let logits = folded.nodes.last().map_or(0, |node| node.elements);
    // Derivatives of all logits by every element: elements × logits.
    let mut slopes: Vec<Vec<f64>> = folded
        .nodes
        .iter()
        .map(|node| vec![0.0; node.elements * logits])
        .collect();
    if let Some(last) = slopes.last_mut() {
        for logit in 0..logits {
            last[logit * logits + logit] = 1.0;
        }
    }
    let mut gains = vec![vec![0.0; logits]; folded.nodes.len()];
    for index in (0..folded.nodes.len()).rev() {
        let slope = std::mem::take(&mut slopes[index]);
        for of_element in slope.chunks_exact(logits.max(1)) {
            for (gain, slope) in gains[index].iter_mut().zip(of_element) {
                *gain += slope * slope;
            }
        }
        match &folded.nodes[index].op {
            FoldedOp::Input => {}
            FoldedOp::Square { source, shift } => {
                let target = &mut slopes[*source];
                for (element, (x, r)) in values[*source].iter().zip(shift).enumerate() {
                    add_multiple(target, element, &slope, element, 2.0 * x + r, logits);
                }
            }
            FoldedOp::Linear(linear) => {
                for term in &linear.terms {
                    pull_back(term, &slope, &mut slopes[term.source()], logits);
                }
            }
        }
    }
    gains
}

/// Adds the transpose of a term, applied to the slopes of its outputs.
fn pull_back(term: &Term, slope: &[f64], target: &mut [f64], logits: usize) {
    match term {
        Term::Diagonal { factors, .. } => {
            for (element, &factor) in factors.iter().enumerate() {
                add_multiple(target, element, slope, element, factor, logits);
            }
        }
        Term::Tiles { tiles, .. } => {
            for tile in tiles {
                for (output, weights) in tile.rows() {
                    for (&input, &weight) in tile.inputs.iter().zip(weights) {
                        add_multiple(target, input as usize, slope, output, weight, logits);
                    }
                }
            }
        }
    }
}

fn add_multiple(
    target: &mut [f64],
    to: usize,
    slope: &[f64],
    from: usize,
    factor: f64,
    logits: usize,
) {
    let target = &mut target[to * logits..][..logits];
    for (t, s) in target.iter_mut().zip(&slope[from * logits..][..logits]) {
        *t += factor * s;
    }
}
