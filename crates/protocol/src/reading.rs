//! Reading a message: its header is compared with the plan before the payload is taken, block by block.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sordino_container::{self as container, Digest, StreamReader};

use crate::message::Header;
use crate::{Error, Layout, MessageShape, ReceivedBlock, limits};

/// A message, by default a file, whose header was read and fits the plan, to be read block by block.
///
/// The digest is only compared at the end: until then the blocks have the right shape, and any content.
#[derive(Debug)]
pub struct MessageReader<R, H> {
    stream: StreamReader<R, H>,
    layout: Layout,
    /// Blocks read so far.
    read: usize,
}

impl<H: Header> MessageReader<File, H> {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// [`Error::File`] for a damaged header, and an error naming both sides for a message that does not fit the plan. Damage
    /// further on shows in [`finish`](Self::finish).
    pub fn open(path: impl AsRef<Path>, shape: &MessageShape<'_>) -> Result<Self, Error> {
        let path = path.as_ref();
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
    /// Reads the header of a message of `length` bytes that come from `source`, and checks it; errors call the message `name`.
    ///
    /// # Errors
    /// As [`open`](MessageReader::open).
    pub fn from_source(
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
                    message: H::MESSAGE,
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

    /// The header; it fits the plan, but was not compared with the digest yet.
    pub fn header(&self) -> &H {
        self.stream.metadata()
    }

    /// The digest that the file says it has; [`finish`](Self::finish) compares it.
    pub fn claimed_digest(&self) -> Digest {
        self.stream.claimed_digest()
    }

    /// Reads the next block, `None` after the last.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn next_block(&mut self) -> Result<Option<ReceivedBlock>, Error> {
        let (stream, index) = (&mut self.stream, self.read);
        if index == self.layout.blocks() {
            return Ok(None);
        }
        self.read += 1;
        let take = |bytes: usize| Ok(stream.read_part(bytes as u64)?);
        let matrices = self.layout.block(H::MESSAGE, index, take)?;
        let header = stream.metadata();
        Ok(Some(ReceivedBlock {
            index,
            seed: header.seed(index),
            scale: header.common().scale,
            matrices,
        }))
    }

    /// Compares the digest after the last block, and returns it. Before, nothing may leave the evaluator.
    ///
    /// # Errors
    /// [`Error::File`] for a damaged file.
    pub fn finish(self) -> Result<Digest, Error> {
        Ok(self.stream.finish()?.0)
    }
}
