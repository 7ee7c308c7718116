//! From the bytes of a frame to values, plane by plane: bits, signs, colours.
//!
//! # Reference
//! DICOM PS3.5, section 8.1; PS3.3, section C.7.6.3.1.2.

use super::attributes::{self as known};
use super::codec::Decoded;
use super::description::{Colour, Description};
use super::frames::bits_of_frame;
use crate::Error;

/// Integers that 32-bit floating point has exactly are below this, as those of arrays.
const EXACT: u32 = 1 << 24;

/// The bits of every sample of a native frame, `[row, column, sample]`.
pub(super) fn native(
    bytes: &[u8],
    words: bool,
    big_endian: bool,
    described: &Description,
    frame: usize,
) -> Vec<u32> {
    let bits = bits_of_frame(described);
    if described.allocated == 1 {
        let start = frame * bits;
        let swapped = usize::from(big_endian && words);
        return (start..start + bits)
            .map(|at| u32::from(bytes[(at / 8) ^ swapped] >> (at % 8) & 1))
            .collect();
    }
    let length = bits / 8;
    let start = frame * length;
    let part = &bytes[start..start + length];
    let samples: Vec<u32> = match (described.allocated, big_endian) {
        // Bytes in words of which the high byte comes first; the last word may be filled up.
        (8, true) if words => (start..start + length)
            .map(|at| bytes.get(at ^ 1).copied().unwrap_or(0).into())
            .collect(),
        (8, _) => part.iter().map(|&byte| byte.into()).collect(),
        (16, false) => part
            .as_chunks()
            .0
            .iter()
            .map(|&word| u16::from_le_bytes(word).into())
            .collect(),
        (16, true) => part
            .as_chunks()
            .0
            .iter()
            .map(|&word| u16::from_be_bytes(word).into())
            .collect(),
        (_, false) => part
            .as_chunks()
            .0
            .iter()
            .map(|&long| u32::from_le_bytes(long))
            .collect(),
        (_, true) => part
            .as_chunks()
            .0
            .iter()
            .map(|&long| u32::from_be_bytes(long))
            .collect(),
    };
    let pixels = described.pixels();
    if let Colour::YbrHalf = described.colour {
        let spread = samples.as_chunks().0.iter();
        return spread
            .flat_map(|&[first, second, cb, cr]| [first, cb, cr, second, cb, cr])
            .collect();
    }
    match described.planar {
        false => samples,
        true => (0..pixels)
            .flat_map(|pixel| samples[pixel..].iter().step_by(pixels).copied())
            .collect(),
    }
}

/// The values of a frame, `[channel, row, column]`; gray ones are as they are stored.
pub(super) fn values(
    decoded: Decoded,
    described: &Description,
    location: &str,
) -> Result<Vec<i32>, Error> {
    let Decoded { samples, bits } = decoded;
    let (shift, stored) = match bits {
        None => (described.shift, described.stored),
        // A stream has the bits that are stored and no others.
        Some(bits) => (0, bits),
    };
    if bits.is_some_and(|bits| bits < described.stored) {
        let found = format!("a stream of {stored} bits");
        let expected = format!("a stream of {} bits", described.stored);
        return Err(known::STORED.wrong(location, expected, found));
    }
    let unused = 32 - stored;
    let value = |raw: u32| {
        let raw = (raw >> shift) << unused;
        let value = match described.signed {
            true => i64::from(raw.cast_signed() >> unused),
            false => i64::from(raw >> unused),
        };
        i32::try_from(value)
            .ok()
            .filter(|value| value.unsigned_abs() <= EXACT)
    };
    let values: Option<Vec<i32>> = samples.into_iter().map(value).collect();
    let Some(values) = values else {
        let expected =
            format!("values of at most {EXACT}, which 32-bit floating point has exactly,");
        return Err(known::PIXELS.wrong(location, expected, "larger ones"));
    };
    if bits.is_some() {
        let (low, high) = described.stored_range();
        if values
            .iter()
            .any(|&value| !(low..=high).contains(&value.into()))
        {
            let found = format!("a value in a stream of {stored} bits that needs more");
            return Err(known::STORED.wrong(location, described.stored, found));
        }
    }
    let pixels = described.pixels();
    Ok(match &described.colour {
        Colour::Gray { .. } => values,
        Colour::Palette(tables) => {
            let of_table = tables.iter().flat_map(|table| {
                let entry = |&value: &i32| i32::from(table.entry(value));
                values.iter().map(entry)
            });
            of_table.collect()
        }
        Colour::Rgb => planes(&values, pixels, |pixel| pixel),
        Colour::Ybr | Colour::YbrHalf => {
            if described.stored != 8 {
                let found = described.stored.to_string();
                return Err(known::STORED.wrong(location, "8 for YBR", found));
            }
            planes(&values, pixels, rgb)
        }
    })
}

fn planes(values: &[i32], pixels: usize, convert: impl Fn([i32; 3]) -> [i32; 3]) -> Vec<i32> {
    let mut planes = vec![0; values.len()];
    for (at, &pixel) in values.as_chunks().0.iter().enumerate() {
        for (channel, value) in convert(pixel).into_iter().enumerate() {
            planes[channel * pixels + at] = value;
        }
    }
    planes
}

/// Red, green and blue of luminance and chrominance.
fn rgb([y, cb, cr]: [i32; 3]) -> [i32; 3] {
    let (y, cb, cr) = (f64::from(y), f64::from(cb - 128), f64::from(cr - 128));
    // The inverse of the matrix in PS3.3, section C.7.6.3.1.2.
    let (red, blue) = (1.402, 1.772);
    let green = (0.114 * blue / 0.587, 0.299 * red / 0.587);
    [y + red * cr, y - green.0 * cb - green.1 * cr, y + blue * cb]
        .map(|value| (value + 0.5).floor().clamp(0.0, 255.0) as i32)
}
