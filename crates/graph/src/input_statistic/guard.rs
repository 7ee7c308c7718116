//! Finding images that do not belong, and drawing some that do.

use super::layout::{Layout, Part};
use super::transform::Transform;
use super::{InputStatistic, shape_of};
use crate::{Error, Preprocess};
use rand_chacha::rand_core::Rng;
use std::f64::consts::TAU;
use std::fmt;

/// What a score looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Mean square of the coarse coefficients, after removing their correlation.
    Shape,
    /// How much further the coarse coefficients are from the mean in the direction of its negative than usual: in
    /// standard deviations along the linear discriminant between images and their negatives.
    Negative,
    /// Mean square of the coefficients of an octave of frequency, each divided by its deviation.
    Detail {
        /// Shortest period of the octave, in pixels.
        period: usize,
        /// Whether it is of differences between channels, not of their sum.
        colour: bool,
    },
    /// Largest single coefficient divided by its deviation.
    Pattern {
        /// Whether it is of differences between channels, not of their sum.
        colour: bool,
    },
    /// Largest pixel of the image of these quotients: single pixels that stand out, as the pattern is a single wave.
    Spot,
}

/// Why an image does not belong: the score that exceeds its limit by the largest factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unusual {
    /// What the score looks at.
    pub score: Score,
    /// The image's value.
    pub value: f64,
    /// The largest usual value.
    pub limit: f64,
}

impl fmt::Display for Unusual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |colour: bool| if colour { "colour" } else { "brightness" };
        match self.score {
            Score::Shape => f.write_str("coarse shape")?,
            Score::Negative => f.write_str("black and white exchanged,")?,
            Score::Detail { period, colour } => {
                write!(
                    f,
                    "detail of {period} to {} pixels in {}",
                    2 * period,
                    of(colour)
                )?;
            }
            Score::Pattern { colour } => write!(f, "regular pattern in {}", of(colour))?,
            Score::Spot => f.write_str("single pixels")?,
        }
        let Self { value, limit, .. } = self;
        write!(
            f,
            " unlike the calibration images: {value:.1}, usual up to {limit:.1}"
        )
    }
}

/// A statistic with the tables to compare images with it.
pub struct InputGuard<'a> {
    pub(super) statistic: &'a InputStatistic,
    preprocess: &'a Preprocess,
    pub(super) transform: Transform,
    pub(super) layout: Layout,
    /// Direction from the mean to its negative, after removing the correlation; of length 1, or 0 where they are equal.
    pub(super) negative: Vec<f64>,
}

impl<'a> InputGuard<'a> {
    /// A guard of the images that a network takes.
    ///
    /// # Errors
    /// As [`InputStatistic::validate`].
    pub fn new(statistic: &'a InputStatistic, preprocess: &'a Preprocess) -> Result<Self, Error> {
        statistic.validate(preprocess)?;
        Ok(Self::unchecked(statistic, preprocess))
    }

    /// A guard of a statistic that may lack its limits.
    pub(super) fn unchecked(statistic: &'a InputStatistic, preprocess: &'a Preprocess) -> Self {
        let shape = shape_of(preprocess);
        let mut guard = Self {
            statistic,
            preprocess,
            transform: Transform::new(shape),
            layout: Layout::new(shape),
            negative: Vec::new(),
        };
        guard.negative = guard.negative();
        guard
    }

    /// The direction from the mean to its negative.
    fn negative(&self) -> Vec<f64> {
        let mut white = vec![1.0; self.preprocess.elements()];
        self.transform.forward(&mut white);
        let places = self.layout.part.iter().zip(&self.layout.group).zip(white);
        let coarse = places.filter(|((part, _), _)| **part == Part::Coarse);
        let shares = coarse.map(|((_, &group), white)| {
            let mean = f64::from(self.statistic.mean[group]);
            (white - 2.0 * mean) / f64::from(self.statistic.deviation[group])
        });
        let mut direction = self.decorrelated(&shares.collect::<Vec<f64>>());
        let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
        direction.iter_mut().for_each(|x| *x *= factor);
        direction
    }

