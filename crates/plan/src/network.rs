//! What the planner needs to know of a folded network: kinds, ranges, sensitivities and weight scales.

use sordino_graph::{Calibration, Folded, FoldedOp, Term};

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
    /// Multiply-accumulates a slot.
    pub macs: u64,
    /// Largest calibrated magnitude.
    pub max_abs: f64,
    /// Largest |r| of a square, else 0.
    pub max_shift: f64,
    /// What one unit of weight is as an integer; 1 where there are no weights.
    pub weight_scale: f64,
    /// Largest |weight| of the product terms (of the diagonal terms where there is no product).
    pub max_weight: f64,
    /// Mean over elements of E[x²].
    pub mean_square: f64,
    /// Whether weights take two passes of the kernel.
    pub wide: bool,
    /// Mean over elements of the sum over inputs of E[x²]: what uniform weight rounding is multiplied by.
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
    /// What errors of logits are measured by: the largest calibrated logit, but for a hundredth of the images if that is known.
    pub usual_logit: f64,
    /// Tolerated rms logit error of weight rounding, relative to it.
    pub weight_error: f64,
}

impl Network {
    pub(crate) fn new(folded: &Folded, calibration: &Calibration) -> Result<Self, Error> {
        let mut nodes = Vec::with_capacity(folded.nodes.len());
        let mut readers = vec![Vec::new(); folded.nodes.len()];
        let mut follows_square = vec![false; folded.nodes.len()];
        for (index, node) in folded.nodes.iter().enumerate() {
            let statistics = statistics_of(calibration, index, &node.name, node.elements)?;
            let mut info = NodeInfo {
                name: node.name.clone(),
                kind: NodeKind::Input,
                elements: node.elements,
                macs: 0,
                max_abs: statistics.max_abs.max(f64::MIN_POSITIVE),
                max_shift: 0.0,
                weight_scale: 1.0,
                max_weight: 0.0,
                mean_square: mean(&statistics.mean_square),
                wide: false,
                input_energy: 0.0,
                gains: statistics.sensitivity.clone(),
            };
            match &node.op {
                FoldedOp::Input => {}
                FoldedOp::Square { source, shift } => {
                    info.kind = NodeKind::Square { source: *source };
                    info.max_shift = shift.iter().fold(0.0, |m: f64, r| m.max(r.abs()));
                    readers[*source].push(index);
                    follows_square[index] = true;
                }
                FoldedOp::Linear {
                    terms, exact_sum, ..
                } => {
                    describe_linear(&mut info, terms, *exact_sum, calibration);
                    let NodeKind::Linear { sources, .. } = &info.kind else {
                        unreachable!("just set")
                    };
                    for &source in sources {
                        readers[source].push(index);
                        follows_square[index] |= follows_square[source];
                    }
                }
            }
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

    /// Whether any square stands before the node.
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

fn statistics_of<'a>(
    calibration: &'a Calibration,
    index: usize,
    name: &str,
    elements: usize,
) -> Result<&'a sordino_graph::FoldedStatistics, Error> {
    let stale = |detail: String| Error::StaleRanges {
        node: name.to_owned(),
        detail,
    };
    let statistics = calibration
        .folded
        .get(index)
        .ok_or_else(|| stale("missing".into()))?;
    if statistics.name != name {
        return Err(stale(format!("found \"{}\" in its place", statistics.name)));
    }
    if statistics.mean_square.len() != elements {
        return Err(stale(format!(
            "{elements} elements expected, {} recorded",
            statistics.mean_square.len()
        )));
    }
    if statistics.sensitivity.is_empty() {
        return Err(stale("no sensitivities recorded".into()));
    }
    Ok(statistics)
}

/// The terms with matrix products before residual branches: the first one sets the scale of the sum.
fn products_first(terms: &[Term]) -> impl Iterator<Item = &Term> {
    let is_product = |term: &&Term| matches!(term, Term::Tiles { .. });
    terms
        .iter()
        .filter(is_product)
        .chain(terms.iter().filter(move |term| !is_product(term)))
}

fn describe_linear(info: &mut NodeInfo, terms: &[Term], exact: bool, calibration: &Calibration) {
    let mut sources = Vec::new();
    let mut diagonal_max = 0.0f64;
    let mut energy = 0.0;
    for term in products_first(terms) {
        match term {
            Term::Tiles { source, tiles } => {
                sources.push(*source);
                let squares = &calibration.folded[*source].mean_square;
                for tile in tiles {
                    info.macs += tile.weights.len() as u64;
                    info.max_weight = tile
                        .weights
                        .iter()
                        .fold(info.max_weight, |m, w| m.max(w.abs()));
                    let inputs: f64 = tile
                        .inputs
                        .iter()
                        .map(|&i| f64::from(squares[i as usize]))
                        .sum();
                    energy += inputs * tile.outputs.len() as f64;
                }
            }
            Term::Diagonal { source, factors } => {
                sources.push(*source);
                info.macs += factors.len() as u64;
                diagonal_max = factors.iter().fold(diagonal_max, |m, w| m.max(w.abs()));
            }
        }
    }
    if info.max_weight == 0.0 {
        info.max_weight = diagonal_max;
    }
    info.input_energy = if exact {
        0.0
    } else {
        energy / info.elements as f64
    };
    let is_product = |term: &&Term| matches!(term, Term::Tiles { .. });
    info.kind = NodeKind::Linear {
        sources,
        products: terms.iter().filter(is_product).count(),
        exact,
    };
}
