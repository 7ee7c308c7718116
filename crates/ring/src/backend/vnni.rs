//! The matrix product on AVX-512 with VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each
//! of sixteen 32-bit lanes.
//!
//! The columns are cut into groups of sixteen and the residues of a group into byte planes. Four input rows make a
//! quad: one vector a plane, holding the four rows' bytes of each column side by side ([`pack`]). The register
//! block of [`product`] is all planes of a column group times some output rows, so the sums that recombine into
//! one residue leave the registers together ([`exit`]). A block of column groups is packed once into the second
//! level of the cache and read by every output of the tile group; meanwhile [`lookahead`] requests the next block's.

mod exit;
mod lookahead;
mod pack;
mod product;

use std::{arch::x86_64::*, cell::RefCell, sync::OnceLock};

use rayon::prelude::*;

use crate::{
    Modulus, ResidueMatrix,
    linear::{Group, LinearKernel, LinearMap, WeightWidth},
};

use lookahead::Lookahead;
pub(super) use product::int8_burst;

/// Columns of a group: the 32-bit lanes of a vector.
const LANES: usize = 16;
/// Widths of a residue run from 1 to this, as moduli are below 2^50.
const MAX_WIDTH: usize = 7;
/// Bytes that the packed right side of one column group may take between two passes over the outputs: what
/// stays in the first level of the cache besides weights and sums.
const FIRST_LEVEL: usize = 36 << 10;
/// Bytes of packed right side a thread works on at a time: a good part of the second level.
const SECOND_LEVEL: usize = 280 << 10;
/// The most column groups of a block.
const MAX_GROUPS: usize = 16;

/// Output rows of a register block: rows times planes accumulators, one vector a plane and one weight in 32 registers.
const fn block_rows(width: usize, weight_width: WeightWidth) -> usize {
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

/// The entry of the backend table; only handed out after the processor was asked for the instructions.
pub(super) fn prepare(map: &LinearMap) -> Box<dyn LinearKernel> {
    let weight_width = map.weight_width();
    let mut seen = vec![false; map.input_rows()];
    let groups = Group::of(map)
        .iter()
        .map(|group| PackedGroup::new(group, weight_width, &mut seen))
        .collect();
    Box::new(Vnni {
        groups,
        weight_width,
    })
}

struct Vnni {
    groups: Vec<PackedGroup>,
    weight_width: WeightWidth,
}

struct PackedGroup {
    /// The input rows; a last quad that is not full repeats one, with weights of zero.
    quads: Vec<[u32; 4]>,
    /// Those that no group before this one reads.
    fresh: Vec<u32>,
    outputs: Vec<u32>,
    /// Row-major \[outputs (low and high row each for 16-bit weights), quads\].
    weights: Vec<[i8; 4]>,
    /// The same in the order of the kernel, for each width of a residue on first use: the register block follows it.
    blocks: [OnceLock<Vec<WeightBlock>>; MAX_WIDTH + 1],
}

/// The weights of one register block.
struct WeightBlock {
    first_row: usize,
    rows: usize,
    /// \[quads, rows\].
    weights: Vec<i32>,
}

impl PackedGroup {
    fn new(group: &Group<'_>, weight_width: WeightWidth, seen: &mut [bool]) -> Self {
        let fresh = group
            .inputs
            .iter()
            .copied()
            .filter(|&row| !std::mem::replace(&mut seen[row as usize], true))
            .collect();
        let quads = group
            .inputs
            .chunks(4)
            .map(|rows| std::array::from_fn(|i| *rows.get(i).unwrap_or(&rows[0])))
            .collect();
        let mut weights = Vec::new();
        for (_, row) in &group.outputs {
            let quads_of = |byte: fn(i16) -> i8| {
                row.chunks(4).map(move |quad| {
                    std::array::from_fn(|i| quad.get(i).map_or(0, |&weight| byte(weight)))
                })
            };
            match weight_width {
                WeightWidth::Eight => weights.extend(quads_of(|w| w as i8)),
                WeightWidth::Sixteen => {
                    // w = 256·hi + lo with lo the signed low byte, so hi = (w - lo) / 256 rounds up from 128.
                    weights.extend(quads_of(|w| w as i8));
                    weights.extend(quads_of(|w| ((i32::from(w) + 128) >> 8) as i8));
                }
            }
        }
        Self {
            quads,
            fresh,
            outputs: group.outputs.iter().map(|&(output, _)| output).collect(),
            weights,
            blocks: Default::default(),
        }
    }

    /// The register blocks for residues of that many bytes, of sizes as equal as possible.
    fn blocks(&self, width: usize, weight_width: WeightWidth) -> &[WeightBlock] {
        self.blocks[width].get_or_init(|| {
            let depth = self.quads.len();
            let unit = weight_width.bytes();
            let outputs = self.outputs.len();
            let count = outputs.div_ceil(block_rows(width, weight_width) / unit);
            let mut first_row = 0;
            (0..count)
                .map(|block| {
                    let rows = unit * (outputs / count + usize::from(block < outputs % count));
                    let weights = (0..depth)
                        .flat_map(|quad| {
                            (first_row..first_row + rows)
                                .map(move |row| self.weights[row * depth + quad])
                        })
                        .map(|quad| i32::from_le_bytes(quad.map(|w| w as u8)))
                        .collect();
                    first_row += rows;
                    WeightBlock {
                        first_row: first_row - rows,
                        rows,
                        weights,
                    }
                })
                .collect()
        })
    }
}

/// Memory of a thread, kept from call to call.
#[derive(Default)]
struct Scratch {
    /// \[column groups, quads, planes\].
    panel: Vec<__m512i>,
    /// Sums of one column group, \[output rows, planes\].
    sums: Vec<__m512i>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

fn grown(buffer: &mut Vec<__m512i>, vectors: usize) -> &mut [__m512i] {
    if buffer.len() < vectors {
        // SAFETY: every bit pattern of the type is a value; this is all zeros.
        buffer.resize(vectors, unsafe { std::mem::zeroed() });
    }
    &mut buffer[..vectors]
}

/// A pointer to rows that several threads write in disjoint columns.
#[derive(Clone, Copy)]
struct Output(*mut u8);
// SAFETY: the tasks of one `apply` write disjoint bytes and it returns after all of them.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    fn pointer(self) -> *mut u8 {
        self.0
    }
}

