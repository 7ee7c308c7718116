//! What `train` and `distill` share: the options of a run, its progress, and the report of its result.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sordino::container::{Access, Error as FileError, check_writable};
use sordino::data::{DataSet, Layout, Reader, prepare};
use sordino::graph::{Changes, execute};
use sordino::plan::DEFAULT_WEIGHT_ERROR;
use sordino::train::{
    ClassWeights, Measure, Progress, Schedule, TrainConfig, Trainer, TrainingData,
};
use sordino::{
    FindingMeasures, ImageLabels, Labelled, Model, ViewTrial, WeightTrial, float_accuracy,
    labels_of_findings, measure_findings, try_views, tune_weight_error,
};
use sordino_bench::show_training;
use sordino_command::terminal::Bar;
use sordino_command::{GlobalArgs, Outcome, Output, read_settings};
use sordino_report::percent_text;

use crate::encrypt::parse_range;
use crate::exit::Usage;
use crate::one_of::one_of;

/// The names of activations.
pub(crate) const ACTIVATIONS: &[&str] = &["relu", "layer", "channel", "element"];

/// Options of a training run; those that are left out come from --config, else from the architecture's recipe.
#[derive(clap::Args)]
pub(crate) struct TrainingArgs {
    /// A data set: its folder, a folder that holds it, or its name
    #[arg(long, value_name = "PATH")]
    pub(crate) data: PathBuf,
    /// Raw values of black and white in the data set, where they are not those of its type
    #[arg(long, value_name = "A..B", value_parser = parse_range, allow_hyphen_values = true)]
    range: Option<(f64, f64)>,
    /// Where arrays have their channels: before rows and columns, or behind [default: by their sizes]
    #[arg(long, value_name = "nchw|nhwc", value_parser = one_of::<Layout>(&["nchw", "nhwc"]))]
    layout: Option<Layout>,
    /// Where to write the model
    #[arg(long, value_name = "MODEL")]
    pub(crate) out: PathBuf,
    /// A training configuration in a .toml or .json file (docs/guide/training.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Passes over the training images
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Images per step
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Largest learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Learning-rate schedule
    #[arg(long, value_name = "SCHEDULE", value_parser = one_of::<Schedule>(&["cosine", "linear", "steps", "constant"]))]
    schedule: Option<Schedule>,
    /// Decay of the weights
    #[arg(long, value_name = "RATE")]
    weight_decay: Option<f64>,
    /// Share of the target probability that is spread over all classes
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f64>,
    /// What rare classes or findings weigh: none, balanced (by their frequency), or a weight for each with commas in between
    #[arg(long, value_name = "none|balanced|W,W,…", value_parser = parse_weights)]
    class_weights: Option<ClassWeights>,
    /// Draw images of every class, or with each finding, equally often
    #[arg(long)]
    balanced_sampling: bool,
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
    /// A file that is written after each epoch; if it exists, the run resumes from it, exactly as if never interrupted
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Append a line of JSON for each epoch to this file
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
}

impl TrainingArgs {
    /// Checks before the work that the model can be written.
    pub(crate) fn check_output(&self, global: &GlobalArgs) -> anyhow::Result<()> {
        check_writable(&self.out, global.overwrite(), Access::Shared)?;
        Ok(())
    }

    /// The configuration: that of --config or else `recipe`, changed by the options.
    pub(crate) fn configuration(&self, recipe: TrainConfig) -> anyhow::Result<TrainConfig> {
        let mut config = match &self.config {
            None => recipe,
            Some(path) => {
                let name = path.display();
                let text = || format!("--config {name}: give a .toml or .json file");
                let read = read_settings(path, "a training configuration")?;
                read.ok_or_else(|| Usage(text()))?
            }
        };
        config.epochs = self.epochs.unwrap_or(config.epochs);
        config.batch = self.batch.unwrap_or(config.batch);
        config.learning_rate = self.learning_rate.unwrap_or(config.learning_rate);
        config.weight_decay = self.weight_decay.unwrap_or(config.weight_decay);
        config.label_smoothing = self.label_smoothing.unwrap_or(config.label_smoothing);
        if let Some(weights) = &self.class_weights {
            config.class_weights.clone_from(weights);
        }
        config.balanced_sampling |= self.balanced_sampling;
        config.shift = self.shift.unwrap_or(config.shift);
        config.flip |= self.flip;
        config.crop = self.crop.unwrap_or(config.crop);
        config.cutout = self.cutout.unwrap_or(config.cutout);
        config.validation = self.validation.unwrap_or(config.validation);
        config.patience = self.patience.unwrap_or(config.patience);
        config.seed = self.seed.unwrap_or(config.seed);
        config.schedule = self.schedule.unwrap_or(config.schedule);
        config.threads = rayon::current_num_threads();
        Ok(config)
    }

