//! Small networks with weights that nobody trained: enough for tests that compare replies.

use sordino_graph::{
    ColorPolicy, Granularity, Graph, Model, Op, OutputKind, Padding, Preprocess, Shape, SizePolicy,
    Tensor, calibrate,
};

/// A layer of a network.
#[allow(dead_code, reason = "every test binary uses some of it")]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer {
    /// 3 x 3, with padding 1.
    Convolution { channels: usize, stride: usize },
    /// x² / 5 + x / 2 + 1 / 5.
    Activation,
    /// Flattens before it.
    Dense { outputs: usize },
}

/// Square images of one channel; the same in every run.
pub(crate) fn images(count: usize, side: usize) -> Vec<f32> {
    (0..count * side * side)
        .map(|i| (i * 37 % 101) as f32 / 101.0)
        .collect()
}

/// Weights between -0.4 and 0.4, less where many are summed.
fn weights(shape: &[usize], layer: usize) -> Tensor {
    let inputs: usize = shape[1..].iter().product();
    let weight = |i: usize| ((i * 7 + layer) % 5) as f32 / 5.0 - 0.4;
    let scale = (4.0 / inputs as f32).sqrt().min(1.0);
    let values = (0..shape[0] * inputs).map(|i| scale * weight(i)).collect();
    Tensor::new(shape, values).expect("a tensor")
}

/// A network on images of `side` x `side` pixels, with ranges over `count` of them.
pub(crate) fn model(name: &str, side: usize, layers: &[Layer], count: usize) -> Model {
    let mut graph = Graph::builder(Shape::map(1, side, side));
    let mut x = graph.push("input", Op::Input, &[]);
    let (mut channels, mut side_now, mut flat) = (1, side, false);
    for (number, &layer) in layers.iter().enumerate() {
        let op = match layer {
            Layer::Convolution {
                channels: outputs,
                stride,
            } => {
                let weight = weights(&[outputs, channels, 3, 3], number);
                (channels, side_now) = (outputs, side_now.div_ceil(stride));
                Op::Conv2d {
                    weight,
                    bias: vec![0.1; outputs],
                    stride: [stride; 2],
                    padding: Padding::same([1; 2]),
                    dilation: [1, 1],
                    groups: 1,
                }
            }
            Layer::Activation => Op::Quadratic {
                granularity: Granularity::Layer,
                a: vec![0.2],
                b: vec![0.5],
                c: vec![0.2],
            },
            Layer::Dense { outputs } => {
                if !flat {
                    x = graph.push("flatten", Op::Flatten, &[x]);
                    (channels, side_now, flat) = (channels * side_now * side_now, 1, true);
                }
                let weight = weights(&[outputs, channels], number);
                channels = outputs;
                let bias = vec![0.1; outputs];
                Op::Dense { weight, bias }
            }
        };
        x = graph.push(format!("layer{number}"), op, &[x]);
    }
    let mut model = Model {
        graph: graph.finish().expect("a network"),
        preprocess: Preprocess {
            channels: 1,
            height: side,
            width: side,
            size: SizePolicy::Refuse,
            input_range: (0.0, 1.0),
            mean: vec![0.0],
            std: vec![1.0],
            allowed: (0.0, 1.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes: (0..channels).map(|class| class.to_string()).collect(),
        output: OutputKind::Raw,
        name: name.into(),
        dataset: "random".into(),
        calibration: None,
        operating_points: None,
        training: serde_json::Value::Null,
    };
    let calibration = calibrate(&model, &images(count, side), count, &mut |_| ());
    model.calibration = Some(calibration.expect("ranges"));
    model
}
