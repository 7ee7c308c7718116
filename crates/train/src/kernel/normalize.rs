//! Batch normalization with the activation behind it, in one pass over each channel.
//!
//! A channel of a batch fits the cache, so that normalizing, activating and, on the way back, all sums and the
//! gradient cost one trip to memory. Terms of the loss that look at pre-activations or activations add their
//! gradient here instead of being built from the library's operations.

use std::sync::Arc;

use rayon::prelude::*;
use sordino_graph::{Granularity, Shape};

use super::Kernel;
use crate::network::EPSILON;

/// What follows the normalization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Function {
    Identity,
    Relu,
    Quadratic(Granularity),
}

/// Terms of the loss beside the one at the end; what they add to it is known after the forward pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// Normalized values beyond this are penalized ...
    pub(crate) range_limit: f32,
    /// ... by their mean squared excess times this.
    pub(crate) range_penalty: f32,
    /// Values that the activation should take, and the weight of the mean squared distance over their mean square.
    pub(crate) features: Option<(Arc<Vec<f32>>, f32)>,
}

/// Normalization over the batch, or with given statistics, and an activation; inputs are `x`, gamma, beta and, for a
/// quadratic, a, b and c.
#[derive(Clone, Debug)]
pub(crate) struct Normalize {
    pub(crate) shape: Shape,
    pub(crate) function: Function,
    /// Share of ReLU that is mixed into a quadratic while training warms up.
    pub(crate) blend: f32,
    pub(crate) terms: Terms,
    /// Recorded mean and variance; the batch's own while training.
    pub(crate) recorded: Option<(Vec<f32>, Vec<f32>)>,
    /// Found by the forward pass: the batch's mean and (biased) variance.
    pub(crate) mean: Vec<f32>,
    pub(crate) variance: Vec<f32>,
    /// Found by the forward pass: what the terms add to the loss.
    pub(crate) added_loss: f64,
}

/// One channel's constants.
struct Channel {
    gamma: f32,
    beta: f32,
    mean: f32,
    /// One over the standard deviation.
    inverse: f32,
    /// Coefficients at each position.
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
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

impl Normalize {
    /// A normalization over the batch without terms; the fields say otherwise.
    pub(crate) fn new(shape: Shape, function: Function) -> Self {
        Self {
            shape,
            function,
            blend: 0.0,
            terms: Terms::default(),
            recorded: None,
            mean: Vec::new(),
            variance: Vec::new(),
            added_loss: 0.0,
        }
    }

    fn channel(&self, index: usize, gamma: f32, beta: f32, abc: Option<[&[f32]; 3]>) -> Channel {
        let plane = self.shape.channel_elements();
        let constant = |values: [f32; 3]| values.map(|value| vec![value; plane]);
        let (coefficients, relu) = match (self.function, abc) {
            (Function::Relu, _) => (constant([0.0; 3]), 1.0),
            (Function::Quadratic(granularity), Some(abc)) => {
                let first = granularity.index(&self.shape, index * plane);
                let coefficients = match granularity {
                    Granularity::Element => abc.map(|v| v[first..first + plane].to_vec()),
                    _ => constant(abc.map(|v| v[first])),
                };
                (coefficients, self.blend)
            }
            _ => (constant([0.0, 1.0, 0.0]), 0.0),
        };
        let [a, b, c] = coefficients;
        Channel {
            gamma,
            beta,
            mean: self.mean[index],
            inverse: (1.0 / (f64::from(self.variance[index]) + EPSILON).sqrt()) as f32,
            a,
            b,
            c,
            relu,
        }
    }

    fn channels(&self, gamma: &[f32], beta: &[f32], abc: Option<[&[f32]; 3]>) -> Vec<Channel> {
        (0..self.shape.channels())
            .map(|index| self.channel(index, gamma[index], beta[index], abc))
            .collect()
    }

