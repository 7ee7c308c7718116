//! Which slot holds which element of which image.

use sordino_ckks::RotationOrder;
use sordino_plan::{ChannelLayout, SlotLayout};

/// How the images of one block lie in the slots of its ciphertexts.
pub(crate) enum Slots<'a> {
    /// One ciphertext per element, one slot per image.
    ElementWise,
    /// The elements of an image next to each other, the images interleaved.
    ChannelWise {
        layout: &'a SlotLayout,
        /// Positions an image has.
        positions: usize,
        order: &'a RotationOrder,
    },
}

/// The values of the places that have an image, with it.
fn with_images<'a>(
    values: &'a mut [f64],
    images: &'a [Option<&'a [f32]>],
) -> impl Iterator<Item = (&'a mut f64, &'a [f32])> {
    values
        .iter_mut()
        .zip(images)
        .filter_map(|(value, image)| image.map(|image| (value, image)))
}

impl<'a> Slots<'a> {
    /// Where a layout that is chosen from a plan's channel-wise part puts elements.
    pub(crate) fn new(
        channel: Option<&'a ChannelLayout>,
        layout: fn(&ChannelLayout) -> &SlotLayout,
        order: &'a RotationOrder,
    ) -> Self {
        channel.map_or(Self::ElementWise, |channel| Self::ChannelWise {
            layout: layout(channel),
            positions: channel.slots,
            order,
        })
    }

    /// Writes what one ciphertext holds of a block of images.
    ///
    /// # Shapes
    /// `images` are the places of a block, each with an image of `[elements]` or none; `slots` are N zeros.
    pub(crate) fn fill(
        &self,
        ciphertext: usize,
        images: &[Option<&[f32]>],
        elements: usize,
        slots: &mut [f64],
    ) {
        match self {
            Self::ElementWise => {
                for (slot, image) in with_images(slots, images) {
                    *slot = f64::from(image[ciphertext]);
                }
            }
            Self::ChannelWise {
                layout,
                positions,
                order,
            } => {
                let side_by_side = slots.len() / positions;
                let mut values = vec![0.0; slots.len()];
                for element in 0..elements {
                    let (row, first) = layout.place(element, *positions);
                    if row != ciphertext {
                        continue;
                    }
                    for position in (first..*positions).step_by(layout.period) {
                        let of_images = &mut values[position * side_by_side..][..side_by_side];
                        for (value, image) in with_images(of_images, images) {
                            *value = f64::from(image[element]);
                        }
                    }
                }
                order.to_slots_into(&values, slots);
            }
        }
    }

    /// Reads the elements of a block of images from its decrypted ciphertexts.
    ///
    /// # Shapes
    /// `ciphertexts` are rows of N slots, `images` as many `[elements]` as are wanted, at most a block.
    pub(crate) fn read(&self, ciphertexts: &[Vec<f64>], elements: usize, images: &mut [f64]) {
        match self {
            Self::ElementWise => {
                for (element, values) in ciphertexts.iter().enumerate() {
                    for (image, value) in images.chunks_exact_mut(elements).zip(values) {
                        image[element] = *value;
                    }
                }
            }
            Self::ChannelWise {
                layout,
                positions,
                order,
            } => {
                let rows: Vec<Vec<f64>> = ciphertexts
                    .iter()
                    .map(|row| order.from_slots(row))
                    .collect();
                for element in 0..elements {
                    let (row, position) = layout.place(element, *positions);
                    let side_by_side = order.len() / positions;
                    let of_images = &rows[row][position * side_by_side..];
                    for (image, value) in images.chunks_exact_mut(elements).zip(of_images) {
                        image[element] = *value;
                    }
                }
            }
        }
    }
}
