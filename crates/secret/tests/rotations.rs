//! Rotations of ciphertexts against rotations of vectors.

mod common;

use common::{Party, context, errors, scale, secure, toy, toy_wide, values, worst};
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
        (
            context(toy_wide(1024, &[36, 32, 32, 30], &[36, 35], 2)),
            27.0,
        ),
        (context(toy_wide(64, &[40, 30, 20], &[31, 32, 33], 3)), 24.0),
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
        let fill = |vector: usize, slots: &mut [f64]| slots.copy_from_slice(&w[vector]);
        let compact = context
            .encode_compact(w.len(), fill, scale(weights_at), limbs)
            .unwrap();
        assert!(compact.size_bytes() < plaintexts.size_bytes());
        let same = context.sum_rotated(&map, &with, Some(&compact), &key);
        assert!(same.unwrap() == sums);
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

#[test]
fn one_input_may_be_a_term_many_times() {
    let context = context(toy(64, &[40, 30, 40], special()));
    let n = context.ring_degree();
    let mut party = Party::new(&context);
    let key_set = KeySet::new(false, vec![7]).unwrap();
    let key = evaluation_key_for(&context, &party.key, &key_set, &mut party.rng).unwrap();
    let (x, map) = encrypted(&mut party, 1, 24.0, 5);
    let w = values(20, n, 6);
    let plaintexts = context
        .encode_plaintexts(&w.concat(), scale(20.0), 2)
        .unwrap();
    let outputs = vec![(0..20).map(|k| term(0, 7, Some(k))).collect::<Vec<_>>()];
    let sums = context
        .sum_rotated(&map, &outputs, Some(&plaintexts), &key)
        .unwrap();
    let found = opened(&party, &sums);
    assert!(worst(&errors(&found, &clear(&x, &outputs, &w), 1.0)) < 0.01);
}

#[test]
fn terms_that_do_not_fit_are_refused() {
    let context = context(toy(64, &[40, 30, 40], special()));
    let n = context.ring_degree();
    let mut party = Party::new(&context);
    let key_set = KeySet::new(false, vec![1]).unwrap();
    let key = evaluation_key_for(&context, &party.key, &key_set, &mut party.rng).unwrap();
    let (_, map) = encrypted(&mut party, 2, 24.0, 5);
    let plaintexts = context
        .encode_plaintexts(&values(3, n, 6).concat(), scale(20.0), 1)
        .unwrap();
    let low = context.drop_limbs(map.clone(), 1).unwrap();
    let with = |outputs: Vec<Vec<RotatedTerm>>| {
        context.sum_rotated(&low, &outputs, Some(&plaintexts), &key)
    };
    let without = |outputs: Vec<Vec<RotatedTerm>>| context.sum_rotated(&low, &outputs, None, &key);
    with(vec![vec![term(0, 1, Some(2))]]).unwrap();
    for outputs in [
        vec![vec![term(0, 1, Some(0)), term(0, 0, None)]],
        vec![vec![term(0, 1, None)]],
    ] {
        let error = with(outputs).unwrap_err();
        assert!(matches!(error, Error::Terms { output: 0, .. }), "{error}");
    }
    assert!(matches!(
        without(vec![vec![term(0, 1, None)], vec![term(0, 1, Some(0))]]),
        Err(Error::Terms {
            output: 1,
            term: 0,
            ..
        })
    ));
    for outputs in [
        vec![],
        vec![vec![]],
        vec![vec![term(2, 1, None)]],
        vec![vec![term(0, n, None)]],
    ] {
        assert!(matches!(without(outputs), Err(Error::Count { .. })));
    }
    assert!(matches!(
        with(vec![vec![term(0, 1, Some(3))]]),
        Err(Error::Count { .. })
    ));
    assert!(matches!(
        without(vec![vec![term(0, 2, None)]]),
        Err(Error::MissingRotation { steps: 2 })
    ));
    // More limbs than the plaintexts have.
    let outputs = [vec![term(0, 1, Some(2))]];
    let high = context.sum_rotated(&map, &outputs, Some(&plaintexts), &key);
    assert!(matches!(high, Err(Error::Count { .. })));
    let three = context.square(map).unwrap();
    assert!(matches!(
        context.rotate(&three, 1, &key),
        Err(Error::Components { .. })
    ));
    for (count, limbs) in [(0, 1), (n + 1, 1), (n, 0), (n, 3)] {
        let encoded = context.encode_plaintexts(&vec![0.5; count], scale(20.0), limbs);
        assert!(matches!(encoded, Err(Error::Count { .. })));
    }
    let encoded = context.encode_plaintexts(&vec![1.0; n], scale(39.5), 1);
    assert!(matches!(encoded, Err(Error::MessageRange { .. })));
    let mut nan = vec![0.0; 2 * n];
    nan[n + 5] = f64::NAN;
    let encoded = context.encode_plaintexts(&nan, scale(20.0), 1);
    assert!(matches!(encoded, Err(Error::NotFinite { slot: 5 })));
}

#[test]
fn vectors_are_added_and_shift_squares() {
    let context = context(secure(4096, &[50, 50], None));
    let n = context.ring_degree();
    let mut party = Party::new(&context);
    let (x, map) = encrypted(&mut party, 2, 30.0, 7);
    let r = values(2, n, 8);
    let vectors = context
        .encode_plaintexts(&r.concat(), scale(30.0), 2)
        .unwrap();
    assert_eq!(vectors.size_bytes(), 2 * 2 * n * 7);
    let mut sum = map.clone();
    context.add_plaintexts(&mut sum, &vectors).unwrap();
    let pairs = |f: &dyn Fn(f64, f64) -> f64| common::slotwise(&x, &r, f);
    let fresh = noise::fresh(n).hypot(noise::rounding(n)) * (-30f64).exp2();
    check(
        "sum",
        &opened(&party, &sum),
        &pairs(&|x, r| x + r),
        &[fresh],
    );
    let square = context.square_shifted_by(map.clone(), &vectors).unwrap();
    assert_eq!((square.components(), square.scale().log2()), (3, 60.0));
    let expected = pairs(&|x, r| x * (x + r));
    check(
        "x(x + r)",
        &opened(&party, &square),
        &expected,
        &[3.0 * fresh],
    );
    let low = context.drop_limbs(map.clone(), 1).unwrap();
    let mut low_sum = low.clone();
    context.add_plaintexts(&mut low_sum, &vectors).unwrap();
    assert!(low_sum == context.drop_limbs(sum, 1).unwrap());

    let mut map = map.with_scale(scale(29.0));
    assert!(matches!(
        context.add_plaintexts(&mut map, &vectors),
        Err(Error::ScaleMismatch { .. })
    ));
    let mut one = low.select(&[0]).unwrap();
    assert!(matches!(
        context.add_plaintexts(&mut one, &vectors),
        Err(Error::Count { .. })
    ));
    assert!(matches!(
        context.square_shifted_by(square, &vectors),
        Err(Error::Components { .. })
    ));
}
