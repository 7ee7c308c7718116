//! How good logits are against labels: what chooses the epoch.

use std::fmt;

use serde::{Deserialize, Serialize};
use sordino_data::{LabelMatrix, Targets};

use crate::forward::argmax;

/// What the score on the images held back is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Share of the images that are classified as labelled.
    Accuracy,
    /// Area under the ROC curve, the mean over the findings that some labelled images have and others have not.
    MeanAuc,
    /// Share of the known labels that the sign of the logit decides right, where no finding has images of both kinds.
    RightDecisions,
}

impl Measure {
    /// The measure that labels allow.
    pub(crate) fn of(labels: &Targets) -> Self {
        match labels {
            Targets::Classes(_) => Self::Accuracy,
            Targets::Findings(matrix) => {
                let mut counts = matrix.counts().into_iter();
                match counts.any(|count| count.present > 0 && count.absent > 0) {
                    true => Self::MeanAuc,
                    false => Self::RightDecisions,
                }
            }
        }
    }

    /// The name of its field in a model file's record of the training, and in a line of metrics.
    pub fn field(self) -> &'static str {
        match self {
            Self::Accuracy => "validation_accuracy",
            Self::MeanAuc => "validation_auc",
            Self::RightDecisions => "validation_decisions",
        }
    }

    /// The score of logits.
    ///
    /// # Shapes
    /// `logits` is `[labels.len(), classes]`.
    pub(crate) fn score(self, logits: &[f32], labels: &Targets) -> f64 {
        match (self, labels) {
            (Self::MeanAuc, Targets::Findings(matrix)) => mean_auc(logits, matrix),
            _ => count_right(logits, labels).share(),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Accuracy => "accuracy",
            Self::MeanAuc => "mean AUC",
            Self::RightDecisions => "right decisions",
        })
    }
}

/// Right answers among those that labels can judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) right: usize,
    /// Images with a class, or known findings.
    pub(crate) judged: usize,
}

impl Right {
    pub(crate) fn add(&mut self, other: Self) {
        self.right += other.right;
        self.judged += other.judged;
    }

    /// 0 where nothing is known.
    pub(crate) fn share(self) -> f64 {
        self.right as f64 / self.judged.max(1) as f64
    }
}

/// Images whose greatest logit is their class's, or findings whose logit is positive where they are present and nowhere else.
pub(crate) fn count_right(logits: &[f32], labels: &Targets) -> Right {
    match labels {
        Targets::Classes(labels) => {
            let classes = logits.len() / labels.len().max(1);
            let rows = logits.chunks_exact(classes.max(1)).zip(labels);
            Right {
                right: rows
                    .filter(|(row, label)| argmax(row) == usize::from(**label))
                    .count(),
                judged: labels.len(),
            }
        }
        Targets::Findings(matrix) => {
            let known = logits.iter().zip(matrix.values());
            let known = known.filter_map(|(logit, label)| Some((*logit > 0.0, (*label)?)));
            known.fold(Right::default(), |sum, (decided, label)| Right {
                right: sum.right + usize::from(decided == label),
                judged: sum.judged + 1,
            })
        }
    }
}

fn mean_auc(logits: &[f32], matrix: &LabelMatrix) -> f64 {
    let columns = matrix.columns();
    let areas = (0..columns).filter_map(|column| {
        let scores = logits.iter().skip(column).step_by(columns);
        let labelled = scores.zip(matrix.column(column));
        auc(labelled
            .filter_map(|(&score, label)| Some((score, label?)))
            .collect())
    });
    let areas: Vec<f64> = areas.collect();
    areas.iter().sum::<f64>() / areas.len().max(1) as f64
}

/// The probability that an image with a finding scores higher than one without it, a tie counting half; `None` without images of both.
fn auc(mut images: Vec<(f32, bool)>) -> Option<f64> {
    images.sort_by(|one, two| one.0.total_cmp(&two.0));
    let (mut below, mut with, mut pairs) = (0.0, 0.0, 0.0);
    for ties in images.chunk_by(|one, two| one.0 == two.0) {
        let present = ties.iter().filter(|image| image.1).count() as f64;
        let absent = ties.len() as f64 - present;
        pairs += present * (below + 0.5 * absent);
        below += absent;
        with += present;
    }
    (below > 0.0 && with > 0.0).then(|| pairs / (below * with))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(columns: usize, labels: &[i8]) -> Targets {
        let values = labels.iter();
        let values = values.map(|&label| (label >= 0).then_some(label == 1));
        Targets::Findings(LabelMatrix::new(columns, values.collect(), "test").unwrap())
    }

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let images = |scores: &[(f32, u8)]| scores.iter().map(|s| (s.0, s.1 == 1)).collect();
        let area = auc(images(&[(1.0, 1), (0.5, 0), (0.7, 1), (0.7, 0), (0.6, 1)]));
        // Of 3 x 2 pairs 4 are in order, one is a tie and one is not.
        assert_eq!(area, Some(4.5 / 6.0));
        assert_eq!(auc(images(&[(1.0, 1), (0.5, 1)])), None);
    }

    #[test]
    fn each_kind_of_labels_has_its_score() {
        let classes = Targets::Classes(vec![1, 0, 1]);
        assert_eq!(Measure::of(&classes), Measure::Accuracy);
        let logits = [0.0, 1.0, 0.0, 2.0, -1.0, 0.0];
        assert_eq!(Measure::Accuracy.score(&logits, &classes), 2.0 / 3.0);

        let labels = findings(2, &[1, 1, 0, -1, 0, 1]);
        let logits = [3.0, -1.0, 1.0, -5.0, -2.0, 4.0];
        // The second finding has no image without it.
        assert_eq!(Measure::of(&labels), Measure::MeanAuc);
        assert_eq!(Measure::MeanAuc.score(&logits, &labels), 1.0);
        let expected = Right {
            right: 3,
            judged: 5,
        };
        assert_eq!(count_right(&logits, &labels), expected);

        let all = findings(1, &[1, 1]);
        assert_eq!(Measure::of(&all), Measure::RightDecisions);
        assert_eq!(Measure::RightDecisions.score(&[1.0, -1.0], &all), 0.5);
        assert_eq!(
            count_right(&[1.0], &findings(1, &[-1])).share(),
            0.0,
            "nothing known"
        );
    }
}
