//! Arithmetic modulo one prime below 2^50.

use crate::{Error, prime};

/// A prime modulus q, odd and below 2^50, with its precomputed reduction constants.
///
/// Residues are canonical: every operation expects its operands in `[0, q)` (checked in debug builds where it
/// is cheap) and returns such. No operation branches on the residues.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Modulus {
    value: u64,
    bits: u32,
    /// floor(2^64 / q)
    reciprocal: u64,
    /// floor(2^(bits - 2 + 64) / q), for products: see `reduce_product`.
    product_reciprocal: u64,
    /// 2^64 mod q
    two_to_64: u64,
}

impl Modulus {
    /// Moduli are below 2 to this power.
    pub const MAX_BITS: u32 = 50;

    /// Checks that `value` is an odd prime below 2^50 and precomputes its constants.
    ///
    /// # Errors
    /// [`Error::Modulus`] if it is not.
    ///
    /// # Cost
    /// A deterministic primality test, some microseconds.
    pub fn new(value: u64) -> Result<Self, Error> {
        let refuse = |reason| {
            Err(Error::Modulus {
                found: value,
                reason,
            })
        };
        if value >= 1 << Self::MAX_BITS {
            return refuse("it is not below 2^50");
        }
        if value.is_multiple_of(2) {
            return refuse("it is even");
        }
        if !prime::is_prime(value) {
            return refuse("it is not prime");
        }
        let bits = u64::BITS - value.leading_zeros();
        Ok(Self {
            value,
            bits,
            reciprocal: ((1_u128 << 64) / u128::from(value)) as u64,
            product_reciprocal: ((1_u128 << (bits - 2 + 64)) / u128::from(value)) as u64,
            two_to_64: ((1_u128 << 64) % u128::from(value)) as u64,
        })
    }

    /// The prime itself.
    #[inline]
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// The number of bits of the prime.
    #[inline]
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// The number of bytes that a packed residue takes: `bits` rounded up to whole bytes.
    #[inline]
    pub const fn byte_width(&self) -> usize {
        self.bits.div_ceil(8) as usize
    }

    /// Brings a value in `[0, 2q)` to `[0, q)` without a branch.
    #[inline(always)]
    const fn subtract_once(&self, a: u64) -> u64 {
        // For a < q the difference wraps to a number far above q, and the smaller one is a.
        let b = a.wrapping_sub(self.value);
        let keep = ((b as i64) >> 63) as u64;
        (a & keep) | (b & !keep)
    }

    /// a + b mod q.
    #[inline(always)]
    pub const fn add(&self, a: u64, b: u64) -> u64 {
        debug_assert!(a < self.value && b < self.value);
        self.subtract_once(a + b)
    }

    /// a - b mod q.
    #[inline(always)]
    pub const fn sub(&self, a: u64, b: u64) -> u64 {
        debug_assert!(a < self.value && b < self.value);
        let d = a.wrapping_sub(b);
        d.wrapping_add(self.value & ((d as i64) >> 63) as u64)
    }

    /// -a mod q.
    #[inline(always)]
    pub const fn neg(&self, a: u64) -> u64 {
        self.sub(0, a)
    }

    /// a · b mod q.
    #[inline(always)]
    pub const fn mul(&self, a: u64, b: u64) -> u64 {
        debug_assert!(a < self.value && b < self.value);
        self.reduce_product(a as u128 * b as u128)
    }

    /// Barrett reduction of a number below q^2.
    ///
    /// With s = bits - 2 the estimate floor(floor(x / 2^s) · floor(2^(s+64) / q) / 2^64) falls short of x / q by
    /// less than 2^s / q + x / 2^(s+64) + 1 < 1/2 + 2^-12 + 1, so one subtraction is left.
    #[inline(always)]
    const fn reduce_product(&self, x: u128) -> u64 {
        let top = (x >> (self.bits - 2)) as u64;
        let quotient = ((top as u128 * self.product_reciprocal as u128) >> 64) as u64;
        self.subtract_once((x as u64).wrapping_sub(quotient.wrapping_mul(self.value)))
    }

    /// base^exponent mod q; the time depends on the exponent, which must not be secret.
    pub const fn pow(&self, base: u64, mut exponent: u64) -> u64 {
        let mut square = base;
        let mut result = 1;
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = self.mul(result, square);
            }
            square = self.mul(square, square);
            exponent >>= 1;
        }
        result
    }

    /// The inverse of a mod q.
    ///
    /// # Panics
    /// If a is 0 mod q.
    pub const fn inv(&self, a: u64) -> u64 {
        assert!(a != 0, "zero has no inverse");
        self.pow(a, self.value - 2)
    }

    /// Any 64-bit number mod q.
    #[inline(always)]
    pub const fn reduce_u64(&self, x: u64) -> u64 {
        let quotient = ((x as u128 * self.reciprocal as u128) >> 64) as u64;
        self.subtract_once(x.wrapping_sub(quotient.wrapping_mul(self.value)))
    }

    /// Any 128-bit number mod q.
    #[inline]
    pub const fn reduce_u128(&self, x: u128) -> u64 {
        let high = self.mul(self.reduce_u64((x >> 64) as u64), self.two_to_64);
        self.add(high, self.reduce_u64(x as u64))
    }

    /// A signed number mod q, in `[0, q)`.
    #[inline(always)]
    pub const fn from_i64(&self, x: i64) -> u64 {
        let r = self.reduce_u64(x.unsigned_abs());
        let negative = (x >> 63) as u64;
        (r & !negative) | (self.neg(r) & negative)
    }

    /// A signed 128-bit number mod q, in `[0, q)`.
    #[inline]
    pub const fn from_i128(&self, x: i128) -> u64 {
        let r = self.reduce_u128(x.unsigned_abs());
        let negative = (x >> 127) as u64;
        (r & !negative) | (self.neg(r) & negative)
    }

    /// The representative of a residue in (-q/2, q/2).
    #[inline(always)]
    pub const fn center(&self, a: u64) -> i64 {
        debug_assert!(a < self.value);
        // q is odd, so (q - 1) / 2 is the largest representative.
        let above = ((self.value >> 1).wrapping_sub(a) as i64 >> 63) as u64;
        a.wrapping_sub(self.value & above) as i64
    }

    /// floor(w · 2^shift / q): the precomputed quotient of Shoup's multiplication by the constant w.
    #[inline]
    pub(crate) const fn shoup_quotient(&self, w: u64, shift: u32) -> u64 {
        (((w as u128) << shift) / self.value as u128) as u64
    }
}

