//! How many images of a block may be any allowed image without harm to the others.
//!
//! Element-wise, image j is slot j. In the basis 1, X^k + X^-k a coefficient is the mean over the slots of the slot times
//! a cosine, so an image whose value is V adds at most V / N to a coefficient. Values are residues until the reply is
//! decrypted, and every step computes with residues: a value that exceeds half of the modulus on the way is still right
//! modulo the primes that are left. So only the logits must fit, with all of their coefficients within half of the
//! modulus of the reply.
//!
//! What a logit of any allowed image can be is bounded by intervals, with the plan's own integers. The derivation is in
//! `docs/notes/unusual-images.md`.

use sordino_ckks::Parameters;
use sordino_graph::Preprocess;

use crate::steps::last_readers;
use crate::{Operation, OutputLayout, Step, Term};

/// Share of the modulus that is left to noise and to the rounding of these bounds.
const SLACK: f64 = 1.0 / 64.0;

/// Smallest and largest value of an element, at the scale of its step.
type Interval = (f64, f64);

/// Largest logit that one image of a block can have without harm to the others, if those have logits of at most
/// `largest_logit`.
pub(crate) fn contained_logit(
    parameters: &Parameters,
    output: &OutputLayout,
    largest_logit: f64,
) -> f64 {
    let limit = coefficient_limit(parameters, output) / output.scale;
    (limit - largest_logit) * parameters.ring_degree() as f64
}

/// Images of a block that may be any allowed image, if all others have logits of at most `largest_logit`. At most the
/// images of a block; 0 where intervals prove nothing.
pub(crate) fn contained_images(
    parameters: &Parameters,
    output: &OutputLayout,
    steps: &[Step],
    preprocess: &Preprocess,
    largest_logit: f64,
) -> usize {
    let bound = logit_bound(steps, preprocess);
    // A bound that is no number gives 0.
    let images = (contained_logit(parameters, output, largest_logit) / bound).floor();
    let degree = parameters.ring_degree();
    match images >= 1.0 {
        true => (images as usize).min(degree),
        false => 0,
    }
}

/// What a coefficient of the reply may be, in integers.
fn coefficient_limit(parameters: &Parameters, output: &OutputLayout) -> f64 {
    let primes = &parameters.primes()[..output.limbs];
    let modulus: f64 = primes.iter().map(|&prime| prime as f64).product();
    modulus / 2.0 * (1.0 - SLACK)
}

/// Largest magnitude of a logit over all allowed images.
fn logit_bound(steps: &[Step], preprocess: &Preprocess) -> f64 {
    let last_reader = last_readers(steps);
    let mut values: Vec<Vec<Interval>> = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        values.push(intervals(step, steps, &values, preprocess));
        for source in step.operation.sources() {
            if last_reader[source] == index {
                values[source] = Vec::new();
            }
        }
    }
    let magnitudes = values.last().into_iter().flatten();
    let magnitudes = magnitudes.map(|&(low, high)| low.abs().max(high.abs()));
    let scale = steps.last().map_or(1.0, |step| step.scale);
    magnitudes.fold(0.0, f64::max) / scale
}

/// The intervals of a step's elements.
fn intervals(
    step: &Step,
    steps: &[Step],
    values: &[Vec<Interval>],
    preprocess: &Preprocess,
) -> Vec<Interval> {
    match &step.operation {
        Operation::Input => input(step, preprocess),
        Operation::Linear { terms, bias } => {
            let constant = |&bias: &i128| (bias as f64, bias as f64);
            let mut sums: Vec<Interval> = bias.iter().map(constant).collect();
            for term in terms {
                add_term(term, &values[term.source()], &mut sums);
            }
            sums
        }
        Operation::Square { source, shift } => {
            let elements = values[*source].iter().zip(shift);
            elements
                .map(|(&x, &shift)| square(x, shift as f64))
                .collect()
        }
        Operation::Relinearize { source } => values[*source].clone(),
        Operation::Rescale { source, .. } => {
            let factor = step.scale / steps[*source].scale;
            values[*source].iter().map(|&x| times(factor, x)).collect()
        }
    }
}

/// The values of prepared images.
fn input(step: &Step, preprocess: &Preprocess) -> Vec<Interval> {
    let plane = (preprocess.height * preprocess.width).max(1);
    let (low, high) = preprocess.allowed;
    let pixel = |element: usize| {
        let value = |raw| preprocess.normalize(element / plane, raw) * step.scale;
        (value(low), value(high))
    };
    (0..step.elements).map(pixel).collect()
}

fn add_term(term: &Term, x: &[Interval], sums: &mut [Interval]) {
    match term {
        Term::Product { map, .. } => {
            for tile in map.tiles() {
                let columns = tile.inputs.len().max(1);
                for (&output, weights) in tile.outputs.iter().zip(tile.weights.chunks(columns)) {
                    let sum = &mut sums[output as usize];
                    for (&input, &weight) in tile.inputs.iter().zip(weights) {
                        *sum = plus(*sum, times(f64::from(weight), x[input as usize]));
                    }
                }
            }
        }
        Term::Scaled { factors, .. } => {
            for ((sum, &x), &factor) in sums.iter_mut().zip(x).zip(factors) {
                *sum = plus(*sum, times(factor as f64, x));
            }
        }
    }
}

fn plus(x: Interval, y: Interval) -> Interval {
    (x.0 + y.0, x.1 + y.1)
}

fn times(factor: f64, (low, high): Interval) -> Interval {
    match factor >= 0.0 {
        true => (factor * low, factor * high),
        false => (factor * high, factor * low),
    }
}

/// The values of x · (x + shift).
fn square((low, high): Interval, shift: f64) -> Interval {
    let (at_low, at_high) = (low * (low + shift), high * (high + shift));
    let lowest = -shift / 2.0;
    let least = match (low..=high).contains(&lowest) {
        true => lowest * (lowest + shift),
        false => at_low.min(at_high),
    };
    (least, at_low.max(at_high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordino_ckks::{Encoder, Scale};

    #[test]
    fn a_square_has_the_interval_of_its_parabola() {
        for (interval, shift, expected) in [
            ((1.0, 3.0), 2.0, (3.0, 15.0)),
            ((-3.0, 1.0), 2.0, (-1.0, 3.0)),
            ((-4.0, -3.0), 2.0, (3.0, 8.0)),
            ((-1.0, 1.0), 0.0, (0.0, 1.0)),
        ] {
            assert_eq!(square(interval, shift), expected);
        }
        assert_eq!(times(-2.0, (1.0, 3.0)), (-6.0, -2.0));
    }

    /// An image adds at most V / N to a coefficient, and to the first one exactly that.
    #[test]
    fn one_slot_is_spread_over_all_coefficients() {
        let degree = 1024;
        let (value, scale) = (1000.0, 2.0_f64.powi(40));
        for slot in [0, 1, 500, degree - 1] {
            let mut slots = vec![0.0; degree];
            slots[slot] = value;
            let mut coefficients = vec![0; degree];
            let encoder = Encoder::new(degree);
            encoder
                .encode_into(&slots, Scale::new(scale).unwrap(), &mut coefficients)
                .unwrap();
            let largest = coefficients.iter().map(|c| c.unsigned_abs()).max().unwrap();
            let expected = value * scale / degree as f64;
            assert!(
                (largest as f64 / expected - 1.0).abs() < 1e-9,
                "{largest} {expected}"
            );
            assert_eq!(coefficients[0].unsigned_abs(), largest);
        }
    }
}
