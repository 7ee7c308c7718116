//! Gradient clipping and the optimizer's step, as plain loops over all parameters.

use crate::network::{Network, Role};
use crate::{Optimizer, TrainConfig};

/// The optimizer's memory.
pub(crate) struct State {
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
    /// Steps done.
    pub(crate) steps: i32,
}

impl State {
    pub(crate) fn new(network: &Network) -> Self {
        let zeros: Vec<Vec<f32>> = network
            .parameters
            .iter()
            .map(|p| vec![0.0; p.values.len()])
            .collect();
        Self {
            first: zeros.clone(),
            second: zeros,
            steps: 0,
        }
    }

    /// Its numbers, for a checkpoint.
    pub(crate) fn lists(&mut self) -> [&mut Vec<Vec<f32>>; 2] {
        [&mut self.first, &mut self.second]
    }

    /// One step with gradients whose common norm is `norm`.
    pub(crate) fn step(
        &mut self,
        network: &mut Network,
        gradients: &[Vec<f32>],
        norm: f64,
        learning_rate: f64,
        config: &TrainConfig,
    ) {
        self.steps += 1;
        let shrink = (config.gradient_norm / norm.max(f64::MIN_POSITIVE)).min(1.0) as f32;
        for (index, parameter) in network.parameters.iter_mut().enumerate() {
            let decay = match parameter.role {
                Role::Weight { .. } => 1.0 - (learning_rate * config.weight_decay).min(1.0) as f32,
                _ => 1.0,
            };
            let memory = self.first[index].iter_mut().zip(&mut self.second[index]);
            let values = parameter
                .values
                .iter_mut()
                .zip(&gradients[index])
                .zip(memory);
            match config.optimizer {
                Optimizer::Adam {
                    beta1,
                    beta2,
                    epsilon,
                } => {
                    let step = (learning_rate / (1.0 - beta1.powi(self.steps))) as f32;
                    let correction = (1.0 / (1.0 - beta2.powi(self.steps))).sqrt() as f32;
                    let (beta1, beta2, epsilon) = (beta1 as f32, beta2 as f32, epsilon as f32);
                    for ((value, gradient), (mean, square)) in values {
                        let gradient = gradient * shrink;
                        *mean = beta1 * *mean + (1.0 - beta1) * gradient;
                        *square = beta2 * *square + (1.0 - beta2) * gradient * gradient;
                        *value =
                            decay * *value - step * *mean / (square.sqrt() * correction + epsilon);
                    }
                }
                Optimizer::Sgd { momentum } => {
                    let (momentum, rate) = (momentum as f32, learning_rate as f32);
                    for ((value, gradient), (velocity, _)) in values {
                        let gradient = gradient * shrink;
                        *velocity = momentum * *velocity + gradient;
                        *value = decay * *value - rate * (gradient + momentum * *velocity);
                    }
                }
            }
        }
    }
}

/// Euclidean norm of all gradients together.
pub(crate) fn norm(gradients: &[Vec<f32>]) -> f64 {
    gradients
        .iter()
        .flatten()
        .map(|&value| f64::from(value) * f64::from(value))
        .sum::<f64>()
        .sqrt()
}
