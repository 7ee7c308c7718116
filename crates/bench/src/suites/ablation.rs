//! `sordino bench ablation`: the effect of the granularity of quadratics and of distillation.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;
use sordino::container::{Error as FileError, Overwrite};
use sordino::data::{DataSet, SetName, prepare};
use sordino::graph::Granularity;
use sordino::train::{
    Activation, Architecture, ConvertConfig, ConvertProgress, Progress, TrainConfig, Trainer,
    TrainingData, convert,
};
use sordino::{Model, float_accuracy};
use sordino_command::terminal::Bar;
use sordino_command::{GlobalArgs, Outcome, Output, read_settings};
use sordino_report::percent_text;

use super::paper::over_seeds;
use super::places::{DataArgs, ResultArgs};
use crate::record::{Origin, Record};
use crate::report::{ablation_table, frozen_gains};
use crate::{Error, show_training};

/// Arguments of `bench ablation`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// The data set
    #[arg(long, value_name = "NAME", default_value = "fashion-mnist")]
    dataset: String,
    /// The architecture
    #[arg(long, value_name = "NAME", default_value = "lenet")]
    arch: String,
    /// A training configuration in a .toml or .json file, the same for all runs but for activation, seed and teacher
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Passes over the training images [default: as the configuration says]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Networks of each kind, with the seeds 1 to N [default: 3, and 5 with --frozen]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: Option<u64>,
    /// Keep the weights of the ReLU networks, and only replace their activations, as `convert` does
    #[arg(long)]
    frozen: bool,
    /// Train on the first N training images only
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Folder for models and checkpoints; finished models there are not trained again
    #[arg(long, value_name = "DIR", default_value = "ablation")]
    runs: PathBuf,
    #[command(flatten)]
    results: ResultArgs,
}

/// How a network comes to be.
#[derive(Clone, Copy, PartialEq)]
enum Training {
    /// Trained from labels.
    Labels,
    /// Trained from labels and a teacher.
    Distilled,
    /// The teacher with other activations; its weights stay.
    Frozen,
}

/// One network to make.
#[derive(Clone, Copy)]
struct Run {
    activation: Activation,
    training: Training,
    seed: u64,
}

impl Run {
    /// Teachers first: the others of a seed need theirs.
    fn all(seeds: u64, frozen: bool) -> Vec<Self> {
        let mut runs = Vec::new();
        for seed in 1..=seeds {
            let run = |activation, training| Self {
                activation,
                training,
                seed,
            };
            runs.push(run(Activation::Relu, Training::Labels));
            for activation in [Activation::Layer, Activation::Channel, Activation::Element] {
                match frozen {
                    true => runs.push(run(activation, Training::Frozen)),
                    false => runs.extend([
                        run(activation, Training::Labels),
                        run(activation, Training::Distilled),
                    ]),
                }
            }
        }
        runs
    }

    fn teacher(self) -> Self {
        Self {
            activation: Activation::Relu,
            training: Training::Labels,
            ..self
        }
    }

    fn name(self) -> String {
        let training = match self.training {
            Training::Labels => "labels",
            Training::Distilled => "distilled",
            Training::Frozen => "frozen",
        };
        format!("{}-{training}-{}", self.activation, self.seed)
    }
}

pub(super) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let architecture: Architecture = args.arch.parse()?;
    let mut config = match &args.config {
        None => TrainConfig::for_architecture(&architecture),
        Some(path) => {
            let name = path.display();
            let text = || format!("--config {name}: give a .toml or .json file");
            let read = read_settings(path, "a training configuration")?;
            read.ok_or_else(|| Error::Usage(text()))?
        }
    };
    config.epochs = args.epochs.unwrap_or(config.epochs);
    config.threads = rayon::current_num_threads();
    let mut set = args.data.open(args.dataset.parse::<SetName>()?)?;
    if let Some(count) = args.images {
        set.train = set.train.split_at(count).0;
    }
    let without = if config.batch_norm {
        ""
    } else {
        "-no-batch-norm"
    };
    let folder = format!("{}-{}{without}", args.arch, args.dataset);
    let folder = args.runs.join(folder);
    std::fs::create_dir_all(&folder)
        .map_err(|error| FileError::io(&folder, "create the folder", error))?;
    let data = TrainingData::from_set(&set)?;
    let runs = Run::all(
        args.seeds.unwrap_or(if args.frozen { 5 } else { 3 }),
        args.frozen,
    );
    let mut records = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        let bar = Bar::new("train", global.quiet);
        let mut progress = |progress: &Progress| {
            let (name, number, count) = (run.name(), number + 1, runs.len());
            let speed = progress.images_per_second;
            let text = format!("{name} ({number} of {count}), {speed:.0} images/s");
            show_training(&bar, progress, &text);
        };
        let model = match run.training {
            Training::Frozen => frozen(*run, &folder, &data, &mut |progress| {
                let text = format!("{} ({} of {})", run.name(), number + 1, runs.len());
                let (done, total) = (progress.done, progress.total);
                let left = progress.seconds * (total - done.min(total)) as f64 / done.max(1) as f64;
                bar.update(done, total, &text, left);
            })?,
            _ => model(*run, &folder, &architecture, &data, &config, &mut progress)?,
        };
        let record = Record {
            batch_norm: Some(config.batch_norm),
            ..record(*run, &model, &set, config.epochs)?
        };
        let accuracy = record.accuracy_plain.map(percent_text);
        bar.line(format!("{}: {}", run.name(), accuracy.unwrap_or_default()));
        records.push(record);
    }
    if !args.frozen {
        let suite = format!("ablation-{}", args.arch);
        let text = || ablation_table(&records);
        return args.results.finish(&suite, &records, output, text);
    }
    let suite = format!("ablation-frozen-{}{without}", args.arch);
    // Beside them, the newest networks of the same kind whose weights were trained.
    let mut shown = over_seeds(args.results.folder(), &mut Vec::new())?;
    shown.retain(|record| (&*record.network, &*record.dataset) == (&args.arch, &args.dataset));
    shown.extend(records.iter().cloned());
    let text = || ablation_table(&shown) + &frozen_gains(&records);
    args.results.finish(&suite, &records, output, text)
}

