//! Exit of the kernel: the sums of the byte planes become canonical residues and packed bytes.
//!
//! The steps, and why every intermediate value is exact, are those of the 512-bit kernel (head of `vnni/exit.rs`), on
//! four lanes. AVX2 cannot convert an f64 to a 64-bit integer; the residue, below 2^50, is read from the low bits of
//! its sum with 2^52.

use std::arch::x86_64::*;

use super::pack::LANES;
use crate::Modulus;

/// 1.5 · 2^52: added to a smaller number it leaves its rounding in the last bits; subtracted, the rounded number.
const ROUND: f64 = 6_755_399_441_055_744.0;
const TWO_TO_52: f64 = 4_503_599_627_370_496.0;
const TWO_TO_24: f64 = 16_777_216.0;

/// Columns converted at a time: the 64-bit lanes of a vector.
const HALF: usize = LANES / 2;

/// The modulus in the forms the exit needs.
pub(in crate::backend) struct Reducer {
    modulus: f64,
    inverse: f64,
}

impl Reducer {
    pub(super) fn new(modulus: &Modulus) -> Self {
        let modulus = modulus.value() as f64;
        Self {
            modulus,
            inverse: 1.0 / modulus,
        }
    }

    /// Reduces and stores up to eight columns of one output.
    ///
    /// `sums` are the W planes; for 16-bit weights those of the low row and then those of the high row.
    ///
    /// # Safety
    /// The processor has the features and `target` is writable for `columns` residues of W bytes.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn store<const W: usize>(
        &self,
        sums: &[__m256i],
        target: *mut u8,
        columns: usize,
    ) {
        let mut bytes = [0; LANES * 8];
        for half in 0..2 {
            let mut remainder = self.remainder::<W>(&sums[..W], half);
            if sums.len() == 2 * W {
                remainder = self.combine(self.remainder::<W>(&sums[W..], half), remainder);
            }
            let mut residues = [0_u64; HALF];
            // SAFETY: writes the 32 bytes of the array.
            unsafe { _mm256_storeu_si256(residues.as_mut_ptr().cast(), self.canonical(remainder)) };
            for (i, residue) in residues.into_iter().enumerate() {
                // What is written too far is overwritten by the next.
                let column = half * HALF + i;
                bytes[column * W..column * W + 8].copy_from_slice(&residue.to_le_bytes());
            }
        }
        // SAFETY: the target has the columns, and eight of them fit the buffer.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, columns * W) };
    }

    /// x mod q in (-0.51 q, 0.51 q) for four columns.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn remainder<const W: usize>(&self, sums: &[__m256i], half: usize) -> __m256d {
        let plane = |p: usize| {
            // SAFETY: a vector of sums has two halves.
            let sums = unsafe { _mm_loadu_si128((&raw const sums[p]).cast::<__m128i>().add(half)) };
            _mm256_cvtepi32_pd(sums)
        };
        // Horner's rule over planes from..to.
        let join = |from: usize, to: usize| {
            let mut value = plane(to - 1);
            for p in (from..to - 1).rev() {
                value = _mm256_fmadd_pd(value, _mm256_set1_pd(256.0), plane(p));
            }
            value
        };
        let two_to_24 = _mm256_set1_pd(TWO_TO_24);
        let low = join(0, W.min(3));
        if W <= 3 {
            let quotient = self.quotient(low);
            return _mm256_fnmadd_pd(quotient, _mm256_set1_pd(self.modulus), low);
        }
        let high = join(3, W);
        let quotient = self.quotient(_mm256_fmadd_pd(high, two_to_24, low));
        let scaled = _mm256_set1_pd(self.modulus / TWO_TO_24);
        let difference = _mm256_fnmadd_pd(quotient, scaled, high);
        _mm256_fmadd_pd(difference, two_to_24, low)
    }

    /// 256·high + low mod q, all three in (-0.51 q, 0.51 q).
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn combine(&self, high: __m256d, low: __m256d) -> __m256d {
        let shifted = _mm256_mul_pd(high, _mm256_set1_pd(256.0));
        let quotient = self.quotient(_mm256_add_pd(shifted, low));
        let modulus = _mm256_set1_pd(self.modulus);
        _mm256_add_pd(_mm256_fnmadd_pd(quotient, modulus, shifted), low)
    }

    /// x/q rounded to an integer.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn quotient(&self, x: __m256d) -> __m256d {
        let round = _mm256_set1_pd(ROUND);
        _mm256_sub_pd(
            _mm256_fmadd_pd(x, _mm256_set1_pd(self.inverse), round),
            round,
        )
    }

    /// The representative in `[0, q)` of an integer in (-q, q).
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn canonical(&self, remainder: __m256d) -> __m256i {
        let negative = _mm256_cmp_pd::<_CMP_LT_OQ>(remainder, _mm256_setzero_pd());
        let added = _mm256_and_pd(negative, _mm256_set1_pd(self.modulus));
        let two_to_52 = _mm256_set1_pd(TWO_TO_52);
        let sum = _mm256_add_pd(_mm256_add_pd(remainder, added), two_to_52);
        _mm256_xor_si256(_mm256_castpd_si256(sum), _mm256_castpd_si256(two_to_52))
    }
}
