//! The client's half of a plan and its file.

use std::path::Path;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use sordino_ckks::{Context, KeySet};
use sordino_container::{
    Access, Builder, Contents, Digest, Kind, Limits, Overwrite, Reader, from_bytes, read_file,
    to_bytes, write_file,
};
use sordino_graph::{
    InputStatistic, OperatingPoints, OutputKind, Preprocess, Views, input_statistic_text,
};
use sordino_protocol::MessageShape;

use crate::check_images::{CheckSizes, PAYLOAD_BYTES};
use crate::header::check_name;
use crate::{ChannelLayout, CheckImages, Error, Estimate, Packing, PlanHeader};

/// Limits on a client plan from outside; the payload holds check images.
const LIMITS: Limits = Limits {
    metadata_bytes: 8 << 20,
    payload_bytes: PAYLOAD_BYTES,
};

/// The client's half: parameters, layout, preprocessing, names. Holds no weights.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPlan {
    /// The part that both halves have.
    #[serde(flatten)]
    pub header: PlanHeader,
    /// What the plan refers to.
    pub parents: ClientParents,
    /// How images and logits lie in ciphertexts.
    #[serde(flatten)]
    pub packing: Packing<ChannelLayout>,
    /// How images become the network's input.
    pub preprocess: Preprocess,
    /// One name per logit.
    pub class_names: Vec<String>,
    /// Meaning of the logits.
    pub output_kind: OutputKind,
    /// Smallest and largest logit seen in calibration; an image outside is flagged.
    pub logit_range: (f64, f64),
    /// Expected cost of the evaluation.
    pub estimate: Estimate,
    /// What the network's inputs usually look like, to find images that do not belong; `None` in plans of older models.
    #[serde(default, with = "input_statistic_text")]
    pub input_statistic: Option<InputStatistic>,
    /// Changes of an image that leave its class; `None` where none are known.
    #[serde(default)]
    pub views: Option<Views>,
    /// At which scores findings are decided; `None` where that was not chosen, and in older plans.
    #[serde(default)]
    pub operating_points: Option<OperatingPoints>,
    /// The check images of every block, as many as the header says; the payload of the file, so not serialized.
    #[serde(skip)]
    pub check_images: Option<CheckImages>,
}

/// What a client plan refers to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientParents {
    /// Digest of the server's half, which names the plan.
    pub plan: Digest,
    /// Digest of the model file that was compiled; `None` in older plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Digest>,
}

/// A statistic as it stands in the plan.
#[derive(Serialize)]
struct AsText<'a>(#[serde(with = "input_statistic_text")] &'a Option<InputStatistic>);

impl Serialize for ClientPlan {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        self.header.write(&self.parents, &self.packing, &mut map)?;
        if let Packing::ChannelWise(channel) = &self.packing {
            map.serialize_entry("channel", channel)?;
        }
        map.serialize_entry("preprocess", &self.preprocess)?;
        map.serialize_entry("class_names", &self.class_names)?;
        map.serialize_entry("output_kind", &self.output_kind)?;
        map.serialize_entry("logit_range", &self.logit_range)?;
        map.serialize_entry("estimate", &self.estimate)?;
        if self.input_statistic.is_some() {
            map.serialize_entry("input_statistic", &AsText(&self.input_statistic))?;
        }
        if let Some(views) = &self.views {
            map.serialize_entry("views", views)?;
        }
        if let Some(points) = &self.operating_points {
            map.serialize_entry("operating_points", points)?;
        }
        map.end()
    }
}

