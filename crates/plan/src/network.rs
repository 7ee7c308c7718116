//! What the planner needs to know about a folded network: kinds, ranges, sensitivities and weight scales.

use sordino_graph::{Calibration, Folded, FoldedNode, FoldedOp, FoldedStatistics, Linear, Term};

use crate::Error;

/// Kind of a folded node, without its weights.
#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    Input,
    Linear {
        /// Node read by each term, products first.
        sources: Vec<usize>,
        /// How many of the terms are products.
        products: usize,
        /// All weights are ±1: a pooling sum, which costs no scale.
        exact: bool,
    },
    Square {
        source: usize,
    },
}

/// One folded node as the planner sees it.
#[derive(Clone, Debug)]
pub(crate) struct NodeInfo {
    pub name: String,
    pub kind: NodeKind,
    pub elements: usize,
    /// Multiply-accumulates per slot.
    pub macs: u64,
    /// Largest calibrated magnitude.
    pub max_abs: f64,
    /// One unit of weight as an integer; 1 where there are no weights.
    pub weight_scale: f64,
    /// Largest |weight| of the product terms (of the diagonal terms where there is no product).
    pub max_weight: f64,
    /// Mean over elements of E[x²].
    pub mean_square: f64,
    /// Whether weights take two passes of the kernel.
    pub wide: bool,
    /// Mean over elements of the sum over inputs of E[x²]: the factor of uniform weight rounding.
    pub input_energy: f64,
    /// Distribution of Σ_f (∂logit/∂value_f)² over images and logits: (weight, value).
    pub gains: Vec<(f64, f64)>,
}

/// The planner's view of a folded network; the last node is the logits.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub nodes: Vec<NodeInfo>,
    readers: Vec<Vec<usize>>,
    follows_square: Vec<bool>,
    /// The unit for errors of logits: the largest calibrated logit, without a hundredth of the images if that is known.
    pub usual_logit: f64,
    /// Tolerated rms logit error of weight rounding, relative to the usual logit.
    pub weight_error: f64,
}

impl Network {
    pub(crate) fn new(folded: &Folded, calibration: &Calibration) -> Result<Self, Error> {
        let mut nodes = Vec::with_capacity(folded.nodes.len());
        let mut readers = vec![Vec::new(); folded.nodes.len()];
        let mut follows_square = vec![false; folded.nodes.len()];
        for (index, node) in folded.nodes.iter().enumerate() {
            let statistics = statistics_of(calibration, index, node)?;
            let mut info = NodeInfo {
                name: node.name.clone(),
                kind: NodeKind::Input,
                elements: node.elements,
                macs: 0,
                max_abs: statistics.max_abs.max(f64::MIN_POSITIVE),
                weight_scale: 1.0,
                max_weight: 0.0,
                mean_square: mean(&statistics.mean_square),
                wide: false,
                input_energy: 0.0,
                gains: statistics.sensitivity.clone(),
            };
            match &node.op {
                FoldedOp::Input => {}
                FoldedOp::Square { source, .. } => {
                    info.kind = NodeKind::Square { source: *source };
                    follows_square[index] = true;
                }
                FoldedOp::Linear(linear) => {
                    describe_linear(&mut info, linear, calibration);
                    follows_square[index] = node.sources().any(|source| follows_square[source]);
                }
            }
            node.sources()
                .for_each(|source| readers[source].push(index));
            nodes.push(info);
        }
        let largest = nodes.last().map_or(1.0, |node| node.max_abs);
        let usual = calibration.usual_logit.filter(|&logit| logit > 0.0);
        Ok(Network {
            usual_logit: usual.unwrap_or(largest),
            nodes,
            readers,
            follows_square,
            weight_error: calibration
                .weight_error
                .unwrap_or(crate::DEFAULT_WEIGHT_ERROR),
        })
    }

    /// Whether the node follows a square.
    pub(crate) fn follows_square(&self, node: usize) -> bool {
        self.follows_square[node]
    }

    /// Nodes that read the node.
    pub(crate) fn readers(&self, node: usize) -> &[usize] {
        &self.readers[node]
    }

    /// Whether the node is read by one pooling sum and nothing else.
    pub(crate) fn sole_reader_is_pooling(&self, node: usize) -> bool {
        matches!(self.readers[node][..], [reader]
            if matches!(self.nodes[reader].kind, NodeKind::Linear { exact: true, .. }))
    }

    /// Indices of the nodes whose weights are quantized.
    pub(crate) fn weighted(&self) -> impl Iterator<Item = usize> + '_ {
        self.nodes.iter().enumerate().filter_map(|(index, node)| {
            matches!(node.kind, NodeKind::Linear { exact: false, .. }).then_some(index)
        })
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len().max(1) as f64
}

/// The statistics of a node, checked to belong to it.
fn statistics_of<'a>(
    calibration: &'a Calibration,
    index: usize,
    node: &FoldedNode,
) -> Result<&'a FoldedStatistics, Error> {
    let found = calibration.folded.get(index);
    let detail = match found {
        None => "missing".into(),
        Some(found) if found.name != node.name => format!("found \"{}\" in its place", found.name),
        Some(found) if found.mean_square.len() != node.elements => {
            let recorded = found.mean_square.len();
            format!("{} elements expected, {recorded} recorded", node.elements)
        }
        Some(found) if found.sensitivity.is_empty() => "no sensitivities recorded".into(),
        Some(found) => return Ok(found),
    };
    let node = node.name.clone();
    Err(Error::StaleRanges { node, detail })
}

/// Describes a sum of terms: products before residual branches, as the first product sets the scale of the sum.
fn describe_linear(info: &mut NodeInfo, linear: &Linear, calibration: &Calibration) {
    let is_product = |term: &&Term| matches!(term, Term::Tiles { .. });
    let (products, branches): (Vec<_>, Vec<_>) = linear.terms.iter().partition(is_product);
    let largest = |most: f64, weights: &[f64]| weights.iter().fold(most, |m, w| m.max(w.abs()));
    let (mut branch_max, mut energy) = (0.0, 0.0);
    for term in products.iter().chain(&branches) {
        match term {
            Term::Tiles { source, tiles } => {
                let squares = &calibration.folded[*source].mean_square;
                for tile in tiles {
                    info.macs += tile.weights.len() as u64;
                    info.max_weight = largest(info.max_weight, &tile.weights);
                    let inputs = tile.inputs.iter().map(|&i| f64::from(squares[i as usize]));
                    energy += inputs.sum::<f64>() * tile.outputs.len() as f64;
                }
            }
            Term::Diagonal { factors, .. } => {
                info.macs += factors.len() as u64;
                branch_max = largest(branch_max, factors);
            }
        }
    }
    if info.max_weight == 0.0 {
        info.max_weight = branch_max;
    }
    info.input_energy = match linear.exact_sum {
        true => 0.0,
        false => energy / info.elements as f64,
    };
    info.kind = NodeKind::Linear {
        sources: products
            .iter()
            .chain(&branches)
            .map(|term| term.source())
            .collect(),
        products: products.len(),
        exact: linear.exact_sum,
    };
}
