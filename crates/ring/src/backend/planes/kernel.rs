//! The product over byte planes, for the vectors of any processor.
//!
//! The columns are cut into groups of as many as a vector has 32-bit lanes, and the residues of a group into byte planes.
//! Four input rows make a quad: one vector a plane, or a few, that hold the four rows' bytes of each column. The quads of a
//! strip are packed once and read by every output that needs them. A register block is all planes of a column group times
//! some output rows, so the sums that recombine into one residue leave the registers together.

use std::{cell::RefCell, marker::PhantomData};

use super::weights::{Layout, PackedGroup, PanelWork, Planes};
use crate::{
    Modulus, Strip, StripMut,
    backend::table::LinearKernel,
    linear_map::{LinearMap, WeightWidth},
};

/// The instructions of a kernel.
///
/// # Safety of use
/// Unsafe functions need a processor that has the instructions.
pub(in crate::backend) trait Instructions: Send + Sync + 'static {
    /// A register, whose size divides [`Line`]'s and for which every bit pattern is a value.
    type Vector: Copy;
    /// The modulus in the forms that [`store`](Self::store) needs.
    type Reducer;
    /// Columns of a group: the 32-bit lanes of a vector.
    const LANES: usize;
    /// Vectors of a quad and plane, and words of weights of a quad.
    const PARTS: usize;
    /// The order of the weights.
    const LAYOUT: Layout;
    /// Bytes of quads that one column group may take between two passes over the outputs: what stays in the first level
    /// of the cache besides weights and sums.
    const FIRST_LEVEL: usize;
    /// Bytes of quads a thread works on at a time: a good part of the second level.
    const SECOND_LEVEL: usize;

    fn reducer(modulus: &Modulus) -> Self::Reducer;

    /// Calls [`Job::run`] from a function that has the instructions enabled.
    unsafe fn run(job: &Job<'_>, work: &PanelWork, scratch: &mut Scratch);

    /// Packs four equally long rows of residues of W bytes: the vectors of column group `g` start at `quads[g · stride]`.
    /// Columns missing in the last group count as zero.
    unsafe fn pack<const W: usize>(rows: [&[u8]; 4], quads: &mut [Self::Vector], stride: usize);

    /// Adds the product of a block of weights \[read, rows, parts\] and the quads at the positions `read` to the sums
    /// \[rows, W\], which it overwrites unless it continues an earlier pass.
    unsafe fn multiply<const W: usize>(
        weights: &[i32],
        quads: &[Self::Vector],
        read: &[u32],
        sums: &mut [Self::Vector],
        continues: bool,
    );

    /// Reduces the sums of one output over `inputs` inputs, W planes of the low row and for 16-bit weights W of the high
    /// one, and stores its first `columns` residues of W bytes, for which there is room.
    unsafe fn store<const W: usize>(
        reducer: &Self::Reducer,
        sums: &[Self::Vector],
        inputs: usize,
        target: *mut u8,
        columns: usize,
    );
}

/// Memory for the largest vectors.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read as vectors")] [u8; 64]);

/// Memory of a thread, kept from call to call.
#[derive(Default)]
pub(in crate::backend) struct Scratch {
    /// \[column groups, quads, planes, parts\].
    quads: Vec<Line>,
    /// Sums of one column group, \[output rows, planes\].
    sums: Vec<Line>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The first `count` vectors of a buffer, which is made longer where it is too short.
fn grown<I: Instructions>(buffer: &mut Vec<Line>, count: usize) -> &mut [I::Vector] {
    let lines = (count * size_of::<I::Vector>()).div_ceil(size_of::<Line>());
    if buffer.len() < lines {
        buffer.resize(lines, Line([0; 64]));
    }
    // SAFETY: the lines hold as many vectors, are aligned for them, and every bit pattern is a value.
    unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), count) }
}

struct Kernel<I> {
    planes: Planes,
    instructions: PhantomData<I>,
}

/// The entry of the tables of processors that have the instructions.
pub(in crate::backend) fn prepare<I: Instructions>(map: &LinearMap) -> Box<dyn LinearKernel> {
    Box::new(Kernel {
        planes: Planes::new(map),
        instructions: PhantomData::<I>,
    })
}

impl<I: Instructions> LinearKernel for Kernel<I> {
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
                // SAFETY: the tables with these instructions are reachable only where the processor has them
                // (`backend::available`).
                unsafe { I::run(&job, work, scratch) };
            }
        });
    }
}

