//! Training on the built-in digits, end to end: from the set to a model that can be folded and quantized.

use sordino_data::{Images, digits, shift};
use sordino_graph::{Model, WeightFormat, execute, execute_folded, fold, quantize};
use sordino_train::{Activation, Architecture, Error, TrainConfig, TrainingData, train};

const EIGHT_BITS: WeightFormat = WeightFormat {
    bits: 8,
    scale: None,
};

fn data() -> TrainingData {
    TrainingData::from_set(&digits()).unwrap()
}

fn classes(logits: &[f64]) -> Vec<u16> {
    let best = |row: &[f64]| {
        (0..10).fold(
            0,
            |best, class| if row[class] > row[best] { class } else { best },
        ) as u16
    };
    logits.chunks_exact(10).map(best).collect()
}

fn agreement(left: &[u16], right: &[u16]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter()
        .zip(right)
        .filter(|(left, right)| left == right)
        .count() as f64
        / left.len() as f64
}

/// Test images of the other writers in all nine one-pixel shifts.
fn shifted_test_images() -> (Vec<Images>, Vec<u16>) {
    let test = digits().test;
    let shifts = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy)));
    let images: Vec<Images> = shifts.map(|(dx, dy)| shift(&test, dx, dy)).collect();
    let labels = images
        .iter()
        .flat_map(|images| images.labels.clone().unwrap())
        .collect();
    (images, labels)
}

fn prepared(model: &Model, images: &[Images]) -> Vec<f32> {
    images
        .iter()
        .flat_map(|images| sordino_data::prepare(images, &model.preprocess, None).unwrap())
        .collect()
}

fn plain(model: &Model, images: &[f32], count: usize) -> Vec<u16> {
    let logits: Vec<f64> = execute(&model.graph, images, count)
        .unwrap()
        .into_iter()
        .map(f64::from)
        .collect();
    classes(&logits)
}

#[test]
fn the_default_recipe_reads_shifted_digits_of_other_writers_in_float_and_in_8_bits() {
    let architecture = Architecture::Digits;
    let config = TrainConfig::for_architecture(&architecture);
    let mut reports = Vec::new();
    let model = train(&architecture, &data(), &config, &mut |progress| {
        reports.push(progress.clone())
    })
    .unwrap();

    let (images, labels) = shifted_test_images();
    let images = prepared(&model, &images);
    let float = plain(&model, &images, labels.len());
    let accuracy = agreement(&float, &labels);
    println!("accuracy on shifted test images {accuracy:.4}");
    assert!(accuracy >= 0.96, "accuracy {accuracy}");

    let folded = fold(&model.graph).unwrap();
    let quantized = quantize(&folded, &vec![EIGHT_BITS; folded.linear_nodes().count()]).unwrap();
    let integer = classes(&execute_folded(&quantized, &images, labels.len()).unwrap());
    assert!(
        agreement(&integer, &labels) >= accuracy - 0.002,
        "8 bits: {}",
        agreement(&integer, &labels)
    );
    assert!(
        agreement(&integer, &float) >= 0.995,
        "agreement {}",
        agreement(&integer, &float)
    );

    let last = reports.last().unwrap();
    assert_eq!((last.epoch, last.batch), (config.epochs, last.batches));
    assert!(last.seconds_left < 1e-6 && reports[0].seconds_left > 0.0);
    assert!(
        reports
            .iter()
            .all(|report| report.loss.is_finite() && report.train_accuracy <= 1.0)
    );
    assert_eq!(model.training["config"]["seed"], config.seed);
    assert_eq!(
        (model.name.as_str(), model.dataset.as_str()),
        ("digits", "digits")
    );
    let calibration = model.calibration.as_ref().unwrap();
    assert!(calibration.nodes.contains_key("norm1") && calibration.images > 4096);
}

#[test]
fn a_few_epochs_learn_and_the_same_seed_gives_the_same_model() {
    let config = TrainConfig {
        activation: Activation::Channel,
        epochs: 30,
        validation: 0.1,
        ..TrainConfig::for_architecture(&Architecture::Digits)
    };
    let run =
        |config: &TrainConfig| train(&Architecture::Digits, &data(), config, &mut |_| ()).unwrap();
    let model = run(&config);
    let set = digits();
    let images = prepared(&model, std::slice::from_ref(&set.test));
    let accuracy = agreement(
        &plain(&model, &images, set.test.len()),
        set.test.labels.as_ref().unwrap(),
    );
    assert!(accuracy >= 0.9, "accuracy {accuracy}");
    assert!(model.training["validation_accuracy"].as_f64().unwrap() > 0.9);

    let short = TrainConfig {
        epochs: 2,
        ..config
    };
    let first = run(&short);
    assert_eq!(first, run(&short));
    assert_ne!(
        first.graph,
        run(&TrainConfig {
            seed: short.seed + 1,
            ..short.clone()
        })
        .graph
    );
}

#[test]
fn a_divergence_names_the_layer_and_keeps_the_best_epoch() {
    let wild = TrainConfig {
        learning_rate: 1e12,
        gradient_norm: 1e30,
        weight_clip: 1e30,
        weight_decay: 0.0,
        epochs: 3,
        warmup_epochs: 0.0,
        ..TrainConfig::for_architecture(&Architecture::Digits)
    };
    let error = train(&Architecture::Digits, &data(), &wild, &mut |_| ()).unwrap_err();
    let message = error.to_string();
    let Error::Diverged {
        epoch, layer, best, ..
    } = error
    else {
        panic!("{message}")
    };
    assert_eq!(epoch, 1);
    assert!(best.is_none() && !layer.is_empty(), "{message}");
    assert!(
        message.contains(&layer) && message.contains("lower the learning rate"),
        "{message}"
    );
    assert!(
        message.contains("range") || message.contains("values up to"),
        "{message}"
    );

    // A warm-up so long that the first epochs are harmless and a later one is not.
    let late = TrainConfig {
        epochs: 60,
        warmup_epochs: 60.0,
        learning_rate: 10.0,
        range_penalty: 0.0,
        ..wild
    };
    let error = train(&Architecture::Digits, &data(), &late, &mut |_| ()).unwrap_err();
    let message = error.to_string();
    let Error::Diverged {
        epoch,
        best: Some(best),
        ..
    } = error
    else {
        panic!("{message}")
    };
    assert!(epoch > 1 && best.training["epoch"].as_u64().unwrap() < epoch as u64);
    assert!(
        best.calibration.is_some() && message.contains("was kept"),
        "{message}"
    );
}

#[test]
fn data_that_does_not_fit_is_refused_before_training() {
    let mut unlabelled = digits();
    unlabelled.train.labels = None;
    let message = TrainingData::from_set(&unlabelled).unwrap_err().to_string();
    assert!(message.contains("label"), "{message}");
    let mut data = data();
    data.images[70] = f32::NAN;
    let message = train(
        &Architecture::Mlp,
        &data,
        &TrainConfig::default(),
        &mut |_| (),
    )
    .unwrap_err()
    .to_string();
    assert!(message.contains("image 1"), "{message}");
}
