//! Small networks with random weights, calibrated on random images.
#![allow(dead_code, reason = "every test binary uses some of it")]

pub(crate) mod exported;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sordino_graph::{
    Builder, ColorPolicy, Granularity, Graph, Model, NodeId, Op, OutputKind, Padding, Preprocess,
    Shape, SizePolicy, Tensor, calibrate,
};

pub(crate) struct Random(ChaCha12Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(ChaCha12Rng::seed_from_u64(seed))
    }

    pub(crate) fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    pub(crate) fn values(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        (0..count).map(|_| self.uniform(low, high)).collect()
    }

    /// Weights of a layer with `inputs` inputs, normalized.
    pub(crate) fn weights(&mut self, shape: &[usize], inputs: usize) -> Tensor {
        let bound = (3.0 / inputs as f32).sqrt();
        let count = shape.iter().product();
        Tensor::new(shape, self.values(count, -bound, bound)).unwrap()
    }
}

pub(crate) fn conv(random: &mut Random, from: usize, to: usize, stride: usize) -> Op {
    Op::Conv2d {
        weight: random.weights(&[to, from, 3, 3], from * 9),
        bias: random.values(to, -0.2, 0.2),
        stride: [stride; 2],
        padding: Padding::same([1; 2]),
        dilation: [1, 1],
        groups: 1,
    }
}

pub(crate) fn dense(random: &mut Random, from: usize, to: usize) -> Op {
    Op::Dense {
        weight: random.weights(&[to, from], from),
        bias: random.values(to, -0.2, 0.2),
    }
}

/// Quadratics near ReLU's fit, some of them turned upside down.
pub(crate) fn quadratic(random: &mut Random, granularity: Granularity, count: usize) -> Op {
    let mut a = random.values(count, 0.15, 0.3);
    a.iter_mut().step_by(3).for_each(|a| *a = -*a);
    Op::Quadratic {
        granularity,
        a,
        b: random.values(count, 0.3, 0.6),
        c: random.values(count, 0.0, 0.3),
    }
}

pub(crate) fn batch_norm(random: &mut Random, channels: usize) -> Op {
    Op::BatchNorm {
        gamma: random.values(channels, 0.8, 1.2),
        beta: random.values(channels, -0.2, 0.2),
        mean: random.values(channels, -0.2, 0.2),
        variance: random.values(channels, 0.3, 1.0),
        epsilon: 1e-5,
    }
}

pub(crate) fn halve() -> Op {
    Op::AveragePool {
        kernel: [2; 2],
        stride: [2; 2],
    }
}

/// One hidden layer: no rescale, no key.
pub(crate) fn mlp() -> Graph {
    let mut r = Random::new(1);
    let mut g: Builder = Graph::builder(Shape::map(1, 6, 6));
    let x = g.push("input", Op::Input, &[]);
    let x = g.push("flatten", Op::Flatten, &[x]);
    let x = g.push("hidden", dense(&mut r, 36, 20), &[x]);
    let x = g.push("act", quadratic(&mut r, Granularity::Element, 20), &[x]);
    g.push("logits", dense(&mut r, 20, 5), &[x]);
    g.finish().unwrap()
}

/// Convolution, batch norm, pooling with both signs in a window, two activations.
pub(crate) fn convolutional() -> Graph {
    let mut r = Random::new(2);
    let mut g = Graph::builder(Shape::map(2, 8, 8));
    let x = g.push("input", Op::Input, &[]);
    let x = g.push("conv", conv(&mut r, 2, 4, 1), &[x]);
    let x = g.push("norm", batch_norm(&mut r, 4), &[x]);
    let x = g.push(
        "act1",
        quadratic(&mut r, Granularity::Element, 4 * 64),
        &[x],
    );
    let x = g.push("pool", halve(), &[x]);
    let x = g.push("flatten", Op::Flatten, &[x]);
    let x = g.push("dense", dense(&mut r, 64, 12), &[x]);
    let x = g.push("act2", quadratic(&mut r, Granularity::Channel, 12), &[x]);
    g.push("logits", dense(&mut r, 12, 4), &[x]);
    g.finish().unwrap()
}

/// Three activations and a residual branch around the second.
pub(crate) fn residual() -> Graph {
    let mut r = Random::new(3);
    let mut g = Graph::builder(Shape::map(1, 6, 6));
    let x = g.push("input", Op::Input, &[]);
    let x = g.push("stem", conv(&mut r, 1, 4, 2), &[x]);
    let skip = g.push("act1", quadratic(&mut r, Granularity::Element, 36), &[x]);
    let x = g.push("conv1", conv(&mut r, 4, 4, 1), &[skip]);
    let x = g.push("act2", quadratic(&mut r, Granularity::Channel, 4), &[x]);
    let x = g.push("conv2", conv(&mut r, 4, 4, 1), &[x]);
    let x = g.push("sum", Op::SUM, &[x, skip]);
    let x = g.push("act3", quadratic(&mut r, Granularity::Layer, 1), &[x]);
    let x: NodeId = g.push("flatten", Op::Flatten, &[x]);
    g.push("logits", dense(&mut r, 36, 3), &[x]);
    g.finish().unwrap()
}

