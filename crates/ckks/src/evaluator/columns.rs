//! Whole layers and squares in a row, a few columns at a time.
//!
//! In evaluation form layers, sums and squares act on each column of each limb by itself. A thread takes one strip of
//! columns of one limb through all of them while it stays in the cache; the feature maps in between are never in
//! memory, and the uniform half of a fresh ciphertext is expanded right where it is read.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rayon::prelude::*;
use sordino_ring::linear::PreparedLinearMap;
use sordino_ring::sample::SEGMENT;
use sordino_ring::{Modulus, ResidueMatrix, StripMut};

use super::check_components;
use crate::error::{check_count, check_index, check_range, check_some};
use crate::{Ciphertexts, Context, Error, Scale, SeededCiphertexts};

/// An operation that acts on each column by itself.
#[derive(Clone, Copy)]
pub enum ColumnOperation<'a> {
    /// As [`Context::linear`], then [`Context::add_constants`].
    Linear {
        /// The integer weights.
        map: &'a PreparedLinearMap,
        /// The integer that stands for a real weight of 1.
        weight_scale: f64,
        /// One integer per output, at the scale of the result.
        bias: &'a [i128],
    },
    /// As [`Context::square_shifted`].
    Square {
        /// One integer per element, at the scale of the ciphertexts.
        shift: &'a [i128],
    },
}

/// The ciphertexts that a run of column operations starts from.
#[derive(Clone, Copy)]
pub enum ColumnSource<'a> {
    /// Some of a fresh feature map, expanded on the way.
    Seeded {
        /// The feature map.
        map: &'a SeededCiphertexts,
        /// Which of its ciphertexts.
        rows: &'a [u32],
    },
    /// Ciphertexts of one shape, wherever they are: each a row of a feature map. Limbs beyond those that the run
    /// takes are not read.
    Rows(&'a [(&'a Ciphertexts, u32)]),
}

impl ColumnSource<'_> {
    /// Parameters, fewest limbs, scale and shape.
    ///
    /// # Errors
    /// [`Error::Count`] for no ciphertexts or one that is not there, others where the ciphertexts differ.
    fn check(&self, context: &Context) -> Result<(usize, Scale, Shape), Error> {
        let rows = match *self {
            Self::Seeded { rows, .. } => rows.len(),
            Self::Rows(rows) => rows.len(),
        };
        check_some("ciphertexts of column operations (at least)", rows)?;
        let what = "index of a ciphertext of column operations (below the number there are)";
        let (limbs, scale, components) = match *self {
            Self::Seeded { map, rows } => {
                context.check_digest("column operations", map.parameters())?;
                rows.iter()
                    .try_for_each(|&row| check_index(what, map.len(), row as usize))?;
                (map.limbs(), map.scale(), 2)
            }
            Self::Rows(rows) => {
                let first = rows[0].0;
                let components = first.components();
                let mut limbs = first.limbs();
                for &(map, row) in rows {
                    context.check_digest("column operations", map.parameters())?;
                    let what_differs = "components of ciphertexts together";
                    check_count(what_differs, components, map.components())?;
                    check_index(what, map.len(), row as usize)?;
                    limbs = limbs.min(map.limbs());
                }
                (limbs, first.scale(), components)
            }
        };
        Ok((limbs, scale, Shape { rows, components }))
    }

    /// Consecutive indices of a fresh source's expansion, joined.
    fn ranges(&self) -> Vec<Range<u64>> {
        let Self::Seeded { map, rows } = self else {
            return Vec::new();
        };
        let indices = rows.iter().map(|&row| map.first_index() + u64::from(row));
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for index in indices {
            match ranges.last_mut() {
                Some(range) if range.end == index => range.end += 1,
                _ => ranges.push(index..index + 1),
            }
        }
        ranges
    }
}

/// The result of a run of column operations, and the time of each.
#[derive(Clone, Debug)]
pub struct ColumnResult {
    /// The last operation's result.
    pub ciphertexts: Ciphertexts,
    /// Time of all threads together for reading the source, then for each operation, in nanoseconds.
    pub nanoseconds: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq)]
struct Shape {
    rows: usize,
    components: usize,
}

/// Integers of an operation modulo one prime.
enum Constants {
    Bias(Vec<u64>),
    /// \[bias of the layer before, shift\] of each element.
    Square(Vec<[u64; 2]>),
}

/// Components of a strip of a feature map.
type Components = [ResidueMatrix; 3];

thread_local! {
    /// Memory of a thread, kept from strip to strip: the strip of the source, then those of all layers but the last.
    static SCRATCH: RefCell<Vec<Components>> = const { RefCell::new(Vec::new()) };
}

/// One strip of one limb.
struct Task<'a> {
    limb: usize,
    segment: usize,
    /// The result's components.
    outputs: Vec<StripMut<'a>>,
}

