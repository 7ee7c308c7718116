//! The matrix product on 256-bit vectors, with the byte products of AVX-VNNI or, without them, of AVX2.
//!
//! As the 512-bit kernel ([`vnni`](super::vnni)): byte planes, four input rows a quad, a register block of all planes of a
//! column group times some output rows, sums that leave the registers together ([`exit`]). AVX2 has no product of
//! unsigned and signed bytes that does not saturate; its quads are two vectors a plane, rows 0 and 2 and rows 1 and 3
//! as 16-bit numbers, for `vpmaddwd`, which is exact.

mod exit;
mod pack;

use std::{arch::x86_64::*, cell::RefCell, hint::black_box};

use super::planes::{Layout, PackedGroup, PanelWork, Planes};
use crate::{
    Modulus, Strip, StripMut,
    linear::{LinearKernel, LinearMap, WeightWidth},
};

/// Columns of a group: the 32-bit lanes of a vector.
const LANES: usize = 8;
/// Bytes of quads that one column group may take between two passes over the outputs.
const FIRST_LEVEL: usize = 20 << 10;
/// Bytes of quads a thread works on at a time: a good part of the second level.
const SECOND_LEVEL: usize = 200 << 10;

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

/// How a quad of one plane is multiplied and added.
trait Dot: Send + Sync + 'static {
    /// Vectors of a quad and plane, and words of weights of a quad.
    const PARTS: usize;
    const LAYOUT: Layout;

    /// sum + the products of one part.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn add(sum: __m256i, quad: __m256i, weights: __m256i) -> __m256i;
}

struct Vnni;

impl Dot for Vnni {
    const PARTS: usize = 1;
    const LAYOUT: Layout = Layout {
        block_rows,
        words: 1,
        encode: |quad| [i32::from_le_bytes(quad.map(|w| w as u8)), 0],
    };

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn add(sum: __m256i, quad: __m256i, weights: __m256i) -> __m256i {
        _mm256_dpbusd_avx_epi32(sum, quad, weights)
    }
}

struct Words;

impl Dot for Words {
    const PARTS: usize = 2;
    const LAYOUT: Layout = Layout {
        block_rows,
        words: 2,
        encode: |quad| {
            let pair = |a: i8, b: i8| i32::from(a) & 0xffff | i32::from(b) << 16;
            [pair(quad[0], quad[2]), pair(quad[1], quad[3])]
        },
    };

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn add(sum: __m256i, quad: __m256i, weights: __m256i) -> __m256i {
        _mm256_add_epi32(sum, _mm256_madd_epi16(quad, weights))
    }
}

/// The entries of the backend tables; only handed out after the processor was asked for the instructions.
pub(super) fn prepare(map: &LinearMap) -> Box<dyn LinearKernel> {
    Box::new(Kernel {
        planes: Planes::new(map),
        run: |job, work, scratch| {
            // SAFETY: the table is reachable only where the instructions were found, as `Kernel::apply` requires.
            unsafe { job.run_avx2(work, scratch) }
        },
    })
}

pub(super) fn prepare_vnni(map: &LinearMap) -> Box<dyn LinearKernel> {
    Box::new(Kernel {
        planes: Planes::new(map),
        run: |job, work, scratch| {
            // SAFETY: as above.
            unsafe { job.run_vnni(work, scratch) }
        },
    })
}

