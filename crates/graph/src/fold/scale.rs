//! Scaling the rows of a linear map in place, and undoing it wherever else its value is read.

use std::collections::HashMap;

use super::{Folder, View};
use crate::{FoldedOp, Linear, Term, Tile};

/// A further element of a linear map: a copy of row `element`, plus `offset`.
pub(super) struct NewRow {
    pub(super) element: usize,
    pub(super) offset: f64,
}

/// Adds `values` to `sums`, element by element.
pub(super) fn add(sums: &mut [f64], values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += v);
}

/// Multiplies `values` by `factors`, element by element; values beyond the factors are left alone.
fn multiply(values: &mut [f64], factors: &[f64]) {
    values.iter_mut().zip(factors).for_each(|(v, f)| *v *= f);
}

impl Linear {
    /// Makes the map's value that of a plain view of it.
    pub(super) fn apply(&mut self, view: &View) {
        let factors: Vec<f64> = (0..view.elements()).map(|f| view.alpha(f)).collect();
        self.scale_rows(&factors);
        add(&mut self.bias, &view.beta);
    }

    /// Multiplies every element by its factor. Readers are not changed.
    ///
    /// Elements beyond the factors are left alone.
    fn scale_rows(&mut self, factors: &[f64]) {
        multiply(&mut self.bias, factors);
        for term in &mut self.terms {
            match term {
                Term::Diagonal { factors: own, .. } => multiply(own, factors),
                Term::Tiles { tiles, .. } => {
                    for (output, row) in tiles.iter_mut().flat_map(|tile| tile.rows_mut().0) {
                        if let Some(factor) = factors.get(output) {
                            row.iter_mut().for_each(|weight| *weight *= factor);
                        }
                    }
                }
            }
        }
        self.exact_sum &= factors.iter().all(|factor| factor.abs() == 1.0);
    }

    /// Appends elements that are copies of others plus a constant.
    fn append_rows(&mut self, rows: &[NewRow]) {
        let first = self.bias.len();
        for row in rows {
            self.bias.push(self.bias[row.element] + row.offset);
        }
        let mut copies = Vec::new();
        for term in &mut self.terms {
            match term {
                Term::Tiles { tiles, .. } => {
                    for tile in tiles {
                        append_to_tile(tile, rows, first);
                    }
                }
                // A diagonal cannot reach another element of its source.
                Term::Diagonal { source, factors } => {
                    let tiles: Vec<Tile> = rows
                        .iter()
                        .enumerate()
                        .filter(|(_, row)| factors.get(row.element).is_some_and(|&f| f != 0.0))
                        .map(|(place, row)| Tile {
                            outputs: vec![(first + place) as u32],
                            inputs: vec![row.element as u32],
                            weights: vec![factors[row.element]],
                        })
                        .collect();
                    if !tiles.is_empty() {
                        let source = *source;
                        copies.push(Term::Tiles { source, tiles });
                    }
                }
            }
        }
        self.terms.extend(copies);
    }
}

impl Folder<'_> {
    /// Appends elements to a linear map that are copies of others plus a constant.
    pub(super) fn append_rows(&mut self, index: usize, rows: &[NewRow]) {
        self.linear_mut(index).append_rows(rows);
        self.draft_mut(index).elements += rows.len();
    }

    /// Whether [`transform`](Self::transform) can change the value of a node: a linear map that no activation and no
    /// exact sum reads.
    pub(super) fn can_transform(&self, index: usize) -> bool {
        let takes = |reader| {
            let node = self.draft(reader);
            node.linear().is_some() && !node.is_exact_sum()
        };
        self.draft(index).linear().is_some() && self.readers(index).all(takes)
    }

    /// Replaces the value `p` of a linear map by `factors * p + offsets`. Every view and term that reads it undoes that.
    ///
    /// Factors are not zero; there is one for every element.
    pub(super) fn transform(&mut self, index: usize, factors: &[f64], offsets: &[f64]) {
        if !self.transform_summands(index, factors) {
            self.linear_mut(index).scale_rows(factors);
        }
        add(&mut self.linear_mut(index).bias, offsets);
        for view in self.views.iter_mut().flatten() {
            view.undo(index, factors, offsets);
        }
        for reader in self.drafts.iter_mut().flatten() {
            if let FoldedOp::Linear(linear) = &mut reader.op {
                let terms = linear.terms.iter_mut();
                for term in terms.filter(|term| term.source() == index) {
                    undo_in_term(term, &mut linear.bias, factors, offsets);
                }
            }
        }
    }

    /// Scales what an exact sum adds up instead of the sum, so that it stays exact. Returns whether that was possible.
    ///
    /// The sum must read a linear map that nothing else reads, and each element of that map must be in one sum at most.
    fn transform_summands(&mut self, index: usize, factors: &[f64]) -> bool {
        let Some((source, tiles)) = self.draft(index).pool() else {
            return false;
        };
        let viewed = self.views.iter().flatten().any(|view| view.reads(source));
        let summed = self.draft(source);
        if viewed
            || self.readers(source).count() != 1
            || summed.linear().is_none()
            || summed.is_exact_sum()
        {
            return false;
        }
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
        self.linear_mut(source).scale_rows(&of_source);
        multiply(&mut self.linear_mut(index).bias, factors);
        true
    }
}

fn append_to_tile(tile: &mut Tile, rows: &[NewRow], first: usize) {
    let columns = tile.inputs.len();
    let places = tile.outputs.iter().enumerate();
    let place_of: HashMap<usize, usize> = places.map(|(p, &output)| (output as usize, p)).collect();
    for (number, row) in rows.iter().enumerate() {
        if let Some(&place) = place_of.get(&row.element) {
            tile.outputs.push((first + number) as u32);
            let start = place * columns;
            tile.weights.extend_from_within(start..start + columns);
        }
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
                let (rows, inputs) = tile.rows_mut();
                for (output, row) in rows {
                    for (weight, &input) in row.iter_mut().zip(inputs) {
                        *weight /= factors[input as usize];
                        bias[output] -= *weight * offsets[input as usize];
                    }
                }
            }
        }
    }
}
