//! Images with their predictions, and the confusion matrix.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::data_address::data_address;

/// Longest side of a sample's picture.
const LONGEST_SIDE: usize = 64;

/// Most images that a page shows.
const SAMPLES: usize = 24;

/// One image with its prediction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Position in the batch.
    pub index: u64,
    /// File name, if the image has one.
    pub name: Option<String>,
    /// The class it is labelled with, if it is.
    pub label: Option<String>,
    /// The class that was decrypted.
    pub predicted: String,
    /// The float network's class.
    pub plain: Option<String>,
    /// The clear integer engine's class.
    pub integer: Option<String>,
    /// The picture, as a PNG in a data address.
    pub picture: Option<String>,
}

impl Sample {
    /// Whether the prediction is not what it should be: the label, or the float network's class where there is none.
    pub fn is_wrong(&self) -> bool {
        let expected = self.label.as_ref().or(self.plain.as_ref());
        expected.is_some_and(|expected| *expected != self.predicted)
    }
}

/// The images that a page shows: the first errors, up to half of the places, then the first others.
pub fn choose_samples(expected: &[usize], predicted: &[usize]) -> Vec<usize> {
    let (wrong, right): (Vec<usize>, Vec<usize>) =
        (0..predicted.len()).partition(|&at| predicted[at] != expected[at]);
    let wrong = wrong.into_iter().take(SAMPLES / 2);
    let rest = SAMPLES - wrong.len();
    wrong.chain(right.into_iter().take(rest)).collect()
}

/// An image as a picture for [`Sample::picture`]: of a large image every n-th row and column.
///
/// `normalization` is the mean and the deviation of every channel that were taken from values from 0 (black) to 1. Three channels are red, green and blue; otherwise the first channel is shown.
///
/// # Shapes
/// `values` is `[channels, height, width]`.
///
/// # Errors
/// [`Error::Picture`] where `values` has another size, or none.
pub fn picture(
    (channels, height, width): (usize, usize, usize),
    normalization: (&[f64], &[f64]),
    values: &[f32],
) -> Result<String, Error> {
    let expected = [channels, height, width]
        .into_iter()
        .try_fold(1usize, usize::checked_mul);
    if values.is_empty() || expected != Some(values.len()) {
        return Err(Error::Picture {
            shape: (channels, height, width),
            found: values.len(),
        });
    }
    let stride = height.max(width).div_ceil(LONGEST_SIDE);
    let shown = if channels == 3 { 3 } else { 1 };
    let mut pixels = Vec::new();
    for row in (0..height).step_by(stride) {
        for column in (0..width).step_by(stride) {
            for channel in 0..shown {
                let value = values[(channel * height + row) * width + column];
                let (mean, deviation) = (normalization.0[channel], normalization.1[channel]);
                let shade = (f64::from(value) * deviation + mean) as f32;
                pixels.push((shade.clamp(0.0, 1.0) * 255.0).round() as u8);
            }
        }
    }
    let side = |pixels: usize| pixels.div_ceil(stride) as u32;
    Ok(data_address(side(width), side(height), shown, &pixels))
}

/// Confusion matrix: rows are labels, columns are predictions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfusionMatrix {
    /// What a row stands for: `label`, or `class of the float network`.
    pub rows: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Images by row and predicted class.
    pub counts: Vec<Vec<u64>>,
    /// Images per row.
    pub totals: Vec<u64>,
    /// Share of each row's images on the diagonal; `None` in a row without images.
    pub right: Vec<Option<f64>>,
    /// Share of all images on the diagonal; `None` without images.
    pub share: Option<f64>,
}

impl ConfusionMatrix {
    /// Counts pairs of an expected and a predicted class.
    ///
    /// # Errors
    /// [`Error::Class`] for a class without a name, or lists of different length.
    pub fn new(
        rows: &str,
        classes: &[String],
        expected: &[usize],
        predicted: &[usize],
    ) -> Result<Self, Error> {
        let size = classes.len();
        let largest = expected.iter().chain(predicted).copied().max();
        if expected.len() != predicted.len() || largest.is_some_and(|class| class >= size) {
            return Err(Error::Class {
                classes: size,
                largest: largest.unwrap_or(0),
                expected: expected.len(),
                predicted: predicted.len(),
            });
        }
        let mut counts = vec![vec![0; size]; size];
        for (&row, &column) in expected.iter().zip(predicted) {
            counts[row][column] += 1;
        }
        let totals: Vec<u64> = counts.iter().map(|row| row.iter().sum()).collect();
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let diagonal = (0..size).map(|class| counts[class][class]);
        Ok(Self {
            rows: rows.to_owned(),
            classes: classes.to_vec(),
            right: diagonal
                .clone()
                .zip(&totals)
                .map(|(part, &whole)| share(part, whole))
                .collect(),
            share: share(diagonal.sum(), totals.iter().sum()),
            counts,
            totals,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_address::read_back;

    #[test]
    fn pairs_are_counted_by_row_and_column() {
        let names = ["cat", "dog", "owl"].map(str::to_owned);
        let matrix =
            ConfusionMatrix::new("label", &names, &[0, 0, 1, 1, 0], &[0, 1, 1, 1, 0]).unwrap();
        assert_eq!(matrix.counts, [[2, 1, 0], [0, 2, 0], [0, 0, 0]]);
        assert_eq!(matrix.totals, [3, 2, 0]);
        assert_eq!(matrix.right, [Some(2.0 / 3.0), Some(1.0), None]);
        assert_eq!(matrix.share, Some(0.8));
        assert!(ConfusionMatrix::new("label", &names, &[3], &[0]).is_err());
        assert!(ConfusionMatrix::new("label", &names, &[1], &[]).is_err());
    }

    #[test]
    fn pictures_have_the_pixels_of_the_image() {
        let plain: (&[f64], &[f64]) = (&[0.0; 3], &[1.0; 3]);
        let read = |shape, values: &[f32]| read_back(&picture(shape, plain, values).unwrap());
        assert_eq!(
            read((1, 2, 3), &[0.0, 0.5, 1.0, 2.0, -1.0, 0.25]),
            (3, 2, vec![0, 128, 255, 255, 0, 64])
        );
        // Channels are read as planes and written pixel by pixel.
        let colors = [1.0, 0.0, 0.0, 0.2, 1.0, 0.0];
        assert_eq!(
            read((3, 1, 2), &colors),
            (2, 1, vec![255, 0, 255, 0, 51, 0])
        );
        // 130 columns: every third.
        let values: Vec<f32> = (0..130).map(|at| at as f32 / 255.0).collect();
        let pixels = (0..130).step_by(3).collect();
        assert_eq!(read((1, 1, 130), &values), (44, 1, pixels));
        assert!(picture((1, 2, 2), plain, &[0.0; 3]).is_err());
        assert!(picture((1, 0, 2), plain, &[]).is_err());
        assert!(picture((usize::MAX, 2, 2), plain, &[0.0; 4]).is_err());
    }

    #[test]
    fn a_sample_is_judged_by_its_label_first() {
        let sample = |label: Option<&str>, plain: &str| Sample {
            label: label.map(str::to_owned),
            plain: Some(plain.into()),
            predicted: "a".into(),
            ..Sample::default()
        };
        assert!(!sample(Some("a"), "b").is_wrong());
        assert!(sample(Some("b"), "a").is_wrong());
        assert!(sample(None, "b").is_wrong());
        assert!(!sample(None, "a").is_wrong());
    }
}
