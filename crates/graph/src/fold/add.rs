//! Sums of branches.

use super::scale::add;
use super::{Folder, View};
use crate::{Error, FoldedNode, FoldedOp, Linear, Node};

/// Entries of an element of a view, on average, from which on a sum becomes a linear map.
const MOST_ENTRIES: usize = 8;

impl Folder<'_> {
    /// The sum of two views: one view where they share a base, else part of a linear map.
    ///
    /// A linear map that nothing else reads takes the other summand as a further term; without one there is a new
    /// linear map of two diagonals, or, where elements changed places, a view of both.
    pub(super) fn fold_add(&mut self, node: &Node, x: View, y: View) -> Result<View, Error> {
        let (Some(x_base), Some(y_base)) = (self.plain_base(&x), self.plain_base(&y)) else {
            return self.fold_moved_add(node, &x.plus(&y));
        };
        if x_base == y_base {
            return Ok(x.plus(&y));
        }
        // The later one reads deeper in the network, where the sum belongs.
        let (early, late) = if x_base < y_base {
            ((x, x_base), (y, y_base))
        } else {
            ((y, y_base), (x, x_base))
        };
        let fits = |(view, base): &(View, usize)| self.can_absorb(view, *base);
        let (early_fits, late_fits) = (fits(&early), fits(&late));
        let linear = |(view, base): &(View, usize)| view.linear(*base);
        let (name, sum) = if early_fits && late_fits && self.reads_squares(&[early.1, late.1]) {
            let (name, sum) = self.absorb(&late);
            let (other, summand) = self.absorb(&early);
            (format!("{name}+{other}"), sum.plus(summand))
        } else if late_fits || early_fits {
            let (main, branch) = if late_fits {
                (late, early)
            } else {
                (early, late)
            };
            let (name, sum) = self.absorb(&main);
            (format!("{name}+{}", node.name), sum.plus(linear(&branch)))
        } else {
            (node.name.clone(), linear(&late).plus(linear(&early)))
        };
        Ok(self.push_linear(&name, sum))
    }

    /// A sum in which elements have changed places: it stays a view, unless it can become part of a linear map.
    fn fold_moved_add(&mut self, node: &Node, sum: &View) -> Result<View, Error> {
        let fits = |&base: &usize| {
            let node = self.draft(base);
            node.linear().is_some() && !node.is_exact_sum() && self.is_unread(base)
        };
        let mut absorbed: Vec<usize> = sum.bases().iter().copied().filter(fits).collect();
        if !self.reads_squares(&absorbed) {
            absorbed = absorbed.pop().into_iter().collect();
        }
        if absorbed.is_empty() && sum.entry_count() <= MOST_ENTRIES * sum.elements() {
            return Ok(sum.clone());
        }
        self.gather(&node.name, sum, |base| absorbed.contains(&base))
    }

    /// Whether the linear map under a view can become part of another node.
    fn can_absorb(&self, view: &View, base: usize) -> bool {
        let node = self.draft(base);
        node.linear().is_some()
            && !node.is_exact_sum()
            && node.elements == view.elements()
            && self.is_unread(base)
    }

    /// Whether all terms of linear maps read activated values, which have one scale.
    fn reads_squares(&self, maps: &[usize]) -> bool {
        maps.iter().all(|&map| {
            self.draft(map)
                .sources()
                .all(|source| matches!(self.draft(source).op, FoldedOp::Square { .. }))
        })
    }

    /// Takes the linear map under a plain view out of the network, with the view folded into it, and its name.
    fn absorb(&mut self, (view, base): &(View, usize)) -> (String, Linear) {
        self.linear_mut(*base).apply(view);
        match self.drafts[*base].take() {
            Some(FoldedNode {
                name,
                op: FoldedOp::Linear(linear),
                ..
            }) => (name, linear),
            _ => unreachable!("it was a linear map"),
        }
    }
}

impl Linear {
    /// The sum of two maps.
    fn plus(mut self, other: Self) -> Self {
        self.terms.extend(other.terms);
        add(&mut self.bias, &other.bias);
        self
    }
}
