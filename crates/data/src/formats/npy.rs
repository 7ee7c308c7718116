//! NumPy's `.npy`: magic, version, a header that is a Python dictionary, values.
//!
//! The header is read by a parser of our own that knows just the three keys, since it comes from outside: general
//! parsers of Python literals recurse, and take the header's length on trust.
//!
//! # Reference
//! NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays"; numpy.lib.format.

use crate::images::CheckedShape;
use crate::source::Source;
use crate::{Error, Images, Pixels};

/// NumPy itself refuses longer headers by default (10,000 characters).
const HEADER_LIMIT: u64 = 10_000;
const DIMENSION_LIMIT: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    /// NumPy's kind letter: `u`, `i`, `f`, ...
    kind: char,
    big_endian: bool,
    width: u64,
    shape: Vec<u64>,
}

/// A cursor over the header's text.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn skip(&mut self, token: char) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        self.0 = self.0.trim_start();
        let quote = self.0.chars().next().filter(|&c| c == '\'' || c == '"')?;
        let (text, rest) = self.0[1..].split_once(quote)?;
        self.0 = rest;
        Some(text)
    }

    fn boolean(&mut self) -> Option<bool> {
        self.0 = self.0.trim_start();
        let (value, rest) = match self.0.strip_prefix("True") {
            Some(rest) => (true, rest),
            None => (false, self.0.strip_prefix("False")?),
        };
        self.0 = rest;
        Some(value)
    }

    fn number(&mut self) -> Option<u64> {
        self.0 = self.0.trim_start();
        let end = self
            .0
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        // Python 2 wrote long integers with an L.
        self.0 = rest.strip_prefix('L').unwrap_or(rest);
        digits.parse().ok()
    }

    fn shape(&mut self) -> Option<Vec<u64>> {
        self.skip('(')?;
        let mut shape = Vec::new();
        while self.skip(')').is_none() {
            if shape.len() == DIMENSION_LIMIT {
                return None;
            }
            shape.push(self.number()?);
            if self.skip(',').is_none() {
                self.skip(')')?;
                break;
            }
        }
        Some(shape)
    }
}

/// The dictionary's entries: type, whether in Fortran's order, shape.
fn parse(text: &str) -> Option<(&str, bool, Vec<u64>)> {
    let mut text = Text(text);
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    text.skip('{')?;
    while text.skip('}').is_none() {
        let key = text.string()?;
        text.skip(':')?;
        match key {
            "descr" if descr.is_none() => descr = Some(text.string()?),
            "fortran_order" if fortran_order.is_none() => fortran_order = Some(text.boolean()?),
            "shape" if shape.is_none() => shape = Some(text.shape()?),
            _ => return None,
        }
        if text.skip(',').is_none() {
            text.skip('}')?;
            break;
        }
    }
    text.0
        .trim()
        .is_empty()
        .then_some((descr?, fortran_order?, shape?))
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
    let location = source.location().to_owned();
    let advice = "save the array again with numpy.save";
    if magic != *b"\x93NUMPY" {
        return Err(Error::malformed(
            location,
            "a .npy array",
            "another format",
            advice,
        ));
    }
    let length = match major {
        1 => u64::from(u16::from_le_bytes(source.array()?)),
        2 | 3 => u64::from(u32::from_le_bytes(source.array()?)),
        _ => {
            return Err(Error::malformed(
                location,
                ".npy version 1, 2 or 3",
                format!("version {major}"),
                advice,
            ));
        }
    };
    Error::check_limit(&location, ".npy header length", length, HEADER_LIMIT)?;
    let bytes = source.bytes(length)?;
    let text = String::from_utf8_lossy(&bytes);
    let shortened = || text.trim().chars().take(120).collect::<String>();
    let Some((descr, fortran_order, shape)) = parse(&text) else {
        let expected = "a .npy header with a plain descr, fortran_order and shape";
        return Err(Error::malformed(location, expected, shortened(), advice));
    };
    if fortran_order && shape.len() > 1 {
        let advice = "save numpy.ascontiguousarray(array)";
        return Err(Error::malformed(
            location,
            "values in C order",
            "Fortran order",
            advice,
        ));
    }
    let Some((big_endian, kind, width)) = parse_type(descr) else {
        return Err(Error::malformed(
            location,
            "a number type such as |u1 or <f4",
            format!("{descr:?}"),
            advice,
        ));
    };
    Ok(Header {
        kind,
        big_endian,
        width,
        shape,
    })
}

