//! The forward pass and its gradient, on the tensor library.

use burn_tensor::activation::{log_softmax, relu};
use burn_tensor::module::{avg_pool2d, batch_norm, batch_norm_train, conv2d, linear};
use burn_tensor::ops::{AvgPoolOptions, ConvOptions};
use burn_tensor::{Device, Tensor, TensorData};
use sordino_graph::Shape;

use crate::network::{EPSILON, Network, Statistics, Step, StepKind};
use crate::{Activation, TrainConfig};

/// A batch's value between two steps.
enum Value {
    Map(Tensor<4>),
    Flat(Tensor<2>),
}

impl Value {
    fn map(self) -> Tensor<4> {
        match self {
            Self::Map(tensor) => tensor,
            Self::Flat(_) => unreachable!(
                "the builder checks that feature maps come before the first dense layer"
            ),
        }
    }

    fn flat(self) -> Tensor<2> {
        match self {
            Self::Flat(tensor) => tensor,
            Self::Map(_) => unreachable!("the builder flattens in front of dense layers"),
        }
    }

    fn numbers(&self) -> Vec<f32> {
        match self {
            Self::Map(tensor) => numbers(tensor.clone()),
            Self::Flat(tensor) => numbers(tensor.clone()),
        }
    }
}

/// What one training step learnt from a batch.
pub(crate) struct Gradient {
    /// Cross-entropy plus penalties.
    pub(crate) loss: f32,
    pub(crate) correct: usize,
    /// One list a parameter of the network.
    pub(crate) parameters: Vec<Vec<f32>>,
    /// Mean and variance of each batch normalization's input.
    pub(crate) statistics: Vec<(Vec<f32>, Vec<f32>)>,
}

/// What the forward pass of training collects on its way.
struct Observed {
    statistics: Vec<(Tensor<1>, Tensor<1>)>,
    penalty: Option<Tensor<1>>,
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_into_vec()
        .expect("all tensors of the trainer are f32")
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn leaves(values: &[Vec<f32>], device: &Device) -> Vec<Tensor<1>> {
    values
        .iter()
        .map(|values| tensor(values.clone(), [values.len()], device))
        .collect()
}

impl Network {
    fn images(&self, images: &[f32], device: &Device) -> Tensor<4> {
        let [channels, height, width] = self.input;
        let count = images.len() / (channels * height * width);
        tensor(images.to_vec(), [count, channels, height, width], device)
    }

    /// Logits `[images][classes]` with the running statistics, and what each step gave when `observe` is given.
    pub(crate) fn logits(
        &self,
        images: &[f32],
        mut observe: impl FnMut(&Step, Vec<f32>),
    ) -> Vec<f32> {
        let device = Device::flex();
        let values: Vec<Vec<f32>> = self
            .parameters
            .iter()
            .map(|parameter| parameter.values.clone())
            .collect();
        let parameters = leaves(&values, &device);
        let mut value = Value::Map(self.images(images, &device));
        for step in &self.steps {
            value = self.apply(step, value, &parameters, None, None);
            observe(step, value.numbers());
        }
        value.numbers()
    }

    /// Loss and gradient of one batch. `values` stand in for the parameters, so that they may be rounded ones.
    pub(crate) fn gradient(
        &self,
        values: &[Vec<f32>],
        images: &[f32],
        labels: &[u16],
        config: &TrainConfig,
    ) -> Gradient {
        let device = Device::flex().autodiff();
        let parameters: Vec<Tensor<1>> = leaves(values, &device)
            .into_iter()
            .map(Tensor::require_grad)
            .collect();
        let mut observed = Observed {
            statistics: Vec::new(),
            penalty: None,
        };
        let mut value = Value::Map(self.images(images, &device));
        for step in &self.steps {
            value = self.apply(step, value, &parameters, Some(&mut observed), Some(config));
        }
        let logits = value.flat();
        let correct = count_correct(&numbers(logits.clone()), labels, self.classes);

        let share = config.label_smoothing as f32 / self.classes as f32;
        let mut target = vec![share; labels.len() * self.classes];
        for (row, &label) in labels.iter().enumerate() {
            target[row * self.classes + usize::from(label)] += 1.0 - config.label_smoothing as f32;
        }
        let target = tensor(target, [labels.len(), self.classes], &device);
        let mut loss =
            (log_softmax(logits.clone(), 1) * target).sum() * (-1.0 / labels.len() as f32);
        if config.logit_penalty > 0.0 {
            loss = loss + logits.square().mean() * config.logit_penalty as f32;
        }
        if let Some(penalty) = observed.penalty {
            loss = loss + penalty * config.range_penalty as f32;
        }
        let mut gradients = loss.backward();
        let parameters = parameters
            .into_iter()
            .zip(values)
            .map(|(leaf, values)| {
                leaf.grad_remove(&mut gradients)
                    .map_or_else(|| vec![0.0; values.len()], numbers)
            })
            .collect();
        Gradient {
            loss: loss.into_scalar::<f32>(),
            correct,
            parameters,
            statistics: observed
                .statistics
                .into_iter()
                .map(|(mean, var)| (numbers(mean), numbers(var)))
                .collect(),
        }
    }

