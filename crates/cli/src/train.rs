//! `sordino train`

use std::path::Path;

use sordino::train::{Activation, Architecture, TrainConfig, TrainingData};
use sordino_command::{GlobalArgs, Outcome, Output, read_settings};

use crate::classes::class_names_for;
use crate::one_of::one_of;
use crate::training::{ACTIVATIONS, TrainingArgs};

/// Arguments of `train`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Architecture: mlp, cryptonets, lenet, vgg5, cnn6, digits, or a layer list in a .toml or .json file
    #[arg(long, value_name = "NAME|FILE")]
    arch: String,
    /// The activation: relu for a teacher; quadratics per layer, channel or element [default: element, or as the file says]
    #[arg(long, value_name = "ACTIVATION", value_parser = one_of::<Activation>(ACTIVATIONS))]
    activation: Option<Activation>,
    /// Names of the classes or findings in the order of their numbers, or a text file with one per line [default: the data set's]
    #[arg(long, value_name = "A,B,…|FILE")]
    classes: Option<String>,
    #[command(flatten)]
    training: TrainingArgs,
}

/// A named architecture, or the layer list in a file.
pub(crate) fn architecture(text: &str) -> anyhow::Result<Architecture> {
    match read_settings(Path::new(text), "a layer list")? {
        Some(list) => Ok(Architecture::Custom(list)),
        None => Ok(text.parse()?),
    }
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let training = &args.training;
    training.check_output(global)?;
    let architecture = architecture(&args.arch)?;
    let mut config = training.configuration(TrainConfig::for_architecture(&architecture))?;
    config.activation = args.activation.unwrap_or(config.activation);
    let set = training.open(&config, output)?;
    let mut data = TrainingData::from_set(&set)?;
    if let Some(text) = &args.classes {
        data.classes = class_names_for(text, data.classes.len())?;
    }
    output.note(format!(
        "training {} on {} images of {}, {} epochs, {} activations",
        architecture.name(),
        data.labels.len(),
        set.name,
        config.epochs,
        config.activation
    ));
    let model = training.run(&data, &config, global, |trainer, progress| {
        trainer.train(&architecture, progress)
    })?;
    training.finish(model, &data, &config, &set, global, output)
}
