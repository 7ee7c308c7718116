//! Rare classes and findings: what they weigh in the loss, and how often their images are drawn.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sordino_data::{LabelMatrix, Targets};

use crate::Error;

/// Largest weight that [`ClassWeights::Balanced`] gives.
pub const MOST_BALANCED_WEIGHT: f64 = 20.0;

/// Bounds of weights that are given.
const GIVEN: std::ops::RangeInclusive<f64> = 1e-3..=1e3;

/// What the labels of a class or finding weigh in the loss. Soft targets of a teacher are not weighted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// All the same.
    #[default]
    None,
    /// Classes: the inverse of their frequency in the training images, with a mean over these of 1. Findings: images with the finding
    /// weigh as much as those without it together, that is negatives over positives each. At most [`MOST_BALANCED_WEIGHT`].
    Balanced,
    /// One weight for the images of each class, or for the images with each finding; those without it weigh 1.
    #[serde(untagged)]
    Given(Vec<f64>),
}

impl FromStr for ClassWeights {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "none" => return Ok(Self::None),
            "balanced" => return Ok(Self::Balanced),
            _ => {}
        }
        let weights: Result<_, _> = text.split(',').map(|part| part.trim().parse()).collect();
        let weights = Self::Given(weights.map_err(|_| wrong(format!("{text:?}")))?);
        weights.check()?;
        Ok(weights)
    }
}

fn wrong(found: String) -> Error {
    Error::Config {
        field: "class_weights",
        found,
        expected: "none, balanced, or a list with a number from 0.001 to 1000 for each class or finding",
    }
}

impl ClassWeights {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Refuses weights out of bounds.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self::Given(weights) = self else {
            return Ok(());
        };
        let outside = weights.iter().find(|weight| !GIVEN.contains(weight));
        match (outside, weights.is_empty()) {
            (Some(weight), _) => Err(wrong(weight.to_string())),
            (None, true) => Err(wrong("an empty list".to_owned())),
            (None, false) => Ok(()),
        }
    }

    /// Refuses a list of another length than the number of classes or findings.
    pub(crate) fn check_number(&self, classes: usize) -> Result<(), Error> {
        match self {
            Self::Given(weights) if weights.len() != classes => {
                let found = weights.len();
                Err(wrong(format!("a list of {found} for {classes}")))
            }
            _ => Ok(()),
        }
    }

    /// The weight of each class, or of the images with each finding, by the labels of the training images.
    pub(crate) fn of(&self, labels: &Targets, classes: usize) -> Vec<f64> {
        match (self, labels) {
            (Self::None, _) => vec![1.0; classes],
            (Self::Given(weights), _) => weights.clone(),
            (Self::Balanced, Targets::Classes(labels)) => {
                let mut counts = vec![0_usize; classes];
                labels.iter().for_each(|&l| counts[usize::from(l)] += 1);
                let present = counts.iter().filter(|&&count| count > 0).count();
                let usual = labels.len() as f64 / present.max(1) as f64;
                counts.iter().map(|&count| ratio(usual, count)).collect()
            }
            (Self::Balanced, Targets::Findings(matrix)) => {
                let counts = matrix.counts().into_iter();
                let weight = |count: sordino_data::FindingCounts| match count.absent {
                    0 => 1.0,
                    absent => ratio(absent as f64, count.present),
                };
                counts.map(weight).collect()
            }
        }
    }
}

/// A balanced weight; 1 for what no image has.
fn ratio(usual: f64, count: usize) -> f64 {
    match count {
        0 => 1.0,
        count => (usual / count as f64).min(MOST_BALANCED_WEIGHT),
    }
}

/// Images by what is drawn equally often: those of each class, or those with each finding and those with none.
///
/// `images` are positions in `labels`. A group without images is left out.
pub(crate) fn groups(labels: &Targets, images: &[usize]) -> Vec<Vec<usize>> {
    let mut groups = match labels {
        Targets::Classes(labels) => {
            let classes = labels.iter().max().map_or(0, |&most| usize::from(most) + 1);
            let mut groups = vec![Vec::new(); classes];
            for &image in images {
                groups[usize::from(labels[image])].push(image);
            }
            groups
        }
        Targets::Findings(matrix) => of_findings(matrix, images),
    };
    groups.retain(|group| !group.is_empty());
    groups
}

fn of_findings(matrix: &LabelMatrix, images: &[usize]) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new(); matrix.columns() + 1];
    for &image in images {
        let mut none = true;
        for (group, label) in groups.iter_mut().zip(matrix.row(image)) {
            if *label == Some(true) {
                group.push(image);
                none = false;
            }
        }
        if none {
            groups[matrix.columns()].push(image);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: &[[i8; 2]]) -> Targets {
        let values = rows.as_flattened().iter();
        let values = values.map(|&value| (value >= 0).then_some(value == 1));
        Targets::Findings(LabelMatrix::new(2, values.collect(), "test").unwrap())
    }

    #[test]
    fn balanced_weights_are_inverse_frequencies_with_a_cap() {
        let classes = Targets::Classes([vec![0; 60], vec![1; 39], vec![3; 1]].concat());
        let weights = ClassWeights::Balanced.of(&classes, 4);
        assert!((weights[0] - 100.0 / 180.0).abs() < 1e-12, "{weights:?}");
        assert_eq!(weights[2..], [1.0, MOST_BALANCED_WEIGHT]);
        // Three without, one with and one unknown; all with.
        let findings = matrix(&[[0, 1], [0, 1], [1, -1], [0, 1], [-1, 1]]);
        assert_eq!(ClassWeights::Balanced.of(&findings, 2), [3.0, 1.0]);
        assert_eq!(ClassWeights::None.of(&findings, 2), [1.0; 2]);
        let given = ClassWeights::Given(vec![2.0, 0.5]);
        assert_eq!(given.of(&findings, 2), [2.0, 0.5]);
        assert!(given.check_number(2).is_ok() && given.check_number(3).is_err());
    }

    #[test]
    fn weights_are_written_as_a_name_or_a_list() {
        for (json, text, weights) in [
            ("\"none\"", "none", ClassWeights::None),
            ("\"balanced\"", "balanced", ClassWeights::Balanced),
            ("[1.0,4.5]", "1, 4.5", ClassWeights::Given(vec![1.0, 4.5])),
        ] {
            assert_eq!(serde_json::to_string(&weights).unwrap(), json);
            assert_eq!(serde_json::from_str::<ClassWeights>(json).unwrap(), weights);
            assert_eq!(text.parse::<ClassWeights>().unwrap(), weights);
        }
        for text in ["", "other", "1,,2", "0", "-1,2", "nan", "1e9"] {
            let message = text.parse::<ClassWeights>().unwrap_err().to_string();
            assert!(message.contains("class_weights"), "{message}");
        }
        assert!(ClassWeights::Given(Vec::new()).check().is_err());
    }

    #[test]
    fn images_are_grouped_by_class_or_finding() {
        let classes = Targets::Classes(vec![2, 0, 2, 0, 2]);
        assert_eq!(groups(&classes, &[4, 1, 0]), [vec![1], vec![4, 0]]);
        let findings = matrix(&[[1, 1], [0, -1], [0, 1], [1, 0], [-1, -1]]);
        assert_eq!(
            groups(&findings, &[0, 1, 2, 3, 4]),
            [vec![0, 3], vec![0, 2], vec![1, 4]]
        );
    }
}
