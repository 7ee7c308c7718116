//! Checking that the integer weights a plan will use are as good as the trained ones.

use serde::Serialize;
use sordino_graph::Model;
use sordino_plan::{CompileOptions, DEFAULT_WEIGHT_ERROR, Packing, compile};

use crate::{Error, Reference};

/// Loss of accuracy that is accepted: a tenth of a point, and always one image.
const ACCEPTED_LOSS: f64 = 0.001;

/// Least tolerance that is tried; weights of 16 bits reach it with every network that trains.
const LEAST_ERROR: f64 = DEFAULT_WEIGHT_ERROR / 256.0;

/// Multiply-accumulates that a trial may take in the clear; larger networks are tried on fewer images.
const COST: u64 = 1 << 36;

/// What integer weights of one tolerance made of the images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightTrial {
    /// Tolerated rms error of a logit from rounding weights, as a share of the largest logit.
    pub weight_error: f64,
    /// Most bits of a weight.
    pub weight_bits: u8,
    /// Images tried.
    pub images: usize,
    /// Share of the images that the float network classifies as labelled.
    pub accuracy_float: f64,
    /// Share of the images that the network with integer weights classifies as labelled.
    pub accuracy_integer: f64,
}

impl WeightTrial {
    /// Whether the integer weights are good enough.
    pub fn is_accepted(&self) -> bool {
        let loss = (self.accuracy_float - self.accuracy_integer) * self.images as f64;
        loss <= (ACCEPTED_LOSS * self.images as f64).max(1.0) + 1e-6
    }
}

/// Finds integer weights that lose at most a tenth of a point of accuracy, and records in the model how precise they
/// must be, if that is more than the planner does by itself.
///
/// Compiles the model as `compile` does by default, evaluates the integer network in the clear, and halves the
/// tolerated error until the accuracy on the images is that of the float network. The last trial is the one that
/// the model now stands for; it may still lose accuracy when nothing was precise enough.
///
/// # Shapes
/// `images` is `[labels.len(), C, H, W]`, prepared. The first few are used if the network is large.
///
/// # Errors
/// [`Error::ListLength`] without images, and those of compiling and evaluating.
pub fn settle_weights(
    model: &mut Model,
    images: &[f32],
    labels: &[u16],
    first_error: f64,
) -> Result<Vec<WeightTrial>, Error> {
    let elements = model.preprocess.elements();
    if labels.is_empty() || images.len() != labels.len() * elements {
        return Err(Error::ListLength {
            what: "images",
            expected: labels.len().max(1),
            found: images.len() / elements,
        });
    }
    let affordable = (COST / model.graph.multiply_accumulates().max(1)) as usize;
    let count = labels.len().min(affordable.max(500));
    let (images, labels) = (&images[..count * elements], &labels[..count]);
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
    labels: &[u16],
    weight_error: f64,
) -> Result<WeightTrial, Error> {
    let plan = compile(
        model,
        &CompileOptions::new(labels.len()).with_packing(Packing::ElementWise),
    )?
    .server;
    let reference = Reference::compute(model, &plan, images)?;
    let accuracy = |logits: &[f64]| {
        let classes = crate::classes_of(logits, model.classes.len());
        let right = classes.iter().zip(labels);
        let right = right.filter(|(class, label)| **class == usize::from(**label));
        right.count() as f64 / labels.len() as f64
    };
    let bits = plan.steps().iter().flat_map(crate::rates::maps);
    Ok(WeightTrial {
        weight_error,
        weight_bits: bits
            .map(|map| 8 * map.weight_width().bytes() as u8)
            .max()
            .unwrap_or(8),
        images: labels.len(),
        accuracy_float: accuracy(reference.float()),
        accuracy_integer: accuracy(reference.integer()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordino_data::digits;
    use sordino_train::{Architecture, TrainConfig, TrainingData, train};

    #[test]
    fn weights_that_lose_accuracy_are_made_more_precise_and_the_model_says_so() {
        let data = TrainingData::from_set(&digits()).unwrap();
        let config = TrainConfig {
            epochs: 12,
            ..TrainConfig::for_architecture(&Architecture::Digits)
        };
        let mut model = train(&Architecture::Digits, &data, &config, &mut |_| ()).unwrap();

        // Errors as large as the logits lose accuracy; halved often enough they do not.
        let trials = settle_weights(&mut model, &data.images, &data.labels, 1.0).unwrap();
        let (last, refused) = trials.split_last().unwrap();
        assert!(!refused.is_empty(), "{trials:?}");
        assert!(
            refused.iter().all(|trial| !trial.is_accepted()),
            "{trials:?}"
        );
        assert!(last.is_accepted(), "{trials:?}");
        assert!(last.accuracy_float - last.accuracy_integer <= 0.001 + 1e-9);
        assert!(
            trials
                .windows(2)
                .all(|pair| pair[1].weight_error == pair[0].weight_error / 2.0)
        );
        let recorded = |model: &Model| model.calibration.as_ref().unwrap().weight_error;
        let needed = last.weight_error;
        assert_eq!(recorded(&model), Some(needed));

        // What the planner does by itself needs no word in the file.
        let trials = settle_weights(&mut model, &data.images, &data.labels, DEFAULT_WEIGHT_ERROR);
        assert_eq!(trials.unwrap().len(), 1);
        assert_eq!(recorded(&model), None);
    }
}
