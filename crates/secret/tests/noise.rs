//! Measured noise against its formula, from above and below.
//!
//! Every run draws fresh keys. A ratio is the measured rms over all slots, features and keys divided by the
//! formula. Its own deviation is below 1 % in every case here (for three components, where a slot's s_j^8 enters,
//! sqrt(10.7 / samples of s_j) / 2 = 0.4 % with 40 keys of 4,096 slots), so that 5 % are ten deviations or
//! more. Slot 0, where uncentred digits or remainders would show alone, is compared with its own distribution.

mod common;

use common::{Party, context, errors, scale, secure, toy, toy_wide, values, worst};
use sordino_ckks::{Ciphertexts, Context, Gadget, KeySet, Plaintexts, RotatedTerm, noise};
use sordino_ring::ResidueMatrix;
use sordino_secret::{evaluation_key, evaluation_key_for};

/// Sums over slots, features and keys.
#[derive(Default)]
struct Statistics {
    squares: f64,
    count: f64,
    worst: f64,
    /// Errors in slot 0, divided by their deviation if that is known, else by the formula.
    slot_zero: Vec<f64>,
}

impl Statistics {
    /// Adds errors; `deviation(slot)` is what slot 0 is divided by.
    fn add(&mut self, errors: &[Vec<f64>], deviation_of_slot_zero: f64) {
        for errors in errors {
            self.squares += errors.iter().map(|e| e * e).sum::<f64>();
            self.count += errors.len() as f64;
            self.slot_zero.push(errors[0] / deviation_of_slot_zero);
        }
        self.worst = self.worst.max(worst(errors));
    }

    fn rms(&self) -> f64 {
        (self.squares / self.count).sqrt()
    }

    fn check_ratio(&self, what: &str, formula: f64) {
        let ratio = self.rms() / formula;
        println!(
            "{what}: measured / formula = {ratio:.4}, worst / rms = {:.2}, slot 0 rms {:.3}",
            self.worst / self.rms(),
            self.slot_zero_rms()
        );
        assert!((0.95..1.05).contains(&ratio), "{what}: ratio {ratio}");
    }

    fn slot_zero_rms(&self) -> f64 {
        let squares: f64 = self.slot_zero.iter().map(|z| z * z).sum();
        (squares / self.slot_zero.len() as f64).sqrt()
    }

    /// Slot 0 divided by its deviation is a standard normal.
    fn check_slot_zero(&self, what: &str) {
        let count = self.slot_zero.len() as f64;
        let rms = self.slot_zero_rms();
        let spread = 6.0 / (2.0 * count).sqrt();
        assert!(
            (rms - 1.0).abs() < spread,
            "{what}: slot 0 rms {rms} ± {spread}"
        );
        let mean = self.slot_zero.iter().sum::<f64>() / count;
        assert!(
            mean.abs() < 6.0 / count.sqrt(),
            "{what}: slot 0 mean {mean}"
        );
        assert!(
            self.slot_zero.iter().all(|z| z.abs() < 6.5),
            "{what}: slot 0 {:?}",
            self.slot_zero
        );
    }

    /// The worst slot lies under the bound for its tail and above what a lighter tail would give.
    fn check_worst(&self, what: &str, bound: fn(f64, f64) -> f64, at_least: f64) {
        let (found, bound) = (self.worst / self.rms(), bound(self.count, 1e-7));
        assert!(found < bound, "{what}: worst {found} rms, bound {bound}");
        assert!(found > at_least, "{what}: worst {found} rms");
    }
}

fn variance(n: usize) -> f64 {
    (2 * n - 1) as f64
}

#[test]
fn fresh_encryptions() {
    for parameters in [secure(4096, &[50, 50], None), toy(1024, &[50], None)] {
        let context = context(parameters);
        let n = context.ring_degree();
        let mut statistics = Statistics::default();
        for key in 0..24 {
            let mut party = Party::new(&context);
            let (x, at) = (values(8, n, key), scale(35.0));
            let map = party.encrypt(&x, at);
            let errors = errors(&party.decrypt(&map), &x, at.value());
            statistics.add(&errors, noise::fresh(n));
        }
        statistics.check_ratio("fresh", noise::fresh(n));
        statistics.check_slot_zero("fresh");
        statistics.check_worst("fresh", noise::worst_of_gaussians, 3.5);
    }
}

/// The error that a rescale adds: the slots after it minus the slots before it, in units after it.
fn rescale_errors(party: &Party, map: Ciphertexts, count: usize) -> Vec<Vec<f64>> {
    let before = party.decrypt(&map);
    let after = party.context.rescale(map, count).unwrap();
    errors(&party.decrypt(&after), &before, after.scale().value())
}

