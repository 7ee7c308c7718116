//! Executors of folded and quantized networks, in f64.

use crate::execute::{Block, LANES_F64, check_images, transpose_in, transpose_out};
use crate::{
    Error, Folded, FoldedNode, FoldedOp, Quantized, QuantizedOp, QuantizedTerm, Shape, Term,
};
use rayon::prelude::*;

type Lanes = [f64; LANES_F64];

/// Computes the logits of prepared images with a folded network, in f64, on all threads.
///
/// Shapes: `images` is `[batch, C, H, W]`, the result `[batch, classes]`.
///
/// # Errors
/// [`Error::Images`] when `images` does not hold `batch` images of the network's input.
///
/// # Panics
/// When the network breaks what [`Folded`] promises.
pub fn execute_folded(folded: &Folded, images: &[f32], batch: usize) -> Result<Vec<f64>, Error> {
    run(folded, images, batch)
}

/// As [`execute_folded`], and shows the value of every node to `observer`.
///
/// The observer is called for a few images at a time, then for every node in order, with `[images, elements]` values;
/// images come in order. It is called by the calling thread only.
///
/// # Errors
/// As [`execute_folded`].
///
/// # Panics
/// As [`execute_folded`].
pub fn execute_folded_observed(
    folded: &Folded,
    images: &[f32],
    batch: usize,
    mut observer: impl FnMut(&FoldedNode, &[f64]),
) -> Result<Vec<f64>, Error> {
    let pixels = check(folded, images, batch)?;
    let mut logits = Vec::new();
    let group = LANES_F64 * rayon::current_num_threads();
    for group in images.chunks(group * pixels) {
        let values: Vec<Vec<Vec<f64>>> = group
            .par_chunks(LANES_F64 * pixels)
            .map(|block| {
                let mut values = Vec::with_capacity(folded.nodes.len());
                run_block(folded, block, &mut |_, value| {
                    values.push(transpose_out(value, block.len() / pixels));
                });
                values
            })
            .collect();
        for values in values {
            for (node, value) in folded.nodes.iter().zip(&values) {
                observer(node, value);
            }
            if let Some(value) = values.last() {
                logits.extend_from_slice(value);
            }
        }
    }
    Ok(logits)
}

/// Computes the logits with integer weights: every matrix product is divided by its weight scale at once, nothing else
/// is rounded.
///
/// Shapes: as [`execute_folded`].
///
/// # Errors
/// As [`execute_folded`].
///
/// # Panics
/// As [`execute_folded`].
pub fn execute_quantized(
    quantized: &Quantized,
    images: &[f32],
    batch: usize,
) -> Result<Vec<f64>, Error> {
    run(quantized, images, batch)
}

/// A network that computes node by node.
pub(crate) trait Network: Sync {
    fn elements(&self, index: usize) -> usize;
    fn len(&self) -> usize;
    fn sources(&self, index: usize) -> Vec<usize>;
    /// The value of a node that is not the input.
    fn compute(&self, index: usize, values: &[Block<f64, LANES_F64>]) -> Vec<Lanes>;
}

impl Network for Folded {
    fn elements(&self, index: usize) -> usize {
        self.nodes[index].elements
    }

    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn sources(&self, index: usize) -> Vec<usize> {
        self.nodes[index].sources().collect()
    }

    fn compute(&self, index: usize, values: &[Block<f64, LANES_F64>]) -> Vec<Lanes> {
        match &self.nodes[index].op {
            FoldedOp::Input => Vec::new(),
            FoldedOp::Square { source, shift } => square(&values[*source], shift),
            FoldedOp::Linear { terms, bias, .. } => {
                let mut out: Vec<Lanes> = bias.iter().map(|&bias| [bias; LANES_F64]).collect();
                for term in terms {
                    match term {
                        Term::Tiles { source, tiles } => {
                            for tile in tiles {
                                let x = &values[*source];
                                add_tile(
                                    &tile.outputs,
                                    &tile.inputs,
                                    &tile.weights,
                                    1.0,
                                    x,
                                    &mut out,
                                );
                            }
                        }
                        Term::Diagonal { source, factors } => {
                            add_diagonal(factors, &values[*source], &mut out);
                        }
                    }
                }
                out
            }
        }
    }
}

impl Network for Quantized {
    fn elements(&self, index: usize) -> usize {
        self.nodes[index].elements
    }

    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn sources(&self, index: usize) -> Vec<usize> {
        match &self.nodes[index].op {
            QuantizedOp::Input => Vec::new(),
            QuantizedOp::Square { source, .. } => vec![*source],
            QuantizedOp::Linear { terms, .. } => terms.iter().map(QuantizedTerm::source).collect(),
        }
    }

