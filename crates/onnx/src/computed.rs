//! What the names of a file stand for while it is read.

use std::rc::Rc;

use sordino_graph::{Function, NodeId};

use crate::array::Array;
use crate::polynomial::Polynomial;
use crate::view::View;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Constant(Rc<Array>),
    Computed(Computed),
    /// The softmax of logits, or its logarithm: the client's, so nothing but the output may be computed from it.
    Softmax {
        logits: Computed,
        /// Whether it is the logarithm.
        log: bool,
        /// The name of the logits in the file; empty if they have none.
        name: String,
    },
    /// An output of this operator that is not read: class numbers, places of maxima, masks.
    Unread(String),
    /// Computed by a node that was refused.
    Refused,
}

/// A value that depends on the image.
#[derive(Clone, Debug)]
pub(crate) struct Computed {
    pub(crate) expression: Expression,
    pub(crate) view: View,
    /// Raw bytes of images, which only a cast makes numbers of.
    pub(crate) raw: bool,
}

/// How a value follows from a node's. It becomes a node of its own when it is read by something that needs one.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Polynomial(Polynomial),
    Call(Call),
}

/// `factor * function(scale * x + shift) + offset` of the value `x` of a node.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: Called,
    pub(crate) node: NodeId,
    pub(crate) scale: f64,
    pub(crate) shift: f64,
    pub(crate) factor: f64,
    pub(crate) offset: f64,
    /// The name of the value that the function is of.
    pub(crate) argument: String,
    /// The name of the node that it was made by.
    pub(crate) made_by: String,
}

/// Functions that exporters build activations of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Called {
    /// An activation in its own right.
    Own(Function),
    /// The error function, part of GELU.
    Erf,
    /// `tanh(a x + b x^3)` with the numbers of GELU's approximation, for `a = sqrt(2 / pi)`.
    CubicTanh,
    /// `tanh(softplus(x))`, part of Mish.
    TanhSoftplus,
}

impl Computed {
    /// A node's value in the node's order.
    pub(crate) fn of(node: NodeId, view: View) -> Self {
        Self {
            expression: Expression::Polynomial(Polynomial::of(node)),
            view,
            raw: false,
        }
    }

    pub(crate) fn with(&self, expression: Expression) -> Self {
        Self {
            expression,
            ..self.clone()
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        match &self.expression {
            Expression::Polynomial(polynomial) => polynomial.node,
            Expression::Call(call) => call.node,
        }
    }
}
