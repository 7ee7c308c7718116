//! Batch normalization with the activation behind it, in one pass over each channel.
//!
//! A channel of a batch fits the cache, so that normalizing, activating and, on the way back, all sums and the
//! gradient cost one trip to memory. Terms of the loss that look at pre-activations or activations add their
//! gradient here.

use std::sync::Arc;

use rayon::prelude::*;
use sordino_graph::{Granularity, Shape};

use crate::network::{EPSILON, Statistics};

/// What follows the normalization; a quadratic has its coefficients a, b and c.
#[derive(Clone, Copy)]
pub(crate) enum Function<'a> {
    Identity,
    Relu,
    Quadratic(Granularity, [&'a [f32]; 3]),
}

/// Terms of the loss that look at a normalization or its activation.
#[derive(Default)]
pub(crate) struct Terms {
    /// Normalized values beyond this are penalized ...
    pub(crate) range_limit: f32,
    /// ... by their mean squared excess times this.
    pub(crate) range_penalty: f32,
    /// Values that the activation should take, and the weight of the mean squared distance over their mean square.
    pub(crate) features: Option<(Arc<Vec<f32>>, f32)>,
}

/// Normalization over the batch, or with recorded statistics, and an activation.
pub(crate) struct Normalize<'a> {
    pub(crate) shape: Shape,
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
    pub(crate) function: Function<'a>,
    /// Share of ReLU that is mixed into a quadratic while training warms up.
    pub(crate) blend: f32,
    /// Statistics, gamma and beta are constants.
    pub(crate) frozen: bool,
    pub(crate) terms: Terms,
}

/// The result of a normalization and its activation.
pub(crate) struct Normalized {
    pub(crate) values: Vec<f32>,
    /// The statistics that the values were normalized with.
    pub(crate) statistics: Statistics,
    /// The sum of the terms of the loss.
    pub(crate) added_loss: f64,
}

/// Gradients of the inputs of a normalization.
pub(crate) struct NormalizeGradient {
    pub(crate) x: Vec<f32>,
    pub(crate) gamma: Vec<f32>,
    pub(crate) beta: Vec<f32>,
    /// Of a, b and c; empty without a quadratic.
    pub(crate) coefficients: [Vec<f32>; 3],
}

/// One channel's constants.
struct Channel {
    gamma: f32,
    beta: f32,
    mean: f32,
    /// One over the standard deviation.
    inverse: f32,
    /// The coefficients a, b and c at each position.
    coefficients: [Vec<f32>; 3],
    /// Share of ReLU.
    relu: f32,
}

impl Channel {
    fn scale_and_shift(&self) -> (f32, f32) {
        let scale = self.gamma * self.inverse;
        (scale, self.beta - self.mean * scale)
    }
}

/// What one channel adds to the gradients of the parameters.
struct Sums {
    gamma: f64,
    beta: f64,
    coefficients: [Vec<f32>; 3],
}

/// Lanes of a sum: wide enough for any vector unit, and the same everywhere, so that results are too.
const LANES: usize = 16;

/// Sum of `term` over the positions of a plane.
#[inline(always)]
fn sum(length: usize, term: impl Fn(usize) -> f32) -> f64 {
    let mut lanes = [0.0f32; LANES];
    let whole = length / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
    }
    let rest: f32 = (whole..length).map(term).sum();
    f64::from(lanes.iter().sum::<f32>() + rest)
}

