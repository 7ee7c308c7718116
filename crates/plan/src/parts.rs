//! The two halves of a plan and their files.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sordino_ckks::Parameters;
use sordino_container::{
    Access, Builder, Contents, Digest, Kind, Limits, Overwrite, Reader, from_bytes, read_file,
    to_bytes, write_file,
};
use sordino_graph::{OutputKind, Preprocess};

use crate::alternatives::{Alternative, PackingComparison};
use crate::channel::{self, ChannelLayout, ChannelPlan, ChannelRecord};
use crate::wire::{StepRecord, decode_steps, encode_steps};
use crate::{Error, Estimate, Packing, Step, wire};

/// Limits on a server plan from outside.
const SERVER_LIMITS: Limits = Limits {
    metadata_bytes: 8 << 20,
    payload_bytes: 4 << 30,
};
/// Limits on a client plan from outside, which is all metadata.
const CLIENT_LIMITS: Limits = Limits {
    metadata_bytes: 8 << 20,
    payload_bytes: 0,
};

/// What a fresh ciphertext of the plan looks like.
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

/// What a ciphertext of the reply looks like.
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
}

/// The model owner's half: parameters, steps, integer weights. Never leaves the server.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    pub(crate) record: ServerRecord,
    pub(crate) steps: Vec<Step>,
    pub(crate) channel: Option<ChannelPlan>,
    pub(crate) digest: Digest,
}

/// Everything of a server plan but the numbers of its steps: the file's metadata.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerRecord {
    pub network: String,
    pub dataset: String,
    pub parents: ServerParents,
    pub packing: Packing,
    pub parameters: Parameters,
    pub batch: usize,
    pub blocks: usize,
    pub input: InputLayout,
    pub output: OutputLayout,
    pub estimate: Estimate,
    pub alternatives: Vec<Alternative>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<PackingComparison>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelRecord>,
    pub steps: Vec<StepRecord>,
}

/// What a server plan was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerParents {
    pub model: Digest,
}

/// The client's half: parameters, layout, preprocessing, names. Holds no weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPlan {
    /// The network's name.
    pub network: String,
    /// The data set that it was trained on.
    pub dataset: String,
    /// What the plan refers to.
    pub parents: ClientParents,
    /// How images and feature maps lie in ciphertexts.
    pub packing: Packing,
    /// Scheme parameters; checked against the security table when read.
    pub parameters: Parameters,
    /// Most images a request.
    pub batch: usize,
    /// Blocks that hold a whole batch.
    pub blocks: usize,
    /// Fresh ciphertexts.
    pub input: InputLayout,
    /// Ciphertexts of the reply.
    pub output: OutputLayout,
    /// Positions in the slots, for channel-wise packing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelLayout>,
    /// How images become the network's input.
    pub preprocess: Preprocess,
    /// One name a logit.
    pub class_names: Vec<String>,
    /// What the logits stand for.
    pub output_kind: OutputKind,
    /// Smallest and largest logit seen in calibration; an image outside is flagged.
    pub logit_range: (f64, f64),
    /// What the evaluation is expected to cost.
    pub estimate: Estimate,
}

/// What a client plan refers to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientParents {
    /// Digest of the server's half, which names the plan.
    pub plan: Digest,
}

impl ServerPlan {
    pub(crate) fn new(
        mut record: ServerRecord,
        steps: Vec<Step>,
        channel: Option<ChannelPlan>,
    ) -> Result<Self, Error> {
        record.packing = match channel {
            None => Packing::ElementWise,
            Some(_) => Packing::ChannelWise,
        };
        record.channel = channel.as_ref().map(ChannelRecord::of);
        let payload = encode_payload(&steps, channel.as_ref());
        let bytes = to_bytes(Kind::ServerPlan, &record, &payload)?;
        Self::from_bytes(&bytes)
    }

