//! NumPy's `.npy`: magic, version, a header that is a Python dictionary, values.
//!
//! The header comes from outside. Its length is checked first; then its three keys are read as JSON, whose parser limits how
//! deep it recurses. General parsers of Python literals do neither.
//!
//! # Reference
//! NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays"; numpy.lib.format.

use std::cell::Cell;

use serde::Deserialize;

use super::Sink;
use crate::array_layout::arrange;
use crate::images::{CheckedShape, map};
use crate::labels::{LabelMatrix, Targets};
use crate::prepare_path::Bounds;
use crate::source::Source;
use crate::{Error, Images, Pixels, Reader};

/// NumPy itself refuses longer headers by default (10,000 characters).
const HEADER_LIMIT: u64 = 10_000;
const DIMENSION_LIMIT: usize = 8;

struct Header {
    /// NumPy's kind letter: `u`, `i`, `f`, ...
    kind: char,
    big_endian: bool,
    width: u64,
    shape: Vec<u64>,
    /// Whether the first index changes fastest.
    fortran_order: bool,
}

impl Header {
    /// Whether images of this type are read.
    fn is_number(&self) -> bool {
        matches!(
            (self.kind, self.width),
            ('b', 1) | ('u' | 'i', 1 | 2 | 4 | 8) | ('f', 2 | 4 | 8)
        )
    }
}

/// How likely an array is one of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Likeness {
    /// Another shape or another type.
    None,
    /// The shape of images, of a type that masks and labels have as well.
    Weak,
    /// The shape and the type of images.
    Strong,
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

/// Reads a header; the inner error is that of an array that is sound and has values of another kind than plain numbers.
fn any_header(source: &mut Source) -> Result<Result<Header, Error>, Error> {
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
        return Ok(Err(source.wrong(expected, shortened, advice)));
    };
    let Some((big_endian, kind, width)) = parse_type(&entries.descr) else {
        let found = format!("{:?}", entries.descr);
        let advice = "convert with array.astype(...) and save again";
        return Ok(Err(source.wrong(
            "a number type such as |u1 or <f4",
            found,
            advice,
        )));
    };
    Ok(Ok(Header {
        kind,
        big_endian,
        width,
        fortran_order: entries.fortran_order && entries.shape.len() > 1,
        shape: entries.shape,
    }))
}

fn header(source: &mut Source) -> Result<Header, Error> {
    any_header(source)?
}

fn wrong_type(source: &Source, header: &Header, expected: &str, advice: &str) -> Error {
    let Header { kind, width, .. } = header;
    let kind = match kind {
        'U' | 'S' => "strings".to_owned(),
        'f' => format!("floating-point numbers ({kind}{width})"),
        'b' => "truth values".to_owned(),
        'c' => "complex numbers".to_owned(),
        _ => format!("{kind}{width}"),
    };
    source.wrong(expected, kind, advice)
}

/// Whether an array could be images; a damaged one is an error.
pub(crate) fn likeness(mut source: Source, reader: Reader<'_>) -> Result<Likeness, Error> {
    let Ok(header) = any_header(&mut source)? else {
        return Ok(Likeness::None);
    };
    if !header.is_number() || arrange(&header.shape, reader.network, reader.layout).is_err() {
        // Images that are refused for their order are still what was meant.
        let refused = header.is_number() && matches!(header.shape.len(), 3 | 4);
        return Ok(if refused {
            Likeness::Strong
        } else {
            Likeness::None
        });
    }
    let usual =
        matches!((header.kind, header.width), ('u', 1 | 2) | ('f', _)) && header.shape.len() > 2;
    Ok(if usual {
        Likeness::Strong
    } else {
        Likeness::Weak
    })
}

