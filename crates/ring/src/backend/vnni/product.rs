//! The register block and the loop that measures the peak.

use std::{arch::x86_64::*, hint::black_box};

/// The most accumulators of a register block; larger blocks do not occur and are not compiled.
const MAX_ACCUMULATORS: usize = 27;

/// Adds the product of a block of weights \[read, rows\] and the quads \[read, W\] at the positions `read` to the sums
/// \[rows, W\], which it overwrites unless it continues an earlier pass.
///
/// # Panics
/// If the lengths do not fit together or a quad does not exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn multiply<const W: usize>(
    weights: &[i32],
    quads: &[[__m512i; W]],
    read: &[u32],
    sums: &mut [[__m512i; W]],
    continues: bool,
) {
    let rows = sums.len();
    assert_eq!(weights.len(), rows * read.len());
    // SAFETY: the lengths fit, as just checked and by the match.
    unsafe {
        match rows {
            1 => register_block::<1, W>(weights, quads, read, sums, continues),
            2 => register_block::<2, W>(weights, quads, read, sums, continues),
            3 => register_block::<3, W>(weights, quads, read, sums, continues),
            4 => register_block::<4, W>(weights, quads, read, sums, continues),
            5 => register_block::<5, W>(weights, quads, read, sums, continues),
            6 => register_block::<6, W>(weights, quads, read, sums, continues),
            7 => register_block::<7, W>(weights, quads, read, sums, continues),
            8 => register_block::<8, W>(weights, quads, read, sums, continues),
            _ => unreachable!("no register block of {rows} rows"),
        }
    }
}

/// # Safety
/// The processor has the features; there are R sums, and R weights for each quad that is read.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn register_block<const R: usize, const W: usize>(
    weights: &[i32],
    quads: &[[__m512i; W]],
    read: &[u32],
    sums: &mut [[__m512i; W]],
    continues: bool,
) {
    if R * W > MAX_ACCUMULATORS {
        unreachable!("{R} rows of {W} planes do not fit the registers");
    }
    // SAFETY: R sums, as required.
    let sums = unsafe { &mut *sums.as_mut_ptr().cast::<[[__m512i; W]; R]>() };
    let mut block = [[_mm512_setzero_si512(); W]; R];
    if continues {
        block = *sums;
    }
    let mut weights = weights.as_ptr();
    for &position in read {
        let planes = &quads[position as usize];
        for (r, sums) in block.iter_mut().enumerate() {
            // SAFETY: R weights per quad, as required.
            let weight = _mm512_set1_epi32(unsafe { *weights.add(r) });
            for (sum, &plane) in sums.iter_mut().zip(planes) {
                *sum = _mm512_dpbusd_epi32(*sum, plane, weight);
            }
        }
        weights = weights.wrapping_add(R);
    }
    *sums = block;
}

/// The peak loop: nothing but accumulators, enough of them to hide the latency.
pub(in crate::backend) fn int8_burst(products: u64) -> u64 {
    const ACCUMULATORS: usize = 24;
    const PRODUCTS: u64 = 64 * ACCUMULATORS as u64;

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn run(rounds: u64) {
        let unsigned = _mm512_set1_epi8(black_box(3));
        let signed = _mm512_set1_epi8(black_box(-5));
        let mut sums = [_mm512_setzero_si512(); ACCUMULATORS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, unsigned, signed);
            }
        }
        black_box(sums);
    }

    let rounds = products.div_ceil(PRODUCTS);
    // SAFETY: this backend's table is only reachable after the features were checked (`backend::available`).
    unsafe { run(rounds) };
    rounds * PRODUCTS
}
