//! Recording ranges and statistics on calibration images.

use crate::blocks::{Network, check_images, run_block, transpose_out};
use crate::execute::{LANES_F32, LANES_F64};
use crate::{
    Calibration, Error, Folded, FoldedStatistics, Graph, InputStatistic, Model, Range, fold,
    sensitivities,
};
use half::f16;
use rayon::prelude::*;

/// Bits that a plan leaves above the recorded ranges.
const MARGIN_BITS: f64 = 2.0;

/// Images whose statistics are added up by one thread. Fixed, so that the sums do not depend on the number of threads.
const SHARD: usize = 128;

/// Largest magnitude that counts as a working network; squares of larger values would leave f32.
const LARGEST_VALUE: f64 = 1e18;

/// Most images that sensitivities are taken from.
const SENSITIVITY_IMAGES: usize = 256;

/// Multiply-accumulates that sensitivities may take; networks for which that is less than [`SENSITIVITY_IMAGES`]
/// evaluations use fewer images, but 4 at least.
const SENSITIVITY_COST: u64 = 1 << 34;

/// Rounds statistics to half precision, which is enough and makes the model file smaller. All values stay in single
/// precision if one of them is out of range.
fn in_half_precision(values: Vec<f32>) -> Vec<f32> {
    let halves: Vec<f32> = values
        .iter()
        .map(|&value| to_half_precision(value))
        .collect();
    if halves.iter().all(|half| half.is_finite()) {
        halves
    } else {
        values
    }
}

