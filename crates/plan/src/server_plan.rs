//! The server's half of a plan and its file.

use std::path::Path;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use sordino_ckks::{Context, KeySet, Parameters};
use sordino_container::{
    Access, Builder, Contents, Digest, Kind, Limits, Overwrite, Reader, digest_of, from_bytes,
    read_file, to_bytes, write_file,
};
use sordino_protocol::MessageShape;

use crate::check::{check_counts, check_steps};
use crate::containment::contained_logit;
use crate::norms::check_norms;
use crate::{
    Alternative, ChannelPlan, Error, Estimate, InputLayout, OutputLayout, Packing,
    PackingComparison, PlanHeader, Step, payload,
};

/// Limits on a server plan from outside.
const LIMITS: Limits = Limits {
    metadata_bytes: 8 << 20,
    payload_bytes: 4 << 30,
};

/// The model owner's half: parameters, steps, integer weights. Never leaves the server.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    content: Content,
    digest: Digest,
}

/// Everything of a server plan. Serialized, the numbers of its steps are left out: the file's metadata.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    #[serde(flatten)]
    pub header: PlanHeader,
    pub parents: ServerParents,
    #[serde(flatten)]
    pub packing: Packing<ChannelPlan>,
    pub estimate: Estimate,
    pub alternatives: Vec<Alternative>,
    #[serde(default)]
    pub comparison: Option<PackingComparison>,
    #[serde(default)]
    pub impossible_packing: Option<String>,
    pub steps: Vec<Step>,
}

/// What a server plan was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerParents {
    pub model: Digest,
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        self.header.write(&self.parents, &self.packing, &mut map)?;
        map.serialize_entry("estimate", &self.estimate)?;
        map.serialize_entry("alternatives", &self.alternatives)?;
        if let Some(comparison) = &self.comparison {
            map.serialize_entry("comparison", comparison)?;
        }
        if let Some(reason) = &self.impossible_packing {
            map.serialize_entry("impossible_packing", reason)?;
        }
        if let Packing::ChannelWise(channel) = &self.packing {
            map.serialize_entry("channel", &channel.without_positions())?;
        }
        map.serialize_entry("steps", &self.steps)?;
        map.end()
    }
}

impl Content {
    /// The payload of the file.
    fn payload(&self) -> Vec<u8> {
        let mut out = Builder::new();
        payload::write(&self.steps, &mut out);
        if let Packing::ChannelWise(channel) = &self.packing {
            channel.write_positions(&mut out);
        }
        out.finish()
    }

    /// Reads what metadata leaves out.
    fn read_payload(&mut self, payload: &[u8]) -> Result<(), Error> {
        check_counts(&self.steps)?;
        let mut reader = Reader::named(payload, "server plan");
        payload::read(&mut self.steps, &mut reader)?;
        if let Packing::ChannelWise(channel) = &mut self.packing {
            channel.read_positions(&self.steps, &mut reader)?;
        }
        Ok(reader.finish()?)
    }

    fn check(&self) -> Result<(), Error> {
        let Self { header, steps, .. } = self;
        check_counts(steps)?;
        header.check("server", &self.packing)?;
        let input = InputLayout::of(&steps[0]);
        let expected = format_args!("{:?}", header.input);
        let good = input == header.input;
        Error::require(good, "server", "input", expected, format_args!("{input:?}"))?;
        let channel = self.packing.channel();
        let factor = channel.map_or(1.0, ChannelPlan::plaintext_factor);
        check_steps(&header.parameters, factor, steps)?;
        check_norms(steps, header.output.norms)?;
        let output = OutputLayout::of(steps);
        let expected = format_args!("{:?}", header.output);
        let good = output == header.output;
        Error::require(
            good,
            "server",
            "output",
            expected,
            format_args!("{output:?}"),
        )?;
        channel.map_or(Ok(()), |channel| {
            channel.check(steps, header.parameters.ring_degree())
        })
    }
}

impl ServerPlan {
    /// A plan of this content, which is checked as that of a file is.
    pub(crate) fn new(content: Content) -> Result<Self, Error> {
        content.check()?;
        let digest = digest_of(Kind::ServerPlan, &content, &content.payload(), LIMITS)?;
        Ok(Self { content, digest })
    }

