//! A trained network as a graph with everything the model file says.

use serde_json::json;
use sordino_data::Targets;
use sordino_graph::{
    Builder, Graph, Model, NodeId, Op, OutputKind, Padding, Shape, Tensor, calibrate,
    to_half_precision,
};

use crate::batches::Epoch;
use crate::checkpoint::Best;
use crate::kernel::{Layout, Sliding, Window};
use crate::network::{Activated, EPSILON, Network, StepKind, transposed};
use crate::{Error, TrainConfig, TrainingData};

/// Images that record the ranges: training images, changed as in training. Large networks get fewer: as many as these
/// multiply-accumulates pay for.
const CALIBRATION_IMAGES: std::ops::RangeInclusive<usize> = 1024..=8192;
const CALIBRATION_COST: u64 = 1 << 36;

/// The model of a run's best epoch.
pub(crate) fn model(
    name: &str,
    data: &TrainingData,
    config: &TrainConfig,
    best: &Best,
) -> Result<Model, Error> {
    let network = &best.network;
    let mut model = Model {
        graph: graph(network, config.half_weights)?,
        preprocess: data.preprocess.clone(),
        classes: data.classes.clone(),
        output: match data.labels {
            Targets::Classes(_) => OutputKind::Softmax,
            Targets::Findings(_) => OutputKind::Sigmoid,
        },
        name: name.to_string(),
        dataset: data.dataset.clone(),
        calibration: None,
        operating_points: None,
        training: json!({
            "trainer": concat!("sordino-train ", env!("CARGO_PKG_VERSION")),
            "config": config,
            "epoch": best.epoch,
            best.measure.field(): best.validation_score,
            "images": data.labels.len(),
            "parameters": network.parameter_count(),
        }),
    };
    let count = calibration_count(&model.graph);
    let images = calibration_images(data, config, count);
    let count = images.len() / data.preprocess.elements();
    model.calibration = Some(calibrate(&model, &images, count, &mut |_| ())?);
    Ok(model)
}

/// Images that record the ranges of a network.
pub(crate) fn calibration_count(graph: &Graph) -> usize {
    let affordable = CALIBRATION_COST / graph.multiply_accumulates().max(1);
    let (least, most) = CALIBRATION_IMAGES.into_inner();
    (affordable as usize).clamp(least, most)
}

fn calibration_images(data: &TrainingData, config: &TrainConfig, count: usize) -> Vec<f32> {
    let set = data.image_set();
    let all: Vec<usize> = (0..data.labels.len()).collect();
    let mut images = Vec::new();
    // Rounds are numbered after the training's epochs, so that order and shifts are drawn anew.
    for round in config.epochs.. {
        let mut epoch = Epoch::new(&all, config.seed, round);
        let left = count - images.len() / set.image_len();
        let indices = epoch.batches(all.len()).concat();
        let indices = &indices[..left.min(all.len())];
        images.extend(epoch.gather(&set, indices, config));
        if left <= all.len() || config.shift == 0 {
            break;
        }
    }
    images
}

/// The network as a graph. Batch normalizations stay nodes of their own, which planning folds.
///
/// `half_weights`: convolution and dense weights are rounded to half precision.
pub(crate) fn graph(network: &Network, half_weights: bool) -> Result<Graph, Error> {
    let values = |index: usize| network.values(index).to_vec();
    let rounded = |mut values: Vec<f32>| {
        if half_weights {
            values
                .iter_mut()
                .for_each(|value| *value = to_half_precision(*value));
        }
        values
    };
    let mut builder = Graph::builder(network.steps[0].shape);
    // The node that holds the value of each step.
    let mut nodes: Vec<NodeId> = Vec::with_capacity(network.steps.len());
    for step in &network.steps {
        let mut inputs: Vec<NodeId> = step.inputs.iter().map(|&input| nodes[input]).collect();
        let op = match &step.kind {
            StepKind::Input => Op::Input,
            StepKind::Linear {
                weight,
                bias,
                window,
            } => {
                let inputs = network.input_shape(step).channels();
                let outputs = step.shape.channels();
                let bias = bias.map_or_else(|| vec![0.0; outputs], values);
                match *window {
                    Some(Window {
                        kernel: [height, width],
                        stride,
                        padding,
                    }) => Op::Conv2d {
                        weight: Tensor::new(
                            &[outputs, inputs, height, width],
                            rounded(values(*weight)),
                        )?,
                        bias,
                        stride,
                        padding: Padding::same(padding),
                        dilation: [1, 1],
                        groups: 1,
                    },
                    None => {
                        let weight = rounded(transposed(network.values(*weight), outputs));
                        let weight = Tensor::new(&[outputs, inputs], weight)?;
                        Op::Dense { weight, bias }
                    }
                }
            }
            StepKind::Sliding {
                weight,
                bias,
                layout,
            } => {
                let inputs = network.input_shape(step).channels() / layout.groups;
                let outputs = step.shape.channels();
                let [height, width] = layout.kernel;
                Op::Conv2d {
                    weight: Tensor::new(
                        &[outputs, inputs, height, width],
                        rounded(values(*weight)),
                    )?,
                    bias: bias.map_or_else(|| vec![0.0; outputs], values),
                    stride: layout.stride,
                    padding: layout.padding,
                    dilation: layout.dilation,
                    groups: layout.groups,
                }
            }
            StepKind::AveragePool(Window { kernel, stride, .. }) => Op::AveragePool {
                kernel: *kernel,
                stride: *stride,
            },
            StepKind::Pool {
                layout,
                maximum: true,
            } => Op::MaxPool {
                kernel: layout.kernel,
                stride: layout.stride,
                padding: layout.padding,
                dilation: layout.dilation,
            },
            StepKind::Pool { layout, .. } => {
                let from = network.input_shape(step);
                let (input, op) = means_of_windows(
                    &mut builder,
                    &step.name,
                    inputs[0],
                    *layout,
                    from,
                    step.shape,
                );
                inputs = vec![input];
                op
            }
            StepKind::Select(indices) => Op::Select {
                shape: step.shape,
                indices: indices.to_vec(),
            },
            StepKind::Affine {
                granularity,
                factor,
                offset,
            } => Op::Affine {
                granularity: *granularity,
                factor: factor.to_vec(),
                offset: offset.to_vec(),
            },
            StepKind::Concat => Op::Concat,
            StepKind::Flatten => Op::Flatten,
            StepKind::Add { factors } => Op::Add {
                factors: factors.clone(),
            },
            StepKind::Normalize(normalization) => {
                let statistics = &network.statistics[normalization.statistics];
                let normalize = Op::BatchNorm {
                    gamma: values(normalization.gamma),
                    beta: values(normalization.beta),
                    mean: statistics.mean.clone(),
                    variance: statistics.variance.clone(),
                    epsilon: EPSILON,
                };
                let activation = match &normalization.activation {
                    Activated::Not => None,
                    Activated::Relu => Some(Op::RELU),
                    Activated::Teacher(function) => Some(Op::Activation(function.clone())),
                    Activated::Quadratic {
                        granularity,
                        coefficients,
                    } => {
                        let [a, b, c] = coefficients.map(values);
                        Some(Op::Quadratic {
                            granularity: *granularity,
                            a,
                            b,
                            c,
                        })
                    }
                };
                let without = network.is_without_effect(normalization);
                match activation {
                    None => normalize,
                    Some(activation) if without => activation,
                    Some(activation) => {
                        let name = normalization.name.clone();
                        inputs = vec![builder.push(name, normalize, &inputs)];
                        activation
                    }
                }
            }
        };
        nodes.push(builder.push(step.name.clone(), op, &inputs));
    }
    Ok(builder.finish()?)
}

