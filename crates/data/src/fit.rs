//! How images of any size and colour become planes of a network's size.

use std::borrow::Cow;
use std::ops::Range;

use sordino_graph::{ColorPolicy, Filter, Preprocess, SizePolicy};

use crate::images::map;
use crate::prepare::Scale;
use crate::resample::{Resampling, Sample, Side};
use crate::{Error, Images, Pixels};

/// Most bytes of what is computed on the way, of one plane.
const PLANE_BYTES: u64 = 384 << 20;

/// Channels of colour with opacity.
const WITH_OPACITY: usize = 4;

/// Whether images of so many channels become those that a network takes.
pub(crate) fn takes_channels(found: usize, preprocess: &Preprocess) -> bool {
    let opaque = match found {
        WITH_OPACITY if preprocess.channels != WITH_OPACITY => WITH_OPACITY - 1,
        other => other,
    };
    let convert = preprocess.color == ColorPolicy::Convert;
    opaque == preprocess.channels
        || convert && matches!((opaque, preprocess.channels), (3, 1) | (1, 3))
}

/// Images without their fourth channel, where the network takes fewer: an opacity, as in pictures, which must be full everywhere.
pub(crate) fn opaque<'i>(
    images: &'i Images,
    preprocess: &Preprocess,
) -> Result<Cow<'i, Images>, Error> {
    let is_colour = images.channels == WITH_OPACITY && preprocess.channels != WITH_OPACITY;
    // Images that are not taken are refused for that.
    if !is_colour || !takes_channels(WITH_OPACITY, preprocess) {
        return Ok(Cow::Borrowed(images));
    }
    let (size, plane) = (images.elements(), images.height * images.width);
    let full = match images.pixels {
        Pixels::U8(_) => f64::from(u8::MAX),
        Pixels::U16(_) => f64::from(u16::MAX),
        Pixels::F32(_) => {
            return Err(Error::malformed(
                &*images.origin,
                "gray or RGB images, or bytes or 16-bit values with opacity as fourth channel",
                "four channels of floating-point numbers",
                "leave out the channel that is not colour before saving, as with array[..., :3] where channels are last",
            ));
        }
    };
    let starts = || (0..images.len()).map(|index| index * size);
    let clear = starts().find(|start| {
        let opacity = start + size - plane..start + size;
        opacity
            .into_iter()
            .any(|at| images.pixels.value(at) != full)
    });
    if let Some(start) = clear {
        return Err(Error::malformed(
            images.describe(start / size),
            "an opaque image: a fourth channel that is full everywhere",
            "transparent pixels",
            "flatten it onto a background first, or leave the channel out if it is no opacity",
        ));
    }
    let pixels = map!(&images.pixels, values => {
        starts().flat_map(|start| &values[start..start + size - plane]).copied().collect()
    });
    Ok(Cow::Owned(Images {
        channels: WITH_OPACITY - 1,
        pixels,
        labels: images.labels.clone(),
        matrix: images.matrix.clone(),
        names: images.names.clone(),
        origin: images.origin.clone(),
        notes: images.notes.clone(),
        ..*images
    }))
}

/// Where the pixels of the network's image come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placement {
    filter: Filter,
    /// Black rows before the image, and rows with them.
    rows: (usize, usize),
    /// Black columns before the image, and columns with them.
    columns: (usize, usize),
    /// How padded rows and columns are resized and cut.
    sides: [Side; 2],
}

/// First of `kept` pixels in the middle of `of`, as torchvision rounds it: halves to even.
fn middle(of: usize, kept: usize) -> usize {
    let rest = of - kept;
    rest / 2 + usize::from(rest % 4 == 3)
}

impl Placement {
    fn new((height, width): (usize, usize), preprocess: &Preprocess) -> Self {
        let target = (preprocess.height, preprocess.width);
        let mut place = Self {
            filter: Filter::Nearest,
            rows: (0, height),
            columns: (0, width),
            sides: [Side {
                from: 0,
                to: 0,
                first: 0,
                kept: 0,
            }; 2],
        };
        let (filter, to) = match preprocess.size {
            SizePolicy::Stretch {
                filter,
                height,
                width,
            } => (filter, (height, width)),
            SizePolicy::Crop { filter, shorter } if width <= height => {
                (filter, (shorter * height / width, shorter))
            }
            SizePolicy::Crop { filter, shorter } => (filter, (shorter, shorter * width / height)),
            SizePolicy::Pad { filter } => {
                let full = (
                    height.max((width * target.0).div_ceil(target.1)),
                    width.max((height * target.1).div_ceil(target.0)),
                );
                place.rows = ((full.0 - height) / 2, full.0);
                place.columns = ((full.1 - width) / 2, full.1);
                (filter, target)
            }
            // The shape was checked: it is the network's.
            _ => (Filter::Nearest, target),
        };
        let side = |from, to, kept| Side {
            from,
            to,
            first: middle(to, kept),
            kept,
        };
        place.filter = filter;
        place.sides = [
            side(place.rows.1, to.0, target.0),
            side(place.columns.1, to.1, target.1),
        ];
        place
    }