    /// Reads a plan from memory and checks every part of it.
    ///
    /// # Errors
    /// [`Error::File`] for a damaged file, [`Error::Malformed`] for one whose content is not a plan.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_contents(from_bytes(bytes, Kind::ServerPlan, LIMITS)?)
    }

    /// Reads a plan file and checks every part of it.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_contents(read_file(path, Kind::ServerPlan, LIMITS)?)
    }

    fn from_contents(contents: Contents<Content>) -> Result<Self, Error> {
        let (mut content, digest) = (contents.metadata, contents.digest);
        content.read_payload(&contents.payload)?;
        content.check()?;
        Ok(Self { content, digest })
    }

    /// Writes the plan and returns its digest.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: impl AsRef<Path>, overwrite: Overwrite) -> Result<Digest, Error> {
        let (content, payload) = (&self.content, self.content.payload());
        let access = Access::OwnerOnly;
        Ok(write_file(
            path,
            Kind::ServerPlan,
            content,
            &payload,
            overwrite,
            access,
        )?)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::File`] if the plan is larger than the format allows.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(to_bytes(
            Kind::ServerPlan,
            &self.content,
            &self.content.payload(),
        )?)
    }

    /// The digest that names this plan in requests, replies and the client's half.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Digest of the model file that the plan was compiled from.
    pub fn model(&self) -> Digest {
        self.content.parents.model
    }

    pub(crate) fn header(&self) -> &PlanHeader {
        &self.content.header
    }

    /// The network's name.
    pub fn network(&self) -> &str {
        &self.header().network
    }

    /// The data set that the network was trained on.
    pub fn dataset(&self) -> &str {
        &self.header().dataset
    }

    /// Scheme parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.header().parameters
    }

    /// How images and feature maps lie in ciphertexts.
    pub fn packing(&self) -> &Packing<ChannelPlan> {
        &self.content.packing
    }

    /// Positions, plaintexts and rotations, if the packing is channel-wise.
    pub fn channel(&self) -> Option<&ChannelPlan> {
        self.packing().channel()
    }

    /// Estimated times of both packings, where the planner was free to choose.
    pub fn comparison(&self) -> Option<PackingComparison> {
        self.content.comparison
    }

    /// Which packing has no plan where the planner was free to choose, and why.
    pub fn impossible_packing(&self) -> Option<&str> {
        self.content.impossible_packing.as_deref()
    }

    /// Images of a request that one block holds.
    pub fn block_images(&self) -> usize {
        self.header().block(self.packing()).images
    }

    /// Places for images that one block has, those of check images included.
    pub fn block_places(&self) -> usize {
        self.header().block(self.packing()).places
    }

    /// Check images of every block.
    pub fn check_images(&self) -> usize {
        self.header().check_images
    }

    /// Most images that the plan's blocks hold besides the usual number of check images; 0 where a block has no place for them.
    pub fn largest_checked_batch(&self) -> usize {
        self.header().largest_checked_batch(self.packing())
    }

    /// Ciphertexts of one block of a request.
    pub fn input_ciphertexts(&self) -> usize {
        self.header().block(self.packing()).input_ciphertexts
    }

    /// What the plan fixes about a request; `context` has the tables of its parameters.
    pub fn request_shape<'c>(&self, context: &'c Context) -> MessageShape<'c> {
        self.header()
            .request_shape(self.packing(), self.digest, context)
    }

    /// What the plan fixes about a reply; `context` has the tables of its parameters.
    pub fn reply_shape<'c>(&self, context: &'c Context) -> MessageShape<'c> {
        self.header()
            .reply_shape(self.packing(), self.digest, context)
    }

    /// Steps of the rotations that evaluation needs Galois keys for; none element-wise.
    pub fn rotations(&self) -> Vec<usize> {
        let degree = self.parameters().ring_degree();
        let of = |channel: &ChannelPlan| channel.rotations(self.steps(), degree);
        self.channel().map(of).unwrap_or_default()
    }

    /// The switching keys that evaluation needs, `None` if it needs none.
    ///
    /// # Errors
    /// [`Error::Scheme`] for rotations that are no key set.
    pub fn key_set(&self) -> Result<Option<KeySet>, Error> {
        self.header()
            .key_set(self.channel().map(|_| self.rotations()))
    }

    /// Most images per request.
    pub fn batch(&self) -> usize {
        self.header().batch
    }

    /// Blocks that hold a whole batch.
    pub fn blocks(&self) -> usize {
        self.header().blocks
    }

    /// Images of a block that may be any allowed image without harm to the others; see
    /// [`PlanHeader::contained_images`].
    pub fn contained_images(&self) -> usize {
        self.header().contained_images
    }

    /// Largest logit that one image can have without harm to the others of its block, if those have logits of at most
    /// `largest_logit`. For plans that are not channel-wise.
    pub fn contained_logit(&self, largest_logit: f64) -> f64 {
        let header = self.header();
        contained_logit(&header.parameters, &header.output, largest_logit)
    }

    /// Fresh ciphertexts.
    pub fn input(&self) -> &InputLayout {
        &self.header().input
    }

    /// Ciphertexts of the reply.
    pub fn output(&self) -> &OutputLayout {
        &self.header().output
    }

    /// Expected cost of the evaluation.
    pub fn estimate(&self) -> &Estimate {
        &self.content.estimate
    }

    /// The best plans of other kinds that the search found, cheapest first.
    pub fn alternatives(&self) -> &[Alternative] {
        &self.content.alternatives
    }

    /// The steps; step 0 is the input, the last one the logits.
    pub fn steps(&self) -> &[Step] {
        &self.content.steps
    }

    /// Whether evaluation needs the client's evaluation key.
    pub fn needs_evaluation_key(&self) -> bool {
        self.parameters().gadget().is_some()
    }

    /// Multiply-accumulates per image.
    pub fn multiply_accumulates(&self) -> u64 {
        self.steps().iter().map(Step::multiply_accumulates).sum()
    }
}
