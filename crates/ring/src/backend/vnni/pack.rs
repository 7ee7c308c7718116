//! Entry of the kernel: four rows of packed residues become one vector a byte plane.

use std::arch::x86_64::*;

use crate::backend::planes::MAX_WIDTH;

/// Columns of a group: the 32-bit lanes of a vector.
pub(super) const LANES: usize = 16;

/// Bytes of a half group: eight columns fit one vector for every width.
const HALF: usize = LANES / 2;

/// Byte positions that spread the residues of sixteen columns over 32-bit lanes: byte `skip + j` of column c goes to
/// byte j of lane c, j < 4. Columns 0 to 7 are read from a vector that starts with column 0, columns 8 to 15 from one
/// that starts `upper` bytes after it.
const fn spread(width: usize, skip: usize, upper: usize) -> [u8; 64] {
    let mut index = [0; 64];
    let mut lane = 0;
    while lane < LANES {
        let base = if lane < HALF { 0 } else { upper };
        let mut j = 0;
        while j < 4 && skip + j < width {
            index[4 * lane + j] = (lane * width + skip + j - base) as u8;
            j += 1;
        }
        lane += 1;
    }
    index
}

/// The bytes that [`spread`] fills.
const fn filled(width: usize, skip: usize) -> u64 {
    let bytes = if width - skip < 4 { width - skip } else { 4 };
    0x1111_1111_1111_1111 * ((1 << bytes) - 1)
}

struct Layout<const W: usize>;

impl<const W: usize> Layout<W> {
    /// Where the second load of a row starts: it ends with the group, so that it reads nothing behind it.
    const UPPER: usize = if W < 4 { 0 } else { LANES * W - 64 };
    const LOW: [u8; 64] = spread(W, 0, Self::UPPER);
    const LOW_FILLED: u64 = filled(W, 0);
    const HIGH: [u8; 64] = if W > 4 {
        spread(W, 4, Self::UPPER)
    } else {
        [0; 64]
    };
    const HIGH_FILLED: u64 = if W > 4 { filled(W, 4) } else { 0 };
    /// A group of narrow residues is shorter than a vector.
    const LOADED: u64 = if LANES * W < 64 {
        (1 << (LANES * W)) - 1
    } else {
        u64::MAX
    };
}

const UPPER_LANES: u64 = 0xffff_ffff_0000_0000;

/// Packs four rows: vector `p` of column group `g` goes to `target + g · stride + p`. Columns missing in the last
/// group count as zero.
///
/// # Safety
/// The processor has the features. The four rows have one length, a multiple of W, and `target` has room for W
/// vectors at every `stride`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(super) unsafe fn quad<const W: usize>(rows: [&[u8]; 4], target: *mut __m512i, stride: usize) {
    let bytes = rows[0].len();
    let groups = bytes / (LANES * W);
    for g in 0..groups {
        let offset = g * LANES * W;
        // SAFETY: every row has LANES · W bytes from this offset on; the target has room.
        unsafe {
            group::<W>(
                rows.map(|row| row.as_ptr().add(offset)),
                target.add(g * stride),
            )
        };
    }
    let rest = bytes - groups * LANES * W;
    if rest > 0 {
        let mut padded = [[0_u8; LANES * MAX_WIDTH]; 4];
        for (padded, row) in padded.iter_mut().zip(rows) {
            padded[..rest].copy_from_slice(&row[bytes - rest..]);
        }
        // SAFETY: the padded rows have LANES · W bytes; the target has room.
        unsafe {
            group::<W>(
                padded.each_ref().map(|row| row.as_ptr()),
                target.add(groups * stride),
            )
        };
    }
}

/// Packs sixteen columns of four rows.
///
/// # Safety
/// The processor has the features; LANES · W bytes are readable at each row and W vectors writable at the target.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
unsafe fn group<const W: usize>(rows: [*const u8; 4], target: *mut __m512i) {
    // SAFETY: the loads are inside LANES · W bytes by the choice of UPPER and LOADED.
    unsafe {
        let low_index = _mm512_loadu_epi8(Layout::<W>::LOW.as_ptr().cast());
        let high_index = _mm512_loadu_epi8(Layout::<W>::HIGH.as_ptr().cast());
        let mut low = [_mm512_setzero_si512(); 4];
        let mut high = [_mm512_setzero_si512(); 4];
        for (i, row) in rows.into_iter().enumerate() {
            if W < 4 {
                let bytes = _mm512_maskz_loadu_epi8(Layout::<W>::LOADED, row.cast());
                low[i] = _mm512_maskz_permutexvar_epi8(Layout::<W>::LOW_FILLED, low_index, bytes);
            } else if W == 4 {
                low[i] = _mm512_loadu_epi8(row.cast());
            } else {
                let first = _mm512_loadu_epi8(row.cast());
                let second = _mm512_loadu_epi8(row.add(Layout::<W>::UPPER).cast());
                low[i] = _mm512_permutexvar_epi8(low_index, first);
                low[i] = _mm512_mask_permutexvar_epi8(low[i], UPPER_LANES, low_index, second);
                high[i] =
                    _mm512_maskz_permutexvar_epi8(Layout::<W>::HIGH_FILLED, high_index, first);
                high[i] = _mm512_mask_permutexvar_epi8(
                    high[i],
                    UPPER_LANES & Layout::<W>::HIGH_FILLED,
                    high_index,
                    second,
                );
            }
        }
        transpose(low, W.min(4), target);
        if W > 4 {
            transpose(high, W - 4, target.add(4));
        }
    }
}

/// Transposes the 4 × 4 bytes of every 32-bit lane of four vectors and stores the first `planes` results.
///
/// # Safety
/// The processor has the features; `planes` vectors are writable at the target.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn transpose(rows: [__m512i; 4], planes: usize, target: *mut __m512i) {
    // Shifts and blends rather than shuffles: they spread over both vector ports.
    const ODD_WORDS: u32 = 0xaaaa_aaaa;
    const ODD_BYTES: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    let words = |a, b| {
        (
            _mm512_mask_blend_epi16(ODD_WORDS, a, _mm512_slli_epi32::<16>(b)),
            _mm512_mask_blend_epi16(ODD_WORDS, _mm512_srli_epi32::<16>(a), b),
        )
    };
    let bytes = |a, b| {
        (
            _mm512_mask_blend_epi8(ODD_BYTES, a, _mm512_slli_epi16::<8>(b)),
            _mm512_mask_blend_epi8(ODD_BYTES, _mm512_srli_epi16::<8>(a), b),
        )
    };
    let (even01, even23) = words(rows[0], rows[2]);
    let (odd01, odd23) = words(rows[1], rows[3]);
    let (plane0, plane1) = bytes(even01, odd01);
    let (plane2, plane3) = bytes(even23, odd23);
    for (i, plane) in [plane0, plane1, plane2, plane3][..planes]
        .iter()
        .enumerate()
    {
        // SAFETY: i < planes.
        unsafe { _mm512_store_si512(target.add(i), *plane) };
    }
}
