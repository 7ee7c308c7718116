//! A network under training: steps, parameters as plain numbers, running statistics.
//!
//! Steps refer to parameters and statistics by number, so that the optimizer, clipping, projection and checkpoints are
//! a few plain loops over lists.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use sordino_graph::{Function, Granularity, Shape};
use std::sync::Arc;

use crate::TrainConfig;
use crate::kernel::{Layout, Window};

/// Least-squares fit of ReLU by a quadratic `(a, b, c)` under a standard normal: a = c = 1/(2 sqrt(2 pi)), b = 1/2.
pub const RELU_FIT: [f32; 3] = [0.199_471_14, 0.5, 0.199_471_14];

/// Epsilon of every batch normalization.
pub(crate) const EPSILON: f64 = 1e-5;

/// Bound of `|b|` of a quadratic `a x^2 + b x + c` under training.
///
/// `a` is projected onto [`TrainConfig::curvature`] after every optimizer step, so it never nears 0 and never changes
/// sign: folding divides by its root, and the pre-activation's shift is `b / sqrt(a)`, which the bound of `b` limits
/// too. A fixed sign costs nothing in front of a linear layer, which can negate the whole activation.
pub const SLOPE_BOUND: f32 = 1.0;

/// The role of a parameter: it decides decay, clipping and projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Weights, with the number of outputs (rows of the layer's matrix).
    Weight {
        outputs: usize,
    },
    Bias,
    Gamma,
    Beta,
    A,
    B,
    C,
}

/// A parameter of a step, named after it and the role.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Convolutions OIHW, dense layers `[inputs][outputs]`, quadratics `[1]`, `[C]` or `[elements]`.
    pub(crate) values: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) mean: Vec<f32>,
    pub(crate) variance: Vec<f32>,
}

impl Statistics {
    /// Mean 0 and this variance in every channel.
    pub(crate) fn constant(channels: usize, variance: f32) -> Self {
        Self {
            mean: vec![0.0; channels],
            variance: vec![variance; channels],
        }
    }

    /// Adds a share of a batch's statistics.
    pub(crate) fn add(&mut self, batch: &Self, share: f32) {
        let means = self.mean.iter_mut().zip(&batch.mean);
        let variances = self.variance.iter_mut().zip(&batch.variance);
        means
            .chain(variances)
            .for_each(|(sum, value)| *sum += share * value);
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) kind: StepKind,
    /// The steps whose values it reads, all earlier.
    pub(crate) inputs: Vec<usize>,
    /// Shape of what comes out.
    pub(crate) shape: Shape,
}

/// What a step does; numbers named after parameters and statistics index the network's lists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StepKind {
    /// The prepared images: the first step and no other.
    Input,
    /// A convolution, or without a window a dense layer.
    Linear {
        weight: usize,
        bias: Option<usize>,
        window: Option<Window>,
    },
    /// A convolution in groups, with dilation or with unlike padding.
    Sliding {
        weight: usize,
        bias: Option<usize>,
        layout: Layout,
    },
    AveragePool(Window),
    /// A pool with padding or dilation; the maximum is a teacher's.
    Pool {
        layout: Layout,
        maximum: bool,
    },
    /// Elements in a new order, -1 for 0.
    Select(Arc<Vec<i32>>),
    /// A factor and an offset that are not trained.
    Affine {
        granularity: Granularity,
        factor: Arc<Vec<f32>>,
        offset: Arc<Vec<f32>>,
    },
    Concat,
    Flatten,
    /// The sum of the inputs, each times its factor; no factors are all 1.
    Add {
        factors: Vec<f32>,
    },
    Normalize(Normalization),
}

/// Batch normalization and the activation behind it, which has the step's name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Normalization {
    pub(crate) name: String,
    pub(crate) gamma: usize,
    pub(crate) beta: usize,
    pub(crate) statistics: usize,
    /// Statistics, factor and offset stay as they are.
    pub(crate) frozen: bool,
    pub(crate) activation: Activated,
    /// Whether ReLU may be mixed into a quadratic: not where it stands for a function of another shape.
    pub(crate) blends: bool,
}

/// The activation behind a normalization.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Activated {
    /// None.
    Not,
    Relu,
    /// Any other function: of a teacher.
    Teacher(Function),
    Quadratic {
        granularity: Granularity,
        /// The numbers of a, b and c.
        coefficients: [usize; 3],
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Network {
    pub(crate) steps: Vec<Step>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) statistics: Vec<Statistics>,
}

impl Network {
    /// Adds a parameter of a step, and numbers it.
    pub(crate) fn parameter(&mut self, step: &str, role: Role, values: Vec<f32>) -> usize {
        let suffix = match role {
            Role::Weight { .. } => "weight",
            Role::Bias => "bias",
            Role::Gamma => "gamma",
            Role::Beta => "beta",
            Role::A => "a",
            Role::B => "b",
            Role::C => "c",
        };
        self.parameters.push(Parameter {
            name: format!("{step}.{suffix}"),
            role,
            values,
        });
        self.parameters.len() - 1
    }