    /// The coarse coefficients, divided by their deviations, without their correlation.
    pub(super) fn decorrelated(&self, coarse: &[f64]) -> Vec<f64> {
        self.rows().map(|row| dot(row, coarse)).collect()
    }

    /// Why a prepared image does not belong to those that the network is made for; `None` if it does.
    ///
    /// # Shapes
    /// `image` is `[C, H, W]` as `prepare` gives it.
    ///
    /// # Panics
    /// When the image has another size.
    pub fn unusual(&self, image: &[f32]) -> Option<Unusual> {
        let scores = self.scores(image).into_iter().zip(&self.statistic.limits);
        let found = scores.map(|((score, value), &limit)| Unusual {
            score,
            value,
            limit,
        });
        // A NaN is unusual too.
        found
            .filter(|unusual| unusual.value > unusual.limit || unusual.value.is_nan())
            .max_by(|x, y| (x.value / x.limit).total_cmp(&(y.value / y.limit)))
    }

    /// All scores of a prepared image.
    ///
    /// # Shapes
    /// As [`unusual`](Self::unusual).
    ///
    /// # Panics
    /// When the image has another size.
    pub fn scores(&self, image: &[f32]) -> Vec<(Score, f64)> {
        let shares = self.coefficients(image);
        let coarse = self.decorrelated(&self.coarse(&shares));
        let shape = mean_square(coarse.iter().copied());
        let negative = coarse.iter().zip(&self.negative).map(|(x, y)| x * y).sum();
        let details = (0..self.layout.bands.len()).map(|band| {
            let parts = self.layout.part.iter().zip(&shares);
            let members = parts.filter(|(part, _)| **part == Part::Detail(band));
            mean_square(members.map(|(_, &share)| share))
        });
        let patterns = self.planes(&shares).map(largest);
        let spot = largest(&self.whitened(&shares));
        let values = [shape, negative]
            .into_iter()
            .chain(details)
            .chain(patterns)
            .chain([spot]);
        self.layout.scores().into_iter().zip(values).collect()
    }

    /// The coefficients of a prepared image, in its order: how far each is from its mean, in deviations.
    ///
    /// # Shapes
    /// As [`unusual`](Self::unusual).
    ///
    /// # Panics
    /// When the image has another size.
    pub fn coefficients(&self, image: &[f32]) -> Vec<f64> {
        let mut values = pixels(self.preprocess, image);
        self.transform.forward(&mut values);
        for (value, &group) in values.iter_mut().zip(&self.layout.group) {
            let mean = f64::from(self.statistic.mean[group]);
            *value = (*value - mean) / f64::from(self.statistic.deviation[group]);
        }
        values
    }

    /// The coarse ones of these coefficients.
    pub(super) fn coarse(&self, shares: &[f64]) -> Vec<f64> {
        let parts = self.layout.part.iter().zip(shares);
        parts
            .filter(|(part, _)| **part == Part::Coarse)
            .map(|(_, &share)| share)
            .collect()
    }

