//! Keys, encryption and decryption on buffers.

use sordino_ckks::{Context, EvaluationKey, Scale};
use sordino_container::Digest;
use sordino_plan::{CheckImages, ClientPlan};
use sordino_protocol::{Message, MessageShape, ReceivedReply, Reply, Request, check_key};
use sordino_ring::backend::Backend;
use sordino_ring::sample::SecretRng;
use sordino_secret::{SecretKey, decrypt, encrypt, evaluation_key_for};

use crate::check::{Check, Places, binding, compare};
use crate::slots::Slots;
use crate::{Error, Predictions};

/// A client plan with the tables that encryption needs.
#[derive(Clone, Debug)]
pub struct Client {
    plan: ClientPlan,
    context: Context,
    /// What tags of requests are bound to.
    binding: Digest,
}

/// The keys for a plan: one that stays, and one that goes to the server if the plan needs it.
pub struct Keys {
    /// Stays with the data owner.
    pub secret: SecretKey,
    /// Public; `None` if the plan does not relinearize.
    pub evaluation: Option<EvaluationKey>,
}

impl Client {
    /// Builds the tables for a plan.
    ///
    /// # Errors
    /// [`Error::Scheme`] if the parameters cannot be used, [`Error::PlanFile`] for a plan without the check images that it has places
    /// for.
    pub fn new(plan: ClientPlan, backend: &'static Backend) -> Result<Self, Error> {
        plan.check_complete()?;
        let context = Context::new(plan.header.parameters.clone(), backend)?;
        Ok(Self {
            binding: binding(&plan),
            plan,
            context,
        })
    }

    /// The plan.
    pub fn plan(&self) -> &ClientPlan {
        &self.plan
    }

