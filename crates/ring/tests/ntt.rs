//! The transform on every backend: against schoolbook products, against its definition, and against each other.

use proptest::prelude::*;
use sordino_ring::{Error, Modulus, NttTable, backend, backend::Backend, primes_below};

/// Every backend; those that this processor lacks are reported.
fn backends() -> Vec<&'static Backend> {
    let available = backend::available();
    if !available.iter().any(|b| b.name == "avx512-vnni") {
        println!("skipped: backend avx512-vnni, the processor lacks its instructions");
    }
    available
}

/// Primes of about the given number of bits (the largest below that power of two) with a transform for N.
fn prime(bits: u32, n: usize) -> Modulus {
    Modulus::new(
        primes_below(1 << bits, n)
            .next()
            .expect("a prime of that size"),
    )
    .unwrap()
}

/// Deterministic residues (SplitMix64).
fn residues(seed: u64, n: usize, q: &Modulus) -> Vec<u64> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            q.reduce_u64(z ^ (z >> 31))
        })
        .collect()
}

/// The product in Z_q[X]/(X^2N + 1) of two conjugate-invariant polynomials, by definition.
fn schoolbook(a: &[u64], b: &[u64], q: &Modulus) -> Vec<u64> {
    let n = a.len();
    // X^-k = -X^(2N-k)
    let lift = |a: &[u64]| {
        let mut full = vec![0; 2 * n];
        full[0] = a[0];
        for k in 1..n {
            full[k] = a[k];
            full[2 * n - k] = q.neg(a[k]);
        }
        full
    };
    let (a, b) = (lift(a), lift(b));
    let mut product = vec![0; 2 * n];
    for (i, &x) in a.iter().enumerate() {
        for (j, &y) in b.iter().enumerate() {
            let term = q.mul(x, y);
            let (place, term) = if i + j < 2 * n {
                (i + j, term)
            } else {
                (i + j - 2 * n, q.neg(term))
            };
            product[place] = q.add(product[place], term);
        }
    }
    // The product is conjugate-invariant again.
    for k in 1..n {
        assert_eq!(product[2 * n - k], q.neg(product[k]));
    }
    assert_eq!(product[n], 0);
    product.truncate(n);
    product
}

#[test]
fn products_match_schoolbook() {
    for backend in backends() {
        for log in 4..=8 {
            let n = 1 << log;
            for bits in [20_u32, 24, 31, 32, 33, 40, 48, 50] {
                let q = prime(bits, n);
                let table = NttTable::new(n, q, backend).unwrap();
                let (a, b) = (residues(1, n, &q), residues(2, n, &q));
                let (mut x, mut y) = (a.clone(), b.clone());
                table.forward(&mut x);
                table.forward(&mut y);
                backend.multiply_assign(&q, &mut x, &y);
                table.inverse(&mut x);
                assert_eq!(
                    x,
                    schoolbook(&a, &b, &q),
                    "{} N = {n} q = {q}",
                    backend.name
                );
            }
        }
    }
}

#[test]
fn evaluations_are_in_the_documented_order() {
    // The definition, with its own root finding: position t holds the value at ψ^(2·r(t)+1)/ζ, where ζ² = ψ.
    for backend in backends() {
        for (log, bits) in [(4, 20), (5, 32), (6, 50), (7, 41)] {
            let n = 1_usize << log;
            let q = prime(bits, n);
            let table = NttTable::new(n, q, backend).unwrap();
            // X + 1/X separates the points, and tells ζ apart up to conjugation.
            let mut monomial = vec![0; n];
            monomial[1] = 1;
            table.forward(&mut monomial);
            let generator = (2..)
                .find(|&g| q.pow(g, (q.value() - 1) / 2) == q.value() - 1)
                .unwrap();
            let root = q.pow(generator, (q.value() - 1) / (4 * n as u64));
            let trace = |x: u64| q.add(x, q.inv(x));
            // Position 0 is at ψ/ζ = ζ, position 2 at ψ^(N/2+1)/ζ = ζ^(N+1). A conjugate gives the same values.
            let matching: Vec<u64> = (1..4 * n as u64)
                .step_by(2)
                .map(|e| q.pow(root, e))
                .filter(|&z| {
                    trace(z) == monomial[0] && trace(q.pow(z, n as u64 + 1)) == monomial[2]
                })
                .collect();
            assert_eq!(matching.len(), 2, "a primitive root and its conjugate");
            let zeta = matching[0];
            let a = residues(5, n, &q);
            let mut values = a.clone();
            table.forward(&mut values);
            for (t, &value) in values.iter().enumerate() {
                let reversed = t.reverse_bits() >> (usize::BITS - log);
                let x = q.pow(zeta, 4 * reversed as u64 + 1);
                let sum = (1..n).fold(a[0], |sum, k| {
                    q.add(sum, q.mul(a[k], trace(q.pow(x, k as u64))))
                });
                assert_eq!(value, sum, "{} N = {n} position {t}", backend.name);
            }
        }
    }
}

