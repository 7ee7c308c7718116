//! Scaling the rows of a linear map in place, and undoing it wherever else its value is read.

use super::{Folder, View, reads};
use crate::{FoldedOp, FoldedTile, Term};

/// A further element of a linear map: a copy of row `element`, plus `offset`.
pub(super) struct NewRow {
    pub(super) element: usize,
    pub(super) offset: f64,
}

impl Folder<'_> {
    /// Multiplies every element of a linear map by its factor; nothing that reads it is told.
    ///
    /// Elements beyond the factors are left alone.
    pub(super) fn scale_rows(&mut self, index: usize, factors: &[f64]) {
        let FoldedOp::Linear {
            terms,
            bias,
            exact_sum,
        } = &mut self.draft_mut(index).op
        else {
            unreachable!("only linear maps have rows");
        };
        for (bias, factor) in bias.iter_mut().zip(factors) {
            *bias *= factor;
        }
        for term in terms {
            match term {
                Term::Diagonal { factors: own, .. } => {
                    own.iter_mut()
                        .zip(factors)
                        .for_each(|(own, factor)| *own *= factor);
                }
                Term::Tiles { tiles, .. } => {
                    for tile in tiles {
                        let rows = tile.weights.chunks_exact_mut(tile.inputs.len());
                        for (row, &output) in rows.zip(&tile.outputs) {
                            if let Some(factor) = factors.get(output as usize) {
                                row.iter_mut().for_each(|weight| *weight *= factor);
                            }
                        }
                    }
                }
            }
        }
        *exact_sum &= factors.iter().all(|factor| factor.abs() == 1.0);
    }

    /// Adds a constant to every element of a linear map.
    pub(super) fn add_to_bias(&mut self, index: usize, offsets: &[f64]) {
        let FoldedOp::Linear { bias, .. } = &mut self.draft_mut(index).op else {
            unreachable!("only linear maps have a bias");
        };
        for (bias, offset) in bias.iter_mut().zip(offsets) {
            *bias += offset;
        }
    }

    /// Appends elements that are copies of others plus a constant.
    pub(super) fn append_rows(&mut self, index: usize, rows: &[NewRow]) {
        let node = self.draft_mut(index);
        let first = node.elements;
        node.elements += rows.len();
        let FoldedOp::Linear { terms, bias, .. } = &mut node.op else {
            unreachable!("only linear maps have rows");
        };
        bias.extend(
            rows.iter()
                .map(|row| bias[row.element] + row.offset)
                .collect::<Vec<_>>(),
        );
        let mut copies = Vec::new();
        for term in &mut *terms {
            match term {
                Term::Tiles { tiles, .. } => {
                    for tile in tiles {
                        append_to_tile(tile, rows, first);
                    }
                }
                // A diagonal cannot reach another element of its source.
                Term::Diagonal { source, factors } => {
                    let tiles: Vec<FoldedTile> = rows
                        .iter()
                        .enumerate()
                        .filter(|(_, row)| factors.get(row.element).is_some_and(|&f| f != 0.0))
                        .map(|(place, row)| FoldedTile {
                            outputs: vec![(first + place) as u32],
                            inputs: vec![row.element as u32],
                            weights: vec![factors[row.element]],
                        })
                        .collect();
                    if !tiles.is_empty() {
                        copies.push(Term::Tiles {
                            source: *source,
                            tiles,
                        });
                    }
                }
            }
        }
        terms.extend(copies);
    }

    /// Whether [`transform`](Self::transform) can change the value of a node: a linear map that no activation and no
    /// exact sum reads.
    pub(super) fn can_transform(&self, index: usize) -> bool {
        self.is_linear(index)
            && self.readers(index).all(|reader| {
                matches!(
                    self.draft(reader).op,
                    FoldedOp::Linear {
                        exact_sum: false,
                        ..
                    }
                )
            })
    }

    /// Replaces the value `p` of a linear map by `factors * p + offsets` and makes everybody who reads it undo that.
    ///
    /// Factors are not zero; there is one for every element.
    pub(super) fn transform(&mut self, index: usize, factors: &[f64], offsets: &[f64]) {
        if !self.transform_summands(index, factors) {
            self.scale_rows(index, factors);
        }
        self.add_to_bias(index, offsets);
        for view in self.views.iter_mut().flatten() {
            if view.base == index {
                undo_in_view(view, factors, offsets);
            }
        }
        for reader in self.drafts.iter_mut().flatten() {
            if !reads(reader, index) {
                continue;
            }
            if let FoldedOp::Linear { terms, bias, .. } = &mut reader.op {
                for term in terms.iter_mut().filter(|term| term.source() == index) {
                    undo_in_term(term, bias, factors, offsets);
                }
            }
        }
    }

    /// Keeps an exact sum exact where it can be: scales what it sums instead of the sum.
    ///
    /// That needs a linear map that nothing else reads, each of its elements in one sum at most.
    fn transform_summands(&mut self, index: usize, factors: &[f64]) -> bool {
        let FoldedOp::Linear {
            terms,
            exact_sum: true,
            ..
        } = &self.draft(index).op
        else {
            return false;
        };
        let [Term::Tiles { source, tiles }] = &terms[..] else {
            return false;
        };
        let source = *source;
        let viewed = self.views.iter().flatten().any(|view| view.base == source);
        if viewed || self.readers(source).count() != 1 {
            return false;
        }
        let FoldedOp::Linear {
            exact_sum: false, ..
        } = self.draft(source).op
        else {
            return false;
        };
        let mut of_source = vec![None; self.draft(source).elements];
        for tile in tiles {
            for &input in &tile.inputs {
                let factor = factors[tile.outputs[0] as usize];
                let place = &mut of_source[input as usize];
                if place.is_some_and(|other| other != factor) {
                    return false;
                }
                *place = Some(factor);
            }
        }
        let of_source: Vec<f64> = of_source.into_iter().map(|f| f.unwrap_or(1.0)).collect();
        self.scale_rows(source, &of_source);
        if let FoldedOp::Linear { bias, .. } = &mut self.draft_mut(index).op {
            bias.iter_mut()
                .zip(factors)
                .for_each(|(bias, factor)| *bias *= factor);
        }
        true
    }

    /// A linear map whose value is that of a view.
    pub(super) fn materialize(&mut self, name: &str, view: &View) -> usize {
        let op = FoldedOp::Linear {
            terms: view.terms(),
            bias: view.beta.clone(),
            exact_sum: false,
        };
        self.push(name, op, view.elements())
    }
}

