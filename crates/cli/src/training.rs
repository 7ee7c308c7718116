//! What `train` and `distill` share: the options of a run, its progress, and what is said of the result.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sordino::classes_of;
use sordino::container::{Access, AtomicFile, Error as FileError};
use sordino::data::{DataSet, Images, prepare};
use sordino::graph::{Model, execute};
use sordino::train::{Activation, Progress, Schedule, TrainConfig, Trainer, TrainingData};
use sordino_command::GlobalArgs;
use sordino_command::terminal::Bar;

use crate::exit::Mismatch;
use crate::output::{Outcome, Output};
use crate::settle::settle;

/// Options of a training run; those that are left out come from --config, else from the architecture's recipe.
#[derive(clap::Args)]
pub(crate) struct TrainingArgs {
    /// A data set: its folder, a folder that holds it, or its name
    #[arg(long, value_name = "PATH")]
    pub(crate) data: PathBuf,
    /// Where to write the model
    #[arg(long, value_name = "MODEL")]
    pub(crate) out: PathBuf,
    /// A training configuration in a .toml or .json file (docs/guide/training.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Passes over the training images
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Images a step
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Largest learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Course of the learning rate
    #[arg(long, value_enum)]
    schedule: Option<ScheduleName>,
    /// Decay of the weights
    #[arg(long, value_name = "RATE")]
    weight_decay: Option<f64>,
    /// Share of the target probability that is spread over all classes
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f64>,
    /// Shift images at random by up to this many pixels
    #[arg(long, value_name = "PIXELS")]
    shift: Option<usize>,
    /// Mirror images left and right at random
    #[arg(long)]
    flip: bool,
    /// Cut out squares of at least this share of the image at random and stretch them
    #[arg(long, value_name = "SHARE")]
    crop: Option<f64>,
    /// Blank a square of this many pixels at random
    #[arg(long, value_name = "PIXELS")]
    cutout: Option<usize>,
    /// Share of the training images held back to choose the best epoch
    #[arg(long, value_name = "SHARE")]
    validation: Option<f64>,
    /// Stop after this many epochs without a better one
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<usize>,
    /// Seed of weights, order, changes of the images and split
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Train on the first N training images only
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// A file that is written after each epoch; if it exists, the run goes on from it, exactly as if never interrupted
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Append a line of JSON for each epoch to this file
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ScheduleName {
    Cosine,
    Linear,
    Steps,
    Constant,
}

/// Granularity of a network's quadratics, or none.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ActivationName {
    Relu,
    Layer,
    Channel,
    Element,
}

impl From<ActivationName> for Activation {
    fn from(name: ActivationName) -> Self {
        match name {
            ActivationName::Relu => Self::Relu,
            ActivationName::Layer => Self::Layer,
            ActivationName::Channel => Self::Channel,
            ActivationName::Element => Self::Element,
        }
    }
}

/// Most bytes of a layer list or a configuration.
const SETTINGS_BYTES: u64 = 1 << 20;

/// Reads a structure from a .toml or .json file; `None` when the name ends in neither.
pub(crate) fn settings<T: DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<Option<T>> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let json = match extension.unwrap_or("").to_ascii_lowercase().as_str() {
        "json" => true,
        "toml" => false,
        _ => return Ok(None),
    };
    let read = |error| FileError::io(path, "read", error);
    let size = fs::metadata(path).map_err(read)?.len();
    let wrong = |detail: String| {
        Mismatch(format!(
            "{}: expected {what}, found: {detail}: correct the file (docs/guide/training.md)",
            path.display()
        ))
    };
    if size > SETTINGS_BYTES {
        return Err(wrong(format!("{size} bytes, more than {SETTINGS_BYTES}")).into());
    }
    let content = fs::read_to_string(path).map_err(read)?;
    let parsed = if json {
        serde_json::from_str(&content).map_err(|error| wrong(error.to_string()))?
    } else {
        toml::from_str(&content).map_err(|error| wrong(error.to_string()))?
    };
    Ok(Some(parsed))
}

impl TrainingArgs {
    /// Asked before the work: whether the model can be written at all.
    pub(crate) fn check_output(&self, global: &GlobalArgs) -> anyhow::Result<()> {
        drop(AtomicFile::create(
            &self.out,
            global.overwrite(),
            Access::Shared,
        )?);
        Ok(())
    }

    /// The configuration: that of --config or else `recipe`, and what the options say.
    pub(crate) fn configuration(&self, recipe: TrainConfig) -> anyhow::Result<TrainConfig> {
        let mut config = match &self.config {
            None => recipe,
            Some(path) => settings(path, "a training configuration")?.ok_or_else(|| {
                crate::exit::Usage(format!(
                    "--config {}: give a .toml or .json file",
                    path.display()
                ))
            })?,
        };
        config.epochs = self.epochs.unwrap_or(config.epochs);
        config.batch = self.batch.unwrap_or(config.batch);
        config.learning_rate = self.learning_rate.unwrap_or(config.learning_rate);
        config.weight_decay = self.weight_decay.unwrap_or(config.weight_decay);
        config.label_smoothing = self.label_smoothing.unwrap_or(config.label_smoothing);
        config.shift = self.shift.unwrap_or(config.shift);
        config.flip |= self.flip;
        config.crop = self.crop.unwrap_or(config.crop);
        config.cutout = self.cutout.unwrap_or(config.cutout);
        config.validation = self.validation.unwrap_or(config.validation);
        config.patience = self.patience.unwrap_or(config.patience);
        config.seed = self.seed.unwrap_or(config.seed);
        config.schedule = match self.schedule {
            None => config.schedule,
            Some(ScheduleName::Cosine) => Schedule::Cosine,
            Some(ScheduleName::Linear) => Schedule::Linear,
            Some(ScheduleName::Steps) => Schedule::Steps,
            Some(ScheduleName::Constant) => Schedule::Constant,
        };
        config.threads = rayon::current_num_threads();
        Ok(config)
    }

