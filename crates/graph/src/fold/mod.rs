//! Folding: every operation becomes an input, a linear map or a square.
//!
//! The value of a graph node is kept as a [`View`] of folded nodes for as long as possible: in the simplest case
//! `alpha * base + beta` element by element, in general a sum of elements of several bases. Batch normalization, the signs
//! and constants of activations, the divisor of a pooling, selections and concatenations only change the view. A convolution or dense layer takes the view of its input into its columns and its bias, where a
//! padded tap contributes nothing at all (the zeros are put around the value, after everything that the view holds).
//!
//! An activation `a x^2 + b x + c` becomes `x' (x' + r)` with `x' = t x`; the `t` of every element is multiplied into
//! the rows of the linear map that computes `x` ([`scale`]), which others that read `x` undo. Where `x` is not the value
//! of a linear map, a diagonal one is inserted; where its elements have changed places, or come from several maps, the
//! rows of these maps make a new one ([`gather`]).

mod activation;
mod add;
mod gather;
mod linear;
mod pool;
mod scale;
mod sums;
mod view;

use crate::execute::batch_norm_affine;
use crate::{Error, Folded, FoldedNode, FoldedOp, Graph, Linear, Node, NodeId, Op, Term};
pub use sums::without_pooling;
use view::View;

/// Most matrix entries that a folded network may have together (4 GiB of f64).
pub const MAX_WEIGHTS: u64 = 1 << 29;

/// Turns a graph into an equal network of inputs, linear maps and squares.
///
/// A square may have more elements than the activation it comes from: an element whose `a` is tiny next to the others'
/// would need a huge `r`, and is computed as a difference of two squares instead; the second ones follow after the others.
///
/// # Errors
/// [`Error::TeacherOnly`] for a network with operations of teachers only, [`Error::FoldedSize`] when the matrices would have more than
/// [`MAX_WEIGHTS`] entries.
///
/// # Cost
/// A convolution is stored with its own matrix for every output position: `8 * positions * weights` bytes.
pub fn fold(graph: &Graph) -> Result<Folded, Error> {
    let mut folder = Folder {
        graph,
        drafts: Vec::new(),
        views: Vec::new(),
        pending: graph.reader_counts(),
        weights: 0,
    };
    for (index, node) in graph.nodes().iter().enumerate() {
        let view = folder.fold_node(NodeId(index), node)?;
        folder.views.push(Some(view));
    }
    folder.finish()
}

struct Folder<'g> {
    graph: &'g Graph,
    // A node that was merged into a later one leaves an empty place.
    drafts: Vec<Option<FoldedNode>>,
    // Value of every graph node that has readers left.
    views: Vec<Option<View>>,
    // Readers of every graph node that were not folded yet.
    pending: Vec<usize>,
    weights: u64,
}

