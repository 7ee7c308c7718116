//! Decoders of compressed frames: run lengths, JPEG, JPEG 2000.
//!
//! A frame becomes samples in the order `[row, column, sample]`, each as the bits of the stream, with how many bits they are.
//! A stream is compared with the description of the image before memory is taken for its pixels. A panic of a decoder on damaged data
//! becomes an error.
//!
//! # Reference
//! DICOM PS3.5, sections 8.2 and G; ITU-T T.81; ITU-T T.800, annex A.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};
use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use super::attributes::EXPORT;
use super::description::{Colour, Description};
use crate::Error;

/// How frames are compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Codec {
    RunLengths,
    Jpeg,
    Jpeg2000,
}

/// A decoded frame.
pub(super) struct Decoded {
    /// Bits of the stream, `[row, column, sample]`.
    pub(super) samples: Vec<u32>,
    /// Bits of a sample; `None` where the file says it.
    pub(super) bits: Option<u32>,
}

impl Codec {
    /// Decodes a frame.
    pub(super) fn decode(
        self,
        bytes: &[u8],
        described: &Description,
        location: &str,
    ) -> Result<Decoded, Error> {
        let damaged = |what: &str, found: &str| {
            Error::malformed(location, format!("sound {what} data"), found, EXPORT)
        };
        let (what, decode): (_, Decode) = match self {
            Self::RunLengths => ("RLE", run_lengths),
            Self::Jpeg => ("JPEG", jpeg),
            Self::Jpeg2000 => ("JPEG 2000", jpeg2000),
        };
        match catch_unwind(AssertUnwindSafe(|| decode(bytes, described))) {
            Ok(Ok(decoded)) if decoded.samples.len() == described.pixels() * described.samples => {
                Ok(decoded)
            }
            Ok(Ok(_)) => Err(damaged(what, "fewer pixels or more")),
            Ok(Err(Fault::Damaged(found))) => Err(damaged(what, found)),
            Ok(Err(Fault::Differs(found))) => {
                let expected = format!("a {what} stream of {}", described.size_text());
                Err(Error::malformed(location, expected, found, EXPORT))
            }
            Ok(Err(Fault::Unsupported(found))) => {
                let expected = format!("{what} data that are read (docs/guide/dicom.md)");
                let advice = "export the file uncompressed (Explicit VR Little Endian)";
                Err(Error::malformed(location, expected, found, advice))
            }
            Err(_) => Err(damaged(what, "data on which the decoder fails")),
        }
    }
}

/// A decoder of one sort.
type Decode = fn(&[u8], &Description) -> Result<Decoded, Fault>;

