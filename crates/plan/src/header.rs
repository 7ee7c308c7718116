//! What both halves of a plan say.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize};
use sordino_ckks::{Context, KeySet, Parameters};
use sordino_container::{Digest, printable};
use sordino_protocol::MessageShape;

use crate::channel::check_slots;
use crate::check_images::USUAL_CHECK_IMAGES;
use crate::options::MAX_BATCH;
use crate::packing::Ends;
use crate::steps::MAX_ELEMENTS;
use crate::{Error, Packing, Step, unread};

/// A fresh ciphertext of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputLayout {
    /// Elements of the prepared image, channel-first; element-wise also the ciphertexts of a block.
    pub features: usize,
    /// Limbs of a fresh ciphertext.
    pub limbs: usize,
    /// Scale of the slots.
    pub scale: f64,
}

/// A ciphertext of the reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputLayout {
    /// Logits; element-wise also the ciphertexts of a block.
    pub logits: usize,
    /// 2, or 3 where the client decrypts with s² too.
    pub components: usize,
    /// Limbs of the reply.
    pub limbs: usize,
    /// Scale of the slots.
    pub scale: f64,
    /// Values of layers on the way that a reply has besides the logits, element-wise; older plans do not say so and have none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub norms: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// What both halves of a plan say.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PlanHeader {
    /// The network's name.
    pub network: String,
    /// The data set that it was trained on.
    pub dataset: String,
    /// Scheme parameters; checked against the security table when read.
    pub parameters: Parameters,
    /// Most images per request.
    pub batch: usize,
    /// Blocks that hold a whole batch.
    pub blocks: usize,
    /// Places of every block that hold check images; older plans do not say so and have none.
    #[serde(default)]
    pub check_images: usize,
    /// Images of a block that may be any allowed image without harm to the others, if the others are usual: proven for
    /// this plan's integers. 0 where nothing is proven, and in plans of older versions.
    #[serde(default)]
    pub contained_images: usize,
    /// Fresh ciphertexts.
    pub input: InputLayout,
    /// Ciphertexts of the reply.
    pub output: OutputLayout,
}

impl InputLayout {
    /// The layout of a step's result.
    pub(crate) fn of(step: &Step) -> Self {
        Self {
            features: step.elements,
            limbs: step.limbs,
            scale: step.scale,
        }
    }
}

impl OutputLayout {
    /// The layout of what the steps give: the last value, and those that no step reads.
    pub(crate) fn of(steps: &[Step]) -> Self {
        let step = &steps[steps.len() - 1];
        Self {
            logits: step.elements,
            components: step.components,
            limbs: step.limbs,
            scale: step.scale,
            norms: unread(steps).len(),
        }
    }
}

/// Most values of layers that a reply has.
const MAX_NORMS: usize = 256;

/// The sizes of a block.
pub(crate) struct BlockSizes {
    /// Places for images: the slots, or as many as have room side by side.
    pub places: usize,
    /// Images of a request that it holds: as many as check images leave places.
    pub images: usize,
    pub input_ciphertexts: usize,
    pub output_ciphertexts: usize,
}

impl PlanHeader {
    /// The sizes of one block.
    pub(crate) fn block(&self, packing: &Packing<impl Ends>) -> BlockSizes {
        let degree = self.parameters.ring_degree();
        let (places, input_ciphertexts, output_ciphertexts) = match packing
            .channel()
            .map(Ends::ends)
        {
            None => {
                let rows = self.output.logits + self.output.norms;
                (degree, self.input.features, rows)
            }
            Some((slots, input, output)) => (degree / slots, input.ciphertexts, output.ciphertexts),
        };
        BlockSizes {
            places,
            // A plan whose check images leave no place is refused when it is read.
            images: places.saturating_sub(self.check_images).max(1),
            input_ciphertexts,
            output_ciphertexts,
        }
    }

    /// Most images that the plan's blocks hold besides the usual number of check images; 0 where a block has no place for them.
    pub(crate) fn largest_checked_batch(&self, packing: &Packing<impl Ends>) -> usize {
        let left = self
            .block(packing)
            .places
            .saturating_sub(USUAL_CHECK_IMAGES);
        self.blocks * left
    }

    /// Why the plan has no check images, and what to do about it.
    pub(crate) fn no_check_images(&self, packing: &Packing<impl Ends>) -> Option<String> {
        if self.check_images > 0 {
            return None;
        }
        let (places, largest) = (
            self.block(packing).places,
            self.largest_checked_batch(packing),
        );
        Some(if places == 1 {
            "an image fills its ciphertexts, so that a check image could be seen".to_owned()
        } else if largest == 0 {
            format!(
                "a block holds {places} images, which is no room for {USUAL_CHECK_IMAGES} more: compile with --check-images N, N below {places}, to have blocks added"
            )
        } else if self.batch > largest {
            format!(
                "the blocks are full: compile for a batch of at most {largest}, or with --check-images {USUAL_CHECK_IMAGES} to have a block added"
            )
        } else {
            "not asked for, or the model has no statistic of its input (run `sordino ranges` again), or its logits hardly differ".to_owned()
        })
    }

