//! Whole files: metadata and payload in, metadata and payload out.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::atomic::{Access, AtomicFile, Overwrite};
use crate::header::{FORMAT_VERSION, HEADER_BYTES, Header, Kind, Limits, METADATA_LIMIT};
use crate::reader::{CHUNK_BYTES, Contents, MEMORY, StreamReader};
use crate::{Digest, Error};

/// The header and metadata of a file of any kind, its digest verified.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnyHeader {
    /// The kind of file.
    pub kind: Kind,
    /// The format version.
    pub version: u16,
    /// The digest that names the content.
    pub digest: Digest,
    /// The metadata, whatever its shape.
    pub metadata: serde_json::Value,
    /// Bytes of metadata.
    pub metadata_bytes: u64,
    /// Bytes of payload.
    pub payload_bytes: u64,
}

/// Metadata as JSON within the limits, and a header for it with an empty digest.
fn describe<M: Serialize>(
    kind: Kind,
    metadata: &M,
    payload_bytes: u64,
    location: &str,
) -> Result<(Header, Vec<u8>), Error> {
    let metadata = serde_json::to_vec(metadata).map_err(|error| Error::Metadata {
        location: location.into(),
        kind,
        detail: error.to_string(),
    })?;
    let found = metadata.len() as u64;
    match u32::try_from(found) {
        Ok(metadata_bytes) if found <= METADATA_LIMIT => Ok((
            Header {
                kind,
                metadata_bytes,
                payload_bytes,
                digest: Digest([0; 32]),
            },
            metadata,
        )),
        _ => Err(Error::TooLarge {
            location: location.into(),
            part: "metadata",
            found,
            limit: METADATA_LIMIT,
        }),
    }
}

