//! A writer of DICOM files, made of the standard alone (PS3.5, section 7; PS3.10, section 7.1), which can also write what no file should have.

// Every test program uses its own part of this.
#![allow(dead_code)]

/// A value of an element.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Words(Vec<u16>),
    Bytes(Vec<u8>),
    Items(Vec<Elements>),
    /// Encapsulated pixel data; the first fragment is the offset table.
    Fragments(Vec<Vec<u8>>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<u16> for Value {
    fn from(word: u16) -> Self {
        Self::Words(vec![word])
    }
}

impl From<Vec<u16>> for Value {
    fn from(words: Vec<u16>) -> Self {
        Self::Words(words)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<Elements>> for Value {
    fn from(items: Vec<Elements>) -> Self {
        Self::Items(items)
    }
}

/// A tag: group and element.
pub(crate) type Tag = (u16, u16);

pub(crate) const INSTANCE: Tag = (0x0008, 0x0018);
pub(crate) const SAMPLES: Tag = (0x0028, 0x0002);
pub(crate) const PHOTOMETRIC: Tag = (0x0028, 0x0004);
pub(crate) const PLANAR: Tag = (0x0028, 0x0006);
pub(crate) const FRAMES: Tag = (0x0028, 0x0008);
pub(crate) const ROWS: Tag = (0x0028, 0x0010);
pub(crate) const COLUMNS: Tag = (0x0028, 0x0011);
pub(crate) const SPACING: Tag = (0x0028, 0x0030);
pub(crate) const ASPECT: Tag = (0x0028, 0x0034);
pub(crate) const ALLOCATED: Tag = (0x0028, 0x0100);
pub(crate) const STORED: Tag = (0x0028, 0x0101);
pub(crate) const HIGH_BIT: Tag = (0x0028, 0x0102);
pub(crate) const REPRESENTATION: Tag = (0x0028, 0x0103);
pub(crate) const CENTRE: Tag = (0x0028, 0x1050);
pub(crate) const WIDTH: Tag = (0x0028, 0x1051);
pub(crate) const INTERCEPT: Tag = (0x0028, 0x1052);
pub(crate) const SLOPE: Tag = (0x0028, 0x1053);
pub(crate) const FUNCTION: Tag = (0x0028, 0x1056);
pub(crate) const TABLE_DESCRIPTOR: Tag = (0x0028, 0x3002);
pub(crate) const TABLE_DATA: Tag = (0x0028, 0x3006);
pub(crate) const MODALITY_TABLES: Tag = (0x0028, 0x3000);
pub(crate) const VOI_TABLES: Tag = (0x0028, 0x3010);
pub(crate) const VALUE_TRANSFORMATION: Tag = (0x0028, 0x9145);
pub(crate) const FRAME_VOI: Tag = (0x0028, 0x9132);
pub(crate) const SHARED_GROUPS: Tag = (0x5200, 0x9229);
pub(crate) const FRAME_GROUPS: Tag = (0x5200, 0x9230);
pub(crate) const PIXELS: Tag = (0x7fe0, 0x0010);

pub(crate) const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
pub(crate) const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
pub(crate) const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub(crate) const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";
pub(crate) const RUN_LENGTHS: &str = "1.2.840.10008.1.2.5";
pub(crate) const JPEG: &str = "1.2.840.10008.1.2.4.50";

/// Data elements in the order in which they are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Elements(Vec<(Tag, [u8; 2], Value)>);

impl Elements {
    /// With another element at its place by its tag, also where there is one already.
    pub(crate) fn add(mut self, tag: Tag, vr: &str, value: impl Into<Value>) -> Self {
        let vr = vr.as_bytes().try_into().expect("two letters");
        let at = self.0.partition_point(|(other, ..)| *other <= tag);
        self.0.insert(at, (tag, vr, value.into()));
        self
    }

    /// Without the elements of a tag.
    pub(crate) fn without(mut self, tag: Tag) -> Self {
        self.0.retain(|(other, ..)| *other != tag);
        self
    }

    /// With an element instead of those of its tag.
    pub(crate) fn set(self, tag: Tag, vr: &str, value: impl Into<Value>) -> Self {
        self.without(tag).add(tag, vr, value)
    }

    /// The bytes of the elements.
    pub(crate) fn bytes(&self, syntax: &str) -> Vec<u8> {
        let (explicit, big) = (syntax != IMPLICIT_LITTLE, syntax == EXPLICIT_BIG);
        let word = |word: u16| {
            if big {
                word.to_be_bytes()
            } else {
                word.to_le_bytes()
            }
        };
        let long = |long: u32| {
            if big {
                long.to_be_bytes()
            } else {
                long.to_le_bytes()
            }
        };
        let head = |(group, element): Tag| [word(group), word(element)].concat();
        let mut bytes = Vec::new();
        for (tag, vr, value) in &self.0 {
            let undefined = matches!(value, Value::Items(_) | Value::Fragments(_));
            let mut content = match value {
                Value::Text(text) => text.as_bytes().to_vec(),
                Value::Words(words) => words.iter().flat_map(|&value| word(value)).collect(),
                Value::Bytes(bytes) => bytes.clone(),
                Value::Items(items) => {
                    let item = |item: &Elements| {
                        let bytes = item.bytes(syntax);
                        [
                            head((0xfffe, 0xe000)),
                            long(bytes.len() as u32).to_vec(),
                            bytes,
                        ]
                        .concat()
                    };
                    items.iter().flat_map(item).collect()
                }
                Value::Fragments(fragments) => {
                    let fragment = |fragment: &Vec<u8>| {
                        let length = fragment.len().next_multiple_of(2);
                        let mut fragment = fragment.clone();
                        fragment.resize(length, 0);
                        [
                            head((0xfffe, 0xe000)),
                            long(length as u32).to_vec(),
                            fragment,
                        ]
                        .concat()
                    };
                    fragments.iter().flat_map(fragment).collect()
                }
            };
            if content.len() % 2 == 1 {
                content.push(if let Value::Text(_) = value { b' ' } else { 0 });
            }
            let length = if undefined {
                u32::MAX
            } else {
                content.len() as u32
            };
            bytes.extend(head(*tag));
            if explicit {
                bytes.extend(vr);
                match vr {
                    b"OB" | b"OW" | b"SQ" | b"UN" | b"UT" => {
                        bytes.extend([&[0, 0][..], &long(length)].concat())
                    }
                    _ => bytes.extend(word(length as u16)),
                }
            } else {
                bytes.extend(long(length));
            }
            bytes.extend(content);
            if undefined {
                bytes.extend([head((0xfffe, 0xe0dd)), long(0).to_vec()].concat());
            }
        }
        bytes
    }

    /// A file with these elements.
    pub(crate) fn file(&self, syntax: &str) -> Vec<u8> {
        let head = Self::default()
            .add((0x0002, 0x0001), "OB", vec![0u8, 1])
            .add(
                (0x0002, 0x0010),
                "UI",
                syntax.to_owned() + "\0".repeat(syntax.len() % 2).as_str(),
            )
            .bytes(EXPLICIT_LITTLE);
        let mut data = self.bytes(syntax);
        if syntax == DEFLATED {
            data = deflate(&data);
        }
        let length = Self::default()
            .add(
                (0x0002, 0x0000),
                "UL",
                (head.len() as u32).to_le_bytes().to_vec(),
            )
            .bytes(EXPLICIT_LITTLE);
        [&[0; 128], &b"DICM"[..], &length, &head, &data].concat()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A gray image of 16 bits in memory, of which `stored` are used.
pub(crate) fn gray(
    instance: &str,
    [rows, columns]: [u16; 2],
    stored: u16,
    values: &[u16],
) -> Elements {
    Elements::default()
        .add(INSTANCE, "UI", instance)
        .add(SAMPLES, "US", 1)
        .add(PHOTOMETRIC, "CS", "MONOCHROME2")
        .add(ROWS, "US", rows)
        .add(COLUMNS, "US", columns)
        .add(ALLOCATED, "US", 16)
        .add(STORED, "US", stored)
        .add(HIGH_BIT, "US", stored - 1)
        .add(REPRESENTATION, "US", 0)
        .add(PIXELS, "OW", values.to_vec())
}

/// A gray image of bytes.
pub(crate) fn bytes(instance: &str, size: [u16; 2], values: &[u8]) -> Elements {
    gray(instance, size, 8, &[])
        .set(ALLOCATED, "US", 8)
        .set(PIXELS, "OB", values.to_vec())
}

/// A colour image of bytes, pixel by pixel.
pub(crate) fn colour(instance: &str, size: [u16; 2], photometric: &str, values: &[u8]) -> Elements {
    bytes(instance, size, values)
        .set(SAMPLES, "US", 3)
        .set(PHOTOMETRIC, "CS", photometric)
        .set(PLANAR, "US", 0)
}

/// Elements of a lookup table.
pub(crate) fn table(first: u16, bits: u16, entries: &[u16]) -> Elements {
    Elements::default()
        .add(
            TABLE_DESCRIPTOR,
            "US",
            vec![entries.len() as u16, first, bits],
        )
        .add(TABLE_DATA, "OW", entries.to_vec())
}

/// A frame in run lengths: every segment as runs of one byte each.
pub(crate) fn run_lengths(segments: &[&[u8]]) -> Vec<u8> {
    let mut header = vec![segments.len() as u32];
    let mut data = Vec::new();
    for segment in segments {
        header.push(64 + data.len() as u32);
        data.extend(segment.chunks(2).flat_map(|pair| match *pair {
            // A repeated byte, and a literal run.
            [first, second] if first == second => vec![255, first],
            [first, second] => vec![1, first, second],
            _ => vec![0, pair[0]],
        }));
        data.resize(data.len().next_multiple_of(2), 128);
    }
    header.resize(16, 0);
    let header: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    [header, data].concat()
}
