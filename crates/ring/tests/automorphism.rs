//! Automorphisms on every backend: against substitution in the coefficients, as a group, and as rotations of slots.

use std::f64::consts::PI;

use proptest::prelude::*;
use sordino_ring::{Automorphism, Error, Modulus, NttTable, backend, primes_below, rotation_order};

fn modulus(bits: u32, n: usize) -> Modulus {
    Modulus::new(primes_below(1 << bits, n).next().unwrap()).unwrap()
}

/// Deterministic residues.
fn residues(seed: u64, n: usize, q: &Modulus) -> Vec<u64> {
    (0..n as u64)
        .map(|k| {
            q.reduce_u64(
                (k + 1)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ seed)
                    .rotate_left(29),
            )
        })
        .collect()
}

/// X → X^g on coefficients in the basis 1, X^k + X^-k, by definition; `negate` is the minus of the coefficients.
fn substitute<T: Copy>(coefficients: &[T], g: usize, negate: impl Fn(T) -> T) -> Vec<T> {
    let n = coefficients.len();
    let mut image = coefficients.to_vec();
    for (k, &a) in coefficients.iter().enumerate() {
        // X^(2N) = -1, and X^e stands for X^-e as well.
        let exponent = k * g % (4 * n);
        let exponent = exponent.min(4 * n - exponent);
        if exponent < n {
            image[exponent] = a;
        } else {
            image[2 * n - exponent] = negate(a);
        }
    }
    image
}

fn power_of_five(n: usize, steps: usize) -> usize {
    (0..steps).fold(1, |power, _| 5 * power % (4 * n))
}

/// The image of coefficients, computed in evaluation form.
fn image(table: &NttTable, steps: usize, coefficients: &[u64]) -> Vec<u64> {
    let n = table.ring_degree();
    let automorphism = Automorphism::new(n, steps).unwrap();
    let (mut evaluations, mut moved) = (coefficients.to_vec(), vec![0; n]);
    table.forward(&mut evaluations);
    automorphism.apply_into(table.backend(), &evaluations, &mut moved);
    table.inverse(&mut moved);
    moved
}

#[test]
fn permuted_evaluations_are_substituted_coefficients() {
    for backend in backend::available() {
        for (n, bits) in [(16, 20), (32, 50), (256, 32), (4096, 45), (65536, 50)] {
            let q = modulus(bits, n);
            let table = NttTable::new(n, q, backend).unwrap();
            let a = residues(1, n, &q);
            for steps in [0, 1, 2, 5, n / 2, n - 1] {
                let expected = substitute(&a, power_of_five(n, steps), |x| q.neg(x));
                let found = image(&table, steps, &a);
                assert_eq!(found, expected, "{}, N = {n}, 5^{steps}", backend.name);
            }
        }
    }
}

#[test]
fn images_have_rotated_slots() {
    let n = 32;
    let order = rotation_order(n);
    let a: Vec<f64> = (0..n).map(|k| ((k * k * 37) % 101) as f64 - 50.0).collect();
    // The vector of the slots in rotation order, from the definition of a slot.
    let vector = |a: &[f64]| -> Vec<f64> {
        let slot = |j: u32| {
            let cosine = |k: usize| (PI * f64::from(2 * j + 1) * k as f64 / (2 * n) as f64).cos();
            a[0] + (1..n).map(|k| 2.0 * a[k] * cosine(k)).sum::<f64>()
        };
        order.iter().map(|&j| slot(j)).collect()
    };
    let start = vector(&a);
    for steps in 0..n {
        let image = vector(&substitute(&a, power_of_five(n, steps), |x| -x));
        for p in 0..n {
            assert!(
                (image[p] - start[(p + steps) % n]).abs() < 1e-9,
                "{steps} {p}"
            );
        }
    }
}

proptest! {
    #[test]
    fn they_are_homomorphisms_and_compose(
        log in 4_u32..9, first in 0_usize..512, second in 0_usize..512, seed: u64, which in 0_usize..4,
    ) {
        let n = 1 << log;
        let q = modulus(40, n);
        let backends = backend::available();
        let backend = backends[which % backends.len()];
        let (a, b) = (residues(seed, n, &q), residues(seed ^ 77, n, &q));
        let apply = |steps, polynomial: &[u64]| {
            let mut out = vec![0; n];
            Automorphism::new(n, steps).unwrap().apply_into(backend, polynomial, &mut out);
            out
        };
        let combined = |x: &[u64], y: &[u64], product: bool| {
            let mut out = x.to_vec();
            if product {
                backend.multiply_assign(&q, &mut out, y);
            } else {
                backend.add_assign(&q, &mut out, y);
            }
            out
        };
        for product in [false, true] {
            let image = apply(first, &combined(&a, &b, product));
            prop_assert_eq!(image, combined(&apply(first, &a), &apply(first, &b), product));
        }
        let twice = apply(second, &apply(first, &a));
        prop_assert_eq!(&twice, &apply(first + second, &a));
        let back = 2 * n - first % n - second % n;
        prop_assert_eq!(&apply(back, &twice), &a);
    }
}

#[test]
fn only_powers_of_two_that_the_transform_supports() {
    for bad in [0, 8, 48, 1 << 17] {
        assert!(matches!(
            Automorphism::new(bad, 1),
            Err(Error::RingDegree { found, .. }) if found == bad
        ));
    }
    let automorphism = Automorphism::new(64, 64 + 3).unwrap();
    assert_eq!((automorphism.ring_degree(), automorphism.steps()), (64, 3));
}