/// A whole file as bytes in memory.
///
/// Equal input gives equal bytes, provided that `M` serializes in a fixed order (no hash maps).
///
/// # Errors
/// [`Error::Metadata`] where `M` cannot be written as JSON, [`Error::TooLarge`] for metadata over
/// [`METADATA_LIMIT`].
pub fn to_bytes<M: Serialize>(kind: Kind, metadata: &M, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let (mut header, metadata) = describe(kind, metadata, payload.len() as u64, MEMORY)?;
    header.digest = Digest(
        *header
            .hasher()
            .update(&metadata)
            .update(payload)
            .finalize()
            .as_bytes(),
    );
    let mut bytes = Vec::with_capacity(HEADER_BYTES + metadata.len() + payload.len());
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(&metadata);
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// The digest of a file with this content, which is refused where readers with these limits would refuse the file.
///
/// # Errors
/// Those of [`to_bytes`], and [`Error::TooLarge`] for content over the limits.
pub fn digest_of<M: Serialize>(
    kind: Kind,
    metadata: &M,
    payload: &[u8],
    limits: Limits,
) -> Result<Digest, Error> {
    let (header, metadata) = describe(kind, metadata, payload.len() as u64, MEMORY)?;
    header.check(header.file_bytes(), limits, MEMORY)?;
    let mut hasher = header.hasher();
    hasher.update(&metadata).update(payload);
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// Reads a whole file from bytes in memory.
///
/// # Errors
/// Every error whose fault is a bad file: another kind or version, a length over the
/// limits, cut short, added to, damaged, or metadata that is not an `M`.
pub fn from_bytes<M: DeserializeOwned>(
    bytes: &[u8],
    expected: Kind,
    limits: Limits,
) -> Result<Contents<M>, Error> {
    StreamReader::from_bytes(bytes, expected, limits)?.read_rest()
}

/// Reads a file, all of it, within the limits.
///
/// # Errors
/// As [`from_bytes`], with the path in the message; [`Error::Io`] and [`Error::NotAFile`] where it cannot be read.
pub fn read_file<M: DeserializeOwned>(
    path: impl AsRef<Path>,
    expected: Kind,
    limits: Limits,
) -> Result<Contents<M>, Error> {
    StreamReader::open(path, expected, limits)?.read_rest()
}

/// Reads header and metadata of a file of any kind, and verifies its digest.
///
/// # Errors
/// As [`read_file`], except that any kind is accepted and the payload may have any size.
///
/// # Cost
/// Reads the whole file once, in chunks of a megabyte.
pub fn inspect_file(path: impl AsRef<Path>) -> Result<AnyHeader, Error> {
    let limits = Limits {
        metadata_bytes: METADATA_LIMIT,
        payload_bytes: u64::MAX,
    };
    let reader = StreamReader::<_, serde_json::Value>::open_any(path, limits)?;
    let header = *reader.header();
    let (digest, metadata) = reader.skip_rest()?;
    Ok(AnyHeader {
        kind: header.kind,
        version: FORMAT_VERSION,
        digest,
        metadata,
        metadata_bytes: u64::from(header.metadata_bytes),
        payload_bytes: header.payload_bytes,
    })
}

/// Writes a file that appears under its name only when it is complete.
///
/// # Errors
/// Those of [`to_bytes`] and [`AtomicFile`]; a full disk is [`Error::Io`] and leaves nothing behind.
pub fn write_file<M: Serialize>(
    path: impl AsRef<Path>,
    kind: Kind,
    metadata: &M,
    payload: &[u8],
    overwrite: Overwrite,
    access: Access,
) -> Result<Digest, Error> {
    write_file_parts(path, kind, metadata, &[payload], overwrite, access)
}

/// As [`write_file`], for a payload that lies in several pieces.
///
/// # Errors
/// As [`write_file`].
pub fn write_file_parts<M: Serialize>(
    path: impl AsRef<Path>,
    kind: Kind,
    metadata: &M,
    payload: &[&[u8]],
    overwrite: Overwrite,
    access: Access,
) -> Result<Digest, Error> {
    let payload_bytes = payload.iter().map(|part| part.len() as u64).sum();
    let mut writer = StreamWriter::create(path, kind, metadata, payload_bytes, overwrite, access)?;
    for part in payload {
        writer.write(part)?;
    }
    writer.commit()
}

/// Writes a payload of known length piece by piece, for content that need not be in memory as a whole.
///
/// Dropped without a [`commit`](Self::commit) it leaves nothing behind.
#[derive(Debug)]
pub struct StreamWriter {
    file: AtomicFile,
    header: Header,
    hasher: blake3::Hasher,
    written: u64,
}

impl StreamWriter {
    /// Starts a file with `payload_bytes` bytes of payload to come.
    ///
    /// # Errors
    /// Those of [`to_bytes`] and [`AtomicFile::create`].
    pub fn create<M: Serialize>(
        path: impl AsRef<Path>,
        kind: Kind,
        metadata: &M,
        payload_bytes: u64,
        overwrite: Overwrite,
        access: Access,
    ) -> Result<Self, Error> {
        let file = AtomicFile::create(path, overwrite, access)?;
        Self::start(file, kind, metadata, payload_bytes)
    }

    /// [`create`](Self::create) past the system's cache where the system can, for a file that is written once and read once. An
    /// older one is replaced.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_uncached<M: Serialize>(
        path: impl AsRef<Path>,
        kind: Kind,
        metadata: &M,
        payload_bytes: u64,
    ) -> Result<Self, Error> {
        let mut file = AtomicFile::create(path, Overwrite::Replace, Access::Shared)?;
        file.uncached();
        Self::start(file, kind, metadata, payload_bytes)
    }

    fn start<M: Serialize>(
        file: AtomicFile,
        kind: Kind,
        metadata: &M,
        payload_bytes: u64,
    ) -> Result<Self, Error> {
        let location = file.path().display().to_string();
        let (header, metadata) = describe(kind, metadata, payload_bytes, &location)?;
        let mut hasher = header.hasher();
        hasher.update(&metadata);
        let mut writer = Self {
            file,
            header,
            hasher,
            written: 0,
        };
        // The digest is not known yet: this header's is zero, and the commit writes the right one.
        writer.put(&header.encode())?;
        writer.put(&metadata)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(|error| self.write_error(error))
    }

    fn write_error(&self, error: io::Error) -> Error {
        Error::io(self.file.path(), "write", error)
    }

    /// Appends to the payload.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::PayloadCount`] for more bytes than were announced.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.written > self.header.payload_bytes {
            return Err(self.count_error());
        }
        for chunk in bytes.chunks(CHUNK_BYTES) {
            self.hasher.update(chunk);
            self.put(chunk)?;
        }
        Ok(())
    }

    fn count_error(&self) -> Error {
        let (expected, found) = (self.header.payload_bytes, self.written);
        Error::PayloadCount {
            location: self.file.path().display().to_string(),
            expected,
            found,
        }
    }

    /// Completes the header and gives the file its name.
    ///
    /// # Errors
    /// Those of [`AtomicFile::commit`], and [`Error::PayloadCount`] for fewer bytes than were announced.
    pub fn commit(self) -> Result<Digest, Error> {
        self.commit_with(AtomicFile::commit)
    }

    /// [`commit`](Self::commit) as [`AtomicFile::commit_unsynced`].
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_unsynced(self) -> Result<Digest, Error> {
        self.commit_with(AtomicFile::commit_unsynced)
    }

    fn commit_with(
        mut self,
        commit: impl FnOnce(AtomicFile) -> Result<(), Error>,
    ) -> Result<Digest, Error> {
        if self.written != self.header.payload_bytes {
            return Err(self.count_error());
        }
        self.header.digest = Digest(*self.hasher.finalize().as_bytes());
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(|error| self.write_error(error))?;
        self.put(&self.header.encode())?;
        commit(self.file)?;
        Ok(self.header.digest)
    }
}
