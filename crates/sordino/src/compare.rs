//! Comparing predictions with the networks they should agree with.

use serde::Serialize;
use sordino_client::Error as ClientError;
use sordino_graph::{Model, OperatingPoints, OutputKind, execute, findings};
use sordino_plan::ServerPlan;
use sordino_runtime::evaluate_clear;

use crate::operating_points::{ImageLabels, Labelled, labels_of_findings, measure_findings};
use crate::views::views_of;
use crate::{Error, FindingMeasures};

/// Least share of images whose predictions have the class of the clear integer engine.
pub const LEAST_AGREEMENT: f64 = 0.999;

/// Least share of images whose predictions, or whose classes by the integer network, are those of the float network.
pub const LEAST_AGREEMENT_FLOAT: f64 = 0.995;

/// Whether a share of the images is at least `least`, the number of the others rounded up: rounding may tie the scores of
/// one image in a small set.
pub fn is_enough(share: f64, least: f64, images: usize) -> bool {
    let others = ((1.0 - share) * images as f64).round();
    // A little less, as 1 - 0.999 is a little more than 0.001.
    others <= ((1.0 - least) * images as f64 - 1e-6).ceil()
}

/// Logits of the same images from the float network and from the plan's integers in the clear.
///
/// # Shapes
/// `[images, classes]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    classes: usize,
    output: OutputKind,
    operating_points: Option<OperatingPoints>,
    float: Vec<f64>,
    integer: Vec<f64>,
}

/// How predictions agree with a [`Reference`], and with labels where there are any. Shares are from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Images compared.
    pub images: usize,
    /// Share of images with the class of the clear integer engine.
    pub agreement: f64,
    /// Share of images with the class of the float network.
    pub agreement_float: f64,
    /// Share of images that the float network classifies as labelled.
    pub accuracy_plain: Option<f64>,
    /// Share of images that the clear integer engine classifies as labelled.
    pub accuracy_integer: Option<f64>,
    /// Share of images whose predictions are as labelled.
    pub accuracy_encrypted: Option<f64>,
}

impl Reference {
    /// Runs both networks on prepared images.
    ///
    /// # Shapes
    /// `images` is `[count, C, H, W]`.
    ///
    /// # Errors
    /// [`Error::WrongModel`] for a plan of another model, and those of the two engines.
    pub fn compute(model: &Model, plan: &ServerPlan, images: &[f32]) -> Result<Self, Error> {
        Self::compute_views(model, plan, images, 1)
    }

