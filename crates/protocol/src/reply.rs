//! Encrypted scores on their way back.

use serde::{Deserialize, Serialize};
use sordino_ckks::{Ciphertexts, KeyId, Parameters, ParametersRecord, Scale, SlotTag};
use sordino_container::{Digest, Kind};
use sordino_ring::ResidueMatrix;

use crate::error::Message;
use crate::message::{Extent, Header, check_slots};
use crate::shape::Common;
use crate::{
    EncryptedMessage, Error, Layout, MessageShape, ReceivedBlock, ReceivedMessage, RequestHeader,
};

/// Encrypted scores: one feature map of logits per block.
pub type Reply = EncryptedMessage<ReplyHeader>;

/// A reply whose digest and header were checked; the residues were not yet.
pub type ReceivedReply = ReceivedMessage<ReplyHeader>;

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
    /// Which slots they are in, as in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<SlotTag>,
    /// Blocks of N images.
    pub blocks: u32,
    /// Ciphertexts per block.
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
    type Block = Ciphertexts;

    const MESSAGE: Message = Message::Reply;
    const KIND: Kind = Kind::Reply;
    const ALIKE: (&'static str, &'static str) = (
        "blocks of one shape",
        "evaluate every block with the same plan",
    );

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

    fn check(&self) -> Result<(), Error> {
        check_slots(Message::Reply, self.slots)
    }

    fn dimensions(block: &Ciphertexts) -> [usize; 3] {
        [block.len(), block.components(), block.limbs()]
    }

    fn scale(block: &Ciphertexts) -> f64 {
        block.scale().value()
    }

    fn matrices(block: &Ciphertexts) -> Vec<&ResidueMatrix> {
        block.parts().iter().flatten().collect()
    }

    fn parse(block: ReceivedBlock, shape: &MessageShape<'_>) -> Result<Ciphertexts, Error> {
        Scale::new(block.scale)
            .and_then(|scale| Ciphertexts::from_parts(shape.context, block.matrices, scale))
            .map_err(ReceivedBlock::error(Message::Reply, block.index))
    }
}

impl ReplyHeader {
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
        let extent = Extent::of::<ReplyHeader>(&blocks);
        let header = ReplyHeader {
            parents: ReplyParents {
                plan: shape.plan,
                request: request_digest,
                parameters: shape.context.digest(),
            },
            parameters: shape.context.parameters().record().clone(),
            key_id: request.key_id,
            images: request.images,
            slots: request.slots,
            blocks: extent.blocks,
            logits: extent.rows,
            components: extent.components,
            limbs: extent.limbs,
            scale: extent.scale,
        };
        Self::checked(header, blocks, shape)
    }
}