/// What all tasks of one call share.
struct Job<'a> {
    kernel: &'a Vnni,
    modulus: &'a Modulus,
    input: &'a [u8],
    output: Output,
    columns: usize,
    row_bytes: usize,
    /// Column groups of a block.
    block: usize,
}

impl LinearKernel for Vnni {
    fn apply(&self, modulus: &Modulus, input: &ResidueMatrix, output: &mut ResidueMatrix) {
        let width = input.width();
        let columns = input.columns();
        let depth = self.groups.iter().map(|g| g.quads.len()).max().unwrap_or(0);
        let threads = rayon::current_num_threads();
        let column_groups = columns.div_ceil(LANES);
        let block = (SECOND_LEVEL / (depth * width * 64).max(1))
            .min(column_groups / (4 * threads))
            .clamp(1, MAX_GROUPS);
        let blocks = column_groups.div_ceil(block);
        // Few columns: let several threads share them, each with some of the tile groups.
        let parts = (4 * threads).div_ceil(blocks).min(self.groups.len()).max(1);
        let job = Job {
            kernel: self,
            modulus,
            input: input.as_bytes(),
            output: Output(output.as_mut_bytes().as_mut_ptr()),
            columns,
            row_bytes: input.row_bytes(),
            block,
        };
        (0..blocks * parts).into_par_iter().for_each(|task| {
            let (first_group, part) = (task / parts * block, task % parts);
            let end = |part: usize| part * self.groups.len() / parts;
            let groups = &self.groups[end(part)..end(part + 1)];
            SCRATCH.with_borrow_mut(|scratch| {
                // SAFETY: this backend's table is only reachable after the processor's features were checked
                // (`backend::available`). The tasks differ in columns or in output rows, rows of different tile groups
                // being disjoint (`LinearMap::new`); rows and columns are inside both matrices, whose shapes
                // `PreparedLinearMap::apply` has checked.
                unsafe {
                    match self.weight_width {
                        WeightWidth::Eight => {
                            job.run_width::<1>(width, first_group, groups, scratch)
                        }
                        WeightWidth::Sixteen => {
                            job.run_width::<2>(width, first_group, groups, scratch)
                        }
                    }
                }
            });
        });
    }
}

