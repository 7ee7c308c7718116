//! Executors of folded and quantized networks, in f64.

use crate::blocks::{Block, Network, run, run_observed};
use crate::execute::LANES_F64;
use crate::{Error, Folded, FoldedNode, FoldedOp, Linear, Shape, Term, Tile};

type Lanes = [f64; LANES_F64];

/// Computes the logits of prepared images with a folded network, in f64, on all threads.
///
/// With integer weights, every matrix product is divided by its weight scale at once. Nothing else is rounded.
///
/// Shapes: `images` is `[batch, C, H, W]`, the result `[batch, classes]`.
///
/// # Errors
/// [`Error::Images`] when `images` does not hold `batch` images of the network's input.
///
/// # Panics
/// When the network breaks what [`Folded`] promises.
pub fn execute_folded<W: Copy + Into<f64> + Sync>(
    folded: &Folded<W>,
    images: &[f32],
    batch: usize,
) -> Result<Vec<f64>, Error> {
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
    run_observed(folded, images, batch, |index, value| {
        observer(&folded.nodes[index], value);
    })
}

impl<W: Copy + Into<f64> + Sync> Network<f64, LANES_F64> for Folded<W> {
    fn input_shape(&self) -> Shape {
        Shape::Flat(self.nodes[0].elements)
    }

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
            FoldedOp::Linear(map) => linear(map, values),
        }
    }
}

/// Sum of the terms and the bias.
fn linear<W: Copy + Into<f64>>(map: &Linear<W>, values: &[Block<f64, LANES_F64>]) -> Vec<Lanes> {
    let unit = 1.0 / map.weight_scale;
    let mut out: Vec<Lanes> = map.bias.iter().map(|&bias| [bias; LANES_F64]).collect();
    for term in &map.terms {
        let x = &values[term.source()];
        match term {
            Term::Tiles { tiles, .. } => tiles
                .iter()
                .for_each(|tile| add_tile(tile, unit, x, &mut out)),
            Term::Diagonal { factors, .. } => add_diagonal(factors, x, &mut out),
        }
    }
    out
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

fn add_tile<W: Copy + Into<f64>>(tile: &Tile<W>, unit: f64, x: &[Lanes], out: &mut [Lanes]) {
    let Tile {
        outputs,
        inputs,
        weights,
    } = tile;
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
