//! The matrix product on AVX-512 with VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each
//! of sixteen 32-bit lanes.
//!
//! The columns are cut into groups of sixteen and the residues of a group into byte planes. Four input rows make a
//! quad: one vector a plane, holding the four rows' bytes of each column side by side ([`pack`]). The register
//! block of [`product`] is all planes of a column group times some output rows, so the sums that recombine into
//! one residue leave the registers together ([`exit`]). A block of column groups is packed once into the second
//! level of the cache and read by every output of the tile group.

mod exit;
mod pack;
mod product;

use std::{arch::x86_64::*, cell::RefCell, sync::OnceLock};

use rayon::prelude::*;

use crate::{
    Modulus, ResidueMatrix,
    linear::{Group, LinearKernel, LinearMap, WeightWidth},
};

pub(super) use product::int8_burst;

/// Columns of a group: the 32-bit lanes of a vector.
const LANES: usize = 16;
/// Widths of a residue run from 1 to this, as moduli are below 2^50.
const MAX_WIDTH: usize = 7;
/// Bytes that the packed right side of one column group may take between two passes over the outputs: what
/// stays in the first level of the cache besides weights and sums.
const FIRST_LEVEL: usize = 36 << 10;
/// Bytes of packed right side a thread works on at a time: a good part of the second level.
const SECOND_LEVEL: usize = 640 << 10;
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
    let groups = Group::of(map)
        .iter()
        .map(|group| PackedGroup::new(group, weight_width))
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
    fn new(group: &Group<'_>, weight_width: WeightWidth) -> Self {
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
                    match width {
                        1 => job.run::<1>(first_group, groups, scratch),
                        2 => job.run::<2>(first_group, groups, scratch),
                        3 => job.run::<3>(first_group, groups, scratch),
                        4 => job.run::<4>(first_group, groups, scratch),
                        5 => job.run::<5>(first_group, groups, scratch),
                        6 => job.run::<6>(first_group, groups, scratch),
                        _ => job.run::<7>(first_group, groups, scratch),
                    }
                }
            });
        });
    }
}

impl Job<'_> {
    /// One block of columns for some tile groups.
    ///
    /// # Safety
    /// The processor has the features; the job's pointers are valid for all rows named by the groups, and nobody
    /// else writes these rows in these columns.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn run<const W: usize>(
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
        for group in groups {
            let depth = group.quads.len();
            let blocks = group.blocks(W, weight_width);
            let rows = group.outputs.len() * weight_width.bytes();
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
            let passes = (depth * W * 64).div_ceil(FIRST_LEVEL).max(1);
            for g in 0..column_groups {
                for pass in 0..passes {
                    let (from, to) = (pass * depth / passes, (pass + 1) * depth / passes);
                    for block in blocks {
                        let weights = &block.weights[from * block.rows..to * block.rows];
                        let panel = &panel[(g * depth + from) * W..(g * depth + to) * W];
                        let sums = &mut sums[block.first_row * W..][..block.rows * W];
                        product::multiply::<W>(block.rows, weights, panel, sums, pass > 0);
                        if pass + 1 < passes {
                            continue;
                        }
                        let unit = weight_width.bytes();
                        let outputs = &group.outputs[block.first_row / unit..];
                        for (sums, &row) in sums.chunks_exact(W * unit).zip(outputs) {
                            let column = start + g * LANES;
                            // SAFETY: row and column are inside the output and these bytes are this task's own.
                            unsafe {
                                let target = self
                                    .output
                                    .pointer()
                                    .add(row as usize * self.row_bytes + column * W);
                                reducer.store::<W>(sums, target, self.columns - column);
                            }
                        }
                    }
                }
            }
        }
    }
}