impl Normalize<'_> {
    fn channel(&self, index: usize, statistics: &Statistics) -> Channel {
        let plane = self.shape.channel_elements();
        let constant = |values: [f32; 3]| values.map(|value| vec![value; plane]);
        let (coefficients, relu) = match self.function {
            Function::Identity => (constant([0.0, 1.0, 0.0]), 0.0),
            Function::Relu => (constant([0.0; 3]), 1.0),
            Function::Quadratic(granularity, abc) => {
                let first = granularity.index(&self.shape, index * plane);
                let coefficients = match granularity {
                    Granularity::Element => abc.map(|v| v[first..first + plane].to_vec()),
                    _ => constant(abc.map(|v| v[first])),
                };
                (coefficients, self.blend)
            }
        };
        Channel {
            gamma: self.gamma[index],
            beta: self.beta[index],
            mean: statistics.mean[index],
            inverse: (1.0 / (f64::from(statistics.variance[index]) + EPSILON).sqrt()) as f32,
            coefficients,
            relu,
        }
    }

    /// Planes `[image][channel]`, sorted by channel.
    fn by_channel<P>(&self, planes: impl Iterator<Item = P>) -> Vec<Vec<P>> {
        let mut channels: Vec<Vec<P>> = (0..self.shape.channels()).map(|_| Vec::new()).collect();
        for (index, plane) in planes.enumerate() {
            channels[index % self.shape.channels()].push(plane);
        }
        channels
    }

    fn planes<'v>(&self, values: &'v [f32]) -> Vec<Vec<&'v [f32]>> {
        self.by_channel(values.chunks_exact(self.shape.channel_elements()))
    }

    /// Values that each channel's activations should take, and the weight of the squared distance; `None` without any.
    fn targets(&self) -> Option<(Vec<Vec<&[f32]>>, f64)> {
        let (values, weight) = self.terms.features.as_ref()?;
        let squares: f64 = values
            .par_chunks(1 << 16)
            .map(|part| sum(part.len(), |i| part[i] * part[i]))
            .collect::<Vec<_>>()
            .iter()
            .sum();
        Some((self.planes(values), f64::from(*weight) / squares.max(1e-12)))
    }

    /// Normalizes `x` with recorded statistics, or with its own, and activates it.
    pub(crate) fn forward(&self, x: &[f32], recorded: Option<&Statistics>) -> Normalized {
        let planes = self.planes(x);
        let statistics = recorded.cloned().unwrap_or_else(|| {
            let (mean, variance) = planes.par_iter().map(|planes| moments(planes)).unzip();
            Statistics { mean, variance }
        });
        let mut values = vec![0.0; x.len()];
        let targets = self.targets();
        let excess_weight = f64::from(self.terms.range_penalty) / x.len() as f64;
        let limit = self.terms.range_limit;
        let added: Vec<f64> = self
            .by_channel(values.chunks_exact_mut(self.shape.channel_elements()))
            .into_par_iter()
            .enumerate()
            .with_min_len(self.least_channels(planes[0].len()))
            .map(|(index, outputs)| {
                let channel = self.channel(index, &statistics);
                let mut added = 0.0;
                pulp::Arch::new().dispatch(|| {
                    for (image, output) in outputs.into_iter().enumerate() {
                        let x = planes[index][image];
                        activate(&channel, x, output);
                        if excess_weight > 0.0 {
                            let (scale, shift) = channel.scale_and_shift();
                            added += excess_weight
                                * sum(x.len(), |i| {
                                    let over = ((scale * x[i] + shift).abs() - limit).max(0.0);
                                    over * over
                                });
                        }
                        if let Some((targets, weight)) = &targets {
                            let target = targets[index][image];
                            added += weight
                                * sum(x.len(), |i| {
                                    (output[i] - target[i]) * (output[i] - target[i])
                                });
                        }
                    }
                });
                added
            })
            .collect();
        Normalized {
            values,
            statistics,
            added_loss: added.iter().sum(),
        }
    }

    /// Channels that are worth a task of their own.
    fn least_channels(&self, images: usize) -> usize {
        (16_384 / (images * self.shape.channel_elements()).max(1)).max(1)
    }

    /// The gradients of the inputs, given that of the result and the batch's statistics.
    pub(crate) fn backward(
        &self,
        x: &[f32],
        statistics: &Statistics,
        gradient: &[f32],
    ) -> NormalizeGradient {
        let mut result = vec![0.0; x.len()];
        let (planes, gradients) = (self.planes(x), self.planes(gradient));
        let targets = self.targets();
        let excess = 2.0 * self.terms.range_penalty / x.len() as f32;
        let sums: Vec<Sums> = self
            .by_channel(result.chunks_exact_mut(self.shape.channel_elements()))
            .into_par_iter()
            .enumerate()
            .with_min_len(self.least_channels(planes[0].len()))
            .map(|(index, mut outputs)| {
                let channel = self.channel(index, statistics);
                let quadratic = matches!(self.function, Function::Quadratic(..));
                let plane = self.shape.channel_elements();
                let positions = if quadratic { plane } else { 0 };
                let mut sums = Sums {
                    gamma: 0.0,
                    beta: 0.0,
                    coefficients: [(); 3].map(|()| vec![0.0; positions]),
                };
                pulp::Arch::new().dispatch(|| {
                    for (image, output) in outputs.iter_mut().enumerate() {
                        let x = planes[index][image];
                        let mut incoming = gradients[index][image];
                        let with_features;
                        if let Some((targets, weight)) = &targets {
                            let (target, weight) = (targets[index][image], *weight as f32);
                            activate(&channel, x, output);
                            with_features = incoming
                                .iter()
                                .zip(&**output)
                                .zip(target)
                                .map(|((gradient, y), t)| gradient + 2.0 * weight * (y - t))
                                .collect::<Vec<f32>>();
                            incoming = &with_features;
                        }
                        let limit = self.terms.range_limit;
                        differentiate(&channel, x, incoming, limit, excess, output);
                        if quadratic {
                            differentiate_coefficients(
                                &channel,
                                x,
                                incoming,
                                &mut sums.coefficients,
                            );
                        }
                        sums.beta += sum(x.len(), |i| output[i]);
                        sums.gamma += sum(x.len(), |i| output[i] * (x[i] - channel.mean))
                            * f64::from(channel.inverse);
                    }
                    if self.frozen {
                        (sums.beta, sums.gamma) = (0.0, 0.0);
                    }
                    let count = (planes[index].len() * plane) as f64;
                    let mean = (sums.beta / count) as f32;
                    let slope = (sums.gamma / count) as f32 * channel.inverse;
                    let scale = channel.gamma * channel.inverse;
                    for (output, x) in outputs.iter_mut().zip(&planes[index]) {
                        for (value, x) in output.iter_mut().zip(*x) {
                            *value = scale * (*value - mean - (x - channel.mean) * slope);
                        }
                    }
                });
                sums
            })
            .collect();
        NormalizeGradient {
            x: result,
            gamma: sums.iter().map(|sums| sums.gamma as f32).collect(),
            beta: sums.iter().map(|sums| sums.beta as f32).collect(),
            coefficients: [0, 1, 2].map(|which| self.shared(&sums, which)),
        }
    }

    /// Gradients of the coefficients as the granularity shares them.
    fn shared(&self, sums: &[Sums], which: usize) -> Vec<f32> {
        let positions = || sums.iter().map(|sums| &sums.coefficients[which]);
        let totals = || positions().map(|values| sum(values.len(), |i| values[i]));
        match self.function {
            Function::Quadratic(Granularity::Element, _) => {
                positions().flatten().copied().collect()
            }
            Function::Quadratic(Granularity::Channel, _) => totals().map(|v| v as f32).collect(),
            Function::Quadratic(Granularity::Layer, _) => vec![totals().sum::<f64>() as f32],
            Function::Identity | Function::Relu => Vec::new(),
        }
    }
}

