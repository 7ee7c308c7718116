//! Measuring the planner's table of costs on this machine.

use sordino::plan::CostTable;
use sordino::ring::backend::Backend;
use sordino::ring::linear::WeightWidth;

use crate::kernels::product::{Product, columns, dense};
use crate::kernels::timing::Sampler;
use crate::kernels::{expansion_samples, modulus_below, square_samples, transform_samples};
use crate::record::Timing;

/// Pointwise operations that the planner counts a residue of a squared feature map.
const OPERATIONS_OF_A_SQUARE: f64 = 5.0;
/// The ring degree that [`CostTable::ntt_us`] is for.
const TRANSFORM_DEGREE: usize = 1 << 13;

/// Measures what elementary operations cost on all threads of the current pool together, medians of `runs`.
///
/// Products run on the dense layers of the committed networks, transforms with primes of 32, 40 and 49 bits, both ways. A
/// pointwise operation is a fifth of the square of a residue, unpacking and packing included, as the planner counts it;
/// expansion is that of a prime just below a power of two. Values are rounded to three digits: more would differ in the
/// next run.
///
/// # Cost
/// A second or two.
pub fn calibrate(backend: &'static Backend, runs: usize) -> CostTable {
    let sampler = Sampler {
        runs,
        seconds: 0.02,
    };
    CostTable {
        linear_gmacs: rounded(linear_gmacs(backend, sampler)),
        ntt_us: rounded(ntt_us(backend, sampler)),
        pointwise_ns: rounded(pointwise_ns(backend, sampler)),
        expand_ns: rounded(expand_ns(backend, sampler)),
    }
}

fn median(samples: &[f64]) -> f64 {
    // Times are numbers, and at least one run is made.
    Timing::of(samples).median.unwrap_or(f64::NAN)
}

/// Three significant digits, never 0.
fn rounded(value: f64) -> f64 {
    let digits = 2 - value.abs().max(1e-12).log10().floor() as i32;
    // By way of the decimal text, so that the file shows no binary tails.
    let factor = 10_f64.powi(digits);
    let rounded = (value * factor).round() / factor;
    format!("{rounded:.*}", digits.max(0) as usize)
        .parse()
        .unwrap_or(rounded)
}

fn linear_gmacs(backend: &'static Backend, sampler: Sampler) -> f64 {
    let columns = columns(backend, false);
    let (mut products, mut seconds) = (0.0, 0.0);
    for (outputs, inputs) in [(128, 784), (100, 845)] {
        let shape = dense(outputs, inputs, WeightWidth::Eight);
        for width in [4, 5] {
            let mut product = Product::new(&shape.map, backend, width, columns);
            products += product.byte_products();
            seconds += median(&product.samples(sampler));
        }
    }
    products / seconds * 1e-9
}

fn ntt_us(backend: &'static Backend, sampler: Sampler) -> f64 {
    let primes = [32, 40, 49];
    let directions = primes
        .iter()
        .flat_map(|&bits| transform_samples(backend, bits, TRANSFORM_DEGREE, sampler));
    let sum: f64 = directions.map(|samples| median(&samples)).sum();
    sum / (2 * primes.len()) as f64 * 1e6
}

fn pointwise_ns(backend: &'static Backend, sampler: Sampler) -> f64 {
    let modulus = modulus_below(40, 1 << 12);
    median(&square_samples(backend, &modulus, sampler)) * 1e9 / OPERATIONS_OF_A_SQUARE
}

fn expand_ns(backend: &Backend, sampler: Sampler) -> f64 {
    median(&expansion_samples(
        backend,
        &modulus_below(40, 1 << 12),
        sampler,
    )) * 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_left() {
        for (value, expected) in [
            (358.123, 358.0),
            (12_345.0, 12_300.0),
            (5.8456, 5.85),
            (0.251_73, 0.252),
            (0.000_123_45, 0.000_123),
        ] {
            assert_eq!(rounded(value), expected);
        }
    }

    #[test]
    fn every_cost_is_a_positive_number() {
        let backend = sordino::ring::backend::select(None).unwrap();
        let table = calibrate(backend, 1);
        for cost in [
            table.linear_gmacs,
            table.ntt_us,
            table.pointwise_ns,
            table.expand_ns,
        ] {
            assert!(cost.is_finite() && cost > 0.0, "{table:?}");
        }
    }
}