impl Context {
    /// Runs operations one after the other on the first `limbs` limbs of the source.
    ///
    /// The result is the same as that of the single operations.
    ///
    /// # Level and scale
    /// The level is `limbs` - 1; every operation treats the scale as its own method does.
    ///
    /// # Errors
    /// Those of the single operations; [`Error::Count`] if there are none or the source has fewer limbs.
    ///
    /// # Cost
    /// Memory for the result, and a strip of two feature maps a thread.
    pub fn apply_columns(
        &self,
        source: ColumnSource<'_>,
        limbs: usize,
        operations: &[ColumnOperation<'_>],
    ) -> Result<ColumnResult, Error> {
        let (available, scale, shape) = source.check(self)?;
        let what = "limbs of column operations (at most those of the source)";
        check_range(what, available, limbs)?;
        let components = shape.components;
        let (shape, scale) = check(shape, scale, operations)?;
        let mut result = Ciphertexts::unspecified(self, shape.rows, shape.components, limbs, scale);
        let chain = Chain {
            context: self,
            source,
            components,
            ranges: source.ranges(),
            operations,
            constants: (0..limbs)
                .map(|limb| constants(self.modulus(limb), operations))
                .collect(),
            nanoseconds: (0..=operations.len()).map(|_| AtomicU64::new(0)).collect(),
        };
        tasks(&mut result)
            .into_par_iter()
            .for_each(|task| SCRATCH.with_borrow_mut(|scratch| chain.run(task, scratch)));
        Ok(ColumnResult {
            ciphertexts: result,
            nanoseconds: chain
                .nanoseconds
                .into_iter()
                .map(AtomicU64::into_inner)
                .collect(),
        })
    }
}

/// Shape and scale of the result.
fn check(
    mut shape: Shape,
    mut scale: Scale,
    operations: &[ColumnOperation<'_>],
) -> Result<(Shape, Scale), Error> {
    check_some("column operations (at least)", operations.len())?;
    for operation in operations {
        match operation {
            ColumnOperation::Linear {
                map,
                weight_scale,
                bias,
            } => {
                check_count("inputs of a linear layer", map.input_rows(), shape.rows)?;
                check_count("constants, one per output", map.output_rows(), bias.len())?;
                shape.rows = map.output_rows();
                scale = scale.times(*weight_scale)?;
            }
            ColumnOperation::Square { shift } => {
                check_count("shifts, one per ciphertext", shape.rows, shift.len())?;
                check_components("square", "two", 2, shape.components)?;
                shape.components = 3;
                scale = scale.times(scale.value())?;
            }
        }
    }
    Ok((shape, scale))
}

/// The operations' integers modulo one prime; the bias of a layer in front of a square goes into the square.
fn constants(modulus: &Modulus, operations: &[ColumnOperation<'_>]) -> Vec<Constants> {
    let mut pending: Vec<u64> = Vec::new();
    let mut list = Vec::with_capacity(operations.len());
    for (index, operation) in operations.iter().enumerate() {
        list.push(match operation {
            ColumnOperation::Linear { bias, .. } => {
                let bias = bias.iter().map(|&b| modulus.from_i128(b)).collect();
                if let Some(ColumnOperation::Square { .. }) = operations.get(index + 1) {
                    pending = bias;
                    Constants::Bias(Vec::new())
                } else {
                    Constants::Bias(bias)
                }
            }
            ColumnOperation::Square { shift } => {
                pending.resize(shift.len(), 0);
                let shift = shift.iter().map(|&r| modulus.from_i128(r));
                let pairs = std::mem::take(&mut pending).into_iter().zip(shift);
                Constants::Square(pairs.map(|(bias, r)| [bias, r]).collect())
            }
        });
    }
    list
}

/// The result cut into strips of single limbs.
fn tasks(result: &mut Ciphertexts) -> Vec<Task<'_>> {
    let mut tasks: Vec<Vec<Task<'_>>> = Vec::new();
    for component in &mut result.parts {
        for (limb, matrix) in component.iter_mut().enumerate() {
            if tasks.len() <= limb {
                let segments = matrix.columns().div_ceil(SEGMENT);
                let task = |segment| Task {
                    limb,
                    segment,
                    outputs: Vec::with_capacity(Ciphertexts::MAX_COMPONENTS),
                };
                tasks.push((0..segments).map(task).collect());
            }
            for (task, strip) in tasks[limb].iter_mut().zip(matrix.strips_mut(SEGMENT)) {
                task.outputs.push(strip);
            }
        }
    }
    tasks.into_iter().flatten().collect()
}

/// A run of operations on a source, the same for all strips.
struct Chain<'a> {
    context: &'a Context,
    source: ColumnSource<'a>,
    /// Of the source.
    components: usize,
    /// Of a fresh source: runs of consecutive indices of its expansion.
    ranges: Vec<Range<u64>>,
    operations: &'a [ColumnOperation<'a>],
    /// By limb and operation.
    constants: Vec<Vec<Constants>>,
    nanoseconds: Vec<AtomicU64>,
}

