//! Finding how precise a plan's integer weights must be to be as good as the trained ones.

use std::fmt;

use serde::Serialize;
use sordino_client::Error as ClientError;
use sordino_graph::Model;
use sordino_plan::{CompileOptions, DEFAULT_WEIGHT_ERROR, PackingKind, compile};

use crate::{Error, LEAST_AGREEMENT_FLOAT, Reference, classes_of, is_enough};

/// Loss of accuracy that is accepted: a tenth of a point, and always one image.
const ACCEPTED_LOSS: f64 = 0.001;

/// Least tolerance that is tried; weights of 16 bits reach it with every network that trains.
const LEAST_ERROR: f64 = DEFAULT_WEIGHT_ERROR / 256.0;

/// Multiply-accumulates that a trial may take in the clear; larger networks are tried on fewer images.
const COST: u64 = 1 << 36;

/// Images that are tried whatever that costs: fewer show nothing.
const LEAST_IMAGES: usize = 500;

/// Images that suffice.
const MOST_IMAGES: usize = 2000;

/// How the network does with integer weights of one tolerance. Shares are from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightTrial {
    /// Tolerated rms error of a logit from rounding weights, as a share of the usual size of a logit.
    pub weight_error: f64,
    /// Most bits of a weight.
    pub weight_bits: u8,
    /// Images tried.
    pub images: usize,
    /// Share of the images that the float network classifies as labelled; `None` without labels.
    pub accuracy_float: Option<f64>,
    /// Share of the images that the network with integer weights classifies as labelled; `None` without labels.
    pub accuracy_integer: Option<f64>,
    /// Share of the images that both networks put in the same class; for several findings, of their decisions that are the same.
    pub agreement: f64,
    /// Whether the network has several findings.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub several_findings: bool,
}

impl WeightTrial {
    /// Whether the integer weights are good enough.
    pub fn is_accepted(&self) -> bool {
        let images = self.images as f64;
        let accuracies = self.accuracy_float.zip(self.accuracy_integer);
        let lost = accuracies.map_or(0.0, |(float, integer)| (float - integer) * images);
        // A margin of half as many again: images that training did not use agree less.
        let others = ((1.0 - self.agreement) * images).round() as usize;
        let elsewhere = (others + others.div_ceil(2)).min(self.images);
        lost <= (ACCEPTED_LOSS * images).max(1.0) + 1e-6
            && is_enough(
                1.0 - elsewhere as f64 / images,
                LEAST_AGREEMENT_FLOAT,
                self.images,
            )
    }
}

impl fmt::Display for WeightTrial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        write!(
            f,
            "integer weights of up to {} bits: {} ",
            self.weight_bits,
            percent(self.agreement),
        )?;
        let images = self.images;
        match self.several_findings {
            true => write!(
                f,
                "of the decisions on {images} images as the trained ones give them"
            ),
            false => write!(
                f,
                "of {images} images in the class that the trained ones give"
            ),
        }?;
        if let Some((integer, float)) = self.accuracy_integer.zip(self.accuracy_float) {
            let (integer, float) = (percent(integer), percent(float));
            write!(f, ", {integer} right where the trained ones have {float}")?;
        }
        match self.is_accepted() {
            true => Ok(()),
            false => f.write_str(": more precise ones are needed"),
        }
    }
}

/// Finds integer weights that lose at most a tenth of a point of accuracy and keep the class of at least
/// [`LEAST_AGREEMENT_FLOAT`] of the images, even were half as many again in another class, and records in the model how
/// precise they must be, if that is more than the planner does by itself. Of several findings the decisions have to be the same.
///
/// Compiles the model as `compile` does by default, evaluates the integer network in the clear, and halves the
/// tolerated error, from `first_error` on, until it is as good on the images as the float network. The model then has the error of
/// the last trial, which may still be worse if no weights are precise enough. Without labels only the classes of the float network
/// count. A network with ReLU has no plan and no trials.
///
/// # Shapes
/// `images` is `[count, C, H, W]`, prepared, with a label each. The first few are used.
///
/// # Errors
/// [`ClientError::ListLength`] without images or for labels that are not one per image, and those of compiling and evaluating.
pub fn tune_weight_error(
    model: &mut Model,
    images: &[f32],
    labels: Option<&[u16]>,
    first_error: f64,
) -> Result<Vec<WeightTrial>, Error> {
    let mut nodes = model.graph.nodes().iter();
    if nodes.any(|node| node.op.is_teacher_only()) {
        return Ok(Vec::new());
    }
    let elements = model.preprocess.elements();
    let all = images.len() / elements;
    let expected = labels.map_or(all, <[u16]>::len).max(1);
    if images.len() != expected * elements {
        let what = "images";
        let found = all;
        return Err(ClientError::ListLength {
            what,
            expected,
            found,
        }
        .into());
    }
    let affordable = (COST / model.graph.multiply_accumulates().max(1)) as usize;
    let count = all.min(affordable.clamp(LEAST_IMAGES, MOST_IMAGES));
    let (images, labels) = (&images[..count * elements], labels.map(|l| &l[..count]));
    let mut trials = Vec::new();
    let mut error = first_error;
    loop {
        if let Some(calibration) = &mut model.calibration {
            calibration.weight_error = (error != DEFAULT_WEIGHT_ERROR).then_some(error);
        }
        let trial = trial(model, images, labels, error)?;
        let done = trial.is_accepted() || error / 2.0 < LEAST_ERROR;
        trials.push(trial);
        if done {
            return Ok(trials);
        }
        error /= 2.0;
    }
}

