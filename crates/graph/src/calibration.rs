//! Ranges and statistics of a network on calibration images.

use crate::{InputStatistic, Views};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values seen at a node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// 99.99 % of all values have at most this magnitude (rounded up by less than 1 %).
    pub p9999: f64,
}

/// Ranges and statistics recorded on calibration images, serialized as in the model file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Number of images.
    pub images: usize,
    /// Bits to leave above the ranges.
    pub margin_bits: f64,
    /// Tolerated rms error of a logit from rounding weights to integers, as a share of the usual logit; the planner's
    /// own value if none has been found too coarse for this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_error: Option<f64>,
    /// Largest magnitude of a logit when the hundredth of the images with the largest logits is left out. Errors are
    /// measured by it, so that one image on which a network explodes does not allow larger errors on all others. `None`
    /// in files that do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_logit: Option<f64>,
    /// What the images looked like; `None` in files that do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputStatistic>,
    /// Changes of an image that leave its class; `None` where none are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub views: Option<Views>,
    /// Range of every graph node, by name.
    pub nodes: BTreeMap<String, Range>,
    /// Statistics of every folded node, in order; empty for a network that cannot be folded (ReLU).
    pub folded: Vec<FoldedStatistics>,
}

/// Statistics of a node of the folded network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldedStatistics {
    /// Name of the folded node.
    pub name: String,
    /// Largest magnitude over images and elements.
    pub max_abs: f64,
    /// Mean over the images of the squared value, for every element; a tensor of the model file, so not serialized.
    #[serde(skip)]
    pub mean_square: Vec<f32>,
    /// Distribution over images and logits of Σ (∂logit/∂value)² over the elements, from
    /// [`sensitivities`](crate::sensitivities) of the first images (at most 256, fewer for large networks).
    pub sensitivity: crate::Distribution,
}
