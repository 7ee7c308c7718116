//! Walking a network node by node, a block of images at a time.
//!
//! The value of a node is one array of `L` numbers per element, one number per image, so that every loop is over
//! contiguous images and no result depends on which images share a block.

use crate::{Error, Shape};
use rayon::prelude::*;
use std::ops::{Add, AddAssign, Mul};

/// A floating-point number to compute in.
pub(crate) trait Real:
    Copy
    + Send
    + Sync
    + PartialOrd
    + AddAssign
    + Add<Output = Self>
    + Mul<Output = Self>
    + Into<f64>
    + From<f32>
{
    const ZERO: Self;
    fn of(value: f64) -> Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    fn of(value: f64) -> Self {
        value as Self
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    fn of(value: f64) -> Self {
        value
    }
}

/// Value of a node for a block of images: `[element][image]`.
pub(crate) type Block<T, const L: usize> = Vec<[T; L]>;

/// A network that computes node by node, in the order of evaluation.
pub(crate) trait Network<T: Real, const L: usize>: Sync {
    fn input_shape(&self) -> Shape;

    /// Number of nodes.
    fn len(&self) -> usize;

    fn elements(&self, index: usize) -> usize;

    /// The nodes that a node reads.
    fn sources(&self, index: usize) -> Vec<usize>;

    /// The value of a node that is not the input.
    fn compute(&self, index: usize, values: &[Block<T, L>]) -> Block<T, L>;
}

/// The logits `[images, classes]`, on all threads.
pub(crate) fn run<T: Real, const L: usize>(
    network: &impl Network<T, L>,
    images: &[f32],
    batch: usize,
) -> Result<Vec<T>, Error> {
    let pixels = check_images(network.input_shape(), images, batch)?;
    let last = network.len() - 1;
    let classes = network.elements(last);
    let mut logits = vec![T::ZERO; batch * classes];
    logits
        .par_chunks_mut(L * classes)
        .zip(images.par_chunks(L * pixels))
        .for_each(|(logits, block)| {
            run_block(network, block, &mut |index, value| {
                if index == last {
                    logits.copy_from_slice(&transpose_out(value, block.len() / pixels));
                }
            });
        });
    Ok(logits)
}

/// As [`run`]; `observer` gets the number and the value `[images, elements]` of every node, a few images at a time and on
/// the calling thread.
pub(crate) fn run_observed<T: Real, const L: usize>(
    network: &impl Network<T, L>,
    images: &[f32],
    batch: usize,
    mut observer: impl FnMut(usize, &[T]),
) -> Result<Vec<T>, Error> {
    let pixels = check_images(network.input_shape(), images, batch)?;
    let mut logits = Vec::new();
    // One block per thread at a time: this bounds the memory for the values of all nodes.
    let group = L * rayon::current_num_threads();
    for group in images.chunks(group * pixels) {
        let values: Vec<Vec<Vec<T>>> = group
            .par_chunks(L * pixels)
            .map(|block| {
                let mut values = Vec::with_capacity(network.len());
                run_block(network, block, &mut |_, value| {
                    values.push(transpose_out(value, block.len() / pixels));
                });
                values
            })
            .collect();
        for values in values {
            for (index, value) in values.iter().enumerate() {
                observer(index, value);
            }
            if let Some(value) = values.last() {
                logits.extend_from_slice(value);
            }
        }
    }
    Ok(logits)
}

/// Computes all nodes for one block of at most `L` images, shows each value, and frees it after its last reader.
pub(crate) fn run_block<T: Real, const L: usize>(
    network: &impl Network<T, L>,
    images: &[f32],
    observer: &mut dyn FnMut(usize, &[[T; L]]),
) {
    let mut last_reader = vec![0; network.len()];
    for index in 0..network.len() {
        for source in network.sources(index) {
            last_reader[source] = index;
        }
    }
    let mut values: Vec<Block<T, L>> = Vec::with_capacity(network.len());
    for index in 0..network.len() {
        let value = match index {
            0 => transpose_in(images, network.elements(0)),
            _ => network.compute(index, &values),
        };
        observer(index, &value);
        values.push(value);
        for source in network.sources(index) {
            if last_reader[source] == index {
                values[source] = Vec::new();
            }
        }
    }
}

/// Number of values of an image.
pub(crate) fn check_images(shape: Shape, images: &[f32], batch: usize) -> Result<usize, Error> {
    let pixels = shape.elements();
    let expected = pixels.saturating_mul(batch);
    if images.len() != expected {
        return Err(Error::Images {
            batch,
            shape,
            expected,
            found: images.len(),
        });
    }
    Ok(pixels)
}

/// `[images, elements]` as `[element][image]`; lanes beyond the images are zero.
fn transpose_in<T: Real, const L: usize>(images: &[f32], pixels: usize) -> Block<T, L> {
    let mut block = vec![[T::ZERO; L]; pixels];
    for (lane, image) in images.chunks_exact(pixels).enumerate() {
        for (element, &value) in block.iter_mut().zip(image) {
            element[lane] = T::from(value);
        }
    }
    block
}

/// `[element][image]` as `[images, elements]`, of the first `count` images.
pub(crate) fn transpose_out<T: Real, const L: usize>(block: &[[T; L]], count: usize) -> Vec<T> {
    (0..count)
        .flat_map(|lane| block.iter().map(move |element| element[lane]))
        .collect()
}
