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

impl Folded {
    /// The linear nodes with their positions, in order.
    pub fn linear_nodes(&self) -> impl Iterator<Item = (usize, &FoldedNode)> {
        self.nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| matches!(node.op, FoldedOp::Linear { .. }))
    }

    /// Number of matrix entries, exact sums included and diagonals not.
    pub fn multiply_accumulates(&self) -> u64 {
        self.nodes
            .iter()
            .flat_map(FoldedNode::terms)
            .map(|term| match term {
                Term::Tiles { tiles, .. } => {
                    tiles.iter().map(|tile| tile.weights.len() as u64).sum()
                }
                Term::Diagonal { .. } => 0,
            })
            .sum()
    }
}

impl FoldedNode {
    /// The terms of a linear map; none for other nodes.
    pub fn terms(&self) -> &[Term] {
        match &self.op {
            FoldedOp::Linear { terms, .. } => terms,
            _ => &[],
        }
    }

    /// The nodes that this one reads, with repetitions.
    pub fn sources(&self) -> impl Iterator<Item = usize> + '_ {
        let square = match &self.op {
            FoldedOp::Square { source, .. } => Some(*source),
            _ => None,
        };
        square
            .into_iter()
            .chain(self.terms().iter().map(Term::source))
    }
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
        /// One value per element.
        bias: Vec<f64>,
        /// Every weight is 1 or -1 (pooling): the map costs no scale.
        exact_sum: bool,
    },
    /// `x (x + shift)`.
    Square {
        /// The node `x`.
        source: usize,
        /// One value per element.
        shift: Vec<f64>,
    },
}

/// One summand of a linear map with weights of type `W`.
#[derive(Clone, Debug, PartialEq)]
pub enum Term<W = f64> {
    /// A matrix, given as dense tiles; each output is in at most one tile, and no tile is empty.
    Tiles {
        /// The node that is read.
        source: usize,
        /// The tiles.
        tiles: Vec<Tile<W>>,
    },
    /// Element `f` of the output gets `factors[f]` times element `f` of the source.
    ///
    /// There may be fewer factors than elements of the node or of the source: the rest is not touched. Factors are
    /// never rounded here: the planner rounds them at the scale that it reaches.
    Diagonal {
        /// The node that is read.
        source: usize,
        /// One factor per element.
        factors: Vec<f64>,
    },
}

impl<W> Term<W> {
    /// The node that the term reads.
    pub const fn source(&self) -> usize {
        match self {
            Self::Tiles { source, .. } | Self::Diagonal { source, .. } => *source,
        }
    }
}

/// A dense block of a matrix with weights of type `W`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile<W> {
    /// Rows: elements of the node.
    pub outputs: Vec<u32>,
    /// Columns: elements of the source.
    pub inputs: Vec<u32>,
    /// `outputs` x `inputs`, row major.
    pub weights: Vec<W>,
}

/// A dense block of a matrix of a folded network.
pub type FoldedTile = Tile<f64>;