impl Folder<'_> {
    fn fold_node(&mut self, id: NodeId, node: &Node) -> Result<View, Error> {
        let Some(&source) = node.inputs.first() else {
            let elements = self.graph.input_shape().elements();
            let base = self.push(&node.name, FoldedOp::Input, elements);
            return Ok(View::identity(base, elements));
        };
        let (from, to) = (self.graph.shape(source), self.graph.shape(id));
        let mut x = self.take_view(source);
        match &node.op {
            Op::Input | Op::Flatten => Ok(x),
            Op::Activation(_) | Op::MaxPool { .. } => Err(Error::TeacherOnly {
                node: node.name.clone(),
                operation: node.op.kind(),
            }),
            Op::Affine {
                granularity,
                factor,
                offset,
            } => {
                x.map(|element| {
                    let k = granularity.index(&from, element);
                    (f64::from(factor[k]), f64::from(offset[k]))
                });
                Ok(x)
            }
            Op::Select { indices, .. } => Ok(x.select(indices)),
            Op::Concat => {
                let others = node.inputs[1..].iter().map(|&id| self.take_view(id));
                let views: Vec<View> = std::iter::once(x).chain(others).collect();
                Ok(View::concat(&views))
            }
            Op::BatchNorm { .. } => {
                let affine = batch_norm_affine(&node.op);
                let per_channel = from.channel_elements();
                x.map(|element| affine[element / per_channel]);
                Ok(x)
            }
            Op::Conv2d { .. } | Op::Dense { .. } => self.fold_linear(node, &x, &from, &to),
            Op::AveragePool { .. } => self.fold_pool(node, &x, &from, &to),
            Op::Quadratic {
                granularity,
                a,
                b,
                c,
            } => {
                let coefficients = (0..from.elements())
                    .map(|element| {
                        let k = granularity.index(&from, element);
                        [a[k], b[k], c[k]].map(f64::from)
                    })
                    .collect();
                self.fold_quadratic(node, x, coefficients)
            }
            Op::Add { factors } => {
                let factor = |place: usize| factors.get(place).map_or(1.0, |&f| f64::from(f));
                x.map(|_| (factor(0), 0.0));
                for (place, &id) in node.inputs.iter().enumerate().skip(1) {
                    let mut y = self.take_view(id);
                    y.map(|_| (factor(place), 0.0));
                    x = self.fold_add(node, x, y)?;
                }
                Ok(x)
            }
        }
    }

    /// The view of a graph node for one of its readers. It is dropped after the last reader.
    fn take_view(&mut self, id: NodeId) -> View {
        self.pending[id.0] -= 1;
        let view = if self.pending[id.0] == 0 {
            self.views[id.0].take()
        } else {
            self.views[id.0].clone()
        };
        view.expect("a view is kept until its last reader took it")
    }

    fn push(&mut self, name: &str, op: FoldedOp, elements: usize) -> usize {
        self.drafts.push(Some(FoldedNode {
            name: name.to_string(),
            op,
            elements,
        }));
        self.drafts.len() - 1
    }

    fn draft(&self, index: usize) -> &FoldedNode {
        self.drafts[index]
            .as_ref()
            .expect("only merged nodes are gone, and nothing refers to them")
    }

    fn draft_mut(&mut self, index: usize) -> &mut FoldedNode {
        self.drafts[index]
            .as_mut()
            .expect("only merged nodes are gone, and nothing refers to them")
    }

    fn linear_mut(&mut self, index: usize) -> &mut Linear {
        match &mut self.draft_mut(index).op {
            FoldedOp::Linear(linear) => linear,
            _ => unreachable!("called for linear maps only"),
        }
    }

    /// Appends a linear map and returns its number.
    fn push_map(&mut self, name: &str, linear: Linear) -> usize {
        let elements = linear.bias.len();
        self.push(name, FoldedOp::Linear(linear), elements)
    }

    /// Appends a linear map.
    fn push_linear(&mut self, name: &str, linear: Linear) -> View {
        let elements = linear.bias.len();
        View::identity(self.push_map(name, linear), elements)
    }

    /// Counts matrix entries before they are allocated.
    fn reserve(&mut self, node: &str, weights: u64) -> Result<(), Error> {
        self.weights = self.weights.saturating_add(weights);
        if self.weights > MAX_WEIGHTS {
            return Err(Error::FoldedSize {
                node: node.to_string(),
                found: self.weights,
                limit: MAX_WEIGHTS,
            });
        }
        Ok(())
    }

    /// The base of a view that is plain: every element reads the element of its own number, and nothing more but a second
    /// square.
    fn plain_base(&self, view: &View) -> Option<usize> {
        let base = view.plain_base()?;
        (view.is_single() || self.draft(base).linear().is_none()).then_some(base)
    }

    /// Whether no folded node and no view that is still needed reads a folded node.
    fn is_unread(&self, index: usize) -> bool {
        let viewed = self.views.iter().flatten().any(|view| view.reads(index));
        !viewed && self.readers(index).next().is_none()
    }

    fn readers(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        self.drafts
            .iter()
            .enumerate()
            .filter(move |(_, draft)| draft.as_ref().is_some_and(|node| node.reads(index)))
            .map(|(reader, _)| reader)
    }

    /// Makes the logits the value of the last node, and drops what does not lead to them.
    fn finish(mut self) -> Result<Folded, Error> {
        let output = self.graph.output();
        let name = &self.graph.node(output).name;
        let view = self.views[output.0]
            .take()
            .expect("the output has no reader that took it");
        let name_of_copy = format!("{name}:logits");
        let last = match self.plain_base(&view) {
            Some(base)
                if self.draft(base).linear().is_some()
                    && self.draft(base).elements == view.elements()
                    && self.is_unread(base) =>
            {
                self.linear_mut(base).apply(&view);
                base
            }
            Some(base) => self.push_map(&name_of_copy, view.linear(base)),
            None => {
                let fits = |&base: &usize| !self.draft(base).is_exact_sum() && self.is_unread(base);
                let absorbed: Vec<usize> = view.bases().iter().copied().filter(fits).collect();
                self.gather(&name_of_copy, &view, |base| absorbed.contains(&base))?;
                self.drafts.len() - 1
            }
        };
        Ok(Folded {
            nodes: sums::push_sums(self.compact(last)),
        })
    }

    fn compact(mut self, last: usize) -> Vec<FoldedNode> {
        let mut needed = vec![false; self.drafts.len()];
        // The input is kept even if no weight reads it.
        needed[0] = true;
        needed[last] = true;
        for index in (0..=last).rev() {
            if needed[index] {
                let sources: Vec<usize> = self.draft(index).sources().collect();
                sources.into_iter().for_each(|source| needed[source] = true);
            }
        }
        let kept = needed.iter().zip(&mut self.drafts);
        let kept = kept.map(|(needed, draft)| draft.take().filter(|_| *needed));
        numbered_anew(kept.collect())
    }
}

/// The nodes that are `Some`, numbered without gaps.
fn numbered_anew(nodes: Vec<Option<FoldedNode>>) -> Vec<FoldedNode> {
    let mut position = Vec::with_capacity(nodes.len());
    let mut kept: Vec<FoldedNode> = Vec::new();
    for node in nodes {
        position.push(kept.len());
        let Some(mut node) = node else { continue };
        match &mut node.op {
            FoldedOp::Input => {}
            FoldedOp::Square { source, .. } => *source = position[*source],
            FoldedOp::Linear(linear) => {
                for Term::Tiles { source, .. } | Term::Diagonal { source, .. } in &mut linear.terms
                {
                    *source = position[*source];
                }
            }
        }
        kept.push(node);
    }
    kept
}
