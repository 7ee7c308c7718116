//! A trainable network from a graph: a teacher as it is, or a student that starts from it.

use std::collections::HashMap;
use std::sync::Arc;

use sordino_graph::{Function, Graph, NodeId, Op};

use crate::Activation;
use crate::first_quadratic::{fit, fit_any, is_like_relu};
use crate::kernel::{Layout, Window};
use crate::network::{
    Activated, EPSILON, Network, RELU_FIT, Role, Statistics, Step, StepKind, transposed,
};

/// Images that measure the statistics of activations which had no batch normalization.
const MEASURED_IMAGES: usize = 2048;

/// Largest mean of the values of a quadratic that stands for a function other than ReLU, before training.
const FARTHEST_MEAN: f32 = 3.0;

/// Images measured at once.
const BATCH: usize = 256;

/// The steps of a graph. An activation without a batch normalization gets one that changes nothing; `images` measure
/// its statistics.
pub(crate) fn network(graph: &Graph, images: &[f32]) -> Network {
    let (mut network, inserted) = read(graph);
    measure(&mut network, &inserted, images);
    network
}

/// The steps of a graph, whose batch normalizations stay as they are.
pub(crate) fn frozen(graph: &Graph) -> Network {
    let (mut network, _) = read(graph);
    for step in &mut network.steps {
        if let StepKind::Normalize(normalization) = &mut step.kind {
            normalization.frozen = true;
        }
    }
    network
}

/// The steps of a graph, and those of them whose normalization the graph did not have.
fn read(graph: &Graph) -> (Network, Vec<usize>) {
    let mut reader = Reader {
        graph,
        network: Network::default(),
        steps: vec![],
        readers: graph.reader_counts(),
        inserted: vec![],
    };
    for index in 0..graph.nodes().len() {
        let step = reader.node(NodeId(index));
        reader.steps.push(step);
    }
    (reader.network, reader.inserted)
}

/// Puts means in place of the maxima of windows.
pub(crate) fn replace_maxima(network: &mut Network) {
    for step in &mut network.steps {
        let StepKind::Pool { layout, maximum } = &mut step.kind else {
            continue;
        };
        *maximum = false;
        if layout.padding.is_none() && layout.dilation == [1, 1] {
            step.kind = StepKind::AveragePool(Window {
                kernel: layout.kernel,
                stride: layout.stride,
                padding: [0; 2],
            });
        }
    }
}

/// Replaces every function by the quadratic that fits it best on normally distributed values, and maxima by means of the
/// same windows. Students of ReLUs have ReLUs in place of all functions.
pub(crate) fn replace_functions(network: &mut Network, activation: Activation) {
    replace_maxima(network);
    for index in 0..network.steps.len() {
        let Step { name, shape, .. } = network.steps[index].clone();
        let StepKind::Normalize(normalization) = &mut network.steps[index].kind else {
            continue;
        };
        let function = match &normalization.activation {
            Activated::Relu => Function::Relu,
            Activated::Teacher(function) => function.clone(),
            Activated::Not => continue,
            Activated::Quadratic { .. } => {
                // It stands for nothing else: no ReLU fades out of it.
                normalization.blends = false;
                continue;
            }
        };
        let Some(granularity) = activation.granularity() else {
            normalization.activation = Activated::Relu;
            continue;
        };
        normalization.blends = is_like_relu(&function);
        let (gamma, beta) = (normalization.gamma, normalization.beta);
        let count = granularity.coefficients(&shape);
        let parameters = &mut network.parameters;
        // Coefficients of a layer serve channels of every scale: for ReLU the fit for the unit scale, like the start
        // without a teacher. Else each channel has its own, and its values get the unit scale.
        let fits = if count > 1 || shape.channels() == 1 {
            let channels: Vec<[f32; 3]> = (0..shape.channels())
                .map(|channel| {
                    let scale = parameters[gamma].values[channel];
                    let offset = parameters[beta].values[channel];
                    let mut size = scale.abs().max(1e-3);
                    if function != Function::Relu {
                        // Coefficients around a far mean would leave their bounds.
                        size = size.max(offset.abs() / FARTHEST_MEAN);
                    }
                    let mean = offset / size;
                    parameters[beta].values[channel] = mean;
                    if function == Function::Relu {
                        parameters[gamma].values[channel] = 1f32.copysign(scale);
                        return fit(mean).map(|coefficient| coefficient * size);
                    }
                    let deviation = (scale / size).abs().max(1e-3);
                    parameters[gamma].values[channel] = deviation.copysign(scale);
                    fit_any(&[(mean.into(), deviation.into())], |_, x| {
                        function.apply(x * f64::from(size), channel)
                    })
                })
                .collect();
            let per_channel = count / shape.channels();
            let all = (0..count).map(|index| channels[index / per_channel]);
            all.collect()
        } else if function == Function::Relu {
            vec![RELU_FIT; count]
        } else {
            let channels = parameters[beta]
                .values
                .iter()
                .zip(&parameters[gamma].values);
            let seen: Vec<(f64, f64)> = channels
                .map(|(&mean, &scale)| (mean.into(), f64::from(scale.abs().max(1e-3))))
                .collect();
            vec![fit_any(&seen, |channel, x| function.apply(x, channel)); count]
        };
        let coefficients = [0, 1, 2].map(|which| fits.iter().map(|fit| fit[which]).collect());
        let quadratic = network.quadratic(&name, granularity, coefficients);
        if let StepKind::Normalize(normalization) = &mut network.steps[index].kind {
            normalization.activation = quadratic;
        }
    }
}