    fn apply(
        &self,
        step: &Step,
        value: Value,
        parameters: &[Tensor<1>],
        observed: Option<&mut Observed>,
        config: Option<&TrainConfig>,
    ) -> Value {
        match step.kind {
            StepKind::Convolution {
                weight,
                bias,
                channels,
                kernel,
                stride,
                padding,
            } => {
                let Shape::Map {
                    channels: inputs, ..
                } = step.input
                else {
                    unreachable!("checked by the builder")
                };
                let weight = parameters[weight]
                    .clone()
                    .reshape([channels, inputs, kernel, kernel]);
                let bias = bias.map(|index| parameters[index].clone());
                let options = ConvOptions::new([stride, stride], [padding, padding], [1, 1], 1);
                Value::Map(conv2d(value.map(), weight, bias, options))
            }
            StepKind::Dense {
                weight,
                bias,
                outputs,
            } => {
                let weight = parameters[weight]
                    .clone()
                    .reshape([step.input.elements(), outputs]);
                Value::Flat(linear(
                    value.flat(),
                    weight,
                    bias.map(|index| parameters[index].clone()),
                ))
            }
            StepKind::AveragePool { kernel, stride } => Value::Map(avg_pool2d(
                value.map(),
                AvgPoolOptions::new([kernel, kernel]).with_stride([stride, stride]),
            )),
            StepKind::Flatten => Value::Flat(value.map().flatten(1, 3)),
            StepKind::BatchNorm {
                gamma,
                beta,
                statistics,
            } => {
                let (gamma, beta) = (parameters[gamma].clone(), parameters[beta].clone());
                let running = &self.statistics[statistics];
                match value {
                    Value::Map(x) => {
                        Value::Map(normalize(x, gamma, beta, running, observed, config))
                    }
                    Value::Flat(x) => {
                        Value::Flat(normalize(x, gamma, beta, running, observed, config))
                    }
                }
            }
            StepKind::Relu => match value {
                Value::Map(x) => Value::Map(relu(x)),
                Value::Flat(x) => Value::Flat(relu(x)),
            },
            StepKind::Quadratic {
                granularity,
                a,
                b,
                c,
            } => {
                let coefficients = [a, b, c].map(|index| parameters[index].clone());
                match value {
                    Value::Map(x) => {
                        let [_, channels, height, width] = x.dims();
                        let shape = match granularity {
                            Activation::Channel => [1, channels, 1, 1],
                            Activation::Element => [1, channels, height, width],
                            _ => [1, 1, 1, 1],
                        };
                        Value::Map(quadratic(
                            x,
                            coefficients.map(|values| values.reshape(shape)),
                        ))
                    }
                    Value::Flat(x) => {
                        let shape = match granularity {
                            Activation::Layer => [1, 1],
                            _ => [1, x.dims()[1]],
                        };
                        Value::Flat(quadratic(
                            x,
                            coefficients.map(|values| values.reshape(shape)),
                        ))
                    }
                }
            }
        }
    }
}

fn quadratic<const D: usize>(x: Tensor<D>, [a, b, c]: [Tensor<D>; 3]) -> Tensor<D> {
    (x.clone() * a + b) * x + c
}

/// Batch normalization; while training also notes the statistics and penalizes what leaves the range.
fn normalize<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    running: &Statistics,
    observed: Option<&mut Observed>,
    config: Option<&TrainConfig>,
) -> Tensor<D> {
    let (Some(observed), Some(config)) = (observed, config) else {
        let device = x.device();
        let count = running.mean.len();
        let mean = tensor(running.mean.clone(), [count], &device);
        let variance = tensor(running.variance.clone(), [count], &device);
        return batch_norm(x, gamma, beta, mean, variance, EPSILON);
    };
    let normalized = batch_norm_train(x, gamma, beta, EPSILON);
    observed
        .statistics
        .push((normalized.mean, normalized.variance));
    if config.range_penalty > 0.0 {
        let excess = relu(normalized.output.clone().abs() - config.range_limit as f32)
            .square()
            .mean();
        observed.penalty = Some(match observed.penalty.take() {
            Some(penalty) => penalty + excess,
            None => excess,
        });
    }
    normalized.output
}