fn append_to_tile(tile: &mut FoldedTile, rows: &[NewRow], first: usize) {
    let columns = tile.inputs.len();
    let place_of: std::collections::HashMap<usize, usize> = tile
        .outputs
        .iter()
        .enumerate()
        .map(|(place, &output)| (output as usize, place))
        .collect();
    for (number, row) in rows.iter().enumerate() {
        if let Some(&place) = place_of.get(&row.element) {
            tile.outputs.push((first + number) as u32);
            let start = place * columns;
            tile.weights.extend_from_within(start..start + columns);
        }
    }
}

fn undo_in_view(view: &mut View, factors: &[f64], offsets: &[f64]) {
    for (element, (alpha, beta)) in view.alpha.iter_mut().zip(&mut view.beta).enumerate() {
        *alpha /= factors[element];
        *beta -= *alpha * offsets[element];
    }
    for extra in &mut view.extra {
        extra.factor /= factors[extra.base_element];
        view.beta[extra.element] -= extra.factor * offsets[extra.base_element];
    }
}

fn undo_in_term(term: &mut Term, bias: &mut [f64], factors: &[f64], offsets: &[f64]) {
    match term {
        Term::Diagonal { factors: own, .. } => {
            for (element, own) in own.iter_mut().enumerate() {
                *own /= factors[element];
                bias[element] -= *own * offsets[element];
            }
        }
        Term::Tiles { tiles, .. } => {
            for tile in tiles {
                let rows = tile.weights.chunks_exact_mut(tile.inputs.len());
                for (row, &output) in rows.zip(&tile.outputs) {
                    for (weight, &input) in row.iter_mut().zip(&tile.inputs) {
                        *weight /= factors[input as usize];
                        bias[output as usize] -= *weight * offsets[input as usize];
                    }
                }
            }
        }
    }
}
