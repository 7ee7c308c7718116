//! How raw images become the network's input, and what its outputs mean.

use crate::Error;
use serde::{Deserialize, Serialize};

/// Most pixels that a side is resized to before the centre is cut out.
const MOST_PIXELS: usize = 1 << 14;

/// What to do with an image of another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum SizePolicy {
    /// Refuse it.
    Refuse,
    /// Resize rows and columns with a triangle filter in floating point. Only files of earlier versions have it.
    Resize,
    /// Resize to `height` x `width` rows and columns, and cut the centre out where that is larger than the network's size.
    Stretch {
        /// How values are computed.
        filter: Filter,
        /// Rows before the cut.
        height: usize,
        /// Columns before the cut.
        width: usize,
    },
    /// Resize so that the shorter side has `shorter` pixels and the proportions stay, and cut the centre out.
    Crop {
        /// How values are computed.
        filter: Filter,
        /// Pixels of the shorter side before the cut.
        shorter: usize,
    },
    /// Add black on both sides until the image has the network's proportions, then resize.
    Pad {
        /// How values are computed.
        filter: Filter,
    },
}

/// How a resized image is computed from the pixels, as Pillow does it. Where an image becomes smaller, all but the nearest pixel widen with
/// the factor, which others call antialiasing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Filter {
    /// The pixel under the centre of the new one.
    Nearest,
    /// The mean of the area that the new pixel covers.
    Area,
    /// A triangle.
    #[default]
    Bilinear,
    /// Keys' cubic with a = -0.5.
    Bicubic,
}

/// What to do with images of another number of channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorPolicy {
    /// Refuse them.
    #[default]
    Refuse,
    /// Make gray images from colour for a network with one channel, by the weights of ITU-R BT.601 as Pillow has them, and three equal
    /// channels from gray images for a network with three.
    Convert,
}

impl ColorPolicy {
    fn is_refuse(&self) -> bool {
        *self == Self::Refuse
    }
}

/// The window of values of a DICOM image that becomes `input_range`; values outside become its ends.
///
/// Other formats have no windows, and are taken as they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Window {
    /// The first window that the file itself names.
    File,
    /// This window of values after the modality transformation, such as Hounsfield units, by the standard's linear function.
    Given {
        /// Its centre.
        center: f64,
        /// Its width.
        width: f64,
    },
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
    /// What happens to images of another number of channels.
    #[serde(default, skip_serializing_if = "ColorPolicy::is_refuse")]
    pub color: ColorPolicy,
    /// The window of DICOM images; `None` takes their values as they are after the modality transformation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
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
        self.check_size()?;
        if self.size == SizePolicy::Resize && self.color != ColorPolicy::Refuse {
            return wrong("size resize is of earlier versions, which convert no colour".to_owned());
        }
        if let Some(Window::Given { center, width }) = self.window
            && !(center.is_finite() && width.is_finite() && width >= 1.0)
        {
            return wrong(format!(
                "the window of centre {center} and width {width} is none: the centre must be a number and the width at least 1"
            ));
        }
        Ok(())
    }

    /// Checks that what is cut out is not larger than what it is cut from.
    fn check_size(&self) -> Result<(), Error> {
        let (from, what) = match self.size {
            SizePolicy::Stretch { height, width, .. } => ((height, width), "stretched"),
            SizePolicy::Crop { shorter, .. } => ((shorter, shorter), "resized"),
            _ => return Ok(()),
        };
        if from.0 >= self.height && from.1 >= self.width {
            return match from.0.max(from.1) <= MOST_PIXELS {
                true => Ok(()),
                false => Err(Error::Preprocess {
                    what: format!(
                        "images are {what} to {}x{}, more than {MOST_PIXELS} pixels a side",
                        from.0, from.1
                    ),
                }),
            };
        }
        Err(Error::Preprocess {
            what: format!(
                "{}x{} pixels cannot be cut out of images {what} to {}x{}",
                self.height, self.width, from.0, from.1
            ),
        })
    }
}
