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
        let FoldedOp::Linear {
            terms,
            bias,
            exact_sum,
        } = &folded.nodes[index].op
        else {
            index += 1;
            continue;
        };
        if !exact_sum {
            index += 1;
        } else if let ([Term::Tiles { source, tiles }], false, true) =
            (&terms[..], last, readers.iter().all(linear))
        {
            let sum = Sum::new(*source, tiles, bias);
            for reader in readers {
                sum.merge_into(&mut folded.nodes[reader].op, index);
            }
            folded.nodes.remove(index);
            calibration.folded.remove(index);
            for node in &mut folded.nodes[index..] {
                renumber(&mut node.op, index);
            }
        } else {
            if let FoldedOp::Linear { exact_sum, .. } = &mut folded.nodes[index].op {
                *exact_sum = false;
            }
            index += 1;
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
            for (&output, weights) in tile
                .outputs
                .iter()
                .zip(tile.weights.chunks_exact(tile.inputs.len()))
            {
                rows[output as usize] = tile
                    .inputs
                    .iter()
                    .copied()
                    .zip(weights.iter().copied())
                    .collect();
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
            let tiles = match &*term {
                Term::Tiles { tiles, .. } => tiles.clone(),
                Term::Diagonal { factors, .. } => (0..)
                    .zip(factors)
                    .map(|(element, &factor)| FoldedTile {
                        outputs: vec![element],
                        inputs: vec![element],
                        weights: vec![factor],
                    })
                    .collect(),
            };
            let merged = tiles.iter().map(|tile| self.merged(tile, bias)).collect();
            *term = Term::Tiles {
                source: self.source,
                tiles: merged,
            };
        }
    }

    fn merged(&self, tile: &FoldedTile, bias: &mut [f64]) -> FoldedTile {
        let columns: Vec<(usize, u32, f64)> = tile
            .inputs
            .iter()
            .enumerate()
            .flat_map(|(column, &input)| {
                self.rows[input as usize]
                    .iter()
                    .map(move |&(from, sign)| (column, from, sign))
            })
            .collect();
        let mut weights = Vec::with_capacity(tile.outputs.len() * columns.len());
        for (&output, row) in tile
            .outputs
            .iter()
            .zip(tile.weights.chunks_exact(tile.inputs.len()))
        {
            weights.extend(columns.iter().map(|&(column, _, sign)| row[column] * sign));
            let constants = row
                .iter()
                .zip(&tile.inputs)
                .map(|(weight, &input)| weight * self.bias[input as usize]);
            bias[output as usize] += constants.sum::<f64>();
        }
        FoldedTile {
            outputs: tile.outputs.clone(),
            inputs: columns.into_iter().map(|c| c.1).collect(),
            weights,
        }
    }
}

/// Sources behind a removed node move up by one.
fn renumber(op: &mut FoldedOp, removed: usize) {
    let sources: Vec<&mut usize> = match op {
        FoldedOp::Input => vec![],
        FoldedOp::Square { source, .. } => vec![source],
        FoldedOp::Linear { terms, .. } => terms
            .iter_mut()
            .map(|term| match term {
                Term::Tiles { source, .. } | Term::Diagonal { source, .. } => source,
            })
            .collect(),
    };
    for source in sources {
        if *source > removed {
            *source -= 1;
        }
    }
}
