//! The backward pass: the gradient of a batch's loss with respect to every parameter.

use crate::TrainConfig;
use crate::forward::{Batch, Tape, Trained, Training, scaled};
use crate::kernel::{
    AveragePool, Convolution, Sliding, add, channel_sums, matrix, part, product, select_backward,
};
use crate::loss::loss;
use crate::network::{Activated, Network, StepKind};
use crate::score::{Right, count_right};

/// Loss and gradient of a batch.
pub(crate) struct Gradient {
    /// Cross-entropy, distance to the teacher and penalties.
    pub(crate) loss: f32,
    pub(crate) right: Right,
    /// One list per parameter of the network.
    pub(crate) parameters: Vec<Vec<f32>>,
}

impl Network {
    /// Loss and gradient of one batch.
    pub(crate) fn gradient(&self, batch: &Batch<'_>, config: &TrainConfig) -> Gradient {
        let training = Training {
            batch,
            config,
            trained: Trained::All,
        };
        let tape = self.forward(batch.images, Some(training), |_, _| ());
        let (loss, gradient) = loss(tape.logits(), batch, config);
        Gradient {
            loss: (loss + tape.added_loss) as f32,
            right: count_right(tape.logits(), batch.labels),
            parameters: self.backward(tape, gradient, training),
        }
    }

    /// Gradients of all parameters, given that of the logits.
    pub(crate) fn backward(
        &self,
        mut tape: Tape,
        gradient: Vec<f32>,
        training: Training<'_>,
    ) -> Vec<Vec<f32>> {
        let mut parameters: Vec<Vec<f32>> = vec![Vec::new(); self.parameters.len()];
        // The gradient of each step's value, once a reader has added to it.
        let mut gradients: Vec<Option<Vec<f32>>> = vec![None; self.steps.len()];
        gradients[self.steps.len() - 1] = Some(gradient);
        let trained = self.trained(training.trained);
        let of_weights = training.trained == Trained::All;
        for (index, step) in self.steps.iter().enumerate().skip(1).rev() {
            tape.values.truncate(index);
            let Some(gradient) = gradients[index].take() else {
                continue;
            };
            let shape = self.input_shape(step);
            let x = &tape.values[step.inputs[0]];
            let wanted = trained[step.inputs[0]];
            let of_x = match &step.kind {
                StepKind::Input => unreachable!("the loop ends before it"),
                StepKind::Linear {
                    weight,
                    bias,
                    window,
                } => {
                    if let Some(bias) = bias.filter(|_| of_weights) {
                        parameters[bias] = channel_sums(&gradient, step.shape);
                    }
                    let weights = self.values(*weight);
                    let (of_x, of_weight) = match window {
                        Some(window) => Convolution::new(shape, step.shape, *window).backward(
                            x,
                            weights,
                            &gradient,
                            [wanted, of_weights],
                        ),
                        None => {
                            let outputs = step.shape.elements();
                            let gradient = matrix(&gradient, outputs);
                            let x = matrix(x, shape.elements());
                            let weights = matrix(weights, outputs);
                            let of_x = wanted.then(|| product(gradient, weights.transpose()));
                            let of_weight = of_weights.then(|| product(x.transpose(), gradient));
                            (of_x, of_weight.unwrap_or_default())
                        }
                    };
                    parameters[*weight] = of_weight;
                    of_x
                }
                StepKind::Sliding {
                    weight,
                    bias,
                    layout,
                } => {
                    if let Some(bias) = *bias {
                        parameters[bias] = channel_sums(&gradient, step.shape);
                    }
                    let sliding = Sliding::new(shape, step.shape, *layout);
                    let (of_x, of_weight) =
                        sliding.backward(x, self.values(*weight), &gradient, wanted);
                    parameters[*weight] = of_weight;
                    of_x
                }
                StepKind::Pool { layout, .. } => wanted
                    .then(|| Sliding::new(shape, step.shape, *layout).means_backward(&gradient)),
                StepKind::Select(indices) => {
                    wanted.then(|| select_backward(&gradient, shape.elements(), indices))
                }
                StepKind::Affine {
                    granularity,
                    factor,
                    ..
                } => {
                    let images = gradient.chunks_exact(shape.elements());
                    let elements = images.flat_map(|image| image.iter().enumerate());
                    let of = |(element, g): (usize, &f32)| {
                        factor[granularity.index(&shape, element)] * g
                    };
                    Some(elements.map(of).collect())
                }
                StepKind::Concat => {
                    let (total, mut start) = (step.shape.elements(), 0);
                    for &input in &step.inputs {
                        let elements = self.steps[input].shape.elements();
                        let of_input = part(&gradient, total, start, elements);
                        accumulate(&mut gradients[input], of_input);
                        start += elements;
                    }
                    None
                }
                StepKind::AveragePool(window) => {
                    wanted.then(|| AveragePool::new(shape, step.shape, *window).backward(&gradient))
                }
                StepKind::Flatten => Some(gradient),
                StepKind::Add { factors } => {
                    for (place, &input) in step.inputs.iter().enumerate().skip(1) {
                        accumulate(&mut gradients[input], scaled(&gradient, factors.get(place)));
                    }
                    match factors.first() {
                        None => Some(gradient),
                        factor => Some(scaled(&gradient, factor)),
                    }
                }
                StepKind::Normalize(normalization) => {
                    let statistics = &tape.statistics[normalization.statistics];
                    let normalize = self.normalize(index, normalization, Some(training));
                    let found = normalize.backward(x, statistics, &gradient);
                    parameters[normalization.gamma] = found.gamma;
                    parameters[normalization.beta] = found.beta;
                    if let Activated::Quadratic { coefficients, .. } = normalization.activation {
                        for (index, values) in coefficients.into_iter().zip(found.coefficients) {
                            parameters[index] = values;
                        }
                    }
                    Some(found.x)
                }
            };
            if let Some(of_x) = of_x {
                accumulate(&mut gradients[step.inputs[0]], of_x);
            }
        }
        for (gradient, parameter) in parameters.iter_mut().zip(&self.parameters) {
            gradient.resize(parameter.values.len(), 0.0);
        }
        parameters
    }

