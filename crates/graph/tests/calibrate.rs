//! Recorded ranges and statistics against direct computation.

mod networks;

use networks::{Coefficients, Random, Sketch, conv, images, quadratic, random_network};
use sordino_graph::{
    Calibration, ColorPolicy, Error, Granularity, Graph, Model, Op, OutputKind, Preprocess, Shape,
    SizePolicy, calibrate, execute_folded_observed, execute_observed, fold, to_half_precision,
};

fn model(graph: Graph) -> Model {
    let Shape::Map {
        channels,
        height,
        width,
    } = graph.input_shape()
    else {
        panic!("images are maps")
    };
    Model {
        preprocess: Preprocess {
            channels,
            height,
            width,
            size: SizePolicy::Refuse,
            input_range: (0.0, 255.0),
            mean: vec![0.5; channels],
            std: vec![0.5; channels],
            allowed: (0.0, 255.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes: (0..graph.classes()).map(|i| i.to_string()).collect(),
        graph,
        output: OutputKind::Softmax,
        name: "test".into(),
        dataset: "none".into(),
        calibration: None,
        operating_points: None,
        training: serde_json::Value::Null,
    }
}

fn record(model: &Model, images: &[f32], batch: usize) -> Calibration {
    calibrate(model, images, batch, &mut |_| ()).unwrap()
}

fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 1e-6 * expected.abs().max(1e-12),
        "found {found}, expected {expected}"
    );
}

#[test]
fn ranges_and_statistics_equal_the_direct_computation() {
    for seed in 0..6 {
        let model = model(random_network(seed));
        let graph = &model.graph;
        // More than one shard, and not a whole number of blocks.
        let batch = 301;
        let images = images(&mut Random::new(seed), graph.input_shape(), batch);
        let calibration = record(&model, &images, batch);
        assert_eq!((calibration.images, calibration.margin_bits), (batch, 2.0));

        let mut values: Vec<Vec<f32>> = vec![Vec::new(); graph.nodes().len()];
        execute_observed(graph, &images, batch, |node, value| {
            values[graph.find(&node.name).unwrap().0].extend_from_slice(value);
        })
        .unwrap();
        assert_eq!(calibration.nodes.len(), graph.nodes().len());
        for (node, values) in graph.nodes().iter().zip(values) {
            let range = calibration.nodes[&node.name];
            let min = values.iter().copied().fold(f32::INFINITY, f32::min);
            let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!((range.min, range.max), (f64::from(min), f64::from(max)));
            let mut sizes: Vec<f64> = values.iter().map(|v| f64::from(v.abs())).collect();
            sizes.sort_by(f64::total_cmp);
            let exact = sizes[sizes.len() - 1 - sizes.len() / 10_000];
            assert!(
                range.p9999 >= exact && range.p9999 <= exact * 1.008 + 1e-30,
                "{} {exact}",
                range.p9999
            );
        }

        let folded = fold(graph).unwrap();
        assert_eq!(calibration.folded.len(), folded.nodes.len());
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); folded.nodes.len()];
        execute_folded_observed(&folded, &images, batch, |node, value| {
            let index = folded
                .nodes
                .iter()
                .position(|n| n.name == node.name)
                .unwrap();
            values[index].extend_from_slice(value);
        })
        .unwrap();
        for (index, (node, found)) in folded.nodes.iter().zip(&calibration.folded).enumerate() {
            assert_eq!(node.name, found.name);
            let rows: Vec<&[f64]> = values[index].chunks_exact(node.elements).collect();
            close(
                found.max_abs,
                values[index].iter().fold(0.0, |m, v| m.max(v.abs())),
            );
            assert_eq!(found.mean_square.len(), node.elements);
            for (f, &found) in found.mean_square.iter().enumerate() {
                let sum: f64 = rows.iter().map(|row| row[f] * row[f]).sum();
                // Half precision: eleven bits, and nothing finer than 2^-25.
                let (found, expected) = (f64::from(found), sum / batch as f64);
                let tolerance = (expected * 2f64.powi(-11)).max(2f64.powi(-25));
                assert!(
                    (found - expected).abs() <= tolerance,
                    "found {found}, expected {expected}"
                );
                assert_eq!(to_half_precision(found as f32), found as f32);
            }
        }
        let logits = values[values.len() - 1].chunks_exact(graph.classes());
        let mut largest: Vec<f64> = logits
            .map(|image| image.iter().fold(0.0, |m: f64, v| m.max(v.abs())))
            .collect();
        largest.sort_by(f64::total_cmp);
        close(calibration.usual_logit.unwrap(), largest[batch - 1 - 3]);
    }
}

#[test]
fn the_number_of_threads_changes_nothing_and_progress_adds_up() {
    let model = model(random_network(21));
    let batch = 700;
    let images = images(&mut Random::new(21), model.graph.input_shape(), batch);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut done = Vec::new();
            let calibration =
                calibrate(&model, &images, batch, &mut |count| done.push(count)).unwrap();
            assert!(done.is_sorted());
            assert_eq!(done.last(), Some(&batch));
            calibration
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn a_teacher_gets_ranges_only() {
    let mut net = Sketch::new(Shape::map(1, 3, 3));
    net.then(Op::RELU);
    let model = model(net.finish(&mut Random::new(1), 2));
    let images = images(&mut Random::new(1), Shape::map(1, 3, 3), 5);
    let calibration = record(&model, &images, 5);
    assert!(calibration.folded.is_empty());
    assert_eq!(calibration.nodes["relu1"].min, 0.0);
}

#[test]
fn one_outlier_moves_the_maximum_and_not_the_quantile() {
    let mut net = Sketch::new(Shape::map(1, 10, 10));
    net.then(Op::RELU);
    let model = model(net.finish(&mut Random::new(1), 2));
    let batch = 200;
    let mut images = images(&mut Random::new(1), Shape::map(1, 10, 10), batch);
    images[777] = -50.0;
    let range = record(&model, &images, batch).nodes["input"];
    assert_eq!(range.min, -50.0);
    assert!(
        range.p9999 <= 1.008 && range.p9999 > 0.99,
        "{}",
        range.p9999
    );
}

#[test]
fn no_images_bad_images_and_explosions_are_refused() {
    let random = &mut Random::new(5);
    let mut net = Sketch::new(Shape::map(1, 4, 4));
    net.then(conv(random, [2, 1, 3, 3], [1, 1], [1, 1]));
    for _ in 0..12 {
        let shape = net.shape();
        net.then(quadratic(
            random,
            &shape,
            Granularity::Layer,
            Coefficients::Ordinary,
        ));
    }
    let model = model(net.finish(random, 2));
    let refusal = |images: &[f32], batch| {
        calibrate(&model, images, batch, &mut |_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(refusal(&[], 0).contains("found no images"));
    assert!(refusal(&[0.0; 16], 2).contains("expected 2 images of 1x4x4"));
    let mut images = vec![0.5; 48];
    images[33] = f32::NAN;
    assert!(refusal(&images, 3).contains("image 2 holds NaN"));
    let message = refusal(&[1e6; 16], 1);
    assert!(message.contains("explodes"), "{message}");
    assert!(matches!(
        calibrate(&model, &[1e6; 16], 1, &mut |_| ()),
        Err(Error::Calibrate { .. })
    ));
}
