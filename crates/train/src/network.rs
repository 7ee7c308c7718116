//! A network under training: steps, parameters as plain numbers, running statistics.
//!
//! Parameters live here and not in modules of the tensor library: a step hands copies to its autodiff and takes
//! gradients back, so that clipping, projection, weight rounding and keeping the best epoch are a few plain loops.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sordino_graph::Shape;

use crate::{Activation, Architecture, Error, Layer, TrainConfig};

/// Least-squares fit of ReLU by a quadratic `(a, b, c)` under a standard normal: a = c = 1/(2 sqrt(2 pi)), b = 1/2.
pub const RELU_FIT: [f32; 3] = [0.199_471_14, 0.5, 0.199_471_14];

/// Epsilon of every batch normalization.
pub(crate) const EPSILON: f64 = 1e-5;

/// Share of a batch's statistics in the running ones.
const STATISTICS_MOMENTUM: f32 = 0.05;

/// Coefficients of quadratic activations `a x^2 + b x + c`, and how they stay where encryption is cheap.
///
/// `a` is projected onto `curvature` after every optimizer step, so it never nears 0 and never changes sign: folding
/// divides by its root, and the pre-activation's shift is `b / sqrt(a)`. A fixed sign costs nothing in front of a
/// linear layer, which can negate the whole activation. `b` is projected onto `[-1, 1]`, so the shift is bounded too.
pub struct Quadratics;

impl Quadratics {
    /// Bound of `|b|`.
    pub const SLOPE: f32 = 1.0;
}

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

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) mean: Vec<f32>,
    pub(crate) variance: Vec<f32>,
}

