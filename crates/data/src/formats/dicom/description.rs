//! What a file says of its image: sizes, bits, colours.
//!
//! # Reference
//! DICOM PS3.3, sections C.7.6.3 and C.7.6.6.

use super::attributes::{self as known, Attribute, Item};
use super::table::Table;
use crate::Error;
use crate::images::CheckedShape;
use crate::prepare_path::IMAGE_BYTES;

/// The most frames of a file.
const FRAME_LIMIT: u64 = 1 << 16;

/// How far the sides of a pixel may differ, as a ratio.
const SQUARE: f64 = 1.01;

/// What the samples of a pixel mean.
#[derive(Debug)]
pub(super) enum Colour {
    /// Gray; `turned` where the smallest value is white.
    Gray { turned: bool },
    /// One index into three tables.
    Palette([Table; 3]),
    /// Red, green, blue; also what a JPEG 2000 stream turns into them by itself.
    Rgb,
    /// Luminance and chrominance of every pixel.
    Ybr,
    /// Luminance of every pixel, chrominance of every two.
    YbrHalf,
}

/// An image as its file describes it.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) instance: String,
    pub(super) frames: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) samples: usize,
    pub(super) allocated: u32,
    pub(super) stored: u32,
    /// Bits below the lowest one that is stored.
    pub(super) shift: u32,
    pub(super) signed: bool,
    /// Whether the samples lie plane by plane.
    pub(super) planar: bool,
    pub(super) colour: Colour,
    /// The value of pixels that are no part of the image.
    pub(super) padding: Option<i32>,
}

impl Description {
    /// Reads and checks what a file says; `None` where it is no image.
    pub(super) fn read(item: &Item<'_>, location: &str) -> Result<Option<Self>, Error> {
        let parts = [known::ROWS, known::COLUMNS, known::PIXELS];
        if !parts.iter().any(|&part| item.has(part)) {
            return Ok(None);
        }
        let needed = |attribute: Attribute| item.needed(attribute, location);
        let (rows, columns) = (needed(known::ROWS)?, needed(known::COLUMNS)?);
        let samples = needed(known::SAMPLES)?;
        let (allocated, stored) = (needed(known::ALLOCATED)?, needed(known::STORED)?);
        let high = needed(known::HIGH_BIT)?;
        let signed = match needed(known::REPRESENTATION)? {
            0 => false,
            1 => true,
            other => {
                return Err(known::REPRESENTATION.wrong(location, "0 or 1", other.to_string()));
            }
        };
        if ![1, 8, 16, 32].contains(&allocated) {
            let found = allocated.to_string();
            return Err(known::ALLOCATED.wrong(location, "1, 8, 16 or 32", found));
        }
        if !(1..=allocated).contains(&stored) || (signed && stored == 1) {
            let expected = format!("1 to {allocated} (2 at least where values are signed)");
            return Err(known::STORED.wrong(location, expected, stored.to_string()));
        }
        if !(stored - 1..allocated).contains(&high) {
            let expected = format!("{} to {}", stored - 1, allocated - 1);
            return Err(known::HIGH_BIT.wrong(location, expected, high.to_string()));
        }
        let colour = colour(item, signed, location)?;
        let expected = match colour {
            Colour::Gray { .. } | Colour::Palette(_) => 1,
            _ => 3,
        };
        if samples != expected {
            let expected = format!("{expected}, as {} has it", known::PHOTOMETRIC.text());
            return Err(known::SAMPLES.wrong(location, expected, samples.to_string()));
        }
        if signed && samples == 3 {
            return Err(known::REPRESENTATION.wrong(location, "0 for colours", "1"));
        }
        let planar = match item.word(known::PLANAR, location)? {
            None if samples > 1 => return Err(known::PLANAR.missing(location)),
            None | Some(0) => false,
            // Of one sample it says nothing.
            Some(1) => samples > 1,
            Some(other) => return Err(known::PLANAR.wrong(location, "0 or 1", other.to_string())),
        };
        let frames = frames(item, location)?;
        square(item, location)?;
        let instance = item.text(known::INSTANCE, location)?;
        let instance = instance.ok_or_else(|| known::INSTANCE.missing(location))?;
        if instance.len() > 64
            || !instance
                .bytes()
                .all(|byte| byte == b'.' || byte.is_ascii_digit())
        {
            let expected = "at most 64 digits and dots";
            return Err(known::INSTANCE.wrong(location, expected, "another text"));
        }
        let padding = item
            .word(known::PADDING, location)?
            .map(|word| match signed {
                true => i32::from(word.cast_signed()),
                false => i32::from(word),
            });
        let described = Self {
            instance: instance.to_owned(),
            frames: frames as usize,
            rows: rows.into(),
            columns: columns.into(),
            samples: samples.into(),
            allocated: allocated.into(),
            stored: stored.into(),
            shift: u32::from(high + 1 - stored),
            signed,
            planar,
            colour,
            padding,
        };
        described.shape(location)?;
        Ok(Some(described))
    }