/// The header of an array of images.
fn images_header(source: &mut Source, reader: Reader<'_>) -> Result<(Header, CheckedShape), Error> {
    let header = header(source)?;
    let arranged = arrange(&header.shape, reader.network, reader.layout);
    let arranged = arranged.map_err(|why| {
        source.wrong(
            why.expected,
            format!("shape {:?}", header.shape),
            why.advice,
        )
    })?;
    if !header.is_number() {
        let expected =
            "numbers of at most 64 bits (bool, int8 to int64, uint8 to uint64, float16 to float64)";
        let advice = "convert with array.astype(...) and save again";
        return Err(wrong_type(source, &header, expected, advice));
    }
    let shape = CheckedShape::of(arranged, header.width, source.location())?;
    Ok((header, shape))
}

/// The next values. Integers must be exact as 32-bit floating point, where no type of their own is kept for them.
fn pixels(source: &mut Source, header: &Header, count: u64) -> Result<Pixels, Error> {
    let big = header.big_endian;
    // The first value that is not exact.
    let inexact = Cell::new(None);
    let exact = |value: i128| {
        let rounded = value as f32;
        if rounded as i128 != value {
            inexact.set(inexact.get().or(Some(value)));
        }
        rounded
    };
    macro_rules! integers {
        ($kind:ty) => {
            Pixels::F32(source.elements(count, |b| {
                exact(<$kind>::from_le_bytes(little(b, big)).into())
            })?)
        };
    }
    let pixels = match (header.kind, header.width) {
        ('b', 1) => Pixels::U8(source.elements(count, |[byte]| u8::from(byte != 0))?),
        ('u', 1) => Pixels::U8(source.bytes(count)?),
        ('u', 2) => Pixels::U16(source.elements(count, |b| u16::from_le_bytes(little(b, big)))?),
        ('u', 4) => integers!(u32),
        ('u', _) => integers!(u64),
        ('i', 1) => integers!(i8),
        ('i', 2) => integers!(i16),
        ('i', 4) => integers!(i32),
        ('i', _) => integers!(i64),
        ('f', 2) => {
            Pixels::F32(source.elements(count, |b| half(u16::from_le_bytes(little(b, big))))?)
        }
        ('f', 4) => Pixels::F32(source.elements(count, |b| f32::from_le_bytes(little(b, big)))?),
        _ => Pixels::F32(source.elements(count, |b| f64::from_le_bytes(little(b, big)) as f32)?),
    };
    match inexact.get() {
        None => Ok(pixels),
        Some(value) => Err(source.wrong(
            "integers that 32-bit floating point has exactly",
            value.to_string(),
            "check that these are images, or scale the values before they are saved",
        )),
    }
}

/// A 16-bit floating-point number.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * (-24f32).exp2(),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * ((exponent - 25) as f32).exp2(),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// Values in the order in which the last index changes fastest, from that in which the first does.
fn from_fortran<T: Copy>(values: &[T], shape: &[u64]) -> Vec<T> {
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut out = Vec::with_capacity(values.len());
    while out.len() < values.len() {
        out.push(values[at as usize]);
        let mut stride = values.len() as u64;
        for (position, &size) in index.iter_mut().zip(shape).rev() {
            stride /= size;
            *position += 1;
            at += stride;
            if *position < size {
                break;
            }
            at -= size * stride;
            *position = 0;
        }
    }
    out
}

/// All values of an array, the last index changing fastest.
fn all_pixels(source: &mut Source, header: &Header, shape: &CheckedShape) -> Result<Pixels, Error> {
    let pixels = pixels(source, header, shape.values())?;
    if !header.fortran_order {
        return Ok(pixels);
    }
    Ok(map!(pixels, values => from_fortran(&values, &header.shape)))
}

/// Reads images; see [`arrange`] for their shapes.
pub(crate) fn images(mut source: Source, reader: Reader<'_>) -> Result<Images, Error> {
    let (header, shape) = images_header(&mut source, reader)?;
    let pixels = all_pixels(&mut source, &header, &shape)?;
    let location = source.finish()?;
    shape.images(pixels, &location)
}

