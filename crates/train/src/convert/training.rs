//! Training of the coefficients of quadratics towards the logits of the network that they come from.

use std::time::Instant;

use super::quadratics::Quadratics;
use super::{ConvertConfig, ConvertPhase, ConvertProgress, Difference, Images, deviation, report};
use crate::TrainConfig;
use crate::batches::Epoch;
use crate::forward::{Batch, Trained, Training, UNLABELLED};
use crate::loss::log_softmax;
use crate::network::Network;

/// Images run at once without training.
const BATCH: usize = 500;

/// Weight of the squared difference beside the divergence.
const SQUARES: f64 = 0.1;

/// Steps over which the learning rate rises.
const WARMUP: usize = 50;

/// Trains the coefficients and returns the passes over the images.
///
/// The loss on the images held back decides which pass is kept; the fits are the first candidate.
pub(super) fn train(
    exact: &Network,
    network: &mut Network,
    mut layers: Vec<Quadratics>,
    images: &Images<'_>,
    config: &ConvertConfig,
    progress: &mut dyn FnMut(&ConvertProgress),
) -> usize {
    let (epochs, per_epoch) = config.passes(images.macs, images.fitted.len());
    if epochs == 0 {
        return 0;
    }
    let phase = (ConvertPhase::Train, Instant::now());
    let total = epochs * per_epoch;
    report(progress, phase, (0, total), None);
    let classes = network.classes();
    let mut targets = vec![Vec::new(); images.count()];
    for indices in [&images.fitted[..per_epoch], &images.held_back]
        .into_iter()
        .flat_map(|part| part.chunks(BATCH))
    {
        let logits = exact.logits(&images.gather(indices), |_, _| ());
        for (index, row) in indices.iter().zip(logits.chunks_exact(classes)) {
            targets[*index] = row.to_vec();
        }
    }
    let expected = |indices: &[usize]| -> Vec<f32> {
        indices
            .iter()
            .flat_map(|&index| targets[index].iter().copied())
            .collect()
    };
    let held_back = (
        images.gather(&images.held_back),
        expected(&images.held_back),
    );
    let distance = Distance {
        classes,
        variance: deviation(&held_back.1).powi(2).max(1e-12),
        divergence: images.one_of_several,
    };
    let validate = |network: &Network| {
        let parts = held_back.0.chunks(BATCH * images.elements);
        let logits: Vec<f32> = parts
            .flat_map(|images| network.logits(images, |_, _| ()))
            .collect();
        let agreement = Difference::of(&held_back.1, &logits, classes).agreement;
        (distance.of(&logits, &held_back.1).0, agreement)
    };
    let settings = TrainConfig {
        range_penalty: 0.0,
        distillation: None,
        ..TrainConfig::default()
    };
    let mut best = (validate(network).0, network.clone());
    let mut step = 0;
    for epoch in 0..epochs {
        let batches =
            Epoch::new(&images.fitted[..per_epoch], images.seed, epoch).batches(config.batch);
        let steps = epochs * batches.len();
        for (number, indices) in batches.iter().enumerate() {
            let pixels = images.gather(indices);
            let batch = Batch {
                images: &pixels,
                labels: &UNLABELLED,
                weights: &[],
                teacher: None,
                blend: 0.0,
            };
            let training = Training {
                batch: &batch,
                config: &settings,
                trained: Trained::Coefficients,
            };
            let tape = network.forward(&pixels, Some(training), |_, _| ());
            let (_, gradient) = distance.of(tape.logits(), &expected(indices));
            let gradients = network.backward(tape, gradient, training);
            let rate = config.learning_rate * share(step, steps);
            step += 1;
            for layer in &mut layers {
                layer.step(&gradients, rate, step as i32);
                layer.write(network);
            }
            let done = epoch * per_epoch + (number + 1) * per_epoch / batches.len();
            report(progress, phase, (done, total), None);
        }
        let (loss, agreement) = validate(network);
        report(
            progress,
            phase,
            ((epoch + 1) * per_epoch, total),
            Some(agreement),
        );
        if loss < best.0 || best.0.is_nan() {
            best = (loss, network.clone());
        }
    }
    *network = best.1;
    epochs
}

/// Share of the learning rate: it rises, and falls with half a cosine to zero.
fn share(step: usize, steps: usize) -> f64 {
    let warmup = (step + 1) as f64 / WARMUP.min(steps) as f64;
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos());
    cosine * warmup.min(1.0)
}

/// How far logits are from those expected.
struct Distance {
    classes: usize,
    /// Of the logits expected.
    variance: f64,
    /// Whether the logits stand for one class of several: then probabilities count too.
    divergence: bool,
}

impl Distance {
    /// The mean over the images of the Kullback-Leibler divergence of the probabilities and the squared difference over
    /// the logits' variance, and its gradient. Shapes: `[images][classes]`.
    fn of(&self, logits: &[f32], expected: &[f32]) -> (f64, Vec<f32>) {
        let classes = self.classes;
        let images = (logits.len() / classes) as f64;
        let divergence = f64::from(u8::from(self.divergence));
        let squares =
            if self.divergence { SQUARES } else { 1.0 } / (classes as f64 * self.variance);
        let mut total = 0.0;
        let mut gradient = Vec::with_capacity(logits.len());
        let rows = logits
            .chunks_exact(classes)
            .zip(expected.chunks_exact(classes));
        for (row, expected) in rows {
            let (found, targets) = (log_softmax(row, 1.0), log_softmax(expected, 1.0));
            for class in 0..classes {
                let probability = targets[class].exp();
                let off = f64::from(row[class]) - f64::from(expected[class]);
                total += divergence * probability * (targets[class] - found[class]);
                total += squares * off * off;
                let slope = divergence * (found[class].exp() - probability);
                gradient.push(((slope + 2.0 * squares * off) / images) as f32);
            }
        }
        (total / images, gradient)
    }
}
