//! From raw pixels to a network's input.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma};
use sordino_graph::{Preprocess, SizePolicy};

use crate::error::ValueCause;
use crate::extent::{Extent, Seen};
use crate::fit::{fit_part, opaque, takes_channels};
use crate::images::each;
use crate::source::{PIXEL_BYTES, reserve};
use crate::{Error, Images, Pixels};

/// Applies a network's preprocessing: checks values, brings images to size, scales to [0, 1], normalizes.
///
/// `range` replaces the raw values that become 0 and 1; the accepted values move with it.
///
/// # Shapes
/// The result is `[images, channels, height, width]` with the sizes of `preprocess`.
///
/// # Errors
/// [`Error::Shape`] for a number of channels that the preprocessing does not convert, or another size under [`SizePolicy::Refuse`];
/// [`Error::Malformed`] for transparent pixels; [`Error::Value`]
/// for a value that is not finite or not accepted, naming the image; [`Error::Range`] for an empty `range`; [`Error::Scale`], where no `range` was given, for
/// images that are almost surely scaled for another network, such as those that all lie in 0..1 where the network takes bytes.
///
/// # Reference
/// Resizing has the numbers of Pillow, and so of torchvision and timm: bytes to the last bit, other values in floating point. Results stay within
/// the accepted values. [`SizePolicy::Resize`] of earlier versions is `image`'s triangle filter.
pub fn prepare(
    images: &Images,
    preprocess: &Preprocess,
    range: Option<(f64, f64)>,
) -> Result<Vec<f32>, Error> {
    prepare_noted(images, preprocess, range).map(|(prepared, _)| prepared)
}

/// Prepares images as [`prepare`] does, and gives notes on what was guessed, one sentence each.
///
/// # Errors
/// Those of [`prepare`].
pub fn prepare_noted(
    images: &Images,
    preprocess: &Preprocess,
    range: Option<(f64, f64)>,
) -> Result<(Vec<f32>, Vec<String>), Error> {
    preprocess.validate()?;
    let scale = Scale::new(preprocess, range)?;
    let images = &*opaque(images, preprocess)?;
    let mut seen = Seen::new();
    seen.see(images, preprocess);
    let mut notes = images.notes.clone();
    notes.extend(seen.check(&images.origin, preprocess, range)?);
    let count = images.len() as u64;
    let bytes = count
        .saturating_mul(preprocess.elements() as u64)
        .saturating_mul(4);
    let what = "size of the prepared images in bytes";
    Error::check_limit(&images.origin, what, bytes, PIXEL_BYTES)?;
    let mut out = Vec::new();
    reserve(&mut out, bytes / 4, &images.origin)?;
    prepare_part(images, preprocess, &scale, &mut out)?;
    Ok((out, notes))
}

/// Appends prepared images.
pub(crate) fn prepare_part(
    images: &Images,
    preprocess: &Preprocess,
    scale: &Scale,
    out: &mut Vec<f32>,
) -> Result<(), Error> {
    let shape = (images.channels, images.height, images.width);
    check_shape(shape, preprocess, &images.origin)?;
    scale.check(images)?;
    let plain = matches!(preprocess.size, SizePolicy::Refuse | SizePolicy::Resize);
    if !plain || images.channels != preprocess.channels {
        return fit_part(images, preprocess, scale, out);
    }
    let plane = images.height * images.width;
    let resize = (images.height, images.width) != (preprocess.height, preprocess.width);
    for index in 0..images.len() * images.channels {
        let (start, channel) = (index * plane, index % images.channels);
        if resize {
            resize_into(images, start, channel, preprocess, scale, out);
            continue;
        }
        let convert = |raw: f64| preprocess.normalize(channel, scale.to_model(raw)) as f32;
        let end = start + plane;
        each!(&images.pixels, values => {
            out.extend(values[start..end].iter().map(|&raw| convert(raw.into())));
        });
    }
    Ok(())
}

/// Refuses images of a shape that the network does not take and that resizing cannot change.
pub(crate) fn check_shape(
    (channels, height, width): (usize, usize, usize),
    preprocess: &Preprocess,
    location: &str,
) -> Result<(), Error> {
    let same_size = (height, width) == (preprocess.height, preprocess.width);
    let advice = if !takes_channels(channels, preprocess) {
        match (channels, preprocess.channels) {
            (1, 3) => "convert gray images to RGB first; this network was made without converting",
            (3 | 4, 1) => {
                "convert RGB images to gray first; this network was made without converting"
            }
            _ => {
                "give images with the network's number of channels, and if these are arrays whose channels were mistaken, --layout nchw or --layout nhwc"
            }
        }
    } else if !same_size && preprocess.size == SizePolicy::Refuse {
        "bring the images to that size first; this network was trained without resizing"
    } else {
        return Ok(());
    };
    Err(Error::Shape {
        location: location.to_owned(),
        expected: format!(
            "{}x{}x{}",
            preprocess.channels, preprocess.height, preprocess.width
        ),
        found: format!("{channels}x{height}x{width}"),
        advice,
    })
}

