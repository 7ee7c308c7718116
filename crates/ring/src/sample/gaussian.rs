//! The discrete Gaussian of the errors.

use zeroize::Zeroize;

use super::SecretRng;
use crate::backend::Backend;

/// The parameter σ of the error distribution: an integer k has probability proportional to exp(-k² / 2σ²).
pub const GAUSSIAN_SIGMA: f64 = 3.2;

/// No sample is larger in absolute value; the true distribution exceeds it with probability below 2^-63.
pub const GAUSSIAN_BOUND: i32 = THRESHOLDS.len() as i32;

/// round(2^63 · P(|X| < k)) for k = 1, 2, …, as long as it is below 2^63, for the discrete Gaussian X of σ = 3.2.
///
/// Each is within half a unit of 2^63, so the statistical distance to the true distribution is below 2^-58. Derived
/// with 80 decimal digits; a test derives it anew in 128-bit fixed point.
const THRESHOLDS: [u64; 29] = [
    0x0ff5_2b40_64a1_f258,
    0x2e5a_25d4_026f_ff6e,
    0x489a_e268_2e3d_b9bb,
    0x5d2b_c20d_e6f9_5106,
    0x6bc8_694a_862f_cdcf,
    0x7532_d898_e9d1_95da,
    0x7ab3_96c9_80f5_facb,
    0x7d9e_4e8f_6717_ea70,
    0x7f05_4956_150a_592b,
    0x7fa1_ce99_f8db_f691,
    0x7fdf_b3f0_0a8f_3398,
    0x7ff5_e6f7_c97d_68d9,
    0x7ffd_1f95_b372_bd36,
    0x7fff_40f7_f7ae_dc64,
    0x7fff_d2e6_2d05_7ef0,
    0x7fff_f650_3aaa_2875,
    0x7fff_fe1b_ab99_a744,
    0x7fff_ffaa_0140_ce53,
    0x7fff_fff2_1f8a_3a77,
    0x7fff_fffd_f723_01f4,
    0x7fff_ffff_ba9f_d472,
    0x7fff_ffff_f79b_78ce,
    0x7fff_ffff_ff13_f6f9,
    0x7fff_ffff_ffe8_748a,
    0x7fff_ffff_fffd_de24,
    0x7fff_ffff_ffff_d320,
    0x7fff_ffff_ffff_fca7,
    0x7fff_ffff_ffff_ffc6,
    0x7fff_ffff_ffff_fffc,
];

