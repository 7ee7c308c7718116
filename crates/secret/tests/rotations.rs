//! Rotations of ciphertexts against rotations of vectors.

mod common;

use common::{Party, context, errors, scale, secure, toy, values, worst};
use sordino_ckks::{Ciphertexts, Context, Error, Gadget, KeySet, RotatedTerm, noise};
use sordino_secret::evaluation_key_for;

/// Vectors in rotation order and their encryption.
fn encrypted(party: &mut Party, count: usize, at: f64, seed: u64) -> (Vec<Vec<f64>>, Ciphertexts) {
    let x = values(count, party.context.ring_degree(), seed);
    let order = party.context.rotation_order();
    let slots: Vec<_> = x.iter().map(|x| order.to_slots(x)).collect();
    let map = party.encrypt(&slots, scale(at));
    (x, map)
}

/// The vectors in rotation order that ciphertexts decrypt to.
fn opened(party: &Party, map: &Ciphertexts) -> Vec<Vec<f64>> {
    let order = party.context.rotation_order();
    let slots = party.decrypt(map);
    slots.iter().map(|slots| order.from_slots(slots)).collect()
}

fn rotated(x: &[f64], steps: usize) -> Vec<f64> {
    let mut x = x.to_vec();
    x.rotate_left(steps);
    x
}

fn special() -> Option<Gadget> {
    Some(Gadget::SpecialPrime)
}

fn digits(digit_bits: u32) -> Option<Gadget> {
    Some(Gadget::SmallDigits { digit_bits })
}

/// Contexts, and how large a scale their switching noise asks for.
fn contexts() -> Vec<(Context, f64)> {
    vec![
        (context(secure(4096, &[35, 30, 40], special())), 26.0),
        (context(toy(1024, &[36, 32, 32, 31], special())), 27.0),
        (context(toy(64, &[40, 30, 20, 50], special())), 24.0),
        (context(toy(16, &[45, 25, 40], special())), 24.0),
        (context(toy(1024, &[45, 32, 32], digits(11))), 33.0),
        (context(toy(32, &[50, 25, 17], digits(5))), 24.0),
    ]
}

/// The worst error is below the bound for what the formulas say.
fn check(what: &str, found: &[Vec<f64>], expected: &[Vec<f64>], sources: &[f64]) {
    let rms = sources.iter().map(|s| s * s).sum::<f64>().sqrt();
    let samples = (expected.len() * expected[0].len()) as f64;
    let bound = noise::worst_of_squared_products(samples, 1e-9) * rms;
    let found = worst(&errors(found, expected, 1.0));
    assert!(
        found < bound,
        "{what}: worst error {found:e}, bound {bound:e}"
    );
    assert!(bound < 0.2, "{what}: bound {bound:e}");
}

#[test]
fn rotations_at_every_level() {
    for (context, at) in contexts() {
        let n = context.ring_degree();
        let steps: Vec<_> = [1, 2, 3, n / 2 - 1, n / 2, n - 1].into();
        let mut party = Party::new(&context);
        let key_set = KeySet::new(false, steps.clone()).unwrap();
        let key = evaluation_key_for(&context, &party.key, &key_set, &mut party.rng).unwrap();
        let (x, map) = encrypted(&mut party, 3, at, 1);
        for level in 0..=context.parameters().max_level() {
            let count = map.level() - level;
            let map = context.drop_limbs(map.clone(), count).unwrap();
            let before = opened(&party, &map);
            for &steps in &steps {
                let result = context.rotate(&map, steps, &key).unwrap();
                assert_eq!((result.level(), result.components()), (level, 2));
                assert_eq!(result.scale(), map.scale());
                let expected: Vec<_> = before.iter().map(|x| rotated(x, steps)).collect();
                let switch = noise::rotation(context.parameters(), level);
                let what = format!("{context:?}, level {level}, {steps} steps");
                let found = opened(&party, &result);
                check(&what, &found, &expected, &[switch * (-at).exp2()]);
                let expected: Vec<_> = x.iter().map(|x| rotated(x, steps)).collect();
                let fresh = noise::fresh(n);
                check(
                    &what,
                    &found,
                    &expected,
                    &[switch.hypot(fresh) * (-at).exp2()],
                );
            }
            let none = context.rotate(&map, 0, &key).unwrap();
            assert!(none == map, "no step changes nothing");
        }
        let error = context.rotate(&map, 5, &key).unwrap_err();
        assert!(matches!(error, Error::MissingRotation { steps: 5 }));
        let three = context.square(map).unwrap();
        let error = context.relinearize(three, &key).unwrap_err();
        assert!(matches!(error, Error::MissingRelinearization));
    }
}

