//! The library against an implementation of the ring, encoding and decryption that shares nothing with it
//! (`reference`).
//!
//! Keys, ciphertexts and seeds are taken as the bytes that files hold. What the scheme computes exactly is compared
//! exactly, residue by residue; what carries noise is compared with the noise that the definitions give.

mod common;
mod reference;

use common::{Party, context, primes, scale, secure, toy, values};
use num_bigint::BigInt;
use reference::{Ring, centred, container, divide_rounded, expand, to_float, unpack};
use sordino_ckks::{Ciphertexts, Context, Gadget};
use sordino_ring::{Modulus, NttTable, backend};
use sordino_secret::{encrypt, evaluation_key};

/// Standard deviation of errors, from the scheme's description.
const SIGMA: f64 = 3.2;

/// The coefficients of a party's secret, from its key file.
fn secret(party: &Party) -> Vec<BigInt> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.key");
    party.key.write_file(&path).unwrap();
    let (_, payload) = container(&std::fs::read(path).unwrap());
    payload.iter().map(|&s| BigInt::from(s) - 1).collect()
}

/// The components of one ciphertext as integer polynomials.
fn components(ring: &Ring, map: &Ciphertexts, row: usize) -> Vec<Vec<BigInt>> {
    (0..map.components())
        .map(|component| {
            let residues: Vec<Vec<u64>> = (0..map.limbs())
                .map(|limb| {
                    let bytes = map.part(component, limb).row(row);
                    ring.interpolate(limb, &unpack(bytes, ring.primes[limb]))
                })
                .collect();
            ring.lift(&residues)
        })
        .collect()
}

fn ring_of(context: &Context) -> Ring {
    Ring::new(context.ring_degree(), context.parameters().primes())
}

/// Numbers below a bound, always the same.
fn numbers(count: usize, bound: u64, seed: u64) -> Vec<u64> {
    values(1, count, seed)[0]
        .iter()
        .map(|value| ((value + 1.0) / 2.0 * bound as f64) as u64 % bound)
        .collect()
}

#[test]
fn transforms_evaluate_at_the_points_that_the_format_names() {
    for n in [16, 64, 256] {
        for q in primes(n, &[20, 32, 40, 50]) {
            let ring = Ring::new(n, &[q]);
            let coefficients = numbers(n, q, q);
            let expected = ring.evaluate(0, &coefficients);
            for backend in backend::available() {
                let table = NttTable::new(n, Modulus::new(q).unwrap(), backend).unwrap();
                let mut found = coefficients.clone();
                table.forward(&mut found);
                assert_eq!(found, expected, "N = {n}, q = {q}, {}", backend.name);
                table.inverse(&mut found);
                assert_eq!(found, coefficients);
            }
            assert_eq!(ring.interpolate(0, &expected), coefficients);
        }
    }
}

#[test]
fn products_of_values_are_products_in_the_ring() {
    let (n, q) = (128, primes(128, &[50])[0]);
    let ring = Ring::new(n, &[q]);
    let factors = [1, 2].map(|seed| numbers(n, q, seed));
    let integers = factors
        .each_ref()
        .map(|f| f.iter().map(|&x| BigInt::from(x)).collect::<Vec<_>>());
    let expected = ring
        .reduce(&ring.product(&integers[0], &integers[1]), 1)
        .remove(0);
    let modulus = Modulus::new(q).unwrap();
    let table = NttTable::new(n, modulus, backend::select(None).unwrap()).unwrap();
    let [mut a, mut b] = factors;
    table.forward(&mut a);
    table.forward(&mut b);
    let mut product: Vec<u64> = a.iter().zip(&b).map(|(&a, &b)| modulus.mul(a, b)).collect();
    table.inverse(&mut product);
    assert_eq!(product, expected);
}

