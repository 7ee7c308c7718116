//! The steps of a layer list, with initial weights.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sordino_graph::Shape;

use crate::kernel::Window;
use crate::network::{Activated, Network, RELU_FIT, Role, Statistics, Step, StepKind, unit};
use crate::{Activation, Architecture, Error, Layer, TrainConfig};

/// Lays out the steps of a network and draws its initial weights.
pub(crate) fn build(
    architecture: &Architecture,
    input: [usize; 3],
    classes: usize,
    config: &TrainConfig,
) -> Result<Network, Error> {
    let layers = architecture.layers();
    let [channels, height, width] = input;
    let mut builder = Builder {
        network: Network::default(),
        rng: ChaCha8Rng::seed_from_u64(config.seed),
        activation: config.activation,
        batch_norm: config.batch_norm,
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
    batch_norm: bool,
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
                let window = Window::square(kernel, stride, padding);
                let Some(side) = fit(window, input).filter(|_| channels > 0) else {
                    return self.refuse(
                        "convolution",
                        "channels, a stride, a padding below the kernel, and a kernel no larger than the padded input",
                        format!(
                            "{channels} channels, kernel {kernel}, stride {stride}, padding {padding}, input {}",
                            self.shape()
                        ),
                    );
                };
                let output = Shape::map(channels, side[0], side[1]);
                self.linear("conv", self.last(), Some(window), output, normalized);
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
                self.linear("dense", self.last(), None, Shape::Flat(outputs), normalized);
            }
            Layer::AveragePool { kernel, stride } => {
                let input = self.map("average-pool")?;
                let stride = stride.unwrap_or(kernel);
                let window = Window::square(kernel, stride, 0);
                let Some(side) = fit(window, input) else {
                    return self.refuse(
                        "average-pool",
                        "a stride and a window no larger than the input",
                        format!("window {kernel}, stride {stride}, input {}", self.shape()),
                    );
                };
                let name = self.name(2, "pool");
                let kind = StepKind::AveragePool(window);
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
            let window = Window::square(1, stride, 0);
            if fit(window, input) != Some([output[1], output[2]]) {
                return self.refuse(
                    "residual",
                    "a branch that keeps the size of its input or divides it by its stride",
                    format!("{}x{} from {}x{}", output[1], output[2], input[1], input[2]),
                );
            }
            let shape = Shape::map(output[0], output[1], output[2]);
            self.linear("conv", start, Some(window), shape, normalized);
            shortcut = self.last();
        }
        let name = self.name(3, "sum");
        let shape = self.network.steps[branch].shape;
        self.step(
            name,
            StepKind::Add { factors: vec![] },
            vec![branch, shortcut],
            shape,
        );
        Ok(())
    }

    /// A step with weights: a convolution, or without a window a dense layer.
    ///
    /// The weights are uniform, of variance `1 / fan_in`, or twice that where an activation follows without a batch
    /// normalization.
    fn linear(
        &mut self,
        kind: &str,
        input: usize,
        window: Option<Window>,
        output: Shape,
        normalized: bool,
    ) {
        let name = self.name(0, kind);
        let (inputs, outputs) = (self.network.steps[input].shape, output.channels());
        let fan_in = match window {
            Some(window) => inputs.channels() * window.kernel.iter().product::<usize>(),
            None => inputs.elements(),
        };
        let gain = if normalized && !self.batch_norm {
            2.0
        } else {
            1.0
        };
        let bias = !(normalized && self.batch_norm);
        let bound = (3.0 * gain / fan_in as f32).sqrt();
        let values = (0..outputs * fan_in)
            .map(|_| bound * (2.0 * unit(&mut self.rng) - 1.0))
            .collect();
        let network = &mut self.network;
        let kind = StepKind::Linear {
            weight: network.parameter(&name, Role::Weight { outputs }, values),
            bias: bias.then(|| network.parameter(&name, Role::Bias, vec![0.0; outputs])),
            window,
        };
        self.step(name, kind, vec![input], output);
    }

    fn activation(&mut self) {
        let name = self.name(1, "act");
        let norm = format!("norm{}", self.counts[1]);
        let shape = self.shape();
        let channels = shape.channels();
        let mut normalization = match self.batch_norm {
            true => self.network.normalization(
                norm,
                vec![1.0; channels],
                vec![0.0; channels],
                Statistics::constant(channels, 1.0),
            ),
            false => self.network.no_normalization(norm, channels),
        };
        normalization.activation = match self.activation.granularity() {
            None => Activated::Relu,
            Some(granularity) => {
                let count = granularity.coefficients(&shape);
                let fit = RELU_FIT.map(|start| vec![start; count]);
                self.network.quadratic(&name, granularity, fit)
            }
        };
        self.append(name, StepKind::Normalize(normalization), shape);
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
}

/// Height and width of the result of a square window on a map `[channels, height, width]`.
fn fit(window: Window, [_, height, width]: [usize; 3]) -> Option<[usize; 2]> {
    let [kernel, stride, padding] = [window.kernel, window.stride, window.padding].map(|p| p[0]);
    let padded = [height, width].map(|side| side + 2 * padding);
    let fits = kernel > 0 && stride > 0 && padding < kernel;
    (fits && padded.iter().all(|&side| side >= kernel))
        .then(|| padded.map(|side| (side - kernel) / stride + 1))
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
        let network = build(
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
        let message = build(&big, [1, 8, 8], 10, &config).unwrap_err().to_string();
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
            build(&flat, [1, 8, 8], 10, &config)
                .unwrap_err()
                .to_string()
                .contains("layer 2")
        );
        let classes = custom(vec![Layer::Dense { outputs: Some(4) }]);
        assert!(
            build(&classes, [1, 8, 8], 10, &config)
                .unwrap_err()
                .to_string()
                .contains("10 outputs")
        );
        assert!(build(&custom(vec![]), [1, 8, 8], 10, &config).is_err());
    }

    #[test]
    fn projection_bounds_coefficients_and_weights() {
        let config = TrainConfig {
            curvature: (0.1, 0.3),
            weight_clip: 2.0,
            ..Default::default()
        };
        let mut network = build(&Architecture::Mlp, [1, 4, 4], 3, &config).unwrap();
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
