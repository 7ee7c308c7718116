//! Limb operations on every backend against 128-bit arithmetic.

use proptest::prelude::*;
use sordino_ring::{Modulus, backend};

/// From 2 to 50 bits; 2^32 ± a little, and both ends of the 50-bit range.
const PRIMES: [u64; 10] = [
    3,
    5,
    65537,
    1_048_583,
    4_294_967_291,
    4_294_967_311,
    281_474_976_710_597,
    281_474_976_710_677,
    562_949_953_421_381,
    1_125_899_906_842_597,
];

/// Residues with the extremes over-represented.
fn residue(q: u64) -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..q, 1 => Just(q - 1), 1 => Just(0), 1 => Just(q / 2), 1 => Just(q / 2 + 1)]
}

#[derive(Debug, Clone)]
struct Case {
    q: u64,
    a: Vec<u64>,
    b: Vec<u64>,
    c: Vec<u64>,
    w: u64,
}

fn case() -> impl Strategy<Value = Case> {
    (prop::sample::select(PRIMES.to_vec()), 0_usize..40).prop_flat_map(|(q, length)| {
        let limb = || prop::collection::vec(residue(q), length);
        (limb(), limb(), limb(), residue(q)).prop_map(move |(a, b, c, w)| Case { q, a, b, c, w })
    })
}

/// The value mod q of a formula over 128-bit integers, position by position.
fn expect(case: &Case, formula: impl Fn(u128, u128, u128, u128, u128) -> u128) -> Vec<u64> {
    let wide = u128::from;
    case.a
        .iter()
        .zip(&case.b)
        .zip(&case.c)
        .map(|((&a, &b), &c)| {
            (formula(wide(a), wide(b), wide(c), wide(case.w), wide(case.q)) % wide(case.q)) as u64
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn operations_match_wide_arithmetic(case in case()) {
        let modulus = Modulus::new(case.q).unwrap();
        for backend in backend::available() {
            let run = |operation: &dyn Fn(&mut [u64])| {
                let mut a = case.a.clone();
                operation(&mut a);
                a
            };
            let (q, b, c, w) = (&modulus, &case.b, &case.c, case.w);
            prop_assert_eq!(run(&|a| backend.add_assign(q, a, b)), expect(&case, |a, b, _, _, _| a + b));
            prop_assert_eq!(run(&|a| backend.sub_assign(q, a, b)), expect(&case, |a, b, _, _, q| a + q - b));
            prop_assert_eq!(run(&|a| backend.multiply_assign(q, a, b)), expect(&case, |a, b, _, _, _| a * b));
            prop_assert_eq!(run(&|a| backend.multiply_into(q, b, c, a)), expect(&case, |_, b, c, _, _| b * c));
            prop_assert_eq!(run(&|a| backend.multiply_add_assign(q, a, b, c)), expect(&case, |a, b, c, _, _| a + b * c));
            prop_assert_eq!(run(&|a| backend.add_scalar_assign(q, a, w)), expect(&case, |a, _, _, w, _| a + w));
            prop_assert_eq!(run(&|a| backend.multiply_scalar_assign(q, a, w)), expect(&case, |a, _, _, w, _| a * w));
            prop_assert_eq!(
                run(&|a| backend.multiply_scalar_add_assign(q, a, b, w)),
                expect(&case, |a, b, _, w, _| a + b * w)
            );
            prop_assert_eq!(
                run(&|a| backend.sub_multiply_scalar_assign(q, a, b, w)),
                expect(&case, |a, b, _, w, q| (a + q - b) * w)
            );
            // Numbers of other moduli, up to the largest that there are, and more terms than are added at once.
            let largest = vec![(1 << Modulus::MAX_BITS) - 1; case.a.len()];
            let terms: Vec<(&[u64], u64)> = [(&largest[..], q.value() - 1), (&case.b[..], w), (&case.c[..], 1)].repeat(4);
            prop_assert_eq!(
                run(&|a| backend.combine_assign(q, a, &terms)),
                expect(&case, |a, b, c, w, q| {
                    let largest = ((1 << Modulus::MAX_BITS) - 1) % q * (q - 1) % q;
                    a + 4 * (largest + b * w % q + c)
                })
            );
            let (mut c0, mut c1, mut c2) = (case.a.clone(), case.b.clone(), case.c.clone());
            backend.square_shifted_assign(q, &mut c0, &mut c1, w, &mut c2);
            prop_assert_eq!(c0, expect(&case, |a, _, _, w, q| a * ((a + w) % q)));
            prop_assert_eq!(c1, expect(&case, |a, b, _, w, q| b * ((2 * a + w) % q)));
            prop_assert_eq!(c2, expect(&case, |_, b, _, _, _| b * b));
        }
    }

    #[test]
    fn reductions_match_wide_arithmetic(
        to in prop::sample::select(PRIMES.to_vec()),
        signed in prop::collection::vec(prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), Just(-1)], 0..40),
    ) {
        let to = Modulus::new(to).unwrap();
        for backend in backend::available() {
            let mut out = vec![u64::MAX; signed.len()];
            backend.reduce_i64_into(&to, &signed, &mut out);
            let expected: Vec<u64> =
                signed.iter().map(|&x| i128::from(x).rem_euclid(i128::from(to.value())) as u64).collect();
            prop_assert_eq!(out, expected);
        }
    }
}

#[test]
#[should_panic(expected = "different lengths")]
fn unequal_lengths_are_refused() {
    let q = Modulus::new(65537).unwrap();
    backend::portable().add_assign(&q, &mut [1, 2], &[1]);
}

#[test]
#[should_panic(expected = "reduced")]
fn constants_out_of_range_are_refused() {
    let q = Modulus::new(65537).unwrap();
    backend::portable().multiply_scalar_assign(&q, &mut [1, 2], 65537);
}
