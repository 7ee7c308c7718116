//! Findings of decrypted images: decisions at operating points, calibrated probabilities, margins.

use sordino_graph::{OperatingPoint, OutputKind, finding_score, findings, logits_of_a_score};

use crate::Predictions;

/// Most by which a released logit differs from that of the integer network, in units of rounding: half a unit by its rounding, and a
/// quarter by noise, of which two bits stay hidden.
const WORST_UNITS: f64 = 0.75;

/// What was found of one finding in one image. It follows from the rounded logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Probability: calibrated where there is an operating point, else the network's own.
    pub probability: f64,
    /// What the operating point says; `None` without one.
    pub at_point: Option<DecisionAtPoint>,
}

/// A decision at an operating point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecisionAtPoint {
    /// Whether the image is decided to have the finding.
    pub found: bool,
    /// Score less threshold, in units of a logit.
    pub margin: f64,
    /// Whether the margin is so small that rounding or noise could have decided.
    pub close: bool,
}

impl Predictions {
    /// Classes that are decided one by one: the findings of a network with several, or of one that has an operating point.
    pub fn findings(&self) -> Vec<usize> {
        let found = findings(self.output_kind(), self.class_names().len());
        match found.len() > 1 || self.operating_points().is_some() {
            true => found,
            false => Vec::new(),
        }
    }

    /// Whether the network has several findings, which an image may have together.
    pub fn has_several_findings(&self) -> bool {
        self.output_kind() == OutputKind::Sigmoid && self.class_names().len() > 1
    }

    /// Largest margin that is due to rounding and noise.
    pub fn close_margin(&self) -> f64 {
        close_margin(self.output_kind(), self.released_bits())
    }

    /// What was found of a finding in an image.
    ///
    /// # Panics
    /// If there is no such image, or the class is none of [`findings`](Self::findings).
    pub fn decision(&self, image: usize, class: usize) -> Decision {
        let width = self.class_names().len();
        let logits = &self.logits()[image * width..(image + 1) * width];
        let score = finding_score(self.output_kind(), logits, class);
        let point = self.operating_points().and_then(|points| points.of(class));
        Decision {
            probability: point.map_or_else(
                || self.probabilities()[image * width + class],
                |point| point.probability(score),
            ),
            at_point: point.map(|point| decide(point, score, self.close_margin())),
        }
    }

    /// For every finding with an operating point: its class, images decided to have it, and images where rounding or noise could have decided.
    pub fn decided(&self) -> Vec<(usize, usize, usize)> {
        let points = self.operating_points().map_or(&[][..], |p| &p.points);
        let counts = |point: &OperatingPoint| {
            let all =
                (0..self.len()).filter_map(|image| self.decision(image, point.class).at_point);
            let add = |(found, close), decision: DecisionAtPoint| {
                (
                    found + usize::from(decision.found),
                    close + usize::from(decision.close),
                )
            };
            let (found, close) = all.fold((0, 0), add);
            (point.class, found, close)
        };
        points.iter().map(counts).collect()
    }
}

fn decide(point: &OperatingPoint, score: f64, close_margin: f64) -> DecisionAtPoint {
    let margin = score - point.threshold;
    DecisionAtPoint {
        found: point.decides(score),
        margin,
        close: margin.abs() <= close_margin,
    }
}

/// Largest difference of a finding's score from that of the integer network that rounding to `released_bits` and noise explain.
pub fn close_margin(output: OutputKind, released_bits: i32) -> f64 {
    WORST_UNITS * f64::from(logits_of_a_score(output)) * f64::from(-released_bits).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_within_rounding_is_close() {
        // Units of 1/16; two logits in a score.
        assert_eq!(close_margin(OutputKind::Sigmoid, 4), 0.046875);
        assert_eq!(close_margin(OutputKind::Softmax, 4), 0.09375);
        let point = OperatingPoint {
            class: 0,
            threshold: 1.0,
            slope: 1.0,
            offset: 0.0,
            positives: 1,
            negatives: 1,
            sensitivity: 1.0,
            specificity: 1.0,
        };
        let decided = |score| {
            let decision = decide(&point, score, 0.046875);
            (decision.found, decision.close)
        };
        assert_eq!(decided(1.0), (true, true));
        assert_eq!(decided(0.9375), (false, false));
        assert_eq!(decided(1.0625), (true, false));
    }
}
