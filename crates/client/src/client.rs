//! Keys, encryption and decryption on buffers.

use std::iter;

use sordino_ckks::{Context, EvaluationKey, Scale};
use sordino_container::Digest;
use sordino_plan::{CheckImages, ClientPlan};
use sordino_protocol::{
    Message, MessageShape, ReceivedReply, Reply, Request, RequestHeader, check_key,
};
use sordino_ring::backend::Backend;
use sordino_ring::sample::SecretRng;
use sordino_secret::{SecretKey, decrypt, encrypt, evaluation_key_for};

use crate::check::{Check, Compared, Places, binding, compare};
use crate::slots::Slots;
use crate::{Error, Marks, Predictions};

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
    /// Which slot an image is in follows from the key and a random tag, and so does which slots of every block hold check images.
    /// Slots without an image hold the images of their block again: on any other content, such as zeros, the values of the network
    /// could leave their ranges and ruin the block.
    ///
    /// # Shapes
    /// `images` is `[count, C, H, W]` as the plan's preprocessing makes it, with at most the plan's batch of images.
    ///
    /// # Errors
    /// [`Error::Images`], [`Error::Batch`], [`Error::NotFinite`] for images that cannot be encrypted with this plan,
    /// [`Error::KeyParameters`] for a key of another one.
    pub fn encrypt(&self, key: &SecretKey, images: &[f32]) -> Result<Request, Error> {
        let count = images.len() / self.plan.header.input.features;
        self.encrypt_marked(key, images, &Marks::new(count, Vec::new())?)
    }

    /// As [`encrypt`](Self::encrypt), without the images that are left out, and with unusual ones in blocks of their own where the marks
    /// say so. The request counts the images of its full blocks then, so that it has blocks enough.
    ///
    /// # Shapes
    /// `images` are all images of the batch.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt); [`Error::AllUnusual`] if nothing is left, [`Error::Separate`] if the plan has no room for further
    /// blocks.
    pub fn encrypt_marked(
        &self,
        key: &SecretKey,
        images: &[f32],
        marks: &Marks,
    ) -> Result<Request, Error> {
        self.check_key(key)?;
        let plan = &self.plan;
        let features = plan.header.input.features;
        let found = images.len();
        if images.is_empty() || found != marks.images().saturating_mul(features) {
            return Err(Error::Images { features, found });
        }
        let count = self.request_images(marks)?;
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
        let places = Places::new(key, &tag, plan, marks);
        let checks = plan.check_images.as_ref();
        let checks = checks.map_or(&[][..], CheckImages::pixels);
        let checks = CheckImages::prepared(checks, &plan.preprocess);
        let mut in_places = vec![None; places.len(plan)];
        for block in &places.check {
            for (image, &place) in checks.chunks_exact(features).zip(block) {
                in_places[place] = Some(image);
            }
        }
        let further = self.further_views(marks, images)?;
        let mut further = further.iter();
        for (index, places) in marks.kept().zip(places.images.chunks_exact(marks.views())) {
            let image = Some(&images[index * features..][..features]);
            let further = further.by_ref().map(|view| Some(view.as_slice()));
            for (&place, view) in places.iter().zip(iter::once(image).chain(further)) {
                in_places[place] = view;
            }
        }
        for images in in_places.chunks_mut(plan.block_places()) {
            repeat_images(images);
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

    /// The place of every image of a request without marks, in the places of all its blocks one after the other: what only the owner
    /// of the key knows, for measurements.
    ///
    /// # Errors
    /// [`Error::Secret`] for a request that was made with another key.
    pub fn places(&self, key: &SecretKey, request: &RequestHeader) -> Result<Vec<usize>, Error> {
        let images = request.images as usize;
        let slots = request.slots.ok_or(sordino_secret::Error::SlotTag)?;
        key.check_slot_tag(&slots, self.binding, images)?;
        let marks = Marks::new(images, Vec::new())?;
        Ok(Places::new(key, &slots, &self.plan, &marks).images)
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
        self.decrypt_marked(key, reply, unmarked(reply)?)
    }

    /// As [`decrypt`](Self::decrypt), for a request that was made with marks.
    ///
    /// # Errors
    /// As [`decrypt`](Self::decrypt), and [`Error::ListLength`] for marks of another request.
    pub fn decrypt_marked(
        &self,
        key: &SecretKey,
        reply: &Reply,
        marks: Marks,
    ) -> Result<Predictions, Error> {
        let Opened {
            logits,
            check,
            ruined,
        } = self.decrypt_logits(key, reply, &marks)?;
        Predictions::from_logits(&self.plan, logits, check)?.with_marks(marks.without(&ruined))
    }

    /// Images that a request with these marks says it has.
    ///
    /// # Errors
    /// [`Error::AllUnusual`], [`Error::Batch`], [`Error::Separate`].
    pub fn request_images(&self, marks: &Marks) -> Result<usize, Error> {
        let [first, second] = marks.groups().map(|group| group.len());
        let of_block = self.plan.block_images();
        let count = match second {
            0 if first > 0 => marks.claimed().unwrap_or(first),
            0 => 0,
            // Full blocks, so that it is known where the others begin.
            _ => first.div_ceil(of_block) * of_block + second,
        };
        self.check_room(marks)?;
        let limit = self.plan.header.batch;
        match count {
            0 => Err(Error::AllUnusual {
                images: marks.images(),
            }),
            found if found <= limit => Ok(found),
            _ if first + second <= limit => Err(Error::Separate {
                unusual: second,
                limit,
            }),
            _ => Err(Error::Batch {
                limit,
                found: first + second,
            }),
        }
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
        let Opened { logits, .. } = self.decrypt_logits(key, reply, &unmarked(reply)?)?;
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
        marks: &Marks,
    ) -> Result<Opened, Error> {
        self.check_key(key)?;
        check_key(
            Message::Reply,
            "secret key",
            key.key_id(),
            reply.header().key_id,
        )?;
        let plan = &self.plan;
        let (classes, norms) = (plan.header.output.logits, plan.header.output.norms);
        let width = classes + norms;
        // At most the batch, as the header was checked against the plan.
        let count = reply.header().images as usize;
        let header = reply.header();
        let slots = header.slots.ok_or(sordino_secret::Error::SlotTag)?;
        key.check_slot_tag(&slots, self.binding, count)?;
        let order = self.context.rotation_order();
        let layout = Slots::new(plan.packing.channel(), |c| &c.output, order);
        let expected = self.request_images(marks)?;
        if expected != count {
            return Err(Error::ListLength {
                what: "images of the request",
                expected,
                found: count,
            });
        }
        let places = Places::new(key, &slots, plan, marks);
        let mut in_places = vec![0.0; places.len(plan) * width];
        let of_blocks = in_places.chunks_mut(plan.block_places() * width);
        for (block, images) in reply.blocks().iter().zip(of_blocks) {
            layout.read(&decrypt(&self.context, key, block)?, width, images);
        }
        let Compared { check, ruined } = compare(plan, &places, &in_places, marks)?;
        let (mut logits, mut without) = (
            Vec::with_capacity(places.images.len() * classes),
            Vec::new(),
        );
        for (image, places) in places.images.chunks_exact(marks.views()).enumerate() {
            let of_ruined = |place: &usize| ruined.contains(&(place / plan.block_places()));
            if places.iter().any(of_ruined) {
                without.push(image);
                continue;
            }
            logits.extend((0..classes).map(|class| {
                let of_views = places.iter().map(|place| in_places[place * width + class]);
                of_views.sum::<f64>() / places.len() as f64
            }));
        }
        Ok(Opened {
            logits,
            check,
            ruined: without,
        })
    }

    fn check_key(&self, key: &SecretKey) -> Result<(), Error> {
        match (self.context.digest(), key.parameters()) {
            (expected, found) if expected == found => Ok(()),
            (expected, found) => Err(Error::key_parameters(expected, found)),
        }
    }
}

/// Puts the images of a block into its places without one, in turn.
fn repeat_images(places: &mut [Option<&[f32]>]) {
    let images: Vec<&[f32]> = places.iter().flatten().copied().collect();
    let idle = places.iter_mut().filter(|place| place.is_none());
    for (place, image) in idle.zip(images.into_iter().cycle()) {
        *place = Some(image);
    }
}

/// What a reply decrypts to.
struct Opened {
    logits: Vec<f64>,
    check: Option<Check>,
    /// Numbers of unusual images that have ruined one another, and so have no logits.
    ruined: Vec<usize>,
}

/// Marks of a request that has none.
fn unmarked(reply: &Reply) -> Result<Marks, Error> {
    // At most the batch, as the header was checked against the plan.
    Marks::new(reply.header().images as usize, Vec::new())
}
