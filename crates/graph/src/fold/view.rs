//! The value of a graph node as an affine view of a folded node.

use crate::{Linear, Term, Tile};

/// Element `f` is `alpha[f] * base[f] + beta[f]`, plus `factor * base[element]` of the pairs in `extra`.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// The folded node; it may have more elements than the view.
    pub(super) base: usize,
    pub(super) alpha: Vec<f64>,
    pub(super) beta: Vec<f64>,
    /// Second squares, sorted by the element they belong to.
    pub(super) extra: Vec<Extra>,
}

/// One more element of the base that an element of a view reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extra {
    /// Element of the view.
    pub(super) element: usize,
    /// Element of the base.
    pub(super) base_element: usize,
    pub(super) factor: f64,
}

impl View {
    pub(super) fn identity(base: usize, elements: usize) -> Self {
        Self {
            base,
            alpha: vec![1.0; elements],
            beta: vec![0.0; elements],
            extra: Vec::new(),
        }
    }

    pub(super) fn elements(&self) -> usize {
        self.alpha.len()
    }

    /// The extra pairs of one element.
    pub(super) fn extra_of(&self, element: usize) -> &[Extra] {
        let start = self.extra.partition_point(|extra| extra.element < element);
        let count = self.extra[start..]
            .iter()
            .take_while(|extra| extra.element == element)
            .count();
        &self.extra[start..start + count]
    }

    /// Whether an element does not depend on the base.
    pub(super) fn is_constant(&self, element: usize) -> bool {
        self.alpha[element] == 0.0
            && self
                .extra_of(element)
                .iter()
                .all(|extra| extra.factor == 0.0)
    }

    /// Applies `value * factor + offset` to every element.
    pub(super) fn map(&mut self, affine: impl Fn(usize) -> (f64, f64)) {
        for (element, (alpha, beta)) in self.alpha.iter_mut().zip(&mut self.beta).enumerate() {
            let (factor, offset) = affine(element);
            *alpha *= factor;
            *beta = *beta * factor + offset;
        }
        for extra in &mut self.extra {
            extra.factor *= affine(extra.element).0;
        }
    }

    /// The view as a linear map.
    pub(super) fn linear(&self) -> Linear {
        let mut terms = vec![Term::Diagonal {
            source: self.base,
            factors: self.alpha.clone(),
        }];
        if !self.extra.is_empty() {
            let tiles = self
                .extra
                .chunk_by(|left, right| left.element == right.element)
                .map(|extra| Tile {
                    outputs: vec![extra[0].element as u32],
                    inputs: extra.iter().map(|e| e.base_element as u32).collect(),
                    weights: extra.iter().map(|extra| extra.factor).collect(),
                })
                .collect();
            terms.push(Term::Tiles {
                source: self.base,
                tiles,
            });
        }
        Linear::new(terms, self.beta.clone())
    }
}