#[test]
fn rescale_of_two_components() {
    for (parameters, count) in [
        (secure(4096, &[50, 30, 25], None), 1),
        (secure(4096, &[50, 30, 25], None), 2),
        (toy(1024, &[50, 20], None), 1),
    ] {
        let context = context(parameters);
        let n = context.ring_degree();
        let mut statistics = Statistics::default();
        for key in 0..40 {
            let mut party = Party::new(&context);
            let map = party.encrypt(&values(4, n, key), scale(48.0));
            let s = party.secret_slots()[0];
            let deviation = (variance(n) / 12.0 * (1.0 + s * s)).sqrt();
            statistics.add(&rescale_errors(&party, map, count), deviation);
        }
        let what = format!("rescale 2, N = {n}, {count} primes");
        statistics.check_ratio(&what, noise::rescale_two(n));
        statistics.check_slot_zero(&what);
        // Gaussian errors of this number would stay below 5.5.
        statistics.check_worst(&what, noise::worst_of_products, 6.0);
    }
}

#[test]
fn rescale_of_three_components() {
    for (parameters, count) in [
        (secure(4096, &[50, 28, 28], None), 1),
        (secure(4096, &[50, 28, 28], None), 2),
        (toy(1024, &[50, 30, 20], None), 1),
    ] {
        let context = context(parameters);
        let n = context.ring_degree();
        let mut statistics = Statistics::default();
        for key in 0..(40 * 4096 / n) as u64 {
            let mut party = Party::new(&context);
            let map = party.encrypt(&values(3, n, key), scale(30.0));
            let square = context.square(map).unwrap();
            let s = party.secret_slots()[0];
            let deviation = (variance(n) / 12.0 * (1.0 + s * s + s.powi(4))).sqrt();
            statistics.add(&rescale_errors(&party, square, count), deviation);
        }
        let what = format!("rescale 3, N = {n}, {count} primes");
        statistics.check_ratio(&what, noise::rescale_three(n));
        statistics.check_slot_zero(&what);
        statistics.check_worst(&what, noise::worst_of_squared_products, 9.0);
    }
}

/// The error that relinearization adds, at every level above 0, over keys.
fn relinearization(context: &Context, keys: usize, what: &str) {
    let n = context.ring_degree();
    let parameters = context.parameters();
    for level in 0..=parameters.max_level() {
        let formula = noise::relinearization(parameters, level);
        let mut statistics = Statistics::default();
        for key in 0..keys {
            let mut party = Party::new(context);
            let evaluation = evaluation_key(context, &party.key, &mut party.rng).unwrap();
            let map = party.encrypt(&values(4, n, key as u64), scale(8.0));
            let map = context
                .drop_limbs(map, parameters.max_level() - level)
                .unwrap();
            let square = context.square(map).unwrap();
            let before = party.decrypt(&square);
            let after = context.relinearize(square, &evaluation).unwrap();
            let errors = errors(&party.decrypt(&after), &before, after.scale().value());
            statistics.add(&errors, formula);
        }
        let what = format!("relinearize, {what}, N = {n}, level {level}");
        statistics.check_ratio(&what, formula);
        // In slot 0 the key's error, or s_0, is one normal sample a key and digit, so the squared rms over 48 keys
        // is at worst a chi-square of 48 degrees over 48: outside of these bounds with probability 10^-10, while
        // uncentred digits or remainders are a factor of 1,000 and more.
        let squared = statistics.slot_zero_rms().powi(2);
        assert!((0.15..4.0).contains(&squared), "{what}: slot 0 {squared}");
        statistics.check_worst(&what, noise::worst_of_products, 4.0);
    }
}

#[test]
fn relinearization_with_a_special_prime() {
    let special = Some(Gadget::SpecialPrime);
    // P as large as a limb: the rounding of the division dominates; P smaller: the digits do.
    relinearization(
        &context(secure(4096, &[35, 35, 35], special)),
        48,
        "P 35 of 35 bits",
    );
    relinearization(
        &context(secure(4096, &[40, 40, 20], special)),
        48,
        "P 20 of 40 bits",
    );
    relinearization(
        &context(toy(1024, &[40, 32, 32, 32, 24], special)),
        48,
        "P 24 of 32 bits",
    );
}

#[test]
fn relinearization_with_wide_digits() {
    let wide = |limbs| Some(Gadget::WideDigits { limbs });
    // P as large as a digit: the rounding of the division dominates; P smaller: the digits do.
    relinearization(
        &context(secure(8192, &[36, 30, 30, 33, 33], wide(2))),
        48,
        "two limbs, P 66 of 66 bits",
    );
    relinearization(
        &context(toy_wide(1024, &[40, 32, 32, 32, 32], &[36, 35], 3)),
        48,
        "three limbs, P 71 of 104 bits",
    );
    relinearization(
        &context(toy_wide(1024, &[40, 32, 32], &[40], 5)),
        48,
        "all limbs, P 40 of 104 bits",
    );
}

#[test]
fn relinearization_with_small_digits() {
    let digits = |digit_bits| Some(Gadget::SmallDigits { digit_bits });
    relinearization(
        &context(secure(4096, &[50, 50], digits(11))),
        48,
        "10 of 11 bits",
    );
    relinearization(
        &context(toy(1024, &[50, 32, 32], digits(16))),
        48,
        "16 bits",
    );
}