/// Three convolutions that end in few values: lines of several layers are in memory where it is streamed.
pub(crate) fn streamable() -> Graph {
    let mut r = Random::new(10);
    let mut g = Graph::builder(Shape::map(1, 8, 8));
    let mut x = g.push("input", Op::Input, &[]);
    let layers = [(1, 1), (8, 1), (8, 2)];
    for (index, (channels, stride)) in layers.into_iter().enumerate() {
        x = g.push(
            format!("conv{index}"),
            conv(&mut r, channels, 8, stride),
            &[x],
        );
        let quadratic = quadratic(&mut r, Granularity::Channel, 8);
        x = g.push(format!("act{index}"), quadratic, &[x]);
    }
    let x = g.push("flatten", Op::Flatten, &[x]);
    g.push("logits", dense(&mut r, 128, 3), &[x]);
    g.finish().unwrap()
}

/// Two activated values added, read by a convolution and, in the end, by the logits.
pub(crate) fn activated_residual() -> Graph {
    let mut r = Random::new(9);
    let mut g = Graph::builder(Shape::map(1, 8, 8));
    let x = g.push("input", Op::Input, &[]);
    let x = g.push("stem", conv(&mut r, 1, 4, 1), &[x]);
    let skip = g.push("act1", quadratic(&mut r, Granularity::Element, 256), &[x]);
    let x = g.push("conv1", conv(&mut r, 4, 4, 1), &[skip]);
    let x = g.push("act2", quadratic(&mut r, Granularity::Channel, 4), &[x]);
    let x = g.push("sum1", Op::SUM, &[x, skip]);
    let x = g.push("down", conv(&mut r, 4, 4, 2), &[x]);
    let skip = g.push("act3", quadratic(&mut r, Granularity::Layer, 1), &[x]);
    let x = g.push("conv2", conv(&mut r, 4, 4, 1), &[skip]);
    let x = g.push("act4", quadratic(&mut r, Granularity::Element, 64), &[x]);
    let x = g.push("sum2", Op::SUM, &[skip, x]);
    let x: NodeId = g.push("flatten", Op::Flatten, &[x]);
    g.push("logits", dense(&mut r, 64, 3), &[x]);
    g.finish().unwrap()
}

pub(crate) fn model(graph: Graph) -> Model {
    let shape = graph.input_shape();
    let (channels, height, width) = match shape {
        Shape::Map {
            channels,
            height,
            width,
        } => (channels, height, width),
        Shape::Flat(_) => unreachable!("inputs are images"),
    };
    let classes = (0..graph.classes()).map(|c| format!("class {c}")).collect();
    let mut model = Model {
        graph,
        preprocess: Preprocess {
            channels,
            height,
            width,
            size: SizePolicy::Refuse,
            input_range: (0.0, 1.0),
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
            allowed: (0.0, 1.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes,
        output: OutputKind::Softmax,
        name: "test".into(),
        dataset: "random".into(),
        calibration: None,
        operating_points: None,
        training: serde_json::Value::Null,
    };
    let images = images(&model, 600, 11);
    model.calibration = Some(calibrate(&model, &images, 600, &mut |_| ()).unwrap());
    model
}

pub(crate) fn images(model: &Model, count: usize, seed: u64) -> Vec<f32> {
    Random::new(seed).values(count * model.preprocess.elements(), 0.0, 1.0)
}

/// Two strided convolutions, the channels of the second in the gaps that the strides leave, and a pool.
pub(crate) fn strided() -> Graph {
    let mut r = Random::new(4);
    let mut g = Graph::builder(Shape::map(3, 16, 16));
    let x = g.push("input", Op::Input, &[]);
    let x = g.push("conv1", conv(&mut r, 3, 4, 2), &[x]);
    let x = g.push("act1", quadratic(&mut r, Granularity::Element, 256), &[x]);
    let x = g.push("conv2", conv(&mut r, 4, 12, 2), &[x]);
    let x = g.push("act2", quadratic(&mut r, Granularity::Channel, 12), &[x]);
    let x = g.push("pool", halve(), &[x]);
    let x = g.push("flatten", Op::Flatten, &[x]);
    g.push("logits", dense(&mut r, 48, 6), &[x]);
    g.finish().unwrap()
}
