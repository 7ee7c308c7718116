//! The value of a graph node as sums of elements of folded nodes.

use crate::{Linear, Term, Tile};

/// Element `f` is `beta[f]` plus the sum of its entries.
///
/// Range: the entries of an element name different elements of folded nodes.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Where the entries of each element begin, and where the last ones end.
    starts: Vec<usize>,
    entries: Vec<Entry>,
    pub(super) beta: Vec<f64>,
    /// The folded nodes of the entries, ascending.
    bases: Vec<usize>,
}

/// One summand of an element of a view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    /// The folded node; it may have more elements than the view.
    base: u32,
    element: u32,
    pub(super) factor: f64,
}

impl Entry {
    pub(super) const fn new(base: usize, element: usize, factor: f64) -> Self {
        Self {
            base: base as u32,
            element: element as u32,
            factor,
        }
    }

    pub(super) const fn base(&self) -> usize {
        self.base as usize
    }

    pub(super) const fn element(&self) -> usize {
        self.element as usize
    }

    /// What is read, without the factor.
    const fn place(&self) -> (u32, u32) {
        (self.base, self.element)
    }
}

impl View {
    /// Gathers a view element by element.
    pub(super) fn collect<E>(elements: impl IntoIterator<Item = (E, f64)>) -> Self
    where
        E: IntoIterator<Item = Entry>,
    {
        let mut view = Self {
            starts: vec![0],
            entries: Vec::new(),
            beta: Vec::new(),
            bases: Vec::new(),
        };
        for (entries, beta) in elements {
            view.entries.extend(entries);
            view.starts.push(view.entries.len());
            view.beta.push(beta);
        }
        let mut bases: Vec<usize> = Vec::new();
        for entry in &view.entries {
            if let Err(place) = bases.binary_search(&entry.base()) {
                bases.insert(place, entry.base());
            }
        }
        view.bases = bases;
        view
    }

    pub(super) fn identity(base: usize, elements: usize) -> Self {
        Self::collect((0..elements).map(|f| ([Entry::new(base, f, 1.0)], 0.0)))
    }

    pub(super) fn elements(&self) -> usize {
        self.beta.len()
    }

    /// Number of entries of all elements.
    pub(super) fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// The summands of an element.
    pub(super) fn of(&self, element: usize) -> &[Entry] {
        &self.entries[self.starts[element]..self.starts[element + 1]]
    }

    /// The elements with their summands and constants.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[Entry], f64)> {
        (0..self.elements()).map(|element| (self.of(element), self.beta[element]))
    }

    /// The folded nodes that the view reads, ascending.
    pub(super) fn bases(&self) -> &[usize] {
        &self.bases
    }

    pub(super) fn reads(&self, base: usize) -> bool {
        self.bases.binary_search(&base).is_ok()
    }

    /// The only base, where element `f` of the view reads element `f` of it first of all.
    pub(super) fn plain_base(&self) -> Option<usize> {
        let &[base] = &self.bases[..] else {
            return None;
        };
        let plain = |f: usize| self.of(f).first().is_some_and(|e| e.element() == f);
        (0..self.elements()).all(plain).then_some(base)
    }

    /// Whether every element has one entry.
    pub(super) fn is_single(&self) -> bool {
        self.entries.len() == self.elements() && (0..self.elements()).all(|f| self.of(f).len() == 1)
    }

    /// The factor of the first entry; 0 without one.
    pub(super) fn alpha(&self, element: usize) -> f64 {
        self.of(element).first().map_or(0.0, |entry| entry.factor)
    }

    /// Whether an element does not depend on any base.
    pub(super) fn is_constant(&self, element: usize) -> bool {
        self.of(element).iter().all(|entry| entry.factor == 0.0)
    }

    /// Applies `value * factor + offset` to every element.
    pub(super) fn map(&mut self, affine: impl Fn(usize) -> (f64, f64)) {
        for (element, beta) in self.beta.iter_mut().enumerate() {
            let (factor, offset) = affine(element);
            *beta = *beta * factor + offset;
            for entry in &mut self.entries[self.starts[element]..self.starts[element + 1]] {
                entry.factor *= factor;
            }
        }
    }

    /// Follows a change of the value `p` of a base to `factors * p + offsets`.
    pub(super) fn undo(&mut self, base: usize, factors: &[f64], offsets: &[f64]) {
        if !self.reads(base) {
            return;
        }
        for (element, beta) in self.beta.iter_mut().enumerate() {
            for entry in &mut self.entries[self.starts[element]..self.starts[element + 1]] {
                if entry.base() == base {
                    entry.factor /= factors[entry.element()];
                    *beta -= entry.factor * offsets[entry.element()];
                }
            }
        }
    }

    /// The elements that `indices` name, or 0 for -1.
    pub(super) fn select(&self, indices: &[i32]) -> Self {
        Self::collect(indices.iter().map(|&index| match usize::try_from(index) {
            Ok(element) => (self.of(element).to_vec(), self.beta[element]),
            Err(_) => (Vec::new(), 0.0),
        }))
    }

    /// One view after the other.
    pub(super) fn concat(views: &[Self]) -> Self {
        let elements = views.iter().flat_map(Self::iter);
        Self::collect(elements.map(|(entries, beta)| (entries.to_vec(), beta)))
    }

    /// The sum of two views of one length.
    pub(super) fn plus(&self, other: &Self) -> Self {
        Self::collect(self.iter().zip(other.iter()).map(|((x, beta), (y, more))| {
            let mut sum = x.to_vec();
            for entry in y {
                match sum.iter_mut().find(|kept| kept.place() == entry.place()) {
                    Some(kept) => kept.factor += entry.factor,
                    None => sum.push(*entry),
                }
            }
            (sum, beta + more)
        }))
    }

    /// The part of the view that reads one base, as a term: a diagonal where every element reads itself.
    pub(super) fn term(&self, base: usize, base_elements: usize) -> Term {
        let of_base = |f: usize| self.of(f).iter().filter(move |entry| entry.base() == base);
        let diagonal = (0..self.elements()).all(|f| of_base(f).all(|entry| entry.element() == f));
        if diagonal {
            let length = self.elements().min(base_elements);
            return Term::Diagonal {
                source: base,
                factors: (0..length)
                    .map(|f| of_base(f).map(|entry| entry.factor).sum())
                    .collect(),
            };
        }
        let tiles = (0..self.elements()).map(|f| {
            let entries = of_base(f).filter(|entry| entry.factor != 0.0);
            let (inputs, weights) = entries.map(|e| (e.element, e.factor)).unzip();
            Tile {
                outputs: vec![f as u32],
                inputs,
                weights,
            }
        });
        Term::Tiles {
            source: base,
            tiles: tiles.filter(|tile| !tile.inputs.is_empty()).collect(),
        }
    }

    /// A plain view as a linear map: a diagonal, and the further entries as a matrix.
    pub(super) fn linear(&self, base: usize) -> Linear {
        let mut terms = vec![Term::Diagonal {
            source: base,
            factors: (0..self.elements()).map(|f| self.alpha(f)).collect(),
        }];
        let extra = (0..self.elements()).filter_map(|f| {
            let further = self.of(f).get(1..).filter(|further| !further.is_empty())?;
            Some(Tile {
                outputs: vec![f as u32],
                inputs: further.iter().map(|entry| entry.element).collect(),
                weights: further.iter().map(|entry| entry.factor).collect(),
            })
        });
        let tiles: Vec<Tile> = extra.collect();
        if !tiles.is_empty() {
            terms.push(Term::Tiles {
                source: base,
                tiles,
            });
        }
        Linear::new(terms, self.beta.clone())
    }
}
