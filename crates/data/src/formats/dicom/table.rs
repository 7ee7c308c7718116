//! Lookup tables: of modalities, of values of interest, of palettes.
//!
//! # Reference
//! DICOM PS3.3, sections C.11.1.1.1, C.11.2.1.1 and C.7.6.3.1.5.

use super::attributes::{Attribute, Item};
use crate::Error;

/// A table from stored or modality values to others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// The value that the first entry is for.
    first: i32,
    entries: Vec<u16>,
    /// Bits of an entry.
    pub(super) bits: u32,
}

impl Table {
    /// Reads a table from its two attributes; `signed` says whether it is for values that may be negative.
    pub(super) fn read(
        item: &Item<'_>,
        descriptor: Attribute,
        data: Attribute,
        signed: bool,
        location: &str,
    ) -> Result<Self, Error> {
        let found = item.words(descriptor, location)?;
        let found = found.ok_or_else(|| descriptor.missing(location))?;
        let &[count, first, bits] = &found[..] else {
            return Err(descriptor.wrong(location, "3 values", format!("{}", found.len())));
        };
        let count = match count {
            0 => 1 << 16,
            count => usize::from(count),
        };
        if !(1..=16).contains(&bits) {
            return Err(descriptor.wrong(location, "entries of 1 to 16 bits", bits.to_string()));
        }
        let bytes = item.bytes(data, location)?;
        let bytes = bytes.ok_or_else(|| data.missing(location))?;
        let is_bytes = bits <= 8 && bytes.len() == count.next_multiple_of(2);
        let entries: Vec<u16> = match is_bytes && bytes.len() != 2 * count {
            // Two entries in a word, the low byte first.
            true if item.big_endian() => {
                let pairs = bytes.as_chunks::<2>().0.iter();
                pairs
                    .flat_map(|&[high, low]| [low.into(), high.into()])
                    .take(count)
                    .collect()
            }
            true => bytes.iter().take(count).map(|&byte| byte.into()).collect(),
            false => item.words(data, location)?.unwrap_or_default(),
        };
        if entries.len() != count {
            let expected = format!("{count} entries as {} says", descriptor.text());
            return Err(data.wrong(location, expected, format!("{} bytes", bytes.len())));
        }
        let bits = u32::from(bits);
        if entries.iter().any(|&entry| u32::from(entry) >> bits != 0) {
            let expected = format!("entries of {bits} bits as {} says", descriptor.text());
            return Err(data.wrong(location, expected, "larger ones"));
        }
        let first = match signed {
            true => i32::from(first.cast_signed()),
            false => i32::from(first),
        };
        Ok(Self {
            first,
            entries,
            bits,
        })
    }

    /// The entry of a value; values before the first and behind the last have those.
    pub(super) fn entry(&self, value: i32) -> u16 {
        let at = value.saturating_sub(self.first).max(0) as usize;
        self.entries[at.min(self.entries.len() - 1)]
    }

    /// The largest entry that the bits allow.
    pub(super) fn most(&self) -> u16 {
        (((1u32 << self.bits) - 1) & 0xffff) as u16
    }
}