impl Job<'_> {
    /// [`run`](Self::run) for the width of the residues.
    ///
    /// # Safety
    /// As there.
    unsafe fn run_width<const B: usize>(
        &self,
        width: usize,
        first_group: usize,
        groups: &[PackedGroup],
        scratch: &mut Scratch,
    ) {
        // SAFETY: as required of the caller.
        unsafe {
            match width {
                1 => self.run::<1, B>(first_group, groups, scratch),
                2 => self.run::<2, B>(first_group, groups, scratch),
                3 => self.run::<3, B>(first_group, groups, scratch),
                4 => self.run::<4, B>(first_group, groups, scratch),
                5 => self.run::<5, B>(first_group, groups, scratch),
                6 => self.run::<6, B>(first_group, groups, scratch),
                _ => self.run::<7, B>(first_group, groups, scratch),
            }
        }
    }

    /// One block of columns for some tile groups.
    ///
    /// # Safety
    /// The processor has the features; the job's pointers are valid for all rows named by the groups, and nobody
    /// else writes these rows in these columns.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn run<const W: usize, const B: usize>(
        &self,
        first_group: usize,
        groups: &[PackedGroup],
        scratch: &mut Scratch,
    ) {
        let weight_width = self.kernel.weight_width;
        let start = first_group * LANES;
        let columns = (self.columns - start).min(self.block * LANES);
        let column_groups = columns.div_ceil(LANES);
        let reducer = exit::Reducer::new(self.modulus);
        for (position, group) in groups.iter().enumerate() {
            let depth = group.quads.len();
            let blocks = group.blocks(W, weight_width);
            let rows = group.outputs.len() * B;
            let panel = grown(&mut scratch.panel, column_groups * depth * W);
            let sums = grown(&mut scratch.sums, rows * W);
            for (position, quad) in group.quads.iter().enumerate() {
                let source = quad.map(|row| {
                    &self.input[row as usize * self.row_bytes + start * W..][..columns * W]
                });
                // SAFETY: the panel has `depth` quads for each column group, the sources have the columns.
                unsafe {
                    let target = panel.as_mut_ptr().add(position * W);
                    pack::quad::<W>(source, target, depth * W);
                }
            }
            let (panel, _) = panel.as_chunks::<W>();
            let (sums, _) = sums.as_chunks_mut::<W>();
            let passes = (depth * W * 64).div_ceil(FIRST_LEVEL).max(1);
            let mut ahead = match groups.get(position + 1) {
                Some(next) => self.lookahead::<W>(start, next),
                None => self.lookahead::<W>(start + self.block * LANES, &groups[0]),
            };
            let steps = column_groups * blocks.len() * depth;
            let stretch = (steps / ahead.lines().max(1)).max(1);
            for g in 0..column_groups {
                let column = start + g * LANES;
                for pass in 0..passes {
                    let (from, to) = (pass * depth / passes, (pass + 1) * depth / passes);
                    let panel = &panel[g * depth + from..g * depth + to];
                    for block in blocks {
                        let weights = &block.weights[from * block.rows..to * block.rows];
                        let sums = &mut sums[block.first_row..block.first_row + block.rows];
                        product::multiply::<W>(weights, panel, sums, pass > 0, &mut ahead, stretch);
                        if pass + 1 < passes {
                            continue;
                        }
                        let outputs = &group.outputs[block.first_row / B..];
                        for (sums, &row) in sums.as_chunks::<B>().0.iter().zip(outputs) {
                            // SAFETY: row and column are inside the output and these bytes are this task's own.
                            unsafe {
                                let target = self
                                    .output
                                    .pointer()
                                    .add(row as usize * self.row_bytes + column * W);
                                reducer.store::<W, B>(sums, target, self.columns - column);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The rows that a group is the first to read, in the block of columns from `start`; nothing behind the last column.
    fn lookahead<'a, const W: usize>(&self, start: usize, group: &'a PackedGroup) -> Lookahead<'a> {
        let columns = self.columns.saturating_sub(start).min(self.block * LANES);
        Lookahead::new(
            self.input.as_ptr().wrapping_add(start * W),
            self.row_bytes,
            &group.fresh,
            columns * W,
        )
    }
}
