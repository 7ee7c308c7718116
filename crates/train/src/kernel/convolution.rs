//! Convolution as matrix products over a few images at a time, which stay in the cache.

use rayon::prelude::*;
use sordino_graph::Shape;

use super::Window;
use super::product::{add_product, matrix, product};

/// Columns of a product: enough to pay for packing the weights, few enough for the cache.
const COLUMNS: usize = 256;

/// Parts that the images of a batch are divided into for the gradient of the weights, each summed in order.
const PARTS: usize = 16;

/// Cross-correlation of maps `[images][inputs][height][width]` with weights `[channels][inputs][kernel][kernel]`.
pub(crate) struct Convolution {
    inputs: usize,
    size: [usize; 2],
    channels: usize,
    output: [usize; 2],
    window: Window,
}

impl Convolution {
    /// A convolution of maps of shape `input` to maps of shape `output`.
    pub(crate) fn new(input: Shape, output: Shape, window: Window) -> Self {
        let ((inputs, size), (channels, output)) = (super::sides(input), super::sides(output));
        Self {
            inputs,
            size,
            channels,
            output,
            window,
        }
    }

    fn input_len(&self) -> usize {
        self.inputs * self.size[0] * self.size[1]
    }

    /// Positions of the output map.
    fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    fn output_len(&self) -> usize {
        self.channels * self.positions()
    }

    /// Weights that one output reads.
    fn taps(&self) -> usize {
        self.inputs * self.window.kernel[0] * self.window.kernel[1]
    }

    /// Images a product takes.
    fn together(&self) -> usize {
        (COLUMNS / self.positions()).max(1)
    }

    /// Calls `copy(column range, image range)` for every run of positions of a row of the unfolded images that lies
    /// inside the image; `row` numbers (input channel, kernel row, kernel column).
    fn runs(&self, row: usize, mut copy: impl FnMut(usize, usize, usize)) {
        let Window {
            kernel: [kernel_height, kernel_width],
            stride,
            padding,
        } = self.window;
        let [height, width] = self.size;
        let channel = row / (kernel_height * kernel_width);
        let (dy, dx) = (row / kernel_width % kernel_height, row % kernel_width);
        // Output columns whose tap is inside the image: padding <= ox * stride + dx < width + padding.
        let first = padding[1].saturating_sub(dx).div_ceil(stride[1]);
        let end = (width + padding[1])
            .saturating_sub(dx)
            .div_ceil(stride[1])
            .min(self.output[1]);
        if first >= end {
            return;
        }
        let x = first * stride[1] + dx - padding[1];
        for oy in 0..self.output[0] {
            let y = oy * stride[0] + dy;
            if y >= padding[0] && y < height + padding[0] {
                let start = (channel * height + y - padding[0]) * width + x;
                copy(oy * self.output[1] + first, start, end - first);
            }
        }
    }

    /// The images' windows as columns: `[taps][images * positions]`.
    fn unfold(&self, images: &[f32]) -> Vec<f32> {
        let count = images.len() / self.input_len();
        let columns = count * self.positions();
        let mut unfolded = vec![0.0; self.taps() * columns];
        for (row, values) in unfolded.chunks_exact_mut(columns).enumerate() {
            let parts = values.chunks_exact_mut(self.positions());
            for (values, image) in parts.zip(images.chunks_exact(self.input_len())) {
                self.runs(row, |to, from, length| match self.window.stride[1] {
                    1 => values[to..to + length].copy_from_slice(&image[from..from + length]),
                    stride => values[to..to + length]
                        .iter_mut()
                        .zip(image[from..].iter().step_by(stride))
                        .for_each(|(value, pixel)| *value = *pixel),
                });
            }
        }
        unfolded
    }

    /// Adds columns back into the pixels that they were taken from.
    fn fold(&self, columns: &[f32], images: &mut [f32]) {
        let count = images.len() / self.input_len();
        let rows = columns.chunks_exact(count * self.positions());
        for (row, values) in rows.enumerate() {
            let parts = values.chunks_exact(self.positions());
            for (values, image) in parts.zip(images.chunks_exact_mut(self.input_len())) {
                self.runs(row, |to, from, length| match self.window.stride[1] {
                    1 => image[from..from + length]
                        .iter_mut()
                        .zip(&values[to..to + length])
                        .for_each(|(pixel, value)| *pixel += value),
                    stride => image[from..]
                        .iter_mut()
                        .step_by(stride)
                        .zip(&values[to..to + length])
                        .for_each(|(pixel, value)| *pixel += value),
                });
            }
        }
    }

