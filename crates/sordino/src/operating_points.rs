//! Choosing at which scores findings are decided, and measuring findings.

use serde::{Deserialize, Serialize};
use sordino_graph::{OperatingPoint, OperatingPoints, OutputKind, Target, finding_score, findings};

use crate::Error;
use crate::measures::{Counts, Ranking};

/// What images are labelled with.
#[derive(Clone, Copy, Debug)]
pub enum ImageLabels<'a> {
    /// A class each.
    Classes(&'a [u16]),
    /// Several findings each.
    Findings {
        /// Findings of an image.
        columns: usize,
        /// Whether each is in the image, `[images, columns]`; `None` is not known.
        values: &'a [Option<bool>],
    },
}

impl<'a> ImageLabels<'a> {
    /// Number of images.
    pub fn len(self) -> usize {
        match self {
            Self::Classes(labels) => labels.len(),
            Self::Findings { columns, values } => values.len() / columns.max(1),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The class of every image; `None` for findings.
    pub fn classes(self) -> Option<&'a [u16]> {
        match self {
            Self::Classes(labels) => Some(labels),
            Self::Findings { .. } => None,
        }
    }
}

#[cfg(feature = "files")]
impl<'a> From<&'a sordino_data::Targets> for ImageLabels<'a> {
    fn from(targets: &'a sordino_data::Targets) -> Self {
        match targets {
            sordino_data::Targets::Classes(labels) => Self::Classes(labels),
            sordino_data::Targets::Findings(matrix) => Self::Findings {
                columns: matrix.columns(),
                values: matrix.values(),
            },
        }
    }
}

/// What labels say of each finding of a network, image by image; `None` is not known.
///
/// A class number labels a network with one finding: class 1 is the finding. `None` for networks without findings, and for class numbers of
/// images for a network with several findings, of which a class says nothing.
///
/// # Errors
/// [`Error::OtherFindings`] for labels of another number of findings than the network has.
pub fn labels_of_findings(
    output: OutputKind,
    classes: usize,
    labels: ImageLabels<'_>,
) -> Result<Option<Vec<Vec<Option<bool>>>>, Error> {
    let network = findings(output, classes).len();
    match labels {
        ImageLabels::Classes(labels) => {
            let label = |&label: &u16| (label <= 1).then_some(label == 1);
            let one = network == 1;
            Ok(one.then(|| vec![labels.iter().map(label).collect()]))
        }
        ImageLabels::Findings { .. } if network == 0 => Ok(None),
        ImageLabels::Findings { columns, values } if columns == network => {
            let column = |at| values.iter().skip(at).step_by(columns).copied().collect();
            Ok(Some((0..columns).map(column).collect()))
        }
        ImageLabels::Findings { columns, .. } => Err(Error::OtherFindings {
            network,
            labels: columns,
        }),
    }
}

/// Scores of each finding of a network, image by image.
///
/// # Shapes
/// `logits` is `[images, classes]`.
pub fn scores_of_findings(output: OutputKind, classes: usize, logits: &[f64]) -> Vec<Vec<f64>> {
    let scores = |class| {
        let rows = logits.chunks_exact(classes.max(1));
        rows.map(|row| finding_score(output, row, class)).collect()
    };
    findings(output, classes).into_iter().map(scores).collect()
}

/// Labels with what the network computes for the same images.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// What the logits stand for.
    pub output: OutputKind,
    /// Name of every class.
    pub classes: &'a [String],
    /// Logits, `[images, classes]`.
    pub logits: &'a [f64],
    /// What is known of each finding, image by image.
    pub labels: &'a [Vec<Option<bool>>],
}

/// How well a finding is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingMeasures {
    /// Name of the finding.
    pub name: String,
    /// Labelled images with the finding.
    pub positives: usize,
    /// Labelled images without it.
    pub negatives: usize,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Bounds of the area, 95 %, by bootstrap.
    pub auc_interval: (f64, f64),
    /// Average precision.
    pub average_precision: f64,
    /// The threshold of the decisions, where one was chosen.
    pub threshold: Option<f64>,
    /// Decisions against labels.
    pub counts: Option<Counts>,
    /// Share of the images with the finding that are decided so.
    pub sensitivity: Option<f64>,
    /// Share of the images without the finding that are decided so.
    pub specificity: Option<f64>,
    /// Mean of the two.
    pub balanced_accuracy: Option<f64>,
}

impl FindingMeasures {
    /// Takes the decisions from elsewhere.
    pub fn set_counts(&mut self, counts: Counts) {
        self.sensitivity = counts.sensitivity();
        self.specificity = counts.specificity();
        self.balanced_accuracy = counts.balanced_accuracy();
        self.counts = Some(counts);
    }
}

/// Measures every finding that some labelled images have and others have not.
pub fn measure_findings(
    found: Labelled<'_>,
    points: Option<&OperatingPoints>,
) -> Vec<FindingMeasures> {
    let classes = findings(found.output, found.classes.len());
    let scores = scores_of_findings(found.output, found.classes.len(), found.logits);
    let all = classes.into_iter().zip(&scores).zip(found.labels);
    all.filter_map(|((class, scores), labels)| {
        let ranking = Ranking::new(scores, labels)?;
        let point = points.and_then(|points| points.of(class));
        let mut measures = FindingMeasures {
            name: found.classes[class].clone(),
            positives: ranking.positives(),
            negatives: ranking.negatives(),
            auc: ranking.auc(),
            auc_interval: ranking.auc_interval(),
            average_precision: ranking.average_precision(),
            threshold: point.map(|point| point.threshold),
            counts: None,
            sensitivity: None,
            specificity: None,
            balanced_accuracy: None,
        };
        if let Some(point) = point {
            let decisions = scores.iter().map(|&score| point.decides(score));
            measures.set_counts(Counts::new(decisions, labels));
        }
        Some(measures)
    })
    .collect()
}

