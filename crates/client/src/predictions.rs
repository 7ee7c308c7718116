//! What comes out of a decryption: classes and rounded scores.

use sordino_ckks::noise;
use sordino_graph::{OperatingPoints, OutputKind};
use sordino_plan::ClientPlan;

use crate::check::Check;
use crate::{Error, Marks, Status};

/// Probability that an error of a batch exceeds its bound.
const EXCEED_PROBABILITY: f64 = 1e-6;

/// The classes of a batch, and its scores rounded.
///
/// A class is that of the largest logit as decrypted: it tells log2(classes) bits of an image, and rounding would tie the
/// classes of close images. Everything else follows from rounded logits.
///
/// # Shapes
/// `logits` and `probabilities` are `[images, classes]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    class_names: Vec<String>,
    output_kind: OutputKind,
    operating_points: Option<OperatingPoints>,
    released_bits: i32,
    logits: Vec<f64>,
    probabilities: Vec<f64>,
    classes: Vec<usize>,
    out_of_range: Vec<bool>,
    marks: Marks,
    check: Option<Check>,
}

impl Predictions {
    /// Takes the classes from decrypted logits, then rounds these and derives the rest from the rounded values.
    pub(crate) fn from_logits(
        plan: &ClientPlan,
        mut logits: Vec<f64>,
        check: Option<Check>,
    ) -> Result<Self, Error> {
        let width = plan.header.output.logits;
        let released_bits = plan.released_bits().min(most_bits(plan));
        let unit = f64::from(-released_bits).exp2();
        if !(unit.is_finite() && unit > 0.0) {
            let what = format!("a precision of {released_bits} bits");
            return Err(Error::Plan { what });
        }
        let classes: Vec<usize> = logits.chunks_exact(width).map(largest).collect();
        for logit in &mut logits {
            // Adding 0 turns -0 into 0, which would print differently.
            *logit = (*logit / unit).round() * unit + 0.0;
        }
        // A logit right at the end of the range, which was recorded with the float network, may be moved outward by
        // its rounding and by that of the weights.
        let slack = unit + 4.0 * plan.estimate.rms_weight_rounding.max(0.0);
        let accepted = plan.logit_range.0 - slack..=plan.logit_range.1 + slack;
        let rows = logits.chunks_exact(width);
        Ok(Self {
            class_names: plan.class_names.clone(),
            output_kind: plan.output_kind,
            operating_points: plan.operating_points.clone(),
            released_bits,
            probabilities: rows
                .clone()
                .flat_map(|row| probabilities(plan.output_kind, row))
                .collect(),
            marks: Marks::new(classes.len(), Vec::new())?,
            classes,
            out_of_range: rows
                .map(|row| row.iter().any(|logit| !accepted.contains(logit)))
                .collect(),
            logits,
            check,
        })
    }

    /// The same with what is known of the images of the batch; those that were left out have no prediction.
    ///
    /// # Errors
    /// [`Error::ListLength`] where other images were encrypted than have a prediction.
    pub fn with_marks(self, marks: Marks) -> Result<Self, Error> {
        let (expected, found) = (self.len(), marks.encrypted());
        match expected == found {
            true => Ok(Self { marks, ..self }),
            false => Err(Error::ListLength {
                what: "images that were encrypted",
                expected,
                found,
            }),
        }
    }

    /// Which images of the batch are unusual, and which of them were left out.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// What is known of the answer for an image.
    ///
    /// # Panics
    /// If there is no such image among those that have a prediction, or it is not at `index` of the batch.
    pub(crate) fn status(&self, image: usize, index: usize) -> Status {
        match (self.out_of_range[image], self.marks.of(index)) {
            (true, _) => Status::OutOfRange,
            (false, Some(_)) => Status::Unusual,
            (false, None) => Status::Ok,
        }
    }

    /// What the check images showed, which were all right; `None` if the plan has none.
    pub fn check(&self) -> Option<Check> {
        self.check
    }

    /// Number of images that have a prediction.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Name of every class.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// What the logits stand for.
    pub fn output_kind(&self) -> OutputKind {
        self.output_kind
    }

    /// At which scores findings are decided, where the plan says.
    pub fn operating_points(&self) -> Option<&OperatingPoints> {
        self.operating_points.as_ref()
    }

    /// Bits after the binary point that the logits were rounded to.
    pub fn released_bits(&self) -> i32 {
        self.released_bits
    }

    /// Rounded logits of all images, one row per image.
    pub fn logits(&self) -> &[f64] {
        &self.logits
    }

    /// Probabilities of all images, one row per image; equal to the logits where these are plain numbers.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// The class with the largest logit before rounding of every image; the first of several.
    pub fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// Name of an image's class.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn label(&self, image: usize) -> &str {
        &self.class_names[self.classes[image]]
    }

    /// Which images have a logit outside of the range that was seen in calibration, by more than what rounding
    /// explains: do not trust these.
    pub fn out_of_range(&self) -> &[bool] {
        &self.out_of_range
    }
}

/// Bits that are released at most, whatever the plan says of its precision. A reply has at least the errors of a fresh encryption,
/// unless the server made it by itself; their worst over the batch stays hidden with two bits to spare, as it does where the plan
/// is right.
fn most_bits(plan: &ClientPlan) -> i32 {
    let header = &plan.header;
    let samples = (header.batch * header.output.logits) as f64;
    let worst = noise::fresh(header.parameters.ring_degree())
        * noise::worst_of_gaussians(samples, EXCEED_PROBABILITY);
    (header.output.scale / worst).log2().floor() as i32 - 2
}

/// Index of the largest value, the first of several.
fn largest(row: &[f64]) -> usize {
    let mut best = 0;
    for (class, logit) in row.iter().enumerate() {
        if *logit > row[best] {
            best = class;
        }
    }
    best
}

fn probabilities(kind: OutputKind, row: &[f64]) -> Vec<f64> {
    match kind {
        OutputKind::Softmax => {
            let top = row[largest(row)];
            let powers: Vec<f64> = row.iter().map(|logit| (logit - top).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.iter().map(|power| power / sum).collect()
        }
        OutputKind::Sigmoid => row
            .iter()
            .map(|logit| 1.0 / (1.0 + (-logit).exp()))
            .collect(),
        OutputKind::Raw => row.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_by_kind() {
        let softmax = probabilities(OutputKind::Softmax, &[1000.0, 1000.0, -1000.0]);
        assert_eq!(softmax, [0.5, 0.5, 0.0]);
        let sigmoid = probabilities(OutputKind::Sigmoid, &[0.0, 1000.0, -1000.0]);
        assert_eq!(sigmoid, [0.5, 1.0, 0.0]);
        assert_eq!(probabilities(OutputKind::Raw, &[3.0, -2.0]), [3.0, -2.0]);
    }

    #[test]
    fn the_first_of_equal_logits_wins() {
        assert_eq!(largest(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(largest(&[0.0]), 0);
    }
}
