//! Scales, levels and places of relinearization for one candidate.
//!
//! A [`Sketch`] is a plan without integers: every operation with its scale and the number of rescale groups that were
//! dropped before it. The search draws thousands of them; the winner is drawn once more with real primes and becomes
//! the steps.

use crate::network::{Network, NodeKind};
use crate::{primes, weights};

/// Bits above the calibrated ranges that every value keeps.
pub(crate) const RANGE_MARGIN_BITS: f64 = 2.0;

/// The parameters that the search varies for one weight quantization.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub ring_degree: usize,
    /// log2 of the input's scale.
    pub log2_input_scale: f64,
    /// log2 of the scale after every rescale, to half a bit.
    pub log2_scale: f64,
    /// Whether the linear layers before the first activation are rescaled too.
    pub rescale_first: bool,
    /// By folded node, for squares that are relinearized.
    pub places: Vec<Option<Place>>,
}

/// Where a square is relinearized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At once, or after its pooling.
    BeforeLayer,
    /// After the next layer, before that is rescaled.
    AfterLayer,
    /// After the next layer is rescaled: with the fewest limbs, and the noise of rounding three components.
    AfterRescale,
}

impl Place {
    pub(crate) const ALL: [Self; 3] = [Self::BeforeLayer, Self::AfterLayer, Self::AfterRescale];
}

impl Choice {
    /// How many squares are relinearized in a place.
    pub(crate) fn count(&self, place: Place) -> usize {
        self.places
            .iter()
            .filter(|&&found| found == Some(place))
            .count()
    }
}

/// The kind of a sketched operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SketchKind {
    Input,
    Linear,
    Square,
    Relinearize,
    Rescale,
}

/// One operation of a sketch.
#[derive(Clone, Debug)]
pub(crate) struct SketchOperation {
    pub kind: SketchKind,
    /// Folded node it belongs to.
    pub node: usize,
    /// Sketch operations read; for a linear node in the order of its terms.
    pub sources: Vec<usize>,
    pub components: usize,
    /// Rescale groups dropped from this value.
    pub dropped: usize,
    pub scale: f64,
}

/// A candidate plan without integers.
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    pub ring_degree: usize,
    pub operations: Vec<SketchOperation>,
    /// Divisor of each rescale group, first dropped first.
    pub divisors: Vec<f64>,
    /// log2 of the modulus that must be left when all groups are dropped.
    pub base_bits: f64,
}

impl Sketch {
    /// Whether the weights of all products of a sum are integers of 16 bits: those of a value whose scale is far below that of the
    /// others have to make up for it.
    pub(crate) fn branches_fit(&self, network: &Network) -> bool {
        let mut linear = self
            .operations
            .iter()
            .filter(|op| op.kind == SketchKind::Linear);
        linear.all(|operation| {
            let info = &network.nodes[operation.node];
            let NodeKind::Linear { products, .. } = info.kind else {
                return true;
            };
            let sources = operation.sources.iter().take(products);
            let scales = sources.map(|&source| self.operations[source].scale);
            let most = info.max_weight * operation.scale / scales.fold(f64::INFINITY, f64::min);
            products < 2 || most <= weights::largest(weights::WIDE_BITS)
        })
    }

    /// Draws the candidate; `divisors` are the real ones once primes are chosen, else the ideal ones are used.
    pub(crate) fn draw(network: &Network, choice: &Choice, divisors: Option<&[f64]>) -> Sketch {
        let draft = match divisors {
            None => Draft::drawn(network, choice, None),
            Some(divisors) => {
                // The real divisors move the scales a little, but no rescale.
                let ideal = Draft::drawn(network, choice, None);
                Draft::drawn(network, choice, Some((divisors, ideal.rescaled)))
            }
        };
        Sketch {
            ring_degree: choice.ring_degree,
            base_bits: base_bits(network, &draft.operations, &draft.divisors),
            operations: draft.operations,
            divisors: draft.divisors,
        }
    }

    /// Whether any operation needs the evaluation key.
    pub(crate) fn relinearizes(&self) -> bool {
        self.operations
            .iter()
            .any(|op| op.kind == SketchKind::Relinearize)
    }

    /// log2 of the modulus of ciphertexts as uploaded.
    pub(crate) fn log2_q(&self) -> f64 {
        self.base_bits + self.divisors.iter().map(|d| d.log2()).sum::<f64>()
    }
}

/// Modulus needed at the end so that every value fits at its own level, with sign and margin.
fn base_bits(network: &Network, operations: &[SketchOperation], divisors: &[f64]) -> f64 {
    let needed = operations.iter().map(|op| {
        let left = divisors[op.dropped.min(divisors.len())..].iter();
        let left: f64 = left.map(|d| d.log2()).sum();
        (op.scale * network.nodes[op.node].max_abs).log2() + RANGE_MARGIN_BITS + 1.0 - left
    });
    needed.fold(0.0, f64::max)
}

struct Draft<'a> {
    network: &'a Network,
    choice: &'a Choice,
    /// With real divisors: which folded nodes are rescaled.
    fixed: Option<Vec<bool>>,
    operations: Vec<SketchOperation>,
    divisors: Vec<f64>,
    /// Folded node → operation that holds its value.
    value: Vec<usize>,
    /// Folded node → whether its value was rescaled.
    rescaled: Vec<bool>,
}

impl<'a> Draft<'a> {
    /// All nodes; `fixed` has real divisors and says which nodes are rescaled.
    fn drawn(network: &'a Network, choice: &'a Choice, fixed: Option<(&[f64], Vec<bool>)>) -> Self {
        let (divisors, fixed) = fixed.unzip();
        let mut draft = Draft {
            network,
            choice,
            fixed,
            operations: Vec::new(),
            divisors: divisors.map(<[f64]>::to_vec).unwrap_or_default(),
            value: Vec::new(),
            rescaled: vec![false; network.nodes.len()],
        };
        (0..network.nodes.len()).for_each(|node| draft.node(node));
        draft
    }

