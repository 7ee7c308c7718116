//! Packing and unpacking with one byte permute for eight residues.

use std::arch::x86_64::*;

use super::portable;

const LANES: usize = 8;

/// Byte positions of one width: made once, as short rows are packed and unpacked by the million.
#[derive(Clone, Copy)]
struct Positions {
    /// Byte b of residue j is at j · width + b.
    spread: [u8; 64],
    /// The bytes of the lanes that residues fill.
    filled: u64,
    /// Packed byte p is byte p % width of residue p / width.
    close: [u8; 64],
    /// The low `8 · width` bytes of a register.
    packed: u64,
}

impl Positions {
    /// By width; that of 0 is not used.
    const ALL: [Self; 9] = {
        let mut all = [Self {
            spread: [0; 64],
            filled: 0,
            close: [0; 64],
            packed: 0,
        }; 9];
        let mut width = 1;
        while width <= 8 {
            let mut place = 0;
            while place < LANES * width {
                let (residue, byte) = (place / width, place % width);
                all[width].close[place] = (residue * 8 + byte) as u8;
                all[width].spread[residue * 8 + byte] = place as u8;
                all[width].filled |= 1 << (residue * 8 + byte);
                place += 1;
            }
            all[width].packed = u64::MAX >> (64 - LANES * width);
            width += 1;
        }
        all
    };

    fn of(width: usize) -> &'static Self {
        static ALL: [Positions; 9] = Positions::ALL;
        &ALL[width]
    }
}

pub(crate) fn unpack(width: usize, bytes: &[u8], out: &mut [u64]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn groups(width: usize, bytes: &[u8], out: &mut [[u64; LANES]]) {
        let positions = Positions::of(width);
        // SAFETY: reads the 64 bytes of the array.
        let index = unsafe { _mm512_loadu_si512(positions.spread.as_ptr().cast()) };
        for (group, out) in out.iter_mut().enumerate() {
            let bytes = &bytes[group * LANES * width..];
            let packed = match bytes.first_chunk::<64>() {
                // SAFETY: reads the 64 bytes of the array.
                Some(whole) => unsafe { _mm512_loadu_si512(whole.as_ptr().cast()) },
                None => {
                    let exact = &bytes[..LANES * width];
                    // SAFETY: reads only the bytes of the mask, which are those of the slice.
                    unsafe { _mm512_maskz_loadu_epi8(positions.packed, exact.as_ptr().cast()) }
                }
            };
            let residues = _mm512_maskz_permutexvar_epi8(positions.filled, index, packed);
            // SAFETY: writes the 64 bytes of the array.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), residues) };
        }
    }
    let (whole, tail) = out.as_chunks_mut();
    let (bytes, tail_bytes) = bytes.split_at(whole.len() * LANES * width);
    // SAFETY: reachable only through a table that is used where these instructions were found.
    unsafe { groups(width, bytes, whole) };
    portable::unpack(width, tail_bytes, tail);
}

pub(crate) fn pack(width: usize, residues: &[u64], out: &mut [u8]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn groups(width: usize, residues: &[[u64; LANES]], out: &mut [u8]) {
        let positions = Positions::of(width);
        // SAFETY: reads the 64 bytes of the array.
        let index = unsafe { _mm512_loadu_si512(positions.close.as_ptr().cast()) };
        for (group, residues) in residues.iter().enumerate() {
            // SAFETY: reads the 64 bytes of the array.
            let residues = unsafe { _mm512_loadu_si512(residues.as_ptr().cast()) };
            let packed = _mm512_permutexvar_epi8(index, residues);
            let out = &mut out[group * LANES * width..];
            match out.first_chunk_mut::<64>() {
                // What is written too far belongs to the next groups, which overwrite it.
                // SAFETY: writes the 64 bytes of the array.
                Some(whole) => unsafe { _mm512_storeu_si512(whole.as_mut_ptr().cast(), packed) },
                None => {
                    let exact = &mut out[..LANES * width];
                    // SAFETY: writes only the bytes of the mask, which are those of the slice.
                    unsafe {
                        _mm512_mask_storeu_epi8(exact.as_mut_ptr().cast(), positions.packed, packed)
                    }
                }
            }
        }
    }
    let (whole, tail) = residues.as_chunks();
    let (out, tail_out) = out.split_at_mut(whole.len() * LANES * width);
    // SAFETY: reachable only through a table that is used where these instructions were found.
    unsafe { groups(width, whole, out) };
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
pub(crate) unsafe fn store_packed<const W: usize>(bytes: *mut u8, packed: __m512i) {
    // SAFETY: 8 · W bytes in all.
    unsafe {
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
