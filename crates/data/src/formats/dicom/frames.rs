//! The bytes of every frame: a part of native pixel data, or fragments of encapsulated ones.
//!
//! # Reference
//! DICOM PS3.5, section A.4.

use std::borrow::Cow;

use super::attributes::{self as known, Item, PixelBytes};
use super::description::{Colour, Description};
use crate::Error;

/// Native pixel data may be longer than needed by this part of a frame, as some writers fill up their last rows. Where they are longer by
/// more, the description of the image is likely wrong.
const FILL: usize = 16;

/// Pixel data, frame by frame.
pub(super) enum Frames<'i, 'a> {
    /// All bytes, whether they are written in words, and whether there are more than needed.
    Native {
        bytes: &'a [u8],
        words: bool,
        longer: bool,
    },
    /// Fragments of every frame.
    Encapsulated(Vec<&'i [&'a [u8]]>),
}

impl<'i, 'a> Frames<'i, 'a> {
    /// Finds the frames, all of which must be there.
    pub(super) fn find(
        item: &'i Item<'a>,
        described: &Description,
        encapsulated: bool,
        location: &str,
    ) -> Result<Self, Error> {
        let pixels = item
            .pixels()
            .ok_or_else(|| known::PIXELS.missing(location))?;
        match (pixels, encapsulated) {
            (PixelBytes::Native { bytes, words }, false) => {
                let expected = bits_of_frame(described)
                    .saturating_mul(described.frames)
                    .div_ceil(8);
                let fill = (bits_of_frame(described) / 8 / FILL).max(1);
                if !(expected..=expected + fill).contains(&bytes.len()) {
                    let expected = format!(
                        "{expected} bytes for {} frames of {} with {} bits allocated",
                        described.frames,
                        described.size_text(),
                        described.allocated
                    );
                    return Err(known::PIXELS.wrong(location, expected, bytes.len().to_string()));
                }
                Ok(Self::Native {
                    bytes,
                    words,
                    longer: bytes.len() > expected.next_multiple_of(2),
                })
            }
            (PixelBytes::Encapsulated(fragments), true) => {
                split(item, fragments, described.frames, location).map(Self::Encapsulated)
            }
            (_, encapsulated) => {
                let kinds = ["native values", "fragments"];
                let (expected, found) = match encapsulated {
                    true => (kinds[1], kinds[0]),
                    false => (kinds[0], kinds[1]),
                };
                let expected = format!("{expected}, as {} has it", known::TRANSFER_SYNTAX.text());
                Err(known::PIXELS.wrong(location, expected, found))
            }
        }
    }

    /// The fragments of an encapsulated frame as one.
    pub(super) fn joined(&self, frame: usize) -> Cow<'a, [u8]> {
        match self {
            Self::Encapsulated(frames) => match frames[frame] {
                [one] => Cow::Borrowed(one),
                several => Cow::Owned(several.concat()),
            },
            Self::Native { bytes, .. } => Cow::Borrowed(bytes),
        }
    }
}

/// Bits of a native frame. Frames of single bits follow each other without a gap.
pub(super) fn bits_of_frame(described: &Description) -> usize {
    // Two pixels have two luminances and share their chrominances.
    let samples = match described.colour {
        Colour::YbrHalf => 2,
        _ => described.samples,
    };
    described.pixels() * samples * described.allocated as usize
}

fn split<'i, 'a>(
    item: &Item<'a>,
    fragments: &'i [&'a [u8]],
    frames: usize,
    location: &str,
) -> Result<Vec<&'i [&'a [u8]]>, Error> {
    let Some((table, fragments)) = fragments.split_first() else {
        return Err(known::PIXELS.wrong(location, "an offset table", "nothing"));
    };
    if fragments.is_empty() {
        return Err(known::PIXELS.wrong(location, "fragments", "none"));
    }
    if frames == 1 {
        return Ok(vec![fragments]);
    }
    if fragments.len() == frames {
        return Ok(fragments.chunks(1).collect());
    }
    let extended = item.bytes(known::EXTENDED_OFFSETS, location)?;
    let offsets: Vec<u64> = match extended {
        Some(offsets) => offsets
            .as_chunks()
            .0
            .iter()
            .map(|&offset| u64::from_le_bytes(offset))
            .collect(),
        None => {
            let offsets = table.as_chunks().0.iter();
            offsets
                .map(|&offset| u32::from_le_bytes(offset).into())
                .collect()
        }
    };
    let wrong = |found: String| {
        let expected = format!("{frames} frames, one a fragment or told by an offset table,");
        Err(known::PIXELS.wrong(location, expected, found))
    };
    if offsets.len() != frames {
        let found = format!(
            "{} fragments and {} offsets",
            fragments.len(),
            offsets.len()
        );
        return wrong(found);
    }
    // Where fragments begin, counted from the first, each with the 8 bytes of its own header.
    let mut at = 0;
    let mut starts: Vec<u64> = Vec::with_capacity(fragments.len());
    for fragment in fragments {
        starts.push(at);
        at += fragment.len() as u64 + 8;
    }
    let firsts: Option<Vec<usize>> = offsets
        .iter()
        .map(|offset| starts.binary_search(offset).ok())
        .collect();
    match firsts {
        Some(firsts) if firsts[0] == 0 && firsts.is_sorted_by(|a, b| a < b) => {
            let ends = firsts.iter().skip(1).copied().chain([fragments.len()]);
            let ranges = firsts.iter().zip(ends);
            Ok(ranges.map(|(&first, end)| &fragments[first..end]).collect())
        }
        _ => wrong("offsets that are no beginnings of fragments".into()),
    }
}