    /// The training images of a set that are used.
    pub(crate) fn training_images(&self, set: &DataSet) -> Images {
        let count = self.images.unwrap_or(set.train.len());
        set.train.split_at(count.min(set.train.len())).0
    }

    /// Runs `train` with a trainer that writes the checkpoint, while telling how it goes.
    pub(crate) fn run(
        &self,
        data: &TrainingData,
        config: &TrainConfig,
        global: &GlobalArgs,
        train: impl FnOnce(
            &Trainer<'_>,
            &mut dyn FnMut(&Progress),
        ) -> Result<Model, sordino::train::Error>,
    ) -> anyhow::Result<Model> {
        let mut trainer = Trainer::new(data, config);
        if let Some(path) = &self.checkpoint {
            trainer = trainer.checkpoint(path);
        }
        let mut metrics = self.metrics.as_deref().map(open_metrics).transpose()?;
        let mut unwritten = None;
        let bar = Bar::new("train", global.quiet);
        let mut progress = |progress: &Progress| {
            tell(&bar, progress);
            if let (true, Some((path, file))) = (progress.epoch_is_over, &mut metrics) {
                let line = epoch_line(progress);
                if let Err(error) = writeln!(file, "{line}") {
                    unwritten.get_or_insert(FileError::io(path, "write", error));
                }
            }
        };
        let outcome = train(&trainer, &mut progress);
        if let Err(sordino::train::Error::Diverged {
            best: Some(best), ..
        }) = &outcome
        {
            best.save(&self.out, global.overwrite())?;
            bar.line(format!(
                "the best epoch's model is in {}",
                self.out.display()
            ));
        }
        match unwritten {
            Some(error) => Err(error.into()),
            None => Ok(outcome?),
        }
    }

    /// Writes the model and says what it is; `accuracy` is that on the set's test images.
    pub(crate) fn finish(
        &self,
        mut model: Model,
        data: &TrainingData,
        set: &DataSet,
        global: &GlobalArgs,
        output: &Output,
    ) -> anyhow::Result<Outcome> {
        let (images, labels) = match &data.validation {
            Some((images, labels)) => (images, labels),
            None => (&data.images, &data.labels),
        };
        let trials = settle(&mut model, images, Some(labels), output)?;
        let accuracy = test_accuracy(&model, set)?;
        model.training["test_accuracy"] = json!(accuracy);
        let digest = model.save(&self.out, global.overwrite())?;
        let result = json!({
            "model": digest,
            "out": self.out,
            "network": model.name,
            "dataset": model.dataset,
            "parameters": model.graph.parameters(),
            "macs_per_image": model.graph.multiply_accumulates(),
            "activations_per_image": model.graph.activations(),
            "test_accuracy": accuracy,
            "integer_weights": trials,
            "training": model.training,
        });
        output.result(&result, || {
            let accuracy = accuracy.map_or(String::new(), |accuracy| {
                format!(
                    ", {:.2} % right on the {} test images",
                    accuracy * 100.0,
                    set.test.len()
                )
            });
            format!(
                "wrote {} ({} parameters, activation ranges included){accuracy}",
                self.out.display(),
                model.graph.parameters()
            )
        })?;
        Ok(Outcome::Good)
    }
}

fn open_metrics(path: &Path) -> anyhow::Result<(&Path, File)> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| FileError::io(path, "open", error))?;
    Ok((path, file))
}

fn epoch_line(progress: &Progress) -> Value {
    json!({
        "epoch": progress.epoch,
        "loss": progress.loss,
        "train_accuracy": progress.train_accuracy,
        "validation_accuracy": progress.validation_accuracy,
        "learning_rate": progress.learning_rate,
        "seconds": progress.seconds,
        "images_per_second": progress.images_per_second,
    })
}

fn tell(bar: &Bar, progress: &Progress) {
    let done = (progress.epoch - 1) * progress.batches + progress.batch;
    let name = format!(
        "epoch {}/{}, loss {:.4}, accuracy {:.2} %, {:.0} images/s",
        progress.epoch,
        progress.epochs,
        progress.loss,
        progress.train_accuracy * 100.0,
        progress.images_per_second
    );
    bar.update(
        done,
        progress.epochs * progress.batches,
        &name,
        progress.seconds_left,
    );
    if progress.epoch_is_over {
        let held_back = progress
            .validation_accuracy
            .map_or(String::new(), |accuracy| {
                format!(", {:.2} % on images held back", accuracy * 100.0)
            });
        bar.line(format!(
            "epoch {:>3}: loss {:.4}, accuracy {:.2} % in training{held_back}, {:.0} s",
            progress.epoch,
            progress.loss,
            progress.train_accuracy * 100.0,
            progress.seconds
        ));
    }
}

/// Accuracy on the test images, which had no part in training; `None` without labels.
pub(crate) fn test_accuracy(model: &Model, set: &DataSet) -> anyhow::Result<Option<f64>> {
    let Some(labels) = &set.test.labels else {
        return Ok(None);
    };
    let images = prepare(&set.test, &model.preprocess, None)?;
    let logits = execute(&model.graph, &images, labels.len())?;
    let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
    let classes = classes_of(&logits, model.classes.len());
    let right = classes
        .iter()
        .zip(labels)
        .filter(|(c, l)| **c == usize::from(**l))
        .count();
    Ok(Some(right as f64 / labels.len().max(1) as f64))
}
