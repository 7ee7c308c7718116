//! `sordino distill`

use std::path::PathBuf;

use serde_json::json;
use sordino::data::open_set;
use sordino::graph::Model;
use sordino::train::{Architecture, Distillation, TrainConfig, TrainingData};
use sordino_command::GlobalArgs;

use crate::import::{ImagesArgs, is_onnx};
use crate::output::{Outcome, Output};
use crate::training::{ActivationName, TrainingArgs, test_accuracy};

/// Arguments of `distill`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The trained ReLU network: a model file, or one exported as ONNX
    #[arg(long, value_name = "MODEL|NET.onnx")]
    teacher: PathBuf,
    #[command(flatten)]
    images: ImagesArgs,
    /// The student's quadratics: one a layer, a channel or an element [default: element, or as --config says]
    #[arg(long, value_enum)]
    activation: Option<ActivationName>,
    /// Weight of the teacher's opinion against the labels, 0 to 1
    #[arg(long, value_name = "SHARE")]
    teacher_weight: Option<f64>,
    /// Temperature that softens the opinions of both
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Weight of the distance between the activations of both
    #[arg(long, value_name = "WEIGHT")]
    feature_weight: Option<f64>,
    #[command(flatten)]
    training: TrainingArgs,
}

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
    if let Some(activation) = args.activation {
        config.activation = activation.into();
    }
    let distillation = config.distillation.get_or_insert_default();
    distillation.weight = args.teacher_weight.unwrap_or(distillation.weight);
    distillation.temperature = args.temperature.unwrap_or(distillation.temperature);
    distillation.features = args.feature_weight.unwrap_or(distillation.features);
    let mut set = open_set(&training.data)?;
    set.train = training.training_images(&set);
    let data = TrainingData::prepared_for(&set, &teacher)?;
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
    model.training["teacher"]["test_accuracy"] = json!(test_accuracy(&teacher, &set)?);
    training.finish(model, &data, &set, global, output)
}
