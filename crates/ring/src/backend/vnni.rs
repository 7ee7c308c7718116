//! The matrix product on AVX-512 with VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each
//! of sixteen 32-bit lanes.
//!
//! The columns are cut into groups of sixteen and the residues of a group into byte planes. Four input rows make a
//! quad: one vector a plane, holding the four rows' bytes of each column side by side ([`pack`]). The register
//! block of [`product`] is all planes of a column group times some output rows, so the sums that recombine into
//! one residue leave the registers together ([`exit`]). The quads of a strip are packed once ([`planes`](super::planes)) and read by
//! every output that needs them.

mod exit;
mod pack;
mod product;

use std::{arch::x86_64::*, cell::RefCell};

use super::planes::{Layout, MAX_WIDTH, PackedGroup, PanelWork, Planes};
use crate::{
    Modulus, Strip, StripMut,
    linear::{LinearKernel, LinearMap, WeightWidth},
};

pub(super) use product::int8_burst;

/// Columns of a group: the 32-bit lanes of a vector.
const LANES: usize = 16;
/// Bytes of quads that one column group may take between two passes over the outputs: what stays in the first level
/// of the cache besides weights and sums.
const FIRST_LEVEL: usize = 24 << 10;
/// Bytes of quads a thread works on at a time: a good part of the second level.
const SECOND_LEVEL: usize = 280 << 10;

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

const LAYOUT: Layout = Layout {
    block_rows,
    words: 1,
    encode: |quad| [i32::from_le_bytes(quad.map(|w| w as u8)), 0],
};

/// The entry of the backend table; only handed out after the processor was asked for the instructions.
pub(super) fn prepare(map: &LinearMap) -> Box<dyn LinearKernel> {
    Box::new(Vnni(Planes::new(map)))
}

struct Vnni(Planes);

/// Memory of a thread, kept from call to call.
#[derive(Default)]
struct Scratch {
    /// \[column groups, quads, planes\].
    quads: Vec<__m512i>,
    /// Sums of one column group, \[output rows, planes\].
    sums: Vec<__m512i>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The first `vectors` of a buffer, which is made longer where it is too short.
fn grown(buffer: &mut Vec<__m512i>, vectors: usize) -> &mut [__m512i] {
    if buffer.len() < vectors {
        // SAFETY: every bit pattern of the type is a value; this is all zeros.
        buffer.resize(vectors, unsafe { std::mem::zeroed() });
    }
    &mut buffer[..vectors]
}

impl LinearKernel for Vnni {
    fn apply(&self, modulus: &Modulus, input: Strip<'_>, output: &mut StripMut<'_>) {
        SCRATCH.with_borrow_mut(|scratch| {
            let (target, target_stride) = output.layout();
            let job = Job {
                modulus,
                input,
                target,
                target_stride,
                weight_width: self.0.weight_width,
            };
            for work in &self.0.panels {
                // SAFETY: this backend's table is only reachable after the processor's features were checked
                // (`backend::available`). Rows and columns are inside both strips, whose shapes
                // `PreparedLinearMap::apply_strip` has checked; the output is borrowed mutably.
                unsafe {
                    match self.0.weight_width {
                        WeightWidth::Eight => job.run_width::<1>(work, scratch),
                        WeightWidth::Sixteen => job.run_width::<2>(work, scratch),
                    }
                }
            }
        });
    }
}

/// What all panels of one call share.
struct Job<'a> {
    modulus: &'a Modulus,
    input: Strip<'a>,
    target: *mut u8,
    target_stride: usize,
    weight_width: WeightWidth,
}

impl Job<'_> {
    /// [`run`](Self::run) for the width of the residues.
    ///
    /// # Safety
    /// As there.
    unsafe fn run_width<const B: usize>(&self, work: &PanelWork, scratch: &mut Scratch) {
        // SAFETY: as required of the caller.
        unsafe {
            match self.input.width() {
                1 => self.run::<1, B>(work, scratch),
                2 => self.run::<2, B>(work, scratch),
                3 => self.run::<3, B>(work, scratch),
                4 => self.run::<4, B>(work, scratch),
                5 => self.run::<5, B>(work, scratch),
                6 => self.run::<6, B>(work, scratch),
                _ => self.run::<7, B>(work, scratch),
            }
        }
    }

    /// All columns for the groups of one panel.
    ///
    /// # Safety
    /// The processor has the features; the target is writable for all rows named by the groups, in as many columns as
    /// the input has.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn run<const W: usize, const B: usize>(&self, work: &PanelWork, scratch: &mut Scratch) {
        let depth = work.panel.quads.len();
        let columns = self.input.columns();
        // As many columns at a time as have their quads in the cache.
        let step = (SECOND_LEVEL / (depth * W * 64).max(1)).max(1) * LANES;
        let reducer = exit::Reducer::new(self.modulus);
        for start in (0..columns).step_by(step) {
            let count = step.min(columns - start);
            let column_groups = count.div_ceil(LANES);
            let quads = grown(&mut scratch.quads, column_groups * depth * W);
            for (position, quad) in work.panel.quads.iter().enumerate() {
                let source =
                    quad.map(|row| &self.input.row(row as usize)[start * W..][..count * W]);
                // SAFETY: there are `depth` quads for each column group, the sources have the columns.
                unsafe {
                    let target = quads.as_mut_ptr().add(position * W);
                    pack::quad::<W>(source, target, depth * W);
                }
            }
            let (quads, _) = quads.as_chunks::<W>();
            for g in 0..column_groups {
                let column = start + g * LANES;
                let quads = &quads[g * depth..(g + 1) * depth];
                for group in &work.groups {
                    // SAFETY: as required of the caller.
                    unsafe {
                        self.group::<W, B>(group, quads, column, &reducer, &mut scratch.sums);
                    }
                }
            }
        }
    }

    /// One column group of one group of outputs.
    ///
    /// # Safety
    /// As [`run`](Self::run); `column` is one of the input.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn group<const W: usize, const B: usize>(
        &self,
        group: &PackedGroup,
        quads: &[[__m512i; W]],
        column: usize,
        reducer: &exit::Reducer,
        sums: &mut Vec<__m512i>,
    ) {
        let depth = group.quads.len();
        let (sums, _) = grown(sums, group.outputs.len() * B * W).as_chunks_mut::<W>();
        let passes = (depth * W * 64).div_ceil(FIRST_LEVEL).max(1);
        for pass in 0..passes {
            let (from, to) = (pass * depth / passes, (pass + 1) * depth / passes);
            for block in group.blocks(W, self.weight_width, &LAYOUT) {
                let weights = &block.weights[from * block.rows..to * block.rows];
                let sums = &mut sums[block.first_row..block.first_row + block.rows];
                product::multiply::<W>(weights, quads, &group.quads[from..to], sums, pass > 0);
                if pass + 1 < passes {
                    continue;
                }
                let outputs = &group.outputs[block.first_row / B..];
                for (sums, &row) in sums.as_chunks::<B>().0.iter().zip(outputs) {
                    // SAFETY: row and column are inside the output.
                    unsafe {
                        let target = self
                            .target
                            .add(row as usize * self.target_stride + column * W);
                        let columns = self.input.columns() - column;
                        reducer.store::<W, B>(sums, group.inputs, target, columns);
                    }
                }
            }
        }
    }
}
