//! The training loop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Instant;

use serde_json::{Value, json};
use sordino_data::Targets;
use sordino_graph::{Model, OutputKind};

use crate::backward::Gradient;
use crate::batches::{TrainedOn, split};
use crate::builder;
use crate::checkpoint::{self, Best, Position};
use crate::forward::{Batch, TeacherOutput, Trained, Training, UNLABELLED};
use crate::network::{Network, Statistics, StepKind};
use crate::optimizer::{State, norm};
use crate::score::{Measure, Right};
use crate::{Architecture, Error, TrainConfig, TrainingData, export, student};

/// A loss beyond this is taken for a divergence although it is still a number.
const LARGEST_LOSS: f32 = 1e6;

/// Images evaluated at once for validation.
const EVALUATION_BATCH: usize = 500;

/// Images that measure the statistics of batch normalizations after an epoch.
const STATISTICS_IMAGES: usize = 2048;

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
    /// Steps per epoch.
    pub batches: usize,
    /// Mean loss of this epoch so far.
    pub loss: f64,
    /// Share of this epoch's (augmented) images classified correctly while training; for findings, of their known labels.
    pub train_accuracy: f64,
    /// Score on the images held back, at the end of an epoch and if there are any.
    pub validation_score: Option<f64>,
    /// What that score is.
    pub measure: Measure,
    /// Whether the epoch has been completed, checkpoint and validation included.
    pub epoch_is_over: bool,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Seconds of training, those before an interruption included.
    pub seconds: f64,
    /// Estimated seconds to the end.
    pub seconds_left: f64,
    /// Training images per second in this epoch.
    pub images_per_second: f64,
}

/// Trains networks on one set of images.
///
/// The result depends on network, data and configuration only, bit for bit on one machine, with any number of threads
/// and any interruptions. Images held back by [`TrainConfig::validation`], or the data's own validation images, choose
/// the epoch that is kept, by the [`Measure`] that their labels allow.
///
/// Images with a class train a softmax with cross-entropy. Images with findings train a sigmoid for each, by the mean of the binary
/// cross-entropy over the labels that are known.
#[derive(Clone, Debug)]
pub struct Trainer<'a> {
    data: &'a TrainingData,
    config: &'a TrainConfig,
    checkpoint: Option<PathBuf>,
}

impl<'a> Trainer<'a> {
    /// A trainer on these images with this configuration.
    pub fn new(data: &'a TrainingData, config: &'a TrainConfig) -> Self {
        Self {
            data,
            config,
            checkpoint: None,
        }
    }

