//! NumPy's `.npy`: magic, version, a header that is a Python dictionary, values.
//!
//! The header comes from outside. Its length is checked first; then its three keys are read as JSON, whose parser limits how
//! deep it recurses. General parsers of Python literals do neither.
//!
//! # Reference
//! NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays"; numpy.lib.format.

use serde::Deserialize;

use super::Sink;
use crate::images::{CheckedShape, image_dimensions};
use crate::prepare_path::Bounds;
use crate::source::Source;
use crate::{Error, Images, Pixels};

/// NumPy itself refuses longer headers by default (10,000 characters).
const HEADER_LIMIT: u64 = 10_000;
const DIMENSION_LIMIT: usize = 8;

struct Header {
    /// NumPy's kind letter: `u`, `i`, `f`, ...
    kind: char,
    big_endian: bool,
    width: u64,
    shape: Vec<u64>,
}

/// The header's dictionary.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entries {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

/// Reads the dictionary by turning its Python literals into JSON: strings, booleans, and tuples of integers.
fn parse(text: &str) -> Option<Entries> {
    let mut json = text.to_owned();
    let literals = [
        ("'", "\""),
        ("True", "true"),
        ("False", "false"),
        ("(", "["),
        (")", "]"),
    ];
    // Python 2 wrote long integers with an L.
    for (python, other) in literals.into_iter().chain([("L,", ","), ("L]", "]")]) {
        json = json.replace(python, other);
    }
    // Python allows a comma before a closing bracket, JSON does not.
    let json = json.split(',').map(str::to_owned).reduce(|json, part| {
        let comma = if part.trim_start().starts_with([']', '}']) {
            ""
        } else {
            ","
        };
        json + comma + &part
    })?;
    let entries: Entries = serde_json::from_str(&json).ok()?;
    (entries.shape.len() <= DIMENSION_LIMIT).then_some(entries)
}

/// Splits a type such as `<f4` into byte order, kind and width.
fn parse_type(descr: &str) -> Option<(bool, char, u64)> {
    let mut letters = descr.chars();
    let (order, kind) = (letters.next()?, letters.next()?);
    let width: u64 = letters.as_str().parse().ok()?;
    let big_endian = match order {
        '<' | '=' => false,
        '>' => true,
        '|' if width == 1 => false,
        _ => return None,
    };
    Some((big_endian, kind, width))
}

fn header(source: &mut Source) -> Result<Header, Error> {
    let [magic @ .., major, _minor]: [u8; 8] = source.array()?;
    let advice = "save the array again with numpy.save";
    if magic != *b"\x93NUMPY" {
        return Err(source.wrong("a .npy array", "another format", advice));
    }
    let length = match major {
        1 => u64::from(u16::from_le_bytes(source.array()?)),
        2 | 3 => u64::from(u32::from_le_bytes(source.array()?)),
        _ => {
            let found = format!("version {major}");
            return Err(source.wrong(".npy version 1, 2 or 3", found, advice));
        }
    };
    let (location, what) = (source.location(), ".npy header length");
    Error::check_limit(location, what, length, HEADER_LIMIT)?;
    let bytes = source.bytes(length)?;
    let text = String::from_utf8_lossy(&bytes);
    let Some(entries) = parse(&text) else {
        let expected = "a .npy header with a plain descr, fortran_order and shape";
        let shortened: String = text.trim().chars().take(120).collect();
        return Err(source.wrong(expected, shortened, advice));
    };
    if entries.fortran_order && entries.shape.len() > 1 {
        let advice = "save numpy.ascontiguousarray(array)";
        return Err(source.wrong("values in C order", "Fortran order", advice));
    }
    let Some((big_endian, kind, width)) = parse_type(&entries.descr) else {
        let found = format!("{:?}", entries.descr);
        return Err(source.wrong("a number type such as |u1 or <f4", found, advice));
    };
    Ok(Header {
        kind,
        big_endian,
        width,
        shape: entries.shape,
    })
}

fn wrong_type(source: &Source, header: &Header, expected: &str) -> Error {
    let Header { kind, width, .. } = header;
    let found = format!("{kind}{width} ({width} bytes a value)");
    let advice = "convert with array.astype(...) and save again";
    source.wrong(expected, found, advice)
}

/// Whether an array could be images: three or four dimensions of a type that is read.
pub(crate) fn looks_like_images(mut source: Source) -> Result<bool, Error> {
    let header = header(&mut source)?;
    let readable = matches!((header.kind, header.width), ('u', 1 | 2) | ('f', 4 | 8));
    Ok(readable && matches!(header.shape.len(), 3 | 4))
}

/// The header of an array of images.
fn images_header(source: &mut Source) -> Result<(Header, CheckedShape), Error> {
    let header = header(source)?;
    let Some(dimensions) = image_dimensions(&header.shape) else {
        let found = format!("shape {:?}", header.shape);
        let advice = "reshape the array and save it again";
        return Err(source.wrong("[N, C, H, W] or [N, H, W]", found, advice));
    };
    let shape = CheckedShape::new(dimensions, header.width, source.location())?;
    Ok((header, shape))
}