/// The windows of a map side by side, and the operation that takes their means.
pub(crate) fn means_of_windows(
    builder: &mut Builder,
    name: &str,
    input: NodeId,
    layout: Layout,
    from: Shape,
    to: Shape,
) -> (NodeId, Op) {
    let plain = layout.padding.is_none() && layout.dilation == [1, 1];
    let (input, stride) = match plain {
        true => (input, layout.stride),
        false => {
            let (shape, indices) = Sliding::new(from, to, layout).tiled();
            let select = Op::Select { shape, indices };
            let windows = builder.push(format!("{name}.windows"), select, &[input]);
            (windows, layout.kernel)
        }
    };
    let kernel = layout.kernel;
    (input, Op::AveragePool { kernel, stride })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::build;
    use crate::network::unit;
    use crate::{Activation, Architecture, Layer, LayerList};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// Every layer kind, statistics and parameters drawn at random.
    fn network(activation: Activation) -> Network {
        let layers = vec![
            Layer::Convolution {
                channels: 3,
                kernel: 3,
                stride: 2,
                padding: 1,
            },
            Layer::Activation {},
            Layer::Convolution {
                channels: 4,
                kernel: 2,
                stride: 1,
                padding: 0,
            },
            Layer::AveragePool {
                kernel: 2,
                stride: Some(1),
            },
            Layer::Residual {
                layers: vec![
                    Layer::Activation {},
                    Layer::Convolution {
                        channels: 5,
                        kernel: 3,
                        stride: 1,
                        padding: 1,
                    },
                ],
            },
            Layer::Activation {},
            Layer::Dense { outputs: Some(6) },
            Layer::Activation {},
            Layer::Dense { outputs: None },
        ];
        let list = LayerList {
            name: "every".to_string(),
            layers,
            training: None,
        };
        let config = TrainConfig {
            activation,
            ..Default::default()
        };
        let mut network = build(&Architecture::Custom(list), [2, 9, 9], 5, &config).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for values in network
            .parameters
            .iter_mut()
            .map(|parameter| &mut parameter.values)
        {
            values
                .iter_mut()
                .for_each(|value| *value += 0.2 * (2.0 * unit(&mut rng) - 1.0));
        }
        for statistics in &mut network.statistics {
            statistics
                .mean
                .iter_mut()
                .for_each(|value| *value = unit(&mut rng) - 0.5);
            statistics
                .variance
                .iter_mut()
                .for_each(|value| *value = 0.5 + unit(&mut rng));
        }
        network
    }

    #[test]
    fn the_graph_computes_what_was_trained() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let images: Vec<f32> = (0..7 * 162).map(|_| unit(&mut rng)).collect();
        for activation in [
            Activation::Relu,
            Activation::Layer,
            Activation::Channel,
            Activation::Element,
        ] {
            let network = network(activation);
            let mut observed = Vec::new();
            let trained = network.logits(&images, |index, values| {
                let step = &network.steps[index];
                if let StepKind::Normalize(normalization) = &step.kind {
                    observed.push(normalization.name.clone());
                }
                observed.push(step.name.clone());
                assert_eq!(values.len(), 7 * step.shape.elements());
            });
            let graph = graph(&network, false).unwrap();
            let executed = sordino_graph::execute(&graph, &images, 7).unwrap();
            assert_eq!(executed.len(), 7 * 5);
            let worst = trained
                .iter()
                .zip(&executed)
                .fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
            assert!(worst < 1e-4, "{activation}: logits differ by {worst}");
            assert!(
                executed.iter().any(|value| value.abs() > 0.05),
                "logits that could differ"
            );
            let names: Vec<&str> = graph
                .nodes()
                .iter()
                .skip(1)
                .map(|node| node.name.as_str())
                .collect();
            assert_eq!(names, observed);
        }
    }
}
