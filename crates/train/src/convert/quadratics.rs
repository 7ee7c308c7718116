//! The coefficients of an activation's quadratics as numbers that one learning rate suits.

use sordino_graph::Granularity;

use super::moments::{
    Coefficients, LEAST_CURVATURE, LayerMoments, Moments, Unit, back_substitute, cholesky,
};
use crate::network::Network;

/// Decays of the mean gradient and the mean squared gradient.
const BETA: [f64; 2] = [0.9, 0.99];

/// Variance that is added to `u^2` and `u`, so that a direction in which inputs do not vary gets no large steps.
const DAMPING: f64 = 1e-3;

/// Least size of a channel's output, as a share of the layer's largest.
const LEAST_SIZE: f64 = 1e-3;

/// Gradients below this share of the layer's root mean square move their coefficients by less: where nothing depends on an
/// element, its gradient is noise.
const QUIET: f64 = 1e-2;

/// The coefficients of one activation as training sees them: factors of polynomials that are orthonormal on what the
/// channel sees, as shares of the size of the channel's output. So one learning rate suits all.
pub(super) struct Quadratics {
    /// The numbers of a, b and c.
    parameters: [usize; 3],
    groups: Vec<Group>,
}

struct Group {
    unit: Unit,
    /// Cholesky factor of the mean products of `u^2, u, 1`.
    lower: [[f64; 3]; 3],
    size: f64,
    values: [f64; 3],
    mean: [f64; 3],
    square: [f64; 3],
}

impl Group {
    /// The coefficients in units.
    fn coefficients(&self) -> Coefficients {
        back_substitute(self.lower, self.values).map(|value| value * self.size)
    }

    /// The factors that give these coefficients.
    fn set(&mut self, coefficients: Coefficients) {
        self.values = [0, 1, 2].map(|i| {
            let sum: f64 = (i..3).map(|j| self.lower[j][i] * coefficients[j]).sum();
            sum / self.size
        });
    }

    /// The gradient of the factors, given that of the coefficients of the values themselves.
    fn gradient(&self, [a, b, c]: [f64; 3]) -> [f64; 3] {
        let Unit { center, scale } = self.unit;
        let of_units = [
            (a - 2.0 * center * b + center * center * c) / (scale * scale),
            (b - center * c) / scale,
            c,
        ];
        let mut gradient = [0.0; 3];
        for i in 0..3 {
            let known: f64 = (0..i).map(|j| self.lower[i][j] * gradient[j]).sum();
            gradient[i] = (of_units[i] - known) / self.lower[i][i];
        }
        gradient.map(|value| value * self.size)
    }
}

impl Quadratics {
    /// `fits` are in units.
    pub(super) fn new(
        parameters: [usize; 3],
        moments: &LayerMoments,
        granularity: Granularity,
        fits: &[Coefficients],
    ) -> Self {
        let shared = match granularity {
            Granularity::Layer => Granularity::Layer,
            _ => Granularity::Channel,
        };
        let pooled = moments.groups(shared);
        let largest = pooled.iter().map(Moments::size).fold(1e-30, f64::max);
        let per_group = fits.len() / pooled.len();
        let groups = fits.iter().enumerate().map(|(index, fit)| {
            let pooled = &pooled[index / per_group];
            let mut gram = pooled.gram();
            gram[0][0] += DAMPING;
            gram[1][1] += DAMPING;
            let mut group = Group {
                unit: moments.units[index / per_group],
                lower: cholesky(gram),
                size: pooled.size().max(LEAST_SIZE * largest),
                values: [0.0; 3],
                mean: [0.0; 3],
                square: [0.0; 3],
            };
            group.set(*fit);
            group
        });
        Self {
            parameters,
            groups: groups.collect(),
        }
    }

    /// Writes the coefficients into the network.
    pub(super) fn write(&self, network: &mut Network) {
        for (index, group) in self.groups.iter().enumerate() {
            let values = group.unit.expand(group.coefficients());
            for (parameter, value) in self.parameters.iter().zip(values) {
                network.parameters[*parameter].values[index] = value as f32;
            }
        }
    }

    /// One step of Adam. `step` counts from 1.
    pub(super) fn step(&mut self, gradients: &[Vec<f32>], learning_rate: f64, step: i32) {
        let [decay, square_decay] = BETA;
        let correction = [decay, square_decay].map(|decay| 1.0 / (1.0 - decay.powi(step)));
        let [a, b, c] = self.parameters.map(|parameter| &gradients[parameter]);
        let of = |index: usize| [a[index], b[index], c[index]].map(f64::from);
        let found: Vec<[f64; 3]> = self
            .groups
            .iter()
            .enumerate()
            .map(|(i, group)| group.gradient(of(i)))
            .collect();
        let squares: f64 = found.iter().flatten().map(|g| g * g).sum();
        let quiet = QUIET * (squares / (3 * found.len()) as f64).sqrt() + 1e-30;
        for (group, gradient) in self.groups.iter_mut().zip(found) {
            let Group {
                values,
                mean,
                square,
                ..
            } = group;
            let memory = mean.iter_mut().zip(square);
            for ((value, gradient), (mean, square)) in values.iter_mut().zip(gradient).zip(memory) {
                *mean = decay * *mean + (1.0 - decay) * gradient;
                *square = square_decay * *square + (1.0 - square_decay) * gradient * gradient;
                let length = (*square * correction[1]).sqrt() + quiet;
                *value -= learning_rate * *mean * correction[0] / length;
            }
            let [a, b, c] = group.coefficients();
            let least = LEAST_CURVATURE * b.abs();
            if a.abs() < least {
                group.set([least.copysign(a), b, c]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        let mut group = Group {
            unit: Unit {
                center: 1.5,
                scale: 0.4,
            },
            lower: cholesky([[3.1, 0.4, 1.0], [0.4, 1.2, 0.1], [1.0, 0.1, 1.0]]),
            size: 2.0,
            values: [0.0; 3],
            mean: [0.0; 3],
            square: [0.0; 3],
        };
        group.set([0.2, 0.5, -0.3]);
        group
    }

    #[test]
    fn factors_give_the_coefficients_back() {
        for (found, expected) in group().coefficients().iter().zip([0.2, 0.5, -0.3]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn the_gradient_of_factors_is_that_of_finite_differences() {
        // Of a loss that is linear in the coefficients of the values.
        let slopes = [0.7, -1.1, 0.4];
        let loss = |group: &Group| -> f64 {
            let coefficients = group.unit.expand(group.coefficients());
            coefficients
                .iter()
                .zip(slopes)
                .map(|(x, slope)| x * slope)
                .sum()
        };
        let found = group().gradient(slopes);
        for (which, found) in found.into_iter().enumerate() {
            let moved = |change: f64| {
                let mut group = group();
                group.values[which] += change;
                loss(&group)
            };
            let expected = (moved(0.5) - moved(-0.5)) / 1.0;
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }
}
