//! Operations on packed residues, eight at a time, that are unpacked and packed again in registers.

use std::arch::x86_64::*;

use super::{
    bytes::{Positions, for_width, store_packed},
    lanes::{Factor, LANES, Lanes, SHIFT, load, splat, store},
};
use crate::{
    Modulus,
    backend::limb::{self, LimbOperations, Portable},
};

/// Byte positions that spread eight packed residues of W bytes over 64-bit lanes, and that close the gaps again.
struct Layout<const W: usize> {
    spread: __m512i,
    close: __m512i,
}

impl<const W: usize> Layout<W> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new() -> Self {
        // SAFETY: both read the 64 bytes of an array.
        let [spread, close] = [&Positions::<W>::SPREAD, &Positions::<W>::CLOSE]
            .map(|index| unsafe { _mm512_loadu_si512(index.as_ptr().cast()) });
        Self { spread, close }
    }

    /// # Safety
    /// The bytes of eight residues are readable.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    unsafe fn load(&self, bytes: *const u8) -> __m512i {
        // SAFETY: the bytes of eight residues, all of them or by the mask.
        unsafe {
            if W == 4 {
                return _mm512_cvtepu32_epi64(_mm256_loadu_si256(bytes.cast()));
            }
            let packed = _mm512_maskz_loadu_epi8(Positions::<W>::PACKED, bytes.cast());
            _mm512_maskz_permutexvar_epi8(Positions::<W>::FILLED, self.spread, packed)
        }
    }

    /// # Safety
    /// The bytes of eight residues are writable.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    unsafe fn store(&self, bytes: *mut u8, residues: __m512i) {
        // SAFETY: as required of the caller.
        unsafe {
            if W == 4 {
                _mm256_storeu_si256(bytes.cast(), _mm512_cvtepi64_epi32(residues));
            } else {
                let packed = _mm512_permutexvar_epi8(self.close, residues);
                store_packed::<W>(bytes, packed);
            }
        }
    }
}

pub(super) fn screen(
    modulus: &Modulus,
    row_bytes: usize,
    bytes: &mut [u8],
    rejected: &mut Vec<usize>,
) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512ifma")]
    fn rows<const W: usize>(
        modulus: &Modulus,
        row_bytes: usize,
        bytes: &mut [u8],
        rejected: &mut Vec<usize>,
    ) {
        let size = LANES * W;
        let layout = Layout::<W>::new();
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
            if limb::screen_row(modulus, groups.into_remainder()) || found != 0 {
                rejected.push(row);
            }
        }
    }
    // SAFETY: this is used only where `supported` found these instructions.
    unsafe {
        for_width!(
            modulus.byte_width(),
            rows(modulus, row_bytes, bytes, rejected)
        )
    };
}

pub(super) fn is_canonical(modulus: &Modulus, bytes: &[u8]) -> bool {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512ifma")]
    fn groups<const W: usize>(modulus: &Modulus, bytes: &[u8]) -> bool {
        let (layout, q) = (Layout::<W>::new(), splat(modulus.value()));
        let mut found = 0;
        for bytes in bytes.chunks_exact(LANES * W) {
            // SAFETY: the chunk holds eight residues.
            let residues = unsafe { layout.load(bytes.as_ptr()) };
            found |= _mm512_cmpge_epu64_mask(residues, q);
        }
        found == 0
    }
    let width = modulus.byte_width();
    let (bytes, tail) = bytes.split_at(bytes.len() - bytes.len() % (LANES * width));
    // SAFETY: this is used only where `supported` found these instructions.
    let canonical = unsafe { for_width!(width, groups(modulus, bytes)) };
    canonical && Portable.is_canonical(modulus, tail)
}

pub(super) fn square_rows(
    modulus: &Modulus,
    row_bytes: usize,
    constants: &[[u64; 2]],
    components: [&mut [u8]; 3],
) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512ifma")]
    fn rows<const W: usize>(
        modulus: &Modulus,
        row_bytes: usize,
        constants: &[[u64; 2]],
        [c0, c1, c2]: [&mut [u8]; 3],
    ) {
        let size = LANES * W;
        let (layout, lanes) = (Layout::<W>::new(), Lanes::new(modulus));
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
            limb::square_row(modulus, [bias, r], c0, c1, c2);
        }
    }
    // SAFETY: this is used only where `supported` found these instructions.
    unsafe {
        for_width!(
            modulus.byte_width(),
            rows(modulus, row_bytes, constants, components)
        )
    };
}

/// Products that are summed before a reduction: with q below 2^50 their low halves stay below 2^55 and their high ones
/// below 2^51.
const UNREDUCED: usize = 8;

pub(super) fn add_packed_products(
    modulus: &Modulus,
    sum: &mut [u64],
    products: &[(&[u64], &[u8])],
) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512ifma")]
    fn groups<const W: usize>(
        modulus: &Modulus,
        sum: &mut [[u64; LANES]],
        products: &[(&[u64], &[u8])],
    ) {
        let (layout, lanes) = (Layout::<W>::new(), Lanes::new(modulus));
        let radix = Factor::new(modulus, modulus.reduce_u64(1 << SHIFT));
        let reciprocal = splat(modulus.shoup_quotient(1, SHIFT));
        let count = sum.len();
        for products in products.chunks(UNREDUCED) {
            for (a, b) in products {
                assert!(a.len() >= count * LANES && b.len() >= count * LANES * W);
            }
            for (group, sum) in sum.iter_mut().enumerate() {
                let (mut low, mut high) = (load(sum), splat(0));
                for (a, b) in products {
                    // SAFETY: both slices have this group, as was checked before the loop.
                    let (a, b) = unsafe {
                        let a = a.as_ptr().add(group * LANES).cast();
                        let b = b.as_ptr().add(group * LANES * W);
                        (_mm512_loadu_si512(a), layout.load(b))
                    };
                    low = _mm512_madd52lo_epu64(low, a, b);
                    high = _mm512_madd52hi_epu64(high, a, b);
                }
                store(sum, lanes.reduce_sum(radix, reciprocal, low, high));
            }
        }
    }
    let width = modulus.byte_width();
    let (whole, tail) = sum.as_chunks_mut::<LANES>();
    let done = whole.len() * LANES;
    // SAFETY: this is used only where `supported` found these instructions.
    unsafe { for_width!(width, groups(modulus, whole, products)) };
    for (a, b) in products {
        Portable.add_packed_products(modulus, tail, &[(&a[done..], &b[done * width..])]);
    }
}