    fn compute(&self, index: usize, values: &[Block<f64, LANES_F64>]) -> Vec<Lanes> {
        match &self.nodes[index].op {
            QuantizedOp::Input => Vec::new(),
            QuantizedOp::Square { source, shift } => square(&values[*source], shift),
            QuantizedOp::Linear {
                terms,
                bias,
                weight_scale,
                ..
            } => {
                let mut out: Vec<Lanes> = bias.iter().map(|&bias| [bias; LANES_F64]).collect();
                let unit = 1.0 / weight_scale;
                for term in terms {
                    match term {
                        QuantizedTerm::Tiles { source, tiles } => {
                            for tile in tiles {
                                let x = &values[*source];
                                add_tile(
                                    &tile.outputs,
                                    &tile.inputs,
                                    &tile.weights,
                                    unit,
                                    x,
                                    &mut out,
                                );
                            }
                        }
                        QuantizedTerm::Diagonal { source, factors } => {
                            add_diagonal(factors, &values[*source], &mut out);
                        }
                    }
                }
                out
            }
        }
    }
}

fn square(x: &[Lanes], shift: &[f64]) -> Vec<Lanes> {
    x.iter()
        .zip(shift)
        .map(|(x, shift)| x.map(|x| x * (x + shift)))
        .collect()
}

fn add_diagonal(factors: &[f64], x: &[Lanes], out: &mut [Lanes]) {
    for ((out, x), factor) in out.iter_mut().zip(x).zip(factors) {
        for (out, x) in out.iter_mut().zip(x) {
            *out += factor * x;
        }
    }
}

/// Rows of a tile computed together, so that an input is loaded once for all of them.
const ROWS_AT_ONCE: usize = 4;

fn add_tile<W: Copy + Into<f64>>(
    outputs: &[u32],
    inputs: &[u32],
    weights: &[W],
    unit: f64,
    x: &[Lanes],
    out: &mut [Lanes],
) {
    let gathered: Vec<Lanes> = inputs.iter().map(|&input| x[input as usize]).collect();
    let columns = inputs.len().max(1);
    // Wide vectors where the processor has them; every lane is rounded the same way with any.
    pulp::Arch::new().dispatch(|| {
        let groups = weights.chunks(ROWS_AT_ONCE * columns);
        for (weights, outputs) in groups.zip(outputs.chunks(ROWS_AT_ONCE)) {
            // Missing rows compute the first one again.
            let row = |row: usize| {
                let row = if row < outputs.len() { row } else { 0 };
                &weights[row * columns..][..gathered.len()]
            };
            let rows: [&[W]; ROWS_AT_ONCE] = std::array::from_fn(row);
            let mut sums = [[0.0; LANES_F64]; ROWS_AT_ONCE];
            for (column, x) in gathered.iter().enumerate() {
                for (row, sum) in rows.iter().zip(&mut sums) {
                    let weight: f64 = row[column].into();
                    for (sum, x) in sum.iter_mut().zip(x) {
                        *sum += weight * x;
                    }
                }
            }
            for (sum, &output) in sums.iter().zip(outputs) {
                for (out, sum) in out[output as usize].iter_mut().zip(sum) {
                    *out += sum * unit;
                }
            }
        }
    });
}

fn check(network: &impl Network, images: &[f32], batch: usize) -> Result<usize, Error> {
    check_images(Shape::Flat(network.elements(0)), images, batch)
}

/// Computes all nodes for one block of at most [`LANES_F64`] images, shows each value, and frees it after its last reader.
pub(crate) fn run_block(
    network: &impl Network,
    images: &[f32],
    observer: &mut dyn FnMut(usize, &[Lanes]),
) {
    let mut last_reader = vec![0; network.len()];
    for index in 0..network.len() {
        for source in network.sources(index) {
            last_reader[source] = index;
        }
    }
    let mut values: Vec<Block<f64, LANES_F64>> = Vec::with_capacity(network.len());
    for index in 0..network.len() {
        let value = match index {
            0 => transpose_in(images, network.elements(0)),
            _ => network.compute(index, &values),
        };
        observer(index, &value);
        values.push(value);
        for source in network.sources(index) {
            if last_reader[source] == index {
                values[source] = Vec::new();
            }
        }
    }
}

fn run(network: &impl Network, images: &[f32], batch: usize) -> Result<Vec<f64>, Error> {
    let pixels = check(network, images, batch)?;
    let last = network.len() - 1;
    let classes = network.elements(last);
    let mut logits = vec![0.0; batch * classes];
    logits
        .par_chunks_mut(LANES_F64 * classes)
        .zip(images.par_chunks(LANES_F64 * pixels))
        .for_each(|(logits, block)| {
            run_block(network, block, &mut |index, value| {
                if index == last {
                    logits.copy_from_slice(&transpose_out(value, block.len() / pixels));
                }
            });
        });
    Ok(logits)
}