    fn push(&mut self, operation: SketchOperation) -> usize {
        self.operations.push(operation);
        self.operations.len() - 1
    }

    fn node(&mut self, node: usize) {
        let value = match &self.network.nodes[node].kind {
            NodeKind::Input => self.push(SketchOperation {
                kind: SketchKind::Input,
                node,
                sources: vec![],
                components: 2,
                dropped: 0,
                scale: self.choice.log2_input_scale.exp2(),
            }),
            NodeKind::Square { source } => self.square(node, *source),
            NodeKind::Linear { sources, .. } => self.linear(node, &sources.clone()),
        };
        self.value.push(value);
    }

    fn square(&mut self, node: usize, source: usize) -> usize {
        let source = self.two_components(self.value[source]);
        let SketchOperation { dropped, scale, .. } = self.operations[source];
        let value = self.push(SketchOperation {
            kind: SketchKind::Square,
            node,
            sources: vec![source],
            components: 3,
            dropped,
            scale: scale * scale,
        });
        let pooled = self.network.sole_reader_is_pooling(node);
        match self.choice.places[node] == Some(Place::BeforeLayer) && !pooled {
            true => self.two_components(value),
            false => value,
        }
    }

    fn linear(&mut self, node: usize, sources: &[usize]) -> usize {
        let info = &self.network.nodes[node];
        let NodeKind::Linear {
            exact, products, ..
        } = info.kind
        else {
            unreachable!("called for linear nodes only")
        };
        let mut read: Vec<usize> = sources.iter().map(|&s| self.value[s]).collect();
        // Branches are added component by component: bring them to two where they differ.
        let counts = || read.iter().map(|&v| self.operations[v].components);
        if counts().min() != counts().max() {
            for (&source, value) in sources.iter().zip(&mut read) {
                *value = self.two_components(*value);
                self.value[source] = *value;
            }
        }
        let values = || read.iter().map(|&value| &self.operations[value]);
        let components = values().map(|value| value.components).max().unwrap_or(2);
        let dropped = values().map(|value| value.dropped).max().unwrap_or(0);
        // The product of the value with the largest scale has the planned integer weights; those of the others are finer.
        let scales = values().take(products.max(1)).map(|value| value.scale);
        let scale = scales.fold(0.0, f64::max) * info.weight_scale;
        let mut value = self.push(SketchOperation {
            kind: SketchKind::Linear,
            node,
            sources: read,
            components,
            dropped,
            scale,
        });
        if exact {
            return match self.all_in(sources, Place::BeforeLayer) {
                true => self.two_components(value),
                false => value,
            };
        }
        let last = node + 1 == self.network.nodes.len();
        let before_first_activation = !self.network.follows_square(node);
        if last || (before_first_activation && !self.choice.rescale_first) {
            return value;
        }
        // A whole number of bits, as primes stand just below powers of two; the scale follows.
        let bits = (scale.log2() - self.choice.log2_scale).round().max(0.0);
        self.rescaled[node] = match &self.fixed {
            Some(rescaled) => rescaled[node],
            None => self.fills_a_prime(bits) && !self.is_rescaled_by_readers(node),
        };
        if !self.rescaled[node] {
            return value;
        }
        if !self.all_in(sources, Place::AfterRescale) {
            value = self.two_components(value);
        }
        if self.fixed.is_none() && self.divisors.len() == dropped {
            self.divisors.push(bits.exp2());
        }
        let divisor = self.divisors[dropped];
        let source = self.operations[value].clone();
        value = self.push(SketchOperation {
            kind: SketchKind::Rescale,
            sources: vec![value],
            dropped: dropped + 1,
            scale: source.scale / divisor,
            ..source
        });
        self.two_components(value)
    }

    /// Whether all of these squares, and squares that these nodes pool, are relinearized in a place.
    fn all_in(&self, nodes: &[usize], place: Place) -> bool {
        nodes
            .iter()
            .all(|&node| match &self.network.nodes[node].kind {
                NodeKind::Square { .. } => self.choice.places[node] == Some(place),
                NodeKind::Linear {
                    sources,
                    exact: true,
                    ..
                } => self.all_in(sources, place),
                NodeKind::Linear { .. } | NodeKind::Input => false,
            })
    }

    /// Whether there are primes that divide by so many bits. Those of the weights alone are too few: a linear layer that reads a
    /// linear layer is not rescaled if that one is.
    fn fills_a_prime(&self, bits: f64) -> bool {
        bits >= f64::from(primes::min_prime_bits(self.choice.ring_degree))
    }

    /// Whether a linear node is left to the rescales of its readers: linear layers that could not be rescaled after it. That takes
    /// fewer bits than rescaling it and not them.
    fn is_rescaled_by_readers(&self, node: usize) -> bool {
        let readers = self.network.readers(node);
        !readers.is_empty()
            && readers.iter().all(|&reader| {
                let info = &self.network.nodes[reader];
                let NodeKind::Linear { sources, exact, .. } = &info.kind else {
                    return false;
                };
                let last = reader + 1 == self.network.nodes.len();
                !last
                    && !exact
                    && sources.len() == 1
                    && !self.fills_a_prime(info.weight_scale.log2())
            })
    }

    fn two_components(&mut self, value: usize) -> usize {
        if self.operations[value].components == 2 {
            return value;
        }
        self.push(SketchOperation {
            kind: SketchKind::Relinearize,
            sources: vec![value],
            components: 2,
            ..self.operations[value].clone()
        })
    }
}