/// Mean and biased variance of a channel.
fn moments(planes: &[&[f32]]) -> (f32, f32) {
    pulp::Arch::new().dispatch(|| {
        let count = (planes.len() * planes[0].len()) as f64;
        let total: f64 = planes.iter().map(|x| sum(x.len(), |i| x[i])).sum();
        let mean = (total / count) as f32;
        let squares: f64 = planes
            .iter()
            .map(|x| sum(x.len(), |i| (x[i] - mean) * (x[i] - mean)))
            .sum();
        (mean, (squares / count) as f32)
    })
}

#[inline(always)]
fn activate(channel: &Channel, x: &[f32], output: &mut [f32]) {
    let (scale, shift) = channel.scale_and_shift();
    let relu = channel.relu;
    let [a, b, c] = channel.coefficients.each_ref().map(|v| &v[..x.len()]);
    let output = &mut output[..x.len()];
    for i in 0..x.len() {
        let z = scale * x[i] + shift;
        output[i] = (1.0 - relu) * ((a[i] * z + b[i]) * z + c[i]) + relu * z.max(0.0);
    }
}

/// Gradient of the normalized values, the range penalty's included.
#[inline(always)]
fn differentiate(
    channel: &Channel,
    x: &[f32],
    gradient: &[f32],
    limit: f32,
    excess: f32,
    output: &mut [f32],
) {
    let (scale, shift) = channel.scale_and_shift();
    let relu = channel.relu;
    let [a, b, _] = channel.coefficients.each_ref().map(|v| &v[..x.len()]);
    let (gradient, output) = (&gradient[..x.len()], &mut output[..x.len()]);
    for i in 0..x.len() {
        let z = scale * x[i] + shift;
        let step = if z > 0.0 { relu } else { 0.0 };
        let slope = (1.0 - relu) * (2.0 * a[i] * z + b[i]) + step;
        let over = (z.abs() - limit).max(0.0);
        output[i] = gradient[i] * slope + excess * over.copysign(z);
    }
}

#[inline(always)]
fn differentiate_coefficients(
    channel: &Channel,
    x: &[f32],
    gradient: &[f32],
    sums: &mut [Vec<f32>; 3],
) {
    let (scale, shift) = channel.scale_and_shift();
    let share = 1.0 - channel.relu;
    let gradient = &gradient[..x.len()];
    let [of_a, of_b, of_c] = sums.each_mut().map(|v| &mut v[..x.len()]);
    for i in 0..x.len() {
        let z = scale * x[i] + shift;
        let gradient = share * gradient[i];
        of_a[i] += gradient * z * z;
        of_b[i] += gradient * z;
        of_c[i] += gradient;
    }
}