#[test]
fn known_answers() {
    // The transform of 1, 2, …, 16, computed by tests/known_answers.py; this fixes ψ, ζ and the order.
    let answers: [(u64, [u64; 16]); 3] = [
        (
            1_048_193,
            [
                140940, 769736, 590428, 12038, 996329, 219737, 84815, 372139, 725284, 745913,
                845146, 754800, 757344, 13268, 868474, 489169,
            ],
        ),
        (
            4_294_966_657,
            [
                3257083339, 613440394, 3085059497, 3033784534, 1241731746, 346532812, 2564167468,
                104027935, 4169756055, 880898246, 702239264, 4151174263, 1838230542, 2027648545,
                2052496867, 4291461765,
            ],
        ),
        (
            1_125_899_906_842_177,
            [
                338756507305419,
                497257802606285,
                482557937750071,
                874774972403334,
                1083462047975152,
                826248936797465,
                155370294440626,
                954945256434400,
                745645085106176,
                603038121310484,
                59835696126005,
                469427148022479,
                912092210624409,
                336952303606210,
                544278492122740,
                122556442106177,
            ],
        ),
    ];
    for backend in backends() {
        for (q, expected) in answers {
            let table = NttTable::new(16, Modulus::new(q).unwrap(), backend).unwrap();
            let mut a: Vec<u64> = (1..=16).collect();
            table.forward(&mut a);
            assert_eq!(a, expected, "{} q = {q}", backend.name);
        }
    }
}

#[test]
fn every_backend_gives_the_same_bytes_for_every_degree_and_prime_size() {
    let reference = backend::portable();
    for log in 4..=16 {
        let n = 1_usize << log;
        // Small primes may not exist for large degrees; two of a size show that roots are chosen alike.
        for bits in [20_u32, 24, 30, 31, 32, 33, 36, 40, 44, 47, 48, 49, 50] {
            for q in primes_below(1 << bits, n).take(2) {
                let q = Modulus::new(q).unwrap();
                let portable = NttTable::new(n, q, reference).unwrap();
                let a = residues(u64::from(bits), n, &q);
                let mut values = a.clone();
                portable.forward(&mut values);
                assert!(values.iter().all(|&v| v < q.value()));
                let mut coefficients = values.clone();
                portable.inverse(&mut coefficients);
                assert!(
                    coefficients == a,
                    "portable N = {n} q = {q} is no round trip"
                );
                for backend in backends().into_iter().filter(|b| b.name != "portable") {
                    let table = NttTable::new(n, q, backend).unwrap();
                    let mut x = a.clone();
                    table.forward(&mut x);
                    assert!(x == values, "{} forward N = {n} q = {q}", backend.name);
                    table.inverse(&mut x);
                    assert!(x == a, "{} inverse N = {n} q = {q}", backend.name);
                    // Any values can be transformed back, not only those that came from a transform.
                    let (mut x, mut y) = (residues(77, n, &q), residues(77, n, &q));
                    table.inverse(&mut x);
                    portable.inverse(&mut y);
                    assert!(
                        x == y,
                        "{} inverse of arbitrary values N = {n} q = {q}",
                        backend.name
                    );
                }
            }
        }
    }
}

#[test]
fn extreme_residues_stay_canonical() {
    for backend in backends() {
        for (log, bits) in [(4, 50), (9, 50), (13, 50), (16, 50), (14, 32), (15, 20)] {
            let n = 1_usize << log;
            let Some(q) = primes_below(1 << bits, n).next() else {
                continue;
            };
            let q = Modulus::new(q).unwrap();
            let table = NttTable::new(n, q, backend).unwrap();
            for pattern in [
                [q.value() - 1; 2],
                [0, q.value() - 1],
                [q.value() - 1, 1],
                [0; 2],
            ] {
                let a: Vec<u64> = (0..n).map(|k| pattern[k % 2]).collect();
                let mut x = a.clone();
                table.forward(&mut x);
                assert!(x.iter().all(|&v| v < q.value()));
                table.inverse(&mut x);
                assert!(x == a);
                table.inverse(&mut x);
                assert!(x.iter().all(|&v| v < q.value()));
                table.forward(&mut x);
                assert!(x == a);
            }
        }
    }
}

#[test]
fn a_constant_is_the_same_residue_everywhere() {
    for backend in backends() {
        for log in [4, 10, 13, 16] {
            let q = prime(40, 1 << log);
            let table = NttTable::new(1 << log, q, backend).unwrap();
            for c in [1, 2, q.value() / 3, q.value() - 1] {
                let mut a = vec![0; 1 << log];
                a[0] = c;
                table.forward(&mut a);
                assert!(a.iter().all(|&v| v == c));
            }
        }
    }
}

#[test]
fn refuses_degrees_and_primes_without_a_transform() {
    let backend = backend::portable();
    let q = prime(32, 1 << 16);
    for n in [0, 1, 8, 24, 1 << 17] {
        assert!(
            matches!(NttTable::new(n, q, backend), Err(Error::RingDegree { found, .. }) if found == n)
        );
    }
    // 1 mod 2N is not enough: 97 = 1 mod 32.
    let q = Modulus::new(97).unwrap();
    assert!(matches!(
        NttTable::new(16, q, backend),
        Err(Error::NoRootOfUnity {
            modulus: 97,
            order: 64,
            ..
        })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn transform_is_linear_and_invertible(
        log in 4_u32..=12, bits in 20_u32..=50, which in 0_usize..3, seed: u64, w: u64,
    ) {
        let n = 1 << log;
        let Some(q) = primes_below(1 << bits, n).nth(which) else { return Ok(()) };
        let q = Modulus::new(q).unwrap();
        let w = q.reduce_u64(w);
        for backend in backend::available() {
            let table = NttTable::new(n, q, backend).unwrap();
            let (a, b) = (residues(seed, n, &q), residues(!seed, n, &q));
            // T(a + w·b) = T(a) + w·T(b)
            let mut sum = a.clone();
            backend.multiply_scalar_add_assign(&q, &mut sum, &b, w);
            table.forward(&mut sum);
            let (mut x, mut y) = (a.clone(), b.clone());
            table.forward(&mut x);
            table.forward(&mut y);
            backend.multiply_scalar_add_assign(&q, &mut x, &y, w);
            prop_assert_eq!(&sum, &x);
            table.inverse(&mut y);
            prop_assert_eq!(&y, &b);
        }
    }
}
