//! A network whose values grow with the eighth power of the input, so that one image can ruin a block.

use sordino_graph::{
    ColorPolicy, Granularity, Graph, Model, Op, OutputKind, Preprocess, Shape, SizePolicy, Tensor,
    calibrate,
};

pub(crate) const SIDE: usize = 4;
pub(crate) const FEATURES: usize = SIDE * SIDE;
/// Images of calibration are this bright; brighter ones are allowed.
const USUAL: f32 = 0.05;

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| next()).collect()
}

/// Four dense layers with squares between, whose values grow with the eighth power of the input.
pub(crate) fn model() -> Model {
    let dense = |outputs: usize, inputs: usize, gain: f32, seed: u32| {
        let weights = numbers(outputs * inputs, seed);
        let weights = weights.iter().map(|w| gain * (2.0 * w - 1.0)).collect();
        Op::Dense {
            weight: Tensor::new(&[outputs, inputs], weights).unwrap(),
            bias: vec![0.1; outputs],
        }
    };
    let quadratic = || Op::Quadratic {
        granularity: Granularity::Layer,
        a: vec![1.0],
        b: vec![0.5],
        c: vec![0.0],
    };
    let mut graph = Graph::builder(Shape::map(1, SIDE, SIDE));
    let mut x = graph.push("input", Op::Input, &[]);
    x = graph.push("flatten", Op::Flatten, &[x]);
    let mut width = FEATURES;
    for layer in 0..3 {
        let gain = if layer == 0 { 8.0 } else { 1.0 };
        x = graph.push(
            format!("dense{layer}"),
            dense(8, width, gain, layer + 1),
            &[x],
        );
        x = graph.push(format!("act{layer}"), quadratic(), &[x]);
        width = 8;
    }
    graph.push("last", dense(3, width, 1.0, 9), &[x]);
    let mut model = Model {
        graph: graph.finish().unwrap(),
        preprocess: Preprocess {
            channels: 1,
            height: SIDE,
            width: SIDE,
            size: SizePolicy::Refuse,
            input_range: (0.0, 1.0),
            mean: vec![0.0],
            std: vec![1.0],
            allowed: (0.0, 1.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
        output: OutputKind::Softmax,
        name: "deep".into(),
        dataset: "random".into(),
        calibration: None,
        operating_points: None,
        training: serde_json::Value::Null,
    };
    let images = usual(500, 77);
    model.calibration = Some(calibrate(&model, &images, 500, &mut |_| ()).unwrap());
    model
}

pub(crate) fn usual(count: usize, seed: u32) -> Vec<f32> {
    numbers(count * FEATURES, seed)
        .iter()
        .map(|value| USUAL * value)
        .collect()
}
