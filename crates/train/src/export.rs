//! A trained network as a graph with everything the model file says.

use serde_json::json;
use sordino_graph::{Granularity, Graph, Model, Op, OutputKind, Shape, Tensor, calibrate};

use crate::batches::{Epoch, ImageSet};
use crate::network::{EPSILON, Network, StepKind};
use crate::training::Best;
use crate::{Activation, Architecture, Error, TrainConfig, TrainingData};

/// Images that record the ranges: training images, shifted as in training.
const CALIBRATION_IMAGES: usize = 8192;

/// The model of a run's best epoch.
pub(crate) fn model(
    architecture: &Architecture,
    data: &TrainingData,
    config: &TrainConfig,
    best: &Best,
) -> Result<Model, Error> {
    let network = &best.network;
    let mut model = Model {
        graph: graph(network)?,
        preprocess: data.preprocess.clone(),
        classes: data.classes.clone(),
        output: OutputKind::Softmax,
        name: architecture.name().to_string(),
        dataset: data.dataset.clone(),
        calibration: None,
        training: json!({
            "trainer": concat!("sordino-train ", env!("CARGO_PKG_VERSION")),
            "config": config,
            "epoch": best.epoch,
            "validation_accuracy": best.validation_accuracy,
            "images": data.labels.len(),
            "parameters": network.parameter_count(),
        }),
    };
    let images = calibration_images(data, config);
    let count = images.len() / data.preprocess.elements();
    model.calibration = Some(calibrate(&model, &images, count, &mut |_| ())?);
    Ok(model)
}

fn calibration_images(data: &TrainingData, config: &TrainConfig) -> Vec<f32> {
    let outside = data.outside();
    let set = ImageSet {
        pixels: &data.images,
        shape: data.shape(),
        outside: &outside,
    };
    let all: Vec<usize> = (0..data.labels.len()).collect();
    let mut images = Vec::new();
    // Rounds are numbered after the training's epochs, so that order and shifts are drawn anew.
    for round in config.epochs.. {
        let mut epoch = Epoch::new(&all, config.seed, round);
        let left = CALIBRATION_IMAGES - images.len() / set.image_len();
        let indices = epoch.batches(all.len()).concat();
        images.extend(epoch.gather(&set, &indices[..left.min(all.len())], config.shift));
        if left <= all.len() || config.shift == 0 {
            break;
        }
    }
    images
}

/// The network as nodes; batch normalizations stay nodes, folding is the planner's business.
pub(crate) fn graph(network: &Network) -> Result<Graph, Error> {
    let values = |index: usize| network.parameters[index].values.clone();
    let bias =
        |index: Option<usize>, outputs: usize| index.map_or_else(|| vec![0.0; outputs], values);
    let [channels, height, width] = network.input;
    let mut builder = Graph::builder(Shape::Map {
        channels,
        height,
        width,
    });
    let mut last = builder.push("input", Op::Input, &[]);
    for step in &network.steps {
        let op = match step.kind {
            StepKind::Convolution {
                weight,
                bias: offset,
                channels,
                kernel,
                stride,
                padding,
            } => {
                let Shape::Map {
                    channels: inputs, ..
                } = step.input
                else {
                    unreachable!("checked by the builder")
                };
                Op::Conv2d {
                    weight: Tensor::new(&[channels, inputs, kernel, kernel], values(weight))?,
                    bias: bias(offset, channels),
                    stride: [stride, stride],
                    padding: [padding, padding],
                }
            }
            StepKind::Dense {
                weight,
                bias: offset,
                outputs,
            } => {
                let inputs = step.input.elements();
                let weights = &network.parameters[weight].values;
                let rows = (0..outputs)
                    .flat_map(|row| (0..inputs).map(move |column| weights[column * outputs + row]));
                Op::Dense {
                    weight: Tensor::new(&[outputs, inputs], rows.collect())?,
                    bias: bias(offset, outputs),
                }
            }
            StepKind::AveragePool { kernel, stride } => Op::AveragePool {
                kernel: [kernel, kernel],
                stride: [stride, stride],
            },
            StepKind::Flatten => Op::Flatten,
            StepKind::BatchNorm {
                gamma,
                beta,
                statistics,
            } => Op::BatchNorm {
                gamma: values(gamma),
                beta: values(beta),
                mean: network.statistics[statistics].mean.clone(),
                variance: network.statistics[statistics].variance.clone(),
                epsilon: EPSILON,
            },
            StepKind::Relu => Op::Relu,
            StepKind::Quadratic {
                granularity,
                a,
                b,
                c,
            } => Op::Quadratic {
                granularity: match granularity {
                    Activation::Channel => Granularity::Channel,
                    Activation::Element => Granularity::Element,
                    _ => Granularity::Layer,
                },
                a: values(a),
                b: values(b),
                c: values(c),
            },
        };
        last = builder.push(step.name.clone(), op, &[last]);
    }
    Ok(builder.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::unit;
    use crate::{Layer, LayerList};
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
        let mut network = Network::new(&Architecture::Custom(list), [2, 9, 9], 5, &config).unwrap();
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
            let trained = network.logits(&images, |step, values| {
                observed.push((step.name.clone(), values))
            });
            let graph = graph(&network).unwrap();
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
            assert_eq!(
                names,
                observed
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .collect::<Vec<_>>()
            );
        }
    }
}
