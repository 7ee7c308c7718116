//! What the inputs of a network usually look like, so that images which do not belong are found before encryption.
//!
//! The statistic is of the coefficients of the orthonormal DCT-II of an image over rows, columns and channels. A pixel
//! counts by its place in the allowed range, from 0 to 1, whatever the normalization. Each coefficient has a mean and a
//! deviation; those of low frequency also have a covariance, which an inverted image breaks.
//!
//! What the scores find, and what passes them, was measured: `docs/notes/unusual-images.md`.

mod guard;
mod layout;
mod project;
mod record;
mod text;
mod transform;

pub use guard::{InputGuard, Score, Unusual};
pub use text::input_statistic_text;

use crate::{Error, Preprocess};
use layout::{coarse_count, group_count, score_count};
use serde::{Deserialize, Serialize};

/// What the inputs of a network usually look like, recorded on calibration images.
///
/// # Shapes
/// A group is one coefficient in images of up to 64 × 64 and 16 channels; in larger ones, neighbours of high frequency
/// share a group. Groups are in the order of an image: channel, row, column.
///
/// # Range
/// A pixel of 0 is the smallest allowed raw value, 1 the largest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputStatistic {
    /// Number of images.
    pub images: usize,
    /// Largest usual value of every score, in the order of [`InputGuard::scores`].
    pub limits: Vec<f64>,
    /// Mean of every group. This field and the next two are tensors of the model file, so not serialized.
    #[serde(skip)]
    pub mean: Vec<f32>,
    /// Standard deviation of every group around its mean.
    #[serde(skip)]
    pub deviation: Vec<f32>,
    /// Inverse of the Cholesky factor of the correlation of the coarse coefficients: the rows of the lower triangle.
    #[serde(skip)]
    pub whitening: Vec<f32>,
}

impl InputStatistic {
    /// Checks that the statistic fits the images of a network, and that its numbers can be used.
    ///
    /// # Errors
    /// [`Error::InputStatistic`] names the field that is wrong.
    pub fn validate(&self, preprocess: &Preprocess) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::InputStatistic { what });
        let shape = shape_of(preprocess);
        let (groups, coarse) = (group_count(shape), coarse_count(shape));
        if self.images == 0 {
            return wrong("it was recorded on 0 images, expected 1 at least".into());
        }
        for (name, expected, found) in [
            ("mean", groups, self.mean.len()),
            ("deviation", groups, self.deviation.len()),
            ("whitening", coarse * (coarse + 1) / 2, self.whitening.len()),
            ("limits", score_count(shape), self.limits.len()),
        ] {
            if expected != found {
                return wrong(format!("{name} has {found} numbers, expected {expected}"));
            }
        }
        let mut all = self
            .mean
            .iter()
            .chain(&self.deviation)
            .chain(&self.whitening);
        if let Some(value) = all.find(|value| !value.is_finite()) {
            return wrong(format!("it holds {value}, expected finite numbers"));
        }
        let diagonal = (0..coarse).map(|row| self.whitening[row * (row + 3) / 2]);
        let divisors = diagonal
            .chain(self.deviation.iter().copied())
            .map(f64::from);
        if let Some(value) = divisors
            .chain(self.limits.iter().copied())
            .find(|&value| !positive(value))
        {
            return wrong(format!(
                "a deviation, a limit or the diagonal of whitening holds {value}, expected positive numbers"
            ));
        }
        Ok(())
    }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

/// Channels, rows and columns of a prepared image.
fn shape_of(preprocess: &Preprocess) -> [usize; 3] {
    [preprocess.channels, preprocess.height, preprocess.width]
}
