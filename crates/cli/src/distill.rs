//! `sordino distill`

use std::path::PathBuf;

use sordino::Model;
use sordino::train::{Activation, Architecture, Distillation, TrainConfig, TrainingData};
use sordino_command::{GlobalArgs, Outcome, Output};

use crate::import::{ImagesArgs, is_onnx};
use crate::one_of::one_of;
use crate::training::{ACTIVATIONS, Tested, TrainingArgs};

/// Arguments of `distill`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The trained network, with ReLUs or other activations: a model file, or one exported as ONNX
    #[arg(long, value_name = "MODEL|NET.onnx")]
    teacher: PathBuf,
    #[command(flatten)]
    images: ImagesArgs,
    /// The student's quadratics: one per layer, channel or element [default: element, or as --config says]
    #[arg(long, value_name = "ACTIVATION", value_parser = one_of::<Activation>(ACTIVATIONS))]
    activation: Option<Activation>,
    /// Weight of the teacher's soft targets against the labels, 0 to 1
    #[arg(long, value_name = "SHARE")]
    teacher_weight: Option<f64>,
    /// Temperature that softens the logits of teacher and student
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Weight of the distance between the activations of teacher and student
    #[arg(long, value_name = "WEIGHT")]
    feature_weight: Option<f64>,
    #[command(flatten)]
    training: TrainingArgs,
}

/// Share of the epochs over which the activations of a network from elsewhere fade out. Quadratics in place of all of them at once
/// may be far from a deep network that normalizes nothing between its blocks.
const FADING: f64 = 0.25;

/// The recipe for students of a network: its teacher's, at a lower learning rate.
fn recipe(teacher: &Model) -> TrainConfig {
    let known = teacher.name.parse::<Architecture>();
    let base = known.map_or_else(
        |_| TrainConfig::default(),
        |known| TrainConfig::for_architecture(&known),
    );
    TrainConfig {
        learning_rate: base.learning_rate / 2.0,
        distillation: Some(Distillation::default()),
        ..base
    }
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let training = &args.training;
    training.check_output(global)?;
    let teacher = if is_onnx(&args.teacher) {
        args.images.load(&args.teacher, output)?
    } else {
        Model::load(&args.teacher)?
    };
    let mut config = training.configuration(recipe(&teacher))?;
    config.activation = args.activation.unwrap_or(config.activation);
    if !training.is_configured() && teacher.name.parse::<Architecture>().is_err() {
        config.blend_epochs = FADING * config.epochs as f64;
    }
    let distillation = config.distillation.get_or_insert_default();
    distillation.weight = args.teacher_weight.unwrap_or(distillation.weight);
    distillation.temperature = args.temperature.unwrap_or(distillation.temperature);
    distillation.features = args.feature_weight.unwrap_or(distillation.features);
    let set = training.open(&config, output)?;
    // Of an ONNX file this command says what it takes.
    let option = if is_onnx(&args.teacher) {
        "--input-range"
    } else {
        "--range"
    };
    let data = TrainingData::prepared_for(&set, &teacher, training.range());
    let data = data.map_err(|error| match error {
        sordino::train::Error::DataSet(error) => error.for_option(option).into(),
        other => anyhow::Error::from(other),
    })?;
    // Before the training, since test images may be wrong too.
    let of_teacher = Tested::new(&teacher, &set, training.range());
    let of_teacher =
        of_teacher.map_err(|error| match error.downcast::<sordino::data::Error>() {
            Ok(error) => error.for_option(option).into(),
            Err(other) => other,
        })?;
    output.note(format!(
        "distilling {} into quadratics per {} on {} images of {}, {} epochs",
        teacher.name,
        config.activation,
        data.labels.len(),
        set.name,
        config.epochs,
    ));
    let mut model = training.run(&data, &config, global, |trainer, progress| {
        trainer.distill(&teacher, progress)
    })?;
    of_teacher.record(&mut model.training["teacher"]);
    training.finish(model, &data, &config, &set, global, output)
}
