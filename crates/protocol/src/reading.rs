//! Reading a message: its header is compared with the plan before the payload is taken, block by block.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;
use sordino_container::{self as container, Digest, Kind, StreamReader};
use sordino_ring::ResidueMatrix;

use crate::shape::Common;
use crate::{Error, Layout, MessageShape, limits};

/// Matrices of a block, `[component][limb]`; residues were not looked at.
pub(crate) type RawBlock = Vec<Vec<ResidueMatrix>>;

/// The header of a kind of message.
pub(crate) trait Header: DeserializeOwned {
    /// The kind of file.
    const KIND: Kind;

    /// The fields that all messages have.
    fn common(&self) -> Common<'_>;

    /// Checks what only this kind has.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A message of which the header was read and fits the plan.
///
/// The digest is only compared at the end: until then the blocks may be anything, but have the right shape.
#[derive(Debug)]
pub(crate) struct MessageReader<R, H> {
    stream: StreamReader<R, H>,
    layout: Layout,
    /// Blocks read so far.
    read: usize,
}

impl<H: Header> MessageReader<File, H> {
    pub(crate) fn open(path: &Path, shape: &MessageShape<'_>) -> Result<Self, Error> {
        match StreamReader::open(path, H::KIND, shape.limits()?) {
            Ok(stream) => Self::start(stream, shape),
            Err(error @ container::Error::TooLarge { .. }) => {
                // Larger than this plan's batch: more often the wrong plan than a hostile length.
                let header = container::inspect_file(path)?;
                if header.metadata_bytes <= limits::METADATA_BYTES
                    && let Ok(header) = serde_json::from_value::<H>(header.metadata)
                {
                    shape.check(&header.common())?;
                }
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl<'b, H: Header> MessageReader<&'b [u8], H> {
    pub(crate) fn from_bytes(bytes: &'b [u8], shape: &MessageShape<'_>) -> Result<Self, Error> {
        let stream = StreamReader::from_bytes(bytes, H::KIND, shape.limits()?)?;
        Self::start(stream, shape)
    }
}

impl<R: Read, H: Header> MessageReader<R, H> {
    /// Of `length` bytes that messages call `name`.
    pub(crate) fn from_source(
        source: R,
        length: u64,
        name: &str,
        shape: &MessageShape<'_>,
    ) -> Result<Self, Error> {
        let stream = StreamReader::from_source(source, length, H::KIND, shape.limits()?, name)?;
        Self::start(stream, shape)
    }

    fn start(stream: StreamReader<R, H>, shape: &MessageShape<'_>) -> Result<Self, Error> {
        let header = stream.metadata();
        let common = header.common();
        let layout = shape
            .check(&common)
            .and_then(|()| header.check())
            .and_then(|()| shape.layout(common.images as usize))
            .and_then(|layout| {
                let (expected, found) = (layout.payload_bytes(), stream.left());
                if expected == found {
                    return Ok(layout);
                }
                Err(Error::PayloadLength {
                    message: common.message,
                    expected,
                    found,
                })
            });
        match layout {
            Ok(layout) => Ok(Self {
                stream,
                layout,
                read: 0,
            }),
            Err(error) => Err(stream.damaged_or(error)),
        }
    }

    pub(crate) fn header(&self) -> &H {
        self.stream.metadata()
    }

    pub(crate) fn claimed_digest(&self) -> Digest {
        self.stream.claimed_digest()
    }

    /// The next block, `None` after the last.
    pub(crate) fn next_block(&mut self) -> Result<Option<RawBlock>, Error> {
        if self.read == self.layout.blocks() {
            return Ok(None);
        }
        let (stream, index) = (&mut self.stream, self.read);
        self.read += 1;
        let message = stream.metadata().common().message;
        self.layout
            .block(message, index, |bytes| Ok(stream.read_part(bytes as u64)?))
            .map(Some)
    }

    /// Compares the digest.
    pub(crate) fn finish(self) -> Result<(Digest, H), Error> {
        Ok(self.stream.finish()?)
    }

    /// All blocks, and then digest and header.
    pub(crate) fn read_all(mut self) -> Result<(Digest, H, Vec<RawBlock>), Error> {
        let mut blocks = Vec::new();
        while let Some(block) = self.next_block()? {
            blocks.push(block);
        }
        let (digest, header) = self.finish()?;
        Ok((digest, header, blocks))
    }
}
