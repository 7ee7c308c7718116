//! The decomposition behind relinearization.
//!
//! Relinearization writes the third component as Σ digit · factor with small digits, and replaces every
//! factor by an encryption of factor · s². A factor is non-zero modulo one limb only, so a key made for
//! the whole chain serves every level: a ciphertext with fewer limbs uses fewer digits.

use serde::{Deserialize, Serialize};

/// How the third component of a product is decomposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Gadget {
    /// One digit per limb; the result is divided by the special prime P, so its noise depends on limb / P.
    SpecialPrime,
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

/// One digit of a gadget: which limb it is taken from and which bits of that limb's centred residue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// The limb whose centred residue is cut.
    pub limb: usize,
    /// The digit's weight is 2^`shift`.
    pub shift: u32,
    /// Bits of the digit; the last digit of a limb takes all that is left.
    pub bits: u32,
    /// Whether this is the last digit of its limb.
    pub last: bool,
}

impl Digit {
    /// The digits of a chain of limbs, limb by limb from the first, low digits first.
    pub(crate) fn of_chain(gadget: Gadget, primes: &[u64]) -> Vec<Digit> {
        let mut digits = Vec::new();
        for (limb, &prime) in primes.iter().enumerate() {
            let limb_bits = u64::BITS - prime.leading_zeros();
            let (count, bits) = match gadget {
                Gadget::SpecialPrime => (1, limb_bits),
                Gadget::SmallDigits { digit_bits } => {
                    let count = limb_bits.div_ceil(digit_bits);
                    (count, limb_bits.div_ceil(count))
                }
            };
            digits.extend((0..count).map(|position| Digit {
                limb,
                shift: position * bits,
                bits,
                last: position + 1 == count,
            }));
        }
        digits
    }

    /// The number of integers that this digit of a residue modulo `prime` ranges over.
    pub fn width(&self, prime: u64) -> f64 {
        if self.last {
            prime as f64 / f64::from(self.shift).exp2()
        } else {
            f64::from(self.bits).exp2()
        }
    }

    /// Cuts this digit out of centred residues, as a balanced integer in −2^(bits−1) … 2^(bits−1).
    pub(crate) fn cut_into(&self, centred: &[i64], digits: &mut [i64]) {
        // Adding half of the range of every lower digit turns the floor of the shift into the carry of
        // a balanced decomposition, so each digit is computed on its own.
        let lower = self.shift / self.bits;
        let half = 1i64 << (self.bits - 1);
        let carry = (0..lower).fold(0i64, |sum, position| sum + (half << (position * self.bits)));
        let shift = self.shift;
        if self.last {
            for (digit, &value) in digits.iter_mut().zip(centred) {
                *digit = (value + carry) >> shift;
            }
        } else {
            let mask = (1i64 << self.bits) - 1;
            for (digit, &value) in digits.iter_mut().zip(centred) {
                *digit = ((((value + carry) >> shift) + half) & mask) - half;
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
            let mut sums = vec![0i64; values.len()];
            let mut digit_values = vec![0i64; values.len()];
            for digit in &digits {
                digit.cut_into(&values, &mut digit_values);
                for (sum, &value) in sums.iter_mut().zip(&digit_values) {
                    assert!(value.abs() as f64 <= digit.width(prime) / 2.0 + 1.0);
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
}
