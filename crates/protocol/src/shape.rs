//! What a plan fixes about a message.

use sordino_ckks::{Context, KeyId, Parameters, ParametersRecord};
use sordino_container::{Digest, Limits};

use crate::error::Message;
use crate::{Error, Layout, limits};

/// What a plan fixes about a request or a reply; a message with anything else is refused.
#[derive(Clone, Debug)]
pub struct MessageShape<'a> {
    /// The plan's digest.
    pub plan: Digest,
    /// Parameters with their tables.
    pub context: &'a Context,
    /// Most images per message.
    pub batch: usize,
    /// Images per block.
    pub block_images: usize,
    /// Ciphertexts per block: element-wise the features of a request or the logits of a reply.
    pub rows: usize,
    /// Components that are stored: 1 for a request, 2 or 3 for a reply.
    pub components: usize,
    /// Limbs of every component.
    pub limbs: usize,
    /// Scale of the slots.
    pub scale: f64,
}

/// The fields that the headers of requests and replies have in common.
pub struct Common<'h> {
    pub message: Message,
    pub plan: Digest,
    pub parameters_digest: Digest,
    pub parameters: &'h ParametersRecord,
    pub images: u64,
    pub blocks: u32,
    pub rows: u32,
    pub components: u32,
    pub limbs: u32,
    pub scale: f64,
}

impl Common<'_> {
    /// The parameters of a header, whose digest must be the one that the header names.
    pub(crate) fn checked_parameters(&self) -> Result<Parameters, Error> {
        let (message, named) = (self.message, self.parameters_digest);
        let parameters = Parameters::try_from(self.parameters.clone())
            .map_err(|source| Error::Parameters { message, source })?;
        if parameters.digest() != named {
            return Err(Error::WrongParameters {
                message,
                expected: shorten(parameters.digest()),
                found: shorten(named),
            });
        }
        Ok(parameters)
    }

    /// The layout that a header describes.
    pub(crate) fn layout(&self) -> Result<Layout, Error> {
        let parameters = self.checked_parameters()?;
        let [limbs, components, rows, blocks] =
            [self.limbs, self.components, self.rows, self.blocks].map(|number| number as usize);
        Layout::new(&parameters, limbs, components, rows, blocks)
    }
}

impl MessageShape<'_> {
    /// Blocks that `images` images take.
    pub fn blocks(&self, images: usize) -> usize {
        images.div_ceil(self.block_images)
    }

    /// The layout of a message of `images` images.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn layout(&self, images: usize) -> Result<Layout, Error> {
        Layout::new(
            self.context.parameters(),
            self.limbs,
            self.components,
            self.rows,
            self.blocks(images),
        )
    }

    /// What a reader takes into memory at most: a message with a full batch.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn limits(&self) -> Result<Limits, Error> {
        Ok(Limits {
            metadata_bytes: limits::METADATA_BYTES,
            payload_bytes: self.layout(self.batch)?.payload_bytes(),
        })
    }

    /// Compares the plan and the parameters that a header names, before any size is read.
    pub(crate) fn check_parents(&self, header: &Common<'_>) -> Result<(), Error> {
        let message = header.message;
        if header.plan != self.plan {
            return Err(Error::WrongPlan {
                message,
                expected: shorten(self.plan),
                found: shorten(header.plan),
            });
        }
        let expected = self.context.digest();
        if header.parameters_digest != expected
            || header.parameters != self.context.parameters().record()
        {
            return Err(Error::WrongParameters {
                message,
                expected: shorten(expected),
                found: shorten(header.parameters_digest),
            });
        }
        Ok(())
    }

    /// Compares every number of a header with the plan.
    pub(crate) fn check(&self, header: &Common<'_>) -> Result<(), Error> {
        self.check_parents(header)?;
        let message = header.message;
        let wrong = |field, expected: String, found: String, advice| {
            Err(Error::Field {
                message,
                field,
                expected,
                found,
                advice,
            })
        };
        let damaged = "the file does not fit the plan that it names, make it again";
        if header.images == 0 || header.images > self.batch as u64 {
            return wrong(
                "images",
                format!("1 to {}", self.batch),
                header.images.to_string(),
                "compile a plan for a larger batch or split the images",
            );
        }
        // At most the batch, which is a usize.
        let blocks = self.blocks(header.images as usize);
        let rows = match message {
            Message::Request => "features",
            Message::Reply => "logits",
        };
        for (field, expected, found) in [
            ("blocks", blocks, header.blocks),
            (rows, self.rows, header.rows),
            ("components", self.components, header.components),
            ("limbs", self.limbs, header.limbs),
        ] {
            if expected != found as usize {
                return wrong(field, expected.to_string(), found.to_string(), damaged);
            }
        }
        if header.scale.to_bits() != self.scale.to_bits() {
            return wrong(
                "scale",
                self.scale.to_string(),
                header.scale.to_string(),
                damaged,
            );
        }
        Ok(())
    }
}

/// Refuses a key that is not the one a message was made with; `key` names the key in the error.
///
/// # Errors
/// [`Error::WrongKey`].
pub fn check_key(
    message: Message,
    key: &'static str,
    given: KeyId,
    named: KeyId,
) -> Result<(), Error> {
    if given == named {
        return Ok(());
    }
    Err(Error::WrongKey {
        message,
        key,
        expected: shorten(given),
        found: shorten(named),
    })
}

/// The first 12 digits of a digest or identity, which are enough to distinguish two.
pub fn shorten(digest: impl std::fmt::Display) -> String {
    let text = digest.to_string();
    match text.get(..12) {
        Some(start) => format!("{start}…"),
        None => text,
    }
}