fn trial(
    model: &Model,
    images: &[f32],
    labels: Option<&[u16]>,
    weight_error: f64,
) -> Result<WeightTrial, Error> {
    let count = images.len() / model.preprocess.elements();
    let options = CompileOptions::new(count).with_packing(PackingKind::ElementWise);
    let plan = compile(model, &options)?.server;
    let reference = Reference::compute(model, &plan, images)?;
    let integer = classes_of(reference.integer(), model.classes.len());
    let comparison = reference.compare(&integer, labels)?;
    let of_decisions = reference.agreement_of_decisions();
    let bits = plan.steps().iter().flat_map(|step| step.maps());
    Ok(WeightTrial {
        weight_error,
        weight_bits: bits
            .map(|map| 8 * map.weight_width().bytes() as u8)
            .max()
            .unwrap_or(8),
        images: count,
        accuracy_float: comparison.accuracy_plain,
        accuracy_integer: comparison.accuracy_integer,
        agreement: of_decisions.unwrap_or(comparison.agreement_float),
        several_findings: of_decisions.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "train")]
    #[test]
    fn weights_that_lose_accuracy_are_made_more_precise_and_the_model_says_so() {
        use sordino_train::{Architecture, TrainConfig, TrainingData, train};

        let data = TrainingData::from_set(&sordino_data::digits()).unwrap();
        let config = TrainConfig {
            epochs: 12,
            ..TrainConfig::for_architecture(&Architecture::Digits)
        };
        let mut model = train(&Architecture::Digits, &data, &config, &mut |_| ()).unwrap();

        // Errors as large as the logits lose accuracy; halved often enough they do not.
        let trials =
            tune_weight_error(&mut model, &data.images, data.labels.classes(), 1.0).unwrap();
        let (last, refused) = trials.split_last().unwrap();
        assert!(!refused.is_empty(), "{trials:?}");
        assert!(
            refused.iter().all(|trial| !trial.is_accepted()),
            "{trials:?}"
        );
        assert!(last.is_accepted(), "{trials:?}");
        assert!(last.accuracy_float.unwrap() - last.accuracy_integer.unwrap() <= 0.001 + 1e-9);
        assert!(last.agreement >= LEAST_AGREEMENT_FLOAT, "{trials:?}");
        assert!(
            trials
                .windows(2)
                .all(|pair| pair[1].weight_error == pair[0].weight_error / 2.0)
        );
        let recorded = |model: &Model| model.calibration.as_ref().unwrap().weight_error;
        let needed = last.weight_error;
        assert_eq!(recorded(&model), Some(needed));

        // What the planner does by itself needs no word in the file. Labels are not needed.
        let trials =
            tune_weight_error(&mut model, &data.images, None, DEFAULT_WEIGHT_ERROR).unwrap();
        assert_eq!(trials[0].accuracy_integer, None);
        let found = trials.last().unwrap().weight_error;
        let needs_a_word = found != DEFAULT_WEIGHT_ERROR;
        assert_eq!(recorded(&model), needs_a_word.then_some(found));

        let labels = data.labels.classes().map(|labels| &labels[1..]);
        let error = tune_weight_error(&mut model, &data.images, labels, DEFAULT_WEIGHT_ERROR);
        assert!(
            matches!(error, Err(Error::Client(ClientError::ListLength { .. }))),
            "{error:?}"
        );
        assert!(tune_weight_error(&mut model, &[], None, DEFAULT_WEIGHT_ERROR).is_err());
    }

    #[test]
    fn accuracy_and_agreement_must_both_be_good() {
        let trial = |integer, agreement| WeightTrial {
            weight_error: DEFAULT_WEIGHT_ERROR,
            weight_bits: 8,
            images: 2000,
            accuracy_float: Some(0.91),
            accuracy_integer: Some(integer),
            agreement,
            several_findings: false,
        };
        // Of 2,000 images 10 may differ: 6 leave room for half as many again, 7 do not.
        assert!(trial(0.91, 0.997).is_accepted());
        assert!(trial(0.909, 0.997).is_accepted());
        assert!(trial(0.95, 0.997).is_accepted());
        assert!(!trial(0.9085, 0.997).is_accepted());
        assert!(!trial(0.91, 0.9965).is_accepted());
        let unlabelled = |agreement| WeightTrial {
            accuracy_float: None,
            accuracy_integer: None,
            ..trial(0.0, agreement)
        };
        assert!(unlabelled(0.997).is_accepted());
        assert!(!unlabelled(0.9965).is_accepted());
        assert!(!unlabelled(0.0).is_accepted());
    }
}