struct Reader<'a> {
    graph: &'a Graph,
    network: Network,
    /// The step that holds the value of each node.
    steps: Vec<usize>,
    readers: Vec<usize>,
    /// Steps whose normalization the graph did not have.
    inserted: Vec<usize>,
}

impl Reader<'_> {
    /// Adds the step of a node, if it needs one of its own, and says which step holds the node's value.
    fn node(&mut self, id: NodeId) -> usize {
        let node = self.graph.node(id);
        let shape = self.graph.shape(id);
        let next = self.network.steps.len();
        let inputs: Vec<usize> = node
            .inputs
            .iter()
            .map(|input| self.steps[input.0])
            .collect();
        let kind = match &node.op {
            Op::Input => StepKind::Input,
            Op::Conv2d {
                weight,
                bias,
                stride,
                padding,
                dilation,
                groups,
            } => {
                let &[_, _, height, width] = weight.shape() else {
                    unreachable!("checked by the graph")
                };
                let window = Window {
                    kernel: [height, width],
                    stride: *stride,
                    padding: padding.before,
                };
                let plain = *groups == 1 && *dilation == [1, 1] && padding.is_same();
                let values = weight.data().to_vec();
                match self.linear(&node.name, values, bias, Some(window)) {
                    StepKind::Linear { weight, bias, .. } if !plain => StepKind::Sliding {
                        weight,
                        bias,
                        layout: Layout {
                            kernel: [height, width],
                            stride: *stride,
                            padding: *padding,
                            dilation: *dilation,
                            groups: *groups,
                        },
                    },
                    plain => plain,
                }
            }
            Op::Dense { weight, bias } => {
                let values = transposed(weight.data(), weight.shape()[1]);
                self.linear(&node.name, values, bias, None)
            }
            Op::AveragePool { kernel, stride } => StepKind::AveragePool(Window {
                kernel: *kernel,
                stride: *stride,
                padding: [0; 2],
            }),
            Op::Flatten => StepKind::Flatten,
            Op::MaxPool {
                kernel,
                stride,
                padding,
                dilation,
            } => StepKind::Pool {
                layout: Layout {
                    kernel: *kernel,
                    stride: *stride,
                    padding: *padding,
                    dilation: *dilation,
                    groups: shape.channels(),
                },
                maximum: true,
            },
            Op::Select { indices, .. } => StepKind::Select(Arc::new(indices.clone())),
            Op::Affine {
                granularity,
                factor,
                offset,
            } => StepKind::Affine {
                granularity: *granularity,
                factor: Arc::new(factor.clone()),
                offset: Arc::new(offset.clone()),
            },
            Op::Concat => StepKind::Concat,
            Op::Add { factors } => StepKind::Add {
                factors: factors.clone(),
            },
            Op::BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                epsilon,
            } => {
                // The trainer has one epsilon; where the variance cannot make up for the difference, the factor does.
                let squares = || variance.iter().map(|v| f64::from(*v) + epsilon);
                let statistics = Statistics {
                    mean: mean.clone(),
                    variance: squares().map(|v| (v - EPSILON).max(0.0) as f32).collect(),
                };
                let gamma: Vec<f32> = gamma
                    .iter()
                    .zip(squares())
                    .map(|(gamma, v)| match v < EPSILON {
                        true => (f64::from(*gamma) * (EPSILON / v).sqrt()) as f32,
                        false => *gamma,
                    })
                    .collect();
                // A factor and an offset only: nothing was normalized, so statistics are yet to be measured.
                if mean.iter().all(|m| *m == 0.0)
                    && statistics.variance.iter().all(|v| (v - 1.0).abs() < 1e-4)
                {
                    self.inserted.push(next);
                }
                let (name, beta) = (node.name.clone(), beta.clone());
                StepKind::Normalize(self.network.normalization(name, gamma, beta, statistics))
            }
            Op::Activation(_) | Op::Quadratic { .. } => {
                let activation = match &node.op {
                    Op::Quadratic {
                        granularity,
                        a,
                        b,
                        c,
                    } => {
                        let coefficients = [a, b, c].map(Vec::clone);
                        self.network
                            .quadratic(&node.name, *granularity, coefficients)
                    }
                    Op::Activation(function) if *function != Function::Relu => {
                        Activated::Teacher(function.clone())
                    }
                    _ => Activated::Relu,
                };
                let before = inputs[0];
                let only_reader = self.readers[node.inputs[0].0] == 1;
                let step = &mut self.network.steps[before];
                if let StepKind::Normalize(normalization) = &mut step.kind
                    && normalization.activation == Activated::Not
                    && only_reader
                {
                    normalization.activation = activation;
                    step.name = node.name.clone();
                    return before;
                }
                let channels = shape.channels();
                let mut normalization = self.network.normalization(
                    format!("{}.norm", node.name),
                    vec![1.0; channels],
                    vec![0.0; channels],
                    Statistics::constant(channels, (1.0 - EPSILON) as f32),
                );
                normalization.activation = activation;
                self.inserted.push(next);
                StepKind::Normalize(normalization)
            }
        };
        self.network.steps.push(Step {
            name: node.name.clone(),
            kind,
            inputs,
            shape,
        });
        next
    }

    /// A layer with weights. A bias that is zero throughout is none: a batch normalization follows.
    fn linear(
        &mut self,
        step: &str,
        values: Vec<f32>,
        bias: &[f32],
        window: Option<Window>,
    ) -> StepKind {
        let network = &mut self.network;
        let outputs = bias.len();
        let used = bias.iter().any(|&value| value != 0.0);
        StepKind::Linear {
            weight: network.parameter(step, Role::Weight { outputs }, values),
            bias: used.then(|| network.parameter(step, Role::Bias, bias.to_vec())),
            window,
        }
    }
}