    /// What the plan with this digest fixes about a request.
    pub(crate) fn request_shape<'c>(
        &self,
        packing: &Packing<impl Ends>,
        plan: Digest,
        context: &'c Context,
    ) -> MessageShape<'c> {
        MessageShape {
            plan,
            context,
            batch: self.batch,
            block_images: self.block(packing).images,
            rows: self.block(packing).input_ciphertexts,
            components: 1,
            limbs: self.input.limbs,
            scale: self.input.scale,
        }
    }

    /// What the plan with this digest fixes about a reply.
    pub(crate) fn reply_shape<'c>(
        &self,
        packing: &Packing<impl Ends>,
        plan: Digest,
        context: &'c Context,
    ) -> MessageShape<'c> {
        MessageShape {
            rows: self.block(packing).output_ciphertexts,
            components: self.output.components,
            limbs: self.output.limbs,
            scale: self.output.scale,
            ..self.request_shape(packing, plan, context)
        }
    }

    /// The switching keys that an evaluation needs: with these rotations, if the packing has any. `None` where the parameters
    /// have no gadget, so that no key can exist.
    pub(crate) fn key_set(&self, rotations: Option<Vec<usize>>) -> Result<Option<KeySet>, Error> {
        let keys = || match rotations {
            None => Ok(KeySet::relinearization_only()),
            Some(rotations) => KeySet::new(true, rotations),
        };
        Ok(self.parameters.gadget().map(|_| keys()).transpose()?)
    }

    /// Checks shapes against parameters, and that scales are finite.
    pub(crate) fn check(
        &self,
        part: &'static str,
        packing: &Packing<impl Ends>,
    ) -> Result<(), Error> {
        let (parameters, input, output) = (&self.parameters, &self.input, &self.output);
        check_name(part, "network", &self.network)?;
        check_name(part, "dataset", &self.dataset)?;
        if let Some(channel) = packing.channel() {
            check_slots(part, channel.ends().0, parameters.ring_degree())?;
        }
        // A batch of 0 and too many check images are refused before blocks are looked at.
        let block = self.block(packing);
        let blocks = self.batch.div_ceil(block.images);
        // One for each of a few dozen layers; a ciphertext of channel-wise packing has none.
        let most_norms = if packing.channel().is_none() {
            MAX_NORMS
        } else {
            0
        };
        for (what, found, least, most) in [
            ("batch", self.batch, 1, MAX_BATCH),
            ("check images", self.check_images, 0, block.places - 1),
            ("blocks", self.blocks, blocks, blocks),
            ("contained images", self.contained_images, 0, block.places),
            ("features", input.features, 1, MAX_ELEMENTS),
            ("logits", output.logits, 1, MAX_ELEMENTS),
            ("values of layers", output.norms, 0, most_norms),
            ("input limbs", input.limbs, 1, parameters.limbs()),
            ("output limbs", output.limbs, 1, parameters.limbs()),
            ("output components", output.components, 2, 3),
        ] {
            let good = (least..=most).contains(&found);
            Error::require(good, part, what, format_args!("{least} to {most}"), found)?;
        }
        for (what, scale) in [("input scale", input.scale), ("output scale", output.scale)] {
            let good = (1.0..=1e36).contains(&scale);
            Error::require(good, part, what, "1 to 1e36", scale)?;
        }
        Ok(())
    }

    /// Writes the header, the parents of the half and the packing's name in the order in which files have them.
    pub(crate) fn write<M: SerializeMap, Channel>(
        &self,
        parents: &impl Serialize,
        packing: &Packing<Channel>,
        map: &mut M,
    ) -> Result<(), M::Error> {
        map.serialize_entry("network", &self.network)?;
        map.serialize_entry("dataset", &self.dataset)?;
        map.serialize_entry("parents", parents)?;
        map.serialize_entry("packing", &packing.kind())?;
        map.serialize_entry("parameters", &self.parameters)?;
        map.serialize_entry("batch", &self.batch)?;
        map.serialize_entry("blocks", &self.blocks)?;
        if self.check_images > 0 {
            map.serialize_entry("check_images", &self.check_images)?;
        }
        if self.contained_images > 0 {
            map.serialize_entry("contained_images", &self.contained_images)?;
        }
        map.serialize_entry("input", &self.input)?;
        map.serialize_entry("output", &self.output)
    }
}

/// Bytes of the longest name.
const NAME_BYTES: usize = 256;

/// Checks a name that people are shown: short, one line, nothing that moves a cursor or turns text around.
pub(crate) fn check_name(part: &'static str, what: &str, name: &str) -> Result<(), Error> {
    let good = name.len() <= NAME_BYTES && printable(name) == name && !name.contains(['\n', '\t']);
    let expected = format_args!("a line of at most {NAME_BYTES} bytes without control characters");
    let found: String = name.chars().take(80).collect();
    Error::require(good, part, what, expected, format_args!("{found:?}"))
}
