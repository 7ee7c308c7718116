//! Findings of a network, and the operating points at which their scores become decisions.
//!
//! A finding is a label that is there or not, apart from all others: each logit of a network with sigmoids, or the second of two classes.

use crate::{Error, OutputKind};
use serde::{Deserialize, Serialize};

/// Largest absolute value of a threshold and of the numbers of a calibration.
const MOST: f64 = 1e9;

/// Longest name of a part of a data set, in bytes.
const MAX_PART: usize = 64;

/// Classes of a network that are findings: all of a network with sigmoids, the second of two classes of a softmax, none of any other.
pub fn findings(output: OutputKind, classes: usize) -> Vec<usize> {
    match (output, classes) {
        (OutputKind::Sigmoid, classes) => (0..classes).collect(),
        (OutputKind::Softmax, 2) => vec![1],
        _ => Vec::new(),
    }
}

/// Score of a finding: its logit, or for the second of two classes the difference of the logits. Its sigmoid is the network's probability.
///
/// # Panics
/// If the network has no such finding.
pub fn finding_score(output: OutputKind, logits: &[f64], class: usize) -> f64 {
    match output {
        OutputKind::Softmax => logits[class] - logits[1 - class],
        OutputKind::Sigmoid | OutputKind::Raw => logits[class],
    }
}

/// Logits that a finding's score is made of, each with its own error.
pub fn logits_of_a_score(output: OutputKind) -> u8 {
    match output {
        OutputKind::Softmax => 2,
        OutputKind::Sigmoid | OutputKind::Raw => 1,
    }
}

/// What operating points were asked to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// At least this share of the images with the finding is decided to have it.
    Sensitivity(f64),
    /// At least this share of the images without the finding is decided not to have it.
    Specificity(f64),
}

/// How one finding's score becomes a decision and a probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingPoint {
    /// The class.
    pub class: usize,
    /// Least score that is decided to be the finding.
    pub threshold: f64,
    /// Factor of the score in the calibrated probability; positive.
    pub slope: f64,
    /// What is added to it.
    pub offset: f64,
    /// Images with the finding that the point was chosen on.
    pub positives: usize,
    /// Images without it.
    pub negatives: usize,
    /// Share of the images with the finding that the float network decides to have it, on the same images.
    pub sensitivity: f64,
    /// Share of the images without the finding that the float network decides not to have it, on the same images.
    pub specificity: f64,
}

impl OperatingPoint {
    /// Whether a score is decided to be the finding.
    pub fn decides(&self, score: f64) -> bool {
        score >= self.threshold
    }

    /// The calibrated probability of a score.
    pub fn probability(&self, score: f64) -> f64 {
        1.0 / (1.0 + (-(self.slope * score + self.offset)).exp())
    }
}

/// The operating points of a network's findings, in the order of their classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingPoints {
    /// Part of a data set that they were chosen on.
    pub part: String,
    /// Images of the part.
    pub images: usize,
    /// What was asked for.
    pub target: Target,
    /// The points.
    pub points: Vec<OperatingPoint>,
}

impl OperatingPoints {
    /// The point of a class.
    pub fn of(&self, class: usize) -> Option<&OperatingPoint> {
        self.points.iter().find(|point| point.class == class)
    }

    /// Checks that the points are of a network's findings.
    ///
    /// # Errors
    /// [`Error::OperatingPoints`].
    pub fn validate(&self, output: OutputKind, classes: usize) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::OperatingPoints { what });
        if self.part.len() > MAX_PART || self.part.chars().any(char::is_control) {
            return wrong(format!(
                "the name of their part has control characters or more than {MAX_PART} bytes"
            ));
        }
        let (Target::Sensitivity(share) | Target::Specificity(share)) = self.target;
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        if !is_share(share) {
            return wrong(format!("expected a target from 0 to 1, found {share}"));
        }
        let in_order = self.points.is_sorted_by(|one, two| one.class < two.class);
        if self.points.is_empty() || !in_order {
            return wrong("expected one or more, in the order of their classes".to_owned());
        }
        let known = findings(output, classes);
        for point in &self.points {
            let class = point.class;
            if !known.contains(&class) {
                return wrong(format!("class {class} is no finding of this network"));
            }
            let numbers = [point.threshold, point.slope, point.offset];
            let usable = numbers.iter().all(|x| x.abs() <= MOST) && point.slope > 0.0;
            if !usable {
                return wrong(format!(
                    "expected a finite threshold and calibration with a positive slope for class {class}, found {numbers:?}"
                ));
            }
            if !(is_share(point.sensitivity) && is_share(point.specificity)) {
                return wrong(format!(
                    "expected sensitivity and specificity from 0 to 1 for class {class}, found {} and {}",
                    point.sensitivity, point.specificity
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(class: usize) -> OperatingPoint {
        OperatingPoint {
            class,
            threshold: 0.5,
            slope: 2.0,
            offset: -1.0,
            positives: 3,
            negatives: 4,
            sensitivity: 1.0,
            specificity: 0.5,
        }
    }

    fn points(points: Vec<OperatingPoint>) -> OperatingPoints {
        OperatingPoints {
            part: "validation".into(),
            images: 7,
            target: Target::Sensitivity(0.9),
            points,
        }
    }

    #[test]
    fn scores_decide_and_are_calibrated() {
        assert_eq!(findings(OutputKind::Sigmoid, 3), [0, 1, 2]);
        assert_eq!(findings(OutputKind::Softmax, 2), [1]);
        assert!(findings(OutputKind::Softmax, 3).is_empty());
        assert!(findings(OutputKind::Raw, 2).is_empty());
        assert_eq!(finding_score(OutputKind::Softmax, &[1.0, 3.5], 1), 2.5);
        assert_eq!(finding_score(OutputKind::Sigmoid, &[1.0, 3.5], 0), 1.0);
        let point = point(0);
        assert!(point.decides(0.5) && !point.decides(0.49));
        assert_eq!(point.probability(0.5), 0.5);
    }

    #[test]
    fn points_of_another_network_are_refused() {
        let good = points(vec![point(0), point(2)]);
        assert!(good.validate(OutputKind::Sigmoid, 3).is_ok());
        assert!(good.validate(OutputKind::Sigmoid, 2).is_err());
        assert!(good.validate(OutputKind::Softmax, 2).is_err());
        let wrong = [
            points(vec![]),
            points(vec![point(1), point(1)]),
            points(vec![OperatingPoint {
                threshold: f64::NAN,
                ..point(0)
            }]),
            points(vec![OperatingPoint {
                slope: 0.0,
                ..point(0)
            }]),
            points(vec![OperatingPoint {
                sensitivity: 1.5,
                ..point(0)
            }]),
            OperatingPoints {
                part: "\u{7}".into(),
                ..good.clone()
            },
            OperatingPoints {
                target: Target::Specificity(2.0),
                ..good
            },
        ];
        for wrong in wrong {
            assert!(wrong.validate(OutputKind::Sigmoid, 3).is_err(), "{wrong:?}");
        }
    }
}
