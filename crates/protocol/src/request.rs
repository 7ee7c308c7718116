//! Encrypted images on their way to the server.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sordino_ckks::{KeyId, Parameters, ParametersRecord, Scale, SeededCiphertexts};
use sordino_container::{self as container, Access, Digest, Kind, Overwrite};
use sordino_ring::ResidueMatrix;

use crate::error::Message;
use crate::layout::checked_parameters;
use crate::reading::{Header, MessageReader, RawBlock};
use crate::shape::Common;
use crate::{Error, Layout, MessageShape, Seed};

/// What a request says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestHeader {
    /// What the request refers to.
    pub parents: RequestParents,
    /// The parameters, unchecked.
    pub parameters: ParametersRecord,
    /// Public name of the client's secret key.
    pub key_id: KeyId,
    /// Images in the request.
    pub images: u64,
    /// Blocks of N images.
    pub blocks: u32,
    /// Ciphertexts a block.
    pub features: u32,
    /// Limbs of a ciphertext.
    pub limbs: u32,
    /// Scale of the slots.
    pub scale: f64,
    /// Public seeds, one a block.
    pub seeds: Vec<Seed>,
}

/// What a request refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestParents {
    /// The plan's digest.
    pub plan: Digest,
    /// Digest of the parameters.
    pub parameters: Digest,
}

impl Header for RequestHeader {
    const KIND: Kind = Kind::Request;

    fn common(&self) -> Common<'_> {
        Common {
            message: Message::Request,
            plan: self.parents.plan,
            parameters_digest: self.parents.parameters,
            parameters: &self.parameters,
            images: self.images,
            blocks: self.blocks,
            rows: self.features,
            components: 1,
            limbs: self.limbs,
            scale: self.scale,
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.seeds.len() == self.blocks as usize {
            return Ok(());
        }
        Err(Error::Field {
            message: Message::Request,
            field: "seeds",
            expected: self.blocks.to_string(),
            found: self.seeds.len().to_string(),
            advice: "the file does not fit its own header, make it again",
        })
    }
}

impl RequestHeader {
    /// Checks everything that does not need the plan: the parameters, their digest and security.
    ///
    /// # Errors
    /// [`Error::Parameters`] or [`Error::WrongParameters`].
    pub fn checked_parameters(&self) -> Result<Parameters, Error> {
        checked_parameters(Message::Request, &self.parameters, self.parents.parameters)
    }

    /// The layout that the header describes, for a reader without the plan.
    ///
    /// # Errors
    /// As [`checked_parameters`](Self::checked_parameters), and [`Error::TooLarge`].
    pub fn layout(&self) -> Result<Layout, Error> {
        let parameters = self.checked_parameters()?;
        let (limbs, rows) = (self.limbs as usize, self.features as usize);
        Layout::new(&parameters, limbs, 1, rows, self.blocks as usize)
    }
}

/// Encrypted images, one feature map of fresh ciphertexts a block of N images.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    header: RequestHeader,
    blocks: Vec<SeededCiphertexts>,
}

/// A request whose digest and header were checked; the residues were not yet.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// The digest that names the request.
    pub digest: Digest,
    /// The header; it fits the plan.
    pub header: RequestHeader,
    blocks: Vec<RawBlock>,
}

/// A request, by default a file, of which the header was read and fits the plan, to be read block by block.
#[derive(Debug)]
pub struct RequestReader<R = File> {
    reader: MessageReader<R, RequestHeader>,
    /// Blocks read so far.
    read: usize,
}

/// One block of a request whose residues were not checked yet.
#[derive(Clone, Debug)]
pub struct ReceivedBlock {
    index: usize,
    seed: Seed,
    scale: f64,
    block: RawBlock,
}

impl Request {
    /// A request from freshly encrypted blocks.
    ///
    /// # Errors
    /// [`Error::Field`] if the blocks are not what the shape asks for.
    pub fn new(
        shape: &MessageShape<'_>,
        key_id: KeyId,
        images: usize,
        blocks: Vec<SeededCiphertexts>,
    ) -> Result<Self, Error> {
        let first = blocks.first();
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let header = RequestHeader {
            parents: RequestParents {
                plan: shape.plan,
                parameters: shape.context.digest(),
            },
            parameters: shape.context.parameters().record().clone(),
            key_id,
            images: images as u64,
            blocks: small(blocks.len()),
            features: small(first.map_or(0, SeededCiphertexts::len)),
            limbs: small(first.map_or(0, SeededCiphertexts::limbs)),
            scale: first.map_or(0.0, |block| block.scale().value()),
            seeds: blocks.iter().map(|block| Seed(*block.seed())).collect(),
        };
        shape.check(&header.common())?;
        let alike = |block: &SeededCiphertexts| {
            block.len() == shape.rows && block.limbs() == shape.limbs && block.first_index() == 0
        };
        if let Some(block) = blocks.iter().position(|block| !alike(block)) {
            return Err(Error::Field {
                message: Message::Request,
                field: "blocks",
                expected: "blocks of one shape, each with its own seed".to_owned(),
                found: format!("block {block} of another"),
                advice: "encrypt every block from index 0",
            });
        }
        Ok(Self { header, blocks })
    }

    /// The header.
    pub fn header(&self) -> &RequestHeader {
        &self.header
    }

