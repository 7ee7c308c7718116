//! The forward pass.

use std::sync::Arc;

use crate::TrainConfig;
use rayon::prelude::*;
use sordino_data::Targets;

use crate::kernel::{
    AveragePool, Convolution, Function, Normalize, Sliding, Terms, add, add_bias, concat, matrix,
    product, select,
};
use crate::network::{Activated, Network, Normalization, Statistics, Step, StepKind};

/// The input of one training step.
pub(crate) struct Batch<'a> {
    /// Prepared images, one after the other.
    pub(crate) images: &'a [f32],
    /// What the images are labelled with; none where the loss is not computed.
    pub(crate) labels: &'a Targets,
    /// What each class, or each finding where it is present, weighs in the loss; 1 for those past the end.
    pub(crate) weights: &'a [f64],
    /// The teacher's output for the images, when distilling.
    pub(crate) teacher: Option<TeacherOutput>,
    /// Share of ReLU mixed into the quadratics.
    pub(crate) blend: f32,
}

impl Batch<'_> {
    /// What a class, or a finding where it is present, weighs in the loss.
    pub(crate) fn weight(&self, class: usize) -> f64 {
        self.weights.get(class).copied().unwrap_or(1.0)
    }
}

/// Labels of no image.
pub(crate) static UNLABELLED: Targets = Targets::Classes(Vec::new());

/// A teacher's output for a batch.
pub(crate) struct TeacherOutput {
    /// `[images][classes]`.
    pub(crate) logits: Vec<f32>,
    /// The activations by step, if they are distilled too. A student has the steps of its teacher.
    pub(crate) features: Vec<Option<Arc<Vec<f32>>>>,
}

/// Makes normalizations use the statistics of the batch, and adds the terms of the loss that look at activations.
#[derive(Clone, Copy)]
pub(crate) struct Training<'a> {
    pub(crate) batch: &'a Batch<'a>,
    pub(crate) config: &'a TrainConfig,
    /// What has a gradient.
    pub(crate) trained: Trained,
}

/// The parameters that are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trained {
    All,
    /// Coefficients of quadratics; the gradients of all others are zero.
    Coefficients,
}

/// Everything that a forward pass leaves for the backward pass.
#[derive(Default)]
pub(crate) struct Tape {
    /// The value of each step, `[images][elements]`. Outside of training a value is dropped after its last reader.
    pub(crate) values: Vec<Arc<Vec<f32>>>,
    /// The statistics of each normalization's input.
    pub(crate) statistics: Vec<Statistics>,
    /// Terms of the loss that look at activations.
    pub(crate) added_loss: f64,
}

impl Tape {
    /// The value of the last step.
    pub(crate) fn logits(&self) -> &[f32] {
        self.values.last().map_or(&[], |values| values)
    }
}

impl Network {
    /// Logits `[images][classes]` with the recorded statistics; `observe` gets the number and the value of each step.
    pub(crate) fn logits(
        &self,
        images: &[f32],
        observe: impl FnMut(usize, &Arc<Vec<f32>>),
    ) -> Vec<f32> {
        self.forward(images, None, observe).logits().to_vec()
    }

    /// The output of this network, as a teacher, for images; with the values of its activations if `features` is set.
    pub(crate) fn teacher_output(&self, images: &[f32], features: bool) -> TeacherOutput {
        let mut found = vec![None; self.steps.len()];
        let logits = self.logits(images, |index, value| {
            if let StepKind::Normalize(normalization) = &self.steps[index].kind
                && features
                && normalization.activation != Activated::Not
            {
                found[index] = Some(value.clone());
            }
        });
        TeacherOutput {
            logits,
            features: found,
        }
    }

    /// Computes the steps one after the other; `observe` gets the number and the value of each.
    pub(crate) fn forward(
        &self,
        images: &[f32],
        training: Option<Training<'_>>,
        mut observe: impl FnMut(usize, &Arc<Vec<f32>>),
    ) -> Tape {
        let mut last_readers = vec![0; self.steps.len()];
        for (index, step) in self.steps.iter().enumerate() {
            step.inputs.iter().for_each(|&i| last_readers[i] = index);
        }
        let mut tape = Tape::default();
        tape.values.push(Arc::new(images.to_vec()));
        for (index, step) in self.steps.iter().enumerate().skip(1) {
            let value = self.apply(index, step, &mut tape, training);
            observe(index, &value);
            tape.values.push(value);
            for &input in &step.inputs {
                if training.is_none() && last_readers[input] == index {
                    tape.values[input] = Arc::default();
                }
            }
        }
        tape
    }