/// Gives the normalizations of `steps`, which have no statistics of their own, those of their inputs, and the gamma and
/// beta that make up for them.
fn measure(network: &mut Network, steps: &[usize], images: &[f32]) {
    if steps.is_empty() {
        return;
    }
    let image = network.steps[0].shape.elements();
    // Of each step whose value is measured: count, sum and sum of squares per channel.
    let mut sums: HashMap<usize, Vec<[f64; 3]>> = HashMap::new();
    for &step in steps {
        let before = network.steps[step].inputs[0];
        sums.insert(
            before,
            vec![[0.0; 3]; network.steps[before].shape.channels()],
        );
    }
    let few = &images[..images.len().min(MEASURED_IMAGES * image)];
    let mut add = |step: usize, values: &[f32]| {
        let Some(sums) = sums.get_mut(&step) else {
            return;
        };
        let shape = network.steps[step].shape;
        let planes = values.chunks_exact(shape.channel_elements());
        for (plane, values) in planes.enumerate() {
            let [count, sum, squares] = &mut sums[plane % shape.channels()];
            *count += values.len() as f64;
            *sum += values.iter().map(|&v| f64::from(v)).sum::<f64>();
            *squares += values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        }
    };
    for images in few.chunks(BATCH * image) {
        add(0, images);
        network.logits(images, |step, values| add(step, values));
    }
    for &step in steps {
        let sums = &sums[&network.steps[step].inputs[0]];
        let StepKind::Normalize(normalization) = &network.steps[step].kind else {
            unreachable!("only normalizations are inserted")
        };
        let statistics = &mut network.statistics[normalization.statistics];
        let (gamma, beta) = (normalization.gamma, normalization.beta);
        for (channel, &[count, sum, squares]) in sums.iter().enumerate() {
            let mean = sum / count;
            let variance = (squares / count - mean * mean).max(1e-6);
            statistics.mean[channel] = mean as f32;
            statistics.variance[channel] = variance as f32;
            let factor = network.parameters[gamma].values[channel];
            network.parameters[gamma].values[channel] = factor * (variance + EPSILON).sqrt() as f32;
            network.parameters[beta].values[channel] += factor * mean as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::unit;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;
    use sordino_graph::{Padding, Shape, Tensor, execute};

    fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
        (0..count).map(|_| 2.0 * unit(rng) - 1.0).collect()
    }

    /// As other frameworks export: an input scaled by itself, biases, no batch normalization, a residual sum.
    fn foreign(rng: &mut ChaCha8Rng) -> Graph {
        let mut conv = |inputs: usize, outputs: usize| Op::Conv2d {
            weight: Tensor::new(&[outputs, inputs, 3, 3], random(rng, outputs * inputs * 9))
                .unwrap(),
            bias: random(rng, outputs),
            stride: [1, 1],
            padding: Padding::same([1, 1]),
            dilation: [1, 1],
            groups: 1,
        };
        let (first, second) = (conv(1, 4), conv(4, 4));
        let mut graph = Graph::builder(Shape::map(1, 6, 6));
        let input = graph.push("input", Op::Input, &[]);
        let scaled = Op::BatchNorm {
            gamma: vec![3.0],
            beta: vec![-1.0],
            mean: vec![0.0],
            variance: vec![1.0],
            epsilon: 0.0,
        };
        let scaled = graph.push("scaled", scaled, &[input]);
        let first = graph.push("first", first, &[scaled]);
        let relu = graph.push("relu1", Op::RELU, &[first]);
        let second = graph.push("second", second, &[relu]);
        let sum = graph.push("sum", Op::SUM, &[second, relu]);
        let relu = graph.push("relu2", Op::RELU, &[sum]);
        let flat = graph.push("flat", Op::Flatten, &[relu]);
        let dense = Op::Dense {
            weight: Tensor::new(&[3, 144], random(rng, 432)).unwrap(),
            bias: random(rng, 3),
        };
        graph.push("dense", dense, &[flat]);
        graph.finish().unwrap()
    }

    #[test]
    fn a_foreign_network_is_the_same_before_and_close_after_its_relus_are_replaced() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let graph = foreign(&mut rng);
        let images: Vec<f32> = (0..300 * 36).map(|_| unit(&mut rng)).collect();
        let expected = execute(&graph, &images, 300).unwrap();
        let mut network = network(&graph, &images);
        let size = expected.iter().fold(0.0f32, |size, v| size.max(v.abs()));
        let worst = |network: &Network| {
            let found = network.logits(&images, |_, _| ());
            let off = found.iter().zip(&expected).map(|(x, y)| (x - y).abs());
            off.fold(0.0f32, f32::max) / size
        };
        let correlation = |network: &Network| {
            let found = network.logits(&images, |_, _| ());
            let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
            let (x, y) = (mean(&found), mean(&expected));
            let pairs = || found.iter().zip(&expected).map(|(a, b)| (a - x, b - y));
            let sum = |term: fn((f32, f32)) -> f32| pairs().map(term).sum::<f32>();
            sum(|(a, b)| a * b) / (sum(|(a, _)| a * a) * sum(|(_, b)| b * b)).sqrt()
        };
        assert!(worst(&network) < 1e-4, "{}", worst(&network));
        // Behind the measured statistics every channel is normal enough that its fit is near.
        for statistics in &network.statistics {
            assert!(statistics.variance.iter().all(|v| *v > 1e-6));
        }
        replace_functions(&mut network, Activation::Channel);
        let (off, correlation) = (worst(&network), correlation(&network));
        assert!(off > 1e-3 && correlation > 0.95, "{off} {correlation}");
    }

    #[test]
    fn a_normalization_of_tiny_variance_keeps_its_factor() {
        let mut graph = Graph::builder(Shape::map(2, 1, 1));
        let input = graph.push("input", Op::Input, &[]);
        let norm = Op::BatchNorm {
            gamma: vec![1.0, 2.0],
            beta: vec![0.5, 0.0],
            mean: vec![1e-3, 1.0],
            variance: vec![1e-8, 4.0],
            epsilon: 1e-9,
        };
        let norm = graph.push("norm", norm, &[input]);
        graph.push("flat", Op::Flatten, &[norm]);
        let graph = graph.finish().unwrap();
        let values = [2e-3, 5.0, 1e-3, 1.0];
        let expected = execute(&graph, &values, 2).unwrap();
        for (x, y) in frozen(&graph)
            .logits(&values, |_, _| ())
            .iter()
            .zip(expected)
        {
            assert!((x - y).abs() < 1e-3, "{x}, not {y}");
        }
    }

    #[test]
    fn the_fit_is_the_best_one() {
        let [a, b, c] = fit(0.0);
        for (found, expected) in [a, b, c].iter().zip(RELU_FIT) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        // Residuals of a least-squares fit are orthogonal to 1, x and x^2.
        for mean in [-2.0f32, -0.7, 0.4, 3.0] {
            let [a, b, c] = fit(mean).map(f64::from);
            let mut moments = [0.0; 3];
            for step in -4000..=4000 {
                let t = f64::from(step) / 500.0;
                let x = t + f64::from(mean);
                let residual = x.max(0.0) - (a * x * x + b * x + c);
                let weight = (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt() / 500.0;
                for (power, moment) in moments.iter_mut().enumerate() {
                    *moment += weight * residual * x.powi(power as i32);
                }
            }
            assert!(
                moments.iter().all(|m| m.abs() < 1e-4),
                "{mean}: {moments:?}"
            );
        }
    }
}