    /// Reads a plan from memory and checks every part of it.
    ///
    /// # Errors
    /// [`Error::File`] for a damaged file, [`Error::Malformed`] for one whose content is not a plan.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_contents(from_bytes(bytes, Kind::ServerPlan, SERVER_LIMITS)?)
    }

    /// Reads a plan file and checks every part of it.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_contents(read_file(path.as_ref(), Kind::ServerPlan, SERVER_LIMITS)?)
    }

    fn from_contents(contents: Contents<ServerRecord>) -> Result<Self, Error> {
        let Contents {
            digest,
            metadata: record,
            payload,
        } = contents;
        let channel = record.channel.as_ref();
        check_packing(
            "server",
            record.packing,
            channel.map(|channel| channel.slots),
        )?;
        check_layout(
            "server",
            &record.parameters,
            record.batch,
            (record.blocks, channel.map(|channel| channel.slots)),
            &record.input,
            &record.output,
        )?;
        let mut reader = Reader::named(&payload, "server plan");
        let steps = decode_steps(&record.steps, &mut reader)?;
        let channel = channel
            .map(|channel| channel::decode(channel, &steps, &mut reader))
            .transpose()?;
        reader.finish()?;
        wire::check_steps(&record, &steps)?;
        if let Some(channel) = &channel {
            channel.check(&steps, record.parameters.ring_degree())?;
        }
        Ok(ServerPlan {
            record,
            steps,
            channel,
            digest,
        })
    }

    /// Writes the plan and returns its digest.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: impl AsRef<Path>, overwrite: Overwrite) -> Result<Digest, Error> {
        let payload = encode_payload(&self.steps, self.channel.as_ref());
        Ok(write_file(
            path.as_ref(),
            Kind::ServerPlan,
            &self.record,
            &payload,
            overwrite,
            Access::OwnerOnly,
        )?)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::File`] if the plan is larger than the format allows.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(to_bytes(
            Kind::ServerPlan,
            &self.record,
            &encode_payload(&self.steps, self.channel.as_ref()),
        )?)
    }

    /// The digest that names this plan in requests, replies and the client's half.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Digest of the model file that the plan was compiled from.
    pub fn model(&self) -> Digest {
        self.record.parents.model
    }

    /// The network's name.
    pub fn network(&self) -> &str {
        &self.record.network
    }

    /// The data set that the network was trained on.
    pub fn dataset(&self) -> &str {
        &self.record.dataset
    }

    /// Scheme parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.record.parameters
    }

    /// How images and feature maps lie in ciphertexts.
    pub fn packing(&self) -> Packing {
        self.record.packing
    }

    /// Positions, plaintexts and rotations, if the packing is channel-wise.
    pub fn channel(&self) -> Option<&ChannelPlan> {
        self.channel.as_ref()
    }

    /// What both packings would take, where the planner was free to choose.
    pub fn comparison(&self) -> Option<PackingComparison> {
        self.record.comparison
    }

    /// Images that one block holds.
    pub fn block_images(&self) -> usize {
        let slots = self.channel.as_ref().map(|channel| channel.slots);
        block_images(self.parameters(), slots)
    }

    /// Ciphertexts of one block of a request.
    pub fn input_ciphertexts(&self) -> usize {
        let layout = self.channel.as_ref().map(|channel| &channel.layouts[0]);
        layout.map_or(self.input().features, |layout| layout.ciphertexts)
    }

    /// Ciphertexts of one block of a reply.
    pub fn output_ciphertexts(&self) -> usize {
        let layout = self
            .channel
            .as_ref()
            .and_then(|channel| channel.layouts.last());
        layout.map_or(self.output().logits, |layout| layout.ciphertexts)
    }

    /// Steps of the rotations that evaluation needs Galois keys for; none element-wise.
    pub fn rotations(&self) -> Vec<usize> {
        let degree = self.parameters().ring_degree();
        let of = |channel: &ChannelPlan| channel.rotations(&self.steps, degree);
        self.channel.as_ref().map(of).unwrap_or_default()
    }

    /// Most images a request.
    pub fn batch(&self) -> usize {
        self.record.batch
    }

    /// Blocks that hold a whole batch.
    pub fn blocks(&self) -> usize {
        self.record.blocks
    }

    /// Fresh ciphertexts.
    pub fn input(&self) -> &InputLayout {
        &self.record.input
    }

    /// Ciphertexts of the reply.
    pub fn output(&self) -> &OutputLayout {
        &self.record.output
    }

    /// What the evaluation is expected to cost.
    pub fn estimate(&self) -> &Estimate {
        &self.record.estimate
    }

    /// The best plans of other kinds that the search found, cheapest first.
    pub fn alternatives(&self) -> &[Alternative] {
        &self.record.alternatives
    }

    /// The steps; step 0 is the input, the last one the logits.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether evaluation needs the client's evaluation key.
    pub fn needs_evaluation_key(&self) -> bool {
        self.record.parameters.gadget().is_some()
    }

    /// Multiply-accumulates an image.
    pub fn multiply_accumulates(&self) -> u64 {
        self.steps.iter().map(Step::multiply_accumulates).sum()
    }
}

impl ClientPlan {
    /// Reads a plan from memory, which may come from a server that is not trusted, and checks every part of it.
    ///
    /// # Errors
    /// [`Error::File`] for a damaged file or parameters below 128 bits, [`Error::Malformed`] for other content that
    /// is not a plan.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        from_bytes::<ClientPlan>(bytes, Kind::ClientPlan, CLIENT_LIMITS)?
            .metadata
            .check()
    }

    /// Reads a plan file; see [`from_bytes`](Self::from_bytes).
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        read_file::<ClientPlan>(path.as_ref(), Kind::ClientPlan, CLIENT_LIMITS)?
            .metadata
            .check()
    }

    /// Writes the plan.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: impl AsRef<Path>, overwrite: Overwrite) -> Result<Digest, Error> {
        Ok(write_file(
            path.as_ref(),
            Kind::ClientPlan,
            self,
            &[],
            overwrite,
            Access::Shared,
        )?)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::File`] if the plan is larger than the format allows.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(to_bytes(Kind::ClientPlan, self, &[])?)
    }

    /// The digest of the server's half, which names the plan.
    pub fn plan(&self) -> Digest {
        self.parents.plan
    }

    /// Bits after the binary point that released logits are rounded to: the guaranteed precision less 2 bits.
    pub fn released_bits(&self) -> i32 {
        self.estimate.released_bits()
    }

    /// Images that one block holds.
    pub fn block_images(&self) -> usize {
        block_images(
            &self.parameters,
            self.channel.as_ref().map(|channel| channel.slots),
        )
    }

    /// Ciphertexts of one block of a request.
    pub fn input_ciphertexts(&self) -> usize {
        self.channel
            .as_ref()
            .map_or(self.input.features, |channel| channel.input.ciphertexts)
    }

    /// Ciphertexts of one block of a reply.
    pub fn output_ciphertexts(&self) -> usize {
        self.channel
            .as_ref()
            .map_or(self.output.logits, |channel| channel.output.ciphertexts)
    }

    fn check(self) -> Result<Self, Error> {
        let slots = self.channel.as_ref().map(|channel| channel.slots);
        check_packing("client", self.packing, slots)?;
        if let Some(channel) = &self.channel {
            channel.check(
                self.input.features,
                self.output.logits,
                self.parameters.ring_degree(),
            )?;
        }
        check_layout(
            "client",
            &self.parameters,
            self.batch,
            (self.blocks, slots),
            &self.input,
            &self.output,
        )?;
        let malformed = |what: &str, expected: String, found: String| {
            Err(Error::malformed("client", what, expected, found))
        };
        self.preprocess.validate()?;
        if self.preprocess.elements() != self.input.features {
            return malformed(
                "features",
                self.preprocess.elements().to_string(),
                self.input.features.to_string(),
            );
        }
        if self.class_names.len() != self.output.logits {
            return malformed(
                "class names",
                self.output.logits.to_string(),
                self.class_names.len().to_string(),
            );
        }
        let (low, high) = self.logit_range;
        if !(low.is_finite() && high.is_finite() && low <= high) {
            return malformed(
                "logit range",
                "an interval".into(),
                format!("{low}..{high}"),
            );
        }
        let bits = self.estimate.precision_bits;
        if !(-40.0..=60.0).contains(&bits) {
            return malformed("precision", "-40 to 60 bits".into(), bits.to_string());
        }
        Ok(self)
    }
}

