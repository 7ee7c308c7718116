//! Encrypted images on their way to the server.

use std::fs::File;

use serde::{Deserialize, Serialize};
use sordino_ckks::{KeyId, Parameters, ParametersRecord, Scale, SeededCiphertexts, SlotTag};
use sordino_container::{Digest, Kind};
use sordino_ring::ResidueMatrix;

use crate::error::Message;
use crate::message::{Extent, Header, check_slots};
use crate::shape::Common;
use crate::{
    EncryptedMessage, Error, Layout, MessageReader, MessageShape, ReceivedBlock, ReceivedMessage,
    Seed,
};

/// Encrypted images: one feature map of fresh ciphertexts per block.
pub type Request = EncryptedMessage<RequestHeader>;

/// A request whose digest and header were checked; the residues were not yet.
pub type ReceivedRequest = ReceivedMessage<RequestHeader>;

/// A request, by default a file, whose header was read and fits the plan, to be read block by block.
pub type RequestReader<R = File> = MessageReader<R, RequestHeader>;

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
    /// Which slots they are in, for the owner of the key. Requests of version 0.1 had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<SlotTag>,
    /// Blocks of N images.
    pub blocks: u32,
    /// Ciphertexts per block.
    pub features: u32,
    /// Limbs of a ciphertext.
    pub limbs: u32,
    /// Scale of the slots.
    pub scale: f64,
    /// Public seeds, one per block.
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
    type Block = SeededCiphertexts;

    const MESSAGE: Message = Message::Request;
    const KIND: Kind = Kind::Request;
    const ALIKE: (&'static str, &'static str) = (
        "blocks of one shape, each with its own seed",
        "encrypt every block from index 0",
    );

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
        check_slots(Message::Request, self.slots)?;
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

    fn seed(&self, block: usize) -> Option<Seed> {
        self.seeds.get(block).copied()
    }

    fn dimensions(block: &SeededCiphertexts) -> [usize; 3] {
        [block.len(), 1, block.limbs()]
    }

    fn scale(block: &SeededCiphertexts) -> f64 {
        block.scale().value()
    }

    fn fits(block: &SeededCiphertexts, shape: &MessageShape<'_>) -> bool {
        let alike = Self::dimensions(block) == [shape.rows, shape.components, shape.limbs];
        alike && block.first_index() == 0
    }

    fn matrices(block: &SeededCiphertexts) -> Vec<&ResidueMatrix> {
        block.parts().iter().collect()
    }

    fn parse(block: ReceivedBlock, shape: &MessageShape<'_>) -> Result<SeededCiphertexts, Error> {
        block.parse(shape)
    }
}

impl RequestHeader {
    /// Checks everything that does not need the plan: the parameters, their digest and security.
    ///
    /// # Errors
    /// [`Error::Parameters`] or [`Error::WrongParameters`].
    pub fn checked_parameters(&self) -> Result<Parameters, Error> {
        self.common().checked_parameters()
    }

    /// The layout that the header describes, for a reader without the plan.
    ///
    /// # Errors
    /// As [`checked_parameters`](Self::checked_parameters), and [`Error::TooLarge`].
    pub fn layout(&self) -> Result<Layout, Error> {
        self.common().layout()
    }
}

impl Request {
    /// A request from freshly encrypted blocks.
    ///
    /// # Errors
    /// [`Error::Field`] if the blocks are not what the shape asks for.
    pub fn new(
        shape: &MessageShape<'_>,
        key_id: KeyId,
        slots: SlotTag,
        images: usize,
        blocks: Vec<SeededCiphertexts>,
    ) -> Result<Self, Error> {
        let extent = Extent::of::<RequestHeader>(&blocks);
        let header = RequestHeader {
            parents: RequestParents {
                plan: shape.plan,
                parameters: shape.context.digest(),
            },
            parameters: shape.context.parameters().record().clone(),
            key_id,
            images: images as u64,
            slots: Some(slots),
            blocks: extent.blocks,
            features: extent.rows,
            limbs: extent.limbs,
            scale: extent.scale,
            seeds: blocks.iter().map(|block| Seed(*block.seed())).collect(),
        };
        Self::checked(header, blocks, shape)
    }
}

impl ReceivedBlock {
    /// Checks every residue of a request's block.
    ///
    /// # Errors
    /// [`Error::Ciphertexts`] naming the block.
    pub fn parse(mut self, shape: &MessageShape<'_>) -> Result<SeededCiphertexts, Error> {
        let parts = self.matrices.pop().unwrap_or_default();
        let Seed(seed) = self.seed.unwrap_or(Seed([0; 32]));
        Scale::new(self.scale)
            .and_then(|scale| SeededCiphertexts::from_parts(shape.context, seed, 0, parts, scale))
            .map_err(Self::error(Message::Request, self.index))
    }
}