    /// The slices of each channel, one an image.
    fn planes<'a>(&self, values: &'a [f32]) -> Vec<Vec<&'a [f32]>> {
        let mut channels = vec![Vec::new(); self.shape.channels()];
        let planes = values.chunks_exact(self.shape.channel_elements());
        for (index, plane) in planes.enumerate() {
            channels[index % self.shape.channels()].push(plane);
        }
        channels
    }

    fn planes_mut<'a>(&self, values: &'a mut [f32]) -> Vec<Vec<&'a mut [f32]>> {
        let mut channels: Vec<Vec<_>> = (0..self.shape.channels()).map(|_| Vec::new()).collect();
        let planes = values.chunks_exact_mut(self.shape.channel_elements());
        for (index, plane) in planes.enumerate() {
            channels[index % self.shape.channels()].push(plane);
        }
        channels
    }

    /// Features that the channel's activations should have, if that is asked for.
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

    fn run(
        &mut self,
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        abc: Option<[&[f32]; 3]>,
    ) -> Vec<f32> {
        let planes = self.planes(x);
        (self.mean, self.variance) = match &self.recorded {
            Some(recorded) => recorded.clone(),
            None => planes.par_iter().map(|planes| moments(planes)).unzip(),
        };
        let mut y = vec![0.0; x.len()];
        let channels = self.channels(gamma, beta, abc);
        let targets = self.targets();
        let excess_weight = f64::from(self.terms.range_penalty) / x.len() as f64;
        let limit = self.terms.range_limit;
        let added: Vec<f64> = self
            .planes_mut(&mut y)
            .into_par_iter()
            .enumerate()
            .with_min_len(self.least_channels(planes[0].len()))
            .map(|(index, outputs)| {
                let mut added = 0.0;
                pulp::Arch::new().dispatch(|| {
                    for (image, output) in outputs.into_iter().enumerate() {
                        let x = planes[index][image];
                        activate(&channels[index], x, output);
                        if excess_weight > 0.0 {
                            let (scale, shift) = channels[index].scale_and_shift();
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
        self.added_loss = added.iter().sum();
        y
    }

    /// Channels that are worth a task of their own.
    fn least_channels(&self, images: usize) -> usize {
        (16_384 / (images * self.shape.channel_elements()).max(1)).max(1)
    }

    /// Gradient of `x`, and what each channel adds to those of the parameters.
    fn gradient(
        &self,
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        abc: Option<[&[f32]; 3]>,
        gradient: &[f32],
    ) -> (Vec<f32>, Vec<Sums>) {
        let mut result = vec![0.0; x.len()];
        let (planes, gradients) = (self.planes(x), self.planes(gradient));
        let channels = self.channels(gamma, beta, abc);
        let targets = self.targets();
        let excess = 2.0 * self.terms.range_penalty / x.len() as f32;
        let sums = self
            .planes_mut(&mut result)
            .into_par_iter()
            .enumerate()
            .with_min_len(self.least_channels(planes[0].len()))
            .map(|(index, mut outputs)| {
                let channel = &channels[index];
                let coefficients = abc.is_some();
                let mut sums = Sums {
                    gamma: 0.0,
                    beta: 0.0,
                    coefficients: [(); 3]
                        .map(|()| vec![0.0; if coefficients { channel.a.len() } else { 0 }]),
                };
                pulp::Arch::new().dispatch(|| {
                    for (image, output) in outputs.iter_mut().enumerate() {
                        let x = planes[index][image];
                        let target = targets
                            .as_ref()
                            .map(|(targets, weight)| (targets[index][image], *weight as f32));
                        let mut incoming = gradients[index][image];
                        let with_features;
                        if let Some((target, weight)) = target {
                            activate(channel, x, output);
                            with_features = incoming
                                .iter()
                                .zip(&**output)
                                .zip(target)
                                .map(|((gradient, y), t)| gradient + 2.0 * weight * (y - t))
                                .collect::<Vec<f32>>();
                            incoming = &with_features;
                        }
                        differentiate(channel, x, incoming, self.terms.range_limit, excess, output);
                        if coefficients {
                            let [of_a, of_b, of_c] = &mut sums.coefficients;
                            differentiate_coefficients(channel, x, incoming, of_a, of_b, of_c);
                        }
                        sums.beta += sum(x.len(), |i| output[i]);
                        sums.gamma += sum(x.len(), |i| output[i] * (x[i] - channel.mean))
                            * f64::from(channel.inverse);
                    }
                    let count = (planes[index].len() * channel.a.len()) as f64;
                    let (mean, slope) = match self.recorded {
                        Some(_) => (0.0, 0.0),
                        None => (
                            (sums.beta / count) as f32,
                            (sums.gamma / count) as f32 * channel.inverse,
                        ),
                    };
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
        (result, sums)
    }

    /// Coefficient gradients as the granularity shares them.
    fn shared(&self, sums: &[Sums], which: usize) -> Vec<f32> {
        let positions = || sums.iter().map(|sums| &sums.coefficients[which]);
        match self.function {
            Function::Quadratic(Granularity::Element) => positions().flatten().copied().collect(),
            Function::Quadratic(Granularity::Channel) => positions()
                .map(|values| sum(values.len(), |i| values[i]) as f32)
                .collect(),
            _ => vec![
                positions()
                    .map(|values| sum(values.len(), |i| values[i]))
                    .sum::<f64>() as f32,
            ],
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
    let (a, b, c) = (
        &channel.a[..x.len()],
        &channel.b[..x.len()],
        &channel.c[..x.len()],
    );
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
    let (a, b) = (&channel.a[..x.len()], &channel.b[..x.len()]);
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
    of_a: &mut [f32],
    of_b: &mut [f32],
    of_c: &mut [f32],
) {
    let (scale, shift) = channel.scale_and_shift();
    let share = 1.0 - channel.relu;
    let gradient = &gradient[..x.len()];
    let (of_a, of_b, of_c) = (
        &mut of_a[..x.len()],
        &mut of_b[..x.len()],
        &mut of_c[..x.len()],
    );
    for i in 0..x.len() {
        let z = scale * x[i] + shift;
        let gradient = share * gradient[i];
        of_a[i] += gradient * z * z;
        of_b[i] += gradient * z;
        of_c[i] += gradient;
    }
}

impl Kernel<3> for Normalize {
    fn forward(&mut self, [x, gamma, beta]: [&[f32]; 3]) -> Vec<f32> {
        self.run(x, gamma, beta, None)
    }

    fn backward(
        &self,
        [x, gamma, beta]: [&[f32]; 3],
        gradient: &[f32],
        _: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let (x, sums) = self.gradient(x, gamma, beta, None, gradient);
        let of_gamma = sums.iter().map(|sums| sums.gamma as f32).collect();
        let of_beta = sums.iter().map(|sums| sums.beta as f32).collect();
        [Some(x), Some(of_gamma), Some(of_beta)]
    }
}

impl Kernel<6> for Normalize {
    fn forward(&mut self, [x, gamma, beta, a, b, c]: [&[f32]; 6]) -> Vec<f32> {
        self.run(x, gamma, beta, Some([a, b, c]))
    }

    fn backward(
        &self,
        [x, gamma, beta, a, b, c]: [&[f32]; 6],
        gradient: &[f32],
        _: [bool; 6],
    ) -> [Option<Vec<f32>>; 6] {
        let (x, sums) = self.gradient(x, gamma, beta, Some([a, b, c]), gradient);
        let of_gamma = sums.iter().map(|sums| sums.gamma as f32).collect();
        let of_beta = sums.iter().map(|sums| sums.beta as f32).collect();
        let [a, b, c] = [0, 1, 2].map(|which| Some(self.shared(&sums, which)));
        [Some(x), Some(of_gamma), Some(of_beta), a, b, c]
    }
}
