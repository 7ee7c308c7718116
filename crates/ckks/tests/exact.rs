//! Every operation against its definition, residue by residue, without noise.

mod common;

use common::{coefficients, portable, schoolbook, toy, uniform};
use sordino_ckks::{Ciphertexts, Context, Error, Scale};
use sordino_ring::Modulus;
use sordino_ring::linear::{LinearMap, Tile, WeightWidth};

fn sums(a: &[u64], b: &[u64], q: u64) -> Vec<u64> {
    a.iter().zip(b).map(|(a, b)| (a + b) % q).collect()
}

#[test]
fn products_are_those_of_the_ring() {
    for n in [16, 64] {
        let context = portable(toy(n, &[50, 32, 20], None, None));
        let (a, b) = (uniform(&context, 1, 3, 2, 3), uniform(&context, 2, 3, 2, 3));
        let product = context.multiply(&a, &b).unwrap();
        let square = context.square(a.clone()).unwrap();
        assert_eq!(product.components(), 3);
        assert_eq!(product.scale().log2(), 40.0);
        for limb in 0..3 {
            let q = context.modulus(limb).value();
            for row in 0..3 {
                let at = |map: &Ciphertexts, c| coefficients(&context, map, c, limb, row);
                let [a0, a1, b0, b1] = [at(&a, 0), at(&a, 1), at(&b, 0), at(&b, 1)];
                assert_eq!(at(&product, 0), schoolbook(&a0, &b0, q));
                assert_eq!(
                    at(&product, 1),
                    sums(&schoolbook(&a0, &b1, q), &schoolbook(&a1, &b0, q), q)
                );
                assert_eq!(at(&product, 2), schoolbook(&a1, &b1, q));
                assert_eq!(at(&square, 0), schoolbook(&a0, &a0, q));
                let cross = schoolbook(&a0, &a1, q);
                assert_eq!(at(&square, 1), sums(&cross, &cross, q));
            }
        }
    }
}

#[test]
fn shifted_square_is_the_product_with_the_shifted_self() {
    let context = portable(toy(32, &[50, 30], None, None));
    let a = uniform(&context, 3, 4, 2, 2);
    let shift = [0, 7, -123_456_789, i128::MAX];
    let mut shifted = a.clone();
    context.add_constants(&mut shifted, &shift).unwrap();
    let expected = context.multiply(&a, &shifted).unwrap();
    assert_eq!(context.square_shifted(a, &shift).unwrap(), expected);
}

#[test]
fn additive_operations() {
    let context = portable(toy(16, &[45, 31], None, None));
    let (a, b) = (uniform(&context, 4, 3, 3, 2), uniform(&context, 5, 3, 3, 2));
    let factors = [-1i64, i64::MAX, i64::MIN];
    let constants = [5i128, -(1 << 100), 0];
    let sum = context.add(&a, &b).unwrap();
    let difference = context.sub(&a, &b).unwrap();
    let negated = context.multiply_integers(&b, &[-1; 3]).unwrap();
    assert_eq!(context.add(&a, &negated).unwrap(), difference);
    let scaled = context.multiply_integers(&a, &factors).unwrap();
    let mut multiple = b.clone();
    context
        .add_multiple_assign(&mut multiple, &a, &factors)
        .unwrap();
    assert_eq!(context.add(&b, &scaled).unwrap(), multiple);
    let mut constant = a.clone();
    context.add_constants(&mut constant, &constants).unwrap();
    for component in 0..3 {
        for limb in 0..2 {
            let modulus = context.modulus(limb);
            for row in 0..3 {
                let at = |map| coefficients(&context, map, component, limb, row);
                let (x, y) = (at(&a), at(&b));
                assert_eq!(at(&sum), sums(&x, &y, modulus.value()));
                for k in 0..16 {
                    assert_eq!(at(&difference)[k], modulus.sub(x[k], y[k]));
                    let factor = modulus.from_i64(factors[row]);
                    assert_eq!(at(&scaled)[k], modulus.mul(x[k], factor));
                    let constant_here = match (component, k) {
                        (0, 0) => modulus.from_i128(constants[row]),
                        _ => 0,
                    };
                    assert_eq!(at(&constant)[k], modulus.add(x[k], constant_here));
                }
            }
        }
    }
}

