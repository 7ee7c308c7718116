//! Where check images are in a request, and what their logits say about a reply.

use sordino_ckks::SlotTag;
use sordino_container::Digest;
use sordino_plan::ClientPlan;
use sordino_secret::SecretKey;

use crate::Error;

/// What the check images of a reply showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// Check images in all blocks.
    pub images: usize,
    /// A power of two that no difference from a right logit exceeds. More digits would be digits of the noise, which tell about the
    /// secret key.
    pub worst_error: f64,
    /// Largest difference from a right logit that is accepted.
    pub tolerance: f64,
}

/// What the tag of a request is bound to: the plan, and its check images with the tolerance. So a reply is not decrypted with a client
/// plan that has others, or none, than the one that the request was made with.
pub(crate) fn binding(plan: &ClientPlan) -> Digest {
    let Some(images) = &plan.check_images else {
        return plan.plan();
    };
    let mut bytes = plan.plan().as_bytes().to_vec();
    bytes.extend_from_slice(&plan.estimate.precision_bits.to_le_bytes());
    bytes.extend_from_slice(&(plan.header.check_images as u64).to_le_bytes());
    bytes.extend_from_slice(images.pixels());
    let logits = images.logits().iter();
    bytes.extend(logits.flat_map(|logit| logit.to_le_bytes()));
    Digest::of_bytes(&bytes)
}

/// The places of the images of a request, in all its blocks one after the other.
pub(crate) struct Places {
    /// Of the check images, block by block.
    pub check: Vec<Vec<usize>>,
    /// Of the client's images.
    pub images: Vec<usize>,
}

impl Places {
    /// The places that follow from a key and the tag of a request.
    pub(crate) fn new(key: &SecretKey, tag: &SlotTag, plan: &ClientPlan, images: usize) -> Self {
        let of_block = plan.block_places();
        let blocks = images.div_ceil(plan.block_images());
        let count = plan.header.check_images;
        let check: Vec<Vec<usize>> = (0..blocks)
            .map(|block| {
                let slots = key.check_slots(tag, block, count, of_block);
                let slots = slots.into_iter();
                slots.map(|slot| block * of_block + slot as usize).collect()
            })
            .collect();
        let mut taken = vec![false; blocks * of_block];
        check
            .iter()
            .flatten()
            .for_each(|&place| taken[place] = true);
        let free: Vec<usize> = (0..taken.len()).filter(|&place| !taken[place]).collect();
        let order = key.slot_order(tag, images, free.len());
        Self {
            check,
            images: order
                .into_iter()
                .map(|place| free[place as usize])
                .collect(),
        }
    }

    /// Places in all blocks.
    pub(crate) fn len(&self, plan: &ClientPlan) -> usize {
        self.check.len() * plan.block_places()
    }
}

/// Compares the logits of all check images with the right ones.
///
/// # Shapes
/// `logits` is `[places, classes]`.
///
/// # Errors
/// [`Error::CheckImages`] if one differs by more than the client accepts.
pub(crate) fn compare(
    plan: &ClientPlan,
    places: &Places,
    logits: &[f64],
) -> Result<Option<Check>, Error> {
    let (Some(images), Some(tolerance)) = (&plan.check_images, plan.check_tolerance()) else {
        return Ok(None);
    };
    let classes = plan.header.output.logits;
    let (mut worst, mut different, mut count) = (0f64, 0, 0);
    for block in &places.check {
        for (&place, expected) in block.iter().zip(images.logits().chunks_exact(classes)) {
            let found = &logits[place * classes..][..classes];
            let errors = found.iter().zip(expected).map(|(x, y)| (x - y).abs());
            // What is no number is as wrong as can be; `max` would lose it.
            let errors = errors.map(|error| if error.is_nan() { f64::INFINITY } else { error });
            let of_image = errors.fold(0.0, f64::max);
            different += usize::from(of_image > tolerance);
            worst = worst.max(of_image);
            count += 1;
        }
    }
    match different {
        0 => Ok(Some(Check {
            images: count,
            worst_error: worst.log2().ceil().exp2(),
            tolerance,
        })),
        _ => Err(Error::CheckImages {
            different,
            images: count,
            worst,
            tolerance,
        }),
    }
}
