//! How large the errors of operations are in a slot.
//!
//! Every function gives the root mean square over slots and keys, in units of the slots before division by
//! the scale: error / scale is what a user sees. A polynomial with independent coefficients of variance v has
//! variance v (2N − 1) in every slot; slots of the secret s have variance 2/3 · (2N − 1).
//!
//! Errors that contain a product with s are not equally large in all slots: in slot j their deviation is
//! proportional to |s_j|, which the key fixes. [`worst_of_products`] bounds the worst of many.
//!
//! # Reference
//! `docs/concepts/scheme.md` and `docs/notes/precision.md`; measured in `crates/secret/tests/noise.rs`.

use crate::Parameters;
use crate::gadget::Digit;
use crate::security::ERROR_DEVIATION;

/// Variance of rounding to the nearest integer.
const ROUNDING_VARIANCE: f64 = 1.0 / 12.0;

/// Variance in a slot of a polynomial with independent coefficients of variance 1.
fn slot_variance(ring_degree: usize) -> f64 {
    2.0 * ring_degree as f64 - 1.0
}

/// Variance of a slot of the secret: 4N/3.
fn secret_variance(ring_degree: usize) -> f64 {
    2.0 / 3.0 * slot_variance(ring_degree)
}

/// A fresh symmetric encryption, the rounding of the message included: √(σ² + 1/12) · √(2N).
pub fn fresh(ring_degree: usize) -> f64 {
    let variance = ERROR_DEVIATION * ERROR_DEVIATION + ROUNDING_VARIANCE;
    (variance * slot_variance(ring_degree)).sqrt()
}

/// Rounding of an encoded plaintext or constant vector: √(2N/12).
pub fn rounding(ring_degree: usize) -> f64 {
    (ROUNDING_VARIANCE * slot_variance(ring_degree)).sqrt()
}

/// A rescale of two components: √(2N/12) · √(4N/3), about 0.471 N.
pub fn rescale_two(ring_degree: usize) -> f64 {
    rounding(ring_degree) * (1.0 + secret_variance(ring_degree)).sqrt()
}

/// A rescale of three components: √(2N/12) · √3 · 4N/3, about 0.333 (2N)^1.5.
///
/// Slots of s are real and nearly Gaussian, so the mean of s_j⁴ is three times the squared mean of s_j².
pub fn rescale_three(ring_degree: usize) -> f64 {
    let secret = secret_variance(ring_degree);
    rounding(ring_degree) * (1.0 + secret + 3.0 * secret * secret).sqrt()
}

/// Relinearization with balanced digits of `digit_bits` bits and no special prime: √(D/12) · 2σN · 2^w.
pub fn relinearize_small(ring_degree: usize, digits: usize, digit_bits: f64) -> f64 {
    digit_noise(ring_degree, std::iter::repeat_n(digit_bits.exp2(), digits))
}

/// The digits of a polynomial at a level times the errors of a switching key, divided by P.
fn switched_digits(parameters: &Parameters, level: usize) -> f64 {
    let primes = &parameters.primes()[..=level];
    let digits = parameters
        .gadget()
        .map_or_else(Vec::new, |gadget| Digit::of_chain(gadget, primes));
    let special: f64 = parameters
        .special_primes()
        .iter()
        .map(|&p| p as f64)
        .product();
    let widths = digits.iter().map(|digit| digit.width(primes) / special);
    digit_noise(parameters.ring_degree(), widths)
}

/// Key switching of one rotation at a level with the gadget of these parameters: that of a relinearization, which
/// switches one polynomial with the same digits; 0 without a gadget.
pub fn rotation(parameters: &Parameters, level: usize) -> f64 {
    rotated_sum(parameters, level, 1.0)
}

/// A sum of rotated ciphertexts at a level, times plaintexts: `squared_weights` is the sum of the mean squares of their
/// slots, at their scale, over the terms that are rotated by a step or more (1 per term without plaintext).
///
/// √(Σ weight² · digits²), and the rounding of one division by P, the product of the special primes. The inputs' own errors come on top, rotated and
/// multiplied, and the rounding of the plaintexts: [`rounding`] times the slots of the input at its scale, per term.
pub fn rotated_sum(parameters: &Parameters, level: usize, squared_weights: f64) -> f64 {
    let digits = switched_digits(parameters, level) * squared_weights.sqrt();
    digits.hypot(division(parameters))
}

/// Relinearization at a level with the gadget of these parameters, digit by digit; 0 without a gadget.
pub fn relinearization(parameters: &Parameters, level: usize) -> f64 {
    switched_digits(parameters, level).hypot(division(parameters))
}

/// The rounding of a division by the product of the special primes; 0 without any.
fn division(parameters: &Parameters) -> f64 {
    match parameters.special_primes() {
        [] => 0.0,
        _ => rescale_two(parameters.ring_degree()),
    }
}