    /// Whether the value of each step depends on a parameter that is trained.
    fn trained(&self, which: Trained) -> Vec<bool> {
        let mut trained: Vec<bool> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let by_itself = match &step.kind {
                StepKind::Linear { .. } | StepKind::Sliding { .. } => which == Trained::All,
                StepKind::Normalize(normalization) => {
                    let quadratic = matches!(normalization.activation, Activated::Quadratic { .. });
                    which == Trained::All || quadratic
                }
                _ => false,
            };
            trained.push(by_itself || step.inputs.iter().any(|&input| trained[input]));
        }
        trained
    }
}

/// Adds the gradient that comes from one reader of a value.
fn accumulate(sum: &mut Option<Vec<f32>>, gradient: Vec<f32>) {
    match sum {
        Some(sum) => add(sum, &gradient),
        None => *sum = Some(gradient),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordino_data::Targets;
    use std::sync::Arc;

    use crate::builder::build;
    use crate::forward::TeacherOutput;
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
        let mut network = build(&Architecture::Custom(list), [1, 4, 4], 3, config).unwrap();
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

    fn images(count: usize) -> (Vec<f32>, Targets) {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let pixels = (0..count * 16).map(|_| unit(&mut rng)).collect();
        let labels = (0..count).map(|index| (index % 3) as u16).collect();
        (pixels, Targets::Classes(labels))
    }

    /// The output of a teacher that is unlike the network.
    fn teacher(network: &Network, images: &[f32]) -> TeacherOutput {
        let mut output = network.teacher_output(images, true);
        output
            .logits
            .iter_mut()
            .for_each(|logit| *logit = 3.0 * *logit + 1.0);
        for features in output.features.iter_mut().flatten() {
            *features = Arc::new(features.iter().map(|value| 0.5 * value - 0.2).collect());
        }
        output
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
            let batch = Batch {
                images: &images,
                labels: &labels,
                weights: &[],
                teacher: Some(teacher(&network, &images)),
                blend: 0.0,
            };
            let gradient = network.gradient(&batch, &config);
            let (mut worst, mut largest) = (0.0f32, 0.0f32);
            for (parameter, gradient) in gradient.parameters.iter().enumerate() {
                for (index, gradient) in gradient.iter().enumerate() {
                    let loss = |change: f32| {
                        let mut moved = network.clone();
                        moved.parameters[parameter].values[index] += change;
                        moved.gradient(&batch, &config).loss
                    };
                    let slope = |step: f32| (loss(step) - loss(-step)) / (2.0 * step);
                    // Without the term of third order.
                    let difference = (4.0 * slope(2e-3) - slope(4e-3)) / 3.0;
                    let off = (difference - gradient).abs();
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
    fn frozen_normalizations_are_constants_and_coefficients_can_be_trained_alone() {
        let (images, labels) = images(12);
        let config = TrainConfig {
            activation: Activation::Element,
            range_penalty: 0.0,
            ..Default::default()
        };
        let mut network = network(&config);
        for step in &mut network.steps {
            if let StepKind::Normalize(normalization) = &mut step.kind {
                normalization.frozen = true;
            }
        }
        let batch = Batch {
            images: &images,
            labels: &labels,
            weights: &[],
            teacher: None,
            blend: 0.0,
        };
        let whole = network.gradient(&batch, &config).parameters;
        let training = Training {
            batch: &batch,
            config: &config,
            trained: Trained::Coefficients,
        };
        let tape = network.forward(&images, Some(training), |_, _| ());
        let (_, gradient) = loss(tape.logits(), &batch, &config);
        let alone = network.backward(tape, gradient, training);
        for (index, parameter) in network.parameters.iter().enumerate() {
            match parameter.role {
                Role::A | Role::B | Role::C => assert_eq!(alone[index], whole[index]),
                _ => assert!(alone[index].iter().all(|slope| *slope == 0.0)),
            }
            let loss = |position: usize, change: f32| {
                let mut moved = network.clone();
                moved.parameters[index].values[position] += change;
                moved.gradient(&batch, &config).loss
            };
            for (position, found) in whole[index].iter().enumerate() {
                let expected = match parameter.role {
                    Role::Gamma | Role::Beta => 0.0,
                    _ => (loss(position, 2e-3) - loss(position, -2e-3)) / 4e-3,
                };
                let off = (expected - found).abs() / expected.abs().max(1.0);
                assert!(off < 2e-2, "{}: {found}, not {expected}", parameter.name);
            }
        }
    }
}