#[test]
fn encoding_is_the_rounded_inverse_of_the_cosine_sum() {
    for (n, log2_scale) in [(64, 10.0), (4096, 35.0), (8192, 18.5)] {
        let context = context(toy(n, &[50], None));
        let ring = ring_of(&context);
        let slots = values(1, n, 5).remove(0);
        let at = scale(log2_scale);
        let mut coefficients = vec![0; n];
        context
            .encoder()
            .encode_into(&slots, at, &mut coefficients)
            .unwrap();
        let exact = ring.coefficients_of_slots(&slots);
        for (k, (&found, exact)) in coefficients.iter().zip(&exact).enumerate() {
            let difference = (found as f64 - exact * at.value()).abs();
            // Half a unit, and what two sums of N floats may differ by.
            assert!(
                difference < 0.5 + 1e-3,
                "N = {n}, coefficient {k}: {difference}"
            );
        }
        let polynomial: Vec<f64> = coefficients.iter().map(|&c| c as f64).collect();
        let mut found = vec![0.0; n];
        context
            .encoder()
            .decode_into(&polynomial, at, &mut found)
            .unwrap();
        for (found, expected) in found.iter().zip(ring.slots(&polynomial)) {
            assert!((found - expected / at.value()).abs() < 1e-9);
        }
    }
}

/// Probability of k under the discrete Gaussian, from its definition.
fn gaussian(k: i64) -> f64 {
    let weight = |k: i64| (-((k * k) as f64) / (2.0 * SIGMA * SIGMA)).exp();
    weight(k) / (-60..=60).map(weight).sum::<f64>()
}

/// Pearson's sum over classes with these counts and expected counts.
fn chi_square(classes: &[(f64, f64)]) -> f64 {
    assert!(classes.iter().all(|&(_, expected)| expected > 5.0));
    classes
        .iter()
        .map(|(found, expected)| (found - expected).powi(2) / expected)
        .sum()
}

/// Above what a chi-square of that many degrees of freedom is with a probability of about 10^-6 (Wilson and Hilferty, z
/// = 4.75).
fn chi_square_limit(freedom: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + 4.75 * spread.sqrt()).powi(3)
}

#[test]
fn fresh_ciphertexts_hold_the_message_and_a_discrete_gaussian() {
    let context = context(secure(4096, &[40, 32, 32], None));
    let (ring, n, rows) = (ring_of(&context), 4096, 6);
    let mut party = Party::new(&context);
    let secret = secret(&party);
    let (messages, at) = (values(rows, n, 7), scale(30.0));
    let fill = |row: usize, slots: &mut [f64]| slots.copy_from_slice(&messages[row]);
    let level = context.parameters().max_level();
    let Party { key, rng, .. } = &mut party;
    let seeded = encrypt(&context, key, rng, rows, &fill, level, at).unwrap();
    let (mut errors, mut slot_squares) = (Vec::new(), 0.0);
    let decrypted = party.decrypt(&seeded.clone().expand(&context).unwrap());
    for row in 0..rows {
        // Component 0 is what the file has, component 1 what its seed stands for.
        let body: Vec<Vec<u64>> = seeded
            .parts()
            .iter()
            .enumerate()
            .map(|(limb, part)| ring.interpolate(limb, &unpack(part.row(row), ring.primes[limb])))
            .collect();
        let uniform: Vec<Vec<u64>> = (0..ring.primes.len())
            .map(|limb| {
                let q = ring.primes[limb];
                let values = expand(seeded.seed(), 1, limb as u32, row as u64, q, n);
                ring.interpolate(limb, &values)
            })
            .collect();
        let phase = ring.phase(
            &[ring.lift(&body), ring.lift(&uniform)],
            &secret,
            ring.primes.len(),
        );
        let message = ring.coefficients_of_slots(&messages[row]);
        let error: Vec<f64> = phase
            .iter()
            .zip(&message)
            .map(|(phase, message)| to_float(phase) - (message * at.value()).round())
            .collect();
        errors.extend(error.iter().map(|&e| e as i64));
        slot_squares += ring.slots(&error).iter().map(|e| e * e).sum::<f64>();
        let floats: Vec<f64> = phase.iter().map(to_float).collect();
        for (found, expected) in decrypted[row].iter().zip(ring.slots(&floats)) {
            assert!((found - expected / at.value()).abs() < 1e-12);
        }
    }
    let count = errors.len() as f64;
    assert!(
        errors.iter().all(|e| e.abs() <= 30),
        "{:?}",
        errors.iter().max()
    );
    // -10 to 10 alone, both tails.
    let classes: Vec<(f64, f64)> = (-11..=11_i64)
        .map(|class| {
            let within = |k: i64| k.clamp(-11, 11) == class;
            let expected = (-60..=60).filter(|&k| within(k)).map(gaussian).sum::<f64>();
            (
                errors.iter().filter(|&&k| within(k)).count() as f64,
                count * expected,
            )
        })
        .collect();
    let (found, limit) = (chi_square(&classes), chi_square_limit(22.0));
    println!(
        "errors of {count} coefficients: chi-square {found:.1} on 22 degrees of freedom, limit {limit:.1}"
    );
    assert!(found < limit);
    // Every slot sums 2N - 1 of them.
    let ratio = (slot_squares / count).sqrt() / (SIGMA * (2.0 * n as f64 - 1.0).sqrt());
    println!("errors in slots: {ratio:.4} of the formula");
    assert!((0.97..1.03).contains(&ratio), "{ratio}");
}