    /// The data set, with the training images and the range that are used. What was guessed about it is said.
    pub(crate) fn open(&self, config: &TrainConfig, output: &Output) -> anyhow::Result<DataSet> {
        let mut set = Reader::new().layout(self.layout).set(&self.data)?;
        for note in &set.notes {
            output.warn(note);
        }
        set.train = set.train.split_at(self.images.unwrap_or(usize::MAX)).0;
        set.range = self.range.unwrap_or(set.range);
        if set.validation.is_none() && config.validation > 0.0 {
            output.note(format!(
                "{} has no validation part: {} of the training images are held back to choose the best epoch (--validation SHARE)",
                set.name,
                percent_text(config.validation)
            ));
        }
        Ok(set)
    }

    /// Whether the configuration comes from a file.
    pub(crate) fn is_configured(&self) -> bool {
        self.config.is_some()
    }

    /// The range that was given.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        self.range
    }

    /// Runs `train` with a trainer that writes the checkpoint, and shows its progress.
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
            show(&bar, progress);
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
            let path = self.out.display();
            bar.line(format!("the best epoch's model is in {path}"));
        }
        match unwritten {
            Some(error) => Err(error.into()),
            None => Ok(outcome?),
        }
    }

    /// Writes the model and describes it.
    pub(crate) fn finish(
        &self,
        mut model: Model,
        data: &TrainingData,
        config: &TrainConfig,
        set: &DataSet,
        global: &GlobalArgs,
        output: &Output,
    ) -> anyhow::Result<Outcome> {
        let (images, labels) = match &data.validation {
            Some((images, labels)) => (images, labels),
            None => (&data.images, &data.labels),
        };
        let changes = Changes {
            mirror: config.flip,
            turns: false,
            shift: u8::try_from(config.shift).unwrap_or(0),
        };
        if let (Some((images, labels)), true) = (&data.validation, changes != Changes::default()) {
            record_views(&mut model, changes, images, labels.into(), output)?;
        }
        let trials = tune_if_planned(&mut model, images, labels.classes(), output);
        let tested = Tested::new(&model, set, self.range)?;
        tested.record(&mut model.training);
        let digest = model.save(&self.out, global.overwrite())?;
        let result = json!({
            "model": digest,
            "out": self.out,
            "network": model.name,
            "dataset": model.dataset,
            "parameters": model.graph.parameters(),
            "macs_per_image": model.graph.multiply_accumulates(),
            "activations_per_image": model.graph.activations(),
            "test_accuracy": tested.accuracy,
            "test_auc": tested.auc(),
            "test_findings": tested.findings,
            "integer_weights": trials,
            "training": model.training,
        });
        output.result(&result, || {
            format!(
                "wrote {} ({} parameters, activation ranges included){}",
                self.out.display(),
                model.graph.parameters(),
                tested.text(set.test.len())
            )
        })?;
        Ok(Outcome::Good)
    }
}

fn parse_weights(text: &str) -> Result<ClassWeights, String> {
    text.parse()
        .map_err(|error: sordino::train::Error| error.to_string())
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
        progress.measure.field(): progress.validation_score,
        "learning_rate": progress.learning_rate,
        "seconds": progress.seconds,
        "images_per_second": progress.images_per_second,
    })
}

fn show(bar: &Bar, progress: &Progress) {
    let (epoch, epochs, loss) = (progress.epoch, progress.epochs, progress.loss);
    let what = match progress.measure {
        Measure::Accuracy => "accuracy",
        Measure::MeanAuc | Measure::RightDecisions => "right decisions",
    };
    let accuracy = format!("{what} {}", percent_text(progress.train_accuracy));
    let name = format!(
        "epoch {epoch}/{epochs}, loss {loss:.4}, {accuracy}, {:.0} images/s",
        progress.images_per_second
    );
    show_training(bar, progress, &name);
    if progress.epoch_is_over {
        let held_back = progress
            .validation_score
            .map(|score| match progress.measure {
                Measure::Accuracy => format!(", {} on images held back", percent_text(score)),
                Measure::MeanAuc => format!(", mean AUC {score:.4} on images held back"),
                Measure::RightDecisions => {
                    format!(
                        ", {} of the decisions on images held back",
                        percent_text(score)
                    )
                }
            });
        bar.line(format!(
            "epoch {epoch:>3}: loss {loss:.4}, {accuracy} in training{}, {:.0} s",
            held_back.unwrap_or_default(),
            progress.seconds
        ));
    }
}

