//! The orthonormal DCT-II of images.

use rustdct::{DctPlanner, TransformType2And3};
use std::sync::Arc;

/// Orthonormal DCT-II over rows, columns and channels, and its inverse.
///
/// Over three channels it is nearly the decorrelation of natural colours: brightness, red against blue, green against
/// both.
pub(super) struct Transform {
    axes: [Axis; 3],
}

/// The transform of one axis.
struct Axis {
    length: usize,
    /// Distance between neighbours along the axis in an image.
    stride: usize,
    dct: Arc<dyn TransformType2And3<f64>>,
}

impl Axis {
    /// The starts of all lines along the axis in an image of this many elements.
    fn lines(&self, elements: usize) -> impl Iterator<Item = usize> + use<> {
        let (stride, block) = (self.stride, self.stride * self.length);
        let blocks = (0..elements).step_by(block);
        blocks.flat_map(move |start| start..start + stride)
    }

    /// Applies a function to every line along the axis.
    fn each_line(&self, image: &mut [f64], mut apply: impl FnMut(&mut [f64], &mut [f64])) {
        let mut line = vec![0.0; self.length];
        let mut scratch = vec![0.0; self.dct.get_scratch_len()];
        for start in self.lines(image.len()) {
            let places = || (start..).step_by(self.stride);
            for (value, place) in line.iter_mut().zip(places()) {
                *value = image[place];
            }
            apply(&mut line, &mut scratch);
            for (value, place) in line.iter().zip(places()) {
                image[place] = *value;
            }
        }
    }

    /// The factor that makes the transform orthonormal, for all coefficients but the first; that one has √½ times it.
    fn factor(&self) -> f64 {
        (2.0 / self.length as f64).sqrt()
    }
}

impl Transform {
    /// The transform of images `[channels, height, width]`.
    pub(super) fn new([channels, height, width]: [usize; 3]) -> Self {
        let mut planner = DctPlanner::new();
        let mut axis = |length, stride| Axis {
            length,
            stride,
            dct: planner.plan_dct2(length),
        };
        Self {
            axes: [
                axis(width, 1),
                axis(height, width),
                axis(channels, width * height),
            ],
        }
    }

    /// Replaces an image by its coefficients.
    pub(super) fn forward(&self, image: &mut [f64]) {
        for axis in &self.axes {
            let factor = axis.factor();
            axis.each_line(image, |line, scratch| {
                axis.dct.process_dct2_with_scratch(line, scratch);
                line.iter_mut().for_each(|value| *value *= factor);
                line[0] *= 0.5_f64.sqrt();
            });
        }
    }

    /// Replaces coefficients by their image.
    pub(super) fn inverse(&self, coefficients: &mut [f64]) {
        for axis in &self.axes {
            let factor = axis.factor();
            axis.each_line(coefficients, |line, scratch| {
                line.iter_mut().for_each(|value| *value *= factor);
                // The library's inverse takes half of the first.
                line[0] *= 2.0_f64.sqrt();
                axis.dct.process_dct3_with_scratch(line, scratch);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    /// The definition, one coefficient at a time.
    fn direct(image: &[f64], [channels, height, width]: [usize; 3]) -> Vec<f64> {
        let basis = |length: usize, frequency: usize, index: usize| {
            let scale = if frequency == 0 { 1.0 } else { 2.0 };
            let angle = PI * (index as f64 + 0.5) * frequency as f64 / length as f64;
            (scale / length as f64).sqrt() * angle.cos()
        };
        let places = || {
            (0..channels).flat_map(move |c| {
                (0..height).flat_map(move |y| (0..width).map(move |x| [c, y, x]))
            })
        };
        let coefficient = |[u, v, w]: [usize; 3]| {
            let terms = places().zip(image).map(|([c, y, x], value)| {
                value * basis(channels, u, c) * basis(height, v, y) * basis(width, w, x)
            });
            terms.sum()
        };
        places().map(coefficient).collect()
    }

    #[test]
    fn coefficients_are_those_of_the_definition_and_the_inverse_gives_the_image_back() {
        for shape in [[1, 1, 1], [1, 28, 28], [3, 5, 8], [4, 7, 2]] {
            let elements = shape.iter().product();
            let image: Vec<f64> = (0..elements)
                .map(|i| ((i * i * 37 + i) % 101) as f64 / 101.0)
                .collect();
            let transform = Transform::new(shape);
            let mut values = image.clone();
            transform.forward(&mut values);
            for (found, expected) in values.iter().zip(direct(&image, shape)) {
                assert!(
                    (found - expected).abs() < 1e-9,
                    "{shape:?}: {found} for {expected}"
                );
            }
            transform.inverse(&mut values);
            for (found, expected) in values.iter().zip(&image) {
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{shape:?}: {found} for {expected}"
                );
            }
        }
    }
}