    /// Writes a checkpoint after each epoch, and resumes from it if the file exists.
    #[must_use]
    pub fn checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// Trains a network from random weights and writes it down as a model with its activation ranges.
    ///
    /// # Errors
    /// A configuration or layer list that makes no sense, data that does not fit, a checkpoint of another run,
    /// [`Error::Diverged`].
    pub fn train(
        &self,
        architecture: &Architecture,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Model, Error> {
        self.check()?;
        let classes = self.data.classes.len();
        let network = builder::build(architecture, self.data.shape(), classes, self.config)?;
        let mut identity = self.identity()?;
        identity.insert("network".to_string(), json!(architecture.layers()));
        self.run(architecture.name(), network, None, identity, progress)
    }

    /// Trains a student that starts from a teacher's weights, with quadratics in place of its activation functions and
    /// means in place of its maxima, and is compared with
    /// it as [`TrainConfig::distillation`] says. A teacher that has quadratics already is trained further.
    ///
    /// # Errors
    /// As [`train`](Self::train), and [`Error::Teacher`] for one made for other images or classes.
    pub fn distill(
        &self,
        teacher: &Model,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Model, Error> {
        self.check()?;
        if teacher.preprocess != self.data.preprocess {
            return Err(Error::Teacher {
                expected: format!("images prepared as {:?}", self.data.preprocess),
                found: format!("a network for {:?}", teacher.preprocess),
            });
        }
        if teacher.graph.classes() != self.data.classes.len() {
            return Err(Error::Teacher {
                expected: format!("{} classes", self.data.classes.len()),
                found: format!("{} logits", teacher.graph.classes()),
            });
        }
        if self.data.labels.findings().is_some() && teacher.output != OutputKind::Sigmoid {
            return Err(Error::Teacher {
                expected:
                    "a network whose outputs are sigmoids, since the images have several findings"
                        .to_string(),
                found: format!(
                    "outputs of kind {:?}; import it with --scores sigmoid if they are logits of findings",
                    teacher.output
                ),
            });
        }
        let teacher_network = student::network(&teacher.graph, &self.data.images);
        let mut student = teacher_network.clone();
        student::replace_functions(&mut student, self.config.activation);
        let mut identity = self.identity()?;
        identity.insert("teacher".to_string(), json!(teacher.digest()?));
        let mut model = self.run(
            &teacher.name,
            student,
            Some(&teacher_network),
            identity,
            progress,
        )?;
        model.output = teacher.output;
        model.training["teacher"] = json!({
            "digest": teacher.digest()?,
            "network": teacher.name,
            "training": teacher.training,
        });
        Ok(model)
    }

    fn check(&self) -> Result<(), Error> {
        self.config.check()?;
        self.data.check()?;
        let classes = self.data.classes.len();
        self.config.class_weights.check_number(classes)
    }

    /// What identifies this run in a checkpoint. The number of threads is left out, as it does not change the result.
    fn identity(&self) -> Result<BTreeMap<String, Value>, Error> {
        let mut config = json!(self.config);
        if let Some(fields) = config.as_object_mut() {
            fields.remove("threads");
        }
        let sum: f64 = self.data.images.iter().map(|&pixel| f64::from(pixel)).sum();
        let labels: Vec<u64> = match &self.data.labels {
            Targets::Classes(labels) => labels.iter().map(|&label| label.into()).collect(),
            Targets::Findings(matrix) => {
                let number = |label: &Option<bool>| label.map_or(2, u64::from);
                matrix.values().iter().map(number).collect()
            }
        };
        let labels: u64 = (1..).zip(labels).map(|(i, l)| i * l).sum();
        Ok(BTreeMap::from([
            ("config".to_string(), config),
            (
                "images".to_string(),
                json!([self.data.labels.len(), sum, labels]),
            ),
        ]))
    }

    fn run(
        &self,
        name: &str,
        network: Network,
        teacher: Option<&Network>,
        identity: BTreeMap<String, Value>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Model, Error> {
        let (sender, receiver) = mpsc::channel();
        let run = Run {
            name,
            trainer: self,
            teacher: teacher.filter(|_| self.config.distillation.is_some()),
            identity,
            reports: sender,
        };
        let threads = self.config.threads;
        // The callback stays on the caller's thread; the linear algebra gets a pool of its own size.
        let best = std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .expect("threads start");
                pool.install(|| run.epochs(network))
            });
            receiver.iter().for_each(|report| progress(&report));
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        export::model(name, self.data, self.config, &best)
    }
}

/// Trains a network from random weights; see [`Trainer`].
///
/// # Errors
/// As [`Trainer::train`].
pub fn train(
    architecture: &Architecture,
    data: &TrainingData,
    config: &TrainConfig,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Model, Error> {
    Trainer::new(data, config).train(architecture, progress)
}

/// Sums over the steps of an epoch.
#[derive(Default)]
struct Sums {
    loss: f64,
    right: Right,
    seen: usize,
}

/// One run, from its first epoch or a checkpoint to its end.
struct Run<'a> {
    name: &'a str,
    trainer: &'a Trainer<'a>,
    teacher: Option<&'a Network>,
    identity: BTreeMap<String, Value>,
    reports: mpsc::Sender<Progress>,
}

impl Run<'_> {
    fn epochs(&self, network: Network) -> Result<Best, Error> {
        let (data, config) = (self.trainer.data, self.trainer.config);
        let set = data.image_set();
        let all = (0..data.labels.len()).collect();
        let (train, held_back) = match &data.validation {
            Some(validation) => (all, Some(validation.clone())),
            None => {
                let (train, held_back) = split(all, config.validation, config.seed);
                let mut images = Vec::with_capacity(held_back.len() * set.image_len());
                for &index in &held_back {
                    set.push_shifted(index, 0, 0, &mut images);
                }
                let labels = data.labels.subset(&held_back);
                (
                    train,
                    Some((images, labels)).filter(|_| !held_back.is_empty()),
                )
            }
        };
        let of_all = Measure::of(&data.labels);
        let measure = held_back
            .as_ref()
            .map_or(of_all, |(_, labels)| Measure::of(labels));
        let images = TrainedOn::new(data, config, train, measure);
        let mut position = Position {
            epoch: 0,
            seconds: 0.0,
            optimizer: State::new(&network),
            network,
            best: None,
        };
        if let Some(path) = &self.trainer.checkpoint {
            checkpoint::load(path, &self.identity, measure, &mut position)?;
        }
        while position.epoch < config.epochs && !self.patience_is_over(&position) {
            let report = self.epoch(&mut position, &images)?;
            self.measure_statistics(&mut position, &images);
            let score = held_back
                .as_ref()
                .map(|(images, labels)| position.network.score(measure, images, labels));
            position.epoch += 1;
            // A later epoch wins a tie: its learning rate was lower.
            if position
                .best
                .as_ref()
                .is_none_or(|best| score >= best.validation_score)
            {
                position.best = Some(Best {
                    network: position.network.clone(),
                    epoch: position.epoch,
                    measure,
                    validation_score: score,
                });
            }
            if let Some(path) = &self.trainer.checkpoint {
                checkpoint::save(path, &self.identity, &mut position)?;
            }
            // The receiver outlives this thread; a send cannot fail before the caller's callback panicked.
            let _ = self.reports.send(Progress {
                validation_score: score,
                epoch_is_over: true,
                ..report
            });
        }
        Ok(position.best.expect("there is at least one epoch"))
    }