#[test]
fn linear_layers_are_sums_of_multiples() {
    let context = portable(toy(16, &[45, 31], None, None));
    let a = uniform(&context, 6, 3, 2, 2);
    let weights = [[3i16, -127, 0], [127, 1, -2]];
    let tile = Tile {
        outputs: vec![0, 2],
        inputs: vec![0, 1, 2],
        weights: weights.concat(),
    };
    let map = LinearMap::new(3, 3, WeightWidth::Eight, vec![tile])
        .unwrap()
        .prepare(context.backend());
    let result = context.linear(&a, &map, 256.0).unwrap();
    assert_eq!(result.scale().log2(), 28.0);
    for component in 0..2 {
        for limb in 0..2 {
            let modulus = context.modulus(limb);
            let inputs: Vec<_> = (0..3)
                .map(|row| coefficients(&context, &a, component, limb, row))
                .collect();
            let at = |row| coefficients(&context, &result, component, limb, row);
            assert!(at(1).iter().all(|&r| r == 0));
            for (output, weights) in [(0, weights[0]), (2, weights[1])] {
                for (k, found) in at(output).into_iter().enumerate() {
                    let expected = (0..3).fold(0, |sum, input| {
                        let weight = modulus.from_i64(weights[input].into());
                        modulus.add(sum, modulus.mul(weight, inputs[input][k]))
                    });
                    assert_eq!(found, expected);
                }
            }
        }
    }
    let short = a.select(&[0, 1]).unwrap();
    assert!(matches!(
        context.linear(&short, &map, 1.0),
        Err(Error::Count {
            expected: 3,
            found: 2,
            ..
        })
    ));
}

/// The centred integer with the given residues, by the textbook formula.
fn centred(residues: &[(u64, Modulus)]) -> i128 {
    let product: i128 = residues
        .iter()
        .map(|(_, q)| i128::from(q.value()))
        .product();
    let sum = residues.iter().fold(0i128, |sum, &(residue, q)| {
        let cofactor = product / i128::from(q.value());
        let inverse = q.inv(q.from_i128(cofactor));
        let factor = i128::from(q.mul(residue, inverse));
        (sum + cofactor * factor) % product
    });
    if sum > product / 2 {
        sum - product
    } else {
        sum
    }
}

fn check_rescale(context: &Context, map: &Ciphertexts, count: usize) {
    let limbs = map.limbs();
    let kept = limbs - count;
    let rescaled = context.rescale(map.clone(), count).unwrap();
    assert_eq!(
        (rescaled.limbs(), rescaled.components()),
        (kept, map.components())
    );
    let dropped: i128 = (kept..limbs)
        .map(|limb| i128::from(context.modulus(limb).value()))
        .product();
    let bits = map.scale().log2() - (dropped as f64).log2();
    assert!((rescaled.scale().log2() - bits).abs() < 1e-9);
    for component in 0..map.components() {
        for row in 0..map.len() {
            let all: Vec<_> = (0..limbs)
                .map(|limb| coefficients(context, map, component, limb, row))
                .collect();
            let result: Vec<_> = (0..kept)
                .map(|limb| coefficients(context, &rescaled, component, limb, row))
                .collect();
            for k in 0..context.ring_degree() {
                let integer = |residues: &[Vec<u64>]| {
                    let pairs: Vec<_> = residues
                        .iter()
                        .enumerate()
                        .map(|(limb, r)| (r[k], *context.modulus(limb)))
                        .collect();
                    centred(&pairs)
                };
                // The nearest integer: twice the remainder is at most the divisor.
                let difference = integer(&all) - integer(&result) * dropped;
                assert!(
                    difference.abs() <= dropped / 2,
                    "{count} {component} {row} {k}"
                );
            }
        }
    }
}