/// Why a frame cannot be decoded.
enum Fault {
    Damaged(&'static str),
    /// The stream is of another shape.
    Differs(String),
    Unsupported(String),
}

fn run_lengths(bytes: &[u8], described: &Description) -> Result<Decoded, Fault> {
    const SEGMENTS: usize = 15;
    let header = bytes.get(..4 * (SEGMENTS + 1));
    let header = header.ok_or(Fault::Damaged("a frame that is shorter than its header"))?;
    let words: Vec<usize> = header
        .as_chunks()
        .0
        .iter()
        .map(|&word| u32::from_le_bytes(word) as usize)
        .collect();
    let of_sample = described.allocated.div_ceil(8) as usize;
    let count = described.samples * of_sample;
    if words[0] != count {
        let found = format!("{} segments where {count} are needed", words[0]);
        return Err(Fault::Differs(found));
    }
    let pixels = described.pixels();
    let mut samples = vec![0u32; pixels * described.samples];
    for segment in 0..count {
        let start = words[1 + segment];
        let end = match segment + 1 < count {
            true => words[2 + segment],
            false => bytes.len(),
        };
        let packed = bytes.get(start..end).filter(|_| start >= header.len());
        let packed = packed.ok_or(Fault::Damaged("a segment outside of its frame"))?;
        // Of every sample the high bytes come first.
        let sample = segment / of_sample;
        let mut places = samples.iter_mut().skip(sample).step_by(described.samples);
        // A writer may have filled up its last run.
        let mut put = |byte: u8| {
            if let Some(place) = places.next() {
                *place = *place << 8 | u32::from(byte);
            }
        };
        let unpacked = unpack(packed, pixels, &mut put);
        if unpacked < pixels {
            return Err(Fault::Damaged("a segment that ends too early"));
        }
    }
    Ok(Decoded {
        samples,
        bits: None,
    })
}

/// Unpacks runs until there are `enough` bytes, and says how many there were.
fn unpack(mut packed: &[u8], enough: usize, put: &mut impl FnMut(u8)) -> usize {
    let mut count = 0;
    while count < enough {
        match *packed {
            [control @ 0..=127, ref rest @ ..] => {
                let length = (usize::from(control) + 1).min(rest.len());
                let (run, behind) = rest.split_at(length);
                run.iter().copied().for_each(&mut *put);
                count += length;
                packed = behind;
            }
            [128, ref rest @ ..] => packed = rest,
            [control, byte, ref rest @ ..] => {
                let length = 257 - usize::from(control);
                (0..length).for_each(|_| put(byte));
                count += length;
                packed = rest;
            }
            _ => break,
        }
    }
    count
}

fn jpeg(bytes: &[u8], described: &Description) -> Result<Decoded, Fault> {
    let stream = crate::formats::jpeg::walk(bytes);
    let stream = stream.ok_or(Fault::Damaged("a stream without its end"))?;
    if usize::from(stream.channels) != described.samples {
        let found = format!("{} samples", stream.channels);
        return Err(Fault::Differs(found));
    }
    let differs = match (&described.colour, stream.transformed) {
        (Colour::Rgb, Some(true)) => Some(("YCbCr", "RGB")),
        (Colour::Ybr | Colour::YbrHalf, Some(false)) => Some(("RGB", "YCbCr")),
        _ => None,
    };
    if let Some((found, said)) = differs {
        let found =
            format!("colours that its own markers say are {found}, where the file says {said}");
        return Err(Fault::Differs(found));
    }
    let fault = |error| match error {
        jpeg_decoder::Error::Unsupported(what) => Fault::Unsupported(format!("{what:?}")),
        _ => Fault::Damaged("data that cannot be decoded"),
    };
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_max_decoding_buffer_size(8 * described.pixels() * described.samples);
    // Colours are turned as the file says, not as the stream does.
    if described.samples == 3 {
        decoder.set_color_transform(ColorTransform::RGB);
    }
    decoder.read_info().map_err(fault)?;
    let info = decoder.info().ok_or(Fault::Damaged("no frame"))?;
    let (height, width) = (usize::from(info.height), usize::from(info.width));
    if (height, width) != (described.rows, described.columns) {
        return Err(Fault::Differs(format!("{height} rows of {width}")));
    }
    let bits = u32::from(stream.bits);
    let decoded = decoder.decode().map_err(fault)?;
    let samples = match (info.pixel_format, described.samples) {
        (PixelFormat::L8, 1) => decoded.iter().map(|&byte| byte.into()).collect(),
        (PixelFormat::RGB24, 3) if bits <= 8 => decoded.iter().map(|&byte| byte.into()).collect(),
        (PixelFormat::L16, 1) => {
            let words = decoded.as_chunks().0.iter();
            words.map(|&word| u16::from_ne_bytes(word).into()).collect()
        }
        _ => return Err(Fault::Unsupported(format!("colours of {bits} bits"))),
    };
    Ok(Decoded {
        samples,
        bits: Some(bits),
    })
}

/// What the header of a JPEG 2000 stream says.
struct Header {
    columns: u32,
    rows: u32,
    tiles: u64,
    /// Bits of each component, and whether it is signed.
    components: Vec<(u32, bool)>,
}

impl Header {
    /// Reads the marker SIZ, which is the first; `None` where it is not sound.
    fn read(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"\xff\x4f\xff\x51")?;
        let long = |at: usize| Some(u32::from_be_bytes(*rest.get(at..)?.first_chunk()?));
        let [x1, y1, x0, y0] = [long(4)?, long(8)?, long(12)?, long(16)?];
        let [tile_x, tile_y, from_x, from_y] = [long(20)?, long(24)?, long(28)?, long(32)?];
        let count = u16::from_be_bytes(*rest.get(36..)?.first_chunk()?);
        let tiles = |from: u32, to: u32, size: u32| {
            let extent = u64::from(to.checked_sub(from)?);
            (size > 0).then(|| extent.div_ceil(size.into()))
        };
        let components = rest.get(38..)?.as_chunks::<3>().0;
        let components: Option<Vec<_>> = components
            .get(..count.into())?
            .iter()
            .map(|&[depth, x, y]| {
                (x == 1 && y == 1).then_some((u32::from(depth & 0x7f) + 1, depth & 0x80 != 0))
            })
            .collect();
        Some(Self {
            columns: x1.checked_sub(x0)?,
            rows: y1.checked_sub(y0)?,
            tiles: tiles(from_x, x1, tile_x)?.checked_mul(tiles(from_y, y1, tile_y)?)?,
            components: components?,
        })
    }
}

