//! Packing and unpacking with one byte permute for eight residues.

use std::arch::x86_64::*;

use super::lanes::LANES;
use crate::backend::bytes as portable;

/// Where the bytes of eight packed residues of W bytes lie in eight 64-bit lanes.
pub(in crate::backend) struct Positions<const W: usize>;

impl<const W: usize> Positions<W> {
    /// Byte b of residue j is at j · W + b.
    pub(in crate::backend) const SPREAD: [u8; 64] = Self::both()[0];
    /// Packed byte p is byte p % W of residue p / W.
    pub(in crate::backend) const CLOSE: [u8; 64] = Self::both()[1];
    /// The bytes of the lanes that residues fill.
    pub(super) const FILLED: u64 = 0x0101_0101_0101_0101 * (u64::MAX >> (64 - W));
    /// The low 8 · W bytes of a register.
    pub(super) const PACKED: u64 = u64::MAX >> (64 - LANES * W);

    const fn both() -> [[u8; 64]; 2] {
        let mut both = [[0; 64]; 2];
        let mut place = 0;
        while place < LANES * W {
            let spread = place / W * 8 + place % W;
            both[0][spread] = place as u8;
            both[1][place] = spread as u8;
            place += 1;
        }
        both
    }
}

/// Calls a function of residues of 1 to 8 bytes with their width as a constant.
macro_rules! for_width {
    ($width:expr, $function:ident($($argument:expr),*)) => {
        match $width {
            1 => $function::<1>($($argument),*),
            2 => $function::<2>($($argument),*),
            3 => $function::<3>($($argument),*),
            4 => $function::<4>($($argument),*),
            5 => $function::<5>($($argument),*),
            6 => $function::<6>($($argument),*),
            7 => $function::<7>($($argument),*),
            _ => $function::<8>($($argument),*),
        }
    };
}
pub(super) use for_width;

pub(super) fn unpack(width: usize, bytes: &[u8], out: &mut [u64]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn groups<const W: usize>(bytes: &[u8], out: &mut [[u64; LANES]]) {
        // SAFETY: reads the 64 bytes of the array.
        let index = unsafe { _mm512_loadu_si512(Positions::<W>::SPREAD.as_ptr().cast()) };
        for (group, out) in out.iter_mut().enumerate() {
            let bytes = &bytes[group * LANES * W..];
            let packed = match bytes.first_chunk::<64>() {
                // SAFETY: reads the 64 bytes of the array.
                Some(whole) => unsafe { _mm512_loadu_si512(whole.as_ptr().cast()) },
                None => {
                    let exact = &bytes[..LANES * W];
                    // SAFETY: reads only the bytes of the mask, which are those of the slice.
                    unsafe {
                        _mm512_maskz_loadu_epi8(Positions::<W>::PACKED, exact.as_ptr().cast())
                    }
                }
            };
            let residues = _mm512_maskz_permutexvar_epi8(Positions::<W>::FILLED, index, packed);
            // SAFETY: writes the 64 bytes of the array.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), residues) };
        }
    }
    let (whole, tail) = out.as_chunks_mut();
    let (bytes, tail_bytes) = bytes.split_at(whole.len() * LANES * width);
    // SAFETY: this is used only where `supported` found these instructions.
    unsafe { for_width!(width, groups(bytes, whole)) };
    portable::unpack(width, tail_bytes, tail);
}

pub(super) fn pack(width: usize, residues: &[u64], out: &mut [u8]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn groups<const W: usize>(residues: &[[u64; LANES]], out: &mut [u8]) {
        // SAFETY: reads the 64 bytes of the array.
        let index = unsafe { _mm512_loadu_si512(Positions::<W>::CLOSE.as_ptr().cast()) };
        for (group, residues) in residues.iter().enumerate() {
            // SAFETY: reads the 64 bytes of the array.
            let residues = unsafe { _mm512_loadu_si512(residues.as_ptr().cast()) };
            let packed = _mm512_permutexvar_epi8(index, residues);
            let out = &mut out[group * LANES * W..];
            match out.first_chunk_mut::<64>() {
                // What is written too far belongs to the next groups, which overwrite it.
                // SAFETY: writes the 64 bytes of the array.
                Some(whole) => unsafe { _mm512_storeu_si512(whole.as_mut_ptr().cast(), packed) },
                None => {
                    let exact = &mut out[..LANES * W];
                    // SAFETY: writes only the bytes of the mask, which are those of the slice.
                    unsafe {
                        _mm512_mask_storeu_epi8(
                            exact.as_mut_ptr().cast(),
                            Positions::<W>::PACKED,
                            packed,
                        )
                    }
                }
            }
        }
    }
    let (whole, tail) = residues.as_chunks();
    let (out, tail_out) = out.split_at_mut(whole.len() * LANES * width);
    // SAFETY: this is used only where `supported` found these instructions.
    unsafe { for_width!(width, groups(whole, out)) };
    portable::pack(width, tail, tail_out);
}

/// Stores the first 8 · W bytes of a register: eight packed residues.
///
/// Whole registers of every size, as masked stores of bytes take some twenty cycles on some processors.
///
/// # Safety
/// The processor has AVX-512F; 8 · W bytes are writable.
#[inline]
#[target_feature(enable = "avx512f")]
pub(in crate::backend) unsafe fn store_packed<const W: usize>(bytes: *mut u8, packed: __m512i) {
    // SAFETY: 8 · W bytes in all.
    unsafe {
        if W == 8 {
            return _mm512_storeu_si512(bytes.cast(), packed);
        }
        let mut rest = _mm512_castsi512_si256(packed);
        let mut done = 0;
        if W >= 4 {
            _mm256_storeu_si256(bytes.cast(), rest);
            rest = _mm512_extracti64x4_epi64::<1>(packed);
            done = 32;
        }
        let mut last = _mm256_castsi256_si128(rest);
        if W & 2 != 0 {
            _mm_storeu_si128(bytes.add(done).cast(), last);
            last = _mm256_extracti128_si256::<1>(rest);
            done += 16;
        }
        if W & 1 != 0 {
            _mm_storeu_si64(bytes.add(done), last);
        }
    }
}