    /// The parameters with their tables.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What the plan fixes about a request.
    pub fn request_shape(&self) -> MessageShape<'_> {
        self.plan.request_shape(&self.context)
    }

    /// What the plan fixes about a reply.
    pub fn reply_shape(&self) -> MessageShape<'_> {
        self.plan.reply_shape(&self.context)
    }

    /// Fresh keys from the operating system's randomness.
    ///
    /// # Errors
    /// [`Error::Secret`] if there is no randomness.
    pub fn generate_keys(&self) -> Result<Keys, Error> {
        let mut rng = SecretRng::from_os().map_err(sordino_secret::Error::from)?;
        let secret = SecretKey::generate(&self.context, &mut rng)?;
        let needed = self.plan.key_set()?;
        let evaluation = needed
            .map(|keys| evaluation_key_for(&self.context, &secret, &keys, &mut rng))
            .transpose()?;
        Ok(Keys { secret, evaluation })
    }

    /// Encrypts prepared images; two encryptions of the same images share nothing.
    ///
    /// Which slot an image is in follows from the key and a random tag, and so does which slots of every block hold check images;
    /// slots without an image hold zeros.
    ///
    /// # Shapes
    /// `images` is `[count, C, H, W]` as the plan's preprocessing makes it, with at most the plan's batch of images.
    ///
    /// # Errors
    /// [`Error::Images`], [`Error::Batch`], [`Error::NotFinite`] for images that cannot be encrypted with this plan,
    /// [`Error::KeyParameters`] for a key of another one.
    pub fn encrypt(&self, key: &SecretKey, images: &[f32]) -> Result<Request, Error> {
        self.check_key(key)?;
        let plan = &self.plan;
        let features = plan.header.input.features;
        if images.is_empty() || !images.len().is_multiple_of(features) {
            let found = images.len();
            return Err(Error::Images { features, found });
        }
        let count = images.len() / features;
        if count > plan.header.batch {
            return Err(Error::Batch {
                limit: plan.header.batch,
                found: count,
            });
        }
        if let Some(at) = images.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite {
                image: at / features,
            });
        }
        let scale = Scale::new(plan.header.input.scale)?;
        // The shape was checked when the plan was read: at least one limb.
        let level = plan.header.input.limbs.saturating_sub(1);
        let mut rng = SecretRng::from_os().map_err(sordino_secret::Error::from)?;
        let mut blocks = Vec::with_capacity(plan.header.blocks);
        let order = self.context.rotation_order();
        let layout = Slots::new(plan.packing.channel(), |c| &c.input, order);
        let tag = key.slot_tag(self.binding, count)?;
        let places = Places::new(key, &tag, plan, count);
        let checks = plan.check_images.as_ref();
        let checks = checks.map_or(&[][..], CheckImages::pixels);
        let checks = CheckImages::prepared(checks, &plan.preprocess);
        let mut in_places = vec![None; places.len(plan)];
        for block in &places.check {
            for (image, &place) in checks.chunks_exact(features).zip(block) {
                in_places[place] = Some(image);
            }
        }
        for (image, &place) in images.chunks_exact(features).zip(&places.images) {
            in_places[place] = Some(image);
        }
        for images in in_places.chunks(plan.block_places()) {
            let fill = |row: usize, slots: &mut [f64]| layout.fill(row, images, features, slots);
            blocks.push(encrypt(
                &self.context,
                key,
                &mut rng,
                plan.input_ciphertexts(),
                &fill,
                level,
                scale,
            )?);
        }
        Ok(Request::new(
            &self.request_shape(),
            key.key_id(),
            tag,
            count,
            blocks,
        )?)
    }

    /// Reads a reply from memory; it is not trusted.
    ///
    /// # Errors
    /// [`Error::Protocol`] for one that is damaged or does not fit the plan.
    pub fn reply_from_bytes(&self, bytes: &[u8]) -> Result<Reply, Error> {
        let shape = self.reply_shape();
        Ok(ReceivedReply::from_bytes(bytes, &shape)?.parse(&shape)?)
    }

    /// Decrypts a reply, checks it, and rounds its logits to the plan's guaranteed precision less two bits.
    ///
    /// # Errors
    /// [`Error::KeyParameters`] or [`Error::Protocol`] for a key that the reply was not made for, [`Error::CheckImages`] for a reply
    /// that is wrong for check images.
    pub fn decrypt(&self, key: &SecretKey, reply: &Reply) -> Result<Predictions, Error> {
        let (logits, check) = self.decrypt_logits(key, reply)?;
        Predictions::from_logits(&self.plan, logits, check)
    }

    /// The largest difference between a reply's logits and expected ones, before any rounding: a measurement on
    /// images of one's own, which releases nothing but this number.
    ///
    /// # Shapes
    /// `expected` is `[images, classes]`.
    ///
    /// # Errors
    /// As [`decrypt`](Self::decrypt), and [`Error::ListLength`] for another number of expected logits.
    pub fn worst_logit_error(
        &self,
        key: &SecretKey,
        reply: &Reply,
        expected: &[f64],
    ) -> Result<f64, Error> {
        let (logits, _) = self.decrypt_logits(key, reply)?;
        if logits.len() != expected.len() {
            let classes = self.plan.header.output.logits;
            return Err(Error::ListLength {
                what: "rows of expected logits",
                expected: logits.len() / classes,
                found: expected.len() / classes,
            });
        }
        let errors = logits
            .iter()
            .zip(expected)
            .map(|(found, expected)| (found - expected).abs());
        Ok(errors.fold(0.0, f64::max))
    }

    /// Logits of the client's images as they decrypt, noise and all, for this module only; none if check images are wrong.
    fn decrypt_logits(
        &self,
        key: &SecretKey,
        reply: &Reply,
    ) -> Result<(Vec<f64>, Option<Check>), Error> {
        self.check_key(key)?;
        check_key(
            Message::Reply,
            "secret key",
            key.key_id(),
            reply.header().key_id,
        )?;
        let plan = &self.plan;
        let classes = plan.header.output.logits;
        // At most the batch, as the header was checked against the plan.
        let count = reply.header().images as usize;
        let header = reply.header();
        let slots = header.slots.ok_or(sordino_secret::Error::SlotTag)?;
        key.check_slot_tag(&slots, self.binding, count)?;
        let order = self.context.rotation_order();
        let layout = Slots::new(plan.packing.channel(), |c| &c.output, order);
        let places = Places::new(key, &slots, plan, count);
        let mut in_places = vec![0.0; places.len(plan) * classes];
        let of_blocks = in_places.chunks_mut(plan.block_places() * classes);
        for (block, images) in reply.blocks().iter().zip(of_blocks) {
            layout.read(&decrypt(&self.context, key, block)?, classes, images);
        }
        let check = compare(plan, &places, &in_places)?;
        let rows = places.images.iter();
        let rows = rows.flat_map(|&place| &in_places[place * classes..][..classes]);
        Ok((rows.copied().collect(), check))
    }

    fn check_key(&self, key: &SecretKey) -> Result<(), Error> {
        match (self.context.digest(), key.parameters()) {
            (expected, found) if expected == found => Ok(()),
            (expected, found) => Err(Error::key_parameters(expected, found)),
        }
    }
}