    fn patience_is_over(&self, position: &Position) -> bool {
        let waited = position
            .best
            .as_ref()
            .map_or(0, |best| position.epoch - best.epoch);
        self.trainer.config.patience > 0 && waited >= self.trainer.config.patience
    }

    /// One pass over the images; the report of its last step.
    fn epoch(&self, position: &mut Position, images: &TrainedOn<'_>) -> Result<Progress, Error> {
        let config = self.trainer.config;
        let mut order = images.order(config.seed, position.epoch);
        let batches = order.batches(config.batch);
        let steps_per_epoch = batches.len();
        let steps = steps_per_epoch * config.epochs;
        let (start, before) = (Instant::now(), position.seconds);
        let mut sums = Sums::default();
        let mut last = None;
        for (number, indices) in batches.into_iter().enumerate() {
            let step = position.epoch * steps_per_epoch + number;
            let pixels = order.gather(&images.set, &indices, config);
            let labels = self.trainer.data.labels.subset(&indices);
            let batch = Batch {
                images: &pixels,
                labels: &labels,
                weights: &images.weights,
                teacher: self.teacher_output(&pixels),
                blend: config.blend_at(step, steps_per_epoch),
            };
            let network = &mut position.network;
            let gradient = network.gradient(&batch, config);
            let length = norm(&gradient.parameters);
            if !length.is_finite() || gradient.loss.is_nan() || gradient.loss > LARGEST_LOSS {
                let (layer, found) = network.explain_divergence(&pixels, &gradient);
                let best = position.best.take();
                let model =
                    |best| export::model(self.name, self.trainer.data, config, &best).map(Box::new);
                let (best, best_error) = match best.map(model).transpose() {
                    Ok(best) => (best, None),
                    Err(error) => (None, Some(Box::new(error))),
                };
                return Err(Error::Diverged {
                    epoch: position.epoch + 1,
                    batch: number + 1,
                    layer,
                    found,
                    best,
                    best_error,
                });
            }
            let learning_rate = config.learning_rate_at(step, steps, steps_per_epoch);
            let optimizer = &mut position.optimizer;
            optimizer.step(network, &gradient.parameters, length, learning_rate, config);
            network.project(config);
            sums.loss += f64::from(gradient.loss) * indices.len() as f64;
            sums.right.add(gradient.right);
            sums.seen += indices.len();
            position.seconds = before + start.elapsed().as_secs_f64();
            let report = Progress {
                epoch: position.epoch + 1,
                epochs: config.epochs,
                batch: number + 1,
                batches: steps_per_epoch,
                loss: sums.loss / sums.seen as f64,
                train_accuracy: sums.right.share(),
                validation_score: None,
                measure: images.measure,
                epoch_is_over: false,
                learning_rate,
                seconds: position.seconds,
                seconds_left: position.seconds / (step + 1) as f64 * (steps - step - 1) as f64,
                images_per_second: sums.seen as f64 / start.elapsed().as_secs_f64(),
            };
            let _ = self.reports.send(report.clone());
            last = Some(report);
        }
        Ok(last.expect("there is at least one batch"))
    }

