//! A small network that needs no training.

use sordino_graph::{
    ColorPolicy, Granularity, Graph, Model, Op, OutputKind, Preprocess, Shape, SizePolicy, Tensor,
    calibrate,
};

pub(crate) const CLASSES: usize = 3;

/// Numbers in [0, 1), always the same.
pub(crate) fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| next()).collect()
}

/// Dense, quadratic, dense, on gray images.
pub(crate) fn model(size: (usize, usize), seed: u32) -> Model {
    let classes: [String; CLASSES] = ["no", "yes, a bit", "\"other\""].map(str::to_owned);
    model_of_classes(size, seed, classes.to_vec())
}

/// As [`model`], with other classes.
pub(crate) fn model_of_classes(size: (usize, usize), seed: u32, classes: Vec<String>) -> Model {
    model_around(size, seed, classes, 0.0)
}

/// As [`model_of_classes`], for images whose pixels are `least` to `least` + 1, and not for others.
pub(crate) fn model_around(
    (height, width): (usize, usize),
    seed: u32,
    classes: Vec<String>,
    least: f32,
) -> Model {
    let features = height * width;
    let dense = |outputs: usize, inputs: usize, seed: u32, least: f32| {
        let numbers = numbers(outputs * inputs, seed);
        let weights: Vec<f32> = numbers.iter().map(|w| 2.0 * w - 1.0).collect();
        let rows = weights.chunks_exact(inputs);
        let bias = rows
            .map(|row| 0.1 - least * row.iter().sum::<f32>())
            .collect();
        let weight = Tensor::new(&[outputs, inputs], weights.clone()).unwrap();
        Op::Dense { weight, bias }
    };
    let mut graph = Graph::builder(Shape::map(1, height, width));
    let mut x = graph.push("input", Op::Input, &[]);
    x = graph.push("flatten", Op::Flatten, &[x]);
    x = graph.push("first", dense(8, features, seed, least), &[x]);
    let (a, b, c) = (vec![0.2], vec![0.5], vec![0.2]);
    let quadratic = Op::Quadratic {
        granularity: Granularity::Layer,
        a,
        b,
        c,
    };
    x = graph.push("activation", quadratic, &[x]);
    graph.push("second", dense(classes.len(), 8, seed + 1, 0.0), &[x]);
    let mut model = Model {
        graph: graph.finish().unwrap(),
        preprocess: Preprocess {
            channels: 1,
            height,
            width,
            size: SizePolicy::Refuse,
            input_range: (0.0, 1.0),
            mean: vec![0.0],
            std: vec![1.0],
            allowed: (0.0, 1.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes,
        output: OutputKind::Softmax,
        name: "small".into(),
        dataset: "random".into(),
        calibration: None,
        operating_points: None,
        training: serde_json::Value::Null,
    };
    let images: Vec<f32> = numbers(500 * features, 77)
        .iter()
        .map(|pixel| least + pixel)
        .collect();
    model.calibration = Some(calibrate(&model, &images, 500, &mut |_| ()).unwrap());
    model
}
