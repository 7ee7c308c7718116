//! Lays out a network's steps from a layer list and draws its initial weights.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sordino_graph::Shape;

use crate::network::{
    Activated, Network, Parameter, RELU_FIT, Role, Statistics, Step, StepKind, unit,
};
use crate::{Activation, Architecture, Error, Layer, TrainConfig};

pub(crate) fn build(
    architecture: &Architecture,
    input: [usize; 3],
    classes: usize,
    config: &TrainConfig,
) -> Result<Network, Error> {
    let layers = architecture.layers();
    let [channels, height, width] = input;
    let mut builder = Builder {
        network: Network {
            steps: vec![],
            parameters: vec![],
            statistics: vec![],
        },
        rng: ChaCha8Rng::seed_from_u64(config.seed),
        activation: config.activation,
        counts: [0; 4],
        classes,
        layer: 0,
    };
    let image = Shape::map(channels, height, width);
    builder.step("input".to_string(), StepKind::Input, vec![], image);
    builder.push_all(&layers, false)?;
    let found = builder.shape();
    if !matches!(layers.last(), Some(Layer::Dense { .. })) || found != Shape::Flat(classes) {
        return Err(Error::Layer {
            layer: layers.len(),
            name: "last layer",
            expected: format!("a dense layer with {classes} outputs, one a class"),
            found: found.to_string(),
        });
    }
    Ok(builder.network)
}

struct Builder {
    network: Network,
    rng: ChaCha8Rng,
    activation: Activation,
    /// Convolutions or dense layers, activations, pools and sums so far, for names.
    counts: [usize; 4],
    classes: usize,
    /// Number of the layer of the list, from 1, for messages.
    layer: usize,
}

impl Builder {
    /// Appends layers to the last step; `normalized` says whether an activation follows them.
    fn push_all(&mut self, layers: &[Layer], normalized: bool) -> Result<(), Error> {
        for (index, layer) in layers.iter().enumerate() {
            let normalized = match layers.get(index + 1) {
                Some(next) => *next == Layer::Activation {},
                None => normalized,
            };
            self.layer += 1;
            self.push(layer, normalized)?;
        }
        Ok(())
    }

    fn push(&mut self, layer: &Layer, normalized: bool) -> Result<(), Error> {
        match *layer {
            Layer::Convolution {
                channels,
                kernel,
                stride,
                padding,
            } => {
                let input = self.map("convolution")?;
                let window = Window {
                    kernel,
                    stride,
                    padding,
                };
                let Some(side) = window.fit(input).filter(|_| channels > 0) else {
                    return self.refuse(
                        "convolution",
                        "channels, a stride, a padding below the kernel, and a kernel no larger than the padded input",
                        format!(
                            "{channels} channels, kernel {kernel}, stride {stride}, padding {padding}, input {}",
                            self.shape()
                        ),
                    );
                };
                let name = self.name(0, "conv");
                let output = Shape::map(channels, side[0], side[1]);
                self.convolution(name, self.last(), window, output, normalized);
            }
            Layer::Dense { outputs } => {
                let outputs = outputs.unwrap_or(self.classes);
                if outputs == 0 {
                    return self.refuse("dense", "at least one output", "none".to_string());
                }
                if let Shape::Map { .. } = self.shape() {
                    let flat = Shape::Flat(self.shape().elements());
                    self.append("flatten".to_string(), StepKind::Flatten, flat);
                }
                let name = self.name(0, "dense");
                let weight = self.weight(&name, outputs, self.shape().elements());
                let bias =
                    (!normalized).then(|| self.parameter(&name, Role::Bias, vec![0.0; outputs]));
                self.append(name, StepKind::Dense { weight, bias }, Shape::Flat(outputs));
            }
            Layer::AveragePool { kernel, stride } => {
                let input = self.map("average-pool")?;
                let window = Window {
                    kernel,
                    stride: stride.unwrap_or(kernel),
                    padding: 0,
                };
                let Some(side) = window.fit(input) else {
                    return self.refuse(
                        "average-pool",
                        "a stride and a window no larger than the input",
                        format!(
                            "window {kernel}, stride {}, input {}",
                            window.stride,
                            self.shape()
                        ),
                    );
                };
                let name = self.name(2, "pool");
                let kind = StepKind::AveragePool {
                    kernel: [kernel; 2],
                    stride: [window.stride; 2],
                };
                self.append(name, kind, Shape::map(input[0], side[0], side[1]));
            }
            Layer::Activation {} => self.activation(),
            Layer::Residual { ref layers } => self.residual(layers, normalized)?,
        }
        Ok(())
    }