#[test]
fn rescale_rounds_to_the_nearest_integer() {
    let context = portable(toy(16, &[30, 28, 20, 17], None, None));
    for components in 2..=3 {
        for limbs in 2..=4 {
            let map = uniform(&context, 7, 5, components, limbs);
            for count in 1..limbs {
                check_rescale(&context, &map, count);
            }
            assert_eq!(context.rescale(map.clone(), 0).unwrap(), map);
            assert!(matches!(
                context.rescale(map.clone(), limbs),
                Err(Error::Level { .. })
            ));
        }
    }
}

#[test]
fn a_group_is_rounded_once() {
    // One by one the error reaches half a unit plus half a unit of the next: some coefficients differ.
    let context = portable(toy(64, &[40, 17, 16], None, None));
    let map = uniform(&context, 8, 20, 2, 3);
    let group = context.rescale(map.clone(), 2).unwrap();
    let once = context.rescale(map, 1).unwrap();
    let twice = context.rescale(once, 1).unwrap();
    assert!(group.scale().is_close_to(twice.scale()));
    let modulus = context.modulus(0);
    let mut different = 0;
    for row in 0..20 {
        let pairs = coefficients(&context, &group, 0, 0, row)
            .into_iter()
            .zip(coefficients(&context, &twice, 0, 0, row));
        for (a, b) in pairs {
            let difference = modulus.center(modulus.sub(a, b));
            assert!(difference.abs() <= 1);
            different += usize::from(difference != 0);
        }
    }
    assert!(
        different < 10,
        "{different} of 1280 differ: expected about 2^-17 of them"
    );
}

#[test]
fn dropped_limbs_leave_the_others() {
    let context = portable(toy(16, &[30, 28, 20], None, None));
    let map = uniform(&context, 9, 2, 2, 3);
    let dropped = context.drop_limbs(map.clone(), 2).unwrap();
    assert_eq!(dropped.level(), 0);
    assert_eq!(dropped.scale(), map.scale());
    assert_eq!(dropped.part(1, 0), map.part(1, 0));
    assert!(matches!(
        context.drop_limbs(map, 3),
        Err(Error::Level { .. })
    ));
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let context = portable(toy(16, &[30, 28, 20], None, None));
    let other = portable(toy(16, &[30, 28, 21], None, None));
    let a = uniform(&context, 10, 2, 2, 3);
    let refused = |b: &Ciphertexts| context.add(&a, b).unwrap_err();
    assert!(matches!(
        refused(&uniform(&other, 1, 2, 2, 3)),
        Error::ParametersMismatch { .. }
    ));
    assert!(matches!(
        refused(&uniform(&context, 1, 3, 2, 3)),
        Error::Count { .. }
    ));
    assert!(matches!(
        refused(&uniform(&context, 1, 2, 3, 3)),
        Error::Components { .. }
    ));
    assert!(matches!(
        refused(&uniform(&context, 1, 2, 2, 2)),
        Error::Level { .. }
    ));
    let scaled = a.clone().with_scale(Scale::from_log2(20.0001).unwrap());
    assert!(matches!(refused(&scaled), Error::ScaleMismatch { .. }));
    context.multiply(&a, &scaled).unwrap();
    assert!(
        context
            .multiply(&a, &uniform(&context, 1, 2, 2, 2))
            .is_err()
    );
    let three = uniform(&context, 1, 2, 3, 3);
    assert!(matches!(
        context.square(three.clone()),
        Err(Error::Components { .. })
    ));
    assert!(matches!(
        context.multiply(&three, &three),
        Err(Error::Components { .. })
    ));
    assert!(matches!(
        context.square_shifted(a.clone(), &[1]),
        Err(Error::Count { .. })
    ));
    assert!(matches!(
        context.multiply_integers(&a, &[1; 3]),
        Err(Error::Count { .. })
    ));
    assert!(matches!(
        context.add_constants(&mut a.clone(), &[]),
        Err(Error::Count { .. })
    ));
    assert!(a.select(&[0, 2]).is_err() && a.select(&[]).is_err());
    let swapped = a.select(&[1, 0]).unwrap();
    assert_eq!(swapped.part(1, 2).row(0), a.part(1, 2).row(1));
}
