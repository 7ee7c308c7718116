//! The data elements of a file, of which only those that images need are kept.
//!
//! The headers are read with `dicom-parser`. Everything else of a data set (names, dates, numbers, private elements, overlays, icons) is
//! skipped by its length: it is neither decoded nor copied, and no message can have it.
//!
//! # Reference
//! DICOM PS3.5, section 7; PS3.10, section 7.1.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use dicom_core::{Tag, VR};
use dicom_encoding::decode::DecodeFrom;
use dicom_encoding::decode::explicit_be::ExplicitVRBigEndianDecoder;
use dicom_parser::StatefulDecode;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;

use super::elements::{Elements, implicit};
use super::unknown;
use crate::Error;

/// An attribute by its tag and its name in the standard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute(u16, u16, &'static str);

macro_rules! attributes {
    ($($name:ident = ($group:literal, $element:literal, $words:literal);)*) => {
        $(pub(super) const $name: Attribute = Attribute($group, $element, $words);)*

        /// All that is kept of a data set.
        const KEPT: &[Attribute] = &[$($name),*];
    };
}

attributes! {
    TRANSFER_SYNTAX = (0x0002, 0x0010, "Transfer Syntax UID");
    RECORDS = (0x0004, 0x1220, "Directory Record Sequence");
    RECORD_TYPE = (0x0004, 0x1430, "Directory Record Type");
    RECORD_FILE = (0x0004, 0x1500, "Referenced File ID");
    INSTANCE = (0x0008, 0x0018, "SOP Instance UID");
    IMAGER_SPACING = (0x0018, 0x1164, "Imager Pixel Spacing");
    SCANNED_SPACING = (0x0018, 0x2010, "Nominal Scanned Pixel Spacing");
    SAMPLES = (0x0028, 0x0002, "Samples per Pixel");
    PHOTOMETRIC = (0x0028, 0x0004, "Photometric Interpretation");
    PLANAR = (0x0028, 0x0006, "Planar Configuration");
    FRAMES = (0x0028, 0x0008, "Number of Frames");
    ROWS = (0x0028, 0x0010, "Rows");
    COLUMNS = (0x0028, 0x0011, "Columns");
    SPACING = (0x0028, 0x0030, "Pixel Spacing");
    ASPECT = (0x0028, 0x0034, "Pixel Aspect Ratio");
    ALLOCATED = (0x0028, 0x0100, "Bits Allocated");
    STORED = (0x0028, 0x0101, "Bits Stored");
    HIGH_BIT = (0x0028, 0x0102, "High Bit");
    REPRESENTATION = (0x0028, 0x0103, "Pixel Representation");
    PADDING = (0x0028, 0x0120, "Pixel Padding Value");
    CENTRE = (0x0028, 0x1050, "Window Center");
    WIDTH = (0x0028, 0x1051, "Window Width");
    INTERCEPT = (0x0028, 0x1052, "Rescale Intercept");
    SLOPE = (0x0028, 0x1053, "Rescale Slope");
    FUNCTION = (0x0028, 0x1056, "VOI LUT Function");
    RED_DESCRIPTOR = (0x0028, 0x1101, "Red Palette Color Lookup Table Descriptor");
    GREEN_DESCRIPTOR = (0x0028, 0x1102, "Green Palette Color Lookup Table Descriptor");
    BLUE_DESCRIPTOR = (0x0028, 0x1103, "Blue Palette Color Lookup Table Descriptor");
    RED_DATA = (0x0028, 0x1201, "Red Palette Color Lookup Table Data");
    GREEN_DATA = (0x0028, 0x1202, "Green Palette Color Lookup Table Data");
    BLUE_DATA = (0x0028, 0x1203, "Blue Palette Color Lookup Table Data");
    MODALITY_TABLES = (0x0028, 0x3000, "Modality LUT Sequence");
    TABLE_DESCRIPTOR = (0x0028, 0x3002, "LUT Descriptor");
    TABLE_DATA = (0x0028, 0x3006, "LUT Data");
    VOI_TABLES = (0x0028, 0x3010, "VOI LUT Sequence");
    PIXEL_MEASURES = (0x0028, 0x9110, "Pixel Measures Sequence");
    FRAME_VOI = (0x0028, 0x9132, "Frame VOI LUT Sequence");
    VALUE_TRANSFORMATION = (0x0028, 0x9145, "Pixel Value Transformation Sequence");
    PRESENTATION_SHAPE = (0x2050, 0x0020, "Presentation LUT Shape");
    SHARED_GROUPS = (0x5200, 0x9229, "Shared Functional Groups Sequence");
    FRAME_GROUPS = (0x5200, 0x9230, "Per-frame Functional Groups Sequence");
    EXTENDED_OFFSETS = (0x7fe0, 0x0001, "Extended Offset Table");
    PIXELS = (0x7fe0, 0x0010, "Pixel Data");
}

