//! `sordino train`

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;
use sordino::container::{Access, AtomicFile, Error as FileError};
use sordino::data::{open_set, prepare};
use sordino::graph::{Model, execute};
use sordino::train::{Activation, Architecture, LayerList, TrainConfig, TrainingData, train};
use sordino::{classes_of, data::DataSet};
use sordino_server::command::GlobalArgs;
use sordino_server::terminal::Bar;

use crate::exit::Mismatch;
use crate::output::{Outcome, Output};

/// Arguments of `train`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A data set: its folder, a folder that holds it, or its name
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Architecture: mlp, cryptonets, digits, or a layer list in a .toml or .json file
    #[arg(long, value_name = "NAME|FILE")]
    arch: String,
    /// The activation; quadratics per layer, channel or element [default: element, or as the file says]
    #[arg(long, value_enum)]
    activation: Option<ActivationName>,
    /// Where to write the model
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,
    /// Passes over the training images [default: by architecture]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Images a step [default: by architecture]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Largest learning rate [default: by architecture]
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Seed of weights, order, shifts and split [default: by architecture]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ActivationName {
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

/// Most bytes of a layer list.
const LAYER_LIST_BYTES: u64 = 1 << 20;

/// A named architecture, or the layer list in a file.
fn architecture(text: &str) -> anyhow::Result<Architecture> {
    let path = Path::new(text);
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or("");
    let json = match extension.to_ascii_lowercase().as_str() {
        "json" => true,
        "toml" => false,
        _ => return Ok(text.parse()?),
    };
    let read = |error| FileError::io(path, "read", error);
    let size = fs::metadata(path).map_err(read)?.len();
    let wrong = |detail: String| {
        Mismatch(format!(
            "{text}: expected a layer list, found: {detail}: correct the file (docs/reference/architectures.md)"
        ))
    };
    if size > LAYER_LIST_BYTES {
        return Err(wrong(format!("{size} bytes, more than {LAYER_LIST_BYTES}")).into());
    }
    let content = fs::read_to_string(path).map_err(read)?;
    let list: LayerList = if json {
        serde_json::from_str(&content).map_err(|error| wrong(error.to_string()))?
    } else {
        toml::from_str(&content).map_err(|error| wrong(error.to_string()))?
    };
    Ok(Architecture::Custom(list))
}

/// Accuracy on the test images, which had no part in training; `None` without labels.
fn test_accuracy(model: &Model, set: &DataSet) -> anyhow::Result<Option<f64>> {
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

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    // Asked before the work: whether the model can be written at all.
    drop(AtomicFile::create(
        &args.out,
        global.overwrite(),
        Access::Shared,
    )?);
    let architecture = architecture(&args.arch)?;
    let mut config = TrainConfig::for_architecture(&architecture);
    if let Some(activation) = args.activation {
        config.activation = activation.into();
    }
    config.epochs = args.epochs.unwrap_or(config.epochs);
    config.batch = args.batch.unwrap_or(config.batch);
    config.learning_rate = args.learning_rate.unwrap_or(config.learning_rate);
    config.seed = args.seed.unwrap_or(config.seed);
    let set = open_set(&args.data)?;
    let data = TrainingData::from_set(&set)?;
    output.note(format!(
        "training {} on {} images of {}, {} epochs, {} activations",
        architecture.name(),
        data.labels.len(),
        set.name,
        config.epochs,
        config.activation
    ));
    let model = {
        let bar = Bar::new("train", global.quiet);
        let mut progress = |progress: &sordino::train::Progress| {
            let done = (progress.epoch - 1) * progress.batches + progress.batch;
            let name = format!(
                "epoch {}/{}, loss {:.4}, accuracy {:.2} %",
                progress.epoch,
                progress.epochs,
                progress.loss,
                progress.train_accuracy * 100.0
            );
            bar.update(
                done,
                progress.epochs * progress.batches,
                &name,
                progress.seconds_left,
            );
            if let Some(accuracy) = progress.validation_accuracy {
                bar.line(format!(
                    "epoch {:>3}: loss {:.4}, accuracy {:.2} % in training, {:.2} % on images held back, {:.0} s",
                    progress.epoch,
                    progress.loss,
                    progress.train_accuracy * 100.0,
                    accuracy * 100.0,
                    progress.seconds
                ));
            }
        };
        train(&architecture, &data, &config, &mut progress)?
    };
    let digest = model.save(&args.out, global.overwrite())?;
    let accuracy = test_accuracy(&model, &set)?;
    let result = json!({
        "model": digest,
        "out": args.out,
        "network": model.name,
        "dataset": model.dataset,
        "parameters": model.graph.parameters(),
        "macs_per_image": model.graph.multiply_accumulates(),
        "activations_per_image": model.graph.activations(),
        "test_accuracy": accuracy,
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
            args.out.display(),
            model.graph.parameters()
        )
    })?;
    Ok(Outcome::Good)
}
