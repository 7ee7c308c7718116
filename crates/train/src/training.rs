//! The training loop.

use std::sync::mpsc;
use std::time::Instant;

use sordino_graph::Model;

use crate::batches::{Epoch, ImageSet, split};
use crate::forward::count_correct;
use crate::network::Network;
use crate::optimizer::{State, norm};
use crate::{Architecture, Error, TrainConfig, TrainingData, export};

/// A loss beyond this is taken for a divergence although it is still a number.
const LARGEST_LOSS: f32 = 1e6;

/// Images evaluated at once for validation.
const EVALUATION_BATCH: usize = 500;

/// Where a training run stands, reported after every step and, with the validation accuracy, after every epoch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Steps done in this epoch.
    pub batch: usize,
    /// Steps an epoch.
    pub batches: usize,
    /// Mean loss of this epoch so far.
    pub loss: f64,
    /// Share of this epoch's (augmented) images classified correctly while training.
    pub train_accuracy: f64,
    /// Accuracy on the images held back, at the end of an epoch.
    pub validation_accuracy: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Seconds since the start.
    pub seconds: f64,
    /// Estimated seconds to the end.
    pub seconds_left: f64,
}

/// What came of a run that ended well: the network of its best epoch.
#[derive(Clone)]
pub(crate) struct Best {
    pub(crate) network: Network,
    /// From 1.
    pub(crate) epoch: usize,
    /// None without images held back.
    pub(crate) validation_accuracy: Option<f64>,
}

/// Trains a network and writes it down as a model with its activation ranges.
///
/// The result depends on architecture, data and configuration only, bit for bit on one machine with one thread.
/// Images held back by [`TrainConfig::validation`], or the data's own validation images, choose the epoch that is kept.
///
/// # Errors
/// A configuration or layer list that makes no sense, data that does not fit, [`Error::Diverged`].
pub fn train(
    architecture: &Architecture,
    data: &TrainingData,
    config: &TrainConfig,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Model, Error> {
    config.check()?;
    data.check()?;
    let network = Network::new(architecture, data.shape(), data.classes.len(), config)?;
    let (sender, receiver) = mpsc::channel();
    // The callback stays on the caller's thread; the linear algebra gets a pool of its own size.
    let outcome = std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(config.threads)
                .build()
                .expect("threads start");
            pool.install(|| run(network, data, config, &sender))
        });
        receiver.iter().for_each(|report| progress(&report));
        worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let model = |best: &Best| export::model(architecture, data, config, best);
    match outcome {
        Ok(best) => model(&best),
        Err(diverged) => Err(Error::Diverged {
            epoch: diverged.epoch,
            batch: diverged.batch,
            layer: diverged.layer,
            found: diverged.found,
            best: diverged
                .best
                .and_then(|best| model(&best).ok())
                .map(Box::new),
        }),
    }
}

struct Diverged {
    epoch: usize,
    batch: usize,
    layer: String,
    found: String,
    best: Option<Best>,
}