impl Attribute {
    fn tag(self) -> Tag {
        Tag(self.0, self.1)
    }

    fn of(tag: Tag) -> Option<Self> {
        KEPT.iter().copied().find(|kept| kept.tag() == tag)
    }

    /// Name and tag, for messages.
    pub(super) fn text(self) -> String {
        let Self(group, element, name) = self;
        format!("{name} ({group:04x},{element:04x})")
    }

    /// The error that this attribute is not as it should be.
    pub(super) fn wrong(
        self,
        location: &str,
        expected: impl std::fmt::Display,
        found: impl Into<String>,
    ) -> Error {
        let expected = format!("{expected} in {}", self.text());
        Error::malformed(location, expected, found, EXPORT)
    }

    /// The error that this attribute is not there.
    pub(super) fn missing(self, location: &str) -> Error {
        let expected = format!("the attribute {}", self.text());
        Error::malformed(location, expected, "none", EXPORT)
    }

    /// The error that this attribute is there twice.
    pub(super) fn twice(self, location: &str) -> Error {
        let expected = format!("the attribute {} once", self.text());
        Error::malformed(location, expected, "it twice", EXPORT)
    }
}

/// Whether a kept attribute is a sequence.
pub(super) fn is_sequence(tag: Tag) -> bool {
    let sequences = [
        RECORDS,
        MODALITY_TABLES,
        VOI_TABLES,
        PIXEL_MEASURES,
        FRAME_VOI,
        VALUE_TRANSFORMATION,
        SHARED_GROUPS,
        FRAME_GROUPS,
    ];
    sequences.iter().any(|sequence| sequence.tag() == tag)
}

/// What to try where a file is not as the standard says.
pub(super) const EXPORT: &str = "fetch or export the file again, or move it out";

/// How deep sequences may be in one another.
const DEPTH: usize = 64;

/// How the elements of a data set are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Encoding {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
}

/// A value as it lies in the file.
#[derive(Debug)]
enum Value<'a> {
    Bytes(VR, &'a [u8]),
    Items(Vec<Item<'a>>),
    Fragments(Vec<&'a [u8]>),
}

/// Elements of a data set or of an item of a sequence.
#[derive(Debug)]
pub(super) struct Item<'a> {
    elements: BTreeMap<Tag, Value<'a>>,
    big_endian: bool,
}

/// Pixel data as they lie in the file.
pub(super) enum PixelBytes<'i, 'a> {
    /// All frames, and whether they are written in words.
    Native { bytes: &'a [u8], words: bool },
    /// The basic offset table and the fragments.
    Encapsulated(&'i [&'a [u8]]),
}

/// Reads the data elements that images need.
pub(super) fn read<'a>(
    data: &'a [u8],
    encoding: Encoding,
    location: &str,
) -> Result<Item<'a>, Error> {
    // Some writers mix the two up. Types are two capital letters, which are no length of a first element.
    let is_typed = matches!(data.get(4..6), Some([b'A'..=b'Z', b'A'..=b'Z']));
    let encoding = match (encoding, is_typed) {
        (Encoding::ExplicitLittle, false) if data.len() > 8 => Encoding::ImplicitLittle,
        (Encoding::ImplicitLittle, true) => Encoding::ExplicitLittle,
        (encoding, _) => encoding,
    };
    let big = ExplicitVRBigEndianDecoder::default;
    // The reader expects some order of items that no file has to have, though none is known to get it there.
    let read = catch_unwind(|| match encoding {
        Encoding::ImplicitLittle => walk(data, implicit(), false, location),
        Encoding::ExplicitLittle => walk(data, unknown::Explicit::default(), false, location),
        Encoding::ExplicitBig => walk(data, big(), true, location),
    });
    read.unwrap_or_else(|_| {
        let found = "bytes on which the reader fails";
        Err(Error::malformed(
            location,
            "whole DICOM data elements",
            found,
            EXPORT,
        ))
    })
}

