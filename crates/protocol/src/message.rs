//! What requests and replies have in common: a header that is checked against the plan, and encrypted blocks.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sordino_ckks::SlotTag;
use sordino_container::{self as container, Access, Digest, Kind, Overwrite};
use sordino_ring::ResidueMatrix;

use crate::error::Message;
use crate::shape::Common;
use crate::{Error, MessageReader, MessageShape, Seed};

/// Matrices of a block, `[component][limb]`; residues were not looked at.
pub(crate) type RawBlock = Vec<Vec<ResidueMatrix>>;

/// The header of one of the two messages.
pub trait Header: Clone + Serialize + DeserializeOwned {
    /// One block of images.
    type Block;

    /// The message.
    const MESSAGE: Message;
    /// The kind of file.
    const KIND: Kind;
    /// What blocks have to be, and what to do about others.
    const ALIKE: (&'static str, &'static str);

    /// The fields that both headers have.
    fn common(&self) -> Common<'_>;

    /// Checks the fields that the other header lacks.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The seed of a block, if blocks have one.
    fn seed(&self, _block: usize) -> Option<Seed> {
        None
    }

    /// Rows, components and limbs of a block.
    fn dimensions(block: &Self::Block) -> [usize; 3];

    /// Scale of a block's slots.
    fn scale(block: &Self::Block) -> f64;

    /// Whether a block has the plan's shape.
    fn fits(block: &Self::Block, shape: &MessageShape<'_>) -> bool {
        Self::dimensions(block) == [shape.rows, shape.components, shape.limbs]
    }

    /// The residues of a block in the order of the payload.
    fn matrices(block: &Self::Block) -> Vec<&ResidueMatrix>;

    /// Checks every residue of a block.
    fn parse(block: ReceivedBlock, shape: &MessageShape<'_>) -> Result<Self::Block, Error>;
}

/// Encrypted blocks with the header that describes them.
#[derive(Clone, Debug, PartialEq)]
pub struct EncryptedMessage<H: Header> {
    header: H,
    blocks: Vec<H::Block>,
}

/// A message whose digest and header were checked; the residues were not yet.
#[derive(Clone, Debug)]
pub struct ReceivedMessage<H> {
    /// The digest that names the message.
    pub digest: Digest,
    /// The header; it fits the plan.
    pub header: H,
    blocks: Vec<ReceivedBlock>,
}

/// One block of a message whose residues were not checked yet.
#[derive(Clone, Debug)]
pub struct ReceivedBlock {
    pub(crate) index: usize,
    pub(crate) seed: Option<Seed>,
    pub(crate) scale: f64,
    pub(crate) matrices: RawBlock,
}

/// Refuses messages that were made before images had secret slots.
pub(crate) fn check_slots(message: Message, slots: Option<SlotTag>) -> Result<(), Error> {
    match slots {
        Some(_) => Ok(()),
        None => Err(Error::Field {
            message,
            field: "slots",
            expected: "a tag".to_owned(),
            found: "none".to_owned(),
            advice: "an earlier version of Sordino made the request, encrypt the images again",
        }),
    }
}

/// The numbers of a header that follow from its blocks.
pub(crate) struct Extent {
    pub blocks: u32,
    pub rows: u32,
    pub components: u32,
    pub limbs: u32,
    pub scale: f64,
}

impl Extent {
    /// From the number of blocks, and from the first one.
    pub(crate) fn of<H: Header>(blocks: &[H::Block]) -> Self {
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let [rows, components, limbs] = blocks.first().map_or([0; 3], H::dimensions).map(small);
        Self {
            blocks: small(blocks.len()),
            rows,
            components,
            limbs,
            scale: blocks.first().map_or(0.0, H::scale),
        }
    }
}

impl<H: Header> EncryptedMessage<H> {
    /// Checks that header and blocks fit the plan.
    pub(crate) fn checked(
        header: H,
        blocks: Vec<H::Block>,
        shape: &MessageShape<'_>,
    ) -> Result<Self, Error> {
        shape.check(&header.common())?;
        if let Some(block) = blocks.iter().position(|block| !H::fits(block, shape)) {
            let (expected, advice) = H::ALIKE;
            return Err(Error::Field {
                message: H::MESSAGE,
                field: "blocks",
                expected: expected.to_owned(),
                found: format!("block {block} of another"),
                advice,
            });
        }
        Ok(Self { header, blocks })
    }

    /// The header.
    pub fn header(&self) -> &H {
        &self.header
    }

    /// The blocks.
    pub fn blocks(&self) -> &[H::Block] {
        &self.blocks
    }

    /// The blocks, without a copy.
    pub fn into_blocks(self) -> Vec<H::Block> {
        self.blocks
    }

    fn parts(&self) -> Vec<&[u8]> {
        let matrices = self.blocks.iter().flat_map(H::matrices);
        matrices.map(ResidueMatrix::as_bytes).collect()
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let payload = self.parts().concat();
        Ok(container::to_bytes(H::KIND, &self.header, &payload)?)
    }

    /// Writes the file and returns its digest.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_file(
        &self,
        path: impl AsRef<Path>,
        overwrite: Overwrite,
    ) -> Result<Digest, Error> {
        let (header, parts) = (&self.header, self.parts());
        let access = Access::Shared;
        Ok(container::write_file_parts(
            path,
            H::KIND,
            header,
            &parts,
            overwrite,
            access,
        )?)
    }
}

impl<H: Header> ReceivedMessage<H> {
    /// Reads a message from memory and checks its digest and header.
    ///
    /// # Errors
    /// [`Error::File`] for damaged bytes, and an error naming both sides for a message that does not fit the plan.
    pub fn from_bytes(bytes: &[u8], shape: &MessageShape<'_>) -> Result<Self, Error> {
        Self::read(MessageReader::from_bytes(bytes, shape)?)
    }

    /// Reads a file and checks its digest and header.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn read_file(path: impl AsRef<Path>, shape: &MessageShape<'_>) -> Result<Self, Error> {
        Self::read(MessageReader::<File, H>::open(path, shape)?)
    }

    fn read<R: Read>(mut reader: MessageReader<R, H>) -> Result<Self, Error> {
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block()? {
            blocks.push(block);
        }
        let header = reader.header().clone();
        Ok(Self {
            digest: reader.finish()?,
            header,
            blocks,
        })
    }

    /// The blocks, one after the other.
    pub fn into_blocks(self) -> impl Iterator<Item = ReceivedBlock> {
        self.blocks.into_iter()
    }

    /// Checks every residue of every block.
    ///
    /// # Errors
    /// [`Error::Ciphertexts`] naming the block.
    pub fn parse(self, shape: &MessageShape<'_>) -> Result<EncryptedMessage<H>, Error> {
        let blocks = self.blocks.into_iter().map(|block| H::parse(block, shape));
        Ok(EncryptedMessage {
            blocks: blocks.collect::<Result<_, _>>()?,
            header: self.header,
        })
    }
}

impl ReceivedBlock {
    /// Names the message and the block in an error of the scheme.
    pub(crate) fn error(message: Message, block: usize) -> impl Fn(sordino_ckks::Error) -> Error {
        move |source| Error::Ciphertexts {
            message,
            block,
            source,
        }
    }
}