    /// Images, channels, rows and columns as they are read, checked against the limits.
    pub(super) fn shape(&self, location: &str) -> Result<CheckedShape, Error> {
        let channels = match self.colour {
            Colour::Gray { .. } => 1,
            _ => 3,
        };
        let dimensions = [self.frames, channels, self.rows, self.columns];
        let bytes = self.bytes_a_value();
        let shape = CheckedShape::new(dimensions.map(|size| size as u64), bytes, location)?;
        let of_frame = shape.values() / shape.count * bytes;
        let what = "size of an image in bytes";
        Error::check_limit(location, what, of_frame, IMAGE_BYTES)?;
        Ok(shape)
    }

    /// Bytes of a value in memory, at most.
    pub(super) fn bytes_a_value(&self) -> u64 {
        4
    }

    /// Pixels of a frame.
    pub(super) fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// The smallest and the largest value that can be stored.
    pub(super) fn stored_range(&self) -> (f64, f64) {
        let count = 2f64.powi(self.stored as i32);
        match self.signed {
            true => (-count / 2.0, count / 2.0 - 1.0),
            false => (0.0, count - 1.0),
        }
    }

    /// Rows, columns and bits in words.
    pub(super) fn size_text(&self) -> String {
        format!("{}x{}x{}", self.samples, self.rows, self.columns)
    }
}

fn colour(item: &Item<'_>, signed: bool, location: &str) -> Result<Colour, Error> {
    let found = item.text(known::PHOTOMETRIC, location)?;
    let found = found.ok_or_else(|| known::PHOTOMETRIC.missing(location))?;
    let shape = item.text(known::PRESENTATION_SHAPE, location)?;
    let table = |descriptor, data| Table::read(item, descriptor, data, signed, location);
    let colour = match found {
        "MONOCHROME1" => Colour::Gray { turned: true },
        "MONOCHROME2" => Colour::Gray { turned: false },
        "PALETTE COLOR" => Colour::Palette([
            table(known::RED_DESCRIPTOR, known::RED_DATA)?,
            table(known::GREEN_DESCRIPTOR, known::GREEN_DATA)?,
            table(known::BLUE_DESCRIPTOR, known::BLUE_DATA)?,
        ]),
        "RGB" | "YBR_RCT" | "YBR_ICT" => Colour::Rgb,
        "YBR_FULL" => Colour::Ybr,
        "YBR_FULL_422" => Colour::YbrHalf,
        _ => {
            let expected = "MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB, YBR_FULL, YBR_FULL_422, YBR_RCT or YBR_ICT";
            return Err(known::PHOTOMETRIC.wrong(location, expected, "another value"));
        }
    };
    // Two attributes that say the same of gray images.
    match (&colour, shape) {
        (Colour::Gray { turned: true }, Some("IDENTITY"))
        | (Colour::Gray { turned: false }, Some("INVERSE")) => Err(known::PRESENTATION_SHAPE
            .wrong(
                location,
                format!(
                    "INVERSE for MONOCHROME1 and IDENTITY for MONOCHROME2, as {} has it",
                    known::PHOTOMETRIC.text()
                ),
                "the other of the two",
            )),
        _ => Ok(colour),
    }
}

fn frames(item: &Item<'_>, location: &str) -> Result<u64, Error> {
    let frames = item.number(known::FRAMES, location)?.unwrap_or(1.0);
    if frames < 1.0 || frames.fract() != 0.0 {
        return Err(known::FRAMES.wrong(location, "a whole number from 1", "another number"));
    }
    // A float beyond the limit becomes a number beyond it.
    Error::check_limit(location, "number of frames", frames as u64, FRAME_LIMIT)?;
    Ok(frames as u64)
}

/// Refuses pixels that are not square: a network would see the image stretched.
fn square(item: &Item<'_>, location: &str) -> Result<(), Error> {
    let check = |item: &Item<'_>, attribute: Attribute| match item.numbers(attribute, location)? {
        None => Ok(()),
        Some(sides) => match sides[..] {
            [height, width] if height > 0.0 && width > 0.0 => {
                if (1.0 / SQUARE..=SQUARE).contains(&(height / width)) {
                    return Ok(());
                }
                let expected = format!("square pixels in {}", attribute.text());
                let found = format!("pixels of a height of {height} and a width of {width}");
                let advice = "resample the image to square pixels first, as the images that the network was trained with";
                Err(Error::malformed(location, expected, found, advice))
            }
            _ => Err(attribute.wrong(location, "2 numbers above 0", "others")),
        },
    };
    for attribute in [
        known::SPACING,
        known::IMAGER_SPACING,
        known::SCANNED_SPACING,
        known::ASPECT,
    ] {
        check(item, attribute)?;
    }
    for groups in [known::SHARED_GROUPS, known::FRAME_GROUPS] {
        for group in item.items(groups, location)? {
            for measures in group.items(known::PIXEL_MEASURES, location)? {
                check(measures, known::SPACING)?;
            }
        }
    }
    Ok(())
}
