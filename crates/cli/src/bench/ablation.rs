//! `sordino bench ablation`: what the granularity of quadratics and distillation change.

use std::path::{Path, PathBuf};

use anyhow::Context;
use sordino::container::Overwrite;
use sordino::data::{DataSet, SetName, open_named};
use sordino::graph::Model;
use sordino::report::{Environment, Record, ablation_table, write_records};
use sordino::train::{Activation, Architecture, Progress, TrainConfig, Trainer, TrainingData};
use sordino_command::GlobalArgs;
use sordino_command::terminal::Bar;

use crate::exit::Usage;
use crate::output::{Outcome, Output};
use crate::training::{settings, test_accuracy};

/// Arguments of `bench ablation`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that holds the data sets [default: $SORDINO_DATA, ./data, /usr/share/datasets]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
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
    /// Networks of each kind, with the seeds 1 to N
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Train on the first N training images only
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Folder for models and checkpoints; what is there is not trained again
    #[arg(long, value_name = "DIR", default_value = "ablation")]
    runs: PathBuf,
    /// Folder for the records
    #[arg(long, value_name = "DIR", default_value = "bench/results")]
    results: PathBuf,
}

/// One network to train.
#[derive(Clone, Copy)]
struct Run {
    activation: Activation,
    distilled: bool,
    seed: u64,
}

impl Run {
    /// Teachers first: the students of a seed need theirs.
    fn all(seeds: u64) -> Vec<Self> {
        let mut runs = Vec::new();
        for seed in 1..=seeds {
            let run = |activation, distilled| Self {
                activation,
                distilled,
                seed,
            };
            runs.push(run(Activation::Relu, false));
            for activation in [Activation::Layer, Activation::Channel, Activation::Element] {
                runs.extend([run(activation, false), run(activation, true)]);
            }
        }
        runs
    }

    fn name(self) -> String {
        let training = if self.distilled {
            "distilled"
        } else {
            "labels"
        };
        format!("{}-{training}-{}", self.activation, self.seed)
    }
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let architecture: Architecture = args.arch.parse()?;
    let mut config = match &args.config {
        None => TrainConfig::for_architecture(&architecture),
        Some(path) => settings(path, "a training configuration")?.ok_or_else(|| {
            Usage(format!(
                "--config {}: give a .toml or .json file",
                path.display()
            ))
        })?,
    };
    config.epochs = args.epochs.unwrap_or(config.epochs);
    config.threads = rayon::current_num_threads();
    let name: SetName = args.dataset.parse()?;
    let mut set = open_named(args.data.as_deref(), name)?;
    if let Some(count) = args.images {
        set.train = set.train.split_at(count.min(set.train.len())).0;
    }
    let folder = args.runs.join(format!("{}-{}", args.arch, args.dataset));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("the folder {} for models", folder.display()))?;
    let data = TrainingData::from_set(&set)?;
    let runs = Run::all(args.seeds);
    let mut records = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        let bar = Bar::new("train", global.quiet);
        let mut progress = |progress: &Progress| {
            let done = (progress.epoch - 1) * progress.batches + progress.batch;
            let text = format!(
                "{} ({} of {}), {:.0} images/s",
                run.name(),
                number + 1,
                runs.len(),
                progress.images_per_second
            );
            let of = progress.epochs * progress.batches;
            bar.update(done, of, &text, progress.seconds_left);
        };
        let model = model(*run, &folder, &architecture, &data, &config, &mut progress)?;
        let record = record(*run, &model, &set, config.epochs)?;
        let percent = |share: Option<f64>| share.map_or(0.0, |share| 100.0 * share);
        bar.line(format!(
            "{}: {:.2} %",
            run.name(),
            percent(record.accuracy_plain)
        ));
        records.push(record);
    }
    let path = write_records(&args.results, &format!("ablation-{}", args.arch), &records)?;
    output.note(format!("wrote {}", path.display()));
    output.result(&records, || ablation_table(&records).trim_end().to_owned())?;
    Ok(Outcome::Good)
}

/// The trained model of a run: from its file, or trained, from its checkpoint on if there is one.
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
        distillation: run
            .distilled
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
        anyhow::ensure!(
            same,
            Usage(format!(
                "{} was trained with other settings: give them again, or another folder with --runs",
                path.display()
            ))
        );
        return Ok(model);
    }
    let checkpoint = folder.join(format!("{}.checkpoint", run.name()));
    let trainer = Trainer::new(data, &config).checkpoint(&checkpoint);
    let model = if run.distilled {
        let teacher = Run {
            activation: Activation::Relu,
            distilled: false,
            seed: run.seed,
        };
        let teacher = Model::load(folder.join(format!("{}.safetensors", teacher.name())))?;
        trainer.distill(&teacher, progress)?
    } else {
        trainer.train(architecture, progress)?
    };
    model.save(&path, Overwrite::Refuse)?;
    // The model stands for the finished run.
    std::fs::remove_file(&checkpoint)
        .with_context(|| format!("removing {}", checkpoint.display()))?;
    Ok(model)
}

fn record(run: Run, model: &Model, set: &DataSet, epochs: usize) -> anyhow::Result<Record> {
    let mut record = Record::new(&model.name, &model.dataset, &Environment::here());
    record.images = set.test.len() as u64;
    record.accuracy_plain = test_accuracy(model, set)?;
    record.activation = Some(run.activation.to_string());
    record.distilled = Some(run.distilled);
    record.seed = Some(run.seed);
    record.epochs = Some(epochs as u64);
    record.macs_per_image = Some(model.graph.multiply_accumulates());
    record.parameters = Some(model.graph.parameters());
    record.activations_per_image = Some(model.graph.activations());
    record.model_digest = Some(model.digest()?.to_string());
    Ok(record)
}