/// The error that a sum of rotations adds, at every level, over keys; weights uniform in ±2^12.
fn rotated_sums(context: &Context, what: &str) {
    let n = context.ring_degree();
    let parameters = context.parameters();
    let order = context.rotation_order();
    let weights = values(3, n, 77);
    let plaintexts = context
        .encode_plaintexts(&weights.concat(), scale(12.0), context.limbs())
        .unwrap();
    // The rounding of the weights is no error of the rotation.
    let rounded = encoded(context, &plaintexts);
    let term = |steps, plaintext| RotatedTerm {
        input: 0,
        steps,
        plaintext,
    };
    let alone = vec![vec![term(3, None)]];
    let sums = vec![vec![
        term(1, Some(0)),
        term(3, Some(1)),
        term(n - 1, Some(2)),
        term(0, Some(0)),
    ]];
    let key_set = KeySet::new(false, vec![1, 3, n - 1]).unwrap();
    for (outputs, plaintexts, squared) in
        [(alone, None, 1.0), (sums, Some(&plaintexts), 24f64.exp2())]
    {
        for level in 0..=parameters.max_level() {
            let formula = noise::rotated_sum(parameters, level, squared);
            let mut statistics = Statistics::default();
            for key in 0..48 {
                let mut party = Party::new(context);
                let evaluation =
                    evaluation_key_for(context, &party.key, &key_set, &mut party.rng).unwrap();
                let map = party.encrypt(&values(1, n, key), scale(8.0));
                let map = context
                    .drop_limbs(map, parameters.max_level() - level)
                    .unwrap();
                let before = order.from_slots(&party.decrypt(&map)[0]);
                let expected: Vec<f64> = (0..n)
                    .map(|p| {
                        let value = |term: &RotatedTerm| {
                            let x = before[(p + term.steps) % n];
                            term.plaintext.map_or(x, |row| x * rounded[row][p])
                        };
                        outputs[0].iter().map(value).sum()
                    })
                    .collect();
                let sum = context
                    .sum_rotated(&map, &outputs, plaintexts, &evaluation)
                    .unwrap();
                let found = party.decrypt(&sum);
                let errors = errors(&found, &[order.to_slots(&expected)], sum.scale().value());
                statistics.add(&errors, formula);
            }
            let what = format!("{} rotations, {what}, level {level}", outputs[0].len());
            statistics.check_ratio(&what, formula);
            let squared = statistics.slot_zero_rms().powi(2);
            assert!((0.1..5.0).contains(&squared), "{what}: slot 0 {squared}");
        }
    }
}

#[test]
fn rotations_with_every_gadget() {
    let special = Some(Gadget::SpecialPrime);
    rotated_sums(
        &context(secure(4096, &[36, 35, 33], special)),
        "P 33 of 36 bits",
    );
    rotated_sums(
        &context(toy(1024, &[50, 40, 40], special)),
        "P 40 of 50 bits",
    );
    rotated_sums(
        &context(toy_wide(1024, &[40, 32, 32], &[36, 35], 2)),
        "two limbs, P 71 of 72 bits",
    );
    rotated_sums(
        &context(toy_wide(1024, &[40, 32, 32], &[30, 30], 3)),
        "three limbs, P 60 of 104 bits",
    );
    let digits = Some(Gadget::SmallDigits { digit_bits: 14 });
    rotated_sums(&context(toy(1024, &[50, 40], digits)), "14 bits");
}

#[test]
fn rounding_of_encoded_vectors() {
    let context = context(toy(1024, &[40], None));
    let (n, order) = (context.ring_degree(), context.rotation_order());
    let vectors = values(16, n, 5);
    let (x, at) = (vectors.concat(), scale(10.0));
    let mut statistics = Statistics::default();
    let plaintexts = context.encode_plaintexts(&x, at, 1).unwrap();
    let rounded = encoded(&context, &plaintexts);
    let slots: Vec<_> = vectors.iter().map(|x| order.to_slots(x)).collect();
    let rounded: Vec<_> = rounded.iter().map(|x| order.to_slots(x)).collect();
    statistics.add(&errors(&rounded, &slots, at.value()), noise::rounding(n));
    statistics.check_ratio("rounding of vectors", noise::rounding(n));
    statistics.check_slot_zero("rounding of vectors");
}

/// What vectors became when they were encoded, in rotation order: added to an encryption of nothing without noise.
fn encoded(context: &Context, plaintexts: &Plaintexts) -> Vec<Vec<f64>> {
    let zeros: Vec<_> = (0..plaintexts.limbs())
        .map(|limb| {
            let width = context.modulus(limb).byte_width();
            ResidueMatrix::zeros(plaintexts.len(), context.ring_degree(), width)
        })
        .collect();
    let mut map =
        Ciphertexts::from_parts(context, vec![zeros.clone(), zeros], plaintexts.scale()).unwrap();
    context.add_plaintexts(&mut map, plaintexts).unwrap();
    let order = context.rotation_order();
    let slots = Party::new(context).decrypt(&map);
    slots.iter().map(|slots| order.from_slots(slots)).collect()
}
