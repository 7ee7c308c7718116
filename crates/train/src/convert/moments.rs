//! Least-squares fits of quadratics from moments.
//!
//! An activation's inputs and outputs are summed up element by element, so that a fit at any granularity, and its error
//! on other images, take no second look at the images.

use rayon::prelude::*;
use sordino_graph::{Granularity, Shape};

/// Least size of the square's coefficient, as a share of the slope's, both per standard deviation of the input: what is
/// squared for an element has no digits left below it.
pub(super) const LEAST_CURVATURE: f64 = 0.01;

/// Share of the variance that a fit takes for certain to be there: it keeps constant inputs solvable.
const RIDGE: f64 = 1e-6;

/// Images' worth of the channel's values that an element's fit may be drawn by.
const SHRINKAGES: [f64; 8] = [0.25, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 16384.0];

/// A quadratic `(a, b, c)`.
pub(super) type Coefficients = [f64; 3];

/// Center and scale of a channel's inputs: moments of `(x - center) / scale` lose no digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    pub(super) center: f64,
    pub(super) scale: f64,
}

impl Unit {
    /// Units of the channels of values `[images][elements]`; one for all where coefficients are those of a layer.
    pub(super) fn of(values: &[f32], shape: Shape, granularity: Granularity) -> Vec<Self> {
        let (channels, plane) = (shape.channels(), shape.channel_elements());
        let mut sums = vec![[0.0; 3]; channels];
        for (index, values) in values.chunks_exact(plane).enumerate() {
            let [count, sum, squares] = &mut sums[index % channels];
            *count += values.len() as f64;
            *sum += values.iter().map(|&x| f64::from(x)).sum::<f64>();
            *squares += values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        }
        let total = sums.iter().fold([0.0; 3], |total, sums| {
            std::array::from_fn(|i| total[i] + sums[i])
        });
        let unit = |[count, sum, squares]: [f64; 3], least: f64| {
            let center = sum / count;
            let scale = (squares / count - center * center).max(0.0).sqrt();
            Self {
                center,
                scale: scale.max(least),
            }
        };
        let layer = unit(total, f64::from(f32::MIN_POSITIVE));
        match granularity {
            Granularity::Layer => vec![layer; channels],
            // A channel that is all but constant is not blown up.
            _ => sums
                .into_iter()
                .map(|sums| unit(sums, layer.scale * 1e-3))
                .collect(),
        }
    }

    /// A quadratic in units as one in the values themselves.
    pub(super) fn expand(self, [a, b, c]: Coefficients) -> Coefficients {
        let Self { center, scale } = self;
        let (a, b) = (a / (scale * scale), b / scale);
        [
            a,
            b - 2.0 * a * center,
            c - b * center + a * center * center,
        ]
    }
}

/// Sums over images of `u, u^2, u^3, u^4, y, u y, u^2 y, y^2` with `u` an input in units and `y` the output.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    sums: [f64; 8],
    count: f64,
}

impl Moments {
    pub(super) fn add(&mut self, u: f64, y: f64) {
        let square = u * u;
        let terms = [
            u,
            square,
            square * u,
            square * square,
            y,
            u * y,
            square * y,
            y * y,
        ];
        self.sums
            .iter_mut()
            .zip(terms)
            .for_each(|(sum, x)| *sum += x);
        self.count += 1.0;
    }

    fn merge(mut self, other: &Self) -> Self {
        self.sums
            .iter_mut()
            .zip(other.sums)
            .for_each(|(sum, x)| *sum += x);
        self.count += other.count;
        self
    }

    fn mean(&self, which: usize) -> f64 {
        self.sums[which] / self.count.max(1.0)
    }

    /// The matrix of mean products of `u^2, u, 1`.
    pub(super) fn gram(&self) -> [[f64; 3]; 3] {
        let [m1, m2, m3, m4] = [0, 1, 2, 3].map(|which| self.mean(which));
        [[m4, m3, m2], [m3, m2, m1], [m2, m1, 1.0]]
    }