    /// The blocks, without a copy.
    pub fn into_blocks(self) -> Vec<SeededCiphertexts> {
        self.blocks
    }

    /// The blocks.
    pub fn blocks(&self) -> &[SeededCiphertexts] {
        &self.blocks
    }

    fn parts(&self) -> Vec<&[u8]> {
        let matrices = self.blocks.iter().flat_map(|block| block.parts());
        matrices.map(ResidueMatrix::as_bytes).collect()
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let payload = self.parts().concat();
        Ok(container::to_bytes(Kind::Request, &self.header, &payload)?)
    }

    /// Writes the request and returns its digest.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_file(
        &self,
        path: impl AsRef<Path>,
        overwrite: Overwrite,
    ) -> Result<Digest, Error> {
        Ok(container::write_file_parts(
            path,
            Kind::Request,
            &self.header,
            &self.parts(),
            overwrite,
            Access::Shared,
        )?)
    }
}

impl ReceivedRequest {
    /// Reads a request from memory and checks its digest and header.
    ///
    /// # Errors
    /// [`Error::File`] for damaged bytes, and an error naming both sides for a request that does not fit the plan.
    pub fn from_bytes(bytes: &[u8], shape: &MessageShape<'_>) -> Result<Self, Error> {
        Self::read(MessageReader::from_bytes(bytes, shape)?)
    }

    /// Reads a request file and checks its digest and header.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn read_file(path: impl AsRef<Path>, shape: &MessageShape<'_>) -> Result<Self, Error> {
        Self::read(MessageReader::open(path.as_ref(), shape)?)
    }

    fn read<R: Read>(reader: MessageReader<R, RequestHeader>) -> Result<Self, Error> {
        let (digest, header, blocks) = reader.read_all()?;
        Ok(Self {
            digest,
            header,
            blocks,
        })
    }

    /// The blocks, one after the other.
    pub fn into_blocks(self) -> impl Iterator<Item = ReceivedBlock> {
        let scale = self.header.scale;
        let seeds = self.header.seeds.into_iter();
        self.blocks
            .into_iter()
            .zip(seeds)
            .enumerate()
            .map(move |(index, (block, seed))| ReceivedBlock {
                index,
                seed,
                scale,
                block,
            })
    }

    /// Checks every residue of every block.
    ///
    /// # Errors
    /// [`Error::Ciphertexts`] naming the block.
    pub fn parse(self, shape: &MessageShape<'_>) -> Result<Request, Error> {
        Ok(Request {
            header: self.header.clone(),
            blocks: self
                .into_blocks()
                .map(|block| block.parse(shape))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl ReceivedBlock {
    /// Checks every residue.
    ///
    /// # Errors
    /// [`Error::Ciphertexts`] naming the block.
    pub fn parse(mut self, shape: &MessageShape<'_>) -> Result<SeededCiphertexts, Error> {
        let parts = self.block.pop().unwrap_or_default();
        Scale::new(self.scale)
            .and_then(|scale| {
                SeededCiphertexts::from_parts(shape.context, self.seed.0, 0, parts, scale)
            })
            .map_err(|source| Error::Ciphertexts {
                message: Message::Request,
                block: self.index,
                source,
            })
    }
}

impl RequestReader {
    /// Opens a request file and checks its header.
    ///
    /// # Errors
    /// As [`ReceivedRequest::from_bytes`]; damage further on shows in [`finish`](Self::finish).
    pub fn open(path: impl AsRef<Path>, shape: &MessageShape<'_>) -> Result<Self, Error> {
        Ok(Self {
            reader: MessageReader::open(path.as_ref(), shape)?,
            read: 0,
        })
    }
}

impl<R: Read> RequestReader<R> {
    /// Reads the header of a request of `length` bytes that come from `source`, and checks it; messages call the request `name`.
    ///
    /// # Errors
    /// As [`ReceivedRequest::from_bytes`]; damage further on shows in [`finish`](Self::finish).
    pub fn from_source(
        source: R,
        length: u64,
        name: &str,
        shape: &MessageShape<'_>,
    ) -> Result<Self, Error> {
        Ok(Self {
            reader: MessageReader::from_source(source, length, name, shape)?,
            read: 0,
        })
    }

    /// The header; it fits the plan, but was not compared with the digest yet.
    pub fn header(&self) -> &RequestHeader {
        self.reader.header()
    }

    /// The digest that the file says it has; whether that is so shows in [`finish`](Self::finish).
    pub fn claimed_digest(&self) -> Digest {
        self.reader.claimed_digest()
    }

    /// Reads the next block, `None` after the last.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn next_block(&mut self) -> Result<Option<ReceivedBlock>, Error> {
        let Some(block) = self.reader.next_block()? else {
            return Ok(None);
        };
        let (index, header) = (self.read, self.reader.header());
        self.read += 1;
        Ok(header.seeds.get(index).map(|&seed| ReceivedBlock {
            index,
            seed,
            scale: header.scale,
            block,
        }))
    }

    /// After the last block: compares the digest and returns it. Before, nothing may leave the evaluator.
    ///
    /// # Errors
    /// [`Error::File`] for a damaged file.
    pub fn finish(self) -> Result<Digest, Error> {
        Ok(self.reader.finish()?.0)
    }
}
