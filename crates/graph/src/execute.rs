//! Plain executor of graphs.

use crate::blocks::{Block, Network, Real, run, run_observed};
use crate::infer::window_taps;
use crate::{Error, Graph, Node, NodeId, Op, Shape};

/// Images that one block holds in f32.
pub(crate) const LANES_F32: usize = 16;
/// Images that one block holds in f64.
pub(crate) const LANES_F64: usize = 8;

/// Computes the logits of prepared images in f32, on all threads.
///
/// Shapes: `images` is `[batch, C, H, W]`, the result `[batch, classes]`.
///
/// # Errors
/// [`Error::Images`] when `images` does not hold `batch` images of the graph's input shape.
pub fn execute(graph: &Graph, images: &[f32], batch: usize) -> Result<Vec<f32>, Error> {
    run::<f32, LANES_F32>(graph, images, batch)
}

/// As [`execute`], computed in f64: the reference for the folding pass.
///
/// # Errors
/// As [`execute`].
pub fn execute_f64(graph: &Graph, images: &[f32], batch: usize) -> Result<Vec<f64>, Error> {
    run::<f64, LANES_F64>(graph, images, batch)
}

/// As [`execute`], and shows the value of every node to `observer`.
///
/// The observer is called for a few images at a time, then for every node in order, with `[images, elements]` values;
/// images come in order. It is called by the calling thread only.
///
/// # Errors
/// As [`execute`].
pub fn execute_observed(
    graph: &Graph,
    images: &[f32],
    batch: usize,
    mut observer: impl FnMut(&Node, &[f32]),
) -> Result<Vec<f32>, Error> {
    run_observed::<f32, LANES_F32>(graph, images, batch, |index, value| {
        observer(&graph.nodes()[index], value);
    })
}

impl<T: Real, const L: usize> Network<T, L> for Graph {
    fn input_shape(&self) -> Shape {
        self.input_shape()
    }

    fn len(&self) -> usize {
        self.nodes().len()
    }

    fn elements(&self, index: usize) -> usize {
        self.shape(NodeId(index)).elements()
    }

    fn sources(&self, index: usize) -> Vec<usize> {
        self.nodes()[index].inputs.iter().map(|id| id.0).collect()
    }

    fn compute(&self, index: usize, values: &[Block<T, L>]) -> Block<T, L> {
        let (node, to) = (&self.nodes()[index], &self.shape(NodeId(index)));
        let (x, from) = (&values[node.inputs[0].0], &self.shape(node.inputs[0]));
        let each = |f: &dyn Fn(usize, T) -> T| -> Block<T, L> {
            x.iter()
                .enumerate()
                .map(|(index, lanes)| lanes.map(|value| f(index, value)))
                .collect()
        };
        match &node.op {
            Op::Input | Op::Flatten => x.clone(),
            Op::Conv2d {
                weight,
                bias,
                stride,
                padding,
            } => {
                let shape = weight.shape();
                let taps = window_taps(from, to, [shape[2], shape[3]], *stride, *padding);
                convolve(
                    x,
                    weight.data(),
                    shape,
                    bias,
                    from.channel_elements(),
                    &taps,
                )
            }
            Op::Dense { weight, bias } => {
                let taps = vec![vec![(0, 0)]];
                let shape = [weight.shape()[0], weight.shape()[1], 1, 1];
                convolve(x, weight.data(), &shape, bias, 1, &taps)
            }
            Op::AveragePool { kernel, stride } => {
                let taps = window_taps(from, to, *kernel, *stride, [0, 0]);
                let factor = T::of(1.0 / (kernel[0] * kernel[1]) as f64);
                let mut out = Vec::with_capacity(to.elements());
                for channel in x.chunks_exact(from.channel_elements()) {
                    for taps in &taps {
                        let mut sum = [T::ZERO; L];
                        for &(pixel, _) in taps {
                            for (sum, &value) in sum.iter_mut().zip(&channel[pixel]) {
                                *sum += value;
                            }
                        }
                        out.push(sum.map(|sum| sum * factor));
                    }
                }
                out
            }
            Op::BatchNorm { .. } => {
                let affine: Vec<(T, T)> = batch_norm_affine(&node.op)
                    .into_iter()
                    .map(|(factor, offset)| (T::of(factor), T::of(offset)))
                    .collect();
                let per_channel = from.channel_elements();
                each(&|index, value| {
                    let (factor, offset) = affine[index / per_channel];
                    factor * value + offset
                })
            }
            Op::Add => x
                .iter()
                .zip(&values[node.inputs[1].0])
                .map(|(x, y)| std::array::from_fn(|lane| x[lane] + y[lane]))
                .collect(),
            Op::Relu => each(&|_, value| if value > T::ZERO { value } else { T::ZERO }),
            Op::Quadratic {
                granularity,
                a,
                b,
                c,
            } => each(&|index, value| {
                let k = granularity.index(from, index);
                (T::from(a[k]) * value + T::from(b[k])) * value + T::from(c[k])
            }),
        }
    }
}

/// Factor and offset of every channel of a batch normalization; empty for other operations.
pub(crate) fn batch_norm_affine(op: &Op) -> Vec<(f64, f64)> {
    let Op::BatchNorm {
        gamma,
        beta,
        mean,
        variance,
        epsilon,
    } = op
    else {
        return Vec::new();
    };
    (0..gamma.len())
        .map(|channel| {
            let factor =
                f64::from(gamma[channel]) / (f64::from(variance[channel]) + epsilon).sqrt();
            let offset = f64::from(beta[channel]) - f64::from(mean[channel]) * factor;
            (factor, offset)
        })
        .collect()
}

/// Output channels computed together, so that an input is loaded once for all of them.
const CHANNELS_AT_ONCE: usize = 4;

fn convolve<T: Real, const L: usize>(
    x: &[[T; L]],
    weight: &[f32],
    shape: &[usize],
    bias: &[f32],
    pixels: usize,
    taps: &[Vec<(usize, usize)>],
) -> Block<T, L> {
    let kernel = shape[2] * shape[3];
    let row = shape[1] * kernel;
    let positions = taps.len();
    let mut out = vec![[T::ZERO; L]; shape[0] * positions];
    // Wide vectors where the processor has them; every lane is rounded the same way with any.
    pulp::Arch::new().dispatch(|| {
        let rows = weight.chunks(CHANNELS_AT_ONCE * row);
        for (group, (weight, bias)) in rows.zip(bias.chunks(CHANNELS_AT_ONCE)).enumerate() {
            // Missing channels compute the first one again.
            let present = |channel: usize| if channel < bias.len() { channel } else { 0 };
            for (position, taps) in taps.iter().enumerate() {
                let mut sums: [[T; L]; CHANNELS_AT_ONCE] =
                    std::array::from_fn(|channel| [T::from(bias[present(channel)]); L]);
                for channel in 0..shape[1] {
                    let x = &x[channel * pixels..][..pixels];
                    let kernels: [&[f32]; CHANNELS_AT_ONCE] = std::array::from_fn(|output| {
                        &weight[present(output) * row + channel * kernel..][..kernel]
                    });
                    for &(pixel, tap) in taps {
                        let x = x[pixel];
                        for (sum, kernel) in sums.iter_mut().zip(&kernels) {
                            let weight = T::from(kernel[tap]);
                            for (sum, &x) in sum.iter_mut().zip(&x) {
                                *sum += weight * x;
                            }
                        }
                    }
                }
                for (offset, sum) in sums.into_iter().take(bias.len()).enumerate() {
                    out[(group * CHANNELS_AT_ONCE + offset) * positions + position] = sum;
                }
            }
        }
    });
    out
}