    /// These coefficients of the sum of the channels, and those of differences if there are any.
    fn planes<'s>(&self, shares: &'s [f64]) -> impl Iterator<Item = &'s [f64]> + use<'s> {
        let (brightness, colour) = shares.split_at(self.layout.plane);
        [brightness, colour]
            .into_iter()
            .take(1 + usize::from(self.layout.colour))
    }

    /// The plane of pixels that has these coefficients of the sum of the channels.
    pub(super) fn whitened(&self, shares: &[f64]) -> Vec<f64> {
        let plane = self.layout.plane;
        let mut image = vec![0.0; shares.len()];
        image[..plane].copy_from_slice(&shares[..plane]);
        self.transform.inverse(&mut image);
        // The sum of equal channels, as the transform scales it.
        let factor = (shares.len() as f64 / plane as f64).sqrt();
        image.truncate(plane);
        image.iter_mut().for_each(|value| *value *= factor);
        image
    }

    /// A random image like those that the statistic was recorded on: coefficients are normally distributed with the
    /// recorded means, correlations and `contrast` times the deviations.
    ///
    /// Values are in the allowed range and not rounded to raw values. [`unusual`](Self::unusual) does not refuse it.
    ///
    /// # Shapes
    /// A prepared image `[C, H, W]`.
    pub fn typical_image(&self, contrast: f64, rng: &mut impl Rng) -> Vec<f32> {
        let coarse: Vec<f64> = (0..self.layout.coarse).map(|_| normal(rng)).collect();
        let mut coarse = self.correlated(&coarse).into_iter();
        let share = |part: &Part| match part {
            Part::Coarse => contrast * coarse.next().unwrap_or(0.0),
            Part::Detail(_) => contrast * normal(rng),
        };
        let shares: Vec<f64> = self.layout.part.iter().map(share).collect();
        self.nearest_usual(&self.image(&shares))
    }

    /// The prepared image with these [`coefficients`](Self::coefficients), clamped to the allowed range.
    ///
    /// # Panics
    /// When there are not as many as an image has elements.
    pub fn image(&self, coefficients: &[f64]) -> Vec<f32> {
        assert_eq!(
            coefficients.len(),
            self.preprocess.elements(),
            "coefficients of an image"
        );
        let coefficient = |(&group, share): (&usize, &f64)| {
            let deviation = f64::from(self.statistic.deviation[group]);
            f64::from(self.statistic.mean[group]) + deviation * share
        };
        let groups = self.layout.group.iter();
        let mut values: Vec<f64> = groups.zip(coefficients).map(coefficient).collect();
        self.transform.inverse(&mut values);
        let (low, high) = self.preprocess.allowed;
        let prepared = |(place, value): (usize, &f64)| {
            let raw = low + value.clamp(0.0, 1.0) * (high - low);
            self.preprocess.normalize(place / self.layout.plane, raw) as f32
        };
        values.iter().enumerate().map(prepared).collect()
    }

    /// The inverse of [`decorrelated`](Self::decorrelated).
    pub(super) fn correlated(&self, values: &[f64]) -> Vec<f64> {
        let mut coarse: Vec<f64> = Vec::with_capacity(values.len());
        for (row, value) in self.rows().zip(values) {
            // The rows are those of the inverse, so this is forward substitution.
            let diagonal = f64::from(row[coarse.len()]);
            coarse.push((value - dot(row, &coarse)) / diagonal);
        }
        coarse
    }

    /// The rows of the whitening matrix up to the diagonal.
    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        let start = |row: usize| row * (row + 1) / 2;
        (0..self.layout.coarse)
            .map(move |row| &self.statistic.whitening[start(row)..start(row + 1)])
    }
}

fn mean_square(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), x| (sum + x * x, count + 1));
    sum / count.max(1) as f64
}

/// Largest magnitude; NaN if there is one, unlike `max`.
fn largest(values: &[f64]) -> f64 {
    values
        .iter()
        .fold(0.0, |most, value| match value.abs() <= most {
            true => most,
            false => value.abs(),
        })
}

/// Sum of the products, up to the end of the shorter one.
fn dot(row: &[f32], values: &[f64]) -> f64 {
    row.iter().zip(values).map(|(&x, y)| f64::from(x) * y).sum()
}

/// The pixels of a prepared image by their place in the allowed range.
pub(super) fn pixels(preprocess: &Preprocess, image: &[f32]) -> Vec<f64> {
    assert_eq!(image.len(), preprocess.elements(), "values of an image");
    let plane = preprocess.height * preprocess.width;
    let (low, high) = preprocess.allowed;
    let pixel = |(place, &value): (usize, &f32)| {
        let raw = preprocess.raw(place / plane, f64::from(value));
        ((raw - low) / (high - low)).clamp(0.0, 1.0)
    };
    image.iter().enumerate().map(pixel).collect()
}

/// A normally distributed number, by Box and Muller.
fn normal(rng: &mut impl Rng) -> f64 {
    let mut unit = || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    // 1 - unit is never 0.
    (-2.0 * (1.0 - unit()).ln()).sqrt() * (TAU * unit()).cos()
}
