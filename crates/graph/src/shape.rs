//! Shape of one image's value at a node; the batch axis is never part of it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Shape of the value that a node holds for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Shape {
    /// A feature map, stored channel-first: element `(c * height + y) * width + x`.
    Map {
        /// Number of channels.
        channels: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A vector of this many features.
    Flat(usize),
}

impl Shape {
    /// A feature map of `channels` x `height` x `width`.
    pub const fn map(channels: usize, height: usize, width: usize) -> Self {
        Self::Map {
            channels,
            height,
            width,
        }
    }

    /// Number of elements; saturates instead of overflowing, so that a hostile shape fails the limit check.
    pub const fn elements(&self) -> usize {
        match *self {
            Self::Map {
                channels,
                height,
                width,
            } => channels.saturating_mul(height).saturating_mul(width),
            Self::Flat(features) => features,
        }
    }

    /// Channels of a map, features of a vector: what batch normalization and channel activations count.
    pub const fn channels(&self) -> usize {
        match *self {
            Self::Map { channels, .. } => channels,
            Self::Flat(features) => features,
        }
    }

    /// Elements that share a channel: `height * width` of a map, 1 of a vector.
    pub const fn channel_elements(&self) -> usize {
        match *self {
            Self::Map { height, width, .. } => height.saturating_mul(width),
            Self::Flat(_) => 1,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Map {
                channels,
                height,
                width,
            } => write!(f, "{channels}x{height}x{width}"),
            Self::Flat(features) => write!(f, "{features}"),
        }
    }
}
