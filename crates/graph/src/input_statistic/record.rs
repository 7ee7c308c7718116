//! Recording the statistic.

use super::guard::pixels;
use super::layout::{Layout, Part};
use super::transform::Transform;
use super::{InputGuard, InputStatistic, shape_of};
use crate::calibrate::to_half_precision;
use crate::{Error, Preprocess};
use rayon::prelude::*;

/// Images that one thread adds up. Fixed, so that sums do not depend on the number of threads.
const SHARD: usize = 128;

/// Before the margin, one calibration image in this many exceeds a limit.
const IMAGES_PER_OUTLIER: usize = 1000;

/// Limits are this many times what the scores of nearly all calibration images reach.
const MARGIN: f64 = 1.15;

/// What the margin grows by with few images, which say little of rare ones: this, divided by their number.
const MARGIN_OF_FEW: f64 = 500.0;

/// Least score that a limit is made from, so that images that are all equal do not forbid everything else.
const LEAST_SCORE: f64 = 1.0;

/// Deviations are at least that of rounding pixels to this many steps of the range that occurs.
const STEPS: f64 = 255.0;

/// Least deviation: half precision has it.
const LEAST_DEVIATION: f64 = 1e-6;

impl InputStatistic {
    /// Records the statistic of prepared images.
    ///
    /// The result does not depend on the number of threads.
    ///
    /// # Shapes
    /// `images` is `[batch, C, H, W]`.
    ///
    /// # Errors
    /// [`Error::Calibrate`] for no images, for a number of values that is not that of whole images, and for values that
    /// are not finite.
    pub fn record(preprocess: &Preprocess, images: &[f32]) -> Result<Self, Error> {
        let elements = preprocess.elements();
        if images.is_empty() || !images.len().is_multiple_of(elements) {
            let what = format!(
                "expected values of whole images, {elements} each, found {}: give one image at least",
                images.len()
            );
            return Err(Error::Calibrate { what });
        }
        if let Some(index) = images.iter().position(|value| !value.is_finite()) {
            let (image, value) = (index / elements, images[index]);
            let what = format!("image {image} holds {value}: give finite images");
            return Err(Error::Calibrate { what });
        }
        let total = sums(preprocess, images);
        let mut statistic = total.statistic(preprocess, images.len() / elements);
        let guard = InputGuard::unchecked(&statistic, preprocess);
        let scores = images.par_chunks_exact(elements).map(|image| {
            let scores = guard.scores(image).into_iter();
            scores.map(|(_, value)| value).collect()
        });
        statistic.limits = limits(&scores.collect::<Vec<Vec<f64>>>());
        Ok(statistic)
    }
}

/// The limits of all scores, from the scores of all images.
///
/// The same number of images may exceed each, such that one in [`IMAGES_PER_OUTLIER`] exceeds any.
fn limits(scores: &[Vec<f64>]) -> Vec<f64> {
    let count = scores.first().map_or(0, Vec::len);
    let sorted: Vec<Vec<f64>> = (0..count)
        .map(|score| {
            let mut values: Vec<f64> = scores.iter().map(|image| image[score]).collect();
            values.sort_by(|x, y| y.total_cmp(x));
            values
        })
        .collect();
    let exceeds = |image: &[f64], rank: usize| {
        image
            .iter()
            .zip(&sorted)
            .any(|(&value, sorted)| value > sorted[rank])
    };
    let outliers = |rank| scores.iter().filter(|image| exceeds(image, rank)).count();
    let most = scores.len() / IMAGES_PER_OUTLIER;
    let ranks: Vec<usize> = (1..=most).collect();
    let rank = ranks.partition_point(|&rank| outliers(rank) <= most);
    let margin = MARGIN + MARGIN_OF_FEW / scores.len() as f64;
    sorted
        .iter()
        .map(|values| margin * values[rank].max(LEAST_SCORE))
        .collect()
}

/// Sums over images; pixels are from 0 to 1, so that double precision loses nothing that matters.
struct Totals {
    sum: Vec<f64>,
    square: Vec<f64>,
    /// Products of coarse coefficients: the rows of the lower triangle.
    product: Vec<f64>,
    least: f64,
    most: f64,
}

fn sums(preprocess: &Preprocess, images: &[f32]) -> Totals {
    let elements = preprocess.elements();
    let shape = shape_of(preprocess);
    let (transform, layout) = (Transform::new(shape), Layout::new(shape));
    let coarse: Vec<usize> = places(&layout);
    let empty = || Totals {
        sum: vec![0.0; elements],
        square: vec![0.0; elements],
        product: vec![0.0; coarse.len() * (coarse.len() + 1) / 2],
        least: f64::INFINITY,
        most: f64::NEG_INFINITY,
    };
    let mut total = empty();
    // One shard per thread at a time: this bounds the memory for their totals.
    for group in images.chunks(SHARD * elements * rayon::current_num_threads()) {
        let shards: Vec<Totals> = group
            .par_chunks(SHARD * elements)
            .map(|shard| {
                let mut totals = empty();
                for image in shard.chunks_exact(elements) {
                    totals.add(pixels(preprocess, image), &transform, &coarse);
                }
                totals
            })
            .collect();
        shards.iter().for_each(|shard| total.merge(shard));
    }
    total
}

