//! Trains a named architecture with its default recipe, saves the model file and says how good it is.
//!
//! `cargo run --release -p sordino-train --example train_model -- cryptonets path/to/mnist cryptonets-mnist.safetensors`
//!
//! Also prints what rounding all weights to 8 and to 16 bits does on the test images. They choose nothing: the recipe is
//! fixed before, and the best epoch is chosen on held-back training images.

use std::error::Error;
use std::time::Instant;

use sordino_container::Overwrite;
use sordino_data::{open_set, prepare};
use sordino_graph::{execute, execute_quantized, fold, quantize};
use sordino_train::{Architecture, TrainConfig, TrainingData, train};

const BLOCK: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [architecture, data, out] = &arguments[..] else {
        return Err("usage: train_model ARCHITECTURE DATA OUT".into());
    };
    let architecture: Architecture = architecture.parse()?;
    let set = open_set(data)?;
    let config = TrainConfig::for_architecture(&architecture);
    let start = Instant::now();
    let model = train(
        &architecture,
        &TrainingData::from_set(&set)?,
        &config,
        &mut |progress| {
            if progress.batch == progress.batches
                && (progress.validation_accuracy.is_some() || config.validation == 0.0)
            {
                eprintln!(
                    "epoch {:3}/{} loss {:.4} train {:.4} held back {:.4} {:.0} s, {:.0} s left",
                    progress.epoch,
                    progress.epochs,
                    progress.loss,
                    progress.train_accuracy,
                    progress.validation_accuracy.unwrap_or(f64::NAN),
                    progress.seconds,
                    progress.seconds_left
                );
            }
        },
    )?;
    let seconds = start.elapsed().as_secs_f64();
    model.save(out, Overwrite::Replace)?;

    let images = prepare(&set.test, &model.preprocess, None)?;
    let labels = set.test.labels.as_deref().unwrap_or_default();
    let elements = model.preprocess.elements();
    let classes = |logits: &[f64]| -> Vec<u16> {
        let rows = logits.chunks_exact(model.classes.len());
        rows.map(|row| {
            (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best }) as u16
        })
        .collect()
    };
    let share = |left: &[u16], right: &[u16]| {
        left.iter()
            .zip(right)
            .filter(|(left, right)| left == right)
            .count() as f64
            / left.len() as f64
    };
    let logits = in_blocks(&images, elements, |block, count| {
        Ok(execute(&model.graph, block, count)?
            .into_iter()
            .map(f64::from)
            .collect())
    })?;
    let float = classes(&logits);
    let largest = logits
        .iter()
        .fold(0.0f64, |largest, logit| largest.max(logit.abs()));
    println!(
        "{architecture}: test accuracy {:.4}, logits up to {largest:.2}, {seconds:.0} s",
        share(&float, labels)
    );
    if let Ok(folded) = fold(&model.graph) {
        for bits in [8, 16] {
            let quantized = quantize(&folded, &vec![bits; folded.linear_nodes().count()])?;
            let rounded = in_blocks(&images, elements, |block, count| {
                execute_quantized(&quantized, block, count)
            })?;
            let error = logits
                .iter()
                .zip(&rounded)
                .fold(0.0f64, |worst, (a, b)| worst.max((a - b).abs()));
            let integer = classes(&rounded);
            println!(
                "{bits} bits: test accuracy {:.4}, agreement {:.4}, worst logit error {error:.4}",
                share(&integer, labels),
                share(&integer, &float)
            );
        }
    }
    Ok(())
}

/// Logits of all images, a block at a time.
fn in_blocks(
    images: &[f32],
    elements: usize,
    network: impl Fn(&[f32], usize) -> Result<Vec<f64>, sordino_graph::Error>,
) -> Result<Vec<f64>, sordino_graph::Error> {
    let mut logits = Vec::new();
    for block in images.chunks(BLOCK * elements) {
        logits.extend(network(block, block.len() / elements)?);
    }
    Ok(logits)
}
