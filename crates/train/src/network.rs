//! A network under training: steps, parameters as plain numbers, running statistics.
//!
//! Parameters live here and not in modules of the tensor library: a step hands copies to its autodiff and takes
//! gradients back, so that clipping, projection and keeping the best epoch are a few plain loops.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use sordino_graph::{Granularity, Shape};

use crate::{Architecture, Error, TrainConfig, builder};

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

/// What a parameter is, which decides decay, clipping and projection.
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

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Convolutions OIHW, dense layers `[inputs][outputs]`, quadratics `[1]`, `[C]` or `[elements]`.
    pub(crate) values: Vec<f32>,
}

impl Parameter {
    /// A parameter of a step, named after it and the role.
    pub(crate) fn new(step: &str, role: Role, values: Vec<f32>) -> Self {
        let suffix = match role {
            Role::Weight { .. } => "weight",
            Role::Bias => "bias",
            Role::Gamma => "gamma",
            Role::Beta => "beta",
            Role::A => "a",
            Role::B => "b",
            Role::C => "c",
        };
        Self {
            name: format!("{step}.{suffix}"),
            role,
            values,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) mean: Vec<f32>,
    pub(crate) variance: Vec<f32>,
}

impl Statistics {
    /// Adds a share of a batch's statistics.
    pub(crate) fn add(&mut self, mean: &[f32], variance: &[f32], share: f32) {
        for (sums, values) in [(&mut self.mean, mean), (&mut self.variance, variance)] {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += share * value;
            }
        }
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
    Convolution {
        weight: usize,
        bias: Option<usize>,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    },
    Dense {
        weight: usize,
        bias: Option<usize>,
    },
    AveragePool {
        kernel: [usize; 2],
        stride: [usize; 2],
    },
    Flatten,
    Add,
    /// Batch normalization and the activation behind it, which has the step's name.
    Normalize {
        norm: String,
        gamma: usize,
        beta: usize,
        statistics: usize,
        activation: Activated,
    },
}

/// The activation behind a normalization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activated {
    /// None.
    Not,
    Relu,
    Quadratic {
        granularity: Granularity,
        a: usize,
        b: usize,
        c: usize,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Network {
    pub(crate) steps: Vec<Step>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) statistics: Vec<Statistics>,
}

impl Network {
    /// Lays the steps out and draws the initial weights.
    pub(crate) fn new(
        architecture: &Architecture,
        input: [usize; 3],
        classes: usize,
        config: &TrainConfig,
    ) -> Result<Self, Error> {
        builder::build(architecture, input, classes, config)
    }

    /// Number of logits.
    pub(crate) fn classes(&self) -> usize {
        self.steps.last().map_or(0, |step| step.shape.elements())
    }

    /// Shape of what the only or first value is that a step reads.
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

/// A uniform number in `[0, 1)` with 24 bits.
pub(crate) fn unit(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layer, LayerList};

    fn custom(layers: Vec<Layer>) -> Architecture {
        Architecture::Custom(LayerList {
            name: "custom".to_string(),
            layers,
            training: None,
        })
    }

    #[test]
    fn cryptonets_has_the_shapes_of_its_paper() {
        let network = Network::new(
            &Architecture::CryptoNets,
            [1, 28, 28],
            10,
            &TrainConfig::default(),
        )
        .unwrap();
        let names: Vec<&str> = network
            .steps
            .iter()
            .map(|step| step.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "input", "conv1", "act1", "flatten", "dense2", "act2", "dense3"
            ]
        );
        assert_eq!(
            network.steps[2].shape,
            Shape::Map {
                channels: 5,
                height: 13,
                width: 13
            }
        );
        assert_eq!(network.steps[3].shape, Shape::Flat(845));
        let weights = 125 + 84_500 + 1_000 + 10;
        assert_eq!(
            network.parameter_count(),
            weights + 2 * 5 + 2 * 100 + 3 * 845 + 3 * 100
        );
    }

    #[test]
    fn layers_that_do_not_fit_are_refused_by_number() {
        let config = TrainConfig::default();
        let big = custom(vec![Layer::Convolution {
            channels: 2,
            kernel: 9,
            stride: 1,
            padding: 0,
        }]);
        let message = Network::new(&big, [1, 8, 8], 10, &config)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("layer 1 (convolution)") && message.contains("1x8x8"),
            "{message}"
        );
        let flat = custom(vec![
            Layer::Dense { outputs: Some(4) },
            Layer::AveragePool {
                kernel: 2,
                stride: None,
            },
        ]);
        assert!(
            Network::new(&flat, [1, 8, 8], 10, &config)
                .unwrap_err()
                .to_string()
                .contains("layer 2")
        );
        let classes = custom(vec![Layer::Dense { outputs: Some(4) }]);
        assert!(
            Network::new(&classes, [1, 8, 8], 10, &config)
                .unwrap_err()
                .to_string()
                .contains("10 outputs")
        );
        assert!(Network::new(&custom(vec![]), [1, 8, 8], 10, &config).is_err());
    }

    #[test]
    fn projection_bounds_coefficients_and_weights() {
        let config = TrainConfig {
            curvature: (0.1, 0.3),
            weight_clip: 2.0,
            ..Default::default()
        };
        let mut network = Network::new(&Architecture::Mlp, [1, 4, 4], 3, &config).unwrap();
        for parameter in &mut network.parameters {
            if matches!(parameter.role, Role::A) {
                parameter.values[0] = -1.0;
                parameter.values[1] = 7.0;
            }
        }
        network.parameters[0].values[0] = 100.0;
        network.project(&config);
        let a = network
            .parameters
            .iter()
            .find(|parameter| parameter.role == Role::A)
            .unwrap();
        assert_eq!(a.values[..3], [0.1, 0.3, RELU_FIT[0]]);
        assert!(network.parameters[0].values[0] < 10.0);
    }
}
