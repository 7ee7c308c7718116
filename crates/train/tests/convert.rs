//! Quadratics in place of the activations of a trained network, without training its weights.

use std::sync::OnceLock;

use sordino_data::digits;
use sordino_graph::{Granularity, Model, Op, execute};
use sordino_train::{
    Activation, Architecture, ConvertConfig, ConvertPhase, Error, Layer, LayerList, TrainConfig,
    TrainingData, convert, train,
};

fn data() -> TrainingData {
    TrainingData::from_set(&digits()).unwrap()
}

/// A ReLU network for digits, with and without batch normalization.
fn original(batch_norm: bool) -> Model {
    static MODELS: OnceLock<[Model; 2]> = OnceLock::new();
    let models = MODELS.get_or_init(|| {
        [false, true].map(|batch_norm| {
            let config = TrainConfig {
                activation: Activation::Relu,
                batch_norm,
                epochs: 30,
                ..TrainConfig::for_architecture(&Architecture::Digits)
            };
            train(&Architecture::Digits, &data(), &config, &mut |_| ()).unwrap()
        })
    });
    models[usize::from(batch_norm)].clone()
}

fn accuracy(model: &Model) -> f64 {
    let test = digits().test;
    let images = sordino_data::prepare(&test, &model.preprocess, None).unwrap();
    let logits = execute(&model.graph, &images, test.len()).unwrap();
    let rows = logits.chunks_exact(model.classes.len());
    let right = rows
        .zip(test.labels.as_ref().unwrap())
        .filter(|(row, label)| {
            let best = |best, class| if row[class] > row[best] { class } else { best };
            (0..row.len()).fold(0, best) == usize::from(**label)
        });
    right.count() as f64 / test.len() as f64
}

fn config(granularity: Granularity, epochs: usize) -> ConvertConfig {
    ConvertConfig {
        granularity,
        epochs: Some(epochs),
        ..ConvertConfig::default()
    }
}

fn converted(original: &Model, config: &ConvertConfig) -> sordino_train::Conversion {
    convert(original, &data().images, config, &mut |_| ()).unwrap()
}

/// The fit of ReLU to a standard normal distribution everywhere, which looks at no image.
fn with_the_same_everywhere(original: &Model) -> Model {
    let mut model = original.clone();
    let mut builder = sordino_graph::Graph::builder(model.graph.input_shape());
    for node in model.graph.nodes() {
        let [a, b, c] = sordino_train::RELU_FIT.map(|value| vec![value]);
        let op = match node.op.kind() {
            "relu" => Op::Quadratic {
                granularity: Granularity::Layer,
                a,
                b,
                c,
            },
            _ => node.op.clone(),
        };
        builder.push(node.name.clone(), op, &node.inputs);
    }
    model.graph = builder.finish().unwrap();
    model
}

#[test]
fn a_converted_network_is_near_the_original_and_its_weights_are_the_same() {
    for batch_norm in [false, true] {
        let original = original(batch_norm);
        let norms = original.graph.nodes().iter();
        let norms = norms.filter(|node| node.op.kind() == "batch_norm").count();
        assert_eq!(norms, if batch_norm { 2 } else { 0 });
        let (best, plain) = (accuracy(&original), with_the_same_everywhere(&original));
        assert!(best > 0.9, "{best}");
        let mut found = Vec::new();
        for granularity in [
            Granularity::Layer,
            Granularity::Channel,
            Granularity::Element,
        ] {
            let conversion = converted(&original, &config(granularity, 20));
            let model = &conversion.model;
            let difference = &conversion.difference;
            println!(
                "batch norm {batch_norm}, {granularity:?}: {:.4} (original {best:.4}, same everywhere {:.4}), {difference:?}",
                accuracy(model),
                accuracy(&plain)
            );
            assert!(difference.agreement > 0.9, "{difference:?}");
            assert!(accuracy(model) > best - 0.04);
            assert!(accuracy(model) >= accuracy(&plain) - 0.005);
            assert!(difference.mean_logit_difference < 0.5 * difference.logit_deviation);
            assert!(model.calibration.as_ref().unwrap().input.is_some());
            assert_eq!(model.graph.nodes().len(), original.graph.nodes().len());
            for (node, before) in model.graph.nodes().iter().zip(original.graph.nodes()) {
                match &node.op {
                    Op::Quadratic { granularity: g, .. } => assert_eq!(*g, granularity),
                    op => assert_eq!(*op, before.op, "{}", node.name),
                }
            }
            model.to_bytes().unwrap();
            found.push(difference.mean_logit_difference);
        }
        // Finer quadratics are nearer to the original.
        assert!(found[2] < found[0], "{found:?}");
    }
}

