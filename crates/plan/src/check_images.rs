//! Check images: images that belong to nobody, among those of the client, whose right logits the client plan has.
//!
//! A server that does not run the plan does not know which slots hold them, so that it gets their logits wrong as often as all
//! others. The images are made when a model is compiled, by whoever can evaluate the plan; this module holds what follows from
//! their number and from their logits.

use sordino_container::{Builder, Reader};
use sordino_graph::Preprocess;

use crate::{Error, Estimate};

/// Check images of a block, unless another number is asked for.
pub const USUAL_CHECK_IMAGES: usize = 16;

/// Fewest check images that distinguish a run of the plan from a guess.
pub const LEAST_CHECK_IMAGES: usize = 4;

/// Most bytes that the check images of a block take in the client plan.
pub(crate) const PAYLOAD_BYTES: u64 = 56 << 20;

/// Most check images of a block; the smallest ring degree has room for these and as many others three times over.
pub(crate) const MOST_CHECK_IMAGES: usize = 1024;

/// Predicted worst errors that a check image may be off by. The prediction holds for all images of a batch, with images far more
/// sensitive than these among them.
const TOLERATED_ERRORS: f64 = 2.0;

/// Tolerances that the logits of check images differ by at least. So no constant is right for them.
const LEAST_SPREAD: f64 = 4.0;

/// How many check images a compiled plan has in each of its blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckImageCount {
    /// [`USUAL_CHECK_IMAGES`] where they take no further block or one image may ruin others; none elsewhere.
    #[default]
    Auto,
    /// So many, with further blocks if there is no room; none or at least [`LEAST_CHECK_IMAGES`].
    Exactly(usize),
}

/// What check images take of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    /// Check images of every block.
    pub check_images: usize,
    /// Blocks that a batch takes with them.
    pub blocks: usize,
}

impl Reserved {
    /// Places of a block that are left.
    pub(crate) fn left(&self, places: usize) -> usize {
        places - self.check_images
    }
}

impl CheckImageCount {
    /// The check images of every block of `places` places, for a batch; `None` where they leave no place.
    pub(crate) fn reserve(self, batch: usize, places: usize) -> Option<Reserved> {
        let with = |check_images: usize| {
            let left = places.checked_sub(check_images).filter(|&left| left > 0)?;
            let blocks = batch.div_ceil(left);
            Some(Reserved {
                check_images,
                blocks,
            })
        };
        let without = with(0)?;
        match self {
            Self::Auto => {
                let usual = with(USUAL_CHECK_IMAGES);
                Some(
                    usual
                        .filter(|usual| usual.blocks == without.blocks)
                        .unwrap_or(without),
                )
            }
            Self::Exactly(count) => with(count),
        }
    }
}

/// The check images of one block, the same in all of them, with their logits.
///
/// # Shapes
/// `pixels` is `[images, C, H, W]`, `logits` `[images, classes]`, `norms` `[images, values of layers]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckImages {
    pixels: Vec<u8>,
    logits: Vec<f64>,
    norms: Vec<f64>,
}

/// Check images, and the numbers of each.
#[derive(Clone, Copy)]
pub(crate) struct CheckSizes {
    pub images: usize,
    pub features: usize,
    pub classes: usize,
    pub norms: usize,
}

impl CheckImages {
    /// Images in 8 bits of the allowed range of raw values, and the logits and values of layers that the plan's integers give for
    /// exactly these, at the scale of the reply.
    pub fn new(pixels: Vec<u8>, logits: Vec<f64>, norms: Vec<f64>) -> Self {
        Self {
            pixels,
            logits,
            norms,
        }
    }

    /// The values of layers of every image.
    pub fn norms(&self) -> &[f64] {
        &self.norms
    }

    /// The logits of every image.
    pub fn logits(&self) -> &[f64] {
        &self.logits
    }

    /// The images in 8 bits of the allowed range of raw values.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// How far the logits of the images are from one another: the distance between the quarter of the images with the smallest and the
    /// quarter with the largest value of a logit, for the logit where that is largest.
    ///
    /// So many images on both sides are what a forged reply has to get right in unknown slots, even if whoever forges it has chosen
    /// the logits.
    pub fn spread(&self, classes: usize) -> f64 {
        let of_class = |class: usize| {
            let column = self.logits.iter().skip(class).step_by(classes.max(1));
            let mut values: Vec<f64> = column.copied().collect();
            values.sort_by(f64::total_cmp);
            let quarter = values.len() / 4;
            match quarter {
                0 => 0.0,
                _ => values[values.len() - 1 - quarter] - values[quarter],
            }
        };
        (0..classes).map(of_class).fold(0.0, f64::max)
    }

