//! The matrix product on 256-bit vectors, with the byte products of AVX-VNNI or, without them, of AVX2.
//!
//! AVX2 has no product of unsigned and signed bytes that does not saturate; its quads are two vectors a plane, rows 0 and 2
//! and rows 1 and 3 as 16-bit numbers, for `vpmaddwd`, which is exact.

mod exit;
mod pack;

use std::{arch::x86_64::*, hint::black_box};

use super::planes::{Instructions, Job, Layout, PanelWork, Scratch};
use crate::{Modulus, linear_map::WeightWidth};

/// Output rows of a register block: rows times planes accumulators, at most 14 of 16 registers.
fn block_rows(width: usize, weight_width: WeightWidth) -> usize {
    let rows = match width {
        1 => 8,
        2 => 6,
        3 => 4,
        4 => 3,
        5 | 6 => 2,
        _ => 1,
    };
    match weight_width {
        WeightWidth::Eight => rows,
        // The low and high row of an output share a block.
        WeightWidth::Sixteen => (rows & !1).max(2),
    }
}

/// The instructions of AVX2, with the byte products of AVX-VNNI if those are there.
pub(super) struct Avx2<const VNNI: bool>;

impl<const VNNI: bool> Instructions for Avx2<VNNI> {
    type Vector = __m256i;
    type Reducer = exit::Reducer;
    const LANES: usize = pack::LANES;
    const PARTS: usize = if VNNI { 1 } else { 2 };
    const LAYOUT: Layout = Layout {
        block_rows,
        words: Self::PARTS,
        encode: if VNNI { bytes } else { words },
    };
    const FIRST_LEVEL: usize = 20 << 10;
    const SECOND_LEVEL: usize = 200 << 10;

    fn reducer(modulus: &Modulus) -> exit::Reducer {
        exit::Reducer::new(modulus)
    }