#[test]
fn keys_are_uniform_ternary_and_seeds_uniform() {
    let context = context(secure(8192, &[50, 40], None));
    let mut counts = [0.0; 9];
    let mut total = 0.0;
    for _ in 0..8 {
        let secret = secret(&Party::new(&context));
        // Pairs of neighbours: nine classes, equally likely if coefficients are uniform and independent.
        for pair in secret.chunks_exact(2) {
            let at = |value: &BigInt| usize::try_from(value + 1).expect("-1, 0 or 1");
            counts[3 * at(&pair[0]) + at(&pair[1])] += 1.0;
            total += 1.0;
        }
    }
    let found = chi_square(&counts.map(|count| (count, total / 9.0)));
    println!("pairs of the secret: chi-square {found:.1} on 8 degrees of freedom");
    assert!(found < chi_square_limit(8.0));

    for q in context.parameters().primes() {
        let mut classes = vec![(0.0, 0.0); 64];
        let mut low = vec![(0.0, 0.0); 64];
        for index in 0..8 {
            for value in expand(&[index as u8; 32], 1, 0, index, *q, 8192) {
                classes[(u128::from(value) * 64 / u128::from(*q)) as usize].0 += 1.0;
                low[(value % 64) as usize].0 += 1.0;
            }
        }
        for classes in [&mut classes, &mut low] {
            let total: f64 = classes.iter().map(|class| class.0).sum();
            classes.iter_mut().for_each(|class| class.1 = total / 64.0);
            let found = chi_square(classes);
            println!("residues modulo {q}: chi-square {found:.1} on 63 degrees of freedom");
            assert!(found < chi_square_limit(63.0));
        }
    }
}

#[test]
fn products_sums_and_rescales_are_exact() {
    let context = context(toy(128, &[50, 40, 32], None));
    let ring = ring_of(&context);
    let mut party = Party::new(&context);
    let secret = secret(&party);
    let [a, b] = [1, 2].map(|seed| party.encrypt(&values(2, 128, seed), scale(25.0)));
    let product = context.multiply(&a, &b).unwrap();
    assert_eq!(product.components(), 3);
    let sum = context.add(&a, &b).unwrap();
    for row in 0..2 {
        let of = |map: &Ciphertexts| components(&ring, map, row);
        let [x, y] = [&a, &b].map(|map| ring.phase(&of(map), &secret, 3));
        let modulus = ring.modulus_of(3);
        let expected: Vec<BigInt> = ring
            .product(&x, &y)
            .iter()
            .map(|value| centred(value, &modulus))
            .collect();
        assert_eq!(ring.phase(&of(&product), &secret, 3), expected, "product");
        let expected: Vec<BigInt> = x
            .iter()
            .zip(&y)
            .map(|(x, y)| centred(&(x + y), &modulus))
            .collect();
        assert_eq!(ring.phase(&of(&sum), &secret, 3), expected, "sum");
        // Every coefficient of every component, divided by one prime or by two and rounded to nearest.
        for (map, dropped) in [(&a, 1), (&a, 2), (&product, 1), (&product, 2)] {
            let rescaled = context.rescale(map.clone(), dropped).unwrap();
            let kept = 3 - dropped;
            let divisor: BigInt = ring.primes[kept..]
                .iter()
                .map(|&q| BigInt::from(q))
                .product();
            let modulus = ring.modulus_of(kept);
            for (before, after) in of(map).iter().zip(of(&rescaled)) {
                let expected: Vec<BigInt> = before
                    .iter()
                    .map(|value| centred(&divide_rounded(value, &divisor), &modulus))
                    .collect();
                assert_eq!(
                    after,
                    expected,
                    "rescale by {dropped} of {} components",
                    map.components()
                );
            }
        }
    }
}