    fn apply(
        &self,
        index: usize,
        step: &Step,
        tape: &mut Tape,
        training: Option<Training<'_>>,
    ) -> Arc<Vec<f32>> {
        let shape = self.input_shape(step);
        let x = &tape.values[step.inputs[0]];
        let mut bias = None;
        let mut y = match &step.kind {
            StepKind::Input => unreachable!("the caller starts behind it"),
            StepKind::Linear {
                weight,
                bias: offset,
                window,
            } => {
                bias = *offset;
                let weight = self.values(*weight);
                match window {
                    Some(window) => Convolution::new(shape, step.shape, *window).forward(x, weight),
                    None => product(
                        matrix(x, shape.elements()),
                        matrix(weight, step.shape.elements()),
                    ),
                }
            }
            StepKind::Sliding {
                weight,
                bias: offset,
                layout,
            } => {
                bias = *offset;
                Sliding::new(shape, step.shape, *layout).forward(x, self.values(*weight))
            }
            StepKind::AveragePool(window) => {
                AveragePool::new(shape, step.shape, *window).forward(x)
            }
            StepKind::Pool { layout, maximum } => {
                let sliding = Sliding::new(shape, step.shape, *layout);
                match maximum {
                    true => sliding.maxima(x),
                    false => sliding.means(x),
                }
            }
            StepKind::Select(indices) => select(x, shape.elements(), indices),
            StepKind::Affine {
                granularity,
                factor,
                offset,
            } => {
                let elements = x
                    .chunks_exact(shape.elements())
                    .flat_map(|x| x.iter().enumerate());
                let value = |(element, x): (usize, &f32)| {
                    let k = granularity.index(&shape, element);
                    factor[k] * x + offset[k]
                };
                elements.map(value).collect()
            }
            StepKind::Concat => {
                let inputs = step.inputs.iter().map(|&input| {
                    let elements = self.steps[input].shape.elements();
                    (&tape.values[input][..], elements)
                });
                concat(&inputs.collect::<Vec<_>>())
            }
            StepKind::Flatten => return x.clone(),
            StepKind::Add { factors } => {
                let mut sum = scaled(x, factors.first());
                for (place, &input) in step.inputs.iter().enumerate().skip(1) {
                    match factors.get(place) {
                        None => add(&mut sum, &tape.values[input]),
                        factor => add(&mut sum, &scaled(&tape.values[input], factor)),
                    }
                }
                sum
            }
            StepKind::Normalize(normalization) => {
                let recorded = match training {
                    Some(_) if !normalization.frozen => None,
                    _ => Some(&self.statistics[normalization.statistics]),
                };
                let normalize = self.normalize(index, normalization, training);
                let mut normalized = normalize.forward(x, recorded);
                if let Activated::Teacher(function) = &normalization.activation {
                    let planes = normalized.values.par_chunks_mut(shape.channel_elements());
                    planes.enumerate().for_each(|(plane, values)| {
                        let of = |x: f32| function.apply(x.into(), plane % shape.channels()) as f32;
                        values.iter_mut().for_each(|value| *value = of(*value));
                    });
                }
                tape.statistics.push(normalized.statistics);
                tape.added_loss += normalized.added_loss;
                normalized.values
            }
        };
        if let Some(bias) = bias {
            add_bias(&mut y, self.values(bias), step.shape);
        }
        Arc::new(y)
    }

    /// Normalization and activation as step number `index` computes them.
    pub(crate) fn normalize(
        &self,
        index: usize,
        normalization: &Normalization,
        training: Option<Training<'_>>,
    ) -> Normalize<'_> {
        let function = match normalization.activation {
            // The function of a teacher follows.
            Activated::Not | Activated::Teacher(_) => Function::Identity,
            Activated::Relu => Function::Relu,
            Activated::Quadratic {
                granularity,
                coefficients,
            } => Function::Quadratic(granularity, coefficients.map(|index| self.values(index))),
        };
        let mut terms = Terms::default();
        if let Some(Training { batch, config, .. }) = training
            && normalization.activation != Activated::Not
        {
            terms.range_limit = config.range_limit as f32;
            terms.range_penalty = config.range_penalty as f32;
            if let (Some(teacher), Some(distillation)) = (&batch.teacher, &config.distillation) {
                let features = teacher.features[index].clone();
                terms.features = features.map(|values| (values, distillation.features as f32));
            }
        }
        Normalize {
            shape: self.steps[index].shape,
            gamma: self.values(normalization.gamma),
            beta: self.values(normalization.beta),
            function,
            frozen: normalization.frozen,
            blend: match training {
                Some(training) if normalization.blends => training.batch.blend,
                _ => 0.0,
            },
            terms,
        }
    }
}

/// Values times a factor; none is 1.
pub(crate) fn scaled(values: &[f32], factor: Option<&f32>) -> Vec<f32> {
    match factor {
        None => values.to_vec(),
        Some(factor) => values.iter().map(|value| factor * value).collect(),
    }
}

pub(crate) fn argmax(row: &[f32]) -> usize {
    row.iter().enumerate().fold(
        0,
        |best, (index, value)| if *value > row[best] { index } else { best },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::build;
    use crate::network::{Role, unit};
    use crate::{Activation, Architecture};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn a_quadratic_with_shared_coefficients_equals_one_with_the_same_everywhere() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let images: Vec<f32> = (0..5 * 16).map(|_| unit(&mut rng)).collect();
        let logits = |activation| {
            let mut network = build(
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