/// What all panels of one call share. Rows and columns named by the groups are inside both strips, whose shapes
/// `PreparedLinearMap::apply_strip` has checked; the output is borrowed mutably meanwhile.
pub(in crate::backend) struct Job<'a> {
    modulus: &'a Modulus,
    input: Strip<'a>,
    target: *mut u8,
    target_stride: usize,
    weight_width: WeightWidth,
}

impl Job<'_> {
    /// All columns for the groups of one panel.
    ///
    /// # Safety
    /// The processor has the instructions, and they are enabled in the caller.
    #[inline(always)]
    pub(in crate::backend) unsafe fn run<I: Instructions>(
        &self,
        work: &PanelWork,
        scratch: &mut Scratch,
    ) {
        // SAFETY: as required of the caller.
        unsafe {
            match self.input.width() {
                1 => self.run_width::<I, 1>(work, scratch),
                2 => self.run_width::<I, 2>(work, scratch),
                3 => self.run_width::<I, 3>(work, scratch),
                4 => self.run_width::<I, 4>(work, scratch),
                5 => self.run_width::<I, 5>(work, scratch),
                6 => self.run_width::<I, 6>(work, scratch),
                _ => self.run_width::<I, 7>(work, scratch),
            }
        }
    }

    /// # Safety
    /// As [`run`](Self::run).
    #[inline(always)]
    unsafe fn run_width<I: Instructions, const W: usize>(
        &self,
        work: &PanelWork,
        scratch: &mut Scratch,
    ) {
        let vectors = W * I::PARTS;
        let depth = work.panel.quads.len();
        let columns = self.input.columns();
        // As many columns at a time as have their quads in the cache.
        let group_bytes = depth * vectors * size_of::<I::Vector>();
        let step = (I::SECOND_LEVEL / group_bytes.max(1)).max(1) * I::LANES;
        let reducer = I::reducer(self.modulus);
        for start in (0..columns).step_by(step) {
            let count = step.min(columns - start);
            let column_groups = count.div_ceil(I::LANES);
            let quads = grown::<I>(&mut scratch.quads, column_groups * depth * vectors);
            for (position, quad) in work.panel.quads.iter().enumerate() {
                let rows = quad.map(|row| &self.input.row(row as usize)[start * W..][..count * W]);
                // SAFETY: as required of the caller.
                unsafe { I::pack::<W>(rows, &mut quads[position * vectors..], depth * vectors) };
            }
            for g in 0..column_groups {
                let quads = &quads[g * depth * vectors..][..depth * vectors];
                let column = start + g * I::LANES;
                for group in &work.groups {
                    // SAFETY: as required of the caller.
                    unsafe {
                        self.group::<I, W>(group, quads, column, &reducer, &mut scratch.sums);
                    }
                }
            }
        }
    }

    /// One column group of one group of outputs.
    ///
    /// # Safety
    /// As [`run`](Self::run); `column` is one of the input.
    #[inline(always)]
    unsafe fn group<I: Instructions, const W: usize>(
        &self,
        group: &PackedGroup,
        quads: &[I::Vector],
        column: usize,
        reducer: &I::Reducer,
        sums: &mut Vec<Line>,
    ) {
        let unit = self.weight_width.bytes();
        let depth = group.quads.len();
        let sums = grown::<I>(sums, group.outputs.len() * unit * W);
        let bytes = depth * W * I::PARTS * size_of::<I::Vector>();
        let passes = bytes.div_ceil(I::FIRST_LEVEL).max(1);
        let columns = (self.input.columns() - column).min(I::LANES);
        for pass in 0..passes {
            let (from, to) = (pass * depth / passes, (pass + 1) * depth / passes);
            for block in group.blocks(W, self.weight_width, &I::LAYOUT) {
                let row_words = block.rows * I::PARTS;
                let weights = &block.weights[from * row_words..to * row_words];
                let sums = &mut sums[block.first_row * W..][..block.rows * W];
                // SAFETY: as required of the caller.
                unsafe { I::multiply::<W>(weights, quads, &group.quads[from..to], sums, pass > 0) };
                if pass + 1 < passes {
                    continue;
                }
                let outputs = &group.outputs[block.first_row / unit..];
                for (sums, &row) in sums.chunks_exact(W * unit).zip(outputs) {
                    // SAFETY: row and columns are inside the output.
                    unsafe {
                        let row = self.target.add(row as usize * self.target_stride);
                        I::store::<W>(reducer, sums, group.inputs, row.add(column * W), columns);
                    }
                }
            }
        }
    }
}