    /// Adds the parameters of a batch normalization without an activation.
    pub(crate) fn normalization(
        &mut self,
        name: String,
        gamma: Vec<f32>,
        beta: Vec<f32>,
        statistics: Statistics,
    ) -> Normalization {
        self.statistics.push(statistics);
        Normalization {
            gamma: self.parameter(&name, Role::Gamma, gamma),
            beta: self.parameter(&name, Role::Beta, beta),
            statistics: self.statistics.len() - 1,
            frozen: false,
            activation: Activated::Not,
            blends: true,
            name,
        }
    }

    /// Adds a batch normalization without an activation that changes nothing and stays so.
    pub(crate) fn no_normalization(&mut self, name: String, channels: usize) -> Normalization {
        let statistics = Statistics::constant(channels, (1.0 - EPSILON) as f32);
        let (gamma, beta) = (vec![1.0; channels], vec![0.0; channels]);
        Normalization {
            frozen: true,
            ..self.normalization(name, gamma, beta, statistics)
        }
    }

    /// Whether a batch normalization changes nothing and stays so.
    pub(crate) fn is_without_effect(&self, normalization: &Normalization) -> bool {
        let channels = self.values(normalization.gamma).len();
        let same =
            |parameter: usize, value: f32| self.values(parameter).iter().all(|v| *v == value);
        normalization.frozen
            && same(normalization.gamma, 1.0)
            && same(normalization.beta, 0.0)
            && self.statistics[normalization.statistics]
                == Statistics::constant(channels, (1.0 - EPSILON) as f32)
    }

    /// Normalizes values `[images][elements]` with the recorded statistics.
    pub(crate) fn apply_affine(
        &self,
        normalization: &Normalization,
        shape: Shape,
        values: &mut [f32],
    ) {
        let statistics = &self.statistics[normalization.statistics];
        let (gamma, beta) = (
            self.values(normalization.gamma),
            self.values(normalization.beta),
        );
        for (index, plane) in values
            .chunks_exact_mut(shape.channel_elements())
            .enumerate()
        {
            let channel = index % shape.channels();
            let deviation = (f64::from(statistics.variance[channel]) + EPSILON).sqrt() as f32;
            let scale = gamma[channel] * (1.0 / deviation);
            let shift = beta[channel] - statistics.mean[channel] * scale;
            plane
                .iter_mut()
                .for_each(|value| *value = scale * *value + shift);
        }
    }

    /// Adds the coefficients a, b and c of a quadratic.
    pub(crate) fn quadratic(
        &mut self,
        step: &str,
        granularity: Granularity,
        [a, b, c]: [Vec<f32>; 3],
    ) -> Activated {
        let coefficients = [(Role::A, a), (Role::B, b), (Role::C, c)];
        Activated::Quadratic {
            granularity,
            coefficients: coefficients.map(|(role, values)| self.parameter(step, role, values)),
        }
    }

    /// The numbers of a parameter.
    pub(crate) fn values(&self, parameter: usize) -> &[f32] {
        &self.parameters[parameter].values
    }

    /// Number of logits.
    pub(crate) fn classes(&self) -> usize {
        self.steps.last().map_or(0, |step| step.shape.elements())
    }

    /// Shape of the first input of a step.
    pub(crate) fn input_shape(&self, step: &Step) -> Shape {
        self.steps[step.inputs[0]].shape
    }

    /// Number of trained numbers.
    pub(crate) fn parameter_count(&self) -> usize {
        self.parameters
            .iter()
            .map(|parameter| parameter.values.len())
            .sum()
    }

    /// Brings quadratic coefficients and weights back into their bounds.
    pub(crate) fn project(&mut self, config: &TrainConfig) {
        let (least, greatest) = (config.curvature.0 as f32, config.curvature.1 as f32);
        for parameter in &mut self.parameters {
            let (low, high) = match parameter.role {
                Role::A => (least, greatest),
                Role::B => (-SLOPE_BOUND, SLOPE_BOUND),
                Role::Weight { .. } => {
                    let squares: f64 = parameter
                        .values
                        .iter()
                        .map(|&w| f64::from(w) * f64::from(w))
                        .sum();
                    let bound = (config.weight_clip
                        * (squares / parameter.values.len() as f64).sqrt())
                        as f32;
                    (-bound, bound)
                }
                _ => continue,
            };
            parameter
                .values
                .iter_mut()
                .for_each(|value| *value = value.clamp(low, high));
        }
    }
}

/// A matrix with rows of length `columns`, transposed.
pub(crate) fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| values[column..].iter().step_by(columns).copied())
        .collect()
}

/// A uniform number in `[0, 1)` with 24 bits.
pub(crate) fn unit(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}