/// What is open while a data set is read.
enum Open<'a> {
    Item(Item<'a>),
    Sequence(Tag, Vec<Item<'a>>),
    Fragments(Vec<&'a [u8]>),
    /// An item or a sequence of which nothing is kept.
    Skipped,
}

fn walk<'a, D>(
    data: &'a [u8],
    decoder: D,
    big_endian: bool,
    location: &str,
) -> Result<Item<'a>, Error>
where
    D: DecodeFrom<&'a [u8]>,
{
    let damaged = |at: u64| {
        let found = format!("bytes that are none, or a cut file, at byte {at} of the data set");
        Error::malformed(location, "whole DICOM data elements", found, EXPORT)
    };
    let end = data.len() as u64;
    let new_item = || Item {
        elements: BTreeMap::new(),
        big_endian,
    };
    let mut reader = LazyDataSetReader::new(Elements::new(data, decoder));
    let mut open = vec![Open::Item(new_item())];
    let mut at = 0;
    // Takes a value's bytes without copying them.
    let value = |start: u64, length: u32| {
        let bytes = data.get(start as usize..(start + u64::from(length)) as usize);
        bytes.ok_or_else(|| damaged(start))
    };
    while let Some(token) = reader.advance() {
        match token.map_err(|_| damaged(at))? {
            LazyDataToken::ElementHeader(_) => {}
            LazyDataToken::LazyValue { header, decoder } => {
                let start = decoder.position();
                let length = header.len.get().ok_or_else(|| damaged(start))?;
                let bytes = value(start, length)?;
                decoder.skip_bytes(length).map_err(|_| damaged(start))?;
                at = decoder.position();
                if let Some(Open::Item(item)) = open.last_mut() {
                    item.keep(header.tag, Value::Bytes(header.vr, bytes), location)?;
                }
            }
            LazyDataToken::SequenceStart { tag, .. } => {
                let kept = matches!(open.last(), Some(Open::Item(_)));
                open.push(match kept && Attribute::of(tag).is_some() {
                    true => Open::Sequence(tag, Vec::new()),
                    false => Open::Skipped,
                });
            }
            LazyDataToken::PixelSequenceStart => {
                let kept = matches!(open.last(), Some(Open::Item(_)));
                open.push(match kept {
                    true => Open::Fragments(Vec::new()),
                    false => Open::Skipped,
                });
            }
            LazyDataToken::ItemStart { .. } => match open.last_mut() {
                Some(Open::Fragments(fragments)) => fragments.push(&[]),
                Some(Open::Sequence(..)) => open.push(Open::Item(new_item())),
                _ => open.push(Open::Skipped),
            },
            LazyDataToken::LazyItemValue { len, decoder } => {
                let start = decoder.position();
                let bytes = value(start, len)?;
                decoder.skip_bytes(len).map_err(|_| damaged(start))?;
                at = decoder.position();
                if let Some(Open::Fragments(fragments)) = open.last_mut() {
                    *fragments.last_mut().ok_or_else(|| damaged(start))? = bytes;
                }
            }
            LazyDataToken::ItemEnd => match open.last() {
                Some(Open::Fragments(_)) => {}
                _ => close_item(&mut open).ok_or_else(|| damaged(at))?,
            },
            LazyDataToken::SequenceEnd => {
                let closed = match open.pop() {
                    Some(Open::Sequence(tag, items)) => Some((tag, Value::Items(items))),
                    Some(Open::Fragments(fragments)) => {
                        Some((PIXELS.tag(), Value::Fragments(fragments)))
                    }
                    Some(Open::Skipped) => None,
                    Some(Open::Item(_)) | None => return Err(damaged(at)),
                };
                match (closed, open.last_mut()) {
                    (Some((tag, value)), Some(Open::Item(item))) => {
                        item.keep(tag, value, location)?;
                    }
                    (None, Some(_)) => {}
                    _ => return Err(damaged(at)),
                }
            }
            _ => return Err(damaged(at)),
        }
        if open.len() > DEPTH {
            let expected = format!("DICOM sequences at most {DEPTH} deep");
            let found = "deeper ones";
            return Err(Error::malformed(location, expected, found, EXPORT));
        }
    }
    let read = reader.into_decoder().position();
    match (open.pop(), open.is_empty()) {
        // Fewer bytes than a tag may be left, which the reader takes for the end.
        (Some(Open::Item(item)), true) if read == end => Ok(item),
        _ => Err(damaged(read)),
    }
}

/// Puts an item that ended into its sequence; `None` where there is none.
fn close_item(open: &mut Vec<Open<'_>>) -> Option<()> {
    let closed = open.pop()?;
    match (closed, open.last_mut()?) {
        (Open::Item(item), Open::Sequence(_, items)) => items.push(item),
        (Open::Skipped, _) => {}
        _ => return None,
    }
    Some(())
}

impl<'a> Item<'a> {
    fn keep(&mut self, tag: Tag, value: Value<'a>, location: &str) -> Result<(), Error> {
        let Some(attribute) = Attribute::of(tag) else {
            return Ok(());
        };
        match self.elements.insert(tag, value) {
            None => Ok(()),
            Some(_) => Err(attribute.twice(location)),
        }
    }

    /// Whether the attribute is there, with or without a value.
    pub(super) fn has(&self, attribute: Attribute) -> bool {
        self.elements.contains_key(&attribute.tag())
    }

    /// The bytes of a value; `None` where there is none or an empty one.
    pub(super) fn bytes(
        &self,
        attribute: Attribute,
        location: &str,
    ) -> Result<Option<&'a [u8]>, Error> {
        match self.elements.get(&attribute.tag()) {
            None => Ok(None),
            Some(Value::Bytes(_, bytes)) => Ok(Some(*bytes).filter(|bytes| !bytes.is_empty())),
            Some(_) => Err(attribute.wrong(location, "a value", "a sequence")),
        }
    }

    /// The values of a text, without the blanks around them.
    pub(super) fn texts(
        &self,
        attribute: Attribute,
        location: &str,
    ) -> Result<Option<Vec<&'a str>>, Error> {
        let Some(bytes) = self.bytes(attribute, location)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes)
            .ok()
            .filter(|text| text.is_ascii());
        let text = text.ok_or_else(|| attribute.wrong(location, "ASCII", "other bytes"))?;
        let blank = |letter: char| letter == ' ' || letter == '\0';
        let texts: Vec<&str> = text
            .split('\\')
            .map(|text| text.trim_matches(blank))
            .collect();
        Ok(Some(texts).filter(|texts| texts.iter().any(|text| !text.is_empty())))
    }

    /// The one value of a text.
    pub(super) fn text(
        &self,
        attribute: Attribute,
        location: &str,
    ) -> Result<Option<&'a str>, Error> {
        self.texts(attribute, location)?
            .map(|texts| single(texts, attribute, location))
            .transpose()
    }

    /// The values of numbers that are written as text.
    pub(super) fn numbers(
        &self,
        attribute: Attribute,
        location: &str,
    ) -> Result<Option<Vec<f64>>, Error> {
        let Some(texts) = self.texts(attribute, location)? else {
            return Ok(None);
        };
        let numbers = texts.into_iter().map(|text| {
            let number = text.parse().ok().filter(|number: &f64| number.is_finite());
            number.ok_or_else(|| attribute.wrong(location, "numbers", "another text"))
        });
        numbers.collect::<Result<_, _>>().map(Some)
    }

    /// The one value of a number that is written as text.
    pub(super) fn number(
        &self,
        attribute: Attribute,
        location: &str,
    ) -> Result<Option<f64>, Error> {
        self.numbers(attribute, location)?
            .map(|numbers| single(numbers, attribute, location))
            .transpose()
    }

    /// The values of 16-bit numbers.
    pub(super) fn words(
        &self,
        attribute: Attribute,
        location: &str,
    ) -> Result<Option<Vec<u16>>, Error> {
        let Some(bytes) = self.bytes(attribute, location)? else {
            return Ok(None);
        };
        let (words, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(attribute.wrong(location, "16-bit numbers", "an odd number of bytes"));
        }
        let convert = match self.big_endian {
            true => u16::from_be_bytes,
            false => u16::from_le_bytes,
        };
        Ok(Some(words.iter().map(|&word| convert(word)).collect()))
    }

    /// The one value of a 16-bit number.
    pub(super) fn word(&self, attribute: Attribute, location: &str) -> Result<Option<u16>, Error> {
        self.words(attribute, location)?
            .map(|words| single(words, attribute, location))
            .transpose()
    }

    /// The one value of a 16-bit number that must be there.
    pub(super) fn needed(&self, attribute: Attribute, location: &str) -> Result<u16, Error> {
        let word = self.word(attribute, location)?;
        word.ok_or_else(|| attribute.missing(location))
    }

    /// The items of a sequence; none where it is not there.
    pub(super) fn items(&self, attribute: Attribute, location: &str) -> Result<&[Item<'a>], Error> {
        match self.elements.get(&attribute.tag()) {
            None => Ok(&[]),
            Some(Value::Items(items)) => Ok(items),
            Some(_) => Err(attribute.wrong(location, "a sequence", "a value")),
        }
    }

    /// The pixel data; `None` where there are none.
    pub(super) fn pixels(&self) -> Option<PixelBytes<'_, 'a>> {
        match self.elements.get(&PIXELS.tag())? {
            Value::Bytes(vr, bytes) => Some(PixelBytes::Native {
                bytes,
                words: *vr == VR::OW,
            }),
            Value::Fragments(fragments) => Some(PixelBytes::Encapsulated(fragments)),
            Value::Items(_) => None,
        }
    }

    /// Whether 16-bit numbers have their high byte first.
    pub(super) fn big_endian(&self) -> bool {
        self.big_endian
    }
}

fn single<T>(values: Vec<T>, attribute: Attribute, location: &str) -> Result<T, Error> {
    let found = match values.len() {
        1 => None,
        count => Some(format!("{count} values")),
    };
    match (found, values.into_iter().next()) {
        (None, Some(value)) => Ok(value),
        (found, _) => Err(attribute.wrong(location, "one value", found.unwrap_or_default())),
    }
}