    unsafe fn run(job: &Job<'_>, work: &PanelWork, scratch: &mut Scratch) {
        #[target_feature(enable = "avx2,fma,avxvnni")]
        unsafe fn with_vnni(job: &Job<'_>, work: &PanelWork, scratch: &mut Scratch) {
            // SAFETY: as required of the caller.
            unsafe { job.run::<Avx2<true>>(work, scratch) }
        }
        #[target_feature(enable = "avx2,fma")]
        unsafe fn without(job: &Job<'_>, work: &PanelWork, scratch: &mut Scratch) {
            // SAFETY: as required of the caller.
            unsafe { job.run::<Avx2<false>>(work, scratch) }
        }
        // SAFETY: as required of the caller.
        unsafe {
            if VNNI {
                with_vnni(job, work, scratch);
            } else {
                without(job, work, scratch);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn pack<const W: usize>(rows: [&[u8]; 4], quads: &mut [__m256i], stride: usize) {
        pack::quad::<W>(rows, Self::PARTS, quads, stride);
    }

    #[inline(always)]
    unsafe fn multiply<const W: usize>(
        weights: &[i32],
        quads: &[__m256i],
        read: &[u32],
        sums: &mut [__m256i],
        continues: bool,
    ) {
        let rows = sums.len() / W;
        assert_eq!(sums.len(), rows * W);
        assert_eq!(weights.len(), rows * Self::PARTS * read.len());
        // SAFETY: as required of the caller, and just checked.
        unsafe {
            match rows {
                1 => register_block::<VNNI, 1, W>(weights, quads, read, sums, continues),
                2 => register_block::<VNNI, 2, W>(weights, quads, read, sums, continues),
                3 => register_block::<VNNI, 3, W>(weights, quads, read, sums, continues),
                4 => register_block::<VNNI, 4, W>(weights, quads, read, sums, continues),
                5 => register_block::<VNNI, 5, W>(weights, quads, read, sums, continues),
                6 => register_block::<VNNI, 6, W>(weights, quads, read, sums, continues),
                7 => register_block::<VNNI, 7, W>(weights, quads, read, sums, continues),
                8 => register_block::<VNNI, 8, W>(weights, quads, read, sums, continues),
                _ => unreachable!("no register block of {rows} rows"),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store<const W: usize>(
        reducer: &exit::Reducer,
        sums: &[__m256i],
        _inputs: usize,
        target: *mut u8,
        columns: usize,
    ) {
        // SAFETY: as required of the caller.
        unsafe { reducer.store::<W>(sums, target, columns) };
    }
}

/// The weights of a quad as bytes.
fn bytes(quad: [i8; 4]) -> [i32; 2] {
    [i32::from_le_bytes(quad.map(|w| w as u8)), 0]
}

/// The weights of a quad as 16-bit words: those of rows 0 and 2, then those of rows 1 and 3.
fn words(quad: [i8; 4]) -> [i32; 2] {
    let pair = |a: i8, b: i8| i32::from(a) & 0xffff | i32::from(b) << 16;
    [pair(quad[0], quad[2]), pair(quad[1], quad[3])]
}

/// sum + the products of one part of a quad of one plane.
///
/// # Safety
/// The processor has AVX2, and AVX-VNNI if that is to be used.
#[inline(always)]
unsafe fn add<const VNNI: bool>(sum: __m256i, quad: __m256i, weights: __m256i) -> __m256i {
    // SAFETY: as required of the caller.
    unsafe {
        if VNNI {
            _mm256_dpbusd_avx_epi32(sum, quad, weights)
        } else {
            _mm256_add_epi32(sum, _mm256_madd_epi16(quad, weights))
        }
    }
}

/// Adds the product of a block of weights \[read, R, parts\] and the quads at the positions `read` to the sums \[R, W\],
/// which it overwrites unless it continues an earlier pass.
///
/// # Safety
/// As [`add`]; the lengths fit together.
#[inline(always)]
unsafe fn register_block<const VNNI: bool, const R: usize, const W: usize>(
    weights: &[i32],
    quads: &[__m256i],
    read: &[u32],
    sums: &mut [__m256i],
    continues: bool,
) {
    const MAX_ACCUMULATORS: usize = 14;
    let parts = Avx2::<VNNI>::PARTS;
    if R * W > MAX_ACCUMULATORS {
        unreachable!("{R} rows of {W} planes do not fit the registers");
    }
    // SAFETY: R · W sums and R · PARTS weights a quad, as required; the features are there.
    unsafe {
        let sums = &mut *sums.as_mut_ptr().cast::<[[__m256i; W]; R]>();
        let mut block = if continues {
            *sums
        } else {
            [[_mm256_setzero_si256(); W]; R]
        };
        let mut weights = weights.as_ptr();
        for &position in read {
            let planes = &quads[position as usize * W * parts..][..W * parts];
            for part in 0..parts {
                for (r, sums) in block.iter_mut().enumerate() {
                    let weight = _mm256_set1_epi32(*weights.add(r * parts + part));
                    for (p, sum) in sums.iter_mut().enumerate() {
                        *sum = add::<VNNI>(*sum, planes[p * parts + part], weight);
                    }
                }
            }
            weights = weights.wrapping_add(R * parts);
        }
        *sums = block;
    }
}

/// The peak loops: nothing but accumulators, enough of them to hide the latency.
pub(super) fn int8_burst(products: u64) -> u64 {
    #[target_feature(enable = "avx2")]
    unsafe fn run(products: u64) -> u64 {
        // SAFETY: the instructions are those of this function.
        unsafe { burst::<false>(products, _mm256_set1_epi16(black_box(3))) }
    }
    // SAFETY: this back end's table is only reachable after the features were checked (`backend::available`).
    unsafe { run(products) }
}

pub(super) fn int8_burst_vnni(products: u64) -> u64 {
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn run(products: u64) -> u64 {
        // SAFETY: the instructions are those of this function.
        unsafe { burst::<true>(products, _mm256_set1_epi8(black_box(3))) }
    }
    // SAFETY: as above.
    unsafe { run(products) }
}

/// # Safety
/// As [`add`].
#[inline(always)]
unsafe fn burst<const VNNI: bool>(products: u64, values: __m256i) -> u64 {
    const ACCUMULATORS: usize = 12;
    let products_a_round = (32 * ACCUMULATORS / Avx2::<VNNI>::PARTS) as u64;
    let rounds = products.div_ceil(products_a_round);
    // SAFETY: as required of the caller.
    unsafe {
        let weights = black_box(values);
        let mut sums = [_mm256_setzero_si256(); ACCUMULATORS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = add::<VNNI>(*sum, values, weights);
            }
            // The products are the same each time: keep the compiler from taking them out of the loop.
            black_box(&mut sums);
        }
    }
    rounds * products_a_round
}
