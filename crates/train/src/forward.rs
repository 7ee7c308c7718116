//! The forward pass and its gradient.

use std::sync::Arc;

use burn_tensor::activation::{log_softmax, softmax};
use burn_tensor::module::linear;
use burn_tensor::{Device, Tensor, TensorData};
use sordino_graph::Shape;

use crate::TrainConfig;
use crate::kernel::{self, AveragePool, Convolution, Function, Input, Normalize, Terms};
use crate::network::{Activated, Network, Step, StepKind};

/// What one training step sees.
pub(crate) struct Batch<'a> {
    /// Prepared images, one after the other.
    pub(crate) images: &'a [f32],
    pub(crate) labels: &'a [u16],
    /// What the teacher makes of the images.
    pub(crate) lesson: Option<Lesson>,
    /// Share of ReLU mixed into the quadratics.
    pub(crate) blend: f32,
}

/// A teacher's view of a batch.
pub(crate) struct Lesson {
    /// `[images][classes]`.
    pub(crate) logits: Vec<f32>,
    /// What each activation gave, if features are distilled too.
    pub(crate) features: Vec<Arc<Vec<f32>>>,
}

/// What one training step learnt from a batch.
pub(crate) struct Gradient {
    /// Cross-entropy, distance to the teacher and penalties.
    pub(crate) loss: f32,
    pub(crate) correct: usize,
    /// One list a parameter of the network.
    pub(crate) parameters: Vec<Vec<f32>>,
}

/// How normalizations behave.
enum Mode<'a> {
    /// With the recorded statistics.
    Recorded,
    /// With those of the batch, and the loss's terms on the way.
    Training {
        batch: &'a Batch<'a>,
        config: &'a TrainConfig,
        observed: &'a mut Observed,
    },
}

/// What the forward pass of training collects on its way.
#[derive(Default)]
struct Observed {
    statistics: Vec<(Vec<f32>, Vec<f32>)>,
    activations: usize,
    added_loss: f64,
}

pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
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
    /// Logits `[images][classes]` with the recorded statistics; `observe` sees what each step gives.
    pub(crate) fn logits(
        &self,
        images: &[f32],
        observe: impl FnMut(&Step, &Tensor<2>),
    ) -> Vec<f32> {
        let device = Device::flex();
        let parameters = leaves(&self.values(), &device);
        numbers(self.run(images, &parameters, &device, Mode::Recorded, observe))
    }

    /// Mean and variance of each batch normalization's input over these images.
    pub(crate) fn batch_statistics(
        &self,
        images: &[f32],
        config: &TrainConfig,
        blend: f32,
    ) -> Vec<(Vec<f32>, Vec<f32>)> {
        let device = Device::flex();
        let parameters = leaves(&self.values(), &device);
        let batch = Batch {
            images,
            labels: &[],
            lesson: None,
            blend,
        };
        let mut observed = Observed::default();
        let mode = Mode::Training {
            batch: &batch,
            config,
            observed: &mut observed,
        };
        self.run(images, &parameters, &device, mode, |_, _| ());
        observed.statistics
    }

    /// What this network, as a teacher, makes of images; with the values of its activations if `features` is set.
    pub(crate) fn lesson(&self, images: &[f32], features: bool) -> Lesson {
        let mut found = Vec::new();
        let logits = self.logits(images, |step, value| {
            if let StepKind::Normalize { activation, .. } = step.kind
                && features
                && activation != Activated::Not
            {
                found.push(Arc::new(numbers(value.clone())));
            }
        });
        Lesson {
            logits,
            features: found,
        }
    }

    /// Loss and gradient of one batch. `values` stand in for the parameters, so that they may be rounded ones.
    pub(crate) fn gradient(
        &self,
        values: &[Vec<f32>],
        batch: &Batch<'_>,
        config: &TrainConfig,
    ) -> Gradient {
        let device = Device::flex().autodiff();
        let parameters: Vec<Tensor<1>> = leaves(values, &device)
            .into_iter()
            .map(Tensor::require_grad)
            .collect();
        let mut observed = Observed::default();
        let mode = Mode::Training {
            batch,
            config,
            observed: &mut observed,
        };
        let logits = self.run(batch.images, &parameters, &device, mode, |_, _| ());
        let correct = count_correct(&numbers(logits.clone()), batch.labels, self.classes());
        let loss = self.loss(logits, batch, config, &device);
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
            loss: loss.into_scalar::<f32>() + observed.added_loss as f32,
            correct,
            parameters,
        }
    }

    /// The part of the loss that looks at the logits.
    fn loss(
        &self,
        logits: Tensor<2>,
        batch: &Batch<'_>,
        config: &TrainConfig,
        device: &Device,
    ) -> Tensor<1> {
        let (count, classes) = (batch.labels.len(), self.classes());
        let spread = config.label_smoothing as f32 / classes as f32;
        let mut target = vec![spread; count * classes];
        for (row, &label) in batch.labels.iter().enumerate() {
            target[row * classes + usize::from(label)] += 1.0 - config.label_smoothing as f32;
        }
        let target = tensor(target, [count, classes], device);
        let entropy = |logits: Tensor<2>, target: Tensor<2>| {
            (log_softmax(logits, 1) * target).sum() * (-1.0 / count as f32)
        };
        let mut loss = entropy(logits.clone(), target);
        if let (Some(lesson), Some(distillation)) = (&batch.lesson, &config.distillation) {
            let (share, heat) = (distillation.weight as f32, distillation.temperature as f32);
            let teacher = tensor(lesson.logits.clone(), [count, classes], device);
            let opinion = softmax(teacher.clone() / heat, 1);
            // The divergence from the teacher: zero for a student that says the same.
            let soft =
                entropy(logits.clone() / heat, opinion.clone()) - entropy(teacher / heat, opinion);
            loss = loss * (1.0 - share) + soft * (share * heat * heat);
        }
        if config.logit_penalty > 0.0 {
            loss = loss + logits.square().mean() * config.logit_penalty as f32;
        }
        loss
    }

    fn run(
        &self,
        images: &[f32],
        parameters: &[Tensor<1>],
        device: &Device,
        mut mode: Mode<'_>,
        mut observe: impl FnMut(&Step, &Tensor<2>),
    ) -> Tensor<2> {
        let elements = self.steps[0].shape.elements();
        let count = images.len() / elements;
        let mut readers = vec![0; self.steps.len()];
        let inputs = self.steps.iter().flat_map(|step| &step.inputs);
        inputs.for_each(|&input| readers[input] += 1);
        let mut values: Vec<Option<Tensor<2>>> = vec![None; self.steps.len()];
        values[0] = Some(tensor(images.to_vec(), [count, elements], device));
        for (index, step) in self.steps.iter().enumerate().skip(1) {
            let inputs = step.inputs.iter().map(|&input| {
                readers[input] -= 1;
                let value = match readers[input] {
                    0 => values[input].take(),
                    _ => values[input].clone(),
                };
                value.expect("steps read earlier ones")
            });
            let inputs = inputs.collect();
            let value = self.apply(step, inputs, count, parameters, &mut mode);
            observe(step, &value);
            values[index] = Some(value);
        }
        let last = values.pop().flatten();
        last.expect("a network has a step beside the input")
    }

    fn apply(
        &self,
        step: &Step,
        mut inputs: Vec<Tensor<2>>,
        count: usize,
        parameters: &[Tensor<1>],
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        let parameter = |index: usize| parameters[index].clone();
        let x = inputs.remove(0);
        let shape = self.input_shape(step);
        match &step.kind {
            StepKind::Input => unreachable!("the caller starts behind it"),
            StepKind::Convolution {
                weight,
                bias,
                kernel,
                stride,
                padding,
            } => {
                let mut kernel = Convolution::new(shape, step.shape, *kernel, *stride, *padding);
                let y = kernel::apply(&mut kernel, count, [x.into(), parameter(*weight).into()]);
                let Some(bias) = bias else {
                    return y;
                };
                let channels = step.shape.channels();
                let maps = [count, channels, step.shape.channel_elements()];
                let y = y.reshape(maps) + parameter(*bias).reshape([1, channels, 1]);
                y.reshape([count, step.shape.elements()])
            }
            StepKind::Dense { weight, bias } => {
                let weight = parameter(*weight).reshape([shape.elements(), step.shape.elements()]);
                linear(x, weight, bias.map(parameter))
            }
            StepKind::AveragePool { kernel, stride } => {
                let sides = |shape| match shape {
                    Shape::Map { height, width, .. } => [height, width],
                    Shape::Flat(_) => unreachable!("pools act on maps, as the builder checks"),
                };
                let mut pool = AveragePool {
                    size: sides(shape),
                    output: sides(step.shape),
                    kernel: *kernel,
                    stride: *stride,
                };
                kernel::apply(&mut pool, count, [x.into()])
            }
            StepKind::Flatten => x,
            StepKind::Add => x + inputs.remove(0),
            StepKind::Normalize {
                gamma,
                beta,
                statistics,
                activation,
                ..
            } => {
                let function = match activation {
                    Activated::Not => Function::Identity,
                    Activated::Relu => Function::Relu,
                    Activated::Quadratic { granularity, .. } => Function::Quadratic(*granularity),
                };
                let mut normalize = Normalize::new(shape, function);
                match mode {
                    Mode::Recorded => {
                        let recorded = &self.statistics[*statistics];
                        normalize.recorded =
                            Some((recorded.mean.clone(), recorded.variance.clone()));
                    }
                    Mode::Training {
                        batch,
                        config,
                        observed,
                    } => {
                        normalize.blend = batch.blend;
                        normalize.terms = terms(*activation, batch, config, observed.activations);
                    }
                }
                let common = [x.into(), parameter(*gamma).into(), parameter(*beta).into()];
                let y = match *activation {
                    Activated::Quadratic { a, b, c, .. } => {
                        let [x, gamma, beta] = common;
                        let [a, b, c]: [Input; 3] = [a, b, c].map(|index| parameter(index).into());
                        kernel::apply(&mut normalize, count, [x, gamma, beta, a, b, c])
                    }
                    _ => kernel::apply(&mut normalize, count, common),
                };
                if let Mode::Training { observed, .. } = mode {
                    observed.activations += usize::from(*activation != Activated::Not);
                    observed.added_loss += normalize.added_loss;
                    observed
                        .statistics
                        .push((normalize.mean, normalize.variance));
                }
                y
            }
        }
    }
}

