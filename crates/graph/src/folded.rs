//! The folded network: inputs, linear maps and squares, in f64.

/// A network of inputs, linear maps and squares only, equal to the graph it was folded from.
///
/// Range: nodes read earlier nodes; node 0 is the only input; the last node is a linear map and its value is the
/// logits; the source of a square is always a linear map.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// Nodes in the order of evaluation.
    pub nodes: Vec<FoldedNode>,
}

/// One node of a folded network.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedNode {
    /// Name of the graph node(s) it came from.
    pub name: String,
    /// What it computes.
    pub op: FoldedOp,
    /// Number of elements; may exceed that of the graph node (see [`crate::fold`]).
    pub elements: usize,
}

/// What a folded node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum FoldedOp {
    /// The prepared image, channel-first.
    Input,
    /// Sum of the terms, plus the bias.
    Linear {
        /// What is added up; an output that no term names is its bias alone.
        terms: Vec<Term>,
        /// One value an element.
        bias: Vec<f64>,
        /// Every weight is 1 or -1 (pooling): the map costs no scale.
        exact_sum: bool,
    },
    /// `x (x + shift)`.
    Square {
        /// The node `x`.
        source: usize,
        /// One value an element.
        shift: Vec<f64>,
    },
}

/// One summand of a linear map.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A matrix, given as dense tiles; each output is in at most one tile.
    Tiles {
        /// The node that is read.
        source: usize,
        /// The tiles.
        tiles: Vec<FoldedTile>,
    },
    /// Element `f` of the output gets `factors[f]` times element `f` of the source, which may have more elements.
    Diagonal {
        /// The node that is read.
        source: usize,
        /// One factor an output element.
        factors: Vec<f64>,
    },
}

impl Term {
    /// The node that the term reads.
    pub const fn source(&self) -> usize {
        match self {
            Self::Tiles { source, .. } | Self::Diagonal { source, .. } => *source,
        }
    }
}

/// A dense block of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedTile {
    /// Rows: elements of the node.
    pub outputs: Vec<u32>,
    /// Columns: elements of the source.
    pub inputs: Vec<u32>,
    /// `outputs` x `inputs`, row major.
    pub weights: Vec<f64>,
}