type Run = fn(&Job<'_>, &PanelWork, &mut Scratch);

struct Kernel {
    planes: Planes,
    run: Run,
}

/// Memory of a thread, kept from call to call.
#[derive(Default)]
struct Scratch {
    /// \[column groups, quads, planes, parts\].
    quads: Vec<__m256i>,
    /// Sums of one column group, \[output rows, planes\].
    sums: Vec<__m256i>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The first `vectors` of a buffer, which is made longer where it is too short.
fn grown(buffer: &mut Vec<__m256i>, vectors: usize) -> &mut [__m256i] {
    if buffer.len() < vectors {
        // SAFETY: every bit pattern of the type is a value; this is all zeros.
        buffer.resize(vectors, unsafe { std::mem::zeroed() });
    }
    &mut buffer[..vectors]
}

impl LinearKernel for Kernel {
    fn apply(&self, modulus: &Modulus, input: Strip<'_>, output: &mut StripMut<'_>) {
        SCRATCH.with_borrow_mut(|scratch| {
            let (target, target_stride) = output.layout();
            let job = Job {
                modulus,
                input,
                target,
                target_stride,
                weight_width: self.planes.weight_width,
            };
            for work in &self.planes.panels {
                (self.run)(&job, work, scratch);
            }
        });
    }
}

/// What all panels of one call share. Rows and columns named by the groups are inside both strips, whose shapes
/// `PreparedLinearMap::apply_strip` has checked; the output is borrowed mutably meanwhile.
struct Job<'a> {
    modulus: &'a Modulus,
    input: Strip<'a>,
    target: *mut u8,
    target_stride: usize,
    weight_width: WeightWidth,
}

impl Job<'_> {
    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run_avx2(&self, work: &PanelWork, scratch: &mut Scratch) {
        // SAFETY: as required of the caller.
        unsafe { self.run_width::<Words>(work, scratch) }
    }

    /// # Safety
    /// The processor has the features.
    #[target_feature(enable = "avx2,fma,avxvnni")]
    unsafe fn run_vnni(&self, work: &PanelWork, scratch: &mut Scratch) {
        // SAFETY: as required of the caller.
        unsafe { self.run_width::<Vnni>(work, scratch) }
    }

    /// # Safety
    /// The processor has the features of D.
    #[inline(always)]
    unsafe fn run_width<D: Dot>(&self, work: &PanelWork, scratch: &mut Scratch) {
        // SAFETY: as required of the caller.
        unsafe {
            match self.input.width() {
                1 => self.run::<D, 1>(work, scratch),
                2 => self.run::<D, 2>(work, scratch),
                3 => self.run::<D, 3>(work, scratch),
                4 => self.run::<D, 4>(work, scratch),
                5 => self.run::<D, 5>(work, scratch),
                6 => self.run::<D, 6>(work, scratch),
                _ => self.run::<D, 7>(work, scratch),
            }
        }
    }

    /// All columns for the groups of one panel.
    ///
    /// # Safety
    /// The processor has the features of D.
    #[inline(always)]
    unsafe fn run<D: Dot, const W: usize>(&self, work: &PanelWork, scratch: &mut Scratch) {
        let vectors = W * D::PARTS;
        let depth = work.panel.quads.len();
        let columns = self.input.columns();
        let step = (SECOND_LEVEL / (depth * vectors * 32).max(1)).max(1) * LANES;
        let reducer = exit::Reducer::new(self.modulus);
        for start in (0..columns).step_by(step) {
            let count = step.min(columns - start);
            let column_groups = count.div_ceil(LANES);
            let quads = grown(&mut scratch.quads, column_groups * depth * vectors);
            for (position, quad) in work.panel.quads.iter().enumerate() {
                let rows = quad.map(|row| &self.input.row(row as usize)[start * W..][..count * W]);
                for g in 0..column_groups {
                    let target = &mut quads[(g * depth + position) * vectors..][..vectors];
                    // SAFETY: the features of D include AVX2.
                    unsafe { pack::quad::<W>(rows, g * LANES * W, D::PARTS, target) };
                }
            }
            for g in 0..column_groups {
                let quads = &quads[g * depth * vectors..(g + 1) * depth * vectors];
                for group in &work.groups {
                    let column = start + g * LANES;
                    // SAFETY: as required of the caller.
                    unsafe {
                        self.group::<D, W>(group, quads, column, &reducer, &mut scratch.sums)
                    };
                }
            }
        }
    }

    /// One column group of one group of outputs.
    ///
    /// # Safety
    /// The processor has the features of D; `column` is one of the input.
    #[inline(always)]
    unsafe fn group<D: Dot, const W: usize>(
        &self,
        group: &PackedGroup,
        quads: &[__m256i],
        column: usize,
        reducer: &exit::Reducer,
        sums: &mut Vec<__m256i>,
    ) {
        let unit = self.weight_width.bytes();
        let depth = group.quads.len();
        let sums = grown(sums, group.outputs.len() * unit * W);
        let passes = (depth * W * D::PARTS * 32).div_ceil(FIRST_LEVEL).max(1);
        for pass in 0..passes {
            let (from, to) = (pass * depth / passes, (pass + 1) * depth / passes);
            for block in group.blocks(W, self.weight_width, &D::LAYOUT) {
                let row_words = block.rows * D::PARTS;
                let weights = &block.weights[from * row_words..to * row_words];
                let sums = &mut sums[block.first_row * W..(block.first_row + block.rows) * W];
                let read = &group.quads[from..to];
                // SAFETY: the features are there and the lengths fit.
                unsafe { multiply::<D, W>(block.rows, weights, quads, read, sums, pass > 0) };
                if pass + 1 < passes {
                    continue;
                }
                let outputs = &group.outputs[block.first_row / unit..];
                for (sums, &row) in sums.chunks_exact(W * unit).zip(outputs) {
                    let columns = (self.input.columns() - column).min(LANES);
                    // SAFETY: row and columns are inside the output; the features of D include AVX2 and FMA.
                    unsafe {
                        let target = self
                            .target
                            .add(row as usize * self.target_stride + column * W);
                        reducer.store::<W>(sums, target, columns);
                    }
                }
            }
        }
    }
}