    /// Mean products of `u^2, u, 1` with `y`.
    fn products(&self) -> [f64; 3] {
        [6, 5, 4].map(|which| self.mean(which))
    }

    /// Root mean square of the output.
    pub(super) fn size(&self) -> f64 {
        self.mean(7).max(0.0).sqrt()
    }

    /// Mean squared error of a quadratic in units.
    fn error(&self, fit: Coefficients) -> f64 {
        let gram = self.gram();
        let squares: f64 = (0..3).map(|i| fit[i] * dot(gram[i], fit)).sum();
        (self.mean(7) - 2.0 * dot(fit, self.products()) + squares).max(0.0)
    }

    /// The quadratic with the least mean squared error, in units.
    fn fit(&self) -> Coefficients {
        let mut gram = self.gram();
        // Without variance there is nothing to tell the three apart.
        gram[0][0] += RIDGE;
        gram[1][1] += RIDGE;
        bounded(gram, self.products())
    }

    /// The fit drawn towards another one, as if `weight` times as many images had been seen with it.
    fn shrunk(&self, others: &Self, towards: Coefficients, weight: f64) -> Coefficients {
        let (mut gram, shared) = (self.gram(), others.gram());
        let mut products = self.products();
        for i in 0..3 {
            products[i] += weight * dot(shared[i], towards);
            for j in 0..3 {
                gram[i][j] += weight * shared[i][j];
            }
        }
        gram[0][0] += RIDGE * weight;
        gram[1][1] += RIDGE * weight;
        bounded(gram, products)
    }
}

fn dot(x: [f64; 3], y: [f64; 3]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// Solves for the coefficients; a square that is all but missing gets the least size that is allowed.
fn bounded(gram: [[f64; 3]; 3], products: [f64; 3]) -> Coefficients {
    let fit = solve(gram, products);
    let least = LEAST_CURVATURE * fit[1].abs();
    if fit[0].abs() >= least {
        return fit;
    }
    // The best line beside a square of that size.
    let a = least.copysign(fit[0]);
    let [x, y] = [1, 2].map(|i| products[i] - a * gram[i][0]);
    let determinant = gram[1][1] * gram[2][2] - gram[1][2] * gram[2][1];
    let b = (x * gram[2][2] - y * gram[1][2]) / determinant;
    [a, b, (gram[1][1] * y - gram[2][1] * x) / determinant]
}

/// Solves a symmetric positive definite system.
fn solve(matrix: [[f64; 3]; 3], right: [f64; 3]) -> [f64; 3] {
    let lower = cholesky(matrix);
    let mut y = [0.0; 3];
    for i in 0..3 {
        let known: f64 = (0..i).map(|j| lower[i][j] * y[j]).sum();
        y[i] = (right[i] - known) / lower[i][i];
    }
    back_substitute(lower, y)
}

/// The lower triangular `L` with `L L^T` equal to the matrix.
pub(super) fn cholesky(matrix: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let mut lower = [[0.0; 3]; 3];
    for i in 0..3 {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
            let rest = matrix[i][j] - known;
            lower[i][j] = match i == j {
                true => rest.max(1e-12).sqrt(),
                false => rest / lower[j][j],
            };
        }
    }
    lower
}

/// Solves `L^T x = y`.
pub(super) fn back_substitute(lower: [[f64; 3]; 3], y: [f64; 3]) -> [f64; 3] {
    let mut x = [0.0; 3];
    for i in (0..3).rev() {
        let known: f64 = (i + 1..3).map(|j| lower[j][i] * x[j]).sum();
        x[i] = (y[i] - known) / lower[i][i];
    }
    x
}

/// The moments of every element of an activation, on the images to fit and on images held back.
pub(super) struct LayerMoments {
    shape: Shape,
    pub(super) units: Vec<Unit>,
    fitted: Vec<Moments>,
    held_back: Vec<Moments>,
}