/// The places of the coarse coefficients.
fn places(layout: &Layout) -> Vec<usize> {
    let parts = layout.part.iter().enumerate();
    parts
        .filter(|(_, part)| **part == Part::Coarse)
        .map(|(place, _)| place)
        .collect()
}

impl Totals {
    fn add(&mut self, mut image: Vec<f64>, transform: &Transform, coarse: &[usize]) {
        for &value in &image {
            self.least = self.least.min(value);
            self.most = self.most.max(value);
        }
        transform.forward(&mut image);
        for ((sum, square), value) in self.sum.iter_mut().zip(&mut self.square).zip(&image) {
            *sum += value;
            *square += value * value;
        }
        let mut product = self.product.iter_mut();
        for (row, &place) in coarse.iter().enumerate() {
            for (&other, product) in coarse[..=row].iter().zip(&mut product) {
                *product += image[place] * image[other];
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        let lists = [
            (&mut self.sum, &other.sum),
            (&mut self.square, &other.square),
            (&mut self.product, &other.product),
        ];
        for (total, other) in lists {
            total
                .iter_mut()
                .zip(other)
                .for_each(|(total, other)| *total += other);
        }
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
    }

    /// The statistic without its limits.
    fn statistic(&self, preprocess: &Preprocess, count: usize) -> InputStatistic {
        let layout = Layout::new(shape_of(preprocess));
        let (mean, deviation) = self.groups(&layout, count as f64);
        let whitening = self.whitening(&layout, &deviation, count as f64);
        InputStatistic {
            images: count,
            limits: Vec::new(),
            mean,
            deviation,
            whitening,
        }
    }

    /// Mean and deviation of every group.
    fn groups(&self, layout: &Layout, count: f64) -> (Vec<f32>, Vec<f32>) {
        let mut totals = vec![(0.0, 0.0, 0.0); layout.groups];
        for ((&group, sum), square) in layout.group.iter().zip(&self.sum).zip(&self.square) {
            let total = &mut totals[group];
            *total = (total.0 + sum, total.1 + square, total.2 + count);
        }
        let rounding = (self.most - self.least) / (STEPS * 12.0_f64.sqrt());
        let least = rounding.max(LEAST_DEVIATION);
        let group = |&(sum, square, count): &(f64, f64, f64)| {
            let count = count.max(1.0);
            let mean = sum / count;
            let deviation = (square / count - mean * mean).max(0.0).sqrt();
            (
                to_half_precision(mean as f32),
                to_half_precision(deviation.max(least) as f32),
            )
        };
        totals.iter().map(group).unzip()
    }

    /// Inverse of the Cholesky factor of the correlation of the coarse coefficients.
    ///
    /// With few images the correlation is drawn to that of independent coefficients, as if as many images more had
    /// shown them so as there are coefficients.
    fn whitening(&self, layout: &Layout, deviation: &[f32], count: f64) -> Vec<f32> {
        let coarse = places(layout);
        let scale = |place: usize| f64::from(deviation[layout.group[place]]);
        let prior = coarse.len() as f64;
        let mut matrix = Vec::with_capacity(self.product.len());
        let mut product = self.product.iter();
        for (row, &place) in coarse.iter().enumerate() {
            for (&other, product) in coarse[..=row].iter().zip(&mut product) {
                let covariance = product - self.sum[place] * self.sum[other] / count;
                let correlation = covariance / (scale(place) * scale(other));
                let diagonal = f64::from(u8::from(place == other));
                matrix.push((correlation + prior * diagonal) / (count + prior));
            }
            debug_assert_eq!(matrix.len(), (row + 1) * (row + 2) / 2);
        }
        cholesky(&mut matrix, coarse.len());
        let inverse = inverse(&matrix, coarse.len());
        inverse
            .iter()
            .map(|&value| to_half_precision(value as f32))
            .collect()
    }
}

/// Position of an entry of a lower triangle.
const fn at(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

/// Replaces the lower triangle of a positive definite matrix by its Cholesky factor.
fn cholesky(matrix: &mut [f64], size: usize) {
    for row in 0..size {
        for column in 0..=row {
            let products = (0..column).map(|k| matrix[at(row, k)] * matrix[at(column, k)]);
            let rest = matrix[at(row, column)] - products.sum::<f64>();
            matrix[at(row, column)] = match row == column {
                true => rest.sqrt(),
                false => rest / matrix[at(column, column)],
            };
        }
    }
}

/// The inverse of a lower triangle.
fn inverse(factor: &[f64], size: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; factor.len()];
    for row in 0..size {
        for column in 0..=row {
            let unit = f64::from(u8::from(row == column));
            let products = (column..row).map(|k| factor[at(row, k)] * inverse[at(k, column)]);
            inverse[at(row, column)] = (unit - products.sum::<f64>()) / factor[at(row, row)];
        }
    }
    inverse
}
