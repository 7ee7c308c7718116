//! The matrix product on AVX-512 with VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each
//! of sixteen 32-bit lanes.

mod exit;
mod pack;
mod product;

use std::arch::x86_64::__m512i;

use super::planes::{Instructions, Job, Layout, PanelWork, Scratch};
use crate::{Modulus, linear_map::WeightWidth};

pub(super) use product::int8_burst;

/// Output rows of a register block: rows times planes accumulators, one vector a plane and one weight in 32 registers.
fn block_rows(width: usize, weight_width: WeightWidth) -> usize {
    let rows = match width {
        7 => 3,
        6 => 4,
        5 => 5,
        4 => 6,
        _ => 8,
    };
    match weight_width {
        WeightWidth::Eight => rows,
        // The low and high row of an output share a block.
        WeightWidth::Sixteen => rows & !1,
    }
}

pub(super) struct Vnni;

impl Instructions for Vnni {
    type Vector = __m512i;
    type Reducer = exit::Reducer;
    const LANES: usize = pack::LANES;
    const PARTS: usize = 1;
    const LAYOUT: Layout = Layout {
        block_rows,
        words: 1,
        encode: |quad| [i32::from_le_bytes(quad.map(|w| w as u8)), 0],
    };
    const FIRST_LEVEL: usize = 24 << 10;
    const SECOND_LEVEL: usize = 280 << 10;

    fn reducer(modulus: &Modulus) -> exit::Reducer {
        exit::Reducer::new(modulus)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn run(job: &Job<'_>, work: &PanelWork, scratch: &mut Scratch) {
        // SAFETY: as required of the caller.
        unsafe { job.run::<Self>(work, scratch) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    unsafe fn pack<const W: usize>(rows: [&[u8]; 4], quads: &mut [__m512i], stride: usize) {
        // SAFETY: as required of the caller.
        unsafe { pack::quad::<W>(rows, quads.as_mut_ptr(), stride) };
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn multiply<const W: usize>(
        weights: &[i32],
        quads: &[__m512i],
        read: &[u32],
        sums: &mut [__m512i],
        continues: bool,
    ) {
        let (quads, sums) = (quads.as_chunks().0, sums.as_chunks_mut().0);
        product::multiply::<W>(weights, quads, read, sums, continues);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    unsafe fn store<const W: usize>(
        reducer: &exit::Reducer,
        sums: &[__m512i],
        inputs: usize,
        target: *mut u8,
        columns: usize,
    ) {
        // SAFETY: as required of the caller.
        unsafe {
            match sums.as_chunks::<W>().0 {
                [low] => reducer.store(&[*low], inputs, target, columns),
                [low, high] => reducer.store(&[*low, *high], inputs, target, columns),
                _ => unreachable!("one or two rows of planes"),
            }
        }
    }
}
