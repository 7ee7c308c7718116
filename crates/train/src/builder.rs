//! Lays out a network's steps from a layer list and draws its initial weights.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sordino_graph::Shape;

use crate::network::{Network, Parameter, RELU_FIT, Role, Statistics, Step, StepKind, unit};
use crate::{Activation, Architecture, Error, Layer, TrainConfig};

pub(crate) fn build(
    architecture: &Architecture,
    input: [usize; 3],
    classes: usize,
    config: &TrainConfig,
) -> Result<Network, Error> {
    let layers = architecture.layers();
    let mut builder = Builder {
        network: Network {
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
    if !matches!(layers.last(), Some(Layer::Dense { .. })) || builder.shape != Shape::Flat(classes)
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
