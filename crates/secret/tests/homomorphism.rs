//! Encrypt, compute, decrypt: every operation against the same operation on slots.
//!
//! Tolerances come from the noise formulas: the rms of all sources together, times a bound on the worst of
//! all slots that a correct implementation exceeds with probability below 10^-9.

mod common;

use common::{Party, context, errors, scale, secure, slotwise, toy, toy_wide, values, worst};
use sordino_ckks::{Ciphertexts, Error, Gadget, noise};
use sordino_ring::linear::{LinearMap, Tile, WeightWidth};
use sordino_secret::evaluation_key;

/// Asserts that `map` decrypts to `expected` within the noise of `sources` (rms in slots, scale included).
fn check(party: &Party, what: &str, map: &Ciphertexts, expected: &[Vec<f64>], sources: &[f64]) {
    let rms = sources.iter().map(|s| s * s).sum::<f64>().sqrt();
    let samples = (expected.len() * expected[0].len()) as f64;
    let bound = noise::worst_of_squared_products(samples, 1e-9) * rms;
    let found = worst(&errors(&party.decrypt(map), expected, 1.0));
    assert!(
        found < bound,
        "{what}: worst error {found:e}, bound {bound:e}"
    );
    // The bound must mean something for values of order 1.
    assert!(bound < 0.2, "{what}: bound {bound:e}");
}

#[test]
fn additive_operations() {
    let context = context(secure(4096, &[50, 50], None));
    let mut party = Party::new(&context);
    let (x, y) = (values(3, 4096, 1), values(3, 4096, 2));
    let at = scale(30.0);
    let (a, b) = (party.encrypt(&x, at), party.encrypt(&y, at));
    let fresh = noise::fresh(4096) / at.value();
    check(&party, "fresh", &a, &x, &[fresh]);
    let sum = context.add(&a, &b).unwrap();
    check(
        &party,
        "sum",
        &sum,
        &slotwise(&x, &y, |x, y| x + y),
        &[fresh, fresh],
    );
    let difference = context.sub(&a, &b).unwrap();
    check(
        &party,
        "difference",
        &difference,
        &slotwise(&x, &y, |x, y| x - y),
        &[fresh, fresh],
    );
    let negated = context.multiply_integers(&a, &vec![-1; a.len()]).unwrap();
    check(
        &party,
        "negation",
        &negated,
        &slotwise(&x, &x, |x, _| -x),
        &[fresh],
    );

    let multiple = context.multiply_integers(&a, &[7, -300, 1]).unwrap();
    let expected: Vec<Vec<f64>> = x
        .iter()
        .zip([7.0, -300.0, 1.0])
        .map(|(x, factor)| x.iter().map(|x| x * factor).collect())
        .collect();
    check(&party, "multiple", &multiple, &expected, &[300.0 * fresh]);
    // With the scale multiplied the values stay.
    let rescaled = multiple
        .select(&[1])
        .unwrap()
        .with_scale(at.times(-1.0 * -300.0).unwrap());
    check(
        &party,
        "same value",
        &rescaled,
        &[slotwise(&x, &x, |x, _| -x).remove(1)],
        &[fresh],
    );

    let mut constant = a.clone();
    let constants = [1i128 << 30, -(3 << 29), 12_345];
    context.add_constants(&mut constant, &constants).unwrap();
    let expected: Vec<Vec<f64>> = x
        .iter()
        .zip(constants)
        .map(|(x, constant)| x.iter().map(|x| x + constant as f64 / at.value()).collect())
        .collect();
    check(&party, "constants", &constant, &expected, &[fresh]);
    let dropped = context.drop_limbs(a, 1).unwrap();
    check(&party, "dropped", &dropped, &x, &[fresh]);
}

#[test]
fn slot_zero_is_a_slot_like_any_other() {
    // The transforms treat coefficient 0 alone; slots are tested alone too.
    let context = context(secure(4096, &[50, 50], None));
    let mut party = Party::new(&context);
    for slot in [0, 1, 2047, 4095] {
        let mut x = vec![vec![0.0; 4096]];
        x[0][slot] = 1000.0;
        let at = scale(30.0);
        let map = party.encrypt(&x, at);
        check(
            &party,
            "one slot",
            &map,
            &x,
            &[noise::fresh(4096) / at.value()],
        );
        let square = context.square(map).unwrap();
        let expected = slotwise(&x, &x, |x, y| x * y);
        let fresh = 2000.0 * noise::fresh(4096) / at.value();
        let small = noise::fresh(4096).powi(2) / at.value().powi(2);
        check(&party, "its square", &square, &expected, &[fresh, small]);
    }
}