/// Fills `out` with independent samples of the discrete Gaussian with σ = 3.2.
///
/// Inversion of the cumulative distribution in constant time: 63 random bits are compared with every threshold and
/// the comparisons are added up; another bit is the sign. No branch and no address depends on a sample.
pub fn gaussian(backend: &Backend, rng: &mut SecretRng, out: &mut [i32]) {
    const CHUNK: usize = 512;
    let (mut bytes, mut words) = ([0_u8; 8 * CHUNK], [0_u64; CHUNK]);
    for out in out.chunks_mut(CHUNK) {
        let bytes = &mut bytes[..8 * out.len()];
        rng.fill(bytes);
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        backend
            .limb
            .cumulative_lookup(&THRESHOLDS, &words[..out.len()], out);
    }
    bytes.zeroize();
    words.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend;

    /// High 128 bits of a 256-bit product: the product of fractions of 2^128.
    fn times(a: u128, b: u128) -> u128 {
        const LOW: u128 = u64::MAX as u128;
        let (ah, al, bh, bl) = (a >> 64, a & LOW, b >> 64, b & LOW);
        let middle = ah * bl + ((al * bl) >> 64);
        let other = al * bh + (middle & LOW);
        ah * bh + (middle >> 64) + (other >> 64)
    }

    /// exp(-k² / 2σ²) = r^(k²) with r = exp(-25/512), as fractions of 2^128.
    fn weights() -> Vec<u128> {
        // r by its alternating series, (1 - x + x²/2 - …) as (x²/2 - x³/6) + …, summed as 1 - r which is below 1.
        let (mut term, mut one_minus_r) = ((25_u128 << 119), 0_u128);
        for j in 2..60_u128 {
            if j % 2 == 0 {
                one_minus_r += term
            } else {
                one_minus_r -= term
            }
            term = times(term, 25_u128 << 119) / j;
        }
        let r = 0_u128.wrapping_sub(one_minus_r);
        let r_squared = times(r, r);
        // rho(k+1) = rho(k) · r^(2k+1)
        let (mut weights, mut odd_power) = (vec![r], r);
        for _ in 2..40 {
            odd_power = times(odd_power, r_squared);
            weights.push(times(weights[weights.len() - 1], odd_power));
        }
        weights
    }

    #[test]
    fn thresholds_follow_from_the_definition() {
        // In units of 2^-123, where the total of about 8.02 fits: rho(0) = 1, and both signs of the others.
        let weights: Vec<u128> = weights().iter().map(|w| w >> 4).collect();
        let total = (1_u128 << 123) + weights.iter().sum::<u128>();
        let mut below = 1_u128 << 123;
        for (k, &threshold) in THRESHOLDS.iter().enumerate() {
            // round(2^63 · below / total) bit by bit: the quotient needs more than 128 bits of numerator.
            let (mut quotient, mut remainder) = (0_u64, below);
            for _ in 0..63 {
                remainder *= 2;
                quotient = 2 * quotient + u64::from(remainder >= total);
                remainder -= if remainder >= total { total } else { 0 };
            }
            quotient += u64::from(2 * remainder >= total);
            assert_eq!(threshold, quotient, "P(|X| < {})", k + 1);
            below += weights[k];
        }
        // The next threshold rounds to 2^63, so the table is complete.
        assert!((total - below) < total >> 64);
    }

    #[test]
    fn moments_and_chi_square() {
        const SAMPLES: usize = 1 << 20;
        let mut rng = SecretRng::from_seed([3; 32]);
        let mut out = vec![0; SAMPLES];
        gaussian(backend::portable(), &mut rng, &mut out);
        let n = SAMPLES as f64;
        let moment = |p: i32| out.iter().map(|&x| f64::from(x).powi(p)).sum::<f64>() / n;
        let variance = GAUSSIAN_SIGMA * GAUSSIAN_SIGMA;
        // Standard deviations of the estimates: σ/√n, σ²√(2/n), σ³√(15/n), σ⁴√(96/n); 4 of each are allowed.
        assert!(moment(1).abs() < 4.0 * (variance / n).sqrt());
        assert!(
            (moment(2) - variance).abs() < 4.0 * variance * (2.0 / n).sqrt(),
            "{}",
            moment(2)
        );
        assert!(moment(3).abs() < 4.0 * variance.powf(1.5) * (15.0 / n).sqrt());
        assert!(
            (moment(4) - 3.0 * variance * variance).abs()
                < 4.0 * variance * variance * (96.0 / n).sqrt()
        );

        let weight = |k: i32| (-f64::from(k * k) / (2.0 * variance)).exp();
        let total: f64 = (-40..=40).map(weight).sum();
        // 27 classes: -12 to 12 alone, the two tails together with their sign.
        let mut chi_square = 0.0;
        for class in -13..=13_i32 {
            let members = |k: i32| k.clamp(-13, 13) == class;
            let expected = n * (-40..=40).filter(|&k| members(k)).map(weight).sum::<f64>() / total;
            let found = out.iter().filter(|&&k| members(k)).count() as f64;
            assert!(expected > 20.0);
            chi_square += (found - expected).powi(2) / expected;
        }
        // 26 degrees of freedom: above 54.1 with probability 0.001.
        assert!(chi_square < 54.1, "{chi_square}");
        assert!(out.iter().all(|x| x.abs() <= GAUSSIAN_BOUND));
    }

    #[test]
    fn every_backend_counts_the_same() {
        let edges: Vec<u64> = THRESHOLDS
            .iter()
            .flat_map(|&t| [t - 1, t, t + 1])
            .chain([0, u64::MAX >> 1])
            .collect();
        let random: Vec<u64> = edges.iter().flat_map(|&e| [e, e | 1 << 63]).collect();
        let expected: Vec<i32> = random
            .iter()
            .map(|&r| {
                let magnitude = THRESHOLDS
                    .iter()
                    .filter(|&&t| r & (u64::MAX >> 1) >= t)
                    .count() as i32;
                if r >> 63 == 1 { -magnitude } else { magnitude }
            })
            .collect();
        for backend in backend::available() {
            let mut out = vec![0; random.len()];
            backend
                .limb
                .cumulative_lookup(&THRESHOLDS, &random, &mut out);
            assert_eq!(out, expected, "{}", backend.name);
        }
    }
}
