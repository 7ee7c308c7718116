//! Where arrays of images have their channels, and the rule that tells.

use std::fmt;

use serde::Deserialize;
use sordino_graph::{Preprocess, SizePolicy};

use crate::fit::takes_channels;

/// Where an array of images has its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Before rows and columns: `[N, C, H, W]`.
    Nchw,
    /// Behind rows and columns: `[N, H, W, C]`.
    Nhwc,
}

impl Layout {
    /// The name in options and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nchw => "nchw",
            Self::Nhwc => "nhwc",
        }
    }

    /// Channels, rows and columns of an image with these axes.
    fn image(self, [first, second, third]: [u64; 3]) -> [u64; 3] {
        match self {
            Self::Nchw => [first, second, third],
            Self::Nhwc => [third, first, second],
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Images, channels, rows and columns of an array, and where the channels are if it has an axis of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrangement {
    pub(crate) dimensions: [u64; 4],
    pub(crate) layout: Option<Layout>,
}

/// Why the dimensions of an array are not those of images, and what to do.
pub(crate) struct NoImages {
    pub(crate) expected: &'static str,
    pub(crate) advice: &'static str,
}

const SHAPES: NoImages = NoImages {
    expected: "images of shape [N, C, H, W], [N, H, W, C] or [N, H, W]",
    advice: "reshape the array: array.reshape(N, H, W), or array[None] for one image",
};

const AMBIGUOUS: NoImages = NoImages {
    expected: "images whose channels are either the second axis or the last, and these may be either",
    advice: "give --layout nchw if channels are before rows and columns, or --layout nhwc if they are behind",
};

const ONE_OR_MANY: NoImages = NoImages {
    expected: "images of shape [N, H, W], and this may as well be one image with its channels last",
    advice: "give --layout nhwc if it is one image with channels last, or --layout nchw if it is many gray images",
};

/// Whether images of gray, colour, or colour with opacity have so many channels.
fn is_usual(channels: u64) -> bool {
    matches!(channels, 1 | 3 | 4)
}

/// Whether so many channels are seen at all, two being gray with opacity.
fn is_seen(channels: u64) -> bool {
    (1..=4).contains(&channels)
}

/// Finds images, channels, rows and columns of an array.
///
/// With four axes, a last axis of 1, 3 or 4 and a second one that is none of these are `[N, H, W, C]`. If both are, or if the last is 2 and
/// the second none of 1 to 4, the array is refused unless `layout` says which it is, or the network takes images of exactly one of
/// the two shapes and cannot take the other. All else is `[N, C, H, W]`.
///
/// With three axes they are `[N, H, W]`. Where the network is known, an array of its exact size may also be one image, or have the rows of gray
/// images flattened, `[N, H * W]`.
pub(crate) fn arrange(
    dimensions: &[u64],
    network: Option<&Preprocess>,
    layout: Option<Layout>,
) -> Result<Arrangement, NoImages> {
    let found = |count: u64, [channels, height, width]: [u64; 3], layout| {
        let dimensions = [count, channels, height, width];
        Ok(Arrangement { dimensions, layout })
    };
    let shape = network.map(|network| {
        let shape = [network.channels, network.height, network.width];
        shape.map(|size| size as u64)
    });
    let is_plane = |plane: [u64; 2]| shape.is_some_and(|shape| shape == [1, plane[0], plane[1]]);
    match *dimensions {
        [count, a, b, c] => {
            let axes = [a, b, c];
            let layout = layout
                .or_else(|| settled(axes, network?))
                .map_or_else(|| by_rule(axes), Ok)?;
            found(count, layout.image(axes), Some(layout))
        }
        [a, b, c] => {
            let axes = [a, b, c];
            let one = |layout: Layout| {
                let image = layout.image(axes);
                image[0] > 1 && shape == Some(image)
            };
            let last = is_seen(c) && a.min(b) > 4;
            match layout {
                Some(Layout::Nhwc) if last || one(Layout::Nhwc) => {
                    found(1, Layout::Nhwc.image(axes), layout)
                }
                Some(Layout::Nhwc) => found(a, [1, b, c], None),
                _ if one(Layout::Nchw) => found(1, axes, Some(Layout::Nchw)),
                Some(Layout::Nchw) => found(a, [1, b, c], None),
                None if c == 1 && is_plane([a, b]) => found(1, [1, a, b], None),
                None if last => Err(ONE_OR_MANY),
                None => found(a, [1, b, c], None),
            }
        }
        [height, width] if is_plane([height, width]) => found(1, [1, height, width], None),
        [count, size] => match shape {
            Some([1, height, width]) if height.checked_mul(width) == Some(size) => {
                found(count, [1, height, width], None)
            }
            _ => Err(SHAPES),
        },
        _ => Err(SHAPES),
    }
}

/// The layout of four axes, but for the first, as far as their sizes tell.
fn by_rule([second, _, last]: [u64; 3]) -> Result<Layout, NoImages> {
    match (is_usual(second), is_usual(last)) {
        (false, true) => Ok(Layout::Nhwc),
        (true, true) => Err(AMBIGUOUS),
        (_, false) if is_seen(last) && !is_seen(second) => Err(AMBIGUOUS),
        (_, false) => Ok(Layout::Nchw),
    }
}

/// The layout whose images have exactly the network's shape, if the network cannot take those of the other.
fn settled(axes: [u64; 3], network: &Preprocess) -> Option<Layout> {
    let same_size = |image: [u64; 3]| image[1..] == [network.height as u64, network.width as u64];
    let is_exact = |image: [u64; 3]| same_size(image) && image[0] == network.channels as u64;
    let is_taken = |image: [u64; 3]| {
        let resized = network.size != SizePolicy::Refuse;
        let channels = usize::try_from(image[0]).unwrap_or(usize::MAX);
        (same_size(image) || resized) && takes_channels(channels, network)
    };
    let [nchw, nhwc] = [Layout::Nchw, Layout::Nhwc].map(|layout| layout.image(axes));
    match (is_exact(nchw), is_exact(nhwc)) {
        // Of single pixels both are the same.
        (true, _) if axes == [1, 1, 1] || !is_taken(nhwc) => Some(Layout::Nchw),
        (_, true) if !is_taken(nchw) => Some(Layout::Nhwc),
        _ => None,
    }
}

/// Values in the order of planes, from that in which the channels of a pixel are beside each other.
pub(crate) fn to_planes<T: Copy>(mut values: Vec<T>, channels: usize, plane: usize) -> Vec<T> {
    if channels == 1 || plane == 1 {
        return values;
    }
    let mut scratch = Vec::with_capacity(channels * plane);
    for image in values.chunks_exact_mut(channels * plane) {
        scratch.clear();
        scratch.extend_from_slice(image);
        for (channel, planar) in image.chunks_exact_mut(plane).enumerate() {
            let beside = scratch[channel..].iter().step_by(channels);
            planar
                .iter_mut()
                .zip(beside)
                .for_each(|(to, from)| *to = *from);
        }
    }
    values
}