    /// The same for the mean of so many views of each image, as the client encrypts them.
    ///
    /// # Errors
    /// As [`compute`](Self::compute).
    pub fn compute_views(
        model: &Model,
        plan: &ServerPlan,
        images: &[f32],
        views: usize,
    ) -> Result<Self, Error> {
        let (expected, found) = (plan.model(), model.digest()?);
        if expected != found {
            return Err(Error::WrongModel {
                expected: sordino_protocol::shorten(expected),
                found: sordino_protocol::shorten(found),
            });
        }
        let count = images.len() / plan.input().features.max(1);
        let views = views_of(model, views, images)?;
        let mut float = vec![0.0; count * plan.output().logits];
        let mut integer = float.clone();
        let share = 1.0 / views.len() as f64;
        for images in &views {
            let logits = execute(&model.graph, images, count)?;
            let logits = logits.into_iter().map(f64::from);
            for (mean, logit) in float.iter_mut().zip(logits) {
                *mean += logit * share;
            }
            for (mean, logit) in integer.iter_mut().zip(evaluate_clear(plan, images, count)?) {
                *mean += logit * share;
            }
        }
        Ok(Self {
            classes: plan.output().logits,
            float,
            integer,
            output: model.output,
            operating_points: model.operating_points.clone(),
        })
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Logits of the float network.
    pub fn float(&self) -> &[f64] {
        &self.float
    }

    /// Logits of the clear integer engine.
    pub fn integer(&self) -> &[f64] {
        &self.integer
    }

    /// Measures the findings of the clear integer engine against labels, with decisions at the model's operating points. Empty for networks
    /// and labels without findings.
    ///
    /// # Errors
    /// [`Error::OtherFindings`] for labels of another number of findings than the network has.
    pub fn measure_findings(&self, labels: ImageLabels<'_>) -> Result<Vec<FindingMeasures>, Error> {
        let labels = labels_of_findings(self.output, self.classes, labels)?;
        let names: Vec<String> = (0..self.classes).map(|class| class.to_string()).collect();
        Ok(labels.map_or_else(Vec::new, |labels| {
            let found = Labelled {
                output: self.output,
                classes: &names,
                logits: &self.integer,
                labels: &labels,
            };
            measure_findings(found, self.operating_points.as_ref())
        }))
    }

    /// Share of the findings of all images that the clear integer engine decides as the float network does, at the model's operating points
    /// or else at a probability of one half; `None` for networks without several findings, which have classes to compare.
    pub fn agreement_of_decisions(&self) -> Option<f64> {
        let classes = findings(self.output, self.classes);
        if classes.len() < 2 {
            return None;
        }
        let points = self.operating_points.as_ref();
        let threshold = |class| points.and_then(|points| points.of(class));
        let thresholds: Vec<f64> = classes
            .into_iter()
            .map(|class| threshold(class).map_or(0.0, |point| point.threshold))
            .collect();
        // The logits of sigmoids are the scores.
        let thresholds = thresholds.iter().cycle();
        let pairs = self.float.iter().zip(&self.integer).zip(thresholds);
        let same = pairs.filter(|((float, integer), threshold)| {
            (*float >= threshold) == (*integer >= threshold)
        });
        Some(same.count() as f64 / self.float.len().max(1) as f64)
    }

    /// Compares predicted classes.
    ///
    /// # Errors
    /// [`ClientError::ListLength`] for classes or labels that are not one per image.
    pub fn compare(&self, classes: &[usize], labels: Option<&[u16]>) -> Result<Comparison, Error> {
        let float = classes_of(&self.float, self.classes);
        let integer = classes_of(&self.integer, self.classes);
        let images = float.len();
        for (what, found) in [
            ("predictions", classes.len()),
            ("labels", labels.map_or(images, <[u16]>::len)),
        ] {
            if found != images {
                let expected = images;
                return Err(ClientError::ListLength {
                    what,
                    expected,
                    found,
                }
                .into());
            }
        }
        let labels: Option<Vec<usize>> =
            labels.map(|labels| labels.iter().map(|&label| usize::from(label)).collect());
        let accuracy = |classes: &[usize]| labels.as_deref().map(|labels| share(classes, labels));
        Ok(Comparison {
            images,
            agreement: share(classes, &integer),
            agreement_float: share(classes, &float),
            accuracy_plain: accuracy(&float),
            accuracy_integer: accuracy(&integer),
            accuracy_encrypted: accuracy(classes),
        })
    }
}

/// Class with the largest logit of every image, the first of several.
///
/// # Panics
/// If `width` is 0.
pub fn classes_of(logits: &[f64], width: usize) -> Vec<usize> {
    let largest = |row: &[f64]| {
        let better = |best: usize, class: usize| if row[class] > row[best] { class } else { best };
        (1..row.len()).fold(0, better)
    };
    logits.chunks_exact(width).map(largest).collect()
}

/// Share of labelled, prepared images that the float network classifies as labelled.
///
/// # Shapes
/// `images` is `[labels.len(), C, H, W]`.
///
/// # Errors
/// [`Error::Graph`] for images that do not fit the network.
pub fn float_accuracy(model: &Model, images: &[f32], labels: &[u16]) -> Result<f64, Error> {
    let logits = execute(&model.graph, images, labels.len())?;
    let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
    let labels: Vec<usize> = labels.iter().map(|&label| usize::from(label)).collect();
    Ok(share(&classes_of(&logits, model.classes.len()), &labels))
}

/// Largest difference of two lists of logits.
pub fn worst_difference(left: &[f64], right: &[f64]) -> f64 {
    left.iter()
        .zip(right)
        .map(|(l, r)| (l - r).abs())
        .fold(0.0, f64::max)
}

fn share(found: &[usize], expected: &[usize]) -> f64 {
    let equal = found
        .iter()
        .zip(expected)
        .filter(|(found, expected)| found == expected)
        .count();
    equal as f64 / found.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_image_of_a_small_set_may_differ() {
        assert!(is_enough(1.0 - 1.0 / 300.0, 0.999, 300));
        assert!(!is_enough(1.0 - 2.0 / 300.0, 0.999, 300));
        assert!(is_enough(0.999, 0.999, 10_000));
        assert!(!is_enough(0.9989, 0.999, 10_000));
    }

    #[test]
    fn shares_and_differences() {
        let reference = Reference {
            classes: 2,
            output: OutputKind::Softmax,
            operating_points: None,
            float: vec![1.0, 0.0, 0.0, 1.0, 2.0, 2.0, 5.0, 6.0],
            integer: vec![1.0, 0.0, 1.0, 0.0, 2.0, 2.0, 5.0, 6.0],
        };
        let comparison = reference
            .compare(&[0, 0, 0, 0], Some(&[0, 1, 0, 1]))
            .unwrap();
        assert_eq!(comparison.agreement, 0.75);
        assert_eq!(comparison.agreement_float, 0.5);
        assert_eq!(comparison.accuracy_plain, Some(1.0));
        assert_eq!(comparison.accuracy_integer, Some(0.75));
        assert_eq!(comparison.accuracy_encrypted, Some(0.5));
        let measures = reference
            .measure_findings(ImageLabels::Classes(&[0, 1, 0, 1]))
            .unwrap();
        // Differences of the integer logits: -1, -1, 0 and 1.
        assert_eq!(measures[0].auc, 0.625);
        assert_eq!(measures[0].balanced_accuracy, None);
        assert_eq!(reference.agreement_of_decisions(), None);
        let several = Reference {
            output: OutputKind::Sigmoid,
            integer: vec![1.0, 0.5, -1.0, 0.0, 2.0, 2.0, 5.0, -0.5],
            ..reference.clone()
        };
        // The first label of the second image, and the second one of the last.
        assert_eq!(several.agreement_of_decisions(), Some(0.75));
        assert!(reference.compare(&[0; 3], None).is_err());
        assert!(reference.compare(&[0; 4], Some(&[0; 5])).is_err());
        assert_eq!(
            worst_difference(reference.float(), reference.integer()),
            1.0
        );
    }
}