/// Images whose greatest logit is their label's.
pub(crate) fn count_correct(logits: &[f32], labels: &[u16], classes: usize) -> usize {
    logits
        .chunks_exact(classes)
        .zip(labels)
        .filter(|(row, label)| argmax(row) == usize::from(**label))
        .count()
}

fn argmax(row: &[f32]) -> usize {
    row.iter().enumerate().fold(
        0,
        |best, (index, value)| if *value > row[best] { index } else { best },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Role, unit};
    use crate::{Architecture, Layer, LayerList};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// Convolution with padding, pooling and dense layers, every kind of parameter.
    fn network(config: &TrainConfig) -> Network {
        let layers = vec![
            Layer::Convolution {
                channels: 2,
                kernel: 3,
                stride: 1,
                padding: 1,
            },
            Layer::Activation {},
            Layer::AveragePool {
                kernel: 2,
                stride: None,
            },
            Layer::Dense { outputs: Some(4) },
            Layer::Activation {},
            Layer::Dense { outputs: None },
        ];
        let list = LayerList {
            name: "tiny".to_string(),
            layers,
            training: None,
        };
        let mut network = Network::new(&Architecture::Custom(list), [1, 4, 4], 3, config).unwrap();
        // Away from the symmetric start, so that no gradient vanishes by accident.
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        for parameter in &mut network.parameters {
            let spread = if matches!(parameter.role, Role::A) {
                0.1
            } else {
                0.3
            };
            parameter
                .values
                .iter_mut()
                .for_each(|value| *value += spread * (2.0 * unit(&mut rng) - 1.0));
        }
        network
    }

    fn images(count: usize) -> (Vec<f32>, Vec<u16>) {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let pixels = (0..count * 16).map(|_| unit(&mut rng)).collect();
        (pixels, (0..count).map(|index| (index % 3) as u16).collect())
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (images, labels) = images(12);
        for activation in [Activation::Layer, Activation::Channel, Activation::Element] {
            // Penalties large and the range small, so that their gradients count.
            let config = TrainConfig {
                activation,
                label_smoothing: 0.1,
                logit_penalty: 0.5,
                range_limit: 0.5,
                range_penalty: 0.5,
                ..Default::default()
            };
            let network = network(&config);
            let values = network.values();
            let gradient = network.gradient(&values, &images, &labels, &config);
            let (mut worst, mut largest) = (0.0f32, 0.0f32);
            for parameter in 0..values.len() {
                for index in 0..values[parameter].len() {
                    let loss = |change: f32| {
                        let mut moved = values.clone();
                        moved[parameter][index] += change;
                        network.gradient(&moved, &images, &labels, &config).loss
                    };
                    let difference = (loss(4e-3) - loss(-4e-3)) / 8e-3;
                    worst = worst.max((difference - gradient.parameters[parameter][index]).abs());
                    largest = largest.max(difference.abs());
                }
            }
            assert!(
                largest > 0.3,
                "{activation}: the largest gradient is {largest}"
            );
            assert!(
                worst < 5e-3,
                "{activation}: the worst gradient is off by {worst}, the largest is {largest}"
            );
        }
    }

    #[test]
    fn a_quadratic_with_shared_coefficients_equals_one_with_the_same_everywhere() {
        let (images, _) = images(5);
        let logits = |activation| {
            let mut network = Network::new(
                &Architecture::Digits,
                [1, 4, 4],
                3,
                &TrainConfig {
                    activation,
                    ..Default::default()
                },
            )
            .unwrap();
            for parameter in &mut network.parameters {
                match parameter.role {
                    Role::A => parameter.values.fill(0.3),
                    Role::B => parameter.values.fill(-0.2),
                    _ => {}
                }
            }
            network.logits(&images, |_, _| ())
        };
        let element = logits(Activation::Element);
        assert_eq!(element, logits(Activation::Layer));
        assert_eq!(element, logits(Activation::Channel));
        assert!(element.iter().any(|value| value.abs() > 1e-3));
    }
}
