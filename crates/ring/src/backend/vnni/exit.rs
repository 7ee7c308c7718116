//! Exit of the kernel: the sums of the byte planes become canonical residues and packed bytes.
//!
//! All in f64, where every intermediate value is an exact integer (or a multiple of 2^-24 that fits):
//! with |sum of a plane| < 2^31 the planes 0 to 2 make L, |L| < 2^48, and the others H, so x = H·2^24 + L.
//! As inputs are below q, |x| ≤ 66,311 · 127 · q < 2^23.01 q, hence |H| < 2^(23.01 + 50 - 24) + 2^24 < 2^50.
//! The quotient x/q is formed with a relative error below 2^-51, so n, its rounding, has |x/q - n| < 1/2 + 2^-27.
//! Then r = x - nq has |r| < 0.51 q < 2^50, and t = H - nq·2^-24 = (r - L)·2^-24 is a multiple of 2^-24 below
//! 2^27: 51 bits, so the fused operation that forms it does not round, and the one that forms r = t·2^24 + L does
//! not either. Adding q where r < 0 makes it canonical.
//!
//! With at most 256 inputs a sum is at most 256 · 127 · 255 and two neighbouring planes join in 32 bits. If also
//! inputs · 127 · q < 2^52, x itself fits an f64 and r = x - nq needs one fused operation.
//!
//! For 16-bit weights both rows are brought to |r| < 0.51 q first. Then x = 256·r_hi + r_lo, |x/q| < 132, and
//! 256·r_hi - nq = r - r_lo is an integer below 1.02 q + 1 < 2^51, again exact.

use std::arch::x86_64::*;

use super::pack::LANES;
use crate::{
    Modulus,
    backend::avx512::bytes::{Positions, store_packed},
};

/// 1.5 · 2^52: added to a smaller number it leaves its rounding in the last bits; subtracted, the rounded number.
const ROUND: f64 = 6_755_399_441_055_744.0;
const TWO_TO_24: f64 = 16_777_216.0;

/// The most inputs for which neighbouring planes join in 32 bits.
const SHALLOW_INPUTS: u64 = 256;

/// Columns converted at a time: the 64-bit lanes of a vector.
const HALF: usize = LANES / 2;

/// The modulus in the forms the exit needs.
pub(in crate::backend) struct Reducer {
    modulus: f64,
    inverse: f64,
    value: u64,
    /// The most inputs for which a sum of products fits an f64 and its planes join in pairs.
    shallow_inputs: usize,
}

impl Reducer {
    pub(super) fn new(modulus: &Modulus) -> Self {
        let value = modulus.value();
        Self {
            modulus: value as f64,
            inverse: 1.0 / value as f64,
            value,
            shallow_inputs: SHALLOW_INPUTS.min((1 << (52 - 7)) / value) as usize,
        }
    }

