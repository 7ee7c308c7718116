//! What the steps of a network compute, forward and backward, on plain slices.
//!
//! Convolution, normalization with activation, and pooling are where training spends its time. Each splits its work by
//! the batch and the layer alone, so results do not depend on the number of threads.

mod convolution;
mod moves;
mod normalize;
mod pool;
mod product;
mod sliding;
#[cfg(test)]
mod tests;

pub(crate) use convolution::Convolution;
pub(crate) use moves::{concat, part, select, select_backward};
pub(crate) use normalize::{Function, Normalize, Terms};
pub(crate) use pool::AveragePool;
pub(crate) use product::{matrix, product};
pub(crate) use sliding::{Layout, Sliding};

use sordino_graph::Shape;

/// A window that slides over a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Zeros on each side.
    pub(crate) padding: [usize; 2],
}

impl Window {
    pub(crate) fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
        }
    }
}

/// Channels, and height and width, of a feature map.
fn sides(shape: Shape) -> (usize, [usize; 2]) {
    match shape {
        Shape::Map {
            channels,
            height,
            width,
        } => (channels, [height, width]),
        Shape::Flat(_) => unreachable!("this step acts on maps, as the builder checks"),
    }
}

/// Adds `values` to `total`, element by element.
pub(crate) fn add(total: &mut [f32], values: &[f32]) {
    total.iter_mut().zip(values).for_each(|(sum, v)| *sum += v);
}

/// Adds to every value `[images][elements]` the bias of its channel.
pub(crate) fn add_bias(values: &mut [f32], bias: &[f32], shape: Shape) {
    let planes = values.chunks_exact_mut(shape.channel_elements());
    for (plane, bias) in planes.zip(bias.iter().cycle()) {
        plane.iter_mut().for_each(|value| *value += bias);
    }
}

/// The gradient of a bias: sums of values `[images][elements]` over each channel.
pub(crate) fn channel_sums(values: &[f32], shape: Shape) -> Vec<f32> {
    let mut sums = vec![0.0; shape.channels()];
    let planes = values.chunks_exact(shape.channel_elements());
    for (index, plane) in planes.enumerate() {
        sums[index % shape.channels()] += plane.iter().sum::<f32>();
    }
    sums
}
