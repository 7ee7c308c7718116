//! Entry of the kernel: four rows of packed residues become one vector, or two, a byte plane.

use std::arch::x86_64::*;

use crate::backend::planes::MAX_WIDTH;

/// Columns of a group: the 32-bit lanes of a vector.
pub(super) const LANES: usize = 8;

/// Packs four rows: the vectors of column group `g` start at `quads[g · stride]`, `parts` a plane. Columns missing in the
/// last group count as zero.
///
/// With one part, byte i of lane c of plane p is byte p of row i. With two, the first has rows 0 and 2 as 16-bit numbers
/// and the second rows 1 and 3.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn quad<const W: usize>(
    rows: [&[u8]; 4],
    parts: usize,
    quads: &mut [__m256i],
    stride: usize,
) {
    let groups = (0..rows[0].len()).step_by(LANES * W);
    for (start, target) in groups.zip(quads.chunks_mut(stride)) {
        group::<W>(rows, start, parts, target);
    }
}

/// Packs eight columns of four rows, from byte `start` of each on.
#[inline]
#[target_feature(enable = "avx2")]
fn group<const W: usize>(rows: [&[u8]; 4], start: usize, parts: usize, target: &mut [__m256i]) {
    let mut halves = [[[0_u32; LANES]; 4]; 2];
    for (i, row) in rows.into_iter().enumerate() {
        let bytes = &row[start..row.len().min(start + LANES * W)];
        let mut padded = [0; LANES * MAX_WIDTH + 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        for column in 0..LANES {
            let mut word = [0; 8];
            word.copy_from_slice(&padded[column * W..column * W + 8]);
            let residue = u64::from_le_bytes(word);
            halves[0][i][column] = residue as u32;
            halves[1][i][column] = (residue >> 32) as u32;
        }
    }
    for (half, rows) in halves.iter().enumerate() {
        let planes = W.saturating_sub(4 * half).min(4);
        // SAFETY: each reads the 32 bytes of an array.
        let rows = rows
            .each_ref()
            .map(|row| unsafe { _mm256_loadu_si256(row.as_ptr().cast()) });
        for (plane, quad) in transpose(rows).into_iter().enumerate().take(planes) {
            let position = (4 * half + plane) * parts;
            if parts == 1 {
                target[position] = quad;
            } else {
                let low_bytes = _mm256_set1_epi16(0xff);
                target[position] = _mm256_and_si256(quad, low_bytes);
                target[position + 1] = _mm256_srli_epi16::<8>(quad);
            }
        }
    }
}

/// Transposes the 4 × 4 bytes of every 32-bit lane of four vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: [__m256i; 4]) -> [__m256i; 4] {
    const ODD_WORDS: i32 = 0xaa;
    let odd_bytes = _mm256_set1_epi16(0xff00_u16 as i16);
    let words = |a, b| {
        (
            _mm256_blend_epi16::<ODD_WORDS>(a, _mm256_slli_epi32::<16>(b)),
            _mm256_blend_epi16::<ODD_WORDS>(_mm256_srli_epi32::<16>(a), b),
        )
    };
    let bytes = |a, b| {
        (
            _mm256_blendv_epi8(a, _mm256_slli_epi16::<8>(b), odd_bytes),
            _mm256_blendv_epi8(_mm256_srli_epi16::<8>(a), b, odd_bytes),
        )
    };
    let (even01, even23) = words(rows[0], rows[2]);
    let (odd01, odd23) = words(rows[1], rows[3]);
    let (plane0, plane1) = bytes(even01, odd01);
    let (plane2, plane3) = bytes(even23, odd23);
    [plane0, plane1, plane2, plane3]
}
