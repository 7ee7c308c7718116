//! Residual sums.

use super::view::Extra;
use super::{Folder, View};
use crate::{Error, FoldedNode, FoldedOp, Node, Term};

impl Folder<'_> {
    /// The sum of two views: one view where they share a base, else part of a linear map.
    ///
    /// A linear map that nothing else reads takes the other summand as a further term; without one there is a new
    /// linear map of two diagonals.
    pub(super) fn fold_add(&mut self, node: &Node, x: View, y: View) -> Result<View, Error> {
        if x.base == y.base {
            return Ok(sum_on_one_base(x, &y));
        }
        let elements = x.elements();
        // The later one reads deeper in the network, where the sum belongs.
        let (early, late) = if x.base < y.base { (x, y) } else { (y, x) };
        let (early_fits, late_fits) = (self.can_absorb(&early), self.can_absorb(&late));
        let sum = if early_fits && late_fits && self.reads_squares(&early, &late) {
            let mut sum = self.absorb(&late);
            let other = self.absorb(&early);
            extend(&mut sum, other.name, other.op);
            sum
        } else if late_fits || early_fits {
            let (main, branch) = if late_fits {
                (late, early)
            } else {
                (early, late)
            };
            let mut sum = self.absorb(&main);
            extend(&mut sum, node.name.clone(), view_op(&branch));
            sum
        } else {
            let mut sum = FoldedNode {
                name: node.name.clone(),
                op: view_op(&late),
                elements,
            };
            extend(&mut sum, String::new(), view_op(&early));
            sum
        };
        let base = self.push(&sum.name, sum.op, elements);
        Ok(View::identity(base, elements))
    }

    /// Whether the linear map under a view can become part of another node.
    fn can_absorb(&self, view: &View) -> bool {
        let node = self.draft(view.base);
        matches!(
            node.op,
            FoldedOp::Linear {
                exact_sum: false,
                ..
            }
        ) && node.elements == view.elements()
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

    /// Takes the linear map under a view out of the network, with the view folded into it.
    fn absorb(&mut self, view: &View) -> FoldedNode {
        self.scale_rows(view.base, &view.alpha);
        self.add_to_bias(view.base, &view.beta);
        self.drafts[view.base]
            .take()
            .expect("it was there to be scaled")
    }
}

fn view_op(view: &View) -> FoldedOp {
    FoldedOp::Linear {
        terms: view.terms(),
        bias: view.beta.clone(),
        exact_sum: false,
    }
}

/// Adds the terms and the bias of a linear map to a node.
fn extend(node: &mut FoldedNode, name: String, op: FoldedOp) {
    let FoldedOp::Linear { terms, bias, .. } = &mut node.op else {
        unreachable!("only linear maps are extended");
    };
    let FoldedOp::Linear {
        terms: more,
        bias: offsets,
        ..
    } = op
    else {
        unreachable!("only linear maps are added");
    };
    terms.extend::<Vec<Term>>(more);
    for (bias, offset) in bias.iter_mut().zip(offsets) {
        *bias += offset;
    }
    if !name.is_empty() {
        node.name = format!("{}+{name}", node.name);
    }
}

fn sum_on_one_base(mut x: View, y: &View) -> View {
    for (alpha, other) in x.alpha.iter_mut().zip(&y.alpha) {
        *alpha += other;
    }
    for (beta, other) in x.beta.iter_mut().zip(&y.beta) {
        *beta += other;
    }
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
