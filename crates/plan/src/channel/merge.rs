//! Pooling sums taken into the layers that read them.
//!
//! Element-wise a pooling sum is a few additions of ciphertexts. In slots it would take rotations of its own and, for
//! windows of mixed signs, a product; taken into the next layer it only makes that layer's window larger.

use sordino_graph::{Calibration, Folded, FoldedOp, FoldedTile, Term};

/// The network without pooling sums where linear maps read them. Others become ordinary linear maps with weights of ±1.
pub(crate) fn without_sums(folded: &Folded, calibration: &Calibration) -> (Folded, Calibration) {
    let (mut folded, mut calibration) = (folded.clone(), calibration.clone());
    let mut index = 0;
    while index < folded.nodes.len() {
        let last = index + 1 == folded.nodes.len();
        let readers: Vec<usize> = (index + 1..folded.nodes.len())
            .filter(|&n| folded.nodes[n].sources().any(|s| s == index))
            .collect();
        let linear = |n: &usize| matches!(folded.nodes[*n].op, FoldedOp::Linear { .. });
        let merges = !last && readers.iter().all(linear);
        let FoldedOp::Linear {
            terms,
            bias,
            exact_sum: exact_sum @ true,
        } = &mut folded.nodes[index].op
        else {
            index += 1;
            continue;
        };
        let (true, [Term::Tiles { source, tiles }]) = (merges, &terms[..]) else {
            *exact_sum = false;
            index += 1;
            continue;
        };
        let sum = Sum::new(*source, tiles, bias);
        for reader in readers {
            sum.merge_into(&mut folded.nodes[reader].op, index);
        }
        folded.nodes.remove(index);
        calibration.folded.remove(index);
        for node in &mut folded.nodes[index..] {
            renumber(&mut node.op, index);
        }
    }
    (folded, calibration)
}

/// A pooling sum by rows.
struct Sum {
    source: usize,
    rows: Vec<Vec<(u32, f64)>>,
    bias: Vec<f64>,
}

impl Sum {
    fn new(source: usize, tiles: &[FoldedTile], bias: &[f64]) -> Self {
        let mut rows = vec![Vec::new(); bias.len()];
        for tile in tiles {
            for (output, weights) in rows_of(tile) {
                let inputs = tile.inputs.iter().copied();
                rows[output] = inputs.zip(weights.iter().copied()).collect();
            }
        }
        Self {
            source,
            rows,
            bias: bias.to_vec(),
        }
    }

    /// Makes a linear map read the sum's source instead of the sum, which is node `index`.
    fn merge_into(&self, op: &mut FoldedOp, index: usize) {
        let FoldedOp::Linear { terms, bias, .. } = op else {
            unreachable!("only linear maps take sums in")
        };
        for term in terms.iter_mut().filter(|term| term.source() == index) {
            let alone = |(element, &factor): (u32, &f64)| FoldedTile {
                outputs: vec![element],
                inputs: vec![element],
                weights: vec![factor],
            };
            let tiles: Vec<FoldedTile> = match &*term {
                Term::Tiles { tiles, .. } => tiles.clone(),
                Term::Diagonal { factors, .. } => (0..).zip(factors).map(alone).collect(),
            };
            *term = Term::Tiles {
                source: self.source,
                tiles: tiles.iter().map(|tile| self.merged(tile, bias)).collect(),
            };
        }
    }

    fn merged(&self, tile: &FoldedTile, bias: &mut [f64]) -> FoldedTile {
        let columns = tile.inputs.iter().enumerate().flat_map(|(column, &input)| {
            let row = self.rows[input as usize].iter();
            row.map(move |&(from, sign)| (column, from, sign))
        });
        let columns: Vec<(usize, u32, f64)> = columns.collect();
        let mut weights = Vec::with_capacity(tile.outputs.len() * columns.len());
        for (output, row) in rows_of(tile) {
            weights.extend(columns.iter().map(|&(column, _, sign)| row[column] * sign));
            let constants = row.iter().zip(&tile.inputs);
            let constants = constants.map(|(weight, &input)| weight * self.bias[input as usize]);
            bias[output] += constants.sum::<f64>();
        }
        FoldedTile {
            outputs: tile.outputs.clone(),
            inputs: columns.into_iter().map(|c| c.1).collect(),
            weights,
        }
    }
}

/// The outputs of a tile, each with its weights.
fn rows_of(tile: &FoldedTile) -> impl Iterator<Item = (usize, &[f64])> {
    let outputs = tile.outputs.iter().map(|&output| output as usize);
    outputs.zip(tile.weights.chunks_exact(tile.inputs.len()))
}

/// Sources behind a removed node move up by one.
fn renumber(op: &mut FoldedOp, removed: usize) {
    let move_up = |source: &mut usize| *source -= usize::from(*source > removed);
    match op {
        FoldedOp::Input => {}
        FoldedOp::Square { source, .. } => move_up(source),
        FoldedOp::Linear { terms, .. } => terms.iter_mut().for_each(|term| match term {
            Term::Tiles { source, .. } | Term::Diagonal { source, .. } => move_up(source),
        }),
    }
}
