//! Plain executor of graphs.

use crate::blocks::{Block, Network, Real, run, run_observed};
use crate::window::Window;
use crate::{Error, Function, Graph, Node, NodeId, Op, Shape};

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
        let window_taps =
            || Window::of(&node.op).map_or(Vec::new(), |window| window.taps(from, to));
        match &node.op {
            Op::Input | Op::Flatten => x.clone(),
            Op::Conv2d {
                weight,
                bias,
                groups,
                ..
            } => {
                let layer = Layer {
                    weight: weight.data(),
                    bias,
                    channels: weight.shape()[1],
                    kernel: weight.shape()[2] * weight.shape()[3],
                    pixels: from.channel_elements(),
                    groups: *groups,
                };
                convolve(x, &layer, &window_taps())
            }
            Op::Dense { weight, bias } => {
                let layer = Layer {
                    weight: weight.data(),
                    bias,
                    channels: weight.shape()[1],
                    kernel: 1,
                    pixels: 1,
                    groups: 1,
                };
                convolve(x, &layer, &[vec![(0, 0)]])
            }
            Op::MaxPool { .. } => {
                let taps = window_taps();
                let mut out = Vec::with_capacity(to.elements());
                for channel in x.chunks_exact(from.channel_elements()) {
                    out.extend(taps.iter().map(|taps| largest(channel, taps)));
                }
                out
            }
            Op::AveragePool { kernel, .. } => {
                let taps = window_taps();
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
            Op::Affine {
                granularity,
                factor,
                offset,
            } => each(&|index, value| {
                let k = granularity.index(from, index);
                T::from(factor[k]) * value + T::from(offset[k])
            }),
            Op::Select { indices, .. } => indices
                .iter()
                .map(|&index| usize::try_from(index).map_or([T::ZERO; L], |index| x[index]))
                .collect(),
            Op::Concat => {
                let parts = node.inputs.iter().map(|id| &values[id.0][..]);
                parts.collect::<Vec<_>>().concat()
            }
            Op::Add { factors } => {
                let factor = |place: usize| factors.get(place).map_or(T::of(1.0), |&f| T::from(f));
                let first = factor(0);
                let mut sum = each(&|_, value| first * value);
                for (place, id) in node.inputs.iter().enumerate().skip(1) {
                    let factor = factor(place);
                    for (sum, x) in sum.iter_mut().zip(&values[id.0]) {
                        for (sum, &x) in sum.iter_mut().zip(x) {
                            *sum += factor * x;
                        }
                    }
                }
                sum
            }
            Op::Activation(Function::Relu) => {
                each(&|_, value| if value > T::ZERO { value } else { T::ZERO })
            }
            Op::Activation(function) => {
                let per_channel = from.channel_elements();
                each(&|index, value| T::of(function.apply(value.into(), index / per_channel)))
            }
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

/// A convolution or dense layer.
struct Layer<'a> {
    /// `[outputs, channels, kernel]`.
    weight: &'a [f32],
    /// One value per output.
    bias: &'a [f32],
    /// Input channels of a group.
    channels: usize,
    /// Taps of a kernel.
    kernel: usize,
    /// Elements of an input channel.
    pixels: usize,
    groups: usize,
}

fn convolve<T: Real, const L: usize>(
    x: &[[T; L]],
    layer: &Layer<'_>,
    taps: &[Vec<(usize, usize)>],
) -> Block<T, L> {
    let outputs = layer.bias.len() / layer.groups;
    let row = layer.channels * layer.kernel;
    let mut out = vec![[T::ZERO; L]; layer.bias.len() * taps.len()];
    let parts = out.chunks_mut((outputs * taps.len()).max(1));
    for (group, out) in parts.enumerate() {
        let x = &x[group * layer.channels * layer.pixels..][..layer.channels * layer.pixels];
        let part = Layer {
            weight: &layer.weight[group * outputs * row..][..outputs * row],
            bias: &layer.bias[group * outputs..][..outputs],
            ..*layer
        };
        match outputs {
            1 => convolve_group::<T, L, 1>(x, &part, taps, out),
            _ => convolve_group::<T, L, CHANNELS_AT_ONCE>(x, &part, taps, out),
        }
    }
    out
}

/// One group, `C` output channels at once.
fn convolve_group<T: Real, const L: usize, const C: usize>(
    x: &[[T; L]],
    layer: &Layer<'_>,
    taps: &[Vec<(usize, usize)>],
    out: &mut [[T; L]],
) {
    let (pixels, kernel, positions) = (layer.pixels, layer.kernel, taps.len());
    let row = layer.channels * kernel;
    // Wide vectors where the processor has them; every lane is rounded the same way with any.
    pulp::Arch::new().dispatch(|| {
        let rows = layer.weight.chunks(C * row);
        for (group, (weight, bias)) in rows.zip(layer.bias.chunks(C)).enumerate() {
            // Missing channels compute the first one again.
            let present = |channel: usize| if channel < bias.len() { channel } else { 0 };
            for (position, taps) in taps.iter().enumerate() {
                let mut sums: [[T; L]; C] =
                    std::array::from_fn(|channel| [T::from(bias[present(channel)]); L]);
                for channel in 0..layer.channels {
                    let x = &x[channel * pixels..][..pixels];
                    let kernels: [&[f32]; C] = std::array::from_fn(|output| {
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
                    out[(group * C + offset) * positions + position] = sum;
                }
            }
        }
    });
}

/// The largest value of a window; a NaN stays one.
fn largest<T: Real, const L: usize>(channel: &[[T; L]], taps: &[(usize, usize)]) -> [T; L] {
    let mut most = channel[taps[0].0];
    for &(pixel, _) in &taps[1..] {
        for (most, &value) in most.iter_mut().zip(&channel[pixel]) {
            // A comparison with NaN has no order: it replaces numbers and is never replaced.
            let larger = (*most)
                .partial_cmp(&value)
                .is_none_or(|order| order.is_lt());
            if larger && (*most).partial_cmp(most).is_some() {
                *most = value;
            }
        }
    }
    most
}