    /// Bytes that a plane takes on the way.
    fn bytes(&self) -> u64 {
        let [rows, columns] = self.sides;
        let padded = self.rows.1 as u64 * self.columns.1 as u64;
        let between =
            (rows.from as u64 * columns.kept as u64).max(rows.kept as u64 * columns.from as u64);
        4 * padded.saturating_add(between)
    }

    /// The plane with its black rows and columns.
    fn pad<'p, T: Sample>(&self, plane: &'p [T], width: usize, black: T) -> Cow<'p, [T]> {
        let (full_rows, full_columns) = (self.rows.1, self.columns.1);
        if full_rows * full_columns == plane.len() {
            return Cow::Borrowed(plane);
        }
        let mut out = vec![black; full_rows * full_columns];
        for (row, values) in plane.chunks_exact(width).enumerate() {
            let start = (self.rows.0 + row) * full_columns + self.columns.0;
            out[start..start + width].copy_from_slice(values);
        }
        Cow::Owned(out)
    }
}

/// Appends images of another size or colour, prepared.
pub(crate) fn fit_part(
    images: &Images,
    preprocess: &Preprocess,
    scale: &Scale,
    out: &mut Vec<f32>,
) -> Result<(), Error> {
    let place = Placement::new((images.height, images.width), preprocess);
    Error::check_limit(
        &images.origin,
        "size of a plane in bytes while it is resized",
        place.bytes(),
        PLANE_BYTES,
    )?;
    let black = scale.black();
    let is_integer = |most: u16| black.fract() == 0.0 && (0.0..=f64::from(most)).contains(&black);
    let fitting = Fitting {
        images,
        preprocess,
        scale,
    };
    // Black that the type cannot have is padded with in floating point.
    match &images.pixels {
        Pixels::U8(values) if is_integer(u8::MAX.into()) => {
            fitting.run(
                &place,
                black as u8,
                |range| Cow::Borrowed(&values[range]),
                out,
            );
        }
        Pixels::U16(values) if is_integer(u16::MAX) => {
            fitting.run(
                &place,
                black as u16,
                |range| Cow::Borrowed(&values[range]),
                out,
            );
        }
        pixels => {
            let values = |range: Range<usize>| range.map(|at| pixels.value(at) as f32).collect();
            fitting.run::<f32>(&place, black as f32, |range| Cow::Owned(values(range)), out);
        }
    }
    Ok(())
}

struct Fitting<'a> {
    images: &'a Images,
    preprocess: &'a Preprocess,
    scale: &'a Scale,
}

impl Fitting<'_> {
    fn run<'v, T: Sample + 'v>(
        &self,
        place: &Placement,
        black: T,
        values: impl Fn(Range<usize>) -> Cow<'v, [T]>,
        out: &mut Vec<f32>,
    ) {
        let Self {
            images,
            preprocess,
            scale,
        } = self;
        let [rows, columns] = place.sides;
        let resampling = Resampling::new(place.filter, rows, columns);
        let (size, plane) = (images.elements(), images.height * images.width);
        let mut fit = |values: &[T], channels: Range<usize>| {
            let fitted = resampling.apply(&place.pad(values, images.width, black));
            for channel in channels {
                let convert = |&value: &T| {
                    let raw = scale.within_allowed(value.into());
                    preprocess.normalize(channel, scale.to_model(raw)) as f32
                };
                out.extend(fitted.iter().map(convert));
            }
        };
        for index in 0..images.len() {
            let image = values(index * size..(index + 1) * size);
            if (images.channels, preprocess.channels) == (3, 1) {
                let gray: Vec<T> = (0..plane)
                    .map(|at| T::gray([image[at], image[plane + at], image[2 * plane + at]]))
                    .collect();
                fit(&gray, 0..1);
            } else if (images.channels, preprocess.channels) == (1, 3) {
                fit(&image, 0..3);
            } else {
                for (channel, values) in image.chunks_exact(plane).enumerate() {
                    fit(values, channel..channel + 1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_rounded_as_torchvision_does() {
        // int(round((of - kept) / 2.0)) in Python.
        for (rest, expected) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 2),
            (6, 3),
            (7, 4),
        ] {
            assert_eq!(middle(10 + rest, 10), expected, "{rest}");
        }
    }
}