#[test]
fn linear_layers() {
    let context = context(secure(4096, &[50, 50], None));
    let mut party = Party::new(&context);
    let (inputs, outputs) = (20, 6);
    let weights: Vec<i16> = (0..inputs * outputs)
        .map(|k| (k as i16 * 57) % 255 - 127)
        .collect();
    let tile = Tile {
        outputs: (0..outputs as u32).collect(),
        inputs: (0..inputs as u32).collect(),
        weights: weights.clone(),
    };
    let map = LinearMap::new(inputs, outputs, WeightWidth::Eight, vec![tile])
        .unwrap()
        .prepare(context.backend());
    let (x, at) = (values(inputs, 4096, 3), scale(30.0));
    let result = context.linear(&party.encrypt(&x, at), &map, 128.0).unwrap();
    assert!((result.scale().log2() - 37.0).abs() < 1e-12);
    let expected: Vec<Vec<f64>> = weights
        .chunks_exact(inputs)
        .map(|weights| {
            (0..4096)
                .map(|slot| {
                    (0..inputs)
                        .map(|k| f64::from(weights[k]) / 128.0 * x[k][slot])
                        .sum()
                })
                .collect()
        })
        .collect();
    let gain = (inputs as f64).sqrt();
    check(
        &party,
        "layer",
        &result,
        &expected,
        &[gain * noise::fresh(4096) / at.value()],
    );
}

#[test]
fn products_with_three_components() {
    let context = context(secure(4096, &[44, 30, 30], None));
    let mut party = Party::new(&context);
    let (x, y, at) = (values(2, 4096, 4), values(2, 4096, 5), scale(30.0));
    let (a, b) = (party.encrypt(&x, at), party.encrypt(&y, at));
    let fresh = noise::fresh(4096) / at.value();
    let product = context.multiply(&a, &b).unwrap();
    assert_eq!(product.components(), 3);
    let expected = slotwise(&x, &y, |x, y| x * y);
    check(
        &party,
        "product",
        &product,
        &expected,
        &[fresh, fresh, fresh * fresh],
    );
    let shift = [1i128 << 29, -(1 << 31)];
    let shifted = context.square_shifted(a.clone(), &shift).unwrap();
    let r: Vec<Vec<f64>> = shift
        .iter()
        .map(|&r| vec![r as f64 / at.value(); 4096])
        .collect();
    check(
        &party,
        "x(x + r)",
        &shifted,
        &slotwise(&x, &r, |x, r| x * (x + r)),
        &[4.0 * fresh],
    );
    // A sum of products, still with three components, then one group rescale.
    let sum = context
        .add(&product, &context.multiply(&b, &a).unwrap())
        .unwrap();
    let rescaled = context.rescale(sum, 1).unwrap();
    let rounding = noise::rescale_three(4096) / rescaled.scale().value();
    let expected = slotwise(&x, &y, |x, y| 2.0 * x * y);
    check(
        &party,
        "rescaled",
        &rescaled,
        &expected,
        &[4.0 * fresh, rounding],
    );
}

/// x² relinearized at every level from the highest down, then rescaled.
fn relinearize_at_every_level(context: &sordino_ckks::Context, log2_scale: f64) {
    let mut party = Party::new(context);
    let n = context.ring_degree();
    let key = evaluation_key(context, &party.key, &mut party.rng).unwrap();
    let (x, at) = (values(2, n, 6), scale(log2_scale));
    let fresh = party.encrypt(&x, at);
    let expected = slotwise(&x, &x, |x, y| x * y);
    for level in (1..=context.parameters().max_level()).rev() {
        let dropped = context.max_drop(&fresh, level);
        let square = context.square(dropped).unwrap();
        let two = context.relinearize(square, &key).unwrap();
        assert_eq!((two.components(), two.level()), (2, level));
        let error = 2.0 * noise::fresh(n) / at.value();
        let switch = noise::relinearization(context.parameters(), level) / two.scale().value();
        check(&party, "relinearized", &two, &expected, &[error, switch]);
        let rescaled = context.rescale(two, 1).unwrap();
        let rounding = noise::rescale_two(n) / rescaled.scale().value();
        check(
            &party,
            "rescaled",
            &rescaled,
            &expected,
            &[error, switch, rounding],
        );
    }
}

/// The same ciphertexts at a level.
trait MaxDrop {
    fn max_drop(&self, map: &Ciphertexts, level: usize) -> Ciphertexts;
}

impl MaxDrop for sordino_ckks::Context {
    fn max_drop(&self, map: &Ciphertexts, level: usize) -> Ciphertexts {
        self.drop_limbs(map.clone(), map.level() - level).unwrap()
    }
}

#[test]
fn relinearization_with_a_special_prime() {
    let special = Some(Gadget::SpecialPrime);
    relinearize_at_every_level(&context(secure(4096, &[45, 30, 30], special)), 26.0);
    // The special prime smaller and larger than the limbs.
    relinearize_at_every_level(&context(toy(1024, &[50, 32, 32, 32, 24], special)), 28.0);
    relinearize_at_every_level(&context(toy(256, &[45, 25, 25, 50], special)), 24.0);
}