/// Relinearization adds noise of the size that its gadget's definition gives, and nothing else.
#[test]
fn relinearization_adds_the_noise_of_its_gadget() {
    let n = 1024;
    let gadgets = [
        (vec![40, 40, 40, 36], Gadget::SpecialPrime),
        (vec![40, 40, 40, 36, 30], Gadget::WideDigits { limbs: 2 }),
        (vec![40, 40, 40], Gadget::SmallDigits { digit_bits: 14 }),
    ];
    for (bits, gadget) in gadgets {
        let context = context(toy(n, &bits, Some(gadget)));
        let ring = Ring::new(n, context.parameters().primes());
        let (mut squares, mut count) = (0.0, 0.0);
        for key in 0..3 {
            let mut party = Party::new(&context);
            let secret = secret(&party);
            let Party {
                key: party_key,
                rng,
                ..
            } = &mut party;
            let switching = evaluation_key(&context, party_key, rng).unwrap();
            let map = party.encrypt(&values(2, n, key), scale(30.0));
            let square = context.square(map).unwrap();
            let two = context.relinearize(square.clone(), &switching).unwrap();
            assert_eq!(two.components(), 2);
            let modulus = ring.modulus_of(3);
            for row in 0..2 {
                let [before, after] =
                    [&square, &two].map(|map| ring.phase(&components(&ring, map, row), &secret, 3));
                let noise: Vec<f64> = after
                    .iter()
                    .zip(&before)
                    .map(|(after, before)| to_float(&centred(&(after - before), &modulus)))
                    .collect();
                squares += ring.slots(&noise).iter().map(|e| e * e).sum::<f64>();
                count += n as f64;
            }
        }
        let measured = (squares / count).sqrt();
        // A digit uniform in (-w/2, w/2] has variance w²/12; times an error, both with 2N - 1 terms in a slot.
        let slot = 2.0 * n as f64 - 1.0;
        let digits = |widths: &[f64]| {
            let variance: f64 = widths.iter().map(|w| w * w / 12.0).sum();
            (variance * slot * SIGMA * SIGMA * slot).sqrt()
        };
        let formula = match gadget {
            Gadget::SpecialPrime | Gadget::WideDigits { .. } => {
                let product = |primes: &[u64]| primes.iter().map(|&q| q as f64).product::<f64>();
                let special = product(context.parameters().special_primes());
                let limbs = match gadget {
                    Gadget::WideDigits { limbs } => limbs as usize,
                    _ => 1,
                };
                let digits_of = ring.primes.chunks(limbs);
                let widths: Vec<f64> = digits_of.map(|group| product(group) / special).collect();
                // The division by P rounds both components; the second one meets the secret.
                let rounding = slot / 12.0 * (1.0 + slot * 2.0 / 3.0);
                digits(&widths).hypot(rounding.sqrt())
            }
            // A residue of 40 bits is cut into 14, 14 and the 12 that are left.
            _ => digits(&[14.0_f64, 14.0, 12.0].map(f64::exp2).repeat(3)),
        };
        println!("{gadget:?}: {:.4} of the formula", measured / formula);
        assert!(
            (0.85..1.15).contains(&(measured / formula)),
            "{gadget:?}: {measured} for {formula}"
        );
    }
}