/// The stream in a JP2 file, which has no place in a DICOM file but is found there.
fn unboxed(mut bytes: &[u8]) -> &[u8] {
    if !bytes.starts_with(b"\0\0\0\x0cjP  ") {
        return bytes;
    }
    while let Some((&[a, b, c, d, ref kind @ ..], rest)) = bytes.split_first_chunk::<8>() {
        if kind == b"jp2c" {
            return rest;
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        // A box has its header at least.
        bytes = bytes.get(length.max(8)..).unwrap_or_default();
    }
    bytes
}

fn jpeg2000(bytes: &[u8], described: &Description) -> Result<Decoded, Fault> {
    /// As many as their numbers in the stream allow.
    const TILES: u64 = 1 << 16;
    let bytes = unboxed(bytes);
    let header = Header::read(bytes).ok_or(Fault::Damaged(
        "a stream that does not start with its sizes, or whose components have other sizes",
    ))?;
    let size = (header.rows as usize, header.columns as usize);
    let same = header.components.windows(2).all(|pair| pair[0] == pair[1]);
    if size != (described.rows, described.columns)
        || header.components.len() != described.samples
        || !same
    {
        let (rows, columns) = size;
        let found = format!("{}x{rows}x{columns}", header.components.len());
        return Err(Fault::Differs(found));
    }
    let (bits, signed) = header.components[0];
    if bits > 16 || header.tiles > TILES {
        let found = format!("{bits} bits in {} tiles", header.tiles);
        return Err(Fault::Unsupported(found));
    }
    let settings = DecodeSettings {
        resolve_palette_indices: false,
        strict: true,
        target_resolution: None,
    };
    let damaged = |_| Fault::Damaged("data that cannot be decoded");
    let image = Image::new(bytes, &settings).map_err(damaged)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(damaged)?;
    let components = decoded.components();
    let pixels = described.pixels();
    if components.len() != described.samples
        || components
            .iter()
            .any(|component| component.samples().len() != pixels)
    {
        return Err(Fault::Damaged("fewer pixels or more"));
    }
    let mut samples = vec![0u32; pixels * described.samples];
    // The decoder adds half the range to all values, which only those without a sign need.
    let half = 1i64 << (bits - 1);
    let (low, high) = match signed {
        true => (-half, half - 1),
        false => (0, 2 * half - 1),
    };
    let mask = (2 * half - 1) as u32;
    for (index, component) in components.iter().enumerate() {
        let places = samples.iter_mut().skip(index).step_by(described.samples);
        for (place, &value) in places.zip(component.samples()) {
            let value = (value.round_ties_even() as i64) - if signed { half } else { 0 };
            *place = (value.clamp(low, high) as u32) & mask;
        }
    }
    Ok(Decoded {
        samples,
        bits: Some(bits),
    })
}