#[test]
fn relinearization_with_wide_digits() {
    let wide = |limbs| Some(Gadget::WideDigits { limbs });
    relinearize_at_every_level(&context(secure(8192, &[45, 30, 30, 37, 38], wide(2))), 26.0);
    relinearize_at_every_level(
        &context(toy_wide(1024, &[50, 32, 32, 32], &[45, 45], 2)),
        28.0,
    );
    relinearize_at_every_level(
        &context(toy_wide(256, &[45, 25, 25], &[40, 40, 40], 3)),
        24.0,
    );
    relinearize_at_every_level(&context(toy_wide(64, &[45, 25, 25], &[30, 30], 1)), 24.0);
}

#[test]
fn relinearization_with_small_digits() {
    let digits = |digit_bits| Some(Gadget::SmallDigits { digit_bits });
    relinearize_at_every_level(&context(secure(4096, &[46, 30, 30], digits(8))), 26.0);
    relinearize_at_every_level(&context(toy(1024, &[50, 32, 32, 36], digits(11))), 28.0);
    relinearize_at_every_level(&context(toy(64, &[50, 25, 17], digits(5))), 24.0);
}

#[test]
fn a_layer_by_layer_network() {
    // Two activations with a layer between, at 128 bits and N = 2^13.
    let context = context(secure(
        8192,
        &[50, 32, 32, 32, 32, 32],
        Some(Gadget::SpecialPrime),
    ));
    let mut party = Party::new(&context);
    let key = evaluation_key(&context, &party.key, &mut party.rng).unwrap();
    let n = 8192;
    let map = LinearMap::new(
        2,
        2,
        WeightWidth::Eight,
        vec![Tile {
            outputs: vec![0, 1],
            inputs: vec![0, 1],
            weights: vec![100, 27, -64, 90],
        }],
    )
    .unwrap()
    .prepare(context.backend());
    let layer = |x: &[Vec<f64>]| {
        let row = |a: f64, b: f64| {
            (0..n)
                .map(|k| (a * x[0][k] + b * x[1][k]) / 127.0)
                .collect::<Vec<f64>>()
        };
        vec![row(100.0, 27.0), row(-64.0, 90.0)]
    };
    let mut expected = values(2, n, 7);
    let mut found = party.encrypt(&expected, scale(30.0));
    for _ in 0..2 {
        let shift = (0.25 * found.scale().value()).round() as i128;
        let square = context.square_shifted(found, &[shift, -shift]).unwrap();
        let r = [vec![0.25; n], vec![-0.25; n]];
        expected = layer(&slotwise(&expected, &r, |x, r| x * (x + r)));
        let two = context.relinearize(square, &key).unwrap();
        let sum = context.linear(&two, &map, 127.0).unwrap();
        // Back to about 2^30 with the next prime or two.
        let drop = if sum.scale().log2() > 62.5 { 1 } else { 0 };
        found = context.rescale(sum, drop).unwrap();
    }
    let bits = -worst(&errors(&party.decrypt(&found), &expected, 1.0)).log2();
    // Rescales at scale 2^35 with noise 2^12 in the worst of some 10^4 slots, times a few.
    assert!(bits > 14.0, "{bits}");
}

#[test]
fn decryption_and_encryption_refuse_what_does_not_fit() {
    let context = context(secure(4096, &[50, 50], None));
    let other = common::context(secure(4096, &[50, 49], None));
    let (mut party, stranger) = (Party::new(&context), Party::new(&other));
    let map = party.encrypt(&values(1, 4096, 8), scale(30.0));
    let mismatch = |error: sordino_secret::Error| {
        matches!(
            error,
            sordino_secret::Error::Ckks(Error::ParametersMismatch { .. })
        )
    };
    let decrypt = sordino_secret::decrypt;
    assert!(mismatch(
        decrypt(&context, &stranger.key, &map).unwrap_err()
    ));
    assert!(mismatch(decrypt(&other, &stranger.key, &map).unwrap_err()));
    let mut encrypt = |level, log2_scale, value: f64, features| {
        let fill = move |_: usize, slots: &mut [f64]| slots.fill(value);
        sordino_secret::encrypt(
            &context,
            &party.key,
            &mut party.rng,
            features,
            &fill,
            level,
            scale(log2_scale),
        )
        .map(|map| map.level())
    };
    assert_eq!(encrypt(0, 48.0, 1.0, 1).unwrap(), 0);
    let range = |result| {
        matches!(
            result,
            Err(sordino_secret::Error::Ckks(Error::MessageRange { .. }))
        )
    };
    assert!(range(encrypt(0, 50.0, 1.0, 1)));
    assert_eq!(encrypt(1, 50.0, 1.0, 1).unwrap(), 1);
    assert!(range(encrypt(1, 62.0, 1.0, 1)));
    assert!(encrypt(0, 30.0, f64::NAN, 1).is_err());
    assert!(encrypt(2, 30.0, 1.0, 1).is_err());
    assert!(encrypt(usize::MAX, 30.0, 1.0, 1).is_err());
    assert!(encrypt(1, 30.0, 1.0, 0).is_err());
    let no_gadget = evaluation_key(&context, &party.key, &mut party.rng);
    assert!(matches!(
        no_gadget,
        Err(sordino_secret::Error::Ckks(Error::NoGadget))
    ));
}