    /// Replaces the running statistics, which lag behind the weights, by those of some of the epoch's images.
    fn measure_statistics(&self, position: &mut Position, images: &TrainedOn<'_>) {
        let config = self.trainer.config;
        let mut order = images.order(config.seed, position.epoch);
        let batches = order.batches(config.batch);
        let count = batches
            .len()
            .min(STATISTICS_IMAGES.div_ceil(config.batch))
            .max(1);
        let blend = config.blend_at((position.epoch + 1) * batches.len(), batches.len());
        let zeros = |statistics: &Statistics| Statistics::constant(statistics.mean.len(), 0.0);
        let mut sums: Vec<Statistics> = position.network.statistics.iter().map(zeros).collect();
        for indices in &batches[..count] {
            let pixels = order.gather(&images.set, indices, config);
            let batch = Batch {
                images: &pixels,
                labels: &UNLABELLED,
                weights: &[],
                teacher: None,
                blend,
            };
            let training = Training {
                batch: &batch,
                config,
                trained: Trained::All,
            };
            let tape = position.network.forward(&pixels, Some(training), |_, _| ());
            for (sum, batch) in sums.iter_mut().zip(&tape.statistics) {
                sum.add(batch, 1.0 / count as f32);
            }
        }
        let network = &mut position.network;
        for step in &network.steps {
            if let StepKind::Normalize(normalization) = &step.kind
                && !normalization.frozen
            {
                let index = normalization.statistics;
                std::mem::swap(&mut network.statistics[index], &mut sums[index]);
            }
        }
    }

    fn teacher_output(&self, images: &[f32]) -> Option<TeacherOutput> {
        let features = self.trainer.config.distillation.as_ref()?.features > 0.0;
        Some(self.teacher?.teacher_output(images, features))
    }
}

impl Network {
    /// How good the logits of prepared images are.
    fn score(&self, measure: Measure, images: &[f32], labels: &Targets) -> f64 {
        let image_len = images.len() / labels.len();
        let parts = images.chunks(EVALUATION_BATCH * image_len);
        let logits = parts.flat_map(|images| self.logits(images, |_, _| ()));
        measure.score(&logits.collect::<Vec<f32>>(), labels)
    }

    /// Names the layer where a batch left the numbers, and the range found there: the first value that is not finite,
    /// else the gradient that is not, with the values of its layer, else the greatest value.
    fn explain_divergence(&self, images: &[f32], gradient: &Gradient) -> (String, String) {
        let mut greatest = (String::new(), 0.0f32);
        let mut broken = None;
        let mut ranges = BTreeMap::new();
        self.logits(images, |index, values| {
            let step = &self.steps[index];
            let (low, high) = values
                .iter()
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| {
                    (low.min(value), high.max(value))
                });
            ranges.insert(&step.name, (low, high));
            if let StepKind::Normalize(normalization) = &step.kind {
                ranges.insert(&normalization.name, (low, high));
            }
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
                // A parameter is named after its layer, whose own name may have dots.
                let layer = parameter
                    .name
                    .rsplit_once('.')
                    .map_or("", |(layer, _)| layer)
                    .to_string();
                let range = ranges.get(&layer).map_or(String::new(), |(low, high)| {
                    format!(" (its values range from {low:e} to {high:e})")
                });
                return (
                    layer,
                    format!("a gradient of {} that is not finite{range}", parameter.name),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The explanation when gradient number `index` is not finite and pixels have this size.
    fn explain(index: usize, size: f32) -> (String, String) {
        let config = TrainConfig::default();
        let network = builder::build(&Architecture::Mlp, [1, 2, 2], 2, &config).unwrap();
        let images = [0.0, 1.0, -1.0, 0.5].map(|pixel| pixel * size);
        let mut parameters: Vec<Vec<f32>> = network
            .parameters
            .iter()
            .map(|p| p.values.clone())
            .collect();
        parameters[index][0] = f32::NAN;
        let gradient = Gradient {
            parameters,
            loss: 1.0,
            right: Right::default(),
        };
        network.explain_divergence(&images, &gradient)
    }

    #[test]
    fn a_divergence_is_told_with_the_layer_and_its_range() {
        let config = TrainConfig::default();
        let network = builder::build(&Architecture::Mlp, [1, 2, 2], 2, &config).unwrap();
        for (index, parameter) in network.parameters.iter().enumerate() {
            let (layer, found) = explain(index, 1.0);
            assert_eq!(parameter.name.rsplit_once('.').unwrap().0, layer);
            assert!(found.contains(&parameter.name), "{found}");
            assert!(found.contains("range from"), "{layer}: {found}");
        }
        let (layer, found) = explain(0, f32::INFINITY);
        assert_eq!(layer, "flatten", "the first step that reads the pixels");
        assert!(found.contains("range -inf to inf"), "{found}");
    }
}
