//! The decomposition behind relinearization.
//!
//! Relinearization writes the third component as Σ digit · factor with small digits, and replaces every
//! factor by an encryption of factor · s². A factor is non-zero modulo the digit's own limbs only, so a key made for
//! the whole chain serves every level: a ciphertext with fewer limbs uses fewer digits, and the last of them is narrower.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sordino_ring::Modulus;

use crate::mixed_radix::balanced;

/// How the third component of a product is decomposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Gadget {
    /// One digit per limb; the result is divided by the special prime P, so its noise depends on limb / P.
    SpecialPrime,
    /// One digit per `limbs` limbs, from the first limb on; the result is divided by the product P of the special primes,
    /// so its noise depends on the product of a digit's limbs / P.
    ///
    /// # Reference
    /// Han and Ki, "Better Bootstrapping for Approximate Homomorphic Encryption", CT-RSA 2020 (hybrid key switching).
    WideDigits {
        /// Limbs of a digit; the last digit of a chain may have fewer.
        limbs: u32,
    },
    /// Digits of few bits of each limb's centred residue, and no special prime.
    SmallDigits {
        /// The widest digit: a limb of b bits is cut evenly into ⌈b / digit_bits⌉ digits.
        digit_bits: u32,
    },
}

/// The narrowest digits that are accepted: below, keys only grow.
pub const SMALLEST_DIGIT_BITS: u32 = 4;

/// The widest digits that are accepted: a whole limb.
pub const LARGEST_DIGIT_BITS: u32 = 50;

/// One digit of a gadget: which limbs it is taken from and which bits of their centred residue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// The first of the limbs whose centred residue is cut.
    pub first: usize,
    /// How many limbs; the digit of more than one is their whole residue.
    pub limbs: usize,
    /// The digit's weight is 2^`shift`.
    pub shift: u32,
    /// Bits of the digit, of each of its limbs; the last digit of a limb takes all that is left.
    pub bits: u32,
    /// Whether this is the last digit of its limbs.
    pub last: bool,
}

impl Digit {
    /// The digits of a chain of limbs, limb by limb from the first, low digits first.
    pub(crate) fn of_chain(gadget: Gadget, primes: &[u64]) -> Vec<Digit> {
        let mut digits = Vec::new();
        let width = match gadget {
            Gadget::WideDigits { limbs } => limbs as usize,
            Gadget::SpecialPrime | Gadget::SmallDigits { .. } => 1,
        };
        for (group, primes) in primes.chunks(width).enumerate() {
            let limb_bits = u64::BITS - primes[0].leading_zeros();
            let (count, bits) = match gadget {
                Gadget::SpecialPrime | Gadget::WideDigits { .. } => (1, limb_bits),
                Gadget::SmallDigits { digit_bits } => {
                    let count = limb_bits.div_ceil(digit_bits);
                    (count, limb_bits.div_ceil(count))
                }
            };
            digits.extend((0..count).map(|position| Digit {
                first: group * width,
                limbs: primes.len(),
                shift: position * bits,
                bits,
                last: position + 1 == count,
            }));
        }
        digits
    }

    /// The limbs that it is taken from.
    pub const fn limbs(&self) -> Range<usize> {
        self.first..self.first + self.limbs
    }

    /// Whether it is the whole residue modulo its limbs.
    pub const fn is_whole(&self) -> bool {
        self.shift == 0 && self.last
    }

    /// The number of integers that this digit of a residue modulo the primes of its chain ranges over.
    pub fn width(&self, primes: &[u64]) -> f64 {
        if self.last {
            let product: f64 = primes[self.limbs()]
                .iter()
                .map(|&prime| prime as f64)
                .product();
            product / f64::from(self.shift).exp2()
        } else {
            f64::from(self.bits).exp2()
        }
    }

    /// Cuts this digit of one limb out of centred residues, stored as [`MixedRadix`](crate::MixedRadix) does, as a balanced integer in
    /// −2^(bits−1) … 2^(bits−1).
    pub(crate) fn cut_into(&self, prime: &Modulus, centred: &[u64], digits: &mut [i64]) {
        // Adding half of the range of every lower digit turns the floor of the shift into the carry of
        // a balanced decomposition, so each digit is computed on its own.
        let lower = self.shift / self.bits;
        let half = 1i64 << (self.bits - 1);
        let carry = (0..lower).fold(0i64, |sum, position| sum + (half << (position * self.bits)));
        let shift = self.shift;
        if self.last {
            for (digit, &value) in digits.iter_mut().zip(centred) {
                *digit = (balanced(prime, value) + carry) >> shift;
            }
        } else {
            let mask = (1i64 << self.bits) - 1;
            for (digit, &value) in digits.iter_mut().zip(centred) {
                *digit = ((((balanced(prime, value) + carry) >> shift) + half) & mask) - half;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_recompose_and_are_balanced() {
        for (prime, digit_bits) in [
            ((1u64 << 50) - 27, 16),
            ((1 << 32) - 5, 11),
            ((1 << 32) - 5, 16),
            ((1 << 32) - 5, 50),
            (65_537, 4),
            ((1 << 48) - 59, 7),
        ] {
            let half = (prime / 2) as i64;
            let mut values = vec![0, 1, -1, half, -half, half - 1, 1 - half];
            values.extend((0..1000).map(|k: i64| (k * 0x9E37_79B9_7F4A) % half));
            values.extend((0..60).map(|k| 1i64 << k).filter(|v| *v <= half));
            let digits = Digit::of_chain(Gadget::SmallDigits { digit_bits }, &[prime]);
            assert!(digits.iter().all(|digit| digit.bits <= digit_bits.max(1)));
            let modulus = Modulus::new(prime).unwrap();
            let stored: Vec<u64> = values.iter().map(|value| (value + half) as u64).collect();
            let mut sums = vec![0i64; values.len()];
            let mut digit_values = vec![0i64; values.len()];
            for digit in &digits {
                digit.cut_into(&modulus, &stored, &mut digit_values);
                for (sum, &value) in sums.iter_mut().zip(&digit_values) {
                    assert!(value.abs() as f64 <= digit.width(&[prime]) / 2.0 + 1.0);
                    *sum += value << digit.shift;
                }
            }
            assert_eq!(sums, values);
        }
    }

    #[test]
    fn limbs_are_cut_evenly() {
        let digits = Digit::of_chain(Gadget::SmallDigits { digit_bits: 24 }, &[(1 << 32) - 5]);
        assert_eq!(
            digits.iter().map(|digit| digit.bits).collect::<Vec<_>>(),
            [16, 16]
        );
    }

    #[test]
    fn wide_digits_take_limbs_in_order_and_the_last_one_takes_what_is_left() {
        let primes = [97, 101, 103, 107, 109];
        for (limbs, expected) in [
            (1, &[0, 1, 2, 3, 4, 5][..]),
            (2, &[0, 2, 4, 5]),
            (4, &[0, 4, 5]),
            (9, &[0, 5]),
        ] {
            let expected: Vec<_> = expected.windows(2).map(|pair| pair[0]..pair[1]).collect();
            let digits = Digit::of_chain(Gadget::WideDigits { limbs }, &primes);
            assert_eq!(
                digits.iter().map(Digit::limbs).collect::<Vec<_>>(),
                expected
            );
            assert!(digits.iter().all(Digit::is_whole));
            let product: f64 = digits.iter().map(|digit| digit.width(&primes)).product();
            assert_eq!(product, primes.iter().map(|&p| p as f64).product::<f64>());
        }
    }
}
