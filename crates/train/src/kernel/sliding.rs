//! Convolutions in groups, with dilation and with unlike padding, and pools with padding: tap by tap, row by row.
//!
//! Ordinary convolutions have a faster kernel: see [`Convolution`](super::Convolution).

use rayon::prelude::*;
use sordino_graph::{Padding, Shape};

/// A window that slides over a map, in its most general form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: Padding,
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
}

/// A layout between maps of two shapes.
pub(crate) struct Sliding {
    layout: Layout,
    /// Channels, and height and width.
    from: (usize, [usize; 2]),
    to: (usize, [usize; 2]),
}

impl Sliding {
    pub(crate) fn new(from: Shape, to: Shape, layout: Layout) -> Self {
        Self {
            layout,
            from: super::sides(from),
            to: super::sides(to),
        }
    }

    fn taps(&self) -> usize {
        self.layout.kernel[0] * self.layout.kernel[1]
    }

    fn planes(&self) -> [usize; 2] {
        [self.from, self.to].map(|(_, [height, width])| height * width)
    }

    /// The positions of an axis whose tap `k` lies inside the map: the first one, one behind the last, and the place
    /// in the map that the first one reads.
    fn inside(&self, axis: usize, k: usize) -> [usize; 3] {
        let (stride, padding) = (self.layout.stride[axis], self.layout.padding.before[axis]);
        let tap = k * self.layout.dilation[axis];
        let first = padding.saturating_sub(tap).div_ceil(stride);
        // Position p reads p * stride + tap - padding, which must be below the size.
        let end = (self.from.1[axis] + padding)
            .saturating_sub(tap)
            .div_ceil(stride)
            .min(self.to.1[axis]);
        let start = (first * stride + tap).saturating_sub(padding);
        [first, end.max(first), start]
    }

    /// Calls `visit(output, input, count)` for every row of one tap: `count` outputs from `output` on read inputs from
    /// `input` on, a stride apart.
    fn rows(&self, tap: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let (ky, kx) = (tap / self.layout.kernel[1], tap % self.layout.kernel[1]);
        let [top, bottom, first_row] = self.inside(0, ky);
        let [left, right, first_column] = self.inside(1, kx);
        let (wide_out, wide_in) = (self.to.1[1], self.from.1[1]);
        for (step, y) in (top..bottom).enumerate() {
            let row = first_row + step * self.layout.stride[0];
            visit(
                y * wide_out + left,
                row * wide_in + first_column,
                right - left,
            );
        }
    }

    /// Calls `visit(output channel, input channel, weight of tap 0)` for every pair of channels of a group.
    fn pairs(&self, mut visit: impl FnMut(usize, usize, usize)) {
        for output in 0..self.to.0 {
            self.pairs_of(output, |input, weight| visit(output, input, weight));
        }
    }

    fn pairs_of(&self, output: usize, mut visit: impl FnMut(usize, usize)) {
        let groups = self.layout.groups;
        let inputs = self.from.0 / groups;
        let group = output / (self.to.0 / groups);
        for input in 0..inputs {
            visit(
                group * inputs + input,
                (output * inputs + input) * self.taps(),
            );
        }
    }

    /// The convolution of `images`.
    pub(crate) fn forward(&self, images: &[f32], weight: &[f32]) -> Vec<f32> {
        let [from, to] = self.planes();
        let (of_input, of_output) = (self.from.0 * from, self.to.0 * to);
        let stride = self.layout.stride[1];
        let mut out = vec![0.0; images.len() / of_input * of_output];
        let each = out.par_chunks_mut(of_output);
        each.zip(images.par_chunks(of_input))
            .for_each(|(out, image)| {
                self.pairs(|output, input, first| {
                    let out = &mut out[output * to..][..to];
                    let x = &image[input * from..][..from];
                    for tap in 0..self.taps() {
                        let weight = weight[first + tap];
                        self.rows(tap, |y, at, count| {
                            let inputs = x[at..].iter().step_by(stride);
                            for (out, x) in out[y..y + count].iter_mut().zip(inputs) {
                                *out += weight * x;
                            }
                        });
                    }
                });
            });
        out
    }