/// The nearest number of half precision, which the model file holds in two bytes.
pub fn to_half_precision(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// Runs a network over prepared images and records the range of every node, the statistics of every folded node, and
/// the statistic of the images.
///
/// The result does not depend on the number of threads. A network that cannot be folded (ReLU) gets ranges only.
///
/// Shapes: `images` is `[batch, C, H, W]`; `progress` is called with the number of images done.
///
/// # Errors
/// [`Error::Images`] for images of another size, [`Error::Calibrate`] for no images and for values that overflow,
/// [`Error::FoldedSize`] as for [`fold`].
pub fn calibrate(
    model: &Model,
    images: &[f32],
    batch: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Calibration, Error> {
    let graph = &model.graph;
    let pixels = check_images(graph.input_shape(), images, batch)?;
    if batch == 0 {
        return Err(Error::Calibrate {
            what: "found no images: give at least one, better a few thousand".into(),
        });
    }
    if let Some(index) = images.iter().position(|value| !value.is_finite()) {
        return Err(Error::Calibrate {
            what: format!(
                "image {} holds {}: give finite images",
                index / pixels,
                images[index]
            ),
        });
    }
    let folded = match fold(graph) {
        Ok(folded) => Some(folded),
        Err(Error::TeacherOnly { .. }) => None,
        Err(error) => return Err(error),
    };
    let mut total = Totals::new(graph, folded.as_ref());
    let mut done = 0;
    // One shard per thread at a time: this bounds the memory for their totals.
    for group in images.chunks(SHARD * pixels * rayon::current_num_threads()) {
        let shards: Vec<Totals> = group
            .par_chunks(SHARD * pixels)
            .map(|shard| {
                let mut totals = Totals::new(graph, folded.as_ref());
                totals.add_images(graph, folded.as_ref(), shard, pixels);
                totals
            })
            .collect();
        shards.iter().for_each(|shard| total.merge(shard));
        done += group.len() / pixels;
        progress(done);
    }
    let input = InputStatistic::record(&model.preprocess, images)?;
    let calibration = total.finish(graph, folded.as_ref(), images, batch)?;
    Ok(Calibration {
        input: Some(input),
        ..calibration
    })
}

struct Totals {
    ranges: Vec<RangeTotal>,
    folded: Vec<FoldedTotal>,
    /// Largest magnitude of a logit, image by image.
    logits: Vec<f64>,
}

impl Totals {
    fn new(graph: &Graph, folded: Option<&Folded>) -> Self {
        Self {
            ranges: graph.nodes().iter().map(|_| RangeTotal::new()).collect(),
            folded: folded
                .iter()
                .flat_map(|folded| &folded.nodes)
                .map(|node| FoldedTotal::new(node.elements))
                .collect(),
            logits: Vec::new(),
        }
    }

    fn add_images(
        &mut self,
        graph: &Graph,
        folded: Option<&Folded>,
        images: &[f32],
        pixels: usize,
    ) {
        for block in images.chunks(LANES_F32 * pixels) {
            let count = block.len() / pixels;
            run_block::<f32, LANES_F32>(graph, block, &mut |index, value| {
                let range = &mut self.ranges[index];
                value
                    .iter()
                    .flat_map(|lanes| &lanes[..count])
                    .for_each(|&value| range.add(value));
            });
        }
        let Some(folded) = folded else { return };
        for block in images.chunks(LANES_F64 * pixels) {
            let count = block.len() / pixels;
            run_block(folded, block, &mut |index, value| {
                let values = transpose_out(value, count);
                for image in values.chunks_exact(folded.elements(index)) {
                    self.folded[index].add(image);
                    if index + 1 == folded.nodes.len() {
                        let largest = image.iter().map(|value| value.abs()).fold(0.0, larger);
                        self.logits.push(largest);
                    }
                }
            });
        }
    }

    fn merge(&mut self, other: &Self) {
        for (total, other) in self.ranges.iter_mut().zip(&other.ranges) {
            total.merge(other);
        }
        for (total, other) in self.folded.iter_mut().zip(&other.folded) {
            total.merge(other);
        }
        self.logits.extend(&other.logits);
    }

    /// What the largest logit of an image exceeds on a hundredth of the images, if there are logits.
    fn usual_logit(&mut self) -> Option<f64> {
        self.logits.sort_by(f64::total_cmp);
        let ignored = self.logits.len() / 100;
        self.logits.iter().rev().nth(ignored).copied()
    }

    fn finish(
        mut self,
        graph: &Graph,
        folded: Option<&Folded>,
        images: &[f32],
        batch: usize,
    ) -> Result<Calibration, Error> {
        let exploded = |node: &str, value: f64| {
            Err(Error::Calibrate {
                what: format!(
                    "node {node:?} reaches the value {value:e}, expected at most {LARGEST_VALUE:e}: the network explodes, train it again with a bound on its activations"
                ),
            })
        };
        let usual_logit = self.usual_logit();
        let mut nodes = std::collections::BTreeMap::new();
        for (node, total) in graph.nodes().iter().zip(self.ranges) {
            let range = total.finish();
            let most = range.max.abs().max(range.min.abs());
            if total.overflowed || most > LARGEST_VALUE {
                return exploded(
                    &node.name,
                    if total.overflowed {
                        f64::INFINITY
                    } else {
                        most
                    },
                );
            }
            nodes.insert(node.name.clone(), range);
        }
        let mut statistics = Vec::new();
        if let Some(folded) = folded {
            for (node, total) in folded.nodes.iter().zip(&self.folded) {
                if total.max_abs.is_nan() || total.max_abs > LARGEST_VALUE {
                    return exploded(&node.name, total.max_abs);
                }
            }
            let elements = folded.elements(0);
            let gains = sensitivities(
                folded,
                &images[..sensitivity_images(folded, batch) * elements],
            );
            for ((node, total), gains) in folded.nodes.iter().zip(self.folded).zip(gains) {
                statistics.push(total.finish(node.name.clone(), batch, gains));
            }
        }
        Ok(Calibration {
            images: batch,
            nodes,
            margin_bits: MARGIN_BITS,
            weight_error: None,
            usual_logit,
            input: None,
            views: None,
            folded: statistics,
        })
    }
}

fn sensitivity_images(folded: &Folded, batch: usize) -> usize {
    let logits = folded.nodes.last().map_or(1, |node| node.elements) as u64;
    let cost = folded
        .multiply_accumulates()
        .max(1)
        .saturating_mul(logits + 1);
    ((SENSITIVITY_COST / cost) as usize)
        .clamp(4, SENSITIVITY_IMAGES)
        .min(batch)
}

/// Range of the values of a graph node, with a histogram of their magnitudes.
struct RangeTotal {
    min: f32,
    max: f32,
    overflowed: bool,
    /// By exponent and the first 7 bits of the mantissa: bins grow by less than 1 % of their value.
    histogram: Vec<u64>,
}

impl RangeTotal {
    fn new() -> Self {
        Self {
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            overflowed: false,
            histogram: vec![0; 1 << 15],
        }
    }

    fn add(&mut self, value: f32) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.overflowed |= !value.is_finite();
        self.histogram[(value.abs().to_bits() >> 16) as usize] += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.overflowed |= other.overflowed;
        for (count, other) in self.histogram.iter_mut().zip(&other.histogram) {
            *count += other;
        }
    }

    fn finish(&self) -> Range {
        let total: u64 = self.histogram.iter().sum();
        // The number of values that may lie above.
        let allowed = total / 10_000;
        let mut above = 0;
        let mut quantile = self.max.abs().max(self.min.abs());
        for (bin, &count) in self.histogram.iter().enumerate().rev() {
            above += count;
            if above > allowed {
                quantile = quantile.min(f32::from_bits(((bin as u32 + 1) << 16) - 1));
                break;
            }
        }
        Range {
            min: f64::from(self.min),
            max: f64::from(self.max),
            p9999: f64::from(quantile),
        }
    }
}

/// The larger of two magnitudes; unlike `max` it keeps a NaN.
fn larger(x: f64, y: f64) -> f64 {
    if x.total_cmp(&y).is_lt() { y } else { x }
}

struct FoldedTotal {
    max_abs: f64,
    square: Vec<f64>,
}

impl FoldedTotal {
    fn new(elements: usize) -> Self {
        Self {
            max_abs: 0.0,
            square: vec![0.0; elements],
        }
    }

    /// Adds the value of one image.
    fn add(&mut self, image: &[f64]) {
        for (&value, square) in image.iter().zip(&mut self.square) {
            *square += value * value;
            self.max_abs = larger(self.max_abs, value.abs());
        }
    }

    fn merge(&mut self, other: &Self) {
        self.max_abs = larger(self.max_abs, other.max_abs);
        for (sum, other) in self.square.iter_mut().zip(&other.square) {
            *sum += other;
        }
    }

    fn finish(
        self,
        name: String,
        images: usize,
        sensitivity: crate::Distribution,
    ) -> FoldedStatistics {
        let mean = |sum: &f64| (sum / images as f64) as f32;
        FoldedStatistics {
            name,
            max_abs: self.max_abs,
            mean_square: in_half_precision(self.square.iter().map(mean).collect()),
            sensitivity,
        }
    }
}