impl LayerMoments {
    pub(super) fn new(shape: Shape, units: Vec<Unit>) -> Self {
        Self {
            shape,
            units,
            fitted: vec![Moments::default(); shape.elements()],
            held_back: vec![Moments::default(); shape.elements()],
        }
    }

    /// Adds inputs and outputs `[images][elements]` of an activation.
    pub(super) fn add(&mut self, inputs: &[f32], outputs: &[f32], held_back: bool) {
        let (channels, plane) = (self.shape.channels(), self.shape.channel_elements());
        let moments = match held_back {
            true => &mut self.held_back,
            false => &mut self.fitted,
        };
        let units = &self.units;
        let channel_moments = moments.par_chunks_exact_mut(plane).enumerate();
        channel_moments
            .with_min_len((256 / plane).max(1))
            .for_each(|(channel, moments)| {
                let Unit { center, scale } = units[channel];
                for start in (channel * plane..inputs.len()).step_by(channels * plane) {
                    let values = inputs[start..].iter().zip(&outputs[start..]);
                    for (moments, (&x, &y)) in moments.iter_mut().zip(values) {
                        moments.add((f64::from(x) - center) / scale, f64::from(y));
                    }
                }
            });
    }

    /// Moments pooled over the elements that share coefficients.
    pub(super) fn groups(&self, granularity: Granularity) -> Vec<Moments> {
        let mut groups = vec![Moments::default(); granularity.coefficients(&self.shape)];
        for (element, moments) in self.fitted.iter().enumerate() {
            let group = &mut groups[granularity.index(&self.shape, element)];
            *group = group.merge(moments);
        }
        groups
    }

