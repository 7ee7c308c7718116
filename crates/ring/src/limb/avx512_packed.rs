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

pub(super) fn screen(
    modulus: &Modulus,
    row_bytes: usize,
    bytes: &mut [u8],
    rejected: &mut Vec<usize>,
) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512ifma")]
    fn rows(modulus: &Modulus, row_bytes: usize, bytes: &mut [u8], rejected: &mut Vec<usize>) {
        let size = LANES * modulus.byte_width();
        let layout = Layout::new(modulus.byte_width());
        let q = splat(modulus.value());
        let mask = splat(u64::MAX >> (64 - modulus.bits()));
        for (row, bytes) in bytes.chunks_exact_mut(row_bytes).enumerate() {
            let mut groups = bytes.chunks_exact_mut(size);
            let mut found = 0;
            for bytes in &mut groups {
                // SAFETY: the chunk holds eight residues.
                unsafe {
                    let candidates = _mm512_and_si512(layout.load(bytes.as_ptr()), mask);
                    found |= _mm512_cmpge_epu64_mask(candidates, q);
                    layout.store(bytes.as_mut_ptr(), candidates);
                }
            }
            if portable::screen_row(modulus, groups.into_remainder()) || found != 0 {
                rejected.push(row);
            }
        }
    }
    // SAFETY: the table is reachable only where `supported` found these instructions.
    unsafe { rows(modulus, row_bytes, bytes, rejected) };
}

pub(super) fn square_rows(
    modulus: &Modulus,
    row_bytes: usize,
    constants: &[[u64; 2]],
    components: [&mut [u8]; 3],
) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512ifma")]
    fn rows(
        modulus: &Modulus,
        row_bytes: usize,
        constants: &[[u64; 2]],
        [c0, c1, c2]: [&mut [u8]; 3],
    ) {
        let size = LANES * modulus.byte_width();
        let (layout, lanes) = (Layout::new(modulus.byte_width()), Lanes::new(modulus));
        for (((c0, c1), c2), &[bias, r]) in c0
            .chunks_exact_mut(row_bytes)
            .zip(c1.chunks_exact_mut(row_bytes))
            .zip(c2.chunks_exact_mut(row_bytes))
            .zip(constants)
        {
            let (bias_lanes, r_lanes) = (splat(bias), splat(r));
            let mut groups0 = c0.chunks_exact_mut(size);
            let mut groups1 = c1.chunks_exact_mut(size);
            let mut groups2 = c2.chunks_exact_mut(size);
            for ((c0, c1), c2) in (&mut groups0).zip(&mut groups1).zip(&mut groups2) {
                // SAFETY: each chunk holds eight residues.
                unsafe {
                    let x0 = lanes.add(layout.load(c0.as_ptr()), bias_lanes);
                    let x1 = layout.load(c1.as_ptr());
                    let shifted = lanes.add(x0, r_lanes);
                    let doubled = lanes.add(x0, shifted);
                    layout.store(c0.as_mut_ptr(), lanes.multiply(x0, shifted));
                    layout.store(c1.as_mut_ptr(), lanes.multiply(x1, doubled));
                    layout.store(c2.as_mut_ptr(), lanes.multiply(x1, x1));
                }
            }
            let tails = [groups0, groups1, groups2].map(|groups| groups.into_remainder());
            let [c0, c1, c2] = tails;
            portable::square_row(modulus, [bias, r], c0, c1, c2);
        }
    }
    // SAFETY: the table is reachable only where `supported` found these instructions.
    unsafe { rows(modulus, row_bytes, constants, components) };
}
