//! Encrypted scores on their way back.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sordino_ckks::{Ciphertexts, KeyId, Parameters, ParametersRecord, Scale};
use sordino_container::{self as container, Access, Digest, Kind, Overwrite};
use sordino_ring::ResidueMatrix;

use crate::error::Message;
use crate::layout::checked_parameters;
use crate::reading::{Header, MessageReader, RawBlock};
use crate::shape::Common;
use crate::{Error, Layout, MessageShape, RequestHeader, shorten};

/// What a reply says about itself. Nothing in it depends on when or how fast it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyHeader {
    /// What the reply refers to.
    pub parents: ReplyParents,
    /// The parameters, unchecked.
    pub parameters: ParametersRecord,
    /// Public name of the client's secret key, as in the request.
    pub key_id: KeyId,
    /// Images, as in the request.
    pub images: u64,
    /// Blocks of N images.
    pub blocks: u32,
    /// Ciphertexts a block.
    pub logits: u32,
    /// Components of a ciphertext.
    pub components: u32,
    /// Limbs of a component.
    pub limbs: u32,
    /// Scale of the slots.
    pub scale: f64,
}

/// What a reply refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyParents {
    /// The plan's digest.
    pub plan: Digest,
    /// Digest of the request.
    pub request: Digest,
    /// Digest of the parameters.
    pub parameters: Digest,
}

impl Header for ReplyHeader {
    const KIND: Kind = Kind::Reply;

    fn common(&self) -> Common<'_> {
        Common {
            message: Message::Reply,
            plan: self.parents.plan,
            parameters_digest: self.parents.parameters,
            parameters: &self.parameters,
            images: self.images,
            blocks: self.blocks,
            rows: self.logits,
            components: self.components,
            limbs: self.limbs,
            scale: self.scale,
        }
    }
}

impl ReplyHeader {
    /// Checks everything that does not need the plan: the parameters, their digest and security.
    ///
    /// # Errors
    /// [`Error::Parameters`] or [`Error::WrongParameters`].
    pub fn checked_parameters(&self) -> Result<Parameters, Error> {
        checked_parameters(Message::Reply, &self.parameters, self.parents.parameters)
    }

    /// The layout that the header describes, for a reader without the plan.
    ///
    /// # Errors
    /// As [`checked_parameters`](Self::checked_parameters), and [`Error::TooLarge`].
    pub fn layout(&self) -> Result<Layout, Error> {
        let parameters = self.checked_parameters()?;
        let (limbs, rows) = (self.limbs as usize, self.logits as usize);
        Layout::new(
            &parameters,
            limbs,
            self.components as usize,
            rows,
            self.blocks as usize,
        )
    }

    /// Refuses a reply to another request.
    ///
    /// # Errors
    /// [`Error::WrongRequest`].
    pub fn check_request(&self, expected: Digest) -> Result<(), Error> {
        if self.parents.request == expected {
            return Ok(());
        }
        Err(Error::WrongRequest {
            expected: shorten(expected),
            found: shorten(self.parents.request),
        })
    }
}

/// Encrypted scores, one feature map of logits a block of N images.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    header: ReplyHeader,
    blocks: Vec<Ciphertexts>,
}

/// A reply whose digest and header were checked; the residues were not yet.
#[derive(Clone, Debug)]
pub struct ReceivedReply {
    /// The digest that names the reply.
    pub digest: Digest,
    /// The header; it fits the plan.
    pub header: ReplyHeader,
    blocks: Vec<RawBlock>,
}

impl Reply {
    /// The reply to a request.
    ///
    /// # Errors
    /// [`Error::Field`] if the blocks are not what the shape asks for.
    pub fn new(
        shape: &MessageShape<'_>,
        request: &RequestHeader,
        request_digest: Digest,
        blocks: Vec<Ciphertexts>,
    ) -> Result<Self, Error> {
        let first = blocks.first();
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let header = ReplyHeader {
            parents: ReplyParents {
                plan: shape.plan,
                request: request_digest,
                parameters: shape.context.digest(),
            },
            parameters: shape.context.parameters().record().clone(),
            key_id: request.key_id,
            images: request.images,
            blocks: small(blocks.len()),
            logits: small(first.map_or(0, Ciphertexts::len)),
            components: small(first.map_or(0, Ciphertexts::components)),
            limbs: small(first.map_or(0, Ciphertexts::limbs)),
            scale: first.map_or(0.0, |block| block.scale().value()),
        };
        shape.check(&header.common())?;
        let alike = |block: &Ciphertexts| {
            block.len() == shape.rows
                && block.limbs() == shape.limbs
                && block.components() == shape.components
        };
        if let Some(block) = blocks.iter().position(|block| !alike(block)) {
            return Err(Error::Field {
                message: Message::Reply,
                field: "blocks",
                expected: "blocks of one shape".to_owned(),
                found: format!("block {block} of another"),
                advice: "evaluate every block with the same plan",
            });
        }
        Ok(Self { header, blocks })
    }

    /// The header.
    pub fn header(&self) -> &ReplyHeader {
        &self.header
    }

    /// The blocks.
    pub fn blocks(&self) -> &[Ciphertexts] {
        &self.blocks
    }

    fn parts(&self) -> Vec<&[u8]> {
        let matrices = self.blocks.iter().flat_map(|block| block.parts()).flatten();
        matrices.map(ResidueMatrix::as_bytes).collect()
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let payload = self.parts().concat();
        Ok(container::to_bytes(Kind::Reply, &self.header, &payload)?)
    }

    /// Writes the reply and returns its digest.
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
            Kind::Reply,
            &self.header,
            &self.parts(),
            overwrite,
            Access::Shared,
        )?)
    }
}

impl ReceivedReply {
    /// Reads a reply from memory and checks its digest and header.
    ///
    /// # Errors
    /// [`Error::File`] for damaged bytes, and an error naming both sides for a reply that does not fit the plan.
    pub fn from_bytes(bytes: &[u8], shape: &MessageShape<'_>) -> Result<Self, Error> {
        Self::read(MessageReader::from_bytes(bytes, shape)?)
    }

    /// Reads a reply file and checks its digest and header.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn read_file(path: impl AsRef<Path>, shape: &MessageShape<'_>) -> Result<Self, Error> {
        Self::read(MessageReader::open(path.as_ref(), shape)?)
    }

    fn read<R: Read>(reader: MessageReader<R, ReplyHeader>) -> Result<Self, Error> {
        let (digest, header, blocks) = reader.read_all()?;
        Ok(Self {
            digest,
            header,
            blocks,
        })
    }

    /// Checks every residue.
    ///
    /// # Errors
    /// [`Error::Ciphertexts`] naming the block.
    pub fn parse(self, shape: &MessageShape<'_>) -> Result<Reply, Error> {
        let scale = self.header.scale;
        let parse = |(block, parts)| {
            Scale::new(scale)
                .and_then(|scale| Ciphertexts::from_parts(shape.context, parts, scale))
                .map_err(|source| Error::Ciphertexts {
                    message: Message::Reply,
                    block,
                    source,
                })
        };
        Ok(Reply {
            header: self.header,
            blocks: self
                .blocks
                .into_iter()
                .enumerate()
                .map(parse)
                .collect::<Result<_, _>>()?,
        })
    }
}
