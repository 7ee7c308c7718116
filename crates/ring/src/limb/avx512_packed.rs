//! Operations on packed residues, eight at a time, that are unpacked and packed again in registers.

use std::arch::x86_64::*;

use super::{LANES, Lanes, splat};
use crate::{Modulus, limb::portable};

/// Byte positions that spread eight packed residues over 64-bit lanes, and the bytes so filled.
struct Layout {
    spread: __m512i,
    filled: u64,
    close: __m512i,
    /// The bytes of eight packed residues.
    packed: u64,
}

impl Layout {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(width: usize) -> Self {
        let (mut spread, mut close, mut filled) = ([0_u8; 64], [0_u8; 64], 0);
        for residue in 0..LANES {
            for byte in 0..width {
                spread[residue * 8 + byte] = (residue * width + byte) as u8;
                close[residue * width + byte] = (residue * 8 + byte) as u8;
                filled |= 1 << (residue * 8 + byte);
            }
        }
        // SAFETY: both read the 64 bytes of an array.
        let [spread, close] =
            [spread, close].map(|index| unsafe { _mm512_loadu_si512(index.as_ptr().cast()) });
        Self {
            spread,
            filled,
            close,
            packed: u64::MAX >> (64 - LANES * width),
        }
    }

    /// # Safety
    /// The bytes of eight residues are readable.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    unsafe fn load(&self, bytes: *const u8) -> __m512i {
        // SAFETY: the mask leaves the bytes of eight residues.
        let packed = unsafe { _mm512_maskz_loadu_epi8(self.packed, bytes.cast()) };
        _mm512_maskz_permutexvar_epi8(self.filled, self.spread, packed)
    }

    /// # Safety
    /// The bytes of eight residues are writable.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    unsafe fn store(&self, bytes: *mut u8, residues: __m512i) {
        let packed = _mm512_permutexvar_epi8(self.close, residues);
        // SAFETY: the mask leaves the bytes of eight residues.
        unsafe { _mm512_mask_storeu_epi8(bytes.cast(), self.packed, packed) };
    }
}

pub(super) fn screen(modulus: &Modulus, bytes: &mut [u8]) -> usize {
    /// `bytes` are whole groups.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512ifma")]
    fn groups(modulus: &Modulus, width: usize, bytes: &mut [u8]) -> usize {
        let layout = Layout::new(width);
        let q = splat(modulus.value());
        let mask = splat(u64::MAX >> (64 - modulus.bits()));
        let mut rejected = 0;
        for bytes in bytes.chunks_exact_mut(LANES * width) {
            // SAFETY: the chunk holds eight residues.
            unsafe {
                let candidates = _mm512_and_si512(layout.load(bytes.as_ptr()), mask);
                rejected += _mm512_cmpge_epu64_mask(candidates, q).count_ones();
                layout.store(bytes.as_mut_ptr(), candidates);
            }
        }
        rejected as usize
    }
    let width = modulus.byte_width();
    let whole = bytes.len() / (LANES * width) * (LANES * width);
    let (bytes, tail) = bytes.split_at_mut(whole);
    // SAFETY: the table is reachable only where `supported` found these instructions.
    unsafe { groups(modulus, width, bytes) + portable::screen(modulus, tail) }
}

pub(super) fn square_packed(
    modulus: &Modulus,
    [bias, r]: [u64; 2],
    c0: &mut [u8],
    c1: &mut [u8],
    c2: &mut [u8],
) {
    /// The slices are equally long, whole groups.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512ifma")]
    fn groups(modulus: &Modulus, constants: [u64; 2], c0: &mut [u8], c1: &mut [u8], c2: &mut [u8]) {
        let width = modulus.byte_width();
        let (layout, lanes) = (Layout::new(width), Lanes::new(modulus));
        let [bias, r] = [splat(constants[0]), splat(constants[1])];
        let size = LANES * width;
        for ((c0, c1), c2) in c0
            .chunks_exact_mut(size)
            .zip(c1.chunks_exact_mut(size))
            .zip(c2.chunks_exact_mut(size))
        {
            // SAFETY: each chunk holds eight residues.
            unsafe {
                let x0 = lanes.add(layout.load(c0.as_ptr()), bias);
                let x1 = layout.load(c1.as_ptr());
                let shifted = lanes.add(x0, r);
                let doubled = lanes.add(x0, shifted);
                layout.store(c0.as_mut_ptr(), lanes.multiply(x0, shifted));
                layout.store(c1.as_mut_ptr(), lanes.multiply(x1, doubled));
                layout.store(c2.as_mut_ptr(), lanes.multiply(x1, x1));
            }
        }
    }
    let size = LANES * modulus.byte_width();
    let whole = c0.len() / size * size;
    let [(c0, tail0), (c1, tail1), (c2, tail2)] = [c0, c1, c2].map(|c| c.split_at_mut(whole));
    // SAFETY: the table is reachable only where `supported` found these instructions.
    unsafe { groups(modulus, [bias, r], c0, c1, c2) };
    portable::square_packed(modulus, [bias, r], tail0, tail1, tail2);
}