/// Reads images part by part.
pub(crate) fn parts(mut source: Source, bounds: &Bounds<'_>, sink: &mut Sink) -> Result<(), Error> {
    let (header, shape) = images_header(&mut source, bounds.reader())?;
    bounds.check(&shape, header.width, source.location())?;
    let mut give = |pixels: Pixels, location: &str| sink(shape.images(pixels, location)?);
    if header.fortran_order {
        // The values of an image are all over the file.
        let pixels = all_pixels(&mut source, &header, &shape)?;
        let location = source.finish()?;
        return give(pixels, &location);
    }
    for count in shape.parts(bounds.part(&shape, header.width)) {
        let pixels = pixels(&mut source, &header, count)?;
        give(pixels, source.location())?;
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

/// Reads labels: classes, `[N]` or `[N, 1]`, of any integer type, or findings of 0 and 1, `[N, L]`, of any type of numbers or truth values.
/// A finding of -1 in signed integers, and of NaN in floating point, is unknown.
pub(crate) fn labels(mut source: Source) -> Result<Targets, Error> {
    let header = header(&mut source)?;
    let count = match *header.shape {
        [count] | [count, 1] => count,
        [count, columns] if header.is_number() => {
            return matrix(source, &header, count, columns);
        }
        [_, _] => {
            let advice = "give one class number per image, or findings as numbers 0 and 1";
            return Err(wrong_type(&source, &header, "labels as numbers", advice));
        }
        _ => {
            let found = format!("shape {:?}", header.shape);
            return Err(source.wrong(
                "labels of shape [N], [N, 1] or [N, L]",
                found,
                "give one class number per image",
            ));
        }
    };
    let expected = "labels of an integer type";
    match (header.kind, header.width) {
        ('u' | 'i', 1 | 2 | 4 | 8) => {}
        ('U' | 'S', _) => {
            let advice = "number the classes: numpy.unique(array, return_inverse=True)[1]";
            return Err(wrong_type(&source, &header, expected, advice));
        }
        ('f' | 'b', _) => {
            let advice = "save array.astype('int64') if the values are class numbers";
            return Err(wrong_type(&source, &header, expected, advice));
        }
        _ => {
            return Err(wrong_type(
                &source,
                &header,
                expected,
                "give one class number per image",
            ));
        }
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
    let labels: Result<_, Error> = values.enumerate().map(convert).collect();
    labels.map(Targets::Classes)
}

/// Reads the values of findings.
fn matrix(mut source: Source, header: &Header, count: u64, columns: u64) -> Result<Targets, Error> {
    let values = count.saturating_mul(columns);
    let bytes = source.bytes(values.saturating_mul(header.width))?;
    let location = source.finish()?;
    let whole = |bytes: &[u8]| match integer(bytes, header.big_endian, header.kind == 'i') {
        0 => Ok(Some(false)),
        1 => Ok(Some(true)),
        -1 => Ok(None),
        other => Err(LabelMatrix::wrong(other, &location)),
    };
    let real = |bytes: &[u8]| match float(bytes, header.big_endian) {
        0.0 => Ok(Some(false)),
        1.0 => Ok(Some(true)),
        unknown if unknown.is_nan() => Ok(None),
        other => Err(LabelMatrix::wrong(other, &location)),
    };
    let values = bytes.chunks_exact(header.width as usize);
    let values: Vec<Option<bool>> = match header.kind {
        'f' => values.map(real).collect::<Result<_, _>>()?,
        _ => values.map(whole).collect::<Result<_, _>>()?,
    };
    let values = match header.fortran_order {
        true => from_fortran(&values, &header.shape),
        false => values,
    };
    let columns = usize::try_from(columns).unwrap_or(usize::MAX);
    LabelMatrix::new(columns, values, &location).map(Targets::Findings)
}

/// A floating-point number of 2, 4 or 8 bytes.
fn float(bytes: &[u8], big_endian: bool) -> f64 {
    let mut bytes = bytes.to_vec();
    if big_endian {
        bytes.reverse();
    }
    match *bytes {
        [a, b] => half(u16::from_le_bytes([a, b])).into(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).into(),
        _ => f64::from_le_bytes(bytes.try_into().expect("numbers have 2, 4 or 8 bytes")),
    }
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
    fn half_precision_is_exact() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits).to_bits(), f32::to_bits(value), "{bits:04x}");
        }
        assert!(half(0x7c01).is_nan());
    }

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
