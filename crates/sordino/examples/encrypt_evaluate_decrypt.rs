//! Encrypts handwritten digits, evaluates a network on the ciphertexts and decrypts the scores.
//!
//! `cargo run --release --example encrypt_evaluate_decrypt`

use sordino::data::{digits, prepare};
use sordino::train::{Architecture, TrainConfig, TrainingData, train};
use sordino::{CompileOptions, Error, Workflow};

/// Returns the share of images that are classified as labelled.
pub(crate) fn run() -> Result<f64, Error> {
    // A small network with quadratic activations, trained in a few seconds. `Model::load` reads others.
    let set = digits();
    let architecture = Architecture::Digits;
    let config = TrainConfig::for_architecture(&architecture);
    let data = TrainingData::from_set(&set)?;
    let model = train(&architecture, &data, &config, &mut |_| ())?;

    // Parameters, scales and integer weights for batches of up to 4,096 images, at 128 bits of security or more.
    let workflow = Workflow::compile(&model, &CompileOptions::new(4096))?;
    println!("{}", workflow.client().plan().explain());

    // The data owner encrypts images that the network has not seen.
    let images = set.test;
    let request = workflow.encrypt(&prepare(&images, &model.preprocess, None)?)?;
    println!(
        "{} images in a request of {} bytes",
        images.len(),
        request.len()
    );

    // The model owner evaluates; neither images nor scores are visible here.
    let reply = workflow.evaluate(&request)?;

    // The data owner decrypts.
    let predictions = workflow.decrypt(&reply)?;
    let labels = images.labels.as_deref().unwrap_or_default();
    let pairs = predictions.classes().iter().zip(labels);
    let right = pairs
        .filter(|(class, label)| **class == usize::from(**label))
        .count();
    let accuracy = right as f64 / images.len() as f64;
    println!(
        "first image: {}, accuracy {:.1} %",
        predictions.label(0),
        accuracy * 100.0
    );
    Ok(accuracy)
}

#[allow(
    dead_code,
    reason = "the test of this example includes the file as a module"
)]
fn main() -> Result<(), Error> {
    run().map(|_| ())
}
