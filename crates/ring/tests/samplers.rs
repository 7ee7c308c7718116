//! The distributions of the samplers, millions of samples each, against their definitions.
//!
//! Seeds are fixed, so that a failure can be repeated; limits are those that a correct sampler exceeds with a probability of about one
//! in a million.

use sordino_ring::sample::{SecretRng, UniformDomain, UniformStream, gaussian, ternary};
use sordino_ring::{Modulus, backend, primes_below};

/// Standard deviation of the errors, from the scheme's description.
const SIGMA: f64 = 3.2;

/// Pearson's sum, and its limit by Wilson and Hilferty at 4.75 deviations.
fn check_classes(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    assert!(
        expected.iter().all(|&count| count > 10.0),
        "{what}: rare classes"
    );
    let pairs = found.iter().zip(expected);
    let sum: f64 = pairs.map(|(f, e)| (f - e) * (f - e) / e).sum();
    let freedom = found.len() as f64 - 1.0;
    let spread = 2.0 / (9.0 * freedom);
    let limit = freedom * (1.0 - spread + 4.75 * spread.sqrt()).powi(3);
    println!("{what}: chi-square {sum:.1} on {freedom} degrees of freedom, limit {limit:.1}");
    assert!(sum < limit, "{what}: {sum} over {limit}");
}

/// Samples a few positions apart are uncorrelated: the mean product has deviation 1/√n in units of the variance.
fn check_lags(what: &str, samples: &[f64], variance: f64) {
    for lag in [1, 2, 3, 8, 64, 512, 1024] {
        let count = (samples.len() - lag) as f64;
        let products = samples.iter().zip(&samples[lag..]).map(|(a, b)| a * b);
        let correlation = products.sum::<f64>() / count / variance;
        assert!(
            correlation.abs() < 5.0 / count.sqrt(),
            "{what}, lag {lag}: {correlation}"
        );
    }
}

#[test]
fn errors_are_discrete_gaussian() {
    let streams = SecretRng::from_seed([11; 32]).streams();
    let mut samples = vec![0; 1 << 22];
    // As in an encryption: a stream a polynomial.
    for (index, polynomial) in samples.chunks_exact_mut(4096).enumerate() {
        gaussian(
            backend::portable(),
            &mut streams.fork(index as u64),
            polynomial,
        );
    }
    let count = samples.len() as f64;
    let weight = |k: i32| (-f64::from(k * k) / (2.0 * SIGMA * SIGMA)).exp();
    let total: f64 = (-80..=80).map(weight).sum();
    let mut found = vec![0.0; 29];
    samples
        .iter()
        .for_each(|&k| found[(k.clamp(-14, 14) + 14) as usize] += 1.0);
    let mut expected = vec![0.0; 29];
    for k in -80..=80_i32 {
        expected[(k.clamp(-14, 14) + 14) as usize] += count * weight(k) / total;
    }
    check_classes("errors", &found, &expected);
    let floats: Vec<f64> = samples.iter().map(|&k| f64::from(k)).collect();
    check_lags("errors", &floats, SIGMA * SIGMA);
    // The tail reaches as far as it should among so many: P(|X| ≥ 16) is about 10^-6, P(|X| ≥ 22) about 2 · 10^-11.
    let largest = samples.iter().map(|k| k.abs()).max().unwrap();
    assert!((15..22).contains(&largest), "{largest}");
}

#[test]
fn secrets_are_uniform_ternary() {
    let mut samples = vec![0; 3 << 20];
    ternary(&mut SecretRng::from_seed([12; 32]), &mut samples);
    let mut found = vec![0.0; 27];
    for triple in samples.chunks_exact(3) {
        let class = triple
            .iter()
            .fold(0, |class, &s| 3 * class + (s + 1) as usize);
        found[class] += 1.0;
    }
    check_classes(
        "triples of a secret",
        &found,
        &[(1 << 20) as f64 / 27.0; 27],
    );
    let floats: Vec<f64> = samples.iter().map(|&s| f64::from(s)).collect();
    check_lags("secret", &floats, 2.0 / 3.0);
}

#[test]
fn expanded_seeds_are_uniform_and_domains_are_independent() {
    for bits in [32, 40, 50] {
        let q = primes_below(1 << bits, 4096).next().unwrap();
        let modulus = Modulus::new(q).unwrap();
        let expand = |purpose: u8, limb: u32, index: u64| {
            let mut row = vec![0; 4096];
            let domain = UniformDomain { limb, purpose };
            UniformStream::new(backend::portable(), &[13; 32], domain, &modulus)
                .expand_row(index, &mut row);
            row
        };
        let rows: Vec<Vec<u64>> = (0..64).map(|index| expand(1, 0, index)).collect();
        // High bits, by interval, and low bits.
        let (mut high, mut low) = (vec![0.0; 256], vec![0.0; 256]);
        for &value in rows.iter().flatten() {
            assert!(value < q);
            high[(u128::from(value) * 256 / u128::from(q)) as usize] += 1.0;
            low[(value % 256) as usize] += 1.0;
        }
        let expected = [(64 * 4096) as f64 / 256.0; 256];
        check_classes(&format!("{bits} bits, high"), &high, &expected);
        check_classes(&format!("{bits} bits, low"), &low, &expected);
        let centre = |row: &[u64]| -> Vec<f64> {
            row.iter()
                .map(|&value| value as f64 / q as f64 - 0.5)
                .collect()
        };
        check_lags("residues", &centre(&rows.concat()), 1.0 / 12.0);
        // Another index, limb or purpose is another row.
        let first = centre(&rows[0]);
        for other in [expand(1, 0, 1), expand(1, 1, 0), expand(2, 0, 0)] {
            let products = first.iter().zip(centre(&other)).map(|(a, b)| a * b);
            let correlation = products.sum::<f64>() / 4096.0 * 12.0;
            assert!(correlation.abs() < 5.0 / 64.0, "{bits} bits: {correlation}");
        }
    }
}
