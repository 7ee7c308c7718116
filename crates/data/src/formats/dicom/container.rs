//! The file around a data set: its mark, its header, its transfer syntax.
//!
//! # Reference
//! DICOM PS3.10, section 7.1; PS3.5, section 10 and annex A.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use dicom_encoding::decode::Decode;
use dicom_encoding::decode::explicit_le::ExplicitVRLittleEndianDecoder;
use flate2::bufread::DeflateDecoder;
use sordino_fault::with_optional_memory;

use super::attributes::{self, EXPORT, Encoding, TRANSFER_SYNTAX};
use super::codec::Codec;
use crate::Error;
use crate::formats::foreign;
use crate::source::{open_file, reserve};

/// Bytes of a file.
const FILE_LIMIT: u64 = 1 << 30;

/// Bytes of a data set that is deflated in its file.
const INFLATED_LIMIT: u64 = 256 << 20;

/// Bytes of the preamble and the mark.
const START: usize = 132;

/// How a data set and its pixels are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syntax {
    pub(super) encoding: Encoding,
    /// Whether pixel data are in fragments.
    pub(super) encapsulated: bool,
    pub(super) codec: Option<Codec>,
    deflated: bool,
}

impl Syntax {
    fn of(uid: &str, location: &str) -> Result<Self, Error> {
        let native = |encoding| Self {
            encoding,
            encapsulated: false,
            codec: None,
            deflated: false,
        };
        let little = native(Encoding::ExplicitLittle);
        let packed = |codec| Self {
            encapsulated: true,
            codec,
            ..little
        };
        let rest = uid.strip_prefix("1.2.840.10008.1.2");
        Ok(match rest {
            Some("") => native(Encoding::ImplicitLittle),
            Some(".1") => little,
            Some(".2") => native(Encoding::ExplicitBig),
            Some(".1.98") => packed(None),
            Some(".1.99") => Self {
                deflated: true,
                ..little
            },
            Some(".5") => packed(Some(Codec::RunLengths)),
            Some(".4.50" | ".4.51" | ".4.57" | ".4.70") => packed(Some(Codec::Jpeg)),
            Some(".4.90" | ".4.91") => packed(Some(Codec::Jpeg2000)),
            _ => {
                let found = match rest.unwrap_or_default() {
                    ".4.80" | ".4.81" => "JPEG-LS",
                    ".4.92" | ".4.93" => "JPEG 2000 of several components (part 2)",
                    ".4.110" | ".4.111" | ".4.112" => "JPEG XL",
                    ".4.201" | ".4.202" | ".4.203" => "high-throughput JPEG 2000",
                    ".8.1" => "deflated frames",
                    rest if rest.starts_with(".4.10") => "a film",
                    _ => "another one",
                };
                let expected = format!(
                    "a syntax that is read (docs/guide/dicom.md) in {}",
                    TRANSFER_SYNTAX.text()
                );
                let advice = "export the file uncompressed (Explicit VR Little Endian)";
                return Err(Error::malformed(location, expected, found, advice));
            }
        })
    }
}

/// A data set and how it is written.
pub(super) struct Container {
    bytes: Vec<u8>,
    start: usize,
    pub(super) syntax: Syntax,
}

impl Container {
    /// Reads a file.
    pub(super) fn open(path: &Path, location: &str) -> Result<Self, Error> {
        let (file, length) = open_file(path).map_err(|error| at(error, location))?;
        Error::check_limit(location, "file size in bytes", length, FILE_LIMIT)?;
        let bytes = read(file, length, location)?;
        if !foreign::is_dicom(&bytes) {
            return Err(Error::malformed(
                location,
                "a DICOM file",
                "a file without the mark of one",
                EXPORT,
            ));
        }
        let start = header_end(&bytes, location)?;
        let header = attributes::read(&bytes[START..start], Encoding::ExplicitLittle, location)?;
        let uid = header.text(TRANSFER_SYNTAX, location)?;
        let uid = uid.ok_or_else(|| TRANSFER_SYNTAX.missing(location))?;
        let syntax = Syntax::of(uid, location)?;
        if syntax.deflated {
            let bytes = inflate(&bytes[start..], location)?;
            return Ok(Self {
                bytes,
                start: 0,
                syntax,
            });
        }
        Ok(Self {
            bytes,
            start,
            syntax,
        })
    }

    /// The bytes of the data set.
    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// An error about a file under another name for it, since file names may have the name of a patient.
fn at(error: Error, location: &str) -> Error {
    match error {
        Error::Io { action, reason, .. } => Error::io(location, action, reason),
        Error::Malformed {
            expected,
            found,
            advice,
            ..
        } => Error::malformed(location, expected, found, advice),
        other => other,
    }
}

fn read(file: File, length: u64, location: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    reserve(&mut bytes, length, location)?;
    file.take(length)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(location, "read", error))?;
    Ok(bytes)
}

/// Where the header ends: at the first element of another group than 2.
fn header_end(bytes: &[u8], location: &str) -> Result<usize, Error> {
    let decoder = ExplicitVRLittleEndianDecoder::default();
    let cut = || {
        let found = "a file that is cut short in its header";
        Error::malformed(location, "a DICOM file", found, "fetch it again")
    };
    let mut at = START;
    while let Some([2, 0, ..]) = bytes.get(at..) {
        let (header, read) = decoder
            .decode_header(&mut &bytes[at..])
            .map_err(|_| cut())?;
        let length = header.len.get().ok_or_else(cut)? as usize;
        at = at.saturating_add(read).saturating_add(length);
    }
    match at < bytes.len() && at > START {
        true => Ok(at),
        false => Err(cut()),
    }
}

fn inflate(packed: &[u8], location: &str) -> Result<Vec<u8>, Error> {
    const CHUNK: usize = 1 << 16;
    let mut decoder = DeflateDecoder::new(packed);
    let mut bytes: Vec<u8> = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = decoder.read(&mut chunk).map_err(|_| {
            let expected = "sound deflated data";
            Error::malformed(location, expected, "others", EXPORT)
        })?;
        if count == 0 {
            return Ok(bytes);
        }
        let held = (bytes.len() + count) as u64;
        Error::check_limit(location, "inflated size in bytes", held, INFLATED_LIMIT)?;
        if with_optional_memory(|| bytes.try_reserve(count)).is_err() {
            let location = location.into();
            return Err(Error::OutOfMemory {
                location,
                bytes: held,
            });
        }
        bytes.extend(&chunk[..count]);
    }
}