impl ClientPlan {
    /// Reads a plan from memory, which may come from a server that is not trusted, and checks every part of it.
    ///
    /// # Errors
    /// [`Error::File`] for a damaged file or parameters below 128 bits, [`Error::Malformed`] for other content that
    /// is not a plan.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_contents(from_bytes(bytes, Kind::ClientPlan, LIMITS)?)
    }

    /// Reads a plan file and checks every part of it.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_contents(read_file(path, Kind::ClientPlan, LIMITS)?)
    }

    fn from_contents(contents: Contents<Self>) -> Result<Self, Error> {
        let mut plan = contents.metadata;
        plan.check()?;
        let mut reader = Reader::named(&contents.payload, "client plan");
        if plan.header.check_images > 0 {
            plan.check_images = Some(CheckImages::read(&mut reader, plan.check_sizes())?);
        }
        reader.finish()?;
        plan.check_complete().map(|()| plan)
    }

    /// Writes the plan.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: impl AsRef<Path>, overwrite: Overwrite) -> Result<Digest, Error> {
        let kind = Kind::ClientPlan;
        Ok(write_file(
            path,
            kind,
            self,
            &self.payload(),
            overwrite,
            Access::Shared,
        )?)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::File`] if the plan is larger than the format allows.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(to_bytes(Kind::ClientPlan, self, &self.payload())?)
    }

    fn payload(&self) -> Vec<u8> {
        let mut out = Builder::new();
        if let Some(images) = &self.check_images {
            images.write(&mut out);
        }
        out.finish()
    }

    /// The digest of the server's half, which names the plan.
    pub fn plan(&self) -> Digest {
        self.parents.plan
    }

    /// Bits after the binary point that released logits are rounded to: the guaranteed precision less 2 bits.
    pub fn released_bits(&self) -> i32 {
        self.estimate.released_bits()
    }

    /// Images of a request that one block holds.
    pub fn block_images(&self) -> usize {
        self.header.block(&self.packing).images
    }

    /// Places for images that one block has, those of check images included.
    pub fn block_places(&self) -> usize {
        self.header.block(&self.packing).places
    }

    /// Why the plan has no check images, and what to do about it; `None` if it has some.
    pub fn no_check_images(&self) -> Option<String> {
        self.header.no_check_images(&self.packing)
    }

    /// Most images that the plan's blocks hold besides the usual number of check images; 0 where a block has no place for them.
    pub fn largest_checked_batch(&self) -> usize {
        self.header.largest_checked_batch(&self.packing)
    }

    /// Largest difference from its right logit that a logit of a check image may have; `None` without check images.
    ///
    /// A plan cannot widen it at will: it is refused unless the right logits differ by several times as much.
    pub fn check_tolerance(&self) -> Option<f64> {
        let images = self.check_images.as_ref();
        images.map(|_| CheckImages::tolerance(&self.estimate))
    }

    /// Ciphertexts of one block of a request.
    pub fn input_ciphertexts(&self) -> usize {
        self.header.block(&self.packing).input_ciphertexts
    }

    /// What the plan fixes about a request; `context` has the tables of its parameters.
    pub fn request_shape<'c>(&self, context: &'c Context) -> MessageShape<'c> {
        self.header
            .request_shape(&self.packing, self.plan(), context)
    }

    /// What the plan fixes about a reply; `context` has the tables of its parameters.
    pub fn reply_shape<'c>(&self, context: &'c Context) -> MessageShape<'c> {
        self.header.reply_shape(&self.packing, self.plan(), context)
    }

    /// The switching keys that the server needs, `None` if it needs none.
    ///
    /// # Errors
    /// [`Error::Scheme`] for rotations that are no key set.
    pub fn key_set(&self) -> Result<Option<KeySet>, Error> {
        let rotations = self
            .packing
            .channel()
            .map(|channel| channel.rotations.clone());
        self.header.key_set(rotations)
    }

    /// Check images, and the numbers of each.
    fn check_sizes(&self) -> CheckSizes {
        let header = &self.header;
        CheckSizes {
            images: header.check_images,
            features: header.input.features,
            classes: header.output.logits,
            norms: header.output.norms,
        }
    }

    /// The plan with the check images of its blocks.
    pub(crate) fn with_check_images(self, images: CheckImages) -> Result<Self, Error> {
        let plan = Self {
            check_images: Some(images),
            ..self
        };
        plan.check_complete().map(|()| plan)
    }

    /// Checks that the check images are there, and that they can be told from a guess.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn check_complete(&self) -> Result<(), Error> {
        let expected = self.header.check_images;
        match &self.check_images {
            None => Error::require(expected == 0, "client", "check images", expected, "none"),
            Some(images) => images.check(self.check_sizes(), &self.estimate),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let (header, features) = (&self.header, self.header.input.features);
        header.check("client", &self.packing)?;
        if let Packing::ChannelWise(channel) = &self.packing {
            let degree = header.parameters.ring_degree();
            channel.check(features, header.output.logits, degree)?;
        }
        self.preprocess.validate()?;
        for (what, expected, found) in [
            ("features", self.preprocess.elements(), features),
            ("class names", header.output.logits, self.class_names.len()),
        ] {
            Error::require(expected == found, "client", what, expected, found)?;
        }
        for name in &self.class_names {
            check_name("client", "class name", name)?;
        }
        let (low, high) = self.logit_range;
        let good = low.is_finite() && high.is_finite() && low <= high;
        let found = format_args!("{low}..{high}");
        Error::require(good, "client", "logit range", "an interval", found)?;
        if let Some(views) = &self.views {
            views.validate(&self.preprocess)?;
        }
        if let Some(points) = &self.operating_points {
            points.validate(self.output_kind, self.class_names.len())?;
        }
        if let Some(statistic) = &self.input_statistic {
            let checked = statistic.validate(&self.preprocess);
            let found = checked
                .as_ref()
                .err()
                .map_or(String::new(), ToString::to_string);
            let expected = "one of the network's input";
            Error::require(
                checked.is_ok(),
                "client",
                "statistic of the input",
                expected,
                found,
            )?;
        }
        let bits = self.estimate.precision_bits;
        let good = (-40.0..=60.0).contains(&bits);
        Error::require(good, "client", "precision", "-40 to 60 bits", bits)?;
        Ok(())
    }
}
