//! Average pooling.

use rayon::prelude::*;
use sordino_graph::Shape;

use super::Window;

/// Means over windows of maps `[images][channels][height][width]`; incomplete windows are left out.
pub(crate) struct AveragePool {
    size: [usize; 2],
    output: [usize; 2],
    window: Window,
}

impl AveragePool {
    /// A pool of maps of shape `input` to maps of shape `output`.
    pub(crate) fn new(input: Shape, output: Shape, window: Window) -> Self {
        let ((_, size), (_, output)) = (super::sides(input), super::sides(output));
        Self {
            size,
            output,
            window,
        }
    }

    /// Calls `visit(output position, start in the input, length)` for every row of every window.
    fn windows(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let Window { kernel, stride, .. } = self.window;
        for oy in 0..self.output[0] {
            for dy in 0..kernel[0] {
                let row = (oy * stride[0] + dy) * self.size[1];
                for ox in 0..self.output[1] {
                    let start = row + ox * stride[1];
                    visit(oy * self.output[1] + ox, start, kernel[1]);
                }
            }
        }
    }

    fn lengths(&self) -> [usize; 2] {
        [self.size[0] * self.size[1], self.output[0] * self.output[1]]
    }

    fn weight(&self) -> f32 {
        1.0 / (self.window.kernel[0] * self.window.kernel[1]) as f32
    }

    /// The means of `maps`.
    pub(crate) fn forward(&self, maps: &[f32]) -> Vec<f32> {
        let [input, output] = self.lengths();
        let mut means = vec![0.0; maps.len() / input * output];
        means
            .par_chunks_mut(output)
            .zip(maps.par_chunks(input))
            .with_min_len(64)
            .for_each(|(means, map)| {
                self.windows(|position, start, length| {
                    means[position] += map[start..start + length].iter().sum::<f32>();
                });
                means.iter_mut().for_each(|mean| *mean *= self.weight());
            });
        means
    }

    /// The gradient of the maps, given that of the means.
    pub(crate) fn backward(&self, gradient: &[f32]) -> Vec<f32> {
        let [input, output] = self.lengths();
        let mut spread = vec![0.0; gradient.len() / output * input];
        spread
            .par_chunks_mut(input)
            .zip(gradient.par_chunks(output))
            .with_min_len(64)
            .for_each(|(spread, gradient)| {
                self.windows(|position, start, length| {
                    let share = gradient[position] * self.weight();
                    spread[start..start + length]
                        .iter_mut()
                        .for_each(|value| *value += share);
                });
            });
        spread
    }
}
