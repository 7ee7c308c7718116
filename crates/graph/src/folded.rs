//! A network of inputs, linear maps and squares only: folded, in f64, or with integer weights.

/// A network of inputs, linear maps and squares only, equal to the graph it was folded from.
///
/// `W` is the type of the weights: f64, or i16 after [`quantize`](crate::quantize).
///
/// Range: nodes read earlier nodes; node 0 is the only input; the last node is a linear map and its value is the
/// logits; the source of a square is always a linear map.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded<W = f64> {
    /// Nodes in the order of evaluation.
    pub nodes: Vec<FoldedNode<W>>,
}

/// A folded network whose weights are integers; their magnitude is at most 127 or 32,639.
pub type Quantized = Folded<i16>;

/// One node of a folded network.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedNode<W = f64> {
    /// Name of the graph node(s) it came from.
    pub name: String,
    /// What it computes.
    pub op: FoldedOp<W>,
    /// Number of elements; may exceed that of the graph node (see [`crate::fold`]).
    pub elements: usize,
}

impl Folded {
    /// The linear nodes with their positions, in order.
    pub fn linear_nodes(&self) -> impl Iterator<Item = (usize, &FoldedNode)> {
        let numbered = self.nodes.iter().enumerate();
        numbered.filter(|(_, node)| node.linear().is_some())
    }

    /// Number of matrix entries, exact sums included and diagonals not.
    pub fn multiply_accumulates(&self) -> u64 {
        self.nodes.iter().map(FoldedNode::entries).sum()
    }
}

impl<W> FoldedNode<W> {
    /// The linear map; `None` for other nodes.
    pub const fn linear(&self) -> Option<&Linear<W>> {
        match &self.op {
            FoldedOp::Linear(linear) => Some(linear),
            FoldedOp::Input | FoldedOp::Square { .. } => None,
        }
    }

    /// Whether the node is a linear map of weights of 1 and -1 only (see [`Linear::exact_sum`]).
    pub fn is_exact_sum(&self) -> bool {
        self.linear().is_some_and(|linear| linear.exact_sum)
    }

    /// The terms of a linear map; none for other nodes.
    pub fn terms(&self) -> &[Term<W>] {
        self.linear().map_or(&[], |linear| &linear.terms)
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

    /// Whether the node reads another one.
    pub fn reads(&self, node: usize) -> bool {
        self.sources().any(|source| source == node)
    }

    /// Number of matrix entries, diagonals not included.
    pub(crate) fn entries(&self) -> u64 {
        let tiles = self.terms().iter().flat_map(Term::tiles);
        tiles.map(|tile| tile.weights.len() as u64).sum()
    }
}

/// What a folded node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum FoldedOp<W = f64> {
    /// The prepared image, channel-first.
    Input,
    /// A sum of terms and a bias.
    Linear(Linear<W>),
    /// `x (x + shift)`.
    Square {
        /// The node `x`.
        source: usize,
        /// One value per element.
        shift: Vec<f64>,
    },
}

/// Sum of the terms, plus the bias; the weights of tiles count `weight / weight_scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear<W = f64> {
    /// What is added up; an output that no term names is its bias alone.
    pub terms: Vec<Term<W>>,
    /// One value per element.
    pub bias: Vec<f64>,
    /// Every weight is 1 or -1 (pooling): the map costs no scale.
    pub exact_sum: bool,
    /// Integer weights are `round(weight * weight_scale)`; 1 before quantizing, for an exact sum, and without tiles.
    pub weight_scale: f64,
}

impl Linear {
    /// A map of weights that are not all 1 or -1.
    pub(crate) const fn new(terms: Vec<Term>, bias: Vec<f64>) -> Self {
        Self {
            terms,
            bias,
            exact_sum: false,
            weight_scale: 1.0,
        }
    }
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

    /// The tiles of a matrix; none of a diagonal.
    pub fn tiles(&self) -> &[Tile<W>] {
        match self {
            Self::Tiles { tiles, .. } => tiles,
            Self::Diagonal { .. } => &[],
        }
    }
}

/// A dense block of a matrix with weights of type `W`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile<W = f64> {
    /// Rows: elements of the node.
    pub outputs: Vec<u32>,
    /// Columns: elements of the source.
    pub inputs: Vec<u32>,
    /// `outputs` x `inputs`, row major.
    pub weights: Vec<W>,
}

impl<W> Tile<W> {
    /// Every output with its weights.
    pub fn rows(&self) -> impl Iterator<Item = (usize, &[W])> {
        let outputs = self.outputs.iter().map(|&output| output as usize);
        outputs.zip(self.weights.chunks_exact(self.inputs.len().max(1)))
    }

    /// Every output with its weights, which may be changed; and the inputs.
    pub(crate) fn rows_mut(&mut self) -> (impl Iterator<Item = (usize, &mut [W])>, &[u32]) {
        let outputs = self.outputs.iter().map(|&output| output as usize);
        let rows = self.weights.chunks_exact_mut(self.inputs.len().max(1));
        (outputs.zip(rows), &self.inputs)
    }
}
