//! Eight residues in a register, and what IFMA does with them.
//!
//! `madd52lo` and `madd52hi` add the low and the high 52 bits of a 104-bit product to a 64-bit lane. With q below
//! 2^50 a product of residues, and everything below 4q, fits.

use std::arch::x86_64::*;

use crate::Modulus;

pub(super) const SHIFT: u32 = 52;
pub(super) const LANES: usize = 8;

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(from: &[u64; LANES]) -> __m512i {
    // SAFETY: reads the 64 bytes of the array; the instruction takes any alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(to: &mut [u64; LANES], value: __m512i) {
    // SAFETY: writes the 64 bytes of the array; the instruction takes any alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn splat(x: u64) -> __m512i {
    _mm512_set1_epi64(x as i64)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn reverse(x: __m512i) -> __m512i {
    _mm512_permutexvar_epi64(_mm512_setr_epi64(7, 6, 5, 4, 3, 2, 1, 0), x)
}

/// A modulus in every lane.
#[derive(Clone, Copy)]
pub(super) struct Lanes {
    pub(super) q: __m512i,
    pub(super) two_q: __m512i,
    /// 2^52 - q: adding a multiple of it subtracts that multiple of q mod 2^52.
    negative_q: __m512i,
    pub(super) mask: __m512i,
    /// floor(2^(bits - 2 + 52) / q)
    product_reciprocal: __m512i,
    /// bits - 2 and 52 - (bits - 2)
    shift: __m512i,
    complement: __m512i,
}

/// A constant factor and its quotient floor(w · 2^52 / q) in every lane, or one a lane.
#[derive(Clone, Copy)]
pub(super) struct Factor {
    factor: __m512i,
    quotient: __m512i,
}

impl Lanes {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(modulus: &Modulus) -> Self {
        let (q, shift) = (modulus.value(), u64::from(modulus.bits() - 2));
        Self {
            q: splat(q),
            two_q: splat(2 * q),
            negative_q: splat((1 << SHIFT) - q),
            mask: splat((1 << SHIFT) - 1),
            product_reciprocal: splat(((1_u128 << (shift + 52)) / u128::from(q)) as u64),
            shift: splat(shift),
            complement: splat(52 - shift),
        }
    }

    /// [0, 2q) to [0, q).
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn below_two(self, x: __m512i) -> __m512i {
        _mm512_min_epu64(x, _mm512_sub_epi64(x, self.q))
    }

    /// [0, 4q) to [0, q).
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn below_four(self, x: __m512i) -> __m512i {
        self.below_two(_mm512_min_epu64(x, _mm512_sub_epi64(x, self.two_q)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn add(self, a: __m512i, b: __m512i) -> __m512i {
        self.below_two(_mm512_add_epi64(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sub(self, a: __m512i, b: __m512i) -> __m512i {
        let difference = _mm512_sub_epi64(a, b);
        _mm512_min_epu64(difference, _mm512_add_epi64(difference, self.q))
    }

    /// x - multiple · q mod 2^52.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn minus_multiple(self, x: __m512i, multiple: __m512i) -> __m512i {
        _mm512_and_si512(
            _mm512_madd52lo_epu64(x, multiple, self.negative_q),
            self.mask,
        )
    }

    /// a · b mod q, below 2.5 q, by Barrett's reduction.
    ///
    /// With s = bits - 2 the estimate floor(floor(x / 2^s) · floor(2^(s+52) / q) / 2^52) falls short of x / q by less
    /// than 2^s / q + x / 2^(s+52) + 1 < 1/2 + 1 + 1. The operands of both products are below 2^52.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn multiply_lazy(self, a: __m512i, b: __m512i) -> __m512i {
        let zero = _mm512_setzero_si512();
        let low = _mm512_madd52lo_epu64(zero, a, b);
        let high = _mm512_madd52hi_epu64(zero, a, b);
        let top = _mm512_or_si512(
            _mm512_sllv_epi64(high, self.complement),
            _mm512_srlv_epi64(low, self.shift),
        );
        self.minus_multiple(
            low,
            _mm512_madd52hi_epu64(zero, top, self.product_reciprocal),
        )
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn multiply(self, a: __m512i, b: __m512i) -> __m512i {
        self.below_four(self.multiply_lazy(a, b))
    }

    /// w · x mod q, below 2q, for any x below 2^52.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn times_lazy(self, w: Factor, x: __m512i) -> __m512i {
        let zero = _mm512_setzero_si512();
        let estimate = _mm512_madd52hi_epu64(zero, x, w.quotient);
        self.minus_multiple(_mm512_madd52lo_epu64(zero, x, w.factor), estimate)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn times(self, w: Factor, x: __m512i) -> __m512i {
        self.below_two(self.times_lazy(w, x))
    }

    /// Any x below 2^52 mod q, below 2q: the product with one.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn reduce_lazy(self, reciprocal: __m512i, x: __m512i) -> __m512i {
        let estimate = _mm512_madd52hi_epu64(_mm512_setzero_si512(), x, reciprocal);
        self.minus_multiple(x, estimate)
    }

    /// low + 2^52 · high mod q, for any low and for high below 2^51; `radix` is 2^52 mod q and `reciprocal` the
    /// quotient of 1.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn reduce_sum(
        self,
        radix: Factor,
        reciprocal: __m512i,
        low: __m512i,
        high: __m512i,
    ) -> __m512i {
        let high = _mm512_add_epi64(high, _mm512_srli_epi64::<SHIFT>(low));
        let low = _mm512_and_si512(low, self.mask);
        let (high, low) = (
            self.times_lazy(radix, high),
            self.reduce_lazy(reciprocal, low),
        );
        self.below_four(_mm512_add_epi64(high, low))
    }
}

impl Factor {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(modulus: &Modulus, factor: u64) -> Self {
        Self {
            factor: splat(factor),
            quotient: splat(modulus.shoup_quotient(factor, SHIFT)),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn load(factor: &[u64; LANES], quotient: &[u64; LANES]) -> Self {
        Self {
            factor: load(factor),
            quotient: load(quotient),
        }
    }
}
