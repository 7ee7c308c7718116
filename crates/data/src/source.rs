//! Bytes of a file, unpacked if need be, that are never taken on trust: every request is checked against what the file
//! can hold before memory is taken.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use sordino_fault::with_optional_memory;

use crate::Error;

/// The most raw bytes of pixels that one reader takes into memory.
pub(crate) const PIXEL_BYTES: u64 = 8 << 30;

/// The most that deflate can expand: 258 bytes from two bits, less headers (RFC 1951).
pub(crate) const DEFLATE_RATIO: u64 = 1032;

const CHUNK: usize = 1 << 20;

/// What to try where a file ends too early or too late.
pub(crate) const FETCH_AGAIN: &str = "the file was cut short or damaged, fetch it again";

/// A bounded stream of bytes with a name for messages.
pub(crate) struct Source<'a> {
    reader: Box<dyn Read + 'a>,
    location: String,
    /// An upper bound of what can still come.
    bound: u64,
}

/// Opens a regular file and tells its length.
pub(crate) fn open_file(path: &Path) -> Result<(File, u64), Error> {
    let found = fs::metadata(path).map_err(|error| Error::io(path, "open", error))?;
    if !found.is_file() {
        let (location, advice) = (path.display().to_string(), "give the path of a file");
        return Err(Error::malformed(
            location,
            "a file",
            "a folder or device",
            advice,
        ));
    }
    let file = File::open(path).map_err(|error| Error::io(path, "open", error))?;
    let found = file
        .metadata()
        .map_err(|error| Error::io(path, "open", error))?;
    Ok((file, found.len()))
}

/// The first bytes of a file, to tell its format by; fewer where the file is shorter.
pub(crate) fn magic(path: &Path, count: u64) -> Result<Vec<u8>, Error> {
    let (file, _) = open_file(path)?;
    let mut bytes = Vec::new();
    file.take(count)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(path, "read", error))?;
    Ok(bytes)
}

impl Source<'static> {
    /// Opens a file; gzip is told by its content and unpacked.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let (file, length) = open_file(path)?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        let start = file
            .fill_buf()
            .map_err(|error| Error::io(path, "read", error))?;
        let packed = start.starts_with(&[0x1f, 0x8b]);
        let location = path.display().to_string();
        Ok(if packed {
            let bound = length.saturating_mul(DEFLATE_RATIO);
            Self::new(MultiGzDecoder::new(file), location, bound)
        } else {
            Self::new(file, location, length)
        })
    }
}

impl<'a> Source<'a> {
    pub(crate) fn new(reader: impl Read + 'a, location: String, bound: u64) -> Self {
        Self {
            reader: Box::new(reader),
            location,
            bound,
        }
    }

    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// The error that this file's content is not what it should be.
    pub(crate) fn wrong(
        &self,
        expected: impl Into<String>,
        found: impl Into<String>,
        advice: &str,
    ) -> Error {
        Error::malformed(&*self.location, expected, found, advice)
    }

    fn short(&self, wanted: u64, found: u64) -> Error {
        let (expected, found) = (format!("{wanted} more bytes"), format!("at most {found}"));
        self.wrong(expected, found, FETCH_AGAIN)
    }

    fn failed(&self, error: io::Error) -> Error {
        // The system's own errors carry its code; the others are what unpackers say of damaged input.
        if error.raw_os_error().is_some() {
            return Error::io(&self.location, "read", error);
        }
        self.wrong("sound compressed data", error.to_string(), FETCH_AGAIN)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        Ok(self.elements(1, |bytes: [u8; N]| bytes)?[0])
    }

    /// The next `count` elements of `WIDTH` bytes each, converted one by one.
    pub(crate) fn elements<const WIDTH: usize, T>(
        &mut self,
        count: u64,
        convert: impl Fn([u8; WIDTH]) -> T,
    ) -> Result<Vec<T>, Error> {
        const { assert!(WIDTH > 0 && CHUNK.is_multiple_of(WIDTH)) };
        let bytes = count.saturating_mul(WIDTH as u64);
        Error::check_limit(&self.location, "data size in bytes", bytes, PIXEL_BYTES)?;
        if bytes > self.bound {
            return Err(self.short(bytes, self.bound));
        }
        let mut values = Vec::new();
        reserve(&mut values, count, &self.location)?;
        let mut buffer = Vec::new();
        let mut left = bytes;
        while left > 0 {
            let size = left.min(CHUNK as u64);
            buffer.clear();
            let read = (&mut self.reader).take(size).read_to_end(&mut buffer);
            read.map_err(|error| self.failed(error))?;
            left -= buffer.len() as u64;
            if buffer.len() as u64 != size {
                return Err(self.short(bytes, bytes - left));
            }
            values.extend(buffer.as_chunks().0.iter().map(|&bytes| convert(bytes)));
        }
        self.bound -= bytes;
        Ok(values)
    }

    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: u64) -> Result<Vec<u8>, Error> {
        self.elements(count, |[byte]: [u8; 1]| byte)
    }

    /// Checks that nothing follows, which also makes unpackers verify their checksum, and gives the file's name for messages.
    pub(crate) fn finish(mut self) -> Result<String, Error> {
        let mut more = [0];
        match self.reader.read(&mut more) {
            Ok(0) => Ok(self.location),
            Ok(_) => Err(self.wrong("the end of the file", "more bytes", FETCH_AGAIN)),
            Err(error) => Err(self.failed(error)),
        }
    }
}

/// Takes memory for `count` more elements, or says that there is none.
pub(crate) fn reserve<T>(values: &mut Vec<T>, count: u64, location: &str) -> Result<(), Error> {
    let bytes = count.saturating_mul(size_of::<T>() as u64);
    let room = usize::try_from(count)
        .ok()
        .and_then(|count| with_optional_memory(|| values.try_reserve_exact(count)).ok());
    room.ok_or_else(|| Error::OutOfMemory {
        location: location.into(),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_beyond_the_bound_take_no_memory() {
        let mut source = Source::new(io::repeat(1), "test".into(), 100);
        assert!(matches!(source.bytes(101), Err(Error::Malformed { .. })));
        assert!(matches!(
            source.bytes(u64::MAX),
            Err(Error::TooLarge { .. })
        ));
        assert_eq!(source.bytes(60).unwrap(), [1; 60]);
        assert!(source.bytes(41).is_err());
        assert!(source.finish().is_err());
    }

    #[test]
    fn elements_span_chunks() {
        let bytes: Vec<u8> = (0..CHUNK as u32 + 100).map(|i| (i % 251) as u8).collect();
        let mut source = Source::new(&*bytes, "test".into(), bytes.len() as u64);
        let read = source
            .elements(bytes.len() as u64 / 4, u32::from_le_bytes)
            .unwrap();
        let expected: Vec<u32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|&c| u32::from_le_bytes(c))
            .collect();
        assert_eq!(read, expected);
        source.finish().unwrap();
    }
}
