//! The folded network with integer weights.

use crate::{Term, Tile};

/// A folded network whose matrices hold integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// Nodes in the order of evaluation: those of the folded network.
    pub nodes: Vec<QuantizedNode>,
}

/// One node of a quantized network.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedNode {
    /// Name of the folded node.
    pub name: String,
    /// What it computes.
    pub op: QuantizedOp,
    /// Number of elements.
    pub elements: usize,
}

/// What a quantized node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum QuantizedOp {
    /// The prepared image, channel-first.
    Input,
    /// Sum of the terms, plus the bias; tiles count `weight / weight_scale`.
    Linear {
        /// What is added up.
        terms: Vec<QuantizedTerm>,
        /// One value per element, in the units of the folded network.
        bias: Vec<f64>,
        /// Every weight is 1 or -1 and `weight_scale` is 1.
        exact_sum: bool,
        /// 8 or 16.
        bits: u8,
        /// Integer weights are `round(weight * weight_scale)`; 1 for an exact sum and where there are no tiles.
        weight_scale: f64,
        /// Largest `|integer / weight_scale - weight|` of the node.
        max_rounding_error: f64,
    },
    /// `x (x + shift)`.
    Square {
        /// The node `x`.
        source: usize,
        /// One value per element.
        shift: Vec<f64>,
    },
}

/// One summand of a quantized linear map.
pub type QuantizedTerm = Term<i16>;

/// A dense block of a matrix of integers; their magnitude is at most 127 or 32,639.
pub type QuantizedTile = Tile<i16>;