    /// Reduces and stores sixteen columns of one output, or as many as there are.
    ///
    /// `sums` are the W planes; for 16-bit weights (B = 2) those of the low row and then those of the high row. They
    /// are sums over that many inputs.
    ///
    /// # Safety
    /// The processor has the features and `target` is writable for `columns` residues of W bytes or sixteen.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    pub(super) unsafe fn store<const W: usize, const B: usize>(
        &self,
        sums: &[[__m512i; W]; B],
        inputs: usize,
        target: *mut u8,
        columns: usize,
    ) {
        let (low, high) = if B == 1 && inputs <= self.shallow_inputs {
            self.shallow_residues(&sums[0])
        } else {
            (self.residues(sums, 0), self.residues(sums, 1))
        };
        let close = |residues| {
            // SAFETY: the index is a vector of constants.
            let index = unsafe { _mm512_loadu_epi8(Positions::<W>::CLOSE.as_ptr().cast()) };
            _mm512_permutexvar_epi8(index, residues)
        };
        let mask = |columns: usize| {
            if columns == 0 {
                0
            } else {
                u64::MAX >> (64 - columns * W)
            }
        };
        // SAFETY: the masks keep the stores to the columns that are there.
        unsafe {
            let upper = target.add(HALF * W);
            if columns >= LANES {
                if W == 4 {
                    let even = _mm512_setr_epi32(
                        0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
                    );
                    let bytes = _mm512_permutex2var_epi32(low, even, high);
                    _mm512_storeu_epi8(target.cast(), bytes);
                } else {
                    store_packed::<W>(target, close(low));
                    store_packed::<W>(upper, close(high));
                }
            } else {
                let (first, second) = (columns.min(HALF), columns.saturating_sub(HALF));
                _mm512_mask_storeu_epi8(target.cast(), mask(first), close(low));
                _mm512_mask_storeu_epi8(upper.cast(), mask(second), close(high));
            }
        }
    }

    /// The canonical residues of eight columns.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn residues<const W: usize, const B: usize>(
        &self,
        sums: &[[__m512i; W]; B],
        half: usize,
    ) -> __m512i {
        let mut remainder = self.remainder(&sums[0], half);
        if B == 2 {
            remainder = self.combine(self.remainder(&sums[B - 1], half), remainder);
        }
        self.canonical(remainder)
    }

    /// The canonical residues of sixteen columns, for small sums.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn shallow_residues<const W: usize>(&self, sums: &[__m512i; W]) -> (__m512i, __m512i) {
        // Planes 2p and 2p + 1 as one number.
        let pair = |p: usize| {
            if 2 * p + 1 < W {
                _mm512_add_epi32(sums[2 * p], _mm512_slli_epi32::<8>(sums[2 * p + 1]))
            } else {
                sums[2 * p]
            }
        };
        let two_to_16 = _mm512_set1_pd(65_536.0);
        let last = W.div_ceil(2) - 1;
        let top = pair(last);
        let mut low = _mm512_cvtepi32_pd(_mm512_castsi512_si256(top));
        let mut high = _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64::<1>(top));
        for p in (0..last).rev() {
            let pair = pair(p);
            let (first, second) = (
                _mm512_cvtepi32_pd(_mm512_castsi512_si256(pair)),
                _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64::<1>(pair)),
            );
            low = _mm512_fmadd_pd(low, two_to_16, first);
            high = _mm512_fmadd_pd(high, two_to_16, second);
        }
        let modulus = _mm512_set1_pd(self.modulus);
        let canonical = |x| self.canonical(_mm512_fnmadd_pd(self.quotient(x), modulus, x));
        (canonical(low), canonical(high))
    }

    /// x mod q in (-0.51 q, 0.51 q) for eight columns.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn remainder<const W: usize>(&self, sums: &[__m512i; W], half: usize) -> __m512d {
        let plane = |p: usize| {
            // SAFETY: a vector of sums has two halves.
            let sums =
                unsafe { _mm256_load_si256((&raw const sums[p]).cast::<__m256i>().add(half)) };
            _mm512_cvtepi32_pd(sums)
        };
        // Horner's rule over planes from..to.
        let join = |from: usize, to: usize| {
            let mut value = plane(to - 1);
            for p in (from..to - 1).rev() {
                value = _mm512_fmadd_pd(value, _mm512_set1_pd(256.0), plane(p));
            }
            value
        };
        let two_to_24 = _mm512_set1_pd(TWO_TO_24);
        let low = join(0, W.min(3));
        if W <= 3 {
            let quotient = self.quotient(low);
            return _mm512_fnmadd_pd(quotient, _mm512_set1_pd(self.modulus), low);
        }
        let high = join(3, W);
        let quotient = self.quotient(_mm512_fmadd_pd(high, two_to_24, low));
        let scaled = _mm512_set1_pd(self.modulus / TWO_TO_24);
        let difference = _mm512_fnmadd_pd(quotient, scaled, high);
        _mm512_fmadd_pd(difference, two_to_24, low)
    }

    /// 256·high + low mod q, all three in (-0.51 q, 0.51 q).
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn combine(&self, high: __m512d, low: __m512d) -> __m512d {
        let shifted = _mm512_mul_pd(high, _mm512_set1_pd(256.0));
        let quotient = self.quotient(_mm512_add_pd(shifted, low));
        let modulus = _mm512_set1_pd(self.modulus);
        _mm512_add_pd(_mm512_fnmadd_pd(quotient, modulus, shifted), low)
    }

    /// x/q rounded to an integer.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn quotient(&self, x: __m512d) -> __m512d {
        let round = _mm512_set1_pd(ROUND);
        _mm512_sub_pd(
            _mm512_fmadd_pd(x, _mm512_set1_pd(self.inverse), round),
            round,
        )
    }

    /// The representative in `[0, q)` of an integer in (-q, q).
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn canonical(&self, remainder: __m512d) -> __m512i {
        let signed = _mm512_cvtpd_epi64(remainder);
        let raised = _mm512_add_epi64(signed, _mm512_set1_epi64(self.value as i64));
        // Read as unsigned, a negative number is the larger one.
        _mm512_min_epu64(signed, raised)
    }
}
