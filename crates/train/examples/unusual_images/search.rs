//! Gradient ascent on the logits of usual images: what the guard lets pass at worst.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};
use sordino_graph::{Folded, FoldedOp, InputGuard, InputStatistic, Term, execute_folded_observed};
use std::time::{Duration, Instant};

/// Images that climb together: the executor computes as many at once.
const TOGETHER: usize = 8;

/// A search gives up a start when its steps have become this short, as a share of the coefficients' length.
const SHORTEST_STEP: f64 = 1e-3;

/// Bits that a step must gain; a shorter one is tried otherwise.
const LEAST_GAIN: f64 = 0.01;

/// The worst images that are kept, in all.
const KEPT: usize = 16;

/// The network, what its logits usually are, and the guard to stay within.
pub(crate) struct Search<'a> {
    pub(crate) folded: &'a Folded,
    pub(crate) statistic: &'a InputStatistic,
    pub(crate) guard: &'a InputGuard<'a>,
    pub(crate) largest_logit: f64,
}

/// An image on its way up.
struct Climber {
    image: Vec<f32>,
    values: Vec<Vec<f64>>,
    bits: f64,
    step: f64,
}

impl Search<'_> {
    /// Searches for this long from images that `start` gives. Reports the growth of the logits in bits, and the worst images, worst
    /// first.
    pub(crate) fn run(
        &self,
        limit: Duration,
        start: &dyn Fn(u64) -> Vec<f32>,
    ) -> (Value, Vec<Vec<f32>>) {
        let begin = Instant::now();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let (mut ends, mut worst) = (Vec::new(), Vec::new());
        let mut keep = |bits: f64, image: Vec<f32>| {
            ends.push(bits);
            worst.push((bits, image));
            worst.sort_by(|(a, _), (b, _)| b.total_cmp(a));
            worst.truncate(KEPT);
        };
        let mut evaluations = 0;
        let mut begin_at = || self.guard.nearest_usual(&start(rng.next_u64()));
        let mut climbers = self.climbers((0..TOGETHER).map(|_| begin_at()).collect());
        while begin.elapsed() < limit {
            let next = climbers
                .iter()
                .map(|climber| match climber.step > SHORTEST_STEP {
                    true => self.uphill(climber),
                    false => begin_at(),
                });
            let next = self.climbers(next.collect());
            for (climber, next) in climbers.iter_mut().zip(next) {
                if climber.step <= SHORTEST_STEP {
                    let end = std::mem::replace(climber, next);
                    keep(end.bits, end.image);
                } else if next.bits > climber.bits + LEAST_GAIN {
                    let step = 1.3 * climber.step;
                    *climber = Climber { step, ..next };
                } else {
                    climber.step *= 0.5;
                }
            }
            evaluations += TOGETHER;
        }
        for climber in climbers {
            keep(climber.bits, climber.image);
        }
        ends.sort_by(f64::total_cmp);
        let report = json!({
            "seconds": begin.elapsed().as_secs(),
            "starts": ends.len(),
            "evaluations": evaluations,
            "logit_bits": ends.last(),
            "median_logit_bits": ends.get(ends.len() / 2),
        });
        (report, worst.into_iter().map(|(_, image)| image).collect())
    }

    /// Evaluates images.
    fn climbers(&self, images: Vec<Vec<f32>>) -> Vec<Climber> {
        let mut values: Vec<Vec<Vec<f64>>> = vec![Vec::new(); images.len()];
        let flat: Vec<f32> = images.concat();
        let (nodes, mut calls, mut first) = (self.folded.nodes.len(), 0, 0);
        let run = execute_folded_observed(self.folded, &flat, images.len(), |node, value| {
            // Some images at a time, each time all nodes.
            let of_images = value.chunks_exact(node.elements);
            let count = of_images.len();
            for (values, value) in values[first..].iter_mut().zip(of_images) {
                values.push(value.to_vec());
            }
            calls += 1;
            if calls % nodes == 0 {
                first += count;
            }
        });
        run.expect("images of the network's size");
        let climber = |(image, values): (Vec<f32>, Vec<Vec<f64>>)| {
            let logits = values.last().into_iter().flatten();
            let largest = logits.fold(0.0_f64, |most, logit| most.max(logit.abs()));
            Climber {
                image,
                values,
                bits: (largest / self.largest_logit).log2(),
                step: 0.3,
            }
        };
        images.into_iter().zip(values).map(climber).collect()
    }

    /// The image one step further along the gradient of the logits' length, in units of the coefficients' deviations.
    fn uphill(&self, climber: &Climber) -> Vec<f32> {
        let slopes = input_slopes(self.folded, &climber.values);
        let steepest = slopes
            .iter()
            .fold(0.0_f64, |most, slope| most.max(slope.abs()));
        let coefficients = self.guard.coefficients(&climber.image);
        if steepest == 0.0 || !steepest.is_finite() {
            return climber.image.clone();
        }
        // The guard's coefficients are an affine map: the difference of two images is the map of the slopes, divided by
        // the deviations. The gradient is multiplied by them instead.
        let middle = self.guard.image(&vec![0.0; coefficients.len()]);
        let moved: Vec<f32> = middle
            .iter()
            .zip(&slopes)
            .map(|(&x, slope)| x + (0.01 * slope / steepest) as f32)
            .collect();
        let (from, to) = (
            self.guard.coefficients(&middle),
            self.guard.coefficients(&moved),
        );
        let deviations = self
            .statistic
            .deviation
            .iter()
            .map(|&d| f64::from(d).powi(2));
        let gradient: Vec<f64> = from
            .iter()
            .zip(to)
            .zip(deviations)
            .map(|((x, y), d)| (y - x) * d)
            .collect();
        let length = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
        let whole = (coefficients.len() as f64)
            .sqrt()
            .max(length(&coefficients));
        let factor = climber.step * whole / length(&gradient).max(1e-300);
        let next: Vec<f64> = coefficients
            .iter()
            .zip(&gradient)
            .map(|(x, g)| x + factor * g)
            .collect();
        self.guard.nearest_usual(&self.guard.image(&next))
    }
}