/// The teacher of a run's seed with quadratics, made anew unless its file is there.
fn frozen(
    run: Run,
    folder: &Path,
    data: &TrainingData,
    progress: &mut dyn FnMut(&ConvertProgress),
) -> anyhow::Result<Model> {
    let teacher = Model::load(folder.join(format!("{}.safetensors", run.teacher().name())))?;
    let config = ConvertConfig {
        granularity: run.activation.granularity().unwrap_or(Granularity::Element),
        seed: run.seed,
        ..ConvertConfig::default()
    };
    let path = folder.join(format!("{}.safetensors", run.name()));
    if path.exists() {
        let model = Model::load(&path)?;
        let made = &model.training;
        let same = made["config"] == json!(config)
            && made["original"]["digest"] == json!(teacher.digest()?);
        anyhow::ensure!(same, other_settings(&path));
        return Ok(model);
    }
    let model = convert(&teacher, &data.images, &config, progress)?.model;
    model.save(&path, Overwrite::Refuse)?;
    Ok(model)
}

fn other_settings(path: &Path) -> Error {
    Error::Usage(format!(
        "{} was trained with other settings: give them again, or another folder with --runs",
        path.display()
    ))
}

/// The trained model of a run: from its file, or trained, resuming from its checkpoint if there is one.
fn model(
    run: Run,
    folder: &Path,
    architecture: &Architecture,
    data: &TrainingData,
    config: &TrainConfig,
    progress: &mut dyn FnMut(&Progress),
) -> anyhow::Result<Model> {
    let path = folder.join(format!("{}.safetensors", run.name()));
    let config = TrainConfig {
        activation: run.activation,
        seed: run.seed,
        distillation: (run.training == Training::Distilled)
            .then(|| config.distillation.clone().unwrap_or_default()),
        ..config.clone()
    };
    if path.exists() {
        let model = Model::load(&path)?;
        let found: TrainConfig = serde_json::from_value(model.training["config"].clone())
            .with_context(|| format!("the configuration in {}", path.display()))?;
        let same = TrainConfig {
            threads: config.threads,
            ..found
        } == config;
        anyhow::ensure!(same, other_settings(&path));
        return Ok(model);
    }
    let checkpoint = folder.join(format!("{}.checkpoint", run.name()));
    let trainer = Trainer::new(data, &config).checkpoint(&checkpoint);
    let model = if run.training == Training::Distilled {
        let teacher = Model::load(folder.join(format!("{}.safetensors", run.teacher().name())))?;
        trainer.distill(&teacher, progress)?
    } else {
        trainer.train(architecture, progress)?
    };
    model.save(&path, Overwrite::Refuse)?;
    // The model replaces the checkpoint.
    std::fs::remove_file(&checkpoint)
        .map_err(|error| FileError::io(&checkpoint, "remove", error))?;
    Ok(model)
}

fn record(run: Run, model: &Model, set: &DataSet, epochs: usize) -> anyhow::Result<Record> {
    let images = prepare(&set.test, &model.preprocess, None)?;
    let labels = set.test.labels.as_deref();
    let accuracy = labels.map(|labels| float_accuracy(model, &images, labels));
    Ok(Record {
        images: set.test.len() as u64,
        accuracy_plain: accuracy.transpose()?,
        activation: Some(run.activation.to_string()),
        distilled: Some(run.training == Training::Distilled),
        frozen: (run.training == Training::Frozen).then_some(true),
        seed: Some(run.seed),
        epochs: Some(epochs as u64),
        macs_per_image: Some(model.graph.multiply_accumulates()),
        parameters: Some(model.graph.parameters()),
        activations_per_image: Some(model.graph.activations()),
        model_digest: Some(model.digest()?.to_string()),
        ..Record::new(&model.name, &model.dataset, &Origin::here())
    })
}