/// The next values.
fn pixels(source: &mut Source, header: &Header, count: u64) -> Result<Pixels, Error> {
    let big = header.big_endian;
    Ok(match (header.kind, header.width) {
        ('u', 1) => Pixels::U8(source.bytes(count)?),
        ('u', 2) => Pixels::U16(source.elements(count, |b| u16::from_le_bytes(little(b, big)))?),
        ('f', 4) => Pixels::F32(source.elements(count, |b| f32::from_le_bytes(little(b, big)))?),
        ('f', 8) => {
            Pixels::F32(source.elements(count, |b| f64::from_le_bytes(little(b, big)) as f32)?)
        }
        _ => {
            let expected = "u1, u2, f4 or f8 (uint8, uint16, float32, float64)";
            return Err(wrong_type(source, header, expected));
        }
    })
}

/// Reads images, `[N, C, H, W]` or `[N, H, W]`.
pub(crate) fn images(mut source: Source) -> Result<Images, Error> {
    let (header, shape) = images_header(&mut source)?;
    let pixels = pixels(&mut source, &header, shape.values())?;
    let location = source.finish()?;
    Images::new(shape.image(), pixels, None, None, location)
}

/// Reads images part by part.
pub(crate) fn parts(mut source: Source, bounds: &Bounds<'_>, sink: &mut Sink) -> Result<(), Error> {
    let (header, shape) = images_header(&mut source)?;
    bounds.check(&shape, header.width, source.location())?;
    let part = bounds.part(&shape, header.width);
    for count in shape.parts(part) {
        let pixels = pixels(&mut source, &header, count)?;
        sink(Images::new(
            shape.image(),
            pixels,
            None,
            None,
            source.location(),
        )?)?;
    }
    source.finish().map(drop)
}

/// The bytes of a value in little-endian order.
fn little<const W: usize>(mut bytes: [u8; W], big_endian: bool) -> [u8; W] {
    if big_endian {
        bytes.reverse();
    }
    bytes
}

/// Reads labels, `[N]` or `[N, 1]`, of any integer type.
pub(crate) fn labels(mut source: Source) -> Result<Vec<u16>, Error> {
    let header = header(&mut source)?;
    let ([count] | [count, 1]) = *header.shape else {
        let found = format!("shape {:?}", header.shape);
        let advice = "give one class number per image";
        return Err(source.wrong("labels of shape [N] or [N, 1]", found, advice));
    };
    if !matches!((header.kind, header.width), ('u' | 'i', 1 | 2 | 4 | 8)) {
        return Err(wrong_type(&source, &header, "labels of an integer type"));
    }
    let bytes = source.bytes(count.saturating_mul(header.width))?;
    let location = source.finish()?;
    let convert = |(index, bytes): (usize, &[u8])| {
        let value = integer(bytes, header.big_endian, header.kind == 'i');
        u16::try_from(value).map_err(|_| {
            let found = format!("{value} at index {index}");
            Error::malformed(
                &*location,
                "labels 0 to 65535",
                found,
                "number the classes from 0",
            )
        })
    };
    let values = bytes.chunks_exact(header.width as usize);
    values.enumerate().map(convert).collect()
}

/// An integer of up to 8 bytes. Every one fits `i128`.
fn integer(bytes: &[u8], big_endian: bool, signed: bool) -> i128 {
    let mut bytes = bytes.to_vec();
    if !big_endian {
        bytes.reverse();
    }
    let negative = signed && bytes[0] >= 0x80;
    let start = if negative { -1 } else { 0 };
    bytes
        .iter()
        .fold(start, |value, &byte| value << 8 | i128::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_as_numpy_writes_them_are_understood() {
        for (text, shape) in [
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 28, 28), }          \n",
                vec![4, 28, 28],
            ),
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': (), }\n",
                vec![],
            ),
            (
                "{'shape': (5,), 'fortran_order': False, 'descr': '|u1'}",
                vec![5],
            ),
            (
                "{\"descr\":\"|u1\",\"fortran_order\":False,\"shape\":(3L,2L)}",
                vec![3, 2],
            ),
        ] {
            let entries = Entries {
                descr: "|u1".into(),
                fortran_order: false,
                shape,
            };
            assert_eq!(parse(text), Some(entries), "{text}");
        }
        assert_eq!(parse_type(">f8"), Some((true, 'f', 8)));
        assert_eq!(parse_type("|u1"), Some((false, 'u', 1)));
    }

    #[test]
    fn other_headers_are_refused() {
        for text in [
            "",
            "{",
            "{}",
            "{'descr': '|u1', 'shape': (1,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'more': 1}",
            "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,)}",
            "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1 1)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} x",
            "{'descr': '|u1, 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '\u{fc}', 'fortran_order': False",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        for descr in ["", "u1", "<", "<u", "|O8x", "|u2", "<f-4", "\u{e4}\u{e4}1"] {
            assert_eq!(parse_type(descr), None, "{descr}");
        }
    }
}