/// Nine activations, a residual sum among them, without and with batch normalization.
#[test]
fn a_deep_network_does_not_leave_the_numbers() {
    let convolution = |channels, stride| Layer::Convolution {
        channels,
        kernel: 3,
        stride,
        padding: 1,
    };
    let mut layers = Vec::new();
    for (channels, stride) in [(8, 1), (8, 1), (8, 1), (12, 2), (12, 1), (12, 1)] {
        layers.extend([convolution(channels, stride), Layer::Activation {}]);
    }
    layers.push(Layer::Residual {
        layers: vec![convolution(12, 1), Layer::Activation {}, convolution(12, 1)],
    });
    layers.extend([
        Layer::Activation {},
        Layer::Dense { outputs: Some(16) },
        Layer::Activation {},
    ]);
    layers.push(Layer::Dense { outputs: None });
    let deep = Architecture::Custom(LayerList {
        name: "deep".to_string(),
        layers,
        training: None,
    });
    for batch_norm in [false, true] {
        let settings = TrainConfig {
            activation: Activation::Relu,
            batch_norm,
            epochs: 20,
            learning_rate: 2e-3,
            weight_decay: 0.05,
            ..TrainConfig::for_architecture(&Architecture::Digits)
        };
        let original = train(&deep, &data(), &settings, &mut |_| ()).unwrap();
        let best = accuracy(&original);
        assert!(best > 0.85, "{best}");
        for granularity in [
            Granularity::Layer,
            Granularity::Channel,
            Granularity::Element,
        ] {
            let conversion = converted(&original, &config(granularity, 20));
            let (found, difference) = (accuracy(&conversion.model), conversion.difference);
            println!(
                "deep, batch norm {batch_norm}, {granularity:?}: {found:.4} of {best:.4}, {difference:?}"
            );
            // One quadratic for all channels is too coarse for so many layers, but the numbers stay finite.
            let (least, lost) = match granularity {
                Granularity::Layer => (0.6, 0.3),
                _ => (0.85, 0.1),
            };
            assert!(difference.agreement > least, "{difference:?}");
            assert!(found > best - lost, "{found} {best}");
        }
    }
}

/// Mean Kullback-Leibler divergence of a network's probabilities on the test images from the original's.
fn divergence(original: &Model, model: &Model) -> f64 {
    let test = digits().test;
    let images = sordino_data::prepare(&test, &model.preprocess, None).unwrap();
    let probabilities = |model: &Model| -> Vec<f64> {
        let logits = execute(&model.graph, &images, test.len()).unwrap();
        let rows = logits.chunks_exact(model.classes.len());
        let row = |row: &[f32]| {
            let powers: Vec<f64> = row.iter().map(|&logit| f64::from(logit).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.into_iter().map(move |power| power / sum)
        };
        rows.flat_map(row).collect()
    };
    let pairs = probabilities(original)
        .into_iter()
        .zip(probabilities(model));
    pairs.map(|(p, q)| p * (p / q).ln()).sum::<f64>() / test.len() as f64
}

#[test]
fn training_of_coefficients_brings_the_probabilities_nearer() {
    let original = original(false);
    let of = |epochs| {
        let conversion = converted(&original, &config(Granularity::Layer, epochs));
        divergence(&original, &conversion.model)
    };
    let (fits, trained) = (of(0), of(20));
    println!("divergence of the fits {fits}, trained {trained}");
    assert!(trained < 0.95 * fits, "{trained} {fits}");
}

#[test]
fn a_conversion_is_repeated_exactly_with_any_number_of_threads() {
    let original = original(true);
    let bytes = |threads: usize, seed: u64| {
        let pool = rayon_pool(threads);
        let config = ConvertConfig {
            seed,
            ..config(Granularity::Element, 2)
        };
        pool.install(|| converted(&original, &config).model.to_bytes().unwrap())
    };
    let first = bytes(1, 1);
    assert!(first == bytes(3, 1));
    assert!(first != bytes(1, 2));
}

fn rayon_pool(threads: usize) -> rayon::ThreadPool {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
    builder.build().unwrap()
}

#[test]
fn progress_is_shown_to_the_end_of_every_phase() {
    let mut last = Vec::new();
    let config = config(Granularity::Layer, 2);
    let mut agreements = 0;
    convert(&original(false), &data().images, &config, &mut |progress| {
        last.retain(|(phase, _, _)| *phase != progress.phase);
        last.push((progress.phase, progress.done, progress.total));
        agreements += usize::from(progress.agreement.is_some());
    })
    .unwrap();
    let phases: Vec<ConvertPhase> = last.iter().map(|(phase, _, _)| *phase).collect();
    assert_eq!(
        phases,
        [ConvertPhase::Fit, ConvertPhase::Train, ConvertPhase::Record]
    );
    assert!(
        last.iter().all(|(_, done, total)| done == total),
        "{last:?}"
    );
    assert_eq!(agreements, 2);
}

#[test]
fn what_cannot_be_converted_is_refused() {
    let original = original(false);
    let (images, elements) = (data().images, original.preprocess.elements());
    let config = config(Granularity::Element, 1);
    let refused = |model: &Model, images: &[f32], config: &ConvertConfig| {
        convert(model, images, config, &mut |_| ()).unwrap_err()
    };
    let polynomial = converted(&original, &config).model;
    let error = refused(&polynomial, &images, &config);
    assert!(matches!(error, Error::NothingToConvert { .. }), "{error}");
    assert!(error.to_string().contains("sordino ranges"));
    let error = refused(&original, &images[..20 * elements], &config);
    assert!(error.to_string().contains("at least 32 images") && error.to_string().contains("20"));
    let error = refused(&original, &images[..100 * elements + 1], &config);
    assert!(matches!(error, Error::Data { .. }), "{error}");
    let mut broken = images.clone();
    broken[5 * elements] = f32::INFINITY;
    assert!(
        refused(&original, &broken, &config)
            .to_string()
            .contains("image 5")
    );
    let wrong = ConvertConfig {
        learning_rate: f64::NAN,
        ..config
    };
    assert!(matches!(
        refused(&original, &images, &wrong),
        Error::Config { .. }
    ));
    // Few images are enough for a fit that is used with care.
    convert(&original, &images[..40 * elements], &config, &mut |_| ()).unwrap();
}
