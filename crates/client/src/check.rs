//! Where check images are in a request, and what their logits say about a reply.

use sordino_ckks::SlotTag;
use sordino_container::Digest;
use sordino_plan::ClientPlan;
use sordino_secret::SecretKey;

use crate::{Error, Marks};

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
    /// Of the client's images, the views of each one after the other.
    pub images: Vec<usize>,
    /// Blocks before those of unusual images alone.
    mixed: usize,
}

impl Places {
    /// The places that follow from a key and the tag of a request.
    pub(crate) fn new(key: &SecretKey, tag: &SlotTag, plan: &ClientPlan, marks: &Marks) -> Self {
        let of_block = plan.block_places();
        let groups = marks.groups();
        let blocks_of = groups
            .each_ref()
            .map(|group| group.len().div_ceil(plan.block_images()));
        let blocks_of = match marks.claimed() {
            // As many blocks as before.
            Some(images) => [images.div_ceil(plan.block_images()), 0],
            None => blocks_of,
        };
        let blocks: usize = blocks_of.iter().sum();
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
        let views = marks.views();
        let mut images = vec![0; marks.encrypted() * views];
        let mut first = 0;
        for (part, (group, blocks)) in groups.iter().zip(blocks_of).enumerate() {
            let places = first * of_block..(first + blocks) * of_block;
            first += blocks;
            let free: Vec<usize> = places.filter(|&place| !taken[place]).collect();
            let of_views = group
                .iter()
                .flat_map(|&image| (0..views).map(move |view| image * views + view));
            let order = key.slot_order(tag, part, group.len() * views, free.len());
            for (view, place) in of_views.zip(order) {
                images[view] = free[place as usize];
            }
        }
        Self {
            check,
            images,
            mixed: blocks_of[0],
        }
    }

    /// Places in all blocks.
    pub(crate) fn len(&self, plan: &ClientPlan) -> usize {
        self.check.len() * plan.block_places()
    }
}

/// What the check images of a reply say.
pub(crate) struct Compared {
    /// Of the blocks that are right; `None` without check images.
    pub check: Option<Check>,
    /// Blocks of unusual images alone that are not right: these images have ruined one another.
    pub ruined: Vec<usize>,
}

/// Compares the logits of all check images with the right ones.
///
/// # Shapes
/// `values` is `[places, classes and values of layers]`.
///
/// # Errors
/// [`Error::CheckImages`] if one differs by more than the client accepts, but for those in blocks of unusual images alone while other
/// blocks are right.
pub(crate) fn compare(
    plan: &ClientPlan,
    places: &Places,
    values: &[f64],
    marks: &Marks,
) -> Result<Compared, Error> {
    let mut ruined = Vec::new();
    let (Some(images), Some(tolerance)) = (&plan.check_images, plan.check_tolerance()) else {
        return Ok(Compared {
            check: None,
            ruined,
        });
    };
    let (classes, norms) = (plan.header.output.logits, plan.header.output.norms);
    let mut total = Difference::default();
    let mut wrong = Vec::new();
    for (number, block) in places.check.iter().enumerate() {
        let mut of_block = Difference::default();
        for (&place, expected) in block.iter().zip(images.logits().chunks_exact(classes)) {
            of_block.add(
                &values[place * (classes + norms)..][..classes],
                expected,
                tolerance,
            );
        }
        if of_block.different > 0 && (1..=number).contains(&places.mixed) {
            ruined.push(number);
            continue;
        }
        if of_block.different > 0 {
            wrong.push(number);
        }
        total.join(&of_block);
    }
    let Difference {
        images,
        different,
        worst,
    } = total;
    match different {
        0 => Ok(Compared {
            check: Some(Check {
                images,
                worst_error: worst.log2().ceil().exp2(),
                tolerance,
            }),
            ruined,
        }),
        _ => Err(Error::CheckImages {
            different,
            images,
            worst,
            tolerance,
            suspects: suspects(plan, places, values, marks, &wrong),
        }),
    }
}

/// Values of layers that are this many times those of all check images make an image a suspect.
const UNLIKE: f64 = 16.0;

/// Largest difference of a check image's value of a layer from the right one, as a share of the largest right one, with which the layer
/// is taken to be in its range.
const INTACT: f64 = 1.0 / 8.0;

/// Images, by their places in the batch, that may have ruined blocks: in the last layer where the values of all check images of the block
/// are still right, theirs are far larger.
fn suspects(
    plan: &ClientPlan,
    places: &Places,
    values: &[f64],
    marks: &Marks,
    blocks: &[usize],
) -> Vec<usize> {
    let (classes, norms) = (plan.header.output.logits, plan.header.output.norms);
    let Some(checks) = plan.check_images.as_ref().filter(|_| norms > 0) else {
        return Vec::new();
    };
    let value = |place: usize, layer: usize| values[place * (classes + norms) + classes + layer];
    let mut suspects = Vec::new();
    for &block in blocks {
        let of_layer = (0..norms).rev().find_map(|layer| {
            let right = || checks.norms().iter().skip(layer).step_by(norms);
            let largest = right().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            let intact = places.check[block]
                .iter()
                .zip(right())
                .all(|(&place, right)| (value(place, layer) - right).abs() <= INTACT * largest);
            intact.then_some((layer, UNLIKE * largest))
        });
        let Some((layer, limit)) = of_layer else {
            continue;
        };
        let kept = marks
            .kept()
            .flat_map(|index| std::iter::repeat_n(index, marks.views()));
        let in_block = kept
            .zip(&places.images)
            .filter(|(_, place)| **place / plan.block_places() == block);
        let unlike = in_block.filter(|(_, place)| value(**place, layer).abs() > limit);
        suspects.extend(unlike.map(|(index, _)| index));
    }
    suspects.sort_unstable();
    suspects.dedup();
    suspects
}

/// How far the logits of check images are from the right ones.
#[derive(Default)]
struct Difference {
    images: usize,
    different: usize,
    worst: f64,
}

impl Difference {
    /// Adds an image.
    fn add(&mut self, found: &[f64], expected: &[f64], tolerance: f64) {
        let errors = found.iter().zip(expected).map(|(x, y)| (x - y).abs());
        // What is no number is as wrong as can be; `max` would lose it.
        let errors = errors.map(|error| if error.is_nan() { f64::INFINITY } else { error });
        let worst = errors.fold(0.0, f64::max);
        self.join(&Self {
            images: 1,
            different: usize::from(worst > tolerance),
            worst,
        });
    }

    fn join(&mut self, other: &Self) {
        self.images += other.images;
        self.different += other.different;
        self.worst = self.worst.max(other.worst);
    }
}
