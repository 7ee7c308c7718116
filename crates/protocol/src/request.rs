//! Encrypted images on their way to the server.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sordino_ckks::{KeyId, Parameters, ParametersRecord, Scale, SeededCiphertexts};
use sordino_container::{self as container, Access, Contents, Digest, Kind, Overwrite};
use sordino_ring::ResidueMatrix;

use crate::error::Message;
use crate::layout::checked_parameters;
use crate::shape::Common;
use crate::{Error, Layout, MessageShape, Seed, limits};

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

impl RequestHeader {
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
    payload: Vec<u8>,
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
        Self::check(
            container::from_bytes(bytes, Kind::Request, shape.limits()?)?,
            shape,
        )
    }

    /// Reads a request file and checks its digest and header.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn read_file(path: impl AsRef<Path>, shape: &MessageShape<'_>) -> Result<Self, Error> {
        let path = path.as_ref();
        match container::read_file(path, Kind::Request, shape.limits()?) {
            Ok(contents) => Self::check(contents, shape),
            Err(error @ container::Error::TooLarge { .. }) => {
                // Larger than this plan's batch: more often the wrong plan than a hostile length.
                let header = container::inspect_file(path)?;
                if header.metadata_bytes <= limits::METADATA_BYTES
                    && let Ok(header) = serde_json::from_value::<RequestHeader>(header.metadata)
                {
                    shape.check(&header.common())?;
                }
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn check(contents: Contents<RequestHeader>, shape: &MessageShape<'_>) -> Result<Self, Error> {
        let Contents {
            digest,
            metadata: header,
            payload,
        } = contents;
        shape.check(&header.common())?;
        if header.seeds.len() != header.blocks as usize {
            return Err(Error::Field {
                message: Message::Request,
                field: "seeds",
                expected: header.blocks.to_string(),
                found: header.seeds.len().to_string(),
                advice: "the file does not fit its own header, make it again",
            });
        }
        let expected = shape.layout(header.images as usize)?.payload_bytes();
        if payload.len() as u64 != expected {
            let (message, found) = (Message::Request, payload.len() as u64);
            return Err(Error::PayloadLength {
                message,
                expected,
                found,
            });
        }
        Ok(Self {
            digest,
            header,
            payload,
        })
    }

    /// Cuts the payload into ciphertexts and checks every residue.
    ///
    /// # Errors
    /// [`Error::Ciphertexts`] naming the block.
    pub fn parse(self, shape: &MessageShape<'_>) -> Result<Request, Error> {
        let message = Message::Request;
        let layout = shape.layout(self.header.images as usize)?;
        let blocks = layout.split(message, self.payload)?;
        let mut parsed = Vec::with_capacity(blocks.len());
        for (block, (mut components, Seed(seed))) in blocks
            .into_iter()
            .zip(self.header.seeds.iter().copied())
            .enumerate()
        {
            let parts = components.pop().unwrap_or_default();
            let made = Scale::new(self.header.scale).and_then(|scale| {
                SeededCiphertexts::from_parts(shape.context, seed, 0, parts, scale)
            });
            parsed.push(made.map_err(|source| Error::Ciphertexts {
                message,
                block,
                source,
            })?);
        }
        Ok(Request {
            header: self.header,
            blocks: parsed,
        })
    }
}
