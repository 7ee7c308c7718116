//! A view as a linear map of its own, with the linear maps that it reads taken into it.
//!
//! A selection of elements, a concatenation and a weighted sum cost no level of their own: where the values they read are
//! those of linear maps, the rows of these maps become the rows of the new one.

use super::{Folder, View};
use crate::{Error, Linear, Term, Tile};

/// An element of the view, and the factor of a row in it.
type Use = (u32, f64);

impl Folder<'_> {
    /// A linear map that computes a view; its rows take in those of the linear maps that `absorb` names.
    pub(super) fn gather(
        &mut self,
        node: &str,
        view: &View,
        absorb: impl Fn(usize) -> bool,
    ) -> Result<View, Error> {
        let mut bias = view.beta.clone();
        let mut terms: Vec<Term> = Vec::new();
        for &base in view.bases() {
            let elements = self.draft(base).elements;
            let absorbed = self.draft(base).linear().is_some() && absorb(base);
            if !absorbed {
                self.reserve(node, view.entry_count() as u64)?;
                terms.push(view.term(base, elements));
                continue;
            }
            let rounds = rounds(view, base, elements);
            let entries: u64 = rounds
                .iter()
                .map(|rows| entries_of(self.draft(base).terms(), rows))
                .fold(0, u64::saturating_add);
            self.reserve(node, entries)?;
            let linear = self.draft(base).linear().expect("checked above");
            for rows in &rounds {
                for (row, uses) in rows.iter().enumerate() {
                    for &(element, factor) in uses {
                        bias[element as usize] += factor * linear.bias[row];
                    }
                }
                let chosen = |term| chosen_rows(term, rows, view.elements());
                terms.extend(linear.terms.iter().map(chosen));
            }
        }
        let terms = merged(terms, view.elements());
        let gathered = self.push_linear(node, Linear::new(terms, bias));
        for &base in view.bases() {
            if self.draft(base).linear().is_some() && absorb(base) && self.is_unread(base) {
                self.drafts[base] = None;
            }
        }
        Ok(gathered)
    }
}

/// For every row of a base the elements of the view that read it; an element is named once in each of the lists.
fn rounds(view: &View, base: usize, elements: usize) -> Vec<Vec<Vec<Use>>> {
    let mut rounds: Vec<Vec<Vec<Use>>> = Vec::new();
    for (f, (entries, _)) in view.iter().enumerate() {
        let of_base = entries
            .iter()
            .filter(|entry| entry.base() == base && entry.factor != 0.0);
        for (round, entry) in of_base.enumerate() {
            if rounds.len() == round {
                rounds.push(vec![Vec::new(); elements]);
            }
            rounds[round][entry.element()].push((f as u32, entry.factor));
        }
    }
    rounds
}

/// Matrix entries of the chosen rows.
fn entries_of(terms: &[Term], rows: &[Vec<Use>]) -> u64 {
    let of_tile = |tile: &Tile| {
        let outputs = tile.outputs.iter();
        let uses: usize = outputs.map(|&output| rows[output as usize].len()).sum();
        uses as u64 * tile.inputs.len() as u64
    };
    let of_term = |term: &Term| match term {
        Term::Tiles { tiles, .. } => tiles.iter().map(of_tile).sum(),
        Term::Diagonal { .. } => rows.iter().map(|uses| uses.len() as u64).sum::<u64>(),
    };
    terms.iter().map(of_term).fold(0, u64::saturating_add)
}

/// The chosen rows of a term, each times its factor, as rows of a map of so many elements.
fn chosen_rows(term: &Term, rows: &[Vec<Use>], elements: usize) -> Term {
    match term {
        Term::Tiles { source, tiles } => {
            let chosen = tiles.iter().map(|tile| {
                let mut outputs = Vec::new();
                let mut weights = Vec::new();
                for (row, own) in tile.rows() {
                    for &(element, factor) in &rows[row] {
                        outputs.push(element);
                        weights.extend(own.iter().map(|weight| weight * factor));
                    }
                }
                Tile {
                    outputs,
                    inputs: tile.inputs.clone(),
                    weights,
                }
            });
            Term::Tiles {
                source: *source,
                tiles: chosen.filter(|tile| !tile.outputs.is_empty()).collect(),
            }
        }
        Term::Diagonal { source, factors } => {
            let in_place = rows
                .iter()
                .enumerate()
                .all(|(row, uses)| uses.iter().all(|&(element, _)| element as usize == row));
            let used = factors.iter().zip(rows);
            if in_place {
                let factor = |(own, uses): (&f64, &Vec<Use>)| {
                    own * uses.iter().map(|&(_, factor)| factor).sum::<f64>()
                };
                return Term::Diagonal {
                    source: *source,
                    factors: used.map(factor).take(elements).collect(),
                };
            }
            let tiles = used.enumerate().flat_map(|(row, (own, uses))| {
                uses.iter().map(move |&(element, factor)| Tile {
                    outputs: vec![element],
                    inputs: vec![row as u32],
                    weights: vec![own * factor],
                })
            });
            Term::Tiles {
                source: *source,
                tiles: tiles.filter(|tile| tile.weights[0] != 0.0).collect(),
            }
        }
    }
}

/// The terms with matrices on one source that write different elements as one, and without empty ones; at least one is
/// left.
fn merged(terms: Vec<Term>, elements: usize) -> Vec<Term> {
    let mut kept: Vec<(Term, Vec<bool>)> = Vec::new();
    let first_source = terms.first().map_or(0, Term::source);
    for term in terms {
        let Term::Tiles { source, tiles } = term else {
            kept.push((term, Vec::new()));
            continue;
        };
        if tiles.is_empty() {
            continue;
        }
        let outputs = || tiles.iter().flat_map(|tile| &tile.outputs);
        let place = kept.iter().position(|(other, written)| {
            matches!(other, Term::Tiles { source: read, .. } if *read == source)
                && outputs().all(|&output| !written[output as usize])
        });
        let place = place.unwrap_or_else(|| {
            let empty = Term::Tiles {
                source,
                tiles: Vec::new(),
            };
            kept.push((empty, vec![false; elements]));
            kept.len() - 1
        });
        let (other, written) = &mut kept[place];
        outputs().for_each(|&output| written[output as usize] = true);
        if let Term::Tiles { tiles: all, .. } = other {
            all.extend(tiles);
        }
    }
    if kept.is_empty() {
        return vec![Term::Tiles {
            source: first_source,
            tiles: Vec::new(),
        }];
    }
    kept.into_iter().map(|(term, _)| term).collect()
}