    /// `[images][channels][positions]` as `[channels][images * positions]`.
    fn gather(&self, maps: &[f32]) -> Vec<f32> {
        let mut rows = Vec::with_capacity(maps.len());
        for channel in 0..self.channels {
            for map in maps.chunks_exact(self.output_len()) {
                rows.extend_from_slice(&map[channel * self.positions()..][..self.positions()]);
            }
        }
        rows
    }

    /// The inverse of [`gather`](Self::gather).
    fn scatter(&self, rows: &[f32], maps: &mut [f32]) {
        let count = maps.len() / self.output_len();
        for (channel, row) in rows.chunks_exact(count * self.positions()).enumerate() {
            let parts = row.chunks_exact(self.positions());
            for (part, map) in parts.zip(maps.chunks_exact_mut(self.output_len())) {
                map[channel * self.positions()..][..self.positions()].copy_from_slice(part);
            }
        }
    }

    /// The maps of `images`.
    pub(crate) fn forward(&self, images: &[f32], weights: &[f32]) -> Vec<f32> {
        let count = images.len() / self.input_len();
        let mut maps = vec![0.0; count * self.output_len()];
        images
            .par_chunks(self.together() * self.input_len())
            .zip(maps.par_chunks_mut(self.together() * self.output_len()))
            .for_each(|(images, maps)| {
                let windows = self.unfold(images);
                let windows = matrix(&windows, windows.len() / self.taps());
                self.scatter(&product(matrix(weights, self.taps()), windows), maps);
            });
        maps
    }

    /// The gradients of the images and of the weights, if wanted, given that of the maps; without, none and an empty one.
    pub(crate) fn backward(
        &self,
        images: &[f32],
        weights: &[f32],
        gradient: &[f32],
        [of_images, of_weights]: [bool; 2],
    ) -> (Option<Vec<f32>>, Vec<f32>) {
        let count = images.len() / self.input_len();
        let mut image_gradient = vec![0.0; if of_images { images.len() } else { 0 }];
        let part = count.div_ceil(PARTS).next_multiple_of(self.together());
        let parts = images
            .par_chunks(part * self.input_len())
            .zip(gradient.par_chunks(part * self.output_len()));
        // Without a gradient of the images, empty slices stand in for its parts.
        let mut slices: Vec<&mut [f32]> = match of_images {
            true => image_gradient.chunks_mut(part * self.input_len()).collect(),
            false => (0..parts.len()).map(|_| Default::default()).collect(),
        };
        let sums: Vec<Vec<f32>> = parts
            .zip(&mut slices)
            .map(|((images, gradient), image_gradient)| {
                let mut sum = vec![0.0; if of_weights { weights.len() } else { 0 }];
                let pieces = images
                    .chunks(self.together() * self.input_len())
                    .zip(gradient.chunks(self.together() * self.output_len()));
                let mut rest = &mut image_gradient[..];
                for (images, gradient) in pieces {
                    let rows = self.gather(gradient);
                    let columns = rows.len() / self.channels;
                    let rows = matrix(&rows, columns);
                    if of_weights {
                        let windows = self.unfold(images);
                        add_product(&mut sum, rows, matrix(&windows, columns).transpose());
                    }
                    if of_images {
                        let (piece, left) = rest.split_at_mut(images.len());
                        rest = left;
                        let weights = matrix(weights, self.taps()).transpose();
                        self.fold(&product(weights, rows), piece);
                    }
                }
                sum
            })
            .collect();
        let mut weight_gradient = vec![0.0; if of_weights { weights.len() } else { 0 }];
        sums.iter()
            .for_each(|sum| super::add(&mut weight_gradient, sum));
        (of_images.then_some(image_gradient), weight_gradient)
    }
}