/// What the loss says about activation number `index`.
fn terms(activated: Activated, batch: &Batch<'_>, config: &TrainConfig, index: usize) -> Terms {
    if activated == Activated::Not {
        return Terms::default();
    }
    let features = match (&batch.lesson, &config.distillation) {
        (Some(lesson), Some(distillation)) => lesson
            .features
            .get(index)
            .map(|values| (values.clone(), distillation.features as f32)),
        _ => None,
    };
    Terms {
        range_limit: config.range_limit as f32,
        range_penalty: config.range_penalty as f32,
        features,
    }
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
    use crate::{Activation, Architecture, Distillation, Layer, LayerList};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// Convolutions with padding and a stride, a residual sum with a shortcut of its own, pooling and dense layers,
    /// every kind of parameter.
    fn network(config: &TrainConfig) -> Network {
        let convolution = |stride| Layer::Convolution {
            channels: 2,
            kernel: 3,
            stride,
            padding: 1,
        };
        let layers = vec![
            convolution(1),
            Layer::Residual {
                layers: vec![convolution(1), Layer::Activation {}, convolution(1)],
            },
            Layer::Activation {},
            Layer::Residual {
                layers: vec![
                    convolution(2),
                    Layer::Activation {},
                    Layer::Convolution {
                        channels: 3,
                        kernel: 2,
                        stride: 1,
                        padding: 1,
                    },
                    Layer::AveragePool {
                        kernel: 2,
                        stride: Some(1),
                    },
                ],
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

    /// A teacher's view with nothing special about it.
    fn lesson(network: &Network, images: &[f32]) -> Lesson {
        let mut lesson = network.lesson(images, true);
        lesson
            .logits
            .iter_mut()
            .for_each(|logit| *logit = 3.0 * *logit + 1.0);
        for features in &mut lesson.features {
            *features = Arc::new(features.iter().map(|value| 0.5 * value - 0.2).collect());
        }
        lesson
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
                distillation: Some(Distillation {
                    weight: 0.4,
                    temperature: 2.0,
                    features: 0.5,
                }),
                ..Default::default()
            };
            let network = network(&config);
            let values = network.values();
            let batch = Batch {
                images: &images,
                labels: &labels,
                lesson: Some(lesson(&network, &images)),
                blend: 0.0,
            };
            let gradient = network.gradient(&values, &batch, &config);
            let (mut worst, mut largest) = (0.0f32, 0.0f32);
            for parameter in 0..values.len() {
                for index in 0..values[parameter].len() {
                    let loss = |change: f32| {
                        let mut moved = values.clone();
                        moved[parameter][index] += change;
                        network.gradient(&moved, &batch, &config).loss
                    };
                    let slope = |step: f32| (loss(step) - loss(-step)) / (2.0 * step);
                    // Without the term of third order.
                    let difference = (4.0 * slope(2e-3) - slope(4e-3)) / 3.0;
                    let off = (difference - gradient.parameters[parameter][index]).abs();
                    worst = worst.max(off / difference.abs().max(1.0));
                    largest = largest.max(difference.abs());
                }
            }
            assert!(
                largest > 0.3,
                "{activation}: the largest gradient is {largest}"
            );
            assert!(
                worst < 1e-2,
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