/// Σ digit · error, for digits uniform on ranges of the given widths.
fn digit_noise(ring_degree: usize, widths: impl Iterator<Item = f64>) -> f64 {
    let digit_variance: f64 = widths.map(|width| width * width * ROUNDING_VARIANCE).sum();
    slot_variance(ring_degree) * ERROR_DEVIATION * digit_variance.sqrt()
}

/// A bound on the largest of `samples` Gaussian errors, in multiples of their rms.
///
/// It is exceeded with at most probability `failure`.
pub fn worst_of_gaussians(samples: f64, failure: f64) -> f64 {
    smallest_bound(samples, failure, |t| {
        // Mills' ratio: P(|X| > t) ≤ √(2/π) e^(−t²/2) / t.
        (2.0 / std::f64::consts::PI).sqrt() * (-t * t / 2.0).exp() / t
    })
}

/// A bound on the largest of `samples` errors of the form key slot · Gaussian, in multiples of their rms.
///
/// Such is the rounding of a rescale of two components. The tail of a product of two independent normals is
/// P(|XY| > t) ≤ √(2/(πt)) e^(−t), much heavier than a Gaussian's. Exceeded with at most probability
/// `failure`, over keys.
pub fn worst_of_products(samples: f64, failure: f64) -> f64 {
    smallest_bound(samples, failure, |t| {
        (2.0 / (std::f64::consts::PI * t)).sqrt() * (-t).exp()
    })
}

/// A bound on the largest of `samples` errors of the form key slot² · Gaussian, in multiples of their rms.
///
/// Such is the rounding of a rescale of three components. From P(|X| Y² > t) = E P(Y² > t/|X|) and
/// P(|Y| > u) ≤ e^(−u²/2), integrated over X. Exceeded with at most probability `failure`, over keys.
pub fn worst_of_squared_products(samples: f64, failure: f64) -> f64 {
    let tail = |t: f64| {
        let step = 1.0 / 64.0;
        let density = |x: f64| (-x * x / 2.0 - t / (2.0 * x)).exp();
        let integral: f64 = (1..=64 * 16)
            .map(|k| density(f64::from(k) * step) * step)
            .sum();
        2.0 / (2.0 * std::f64::consts::PI).sqrt() * integral
    };
    // The rms of X Y² is √3.
    smallest_bound(samples, failure, tail) / 3f64.sqrt()
}

/// The smallest t with samples · tail(t) ≤ failure, for a falling tail.
fn smallest_bound(samples: f64, failure: f64, tail: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (1e-3, 1.0);
    while samples * tail(high) > failure && high < 1e6 {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if samples * tail(middle) > failure {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relinearization with a special prime: `digits` digits of size `digit_over_special` · P each, plus the
    /// rounding of the division by P: √(D/12) · 2σN · q/P, plus 0.471 N.
    fn relinearize_special(ring_degree: usize, digits: usize, digit_over_special: f64) -> f64 {
        let widths = std::iter::repeat_n(digit_over_special, digits);
        digit_noise(ring_degree, widths).hypot(rescale_two(ring_degree))
    }

    #[test]
    fn closed_forms() {
        for log2_n in 12..=15 {
            let n = 1usize << log2_n;
            let size = n as f64;
            let close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 2e-3;
            assert!(close(
                fresh(n),
                (10.24f64 + 1.0 / 12.0).sqrt() * (2.0 * size).sqrt()
            ));
            assert!(close(rescale_two(n), 0.4714 * size));
            assert!(close(rescale_three(n), 0.3333 * (2.0 * size).powf(1.5)));
            let special = relinearize_special(n, 10, 256.0);
            let digits = (10f64 / 12.0).sqrt() * 2.0 * 3.2 * size * 256.0;
            assert!(close(special, digits.hypot(0.4714 * size)));
            assert!(close(
                relinearize_small(n, 20, 16.0),
                (20f64 / 12.0).sqrt() * 6.4 * size * 65536.0
            ));
        }
    }

    #[test]
    fn notes_table_rows() {
        // Measured rows of the table in the arithmetic notes: N = 2^14, noise in bits.
        let n = 1 << 14;
        assert!((relinearize_special(n, 7, 2f64.powi(16)).log2() - 32.3).abs() < 0.1);
        assert!((relinearize_small(n, 21, 16.0).log2() - 33.1).abs() < 0.1);
        assert!((relinearize_small(n, 30, 11.0).log2() - 28.1).abs() < 0.3);
    }

    #[test]
    fn bounds_on_the_worst_grow_with_the_tail() {
        let (samples, failure) = (1e6, 1e-3);
        let gaussian = worst_of_gaussians(samples, failure);
        let product = worst_of_products(samples, failure);
        let squared = worst_of_squared_products(samples, failure);
        assert!((5.5..6.5).contains(&gaussian), "{gaussian}");
        assert!((16.0..22.0).contains(&product), "{product}");
        assert!(squared > product && squared < 60.0, "{squared}");
    }
}
