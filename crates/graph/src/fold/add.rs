//! Residual sums.

use super::scale::add;
use super::view::Extra;
use super::{Folder, View};
use crate::{FoldedNode, FoldedOp, Linear, Node};

impl Folder<'_> {
    /// The sum of two views: one view where they share a base, else part of a linear map.
    ///
    /// A linear map that nothing else reads takes the other summand as a further term; without one there is a new
    /// linear map of two diagonals.
    pub(super) fn fold_add(&mut self, node: &Node, x: View, y: View) -> View {
        if x.base == y.base {
            return sum_on_one_base(x, &y);
        }
        // The later one reads deeper in the network, where the sum belongs.
        let (early, late) = if x.base < y.base { (x, y) } else { (y, x) };
        let (early_fits, late_fits) = (self.can_absorb(&early), self.can_absorb(&late));
        let (name, sum) = if early_fits && late_fits && self.reads_squares(&early, &late) {
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
            (format!("{name}+{}", node.name), sum.plus(branch.linear()))
        } else {
            (node.name.clone(), late.linear().plus(early.linear()))
        };
        self.push_linear(&name, sum)
    }

    /// Whether the linear map under a view can become part of another node.
    fn can_absorb(&self, view: &View) -> bool {
        let node = self.draft(view.base);
        node.linear().is_some()
            && !node.is_exact_sum()
            && node.elements == view.elements()
            && self.is_unread(view.base)
    }

    /// Whether all terms under two linear maps read activated values, which have one scale.
    fn reads_squares(&self, x: &View, y: &View) -> bool {
        [x, y].into_iter().all(|view| {
            self.draft(view.base)
                .sources()
                .all(|source| matches!(self.draft(source).op, FoldedOp::Square { .. }))
        })
    }

    /// Takes the linear map under a view out of the network, with the view folded into it, and its name.
    fn absorb(&mut self, view: &View) -> (String, Linear) {
        self.linear_mut(view.base).apply(view);
        match self.drafts[view.base].take() {
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

fn sum_on_one_base(mut x: View, y: &View) -> View {
    add(&mut x.alpha, &y.alpha);
    add(&mut x.beta, &y.beta);
    x.extra.extend(&y.extra);
    x.extra
        .sort_by_key(|extra| (extra.element, extra.base_element));
    x.extra.dedup_by(|next: &mut Extra, kept: &mut Extra| {
        let same = (next.element, next.base_element) == (kept.element, kept.base_element);
        if same {
            kept.factor += next.factor;
        }
        same
    });
    x
}
