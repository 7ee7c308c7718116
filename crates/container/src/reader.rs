//! Reading a file piece by piece.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use sordino_fault::with_optional_memory;

use crate::header::{HEADER_BYTES, Header, Kind, Limits};
use crate::uncached::UncachedFile;
use crate::{Digest, Error};

/// The name of content without a file in messages.
pub(crate) const MEMORY: &str = "bytes in memory";

// Large enough for the disk, small enough that a chunk is still in the cache when it is hashed.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// A file's metadata and payload, after every check of this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents<M> {
    /// The digest that names this content.
    pub digest: Digest,
    /// The parsed metadata.
    pub metadata: M,
    /// The payload's bytes.
    pub payload: Vec<u8>,
}

/// A file whose metadata was read and whose payload is taken piece by piece.
///
/// Nothing that was read is known to be undamaged before [`finish`](Self::finish) has compared the digest.
#[derive(Debug)]
pub struct StreamReader<R, M> {
    source: R,
    header: Header,
    hasher: blake3::Hasher,
    metadata: M,
    /// Bytes of payload not read yet.
    left: u64,
    path: PathBuf,
}

/// Opens a regular file; a pipe would block or never end, and has no length to check against.
fn open(path: &Path) -> Result<(File, u64), Error> {
    let before = fs::metadata(path).map_err(|error| Error::io(path, "open", error))?;
    if !before.is_file() {
        return Err(Error::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(|error| Error::io(path, "open", error))?;
    let length = file
        .metadata()
        .map_err(|error| Error::io(path, "read", error))?
        .len();
    Ok((file, length))
}

impl<M: DeserializeOwned> StreamReader<File, M> {
    /// Opens a file and reads its header and metadata, within the limits.
    ///
    /// # Errors
    /// As [`from_bytes`](crate::from_bytes), with the path in the message, [`Error::Io`] and [`Error::NotAFile`].
    /// Metadata that is no `M` in a damaged file is reported as damage.
    pub fn open(path: impl AsRef<Path>, expected: Kind, limits: Limits) -> Result<Self, Error> {
        let path = path.as_ref();
        let (file, length) = open(path)?;
        Self::start(file, length, Some(expected), limits, path)
    }

    /// [`open`](Self::open) for any kind of file.
    pub(crate) fn open_any(path: impl AsRef<Path>, limits: Limits) -> Result<Self, Error> {
        let path = path.as_ref();
        let (file, length) = open(path)?;
        Self::start(file, length, None, limits, path)
    }
}

impl<M: DeserializeOwned> StreamReader<UncachedFile, M> {
    /// [`open`](StreamReader::open) past the system's cache where the system can, for a file that is read once.
    ///
    /// # Errors
    /// As [`open`](StreamReader::open).
    pub fn open_uncached(
        path: impl AsRef<Path>,
        expected: Kind,
        limits: Limits,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let (file, length) = open(path)?;
        Self::start(
            UncachedFile::new(file),
            length,
            Some(expected),
            limits,
            path,
        )
    }
}

impl<'a, M: DeserializeOwned> StreamReader<&'a [u8], M> {
    /// Reads header and metadata of bytes in memory, within the limits.
    ///
    /// # Errors
    /// As [`from_bytes`](crate::from_bytes).
    pub fn from_bytes(bytes: &'a [u8], expected: Kind, limits: Limits) -> Result<Self, Error> {
        let (length, path) = (bytes.len() as u64, Path::new(MEMORY));
        Self::start(bytes, length, Some(expected), limits, path)
    }
}

impl<R: Read, M: DeserializeOwned> StreamReader<R, M> {
    /// Reads header and metadata of `length` bytes from another source, within the limits; messages call them `name`.
    ///
    /// # Errors
    /// As [`from_bytes`](crate::from_bytes), and [`Error::Io`].
    pub fn from_source(
        source: R,
        length: u64,
        expected: Kind,
        limits: Limits,
        name: &str,
    ) -> Result<Self, Error> {
        Self::start(source, length, Some(expected), limits, Path::new(name))
    }

    fn start(
        mut source: R,
        length: u64,
        expected: Option<Kind>,
        limits: Limits,
        path: &Path,
    ) -> Result<Self, Error> {
        let location = path.display().to_string();
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        (&mut source)
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::io(path, "read", error))?;
        let header = Header::decode(&bytes, &location)?;
        if let Some(expected) = expected
            && header.kind != expected
        {
            return Err(Error::WrongKind {
                location,
                expected,
                found: header.kind,
            });
        }
        header.check(length, limits, &location)?;
        let mut reader = StreamReader {
            source,
            header,
            hasher: header.hasher(),
            metadata: (),
            left: u64::from(header.metadata_bytes),
            path: path.into(),
        };
        let bytes = reader.read_part(reader.left)?;
        reader.left = header.payload_bytes;
        match serde_json::from_slice(&bytes) {
            Ok(metadata) => Ok(StreamReader {
                source: reader.source,
                header,
                hasher: reader.hasher,
                metadata,
                left: reader.left,
                path: reader.path,
            }),
            Err(error) => Err(reader.damaged_or(Error::Metadata {
                location,
                kind: header.kind,
                detail: error.to_string(),
            })),
        }
    }
}

impl<R: Read, M> StreamReader<R, M> {
    /// The metadata.
    pub fn metadata(&self) -> &M {
        &self.metadata
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The digest that the header names; whether the content has it shows at the end.
    pub fn claimed_digest(&self) -> Digest {
        self.header.digest
    }

    /// Bytes of payload that were not read yet.
    pub fn left(&self) -> u64 {
        self.left
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    /// Reads the next `bytes` bytes of the payload.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::OutOfMemory`], [`Error::Length`] where the payload ends before.
    pub fn read_part(&mut self, bytes: u64) -> Result<Vec<u8>, Error> {
        let location = self.location();
        let too_short = |expected, found| Error::length(location, expected, found);
        let read = self.header.payload_bytes.saturating_sub(self.left);
        if bytes > self.left {
            return Err(too_short(
                read.saturating_add(bytes),
                self.header.payload_bytes,
            ));
        }
        let mut part = Vec::new();
        let size = usize::try_from(bytes)
            .ok()
            .filter(|&size| with_optional_memory(|| part.try_reserve_exact(size)).is_ok());
        let Some(size) = size else {
            return Err(Error::OutOfMemory {
                location: self.location(),
                bytes,
            });
        };
        while part.len() < size {
            let done = part.len();
            let chunk = CHUNK_BYTES.min(size - done);
            let count = (&mut self.source)
                .take(chunk as u64)
                .read_to_end(&mut part)
                .map_err(|error| Error::io(&self.path, "read", error))?;
            if count == 0 {
                // It was long enough when it was opened: it was cut during the reading.
                let found = HEADER_BYTES as u64 + read + done as u64;
                return Err(too_short(self.header.file_bytes(), found));
            }
            self.hasher.update(&part[done..]);
        }
        self.left -= bytes;
        Ok(part)
    }

    /// The rest of the payload, the end of the file and its digest.
    ///
    /// # Errors
    /// As [`read_part`](Self::read_part) and [`finish`](Self::finish).
    pub(crate) fn read_rest(mut self) -> Result<Contents<M>, Error> {
        let payload = self.read_part(self.left)?;
        let (digest, metadata) = self.finish()?;
        Ok(Contents {
            digest,
            metadata,
            payload,
        })
    }

    /// As [`finish`](Self::finish), reading what is left without keeping it.
    pub(crate) fn skip_rest(mut self) -> Result<(Digest, M), Error> {
        while self.left > 0 {
            self.read_part(self.left.min(CHUNK_BYTES as u64))?;
        }
        self.finish()
    }

    /// Reads to the end and returns the error, or if the file is damaged that error instead.
    pub fn damaged_or<E: From<Error>>(self, error: E) -> E {
        match self.skip_rest() {
            Err(damage @ (Error::DigestMismatch { .. } | Error::Length { .. })) => damage.into(),
            _ => error,
        }
    }

    /// The end of the file must be here, and its digest right.
    ///
    /// # Errors
    /// [`Error::Length`] if something is left, [`Error::DigestMismatch`], [`Error::Io`].
    pub fn finish(mut self) -> Result<(Digest, M), Error> {
        let mut more = [0];
        let count = self
            .source
            .read(&mut more)
            .map_err(|error| Error::io(&self.path, "read", error))?;
        if count > 0 || self.left > 0 {
            let expected = self.header.file_bytes();
            let found = expected.saturating_add(1);
            return Err(Error::length(self.location(), expected, found));
        }
        if self.hasher.finalize().as_bytes() != self.header.digest.as_bytes() {
            return Err(Error::DigestMismatch {
                location: self.location(),
            });
        }
        Ok((self.header.digest, self.metadata))
    }
}