/// Images that a block holds: one a slot, or as many as have room side by side.
fn block_images(parameters: &Parameters, slots: Option<usize>) -> usize {
    parameters.ring_degree() / slots.unwrap_or(1)
}

/// The payload of a server plan's file.
fn encode_payload(steps: &[Step], channel: Option<&ChannelPlan>) -> Vec<u8> {
    let mut out = Builder::new();
    encode_steps(steps, &mut out);
    if let Some(channel) = channel {
        channel::encode(channel, &mut out);
    }
    out.finish()
}

/// Checks that a plan has positions if and only if its packing is channel-wise.
fn check_packing(part: &'static str, packing: Packing, slots: Option<usize>) -> Result<(), Error> {
    let found = if slots.is_some() {
        "positions"
    } else {
        "no positions"
    };
    match (packing, slots) {
        (Packing::ElementWise, None) | (Packing::ChannelWise, Some(_)) => Ok(()),
        _ => Err(Error::malformed(
            part,
            "packing",
            "element-wise, or channel-wise with positions",
            format!("{packing} with {found}"),
        )),
    }
}

/// Checks what both halves hold: shapes against parameters, scales finite.
fn check_layout(
    part: &'static str,
    parameters: &Parameters,
    batch: usize,
    (blocks, slots): (usize, Option<usize>),
    input: &InputLayout,
    output: &OutputLayout,
) -> Result<(), Error> {
    let malformed = |what: &str, expected: String, found: String| {
        Err(Error::malformed(part, what, expected, found))
    };
    if let Some(slots) = slots {
        channel::check_slots(part, slots, parameters.ring_degree())?;
    }
    let images = block_images(parameters, slots);
    if batch == 0 || batch > crate::options::MAX_BATCH {
        return malformed(
            "batch",
            format!("1 to {}", crate::options::MAX_BATCH),
            batch.to_string(),
        );
    }
    if blocks != batch.div_ceil(images) {
        return malformed(
            "blocks",
            batch.div_ceil(images).to_string(),
            blocks.to_string(),
        );
    }
    for (what, count) in [("features", input.features), ("logits", output.logits)] {
        if count == 0 || count > wire::MAX_ELEMENTS {
            return malformed(
                what,
                format!("1 to {}", wire::MAX_ELEMENTS),
                count.to_string(),
            );
        }
    }
    for (what, limbs) in [("input limbs", input.limbs), ("output limbs", output.limbs)] {
        if limbs == 0 || limbs > parameters.limbs() {
            return malformed(
                what,
                format!("1 to {}", parameters.limbs()),
                limbs.to_string(),
            );
        }
    }
    if !(2..=3).contains(&output.components) {
        return malformed(
            "output components",
            "2 or 3".into(),
            output.components.to_string(),
        );
    }
    for (what, scale) in [("input scale", input.scale), ("output scale", output.scale)] {
        if !(scale.is_finite() && (1.0..=1e36).contains(&scale)) {
            return malformed(what, "1 to 1e36".into(), scale.to_string());
        }
    }
    Ok(())
}