/// Finds how precise integer weights must be, and says what was tried: the end of `train`, `distill` and `ranges`.
///
/// Shapes: `images` is `[count, C, H, W]`, prepared.
pub(crate) fn tune(
    model: &mut Model,
    images: &[f32],
    labels: Option<&[u16]>,
    output: &Output,
) -> anyhow::Result<Vec<WeightTrial>> {
    let trials = tune_weight_error(model, images, labels, DEFAULT_WEIGHT_ERROR)?;
    trials.iter().for_each(|trial| output.note(trial));
    Ok(trials)
}

/// As [`tune`], for a model that is kept whatever comes of it: one that no element-wise plan takes keeps the usual weights.
pub(crate) fn tune_if_planned(
    model: &mut Model,
    images: &[f32],
    labels: Option<&[u16]>,
    output: &Output,
) -> Vec<WeightTrial> {
    tune(model, images, labels, output).unwrap_or_else(|error| {
        output.warn(format!(
            "integer weights were not tried with element-wise packing: {error}"
        ));
        Vec::new()
    })
}

/// Records changes that leave an image's class, with the number of views that is best, and says what was tried.
///
/// Shapes: `images` is `[labels.len(), C, H, W]`, prepared.
pub(crate) fn record_views(
    model: &mut Model,
    changes: Changes,
    images: &[f32],
    labels: ImageLabels<'_>,
    output: &Output,
) -> anyhow::Result<Vec<ViewTrial>> {
    let (views, trials) = try_views(model, changes, images, labels)?;
    trials.iter().for_each(|trial| output.note(trial));
    if trials.is_empty() {
        output.warn(
            "views were recorded and not tried: that needs labels, and a network whose outputs are logits of one class of several, or of several findings (import --scores softmax|sigmoid); requests have one view of an image unless --views asks for more",
        );
    }
    if let Some(calibration) = &mut model.calibration {
        calibration.views = Some(views);
    }
    Ok(trials)
}

/// How a network does on the test images, which take no part in training.
pub(crate) struct Tested {
    /// Share of the images that are classified as labelled; `None` where they have no classes.
    pub(crate) accuracy: Option<f64>,
    /// Measures of each finding of images with several.
    pub(crate) findings: Vec<FindingMeasures>,
}

impl Tested {
    pub(crate) fn new(
        model: &Model,
        set: &DataSet,
        range: Option<(f64, f64)>,
    ) -> anyhow::Result<Self> {
        let none = Self {
            accuracy: None,
            findings: Vec::new(),
        };
        let Some(targets) = set.test.targets() else {
            return Ok(none);
        };
        let images = prepare(&set.test, &model.preprocess, range)?;
        if let Some(labels) = targets.classes() {
            let accuracy = Some(float_accuracy(model, &images, labels)?);
            return Ok(Self { accuracy, ..none });
        }
        let width = model.classes.len();
        let Some(labels) = labels_of_findings(model.output, width, (&targets).into())? else {
            return Ok(none);
        };
        let logits = execute(&model.graph, &images, set.test.len())?;
        let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
        let found = Labelled {
            output: model.output,
            classes: &model.classes,
            logits: &logits,
            labels: &labels,
        };
        let findings = measure_findings(found, None);
        Ok(Self { findings, ..none })
    }

    /// Mean area under the ROC curve over the findings that could be measured.
    pub(crate) fn auc(&self) -> Option<f64> {
        let sum: f64 = self.findings.iter().map(|finding| finding.auc).sum();
        let count = self.findings.len();
        (count > 0).then(|| sum / count as f64)
    }

    /// Writes the figures into a model file's record of its training.
    pub(crate) fn record(&self, training: &mut Value) {
        training["test_accuracy"] = json!(self.accuracy);
        if let Some(auc) = self.auc() {
            training["test_auc"] = json!(auc);
        }
    }

    /// For people, behind what was written.
    fn text(&self, images: usize) -> String {
        match (self.accuracy, self.auc()) {
            (Some(accuracy), _) => {
                let right = percent_text(accuracy);
                format!(", {right} right on the {images} test images")
            }
            (None, Some(auc)) => {
                let one = |finding: &FindingMeasures| {
                    let (low, high) = finding.auc_interval;
                    format!(
                        "\nfinding {}: AUC {:.3} ({low:.3} to {high:.3}), in {} test images and not in {}",
                        finding.name, finding.auc, finding.positives, finding.negatives
                    )
                };
                let each: String = self.findings.iter().map(one).collect();
                format!(", mean AUC {auc:.3} on the {images} test images{each}")
            }
            (None, None) => String::new(),
        }
    }
}
