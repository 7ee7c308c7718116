//! How raw images become the network's input, and what its outputs mean.

use crate::Error;
use serde::{Deserialize, Serialize};

/// What to do with an image of another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizePolicy {
    /// Refuse it.
    Refuse,
    /// Resize it.
    Resize,
}

/// What the logits stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// One class of several: probabilities are the softmax of the logits.
    Softmax,
    /// Independent labels: a probability is the sigmoid of its logit.
    Sigmoid,
    /// Plain numbers.
    #[default]
    Raw,
}

/// Preprocessing that the network was trained with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Channels of an image.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// What happens to images of another size.
    pub size: SizePolicy,
    /// Raw values that become 0 and 1.
    pub input_range: (f64, f64),
    /// Mean of every channel, after scaling to [0, 1].
    pub mean: Vec<f64>,
    /// Standard deviation of every channel, after scaling to [0, 1].
    pub std: Vec<f64>,
    /// Smallest and largest raw value that is accepted.
    pub allowed: (f64, f64),
}

impl Preprocess {
    /// Number of values of a prepared image.
    pub const fn elements(&self) -> usize {
        self.channels
            .saturating_mul(self.height)
            .saturating_mul(self.width)
    }

    /// The network's input for a raw value of a channel: scaled to [0, 1], then normalized.
    ///
    /// # Panics
    /// When the channel does not exist.
    pub fn normalize(&self, channel: usize, raw: f64) -> f64 {
        let (low, high) = self.input_range;
        ((raw - low) / (high - low) - self.mean[channel]) / self.std[channel]
    }

    /// The raw value of a channel that becomes this input of the network: the inverse of [`normalize`](Self::normalize).
    ///
    /// # Panics
    /// When the channel does not exist.
    pub fn raw(&self, channel: usize, value: f64) -> f64 {
        let (low, high) = self.input_range;
        low + (value * self.std[channel] + self.mean[channel]) * (high - low)
    }

    /// Checks that every number can be used.
    ///
    /// # Errors
    /// [`Error::Preprocess`] names the field that is wrong.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Preprocess { what });
        if self.channels == 0 || self.height == 0 || self.width == 0 {
            return wrong(format!(
                "the size {}x{}x{} has no pixels",
                self.channels, self.height, self.width
            ));
        }
        for (name, (low, high)) in [("input_range", self.input_range), ("allowed", self.allowed)] {
            if !(low.is_finite() && high.is_finite() && low < high) {
                return wrong(format!("{name} {low}..{high} is not an interval"));
            }
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != self.channels {
                return wrong(format!(
                    "{name} has {} values for {} channels",
                    values.len(),
                    self.channels
                ));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return wrong(format!("{name} holds {value}"));
            }
        }
        if let Some(value) = self.std.iter().find(|&&value| value <= 0.0) {
            return wrong(format!("std holds {value}, which must be positive"));
        }
        Ok(())
    }
}
