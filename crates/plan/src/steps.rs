//! The steps of a plan: a straight line of operations on feature maps.

use serde::{Deserialize, Serialize};
use sordino_ring::linear::LinearMap;

/// Most elements of a feature map.
pub(crate) const MAX_ELEMENTS: usize = 1 << 22;

/// One operation of a plan; its index is the name of the value that it makes. Step 0 is the input.
///
/// Serialized, a step is its description in a plan's metadata: weights, biases, shifts and factors are left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Name of the folded node that this step belongs to.
    pub name: String,
    /// The operation.
    pub operation: Operation,
    /// Elements of the result; element-wise also its ciphertexts.
    pub elements: usize,
    /// Ciphertext components of the result: 2, or 3 before relinearization.
    pub components: usize,
    /// Limbs of the result; its level is one less.
    pub limbs: usize,
    /// Scale of the result.
    pub scale: f64,
    /// Expected difference between a value and that of the clear engine: rms over elements and images, in the value's own
    /// units. Known for element-wise plans only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rms_noise: Option<f64>,
    /// Estimated seconds for one block, by the cost table that the plan was compiled with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The operation of a step. `source` is always the index of an earlier step.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Operation {
    /// The fresh ciphertexts of a request.
    Input,
    /// Sum of terms plus a bias: an affine map. Sources with more limbs than the result are cut to its limbs first.
    Linear {
        /// The summands.
        terms: Vec<Term>,
        /// One integer per element, at the scale of the result.
        #[serde(skip)]
        bias: Vec<i128>,
    },
    /// x·(x + r) for each element, r an integer at the scale of x. Squares the scale.
    Square {
        /// Two components.
        source: usize,
        /// r, one integer per element.
        #[serde(skip)]
        shift: Vec<i128>,
    },
    /// From three components to two.
    Relinearize {
        /// Three components.
        source: usize,
    },
    /// Division by the last primes of the chain.
    Rescale {
        /// Any number of components.
        source: usize,
        /// How many primes are dropped, rounded once.
        primes: usize,
    },
}

/// One term of a [`Operation::Linear`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Term {
    /// A whole-layer product with integer weights.
    Product {
        /// The value multiplied.
        source: usize,
        /// Integer weights.
        #[serde(flatten, with = "description")]
        map: LinearMap,
        /// One unit of real weight as an integer.
        weight_scale: f64,
    },
    /// Each element times its own integer: a residual branch.
    Scaled {
        /// The value scaled; it may have more or fewer elements than the result.
        source: usize,
        /// One factor per element of the result, 0 for those that the source lacks.
        #[serde(skip)]
        factors: Vec<i64>,
    },
}

/// A matrix without its weights, as metadata has it; its rows are the elements of the step.
mod description {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use sordino_ring::linear::{LinearMap, WeightWidth};

    #[derive(Serialize, Deserialize)]
    struct Description {
        inputs: usize,
        wide: bool,
    }

    pub(super) fn serialize<S: Serializer>(map: &LinearMap, to: S) -> Result<S::Ok, S::Error> {
        let wide = map.weight_width() == WeightWidth::Sixteen;
        let inputs = map.input_rows();
        Description { inputs, wide }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<LinearMap, D::Error> {
        let Description { inputs, wide } = Description::deserialize(from)?;
        let width = match wide {
            true => WeightWidth::Sixteen,
            false => WeightWidth::Eight,
        };
        LinearMap::new(inputs, 0, width, Vec::new()).map_err(D::Error::custom)
    }
}

impl Term {
    /// The value that the term reads.
    pub fn source(&self) -> usize {
        match self {
            Term::Product { source, .. } | Term::Scaled { source, .. } => *source,
        }
    }

    /// The integer matrix of a product; `None` for a residual branch.
    pub fn map(&self) -> Option<&LinearMap> {
        match self {
            Term::Product { map, .. } => Some(map),
            Term::Scaled { .. } => None,
        }
    }

    /// Multiply-accumulates per slot.
    fn multiply_accumulates(&self) -> u64 {
        match self {
            Term::Product { map, .. } => map.multiply_accumulates(),
            Term::Scaled { factors, .. } => factors.len() as u64,
        }
    }
}

impl Operation {
    /// The values that the operation reads.
    pub fn sources(&self) -> Vec<usize> {
        match self {
            Operation::Input => vec![],
            Operation::Linear { terms, .. } => terms.iter().map(Term::source).collect(),
            Operation::Square { source, .. }
            | Operation::Relinearize { source }
            | Operation::Rescale { source, .. } => vec![*source],
        }
    }

    /// Gives the values that the operation reads other indices.
    pub(crate) fn rename_sources(&mut self, index: impl Fn(usize) -> usize) {
        match self {
            Operation::Input => {}
            Operation::Linear { terms, .. } => {
                for term in terms {
                    let (Term::Product { source, .. } | Term::Scaled { source, .. }) = term;
                    *source = index(*source);
                }
            }
            Operation::Square { source, .. }
            | Operation::Relinearize { source }
            | Operation::Rescale { source, .. } => *source = index(*source),
        }
    }

    /// The operation's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Operation::Input => "input",
            Operation::Linear { .. } => "linear",
            Operation::Square { .. } => "square",
            Operation::Relinearize { .. } => "relinearize",
            Operation::Rescale { .. } => "rescale",
        }
    }
}

impl Step {
    /// −log2 of [`rms_noise`](Self::rms_noise).
    pub fn predicted_bits(&self) -> Option<f64> {
        self.rms_noise.map(|noise| -noise.log2())
    }

    /// The terms of a linear step; none for other steps.
    pub fn terms(&self) -> &[Term] {
        match &self.operation {
            Operation::Linear { terms, .. } => terms,
            _ => &[],
        }
    }

    /// Whether the step makes every element from the same element of its only source: a square, a rescale, a relinearization.
    pub fn is_row_local(&self) -> bool {
        !matches!(self.operation, Operation::Input | Operation::Linear { .. })
    }

    /// Multiply-accumulates per slot: the weights of all terms.
    pub fn multiply_accumulates(&self) -> u64 {
        self.terms().iter().map(Term::multiply_accumulates).sum()
    }

    /// The integer matrices of the step.
    pub fn maps(&self) -> impl Iterator<Item = &LinearMap> {
        self.terms().iter().filter_map(Term::map)
    }
}

/// The steps but the last whose value no step reads: the reply has them besides the logits.
pub fn unread(steps: &[Step]) -> Vec<usize> {
    let last_reader = last_readers(steps);
    let before_last = 0..steps.len().saturating_sub(1);
    before_last
        .filter(|&step| last_reader[step] == step)
        .collect()
}

/// For every step, the last step that reads its value; the value is freed after it. The last step is read by the reply.
pub fn last_readers(steps: &[Step]) -> Vec<usize> {
    let mut last: Vec<usize> = (0..steps.len()).collect();
    for (reader, step) in steps.iter().enumerate() {
        for source in step.operation.sources() {
            last[source] = reader;
        }
    }
    last
}