    /// Largest difference of a logit from the right one that is accepted.
    pub(crate) fn tolerance(estimate: &Estimate) -> f64 {
        TOLERATED_ERRORS * (-estimate.precision_bits).exp2()
    }

    /// Whether logits that are this far from one another tell a run of the plan from a guess.
    pub(crate) fn tells(spread: f64, tolerance: f64) -> bool {
        spread >= LEAST_SPREAD * tolerance
    }

    /// Checks images and logits from outside.
    pub(crate) fn check(&self, sizes: CheckSizes, estimate: &Estimate) -> Result<(), Error> {
        let require = |good, what, expected: &dyn ToString, found: &dyn ToString| {
            Error::require(
                good,
                "client",
                what,
                expected.to_string(),
                found.to_string(),
            )
        };
        let CheckSizes {
            images,
            features,
            classes,
            norms,
        } = sizes;
        let (least, found) = (LEAST_CHECK_IMAGES, images);
        let expected = format!("none or at least {least}");
        require(found >= least, "check images", &expected, &found)?;
        for (what, each, found) in [
            ("values of check images", features, self.pixels.len()),
            ("logits of check images", classes, self.logits.len()),
            ("values of layers of check images", norms, self.norms.len()),
        ] {
            let expected = images.saturating_mul(each);
            require(found == expected, what, &expected, &found)?;
        }
        let bytes = self.pixels.len() as u64 + 8 * (self.logits.len() + self.norms.len()) as u64;
        let expected = format!("at most {PAYLOAD_BYTES}");
        require(
            bytes <= PAYLOAD_BYTES,
            "bytes of check images",
            &expected,
            &bytes,
        )?;
        let good = self
            .logits
            .iter()
            .chain(&self.norms)
            .all(|logit| logit.is_finite());
        require(good, "logits of check images", &"finite ones", &"others")?;
        let (spread, tolerance) = (self.spread(classes), Self::tolerance(estimate));
        let expected = format!("at least {LEAST_SPREAD} times the tolerance of {tolerance:.2e}");
        let good = Self::tells(spread, tolerance);
        require(
            good,
            "distance between the logits of check images",
            &expected,
            &format!("{spread:.2e}"),
        )
    }

    pub(crate) fn write(&self, out: &mut Builder) {
        out.bytes(&self.pixels).vec_f64(&self.logits);
        if !self.norms.is_empty() {
            out.vec_f64(&self.norms);
        }
    }

    /// Reads so many images; sizes were checked.
    pub(crate) fn read(reader: &mut Reader<'_>, sizes: CheckSizes) -> Result<Self, Error> {
        let of_all = |each: usize| sizes.images.saturating_mul(each);
        Ok(Self {
            pixels: reader.bytes(of_all(sizes.features))?.to_vec(),
            logits: reader.vec_f64(of_all(sizes.classes))?,
            norms: match sizes.norms {
                0 => Vec::new(),
                norms => reader.vec_f64(of_all(norms))?,
            },
        })
    }
}

/// Steps that the allowed range of raw values is cut into.
const STEPS: f64 = 255.0;

impl CheckImages {
    /// Prepared images in 8 bits of the allowed range of raw values, each value the nearest one.
    ///
    /// # Shapes
    /// `images` is `[images, C, H, W]`.
    pub fn quantize(images: &[f32], preprocess: &Preprocess) -> Vec<u8> {
        let ((low, high), (black, white)) = (preprocess.allowed, preprocess.input_range);
        let values = images.iter().enumerate().map(|(index, &value)| {
            let channel = channel_of(index, preprocess);
            let unit = f64::from(value) * preprocess.std[channel] + preprocess.mean[channel];
            let raw = black + unit * (white - black);
            let level = (raw - low) / (high - low) * STEPS;
            // A cast saturates, and makes 0 of what is no number.
            level.round() as u8
        });
        values.collect()
    }

    /// Images in 8 bits of the allowed range of raw values as the network's input.
    ///
    /// # Shapes
    /// `pixels` is `[images, C, H, W]`.
    pub fn prepared(pixels: &[u8], preprocess: &Preprocess) -> Vec<f32> {
        let (low, high) = preprocess.allowed;
        let values = pixels.iter().enumerate().map(|(index, &level)| {
            let raw = low + f64::from(level) / STEPS * (high - low);
            preprocess.normalize(channel_of(index, preprocess), raw) as f32
        });
        values.collect()
    }
}

/// The channel of a value of images that lie one after the other.
fn channel_of(index: usize, preprocess: &Preprocess) -> usize {
    index / (preprocess.height * preprocess.width) % preprocess.channels
}