/// Adds the product of a block of weights \[read, rows, parts\] and the quads at the positions `read` to the sums
/// \[rows, W\], which it overwrites unless it continues an earlier pass.
///
/// # Safety
/// The processor has the features of D; the lengths fit together.
#[inline(always)]
unsafe fn multiply<D: Dot, const W: usize>(
    rows: usize,
    weights: &[i32],
    quads: &[__m256i],
    read: &[u32],
    sums: &mut [__m256i],
    continues: bool,
) {
    assert_eq!(weights.len(), rows * D::PARTS * read.len());
    assert_eq!(sums.len(), rows * W);
    // SAFETY: as required of the caller, and just checked.
    unsafe {
        match rows {
            1 => register_block::<D, 1, W>(weights, quads, read, sums, continues),
            2 => register_block::<D, 2, W>(weights, quads, read, sums, continues),
            3 => register_block::<D, 3, W>(weights, quads, read, sums, continues),
            4 => register_block::<D, 4, W>(weights, quads, read, sums, continues),
            5 => register_block::<D, 5, W>(weights, quads, read, sums, continues),
            6 => register_block::<D, 6, W>(weights, quads, read, sums, continues),
            7 => register_block::<D, 7, W>(weights, quads, read, sums, continues),
            8 => register_block::<D, 8, W>(weights, quads, read, sums, continues),
            _ => unreachable!("no register block of {rows} rows"),
        }
    }
}

/// # Safety
/// As [`multiply`], for R rows.
#[inline(always)]
unsafe fn register_block<D: Dot, const R: usize, const W: usize>(
    weights: &[i32],
    quads: &[__m256i],
    read: &[u32],
    sums: &mut [__m256i],
    continues: bool,
) {
    const MAX_ACCUMULATORS: usize = 14;
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
            let planes = &quads[position as usize * W * D::PARTS..][..W * D::PARTS];
            for part in 0..D::PARTS {
                for (r, sums) in block.iter_mut().enumerate() {
                    let weight = _mm256_set1_epi32(*weights.add(r * D::PARTS + part));
                    for (p, sum) in sums.iter_mut().enumerate() {
                        *sum = D::add(*sum, planes[p * D::PARTS + part], weight);
                    }
                }
            }
            weights = weights.wrapping_add(R * D::PARTS);
        }
        *sums = block;
    }
}

/// The peak loops: nothing but accumulators, enough of them to hide the latency.
pub(super) fn int8_burst(products: u64) -> u64 {
    #[target_feature(enable = "avx2")]
    fn run(rounds: u64) -> u64 {
        // SAFETY: the features are those of this function.
        unsafe { burst::<Words>(rounds, _mm256_set1_epi16(black_box(3))) }
    }
    // SAFETY: this backend's table is only reachable after the features were checked (`backend::available`).
    unsafe { run(products.div_ceil(burst_products::<Words>())) }
}

pub(super) fn int8_burst_vnni(products: u64) -> u64 {
    #[target_feature(enable = "avx2,avxvnni")]
    fn run(rounds: u64) -> u64 {
        // SAFETY: the features are those of this function.
        unsafe { burst::<Vnni>(rounds, _mm256_set1_epi8(black_box(3))) }
    }
    // SAFETY: as above.
    unsafe { run(products.div_ceil(burst_products::<Vnni>())) }
}

const ACCUMULATORS: usize = 12;

/// Byte products of a round of [`burst`].
const fn burst_products<D: Dot>() -> u64 {
    32 * ACCUMULATORS as u64 / D::PARTS as u64
}

/// # Safety
/// The processor has the features of D.
#[inline(always)]
unsafe fn burst<D: Dot>(rounds: u64, values: __m256i) -> u64 {
    // SAFETY: as required of the caller.
    unsafe {
        let weights = black_box(values);
        let mut sums = [_mm256_setzero_si256(); ACCUMULATORS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = D::add(*sum, values, weights);
            }
            // The products are the same each time: keep the compiler from taking them out of the loop.
            std::hint::black_box(&mut sums);
        }
    }
    rounds * burst_products::<D>()
}