/// Derivative of the logarithm of the logits' length by every element of the input, up to a factor.
fn input_slopes(folded: &Folded, values: &[Vec<f64>]) -> Vec<f64> {
    let mut slopes: Vec<Vec<f64>> = folded
        .nodes
        .iter()
        .map(|node| vec![0.0; node.elements])
        .collect();
    let last = folded.nodes.len() - 1;
    slopes[last].clone_from(&values[last]);
    for index in (1..=last).rev() {
        // Only the direction matters: this keeps large networks within the range of numbers.
        let mut slope = std::mem::take(&mut slopes[index]);
        let largest = slope.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        match &folded.nodes[index].op {
            FoldedOp::Input => {}
            FoldedOp::Square { source, shift } => {
                for (element, (x, r)) in values[*source].iter().zip(shift).enumerate() {
                    slopes[*source][element] += slope[element] * (2.0 * x + r);
                }
            }
            FoldedOp::Linear(linear) => {
                slope.iter_mut().for_each(|x| {
                    if x.abs() < 1e-12 * largest {
                        *x = 0.0;
                    }
                });
                for term in &linear.terms {
                    pull_back(term, &slope, &mut slopes[term.source()]);
                }
            }
        }
    }
    std::mem::take(&mut slopes[0])
}

/// Adds the transpose of a term, applied to the slopes of its outputs.
fn pull_back(term: &Term, slope: &[f64], target: &mut [f64]) {
    match term {
        Term::Diagonal { factors, .. } => {
            for ((target, slope), factor) in target.iter_mut().zip(slope).zip(factors) {
                *target += slope * factor;
            }
        }
        Term::Tiles { tiles, .. } => {
            for tile in tiles {
                for (output, weights) in tile.rows() {
                    for (&input, weight) in tile.inputs.iter().zip(weights) {
                        target[input as usize] += slope[output] * weight;
                    }
                }
            }
        }
    }
}