impl Chain<'_> {
    fn run(&self, mut task: Task<'_>, scratch: &mut Vec<Components>) {
        let mut last = Instant::now();
        let mut finished = |stage: usize| {
            let now = Instant::now();
            let spent = now.duration_since(last).as_nanos() as u64;
            self.nanoseconds[stage].fetch_add(spent, Ordering::Relaxed);
            last = now;
        };
        let count = self.operations.len();
        while scratch.len() <= count {
            scratch.push(std::array::from_fn(|_| ResidueMatrix::zeros(0, 1, 1)));
        }
        let limb = task.limb;
        let modulus = self.context.modulus(limb);
        // The strip that holds the present feature map.
        let mut present = 0;
        self.read(&task, &mut scratch[0]);
        finished(0);
        let mut components = self.components;
        for (index, operation) in self.operations.iter().enumerate() {
            match (operation, &self.constants[limb][index]) {
                (ColumnOperation::Linear { map, .. }, Constants::Bias(bias)) => {
                    let (before, after) = scratch.split_at_mut(present + 1);
                    let inputs = before[present].iter().take(components);
                    if index + 1 == count {
                        for (input, output) in inputs.zip(&mut task.outputs) {
                            map.apply_strip(modulus, input.strip(0..input.columns()), output);
                        }
                        add_bias(self.context, modulus, &mut task.outputs[0], bias);
                    } else {
                        for (input, output) in inputs.zip(&mut after[0]) {
                            let columns = input.columns();
                            output.reshape(map.output_rows(), columns, input.width());
                            let mut output = output.strip_mut();
                            map.apply_strip(modulus, input.strip(0..columns), &mut output);
                        }
                        add_bias(self.context, modulus, &mut after[0][0].strip_mut(), bias);
                        present += 1;
                    }
                }
                (ColumnOperation::Square { .. }, Constants::Square(constants)) => {
                    let [c0, c1, c2] = &mut scratch[present];
                    c2.reshape(c0.rows(), c0.columns(), c0.width());
                    let backend = self.context.backend();
                    backend.square_rows(modulus, constants, [c0, c1, c2]);
                    components = 3;
                }
                _ => unreachable!("constants are made for their operations"),
            }
            finished(index + 1);
        }
        if let Some(ColumnOperation::Square { .. }) = self.operations.last() {
            for (component, output) in scratch[present].iter().zip(&mut task.outputs) {
                for row in 0..component.rows() {
                    output.row_mut(row).copy_from_slice(component.row(row));
                }
            }
            finished(count);
        }
    }

    /// Copies or expands the strip of every component of the source.
    fn read(&self, task: &Task<'_>, present: &mut Components) {
        let (limb, segment) = (task.limb, task.segment);
        let n = self.context.ring_degree();
        let columns = segment * SEGMENT..n.min((segment + 1) * SEGMENT);
        let width = self.context.modulus(limb).byte_width();
        match self.source {
            ColumnSource::Seeded { map, rows } => {
                let stored = map.parts()[limb].strip(columns.clone());
                let shape = (rows.len(), columns.len(), width);
                let [c0, c1, _] = present;
                c1.reshape(shape.0, shape.1, shape.2);
                map.uniform(self.context, limb)
                    .expand_strip_of(segment, &self.ranges, c1);
                c0.copy_from_rows(shape, |at| stored.row(rows[at] as usize));
            }
            ColumnSource::Rows(rows) => {
                let shape = (rows.len(), columns.len(), width);
                for (component, present) in present.iter_mut().enumerate().take(self.components) {
                    present.copy_from_rows(shape, |at| {
                        let (map, row) = rows[at];
                        map.part(component, limb)
                            .strip(columns.clone())
                            .row(row as usize)
                    });
                }
            }
        }
    }
}

/// Adds one constant per row, or nothing for an empty list.
fn add_bias(context: &Context, modulus: &Modulus, strip: &mut StripMut<'_>, bias: &[u64]) {
    let (backend, width, columns) = (context.backend(), strip.width(), strip.columns());
    let mut residues = [0; SEGMENT];
    let residues = &mut residues[..columns];
    for (row, &bias) in bias.iter().enumerate() {
        let bytes = strip.row_mut(row);
        backend.unpack(width, bytes, residues);
        context.backend().add_scalar_assign(modulus, residues, bias);
        backend.pack(width, residues, bytes);
    }
}
