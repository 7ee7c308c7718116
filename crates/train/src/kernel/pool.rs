//! Average pooling.

use rayon::prelude::*;

use super::Kernel;

/// Means over windows of maps `[images][channels][height][width]`; incomplete windows are left out.
#[derive(Clone, Debug)]
pub(crate) struct AveragePool {
    pub(crate) size: [usize; 2],
    pub(crate) output: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
}

impl AveragePool {
    /// Calls `visit(output position, start in the input, length)` for every row of every window.
    fn windows(&self, mut visit: impl FnMut(usize, usize, usize)) {
        for oy in 0..self.output[0] {
            for dy in 0..self.kernel[0] {
                let row = (oy * self.stride[0] + dy) * self.size[1];
                for ox in 0..self.output[1] {
                    let start = row + ox * self.stride[1];
                    visit(oy * self.output[1] + ox, start, self.kernel[1]);
                }
            }
        }
    }

    fn lengths(&self) -> [usize; 2] {
        [self.size[0] * self.size[1], self.output[0] * self.output[1]]
    }

    fn weight(&self) -> f32 {
        1.0 / (self.kernel[0] * self.kernel[1]) as f32
    }
}

impl Kernel<1> for AveragePool {
    fn forward(&mut self, [maps]: [&[f32]; 1]) -> Vec<f32> {
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

    fn backward(
        &self,
        [maps]: [&[f32]; 1],
        gradient: &[f32],
        _: [bool; 1],
    ) -> [Option<Vec<f32>>; 1] {
        let [input, output] = self.lengths();
        let mut spread = vec![0.0; maps.len()];
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
        [Some(spread)]
    }
}