impl std::fmt::Display for Modulus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Primes of 2 to 50 bits, extremes of a width included.
    pub(crate) const PRIMES: [u64; 9] = [
        3,
        5,
        65537,
        1_048_583,
        2_147_483_647,
        4_294_967_291,
        4_294_967_311,
        281_474_976_710_597,
        1_125_899_906_842_597,
    ];

    fn modulus() -> impl Strategy<Value = Modulus> {
        prop::sample::select(PRIMES.to_vec()).prop_map(|q| Modulus::new(q).unwrap())
    }

    #[test]
    fn refuses_what_is_not_an_odd_prime_below_two_to_50() {
        for bad in [0, 1, 2, 4, 9, 65536, 1 << 50, (1 << 50) + 55, u64::MAX] {
            assert!(
                matches!(Modulus::new(bad), Err(Error::Modulus { found, .. }) if found == bad),
                "{bad}"
            );
        }
    }

    #[test]
    fn byte_width_is_whole_bytes() {
        for (q, bits, width) in [
            (3, 2, 1),
            (65537, 17, 3),
            (4_294_967_291, 32, 4),
            (4_294_967_311, 33, 5),
        ] {
            let q = Modulus::new(q).unwrap();
            assert_eq!((q.bits(), q.byte_width()), (bits, width));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_128_bit_arithmetic(q in modulus(), x: u64, y: u64, wide: u128, e in 0_u64..200) {
            let p = u128::from(q.value());
            let (a, b) = (x % q.value(), y % q.value());
            let (wa, wb) = (u128::from(a), u128::from(b));
            prop_assert_eq!(u128::from(q.add(a, b)), (wa + wb) % p);
            prop_assert_eq!(u128::from(q.sub(a, b)), (wa + p - wb) % p);
            prop_assert_eq!(u128::from(q.neg(a)), (p - wa) % p);
            prop_assert_eq!(u128::from(q.mul(a, b)), wa * wb % p);
            prop_assert_eq!(u128::from(q.reduce_u64(x)), u128::from(x) % p);
            prop_assert_eq!(u128::from(q.reduce_u128(wide)), wide % p);
            prop_assert_eq!(q.pow(a, e), (0..e).fold(1 % q.value(), |r, _| q.mul(r, a)));
            if a != 0 {
                prop_assert_eq!(q.mul(a, q.inv(a)), 1);
            }
        }

        #[test]
        fn signed_numbers_round_trip(q in modulus(), x: i64, wide: i128) {
            let p = i128::from(q.value());
            prop_assert_eq!(i128::from(q.from_i64(x)), i128::from(x).rem_euclid(p));
            prop_assert_eq!(i128::from(q.from_i128(wide)), wide.rem_euclid(p));
            let centred = q.center(q.from_i64(x));
            prop_assert!(i128::from(centred.abs()) * 2 < p);
            prop_assert_eq!(q.from_i64(centred), q.from_i64(x));
        }
    }

    #[test]
    fn extreme_operands() {
        for q in PRIMES {
            let q = Modulus::new(q).unwrap();
            let p = q.value();
            let last = u128::from(p - 1);
            assert_eq!(u128::from(q.mul(p - 1, p - 1)), last * last % u128::from(p));
            assert_eq!(q.add(p - 1, p - 1), (p - 1 + p - 1) % p);
            assert_eq!((q.neg(0), q.sub(0, 0), q.center(0)), (0, 0, 0));
            assert_eq!(q.center(p / 2), (p / 2) as i64);
            assert_eq!(q.center(p / 2 + 1), -((p / 2) as i64));
            assert_eq!(
                q.from_i64(i64::MIN),
                i128::from(i64::MIN).rem_euclid(i128::from(p)) as u64
            );
            assert_eq!(
                q.from_i128(i128::MIN),
                i128::MIN.rem_euclid(i128::from(p)) as u64
            );
            assert_eq!(
                u128::from(q.reduce_u64(u64::MAX)),
                u128::from(u64::MAX) % u128::from(p)
            );
            assert_eq!(
                u128::from(q.reduce_u128(u128::MAX)),
                u128::MAX % u128::from(p)
            );
        }
    }
}