/// How raw values map to the scale that the model was made for.
pub(crate) struct Scale {
    /// Raw values that correspond to the model's `input_range`.
    from: (f64, f64),
    to: (f64, f64),
    /// Raw values that are accepted.
    allowed: (f64, f64),
    overridden: bool,
    given: bool,
}

impl Scale {
    pub(crate) fn new(preprocess: &Preprocess, range: Option<(f64, f64)>) -> Result<Self, Error> {
        let to = preprocess.input_range;
        let from = range.unwrap_or(to);
        if !(from.0.is_finite() && from.1.is_finite() && from.0 < from.1) {
            let what = format!("the range {}..{} is empty", from.0, from.1);
            return Err(Error::Range {
                what,
                advice: "give the raw values of black and white, such as 0..255",
            });
        }
        let back = |value: f64| from.0 + (value - to.0) / (to.1 - to.0) * (from.1 - from.0);
        let allowed = match range {
            Some(_) => (back(preprocess.allowed.0), back(preprocess.allowed.1)),
            None => preprocess.allowed,
        };
        Ok(Self {
            from,
            to,
            allowed,
            overridden: from != to,
            given: range.is_some(),
        })
    }

    /// The raw value of black.
    pub(crate) fn black(&self) -> f64 {
        self.from.0
    }

    /// The accepted value next to one that a filter overshot to.
    pub(crate) fn within_allowed(&self, raw: f64) -> f64 {
        raw.clamp(self.allowed.0, self.allowed.1)
    }

    pub(crate) fn to_model(&self, raw: f64) -> f64 {
        if self.overridden {
            self.to.0 + (raw - self.from.0) / (self.from.1 - self.from.0) * (self.to.1 - self.to.0)
        } else {
            raw
        }
    }

    /// Refuses values that are not finite or not accepted.
    fn check(&self, images: &Images) -> Result<(), Error> {
        if images.windowed && self.given {
            return Err(Error::Range {
                what: format!(
                    "{}: the network takes these values through a window, which gives them its own range",
                    images.origin
                ),
                advice: "leave out --range",
            });
        }
        let (low, high) = self.allowed;
        // Room for the rounding of f32 input and of a moved range, not for wrong values.
        let slack = (high - low) * 1e-6;
        let accepted = low - slack..=high + slack;
        let refused = |value: f64| !accepted.contains(&value);
        let bad =
            each!(&images.pixels, values => values.iter().position(|&raw| refused(raw.into())));
        let Some(at) = bad else {
            return Ok(());
        };
        let found = images.pixels.value(at);
        let extent = Extent::of_all(&images.pixels);
        let cause = if !found.is_finite() {
            ValueCause::NotFinite
        } else if self.given {
            ValueCause::OutsideGiven
        } else if matches!(images.pixels, Pixels::U16(_)) {
            ValueCause::Words
        } else if let Some(range) = extent.usual(&images.pixels) {
            ValueCause::Usual(range)
        } else if extent.low < 0.0 && extent.low > -10.0 && extent.high < 10.0 {
            ValueCause::Standardized
        } else {
            ValueCause::Other
        };
        Err(Error::Value {
            image: images.describe(at / images.elements()),
            found,
            low,
            high,
            cause,
            flag: "--range",
        })
    }
}

/// Resizes one plane as [`SizePolicy::Resize`] says, and appends it, normalized.
fn resize_into(
    images: &Images,
    start: usize,
    channel: usize,
    preprocess: &Preprocess,
    scale: &Scale,
    out: &mut Vec<f32>,
) {
    let (low, high) = scale.allowed;
    // `image` keeps f32 samples within [0, 1], so accepted values are mapped there and back.
    let plane: Vec<f32> = (start..start + images.height * images.width)
        .map(|at| ((images.pixels.value(at) - low) / (high - low)) as f32)
        .collect();
    // Sides are at most 2^14: the readers and the limit on the prepared size see to it.
    let buffer =
        ImageBuffer::<Luma<f32>, _>::from_raw(images.width as u32, images.height as u32, plane);
    let buffer = buffer.expect("a plane has height x width values");
    let resized = imageops::resize(
        &buffer,
        preprocess.width as u32,
        preprocess.height as u32,
        FilterType::Triangle,
    );
    let convert = |value: f32| {
        let raw = low + f64::from(value) * (high - low);
        preprocess.normalize(channel, scale.to_model(raw)) as f32
    };
    out.extend(resized.into_raw().into_iter().map(convert));
}