fn term(input: usize, steps: usize, plaintext: Option<usize>) -> RotatedTerm {
    RotatedTerm {
        input,
        steps,
        plaintext,
    }
}

/// The sums of rotations of vectors.
fn clear(x: &[Vec<f64>], outputs: &[Vec<RotatedTerm>], w: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = x[0].len();
    let output = |terms: &Vec<RotatedTerm>| {
        let value = |term: &RotatedTerm, p: usize| {
            let w = term.plaintext.map_or(1.0, |row| w[row][p]);
            w * x[term.input][(p + term.steps) % n]
        };
        (0..n)
            .map(|p| terms.iter().map(|term| value(term, p)).sum())
            .collect()
    };
    outputs.iter().map(output).collect()
}

#[test]
fn sums_of_products_and_folds() {
    for (context, at) in contexts() {
        let n = context.ring_degree();
        let mut party = Party::new(&context);
        let key_set = KeySet::new(true, vec![1, 2, 4, 8, n - 3]).unwrap();
        let key = evaluation_key_for(&context, &party.key, &key_set, &mut party.rng).unwrap();
        let weights_at = 22.0;
        let (x, map) = encrypted(&mut party, 3, at, 2);
        let w = values(6, n, 3);
        let limbs = context.limbs();
        let plaintexts = context
            .encode_plaintexts(&w.concat(), scale(weights_at), limbs)
            .unwrap();
        let level = map.level() - usize::from(limbs > 2);
        let map = context
            .drop_limbs(map.clone(), map.level() - level)
            .unwrap();

        let with = vec![
            vec![
                term(0, 0, Some(0)),
                term(0, 1, Some(1)),
                term(2, n - 3, Some(2)),
                term(0, 2, Some(5)),
            ],
            vec![term(1, 0, Some(3))],
            vec![
                term(2, 1, Some(4)),
                term(0, 1, Some(0)),
                term(2, 1, Some(1)),
            ],
        ];
        let sums = context
            .sum_rotated(&map, &with, Some(&plaintexts), &key)
            .unwrap();
        assert_eq!((sums.len(), sums.level()), (3, level));
        assert_eq!(sums.scale().log2(), at + weights_at);
        let unit = (-at - weights_at).exp2();
        // Weights are uniform in [-1, 1]: their mean square is 1/3.
        let switch = noise::rotated_sum(context.parameters(), level, weights_at.exp2().powi(2));
        let fresh = 2.0 * noise::fresh(n) * weights_at.exp2();
        let rounding = 2.0 * noise::rounding(n) * at.exp2();
        let sources = [switch, fresh, rounding].map(|source| source * unit);
        let what = format!("{context:?}");
        check(
            &what,
            &opened(&party, &sums),
            &clear(&x, &with, &w),
            &sources,
        );

        let folds: Vec<Vec<_>> = vec![
            (0..4).map(|bit| term(1, 1 << bit, None)).collect(),
            vec![term(0, 0, None), term(1, n - 3, None), term(2, 0, None)],
        ];
        let sums = context.sum_rotated(&map, &folds, None, &key).unwrap();
        assert_eq!(sums.scale(), map.scale());
        let switch = noise::rotated_sum(context.parameters(), level, 4.0);
        let sources = [switch, 2.0 * noise::fresh(n)].map(|source| source * (-at).exp2());
        check(
            &what,
            &opened(&party, &sums),
            &clear(&x, &folds, &w),
            &sources,
        );

        // The sum is the sum of single rotations, up to their rounding.
        let mut single = context.rotate(&map.select(&[1]).unwrap(), 1, &key).unwrap();
        for steps in [2, 4, 8] {
            let next = context
                .rotate(&map.select(&[1]).unwrap(), steps, &key)
                .unwrap();
            context.add_assign(&mut single, &next).unwrap();
        }
        let (single, sum) = (opened(&party, &single), opened(&party, &sums));
        check(&what, &single, &sum[..1], &sources);
    }
}