    /// The best quadratic of every group of elements, in units.
    ///
    /// An element sees few values. Its fit is drawn towards its channel's, as if the channel's values had been seen a
    /// number of times too; the images held back choose that number, one for the layer.
    pub(super) fn fits(&self, granularity: Granularity) -> Vec<Coefficients> {
        if granularity != Granularity::Element || self.shape.channel_elements() == 1 {
            return self.groups(granularity).iter().map(Moments::fit).collect();
        }
        let channels = self.groups(Granularity::Channel);
        let of_channels: Vec<Coefficients> = channels.iter().map(Moments::fit).collect();
        let shrunk = |images: f64| -> Vec<Coefficients> {
            let elements = self.fitted.par_iter().enumerate();
            elements
                .map(|(element, moments)| {
                    let channel = Granularity::Channel.index(&self.shape, element);
                    let weight = images / moments.count.max(1.0);
                    moments.shrunk(&channels[channel], of_channels[channel], weight)
                })
                .collect()
        };
        let error = |fits: &[Coefficients]| -> f64 {
            let pairs = self.held_back.iter().zip(fits);
            pairs.map(|(moments, fit)| moments.error(*fit)).sum()
        };
        let mut best = (f64::INFINITY, Vec::new());
        for images in SHRINKAGES {
            let fits = shrunk(images);
            let error = error(&fits);
            if error < best.0 || best.1.is_empty() {
                best = (error, fits);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::unit;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    const UNIT: Unit = Unit {
        center: 0.0,
        scale: 1.0,
    };

    fn assert_near(found: Coefficients, expected: Coefficients, tolerance: f64) {
        for (x, y) in found.iter().zip(expected) {
            assert!((x - y).abs() < tolerance, "{found:?}, not {expected:?}");
        }
    }

    #[test]
    fn the_fit_of_relu_on_an_interval_is_the_closed_form() {
        // On [-1, 1] ReLU is P0 / 4 + P1 / 2 + 5 P2 / 16 + ... in Legendre polynomials.
        let mut moments = Moments::default();
        for step in 0..100_000 {
            let x = (f64::from(step) + 0.5) / 50_000.0 - 1.0;
            moments.add(x, x.max(0.0));
        }
        assert_near(moments.fit(), [15.0 / 32.0, 0.5, 3.0 / 32.0], 1e-5);
    }

    #[test]
    fn a_quadratic_is_found_again_whatever_the_scale_of_its_inputs() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (center, scale) in [(0.0, 1.0), (30.0, 2.0), (-1e-3, 1e-4)] {
            let [a, b, c] = [0.7 / (scale * scale), -0.4 / scale, 0.3];
            let shape = Shape::Flat(1);
            let inputs: Vec<f32> = (0..500)
                .map(|_| (center + scale * f64::from(2.0 * unit(&mut rng) - 1.0)) as f32)
                .collect();
            let of = |[a, b, c]: Coefficients, x: f32| {
                let x = f64::from(x);
                (a * x + b) * x + c
            };
            let outputs: Vec<f32> = inputs.iter().map(|x| of([a, b, c], *x) as f32).collect();
            let units = Unit::of(&inputs, shape, Granularity::Channel);
            let mut layer = LayerMoments::new(shape, units);
            layer.add(&inputs, &outputs, false);
            let fit = layer.units[0].expand(layer.fits(Granularity::Channel)[0]);
            let size = outputs.iter().fold(0.0f32, |size, y| size.max(y.abs()));
            for (x, y) in inputs.iter().zip(&outputs) {
                let off = of(fit, *x) - f64::from(*y);
                assert!(
                    off.abs() < 1e-4 * f64::from(size),
                    "{center} {scale}: {off}"
                );
            }
        }
    }

    #[test]
    fn constant_inputs_and_lines_have_a_fit_with_a_square() {
        let mut constant = Moments::default();
        let mut line = Moments::default();
        for step in 0..100 {
            let x = f64::from(step) / 50.0 - 1.0;
            constant.add(0.0, 3.0);
            line.add(x, 2.0 * x + 1.0);
        }
        assert_near(constant.fit(), [0.0, 0.0, 3.0], 1e-4);
        let [a, b, c] = line.fit();
        assert!(a.abs() >= 0.99 * LEAST_CURVATURE * b.abs(), "{a} {b}");
        assert!((b - 2.0).abs() < 0.05 && (c - 1.0).abs() < 0.05, "{b} {c}");
    }

    /// Moments of 25 elements in a channel; `slope` is each one's.
    fn layer(images: usize, noise: f32, slope: impl Fn(usize) -> f32) -> LayerMoments {
        let shape = Shape::map(1, 5, 5);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut layer = LayerMoments::new(shape, vec![UNIT]);
        for held_back in [false, true] {
            let count = if held_back { 400 } else { images };
            let inputs: Vec<f32> = (0..count * 25)
                .map(|_| 4.0 * unit(&mut rng) - 2.0)
                .collect();
            let outputs: Vec<f32> = inputs
                .iter()
                .enumerate()
                .map(|(i, x)| 0.3 * x * x + slope(i % 25) * x + noise * (unit(&mut rng) - 0.5))
                .collect();
            layer.add(&inputs, &outputs, held_back);
        }
        layer
    }

    #[test]
    fn elements_are_drawn_to_their_channel_as_far_as_images_held_back_say() {
        let spread = |fits: &[Coefficients]| {
            let slopes = || fits.iter().map(|fit| fit[1]);
            slopes().fold(f64::MIN, f64::max) - slopes().fold(f64::MAX, f64::min)
        };
        // All alike, few images, much noise: the channel's fit for all.
        let alike = layer(8, 2.0, |_| 0.5);
        let single: Vec<Coefficients> = alike.fitted.iter().map(Moments::fit).collect();
        let shrunk = alike.fits(Granularity::Element);
        assert!(spread(&shrunk) < 0.05 * spread(&single), "{shrunk:?}");
        // Each its own, many images: their own fits.
        let own = layer(2000, 0.2, |element| element as f32 / 25.0);
        let fits = own.fits(Granularity::Element);
        for (element, fit) in fits.into_iter().enumerate() {
            assert_near(fit, [0.3, element as f64 / 25.0, 0.0], 0.03);
        }
    }
}
