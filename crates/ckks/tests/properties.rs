//! Laws that hold for any input.

mod common;

use common::{coefficients, portable, toy, uniform};
use proptest::prelude::*;
use sordino_ckks::{Encoder, KeyId, MixedRadix, Scale};
use sordino_ring::Modulus;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoding_inverts_encoding(log2_n in 4u32..11, log2_scale in 20.0f64..45.0, seed: u64) {
        let n = 1usize << log2_n;
        let (encoder, scale) = (Encoder::new(n), Scale::from_log2(log2_scale).unwrap());
        let slots: Vec<f64> = (0..n as u64)
            .map(|k| (k.wrapping_mul(seed | 1) >> 12) as f64 / (1u64 << 51) as f64 - 1.0)
            .collect();
        let (mut integers, mut decoded) = (vec![0; n], vec![0.0; n]);
        encoder.encode_into(&slots, scale, &mut integers).unwrap();
        let floats: Vec<f64> = integers.iter().map(|&a| a as f64).collect();
        encoder.decode_into(&floats, scale, &mut decoded).unwrap();
        // Half a unit in every coefficient, each counted twice in a slot.
        let bound = n as f64 / scale.value() * 1.001;
        prop_assert!(slots.iter().zip(&decoded).all(|(a, b)| (a - b).abs() < bound));
    }

    #[test]
    fn products_distribute_over_sums(seed: u8) {
        let context = portable(toy(16, &[50, 31], None, None));
        let [a, b, c] = [0, 1, 2].map(|k| uniform(&context, seed.wrapping_add(k), 2, 2, 2));
        let left = context.multiply(&context.add(&a, &b).unwrap(), &c).unwrap();
        let right = context
            .add(&context.multiply(&a, &c).unwrap(), &context.multiply(&b, &c).unwrap())
            .unwrap();
        prop_assert_eq!(left, right);
    }

    #[test]
    fn a_rescaled_multiple_is_the_original(seed: u8, rows in 1usize..5) {
        // Multiplied by the prime that is then divided away: nothing is left to round.
        let context = portable(toy(32, &[40, 30, 20], None, None));
        let a = uniform(&context, seed, rows, 2, 3);
        let prime = context.modulus(2).value();
        let multiple = context.multiply_integers(&a, &vec![prime as i64; rows]).unwrap();
        let back = context.rescale(multiple, 1).unwrap();
        for component in 0..2 {
            for limb in 0..2 {
                for row in 0..rows {
                    prop_assert_eq!(
                        coefficients(&context, &back, component, limb, row),
                        coefficients(&context, &a, component, limb, row)
                    );
                }
            }
        }
    }

    #[test]
    fn mixed_radix_recovers_integers(values in prop::collection::vec(any::<i64>(), 1..40)) {
        let primes: Vec<_> = sordino_ring::primes_below(1 << 30, 16).take(3).collect();
        let group = MixedRadix::new(primes.iter().map(|&p| Modulus::new(p).unwrap()).collect());
        let residues: Vec<u64> = group
            .primes()
            .flat_map(|p| values.iter().map(|&v| p.from_i64(v)))
            .collect();
        let mut digits = vec![0; residues.len()];
        group.digits_into(sordino_ring::backend::portable(), &residues, &mut digits);
        let mut floats = vec![0.0; values.len()];
        group.floats_into(&digits, &mut floats);
        for (float, value) in floats.iter().zip(values) {
            prop_assert!((float - value as f64).abs() <= 1e-15 * (value as f64).abs());
        }
    }

    #[test]
    fn key_identities_are_read_as_written(bytes: [u8; 16]) {
        prop_assert_eq!(KeyId(bytes).to_string().parse::<KeyId>().unwrap(), KeyId(bytes));
    }

    #[test]
    fn text_that_is_no_identity_is_refused(text in ".{0,40}") {
        prop_assume!(text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        prop_assert!(text.parse::<KeyId>().is_err());
    }
}