fn wrong_type(source: &Source, header: &Header, expected: &str) -> Error {
    let found = format!(
        "{}{} ({} bytes a value)",
        header.kind, header.width, header.width
    );
    let advice = "convert with array.astype(...) and save again";
    Error::malformed(source.location(), expected, found, advice)
}

/// Whether an array could be images: three or four dimensions of a type that is read.
pub(crate) fn looks_like_images(mut source: Source) -> Result<bool, Error> {
    let header = header(&mut source)?;
    let readable = matches!((header.kind, header.width), ('u', 1 | 2) | ('f', 4 | 8));
    Ok(readable && matches!(header.shape.len(), 3 | 4))
}

/// Reads images, `[N, C, H, W]` or `[N, H, W]`.
pub(crate) fn images(mut source: Source) -> Result<Images, Error> {
    let header = header(&mut source)?;
    let location = source.location().to_owned();
    let dimensions = match *header.shape {
        [count, height, width] => [count, 1, height, width],
        [count, channels, height, width] => [count, channels, height, width],
        _ => {
            let found = format!("shape {:?}", header.shape);
            let advice = "reshape the array and save it again";
            return Err(Error::malformed(
                location,
                "[N, C, H, W] or [N, H, W]",
                found,
                advice,
            ));
        }
    };
    let shape = CheckedShape::new(dimensions, header.width, &location)?;
    let count = shape.values();
    let big = header.big_endian;
    let pixels = match (header.kind, header.width) {
        ('u', 1) => Pixels::U8(source.bytes(count)?),
        ('u', 2) if big => Pixels::U16(source.elements(count, u16::from_be_bytes)?),
        ('u', 2) => Pixels::U16(source.elements(count, u16::from_le_bytes)?),
        ('f', 4) if big => Pixels::F32(source.elements(count, f32::from_be_bytes)?),
        ('f', 4) => Pixels::F32(source.elements(count, f32::from_le_bytes)?),
        ('f', 8) if big => {
            Pixels::F32(source.elements(count, |bytes| f64::from_be_bytes(bytes) as f32)?)
        }
        ('f', 8) => Pixels::F32(source.elements(count, |bytes| f64::from_le_bytes(bytes) as f32)?),
        _ => {
            return Err(wrong_type(
                &source,
                &header,
                "u1, u2, f4 or f8 (uint8, uint16, float32, float64)",
            ));
        }
    };
    source.finish()?;
    Images::new(shape.image(), pixels, None, None, location)
}

/// Reads an integer of `W` bytes.
fn integer<const W: usize>(big_endian: bool, signed: bool) -> impl Fn([u8; W]) -> i128 {
    move |mut bytes| {
        if !big_endian {
            bytes.reverse();
        }
        let value = bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | i128::from(byte));
        let negative = signed && bytes[0] >= 0x80;
        value - if negative { 1 << (8 * W) } else { 0 }
    }
}

/// Reads labels, `[N]` or `[N, 1]`, of any integer type.
pub(crate) fn labels(mut source: Source) -> Result<Vec<u16>, Error> {
    let header = header(&mut source)?;
    let location = source.location().to_owned();
    let count = match *header.shape {
        [count] | [count, 1] => count,
        _ => {
            let found = format!("shape {:?}", header.shape);
            let advice = "give one class number an image";
            return Err(Error::malformed(
                location,
                "labels of shape [N] or [N, 1]",
                found,
                advice,
            ));
        }
    };
    let big = header.big_endian;
    // As i128 every value of every type has its place, so that only one check is needed.
    let signed = header.kind == 'i';
    let values: Vec<i128> = match (header.kind, header.width) {
        ('u' | 'i', 1) => source.elements(count, integer::<1>(big, signed))?,
        ('u' | 'i', 2) => source.elements(count, integer::<2>(big, signed))?,
        ('u' | 'i', 4) => source.elements(count, integer::<4>(big, signed))?,
        ('u' | 'i', 8) => source.elements(count, integer::<8>(big, signed))?,
        _ => return Err(wrong_type(&source, &header, "labels of an integer type")),
    };
    source.finish()?;
    let convert = |(index, value)| {
        u16::try_from(value).map_err(|_| {
            let advice = "number the classes from 0";
            Error::malformed(
                &*location,
                "labels 0 to 65535",
                format!("{value} at index {index}"),
                advice,
            )
        })
    };
    values.into_iter().enumerate().map(convert).collect()
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
            assert_eq!(parse(text), Some(("|u1", false, shape)), "{text}");
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