    /// Gradients of the images, if `wanted`, and of the weights.
    pub(crate) fn backward(
        &self,
        images: &[f32],
        weight: &[f32],
        gradient: &[f32],
        wanted: bool,
    ) -> (Option<Vec<f32>>, Vec<f32>) {
        let [from, to] = self.planes();
        let (of_input, of_output) = (self.from.0 * from, self.to.0 * to);
        let stride = self.layout.stride[1];
        let of_images = wanted.then(|| {
            let mut all = vec![0.0; images.len()];
            let each = all.par_chunks_mut(of_input);
            each.zip(gradient.par_chunks(of_output))
                .for_each(|(of_image, gradient)| {
                    self.pairs(|output, input, first| {
                        let gradient = &gradient[output * to..][..to];
                        let of_image = &mut of_image[input * from..][..from];
                        for tap in 0..self.taps() {
                            let weight = weight[first + tap];
                            self.rows(tap, |y, at, count| {
                                let inputs = of_image[at..].iter_mut().step_by(stride);
                                for (sum, g) in inputs.zip(&gradient[y..y + count]) {
                                    *sum += weight * g;
                                }
                            });
                        }
                    });
                });
            all
        });
        let mut of_weight = vec![0.0; weight.len()];
        let row = weight.len() / self.to.0;
        let each = of_weight.par_chunks_mut(row).enumerate();
        each.for_each(|(output, of_weight)| {
            self.pairs_of(output, |input, first| {
                for tap in 0..self.taps() {
                    let mut sum = 0.0f64;
                    let pairs = images.chunks(of_input).zip(gradient.chunks(of_output));
                    for (image, gradient) in pairs {
                        let x = &image[input * from..][..from];
                        let gradient = &gradient[output * to..][..to];
                        self.rows(tap, |y, at, count| {
                            let inputs = x[at..].iter().step_by(stride);
                            let products = inputs.zip(&gradient[y..y + count]);
                            sum += f64::from(products.map(|(x, g)| x * g).sum::<f32>());
                        });
                    }
                    of_weight[first + tap - output * row] = sum as f32;
                }
            });
        });
        (of_images, of_weight)
    }

    /// The largest value of each window, channel by channel.
    pub(crate) fn maxima(&self, images: &[f32]) -> Vec<f32> {
        self.pool(images, f32::NEG_INFINITY, f32::max)
    }

    /// The sum of each window over the number of its taps, padding included.
    pub(crate) fn means(&self, images: &[f32]) -> Vec<f32> {
        let mut sums = self.pool(images, 0.0, |sum, x| sum + x);
        let share = 1.0 / self.taps() as f32;
        sums.iter_mut().for_each(|sum| *sum *= share);
        sums
    }

    fn pool(&self, images: &[f32], start: f32, join: impl Fn(f32, f32) -> f32 + Sync) -> Vec<f32> {
        let [from, to] = self.planes();
        let mut out = vec![start; images.len() / from * to];
        let each = out.par_chunks_mut(to).zip(images.par_chunks(from));
        each.with_min_len(64).for_each(|(out, x)| {
            for tap in 0..self.taps() {
                self.rows(tap, |y, at, count| {
                    let inputs = x[at..].iter().step_by(self.layout.stride[1]);
                    for (out, x) in out[y..y + count].iter_mut().zip(inputs) {
                        *out = join(*out, *x);
                    }
                });
            }
        });
        out
    }

    /// The gradient of what [`means`](Self::means) pools.
    pub(crate) fn means_backward(&self, gradient: &[f32]) -> Vec<f32> {
        let [from, to] = self.planes();
        let share = 1.0 / self.taps() as f32;
        let mut all = vec![0.0; gradient.len() / to * from];
        let each = all.par_chunks_mut(from).zip(gradient.par_chunks(to));
        each.with_min_len(64).for_each(|(of_x, gradient)| {
            for tap in 0..self.taps() {
                self.rows(tap, |y, at, count| {
                    let inputs = of_x[at..].iter_mut().step_by(self.layout.stride[1]);
                    for (sum, g) in inputs.zip(&gradient[y..y + count]) {
                        *sum += share * g;
                    }
                });
            }
        });
        all
    }

    /// For every tap of every window, window by window in rows of taps, the element that it reads, or -1.
    pub(crate) fn tiled(&self) -> (Shape, Vec<i32>) {
        let (channels, [height, width]) = self.to;
        let [rows, columns] = self.layout.kernel;
        let [from, _] = self.planes();
        let shape = Shape::map(channels, height * rows, width * columns);
        let mut indices = vec![-1; shape.elements()];
        for channel in 0..channels {
            for tap in 0..self.taps() {
                let (ky, kx) = (tap / columns, tap % columns);
                self.rows(tap, |first, at, count| {
                    for step in 0..count {
                        let (y, x) = ((first + step) / width, (first + step) % width);
                        let place = (channel * height * rows + y * rows + ky) * width * columns;
                        indices[place + x * columns + kx] =
                            (channel * from + at + step * self.layout.stride[1]) as i32;
                    }
                });
            }
        }
        (shape, indices)
    }
}
