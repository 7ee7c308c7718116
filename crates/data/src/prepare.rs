//! From raw pixels to a network's input.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma};
use sordino_graph::{Preprocess, SizePolicy};

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
/// [`Error::Shape`] for another number of channels, or another size under [`SizePolicy::Refuse`]; [`Error::Value`]
/// for a value that is not finite or not accepted, naming the image; [`Error::Range`] for an empty `range`, and for
/// floating-point images that all lie in 0..1 where the network takes a much wider range and none was given.
///
/// # Reference
/// Resizing is `image`'s triangle filter, that is bilinear where it enlarges and an area average where it shrinks.
pub fn prepare(
    images: &Images,
    preprocess: &Preprocess,
    range: Option<(f64, f64)>,
) -> Result<Vec<f32>, Error> {
    preprocess.validate()?;
    let scale = Scale::new(preprocess, range)?;
    if let Pixels::F32(values) = &images.pixels
        && is_in_unit(values)
    {
        check_unit_range(&images.origin, preprocess, range)?;
    }
    let count = images.len() as u64;
    let bytes = count
        .saturating_mul(preprocess.elements() as u64)
        .saturating_mul(4);
    let what = "size of the prepared images in bytes";
    Error::check_limit(&images.origin, what, bytes, PIXEL_BYTES)?;
    let mut out = Vec::new();
    reserve(&mut out, bytes / 4, &images.origin)?;
    prepare_part(images, preprocess, &scale, &mut out)?;
    Ok(out)
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
    let advice = if channels != preprocess.channels {
        match (channels, preprocess.channels) {
            (1, 3) => "convert gray images to RGB first",
            (3, 1) => "convert RGB images to gray first",
            _ => {
                "save the images in the order [N, C, H, W] (channels before rows), with the network's number of channels"
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
            overridden: range.is_some(),
        })
    }

    fn to_model(&self, raw: f64) -> f64 {
        if self.overridden {
            self.to.0 + (raw - self.from.0) / (self.from.1 - self.from.0) * (self.to.1 - self.to.0)
        } else {
            raw
        }
    }

    /// Refuses values that are not finite or not accepted.
    fn check(&self, images: &Images) -> Result<(), Error> {
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
        let advice = match images.pixels {
            _ if !found.is_finite() => "values must be finite: repair this image or leave it out",
            Pixels::U16(_) if !self.overridden => {
                "these are 16-bit images: give --range 0..65535, or the range that they use"
            }
            _ => {
                "give --range A..B with the raw values of black and white, or leave this image out"
            }
        };
        let image = images.describe(at / images.elements());
        Err(Error::Value {
            image,
            found,
            low,
            high,
            advice: advice.into(),
        })
    }
}

/// Whether all values lie in 0..1.
pub(crate) fn is_in_unit(values: &[f32]) -> bool {
    values.iter().all(|value| (0.0..=1.0).contains(value))
}

/// Refuses floating-point images that all lie in 0..1 where the network takes a much wider range and none was given: the usual mistake
/// with arrays, which would classify nearly black images without a word.
pub(crate) fn check_unit_range(
    location: &str,
    preprocess: &Preprocess,
    range: Option<(f64, f64)>,
) -> Result<(), Error> {
    let (low, high) = preprocess.input_range;
    if range.is_some() || high - low <= 4.0 {
        return Ok(());
    }
    Err(Error::Range {
        what: format!("{location}: all values lie in 0..1, the network takes {low}..{high}"),
        advice: "give --range 0..1, or the network's own range if the values are meant as they are",
    })
}

/// Resizes one plane and appends it, normalized.
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