impl Statistics {
    pub(crate) fn update(&mut self, mean: &[f32], variance: &[f32]) {
        for (running, batch) in [(&mut self.mean, mean), (&mut self.variance, variance)] {
            for (value, batch) in running.iter_mut().zip(batch) {
                *value += STATISTICS_MOMENTUM * (batch - *value);
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) kind: StepKind,
    /// Shape of what goes in.
    pub(crate) input: Shape,
}

/// What a step does; numbers named after parameters and statistics index the network's lists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StepKind {
    Convolution {
        weight: usize,
        bias: Option<usize>,
        channels: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    },
    Dense {
        weight: usize,
        bias: Option<usize>,
        outputs: usize,
    },
    AveragePool {
        kernel: usize,
        stride: usize,
    },
    Flatten,
    BatchNorm {
        gamma: usize,
        beta: usize,
        statistics: usize,
    },
    Relu,
    Quadratic {
        granularity: Activation,
        a: usize,
        b: usize,
        c: usize,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Network {
    pub(crate) input: [usize; 3],
    pub(crate) classes: usize,
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
        let layers = architecture.layers();
        let mut builder = Builder {
            network: Self {
                input,
                classes,
                steps: vec![],
                parameters: vec![],
                statistics: vec![],
            },
            shape: Shape::Map {
                channels: input[0],
                height: input[1],
                width: input[2],
            },
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            activation: config.activation,
            counts: [0; 3],
        };
        for (index, layer) in layers.iter().enumerate() {
            let normalized = matches!(layers.get(index + 1), Some(Layer::Activation {}));
            builder.push(index, layer, normalized)?;
        }
        if !matches!(layers.last(), Some(Layer::Dense { .. }))
            || builder.shape != Shape::Flat(classes)
        {
            return Err(Error::Layer {
                layer: layers.len(),
                name: "last layer",
                expected: format!("a dense layer with {classes} outputs, one a class"),
                found: builder.shape.to_string(),
            });
        }
        Ok(builder.network)
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
                Role::B => (-Quadratics::SLOPE, Quadratics::SLOPE),
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

struct Builder {
    network: Network,
    shape: Shape,
    rng: ChaCha8Rng,
    activation: Activation,
    /// Convolutions or dense layers, activations and pools so far, for names.
    counts: [usize; 3],
}

impl Builder {
    fn push(&mut self, index: usize, layer: &Layer, normalized: bool) -> Result<(), Error> {
        let refuse = |name, expected: &str, found: String| {
            Err(Error::Layer {
                layer: index + 1,
                name,
                expected: expected.to_string(),
                found,
            })
        };
        match *layer {
            Layer::Convolution {
                channels,
                kernel,
                stride,
                padding,
            } => {
                let Shape::Map {
                    channels: inputs,
                    height,
                    width,
                } = self.shape
                else {
                    return refuse("convolution", "a feature map", self.shape.to_string());
                };
                if channels == 0 || !window_fits(height, width, kernel, stride, padding) {
                    return refuse(
                        "convolution",
                        "channels, a stride, a padding below the kernel, and a kernel no larger than the padded input",
                        format!(
                            "{channels} channels, kernel {kernel}, stride {stride}, padding {padding}, input {}",
                            self.shape
                        ),
                    );
                }
                let name = self.name(0, "conv");
                let fan_in = inputs * kernel * kernel;
                let weight = self.weight(&name, channels, fan_in);
                let bias =
                    (!normalized).then(|| self.parameter(&name, Role::Bias, vec![0.0; channels]));
                let output = Shape::Map {
                    channels,
                    height: (height + 2 * padding - kernel) / stride + 1,
                    width: (width + 2 * padding - kernel) / stride + 1,
                };
                let kind = StepKind::Convolution {
                    weight,
                    bias,
                    channels,
                    kernel,
                    stride,
                    padding,
                };
                self.step(name, kind, output);
            }
            Layer::Dense { outputs } => {
                let outputs = outputs.unwrap_or(self.network.classes);
                if outputs == 0 {
                    return refuse("dense", "at least one output", "none".to_string());
                }
                if let Shape::Map { .. } = self.shape {
                    let flat = Shape::Flat(self.shape.elements());
                    self.step("flatten".to_string(), StepKind::Flatten, flat);
                }
                let name = self.name(0, "dense");
                let weight = self.weight(&name, outputs, self.shape.elements());
                let bias =
                    (!normalized).then(|| self.parameter(&name, Role::Bias, vec![0.0; outputs]));
                self.step(
                    name,
                    StepKind::Dense {
                        weight,
                        bias,
                        outputs,
                    },
                    Shape::Flat(outputs),
                );
            }
            Layer::AveragePool { kernel, stride } => {
                let stride = stride.unwrap_or(kernel);
                let Shape::Map {
                    channels,
                    height,
                    width,
                } = self.shape
                else {
                    return refuse("average-pool", "a feature map", self.shape.to_string());
                };
                if !window_fits(height, width, kernel, stride, 0) {
                    return refuse(
                        "average-pool",
                        "a stride and a window no larger than the input",
                        format!("window {kernel}, stride {stride}, input {}", self.shape),
                    );
                }
                let name = self.name(2, "pool");
                let output = Shape::Map {
                    channels,
                    height: (height - kernel) / stride + 1,
                    width: (width - kernel) / stride + 1,
                };
                self.step(name, StepKind::AveragePool { kernel, stride }, output);
            }
            Layer::Activation {} => self.activation(),
        }
        Ok(())
    }

    fn activation(&mut self) {
        self.counts[1] += 1;
        let (norm, name) = (
            format!("norm{}", self.counts[1]),
            format!("act{}", self.counts[1]),
        );
        let channels = self.shape.channels();
        let gamma = self.parameter(&norm, Role::Gamma, vec![1.0; channels]);
        let beta = self.parameter(&norm, Role::Beta, vec![0.0; channels]);
        let statistics = self.network.statistics.len();
        self.network.statistics.push(Statistics {
            mean: vec![0.0; channels],
            variance: vec![1.0; channels],
        });
        self.step(
            norm,
            StepKind::BatchNorm {
                gamma,
                beta,
                statistics,
            },
            self.shape,
        );
        let shared = match self.activation {
            Activation::Relu => return self.step(name, StepKind::Relu, self.shape),
            Activation::Layer => 1,
            Activation::Channel => channels,
            Activation::Element => self.shape.elements(),
        };
        let [a, b, c] = [Role::A, Role::B, Role::C].map(|role| {
            let start = match role {
                Role::A => RELU_FIT[0],
                Role::B => RELU_FIT[1],
                _ => RELU_FIT[2],
            };
            self.parameter(&name, role, vec![start; shared])
        });
        self.step(
            name,
            StepKind::Quadratic {
                granularity: self.activation,
                a,
                b,
                c,
            },
            self.shape,
        );
    }

    fn name(&mut self, counter: usize, kind: &str) -> String {
        self.counts[counter] += 1;
        format!("{kind}{}", self.counts[counter])
    }

    fn step(&mut self, name: String, kind: StepKind, output: Shape) {
        self.network.steps.push(Step {
            name,
            kind,
            input: self.shape,
        });
        self.shape = output;
    }

    fn parameter(&mut self, step: &str, role: Role, values: Vec<f32>) -> usize {
        let suffix = match role {
            Role::Weight { .. } => "weight",
            Role::Bias => "bias",
            Role::Gamma => "gamma",
            Role::Beta => "beta",
            Role::A => "a",
            Role::B => "b",
            Role::C => "c",
        };
        self.network.parameters.push(Parameter {
            name: format!("{step}.{suffix}"),
            role,
            values,
        });
        self.network.parameters.len() - 1
    }

    /// Uniform weights of variance `1 / fan_in`: what follows is normalized or linear, so there is no gain.
    fn weight(&mut self, step: &str, outputs: usize, fan_in: usize) -> usize {
        let bound = (3.0 / fan_in as f32).sqrt();
        let values = (0..outputs * fan_in)
            .map(|_| bound * (2.0 * unit(&mut self.rng) - 1.0))
            .collect();
        self.parameter(step, Role::Weight { outputs }, values)
    }
}

fn window_fits(height: usize, width: usize, kernel: usize, stride: usize, padding: usize) -> bool {
    kernel > 0 && stride > 0 && padding < kernel && height.min(width) + 2 * padding >= kernel
}

/// A uniform number in `[0, 1)` with 24 bits.
pub(crate) fn unit(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LayerList;

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
                "conv1", "norm1", "act1", "flatten", "dense2", "norm2", "act2", "dense3"
            ]
        );
        assert_eq!(
            network.steps[2].input,
            Shape::Map {
                channels: 5,
                height: 13,
                width: 13
            }
        );
        assert_eq!(network.steps[4].input, Shape::Flat(845));
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