    fn residual(&mut self, layers: &[Layer], normalized: bool) -> Result<(), Error> {
        let input = self.map("residual")?;
        let start = self.last();
        self.push_all(layers, normalized)?;
        let output = self.map("residual")?;
        let branch = self.last();
        let mut shortcut = start;
        if input != output {
            // A 1x1 window at a stride that gives the branch's size.
            let stride = input[1].div_ceil(output[1].max(1));
            let window = Window {
                kernel: 1,
                stride,
                padding: 0,
            };
            if window.fit(input) != Some([output[1], output[2]]) {
                return self.refuse(
                    "residual",
                    "a branch that keeps the size of its input or divides it by its stride",
                    format!("{}x{} from {}x{}", output[1], output[2], input[1], input[2]),
                );
            }
            let name = self.name(0, "conv");
            let shape = Shape::map(output[0], output[1], output[2]);
            self.convolution(name, start, window, shape, normalized);
            shortcut = self.last();
        }
        let name = self.name(3, "sum");
        let shape = self.network.steps[branch].shape;
        self.step(name, StepKind::Add, vec![branch, shortcut], shape);
        Ok(())
    }

    fn convolution(
        &mut self,
        name: String,
        input: usize,
        window: Window,
        output: Shape,
        normalized: bool,
    ) {
        let Window {
            kernel,
            stride,
            padding,
        } = window;
        let (inputs, outputs) = (
            self.network.steps[input].shape.channels(),
            output.channels(),
        );
        let weight = self.weight(&name, outputs, inputs * kernel * kernel);
        let bias = (!normalized).then(|| self.parameter(&name, Role::Bias, vec![0.0; outputs]));
        let kind = StepKind::Convolution {
            weight,
            bias,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
        };
        self.step(name, kind, vec![input], output);
    }

    fn activation(&mut self) {
        self.counts[1] += 1;
        let (norm, name) = (
            format!("norm{}", self.counts[1]),
            format!("act{}", self.counts[1]),
        );
        let shape = self.shape();
        let channels = shape.channels();
        let gamma = self.parameter(&norm, Role::Gamma, vec![1.0; channels]);
        let beta = self.parameter(&norm, Role::Beta, vec![0.0; channels]);
        let statistics = self.network.statistics.len();
        self.network.statistics.push(Statistics {
            mean: vec![0.0; channels],
            variance: vec![1.0; channels],
        });
        let activation = match self.activation.granularity() {
            None => Activated::Relu,
            Some(granularity) => {
                let shared = granularity.coefficients(&shape);
                let fit = RELU_FIT.into_iter().zip([Role::A, Role::B, Role::C]);
                let mut coefficients =
                    fit.map(|(start, role)| self.parameter(&name, role, vec![start; shared]));
                let mut next = || coefficients.next().expect("there are three");
                Activated::Quadratic {
                    granularity,
                    a: next(),
                    b: next(),
                    c: next(),
                }
            }
        };
        let kind = StepKind::Normalize {
            norm,
            gamma,
            beta,
            statistics,
            activation,
        };
        self.append(name, kind, shape);
    }

    fn refuse<T>(&self, name: &'static str, expected: &str, found: String) -> Result<T, Error> {
        Err(Error::Layer {
            layer: self.layer,
            name,
            expected: expected.to_string(),
            found,
        })
    }

    /// Channels, height and width of the last value, which must be a map.
    fn map(&self, name: &'static str) -> Result<[usize; 3], Error> {
        match self.shape() {
            Shape::Map {
                channels,
                height,
                width,
            } => Ok([channels, height, width]),
            flat @ Shape::Flat(_) => self.refuse(name, "a feature map", flat.to_string()),
        }
    }

    fn last(&self) -> usize {
        self.network.steps.len() - 1
    }

    fn shape(&self) -> Shape {
        self.network.steps[self.last()].shape
    }

    fn name(&mut self, counter: usize, kind: &str) -> String {
        self.counts[counter] += 1;
        format!("{kind}{}", self.counts[counter])
    }

    /// A step that reads the one before it.
    fn append(&mut self, name: String, kind: StepKind, shape: Shape) {
        self.step(name, kind, vec![self.last()], shape);
    }

    fn step(&mut self, name: String, kind: StepKind, inputs: Vec<usize>, shape: Shape) {
        self.network.steps.push(Step {
            name,
            kind,
            inputs,
            shape,
        });
    }

    fn parameter(&mut self, step: &str, role: Role, values: Vec<f32>) -> usize {
        self.network
            .parameters
            .push(Parameter::new(step, role, values));
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

/// A square window that slides over a map.
#[derive(Clone, Copy)]
struct Window {
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Window {
    /// Height and width of the result on a map `[channels, height, width]`.
    fn fit(self, [_, height, width]: [usize; 3]) -> Option<[usize; 2]> {
        let padded = [height, width].map(|side| side + 2 * self.padding);
        let fits = self.kernel > 0 && self.stride > 0 && self.padding < self.kernel;
        (fits && padded.iter().all(|&side| side >= self.kernel))
            .then(|| padded.map(|side| (side - self.kernel) / self.stride + 1))
    }
}