/// Chooses a threshold for every finding that some labelled images have and others have not, and calibrates its probabilities by Platt's
/// method on the same images.
///
/// # Errors
/// [`Error::NoFindings`] for networks and labels without, [`Error::NotCalibrated`] for a finding whose scores do not rise with it.
pub fn choose_operating_points(
    found: Labelled<'_>,
    target: Target,
    part: &str,
) -> Result<OperatingPoints, Error> {
    let classes = findings(found.output, found.classes.len());
    let scores = scores_of_findings(found.output, found.classes.len(), found.logits);
    let mut points = Vec::new();
    for ((class, scores), labels) in classes.into_iter().zip(&scores).zip(found.labels) {
        let Some(ranking) = Ranking::new(scores, labels) else {
            continue;
        };
        let threshold = match target {
            Target::Sensitivity(share) => ranking.threshold_of_sensitivity(share),
            Target::Specificity(share) => ranking.threshold_of_specificity(share),
        };
        let (slope, offset) = ranking.calibrate().ok_or_else(|| Error::NotCalibrated {
            finding: found.classes[class].clone(),
            auc: ranking.auc(),
        })?;
        let counts = Counts::new(scores.iter().map(|&score| score >= threshold), labels);
        points.push(OperatingPoint {
            class,
            threshold,
            slope,
            offset,
            positives: ranking.positives(),
            negatives: ranking.negatives(),
            sensitivity: counts.sensitivity().unwrap_or(0.0),
            specificity: counts.specificity().unwrap_or(0.0),
        });
    }
    if points.is_empty() {
        return Err(Error::NoFindings);
    }
    let points = OperatingPoints {
        part: part.to_owned(),
        images: found.logits.len() / found.classes.len().max(1),
        target,
        points,
    };
    points.validate(found.output, found.classes.len())?;
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_chosen_per_finding_and_measured() {
        let classes = ["a", "b", "c"].map(str::to_owned);
        let logits: Vec<f64> = (0..40)
            .flat_map(|i| [f64::from(i), f64::from(i % 7), 0.5])
            .collect();
        let labels = vec![
            (0..40).map(|i| Some(i >= 20)).collect(),
            (0..40).map(|i| (i != 3).then_some(i % 7 > 3)).collect(),
            vec![None; 40],
        ];
        let found = Labelled {
            output: OutputKind::Sigmoid,
            classes: &classes,
            logits: &logits,
            labels: &labels,
        };
        let points =
            choose_operating_points(found, Target::Sensitivity(0.95), "validation").unwrap();
        // The last finding has no labels.
        assert_eq!(points.points.len(), 2);
        assert_eq!((points.images, points.points[0].threshold), (40, 20.5));
        assert_eq!(points.points[0].sensitivity, 0.95);
        assert_eq!(points.points[1].positives + points.points[1].negatives, 39);
        let measures = measure_findings(found, Some(&points));
        assert_eq!(measures.len(), 2);
        assert_eq!((measures[0].auc, measures[1].auc), (1.0, 1.0));
        assert_eq!(measures[0].balanced_accuracy, Some(0.975));
        assert!(measure_findings(found, None)[0].counts.is_none());

        let softmax = Labelled {
            output: OutputKind::Softmax,
            ..found
        };
        let refused = choose_operating_points(softmax, Target::Specificity(0.9), "validation");
        assert!(matches!(refused, Err(Error::NoFindings)));
    }

    #[test]
    fn a_class_labels_one_finding() {
        let of = |output, classes, labels: &[u16]| {
            labels_of_findings(output, classes, ImageLabels::Classes(labels)).unwrap()
        };
        let labels = of(OutputKind::Softmax, 2, &[0, 1, 7]);
        assert_eq!(labels, Some(vec![vec![Some(false), Some(true), None]]));
        assert!(of(OutputKind::Sigmoid, 1, &[1]).is_some());
        assert!(of(OutputKind::Sigmoid, 2, &[1]).is_none());
        let scores = scores_of_findings(OutputKind::Softmax, 2, &[1.0, 3.0, 2.0, -1.0]);
        assert_eq!(scores, [[2.0, -3.0]]);
    }

    #[test]
    fn a_matrix_labels_as_many_findings_as_it_has_columns() {
        let (yes, no) = (Some(true), Some(false));
        let labels = ImageLabels::Findings {
            columns: 2,
            values: &[yes, None, no, yes],
        };
        assert_eq!((labels.len(), labels.classes()), (2, None));
        let of = |output, classes| labels_of_findings(output, classes, labels);
        let expected = vec![vec![yes, no], vec![None, yes]];
        assert_eq!(of(OutputKind::Sigmoid, 2).unwrap(), Some(expected));
        assert_eq!(of(OutputKind::Softmax, 5).unwrap(), None);
        for (output, classes, network) in [(OutputKind::Sigmoid, 3, 3), (OutputKind::Softmax, 2, 1)]
        {
            let message = of(output, classes).unwrap_err().to_string();
            let expected = format!("{network} finding(s)");
            assert!(message.contains(&expected), "{message}");
            assert!(message.contains("2 labels"), "{message}");
        }
    }
}