fn run(
    mut network: Network,
    data: &TrainingData,
    config: &TrainConfig,
    reports: &mpsc::Sender<Progress>,
) -> Result<Best, Box<Diverged>> {
    let outside = data.outside();
    let set = ImageSet {
        pixels: &data.images,
        shape: data.shape(),
        outside: &outside,
    };
    let (train, held_back) = match &data.validation {
        Some(_) => ((0..data.labels.len()).collect(), Vec::new()),
        None => split(data.labels.len(), config.validation, config.seed),
    };
    let steps_per_epoch = Epoch::new(&train, config.seed, 0)
        .batches(config.batch)
        .len();
    let steps = steps_per_epoch * config.epochs;
    let start = Instant::now();
    let mut optimizer = State::new(&network);
    let mut best: Option<Best> = None;
    for epoch in 0..config.epochs {
        let mut order = Epoch::new(&train, config.seed, epoch);
        let (mut loss, mut correct, mut seen) = (0.0, 0, 0);
        let mut report = None;
        for (batch, indices) in order.batches(config.batch).into_iter().enumerate() {
            let images = order.gather(&set, &indices, config.shift);
            let labels: Vec<u16> = indices.iter().map(|&index| data.labels[index]).collect();
            let gradient = network.gradient(&network.values(), &images, &labels, config);
            let length = norm(&gradient.parameters);
            if !length.is_finite() || gradient.loss.is_nan() || gradient.loss > LARGEST_LOSS {
                let (layer, found) = network.culprit(&images, &gradient);
                return Err(Box::new(Diverged {
                    epoch: epoch + 1,
                    batch: batch + 1,
                    layer,
                    found,
                    best,
                }));
            }
            let step = epoch * steps_per_epoch + batch;
            let learning_rate = config.learning_rate_at(step, steps, steps_per_epoch);
            optimizer.step(
                &mut network,
                &gradient.parameters,
                length,
                learning_rate,
                config,
            );
            network.project(config);
            for (running, (mean, variance)) in
                network.statistics.iter_mut().zip(&gradient.statistics)
            {
                running.update(mean, variance);
            }
            loss += f64::from(gradient.loss) * indices.len() as f64;
            correct += gradient.correct;
            seen += indices.len();
            let seconds = start.elapsed().as_secs_f64();
            let current = Progress {
                epoch: epoch + 1,
                epochs: config.epochs,
                batch: batch + 1,
                batches: steps_per_epoch,
                loss: loss / seen as f64,
                train_accuracy: correct as f64 / seen as f64,
                validation_accuracy: None,
                learning_rate,
                seconds,
                seconds_left: seconds / (step + 1) as f64 * (steps - step - 1) as f64,
            };
            // The receiver outlives this thread; a send cannot fail before the caller's callback panicked.
            let _ = reports.send(current.clone());
            report = Some(current);
        }
        let accuracy = match &data.validation {
            Some((images, labels)) => Some(network.accuracy(images, labels)),
            None if held_back.is_empty() => None,
            None => {
                let mut images = Vec::with_capacity(held_back.len() * set.image_len());
                held_back
                    .iter()
                    .for_each(|&index| set.push_shifted(index, 0, 0, &mut images));
                let labels: Vec<u16> = held_back.iter().map(|&index| data.labels[index]).collect();
                Some(network.accuracy(&images, &labels))
            }
        };
        if let Some(mut report) = report {
            report.validation_accuracy = accuracy;
            report.seconds = start.elapsed().as_secs_f64();
            let _ = reports.send(report);
        }
        // A later epoch wins a tie: its learning rate was lower.
        if best
            .as_ref()
            .is_none_or(|best| accuracy >= best.validation_accuracy)
        {
            best = Some(Best {
                network: network.clone(),
                epoch: epoch + 1,
                validation_accuracy: accuracy,
            });
        }
    }
    Ok(best.expect("there is at least one epoch"))
}

impl Network {
    /// The parameters as the forward pass takes them.
    pub(crate) fn values(&self) -> Vec<Vec<f32>> {
        self.parameters
            .iter()
            .map(|parameter| parameter.values.clone())
            .collect()
    }

    /// Share of prepared images classified as labelled.
    pub(crate) fn accuracy(&self, images: &[f32], labels: &[u16]) -> f64 {
        let image_len = images.len() / labels.len();
        let correct: usize = images
            .chunks(EVALUATION_BATCH * image_len)
            .zip(labels.chunks(EVALUATION_BATCH))
            .map(|(images, labels)| {
                count_correct(&self.logits(images, |_, _| ()), labels, self.classes)
            })
            .sum();
        correct as f64 / labels.len() as f64
    }

    /// Names the layer where a batch left the numbers: the first value that is not finite, else the gradient that is
    /// not, else the greatest value.
    fn culprit(&self, images: &[f32], gradient: &crate::forward::Gradient) -> (String, String) {
        let mut greatest = (String::new(), 0.0f32);
        let mut broken = None;
        self.logits(images, |step, values| {
            let (low, high) = values
                .iter()
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| {
                    (low.min(value), high.max(value))
                });
            if broken.is_none() && values.iter().any(|value| !value.is_finite()) {
                broken = Some((
                    step.name.clone(),
                    format!("values that are not finite (range {low:e} to {high:e})"),
                ));
            }
            let size = low.abs().max(high.abs());
            if size > greatest.1 {
                greatest = (step.name.clone(), size);
            }
        });
        if let Some(found) = broken {
            return found;
        }
        let gradients = self.parameters.iter().zip(&gradient.parameters);
        for (parameter, values) in gradients {
            if values.iter().any(|value| !value.is_finite()) {
                let layer = parameter
                    .name
                    .split('.')
                    .next()
                    .unwrap_or_default()
                    .to_string();
                return (
                    layer,
                    format!("a gradient of {} that is not finite", parameter.name),
                );
            }
        }
        let (layer, size) = greatest;
        (
            layer,
            format!("values up to {size:e} in size, loss {:e}", gradient.loss),
        )
    }
}
