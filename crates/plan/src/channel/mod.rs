//! Channel-wise packing: the channels of an image side by side in the slots of few ciphertexts.
//!
//! An image has `slots` positions, a power of two that divides N, and N / slots images lie interleaved: position p of
//! image b is entry p · N / slots + b of the rotation order. A rotation by d · N / slots steps then moves every image by d
//! positions, cyclically and without touching another image, so one plan serves one image a ciphertext and many.
//!
//! A linear layer is a matrix on those positions, computed by its diagonals: for every distance d between an output's
//! position and an input's, the rotated input times a plaintext that holds the weights of that distance ([`diagonals`]).
//! Positions that hold no element get weight zero, so whatever stands there is never read.

mod counts;
pub(crate) mod diagonals;
mod geometry;
pub(crate) mod layout;
pub(crate) mod merge;
pub(crate) mod noise;
pub(crate) mod search;
#[cfg(test)]
mod tests;
mod wire;

use serde::{Deserialize, Serialize};
use sordino_ckks::KeySet;

pub use diagonals::{Diagonal, RotationSchedule, diagonals};
pub use layout::SlotLayout;
pub(crate) use wire::{ChannelRecord, decode, encode};

use crate::{Error, Operation, Step};
use counts::Counts;
use diagonals::Distances;

/// What a channel-wise plan fixes beside its steps.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelPlan {
    /// Positions an image has; N / slots images lie interleaved in a ciphertext.
    pub slots: usize,
    /// Plaintexts hold the integer weights times 2 to the power of this.
    pub plaintext_bits: u32,
    /// Where the elements of each step's value lie.
    pub layouts: Vec<SlotLayout>,
    /// How each linear step is computed; `None` for the other steps.
    pub schedules: Vec<Option<RotationSchedule>>,
}

/// What the client needs to know of a channel-wise plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelLayout {
    /// Positions an image has; N / slots images lie interleaved in a ciphertext.
    pub slots: usize,
    /// Where the elements of a prepared image go.
    pub input: SlotLayout,
    /// Where the logits come back.
    pub output: SlotLayout,
    /// Steps of the rotations that the server needs Galois keys for; ascending.
    pub rotations: Vec<usize>,
}

impl ChannelPlan {
    /// Factor between integer weights and what plaintexts hold.
    pub fn plaintext_factor(&self) -> f64 {
        f64::from(self.plaintext_bits).exp2()
    }

    /// The diagonals of a linear step with how they are rotated; `None` for other steps.
    fn distances(&self, steps: &[Step], index: usize) -> Option<(RotationSchedule, Distances)> {
        let Operation::Linear { terms, .. } = &steps[index].operation else {
            return None;
        };
        let schedule = self.schedules[index]?;
        let sources: Vec<&SlotLayout> = terms
            .iter()
            .map(|term| &self.layouts[term.source()])
            .collect();
        let output = &self.layouts[index];
        Some((
            schedule,
            diagonals::distances(terms, &sources, output, &schedule, self.slots),
        ))
    }

    /// Rotations and products of a linear step; `None` for other steps.
    pub(crate) fn counts(&self, steps: &[Step], index: usize) -> Option<Counts> {
        let (schedule, distances) = self.distances(steps, index)?;
        let ciphertexts = self.layouts[index].ciphertexts;
        Some(Counts::new(&distances, &schedule, self.slots, ciphertexts))
    }

    /// Every rotation that some step needs, in steps of the rotation order; ascending.
    pub fn rotations(&self, steps: &[Step], ring_degree: usize) -> Vec<usize> {
        let stride = ring_degree / self.slots;
        let mut all: Vec<usize> = (0..steps.len())
            .filter_map(|index| self.distances(steps, index))
            .flat_map(|(schedule, distances)| schedule.rotations(&distances, self.slots))
            .map(|positions| positions % self.slots * stride)
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The client's share.
    pub(crate) fn for_client(&self, steps: &[Step], ring_degree: usize) -> ChannelLayout {
        ChannelLayout {
            slots: self.slots,
            input: self.layouts[0].clone(),
            output: self.layouts[self.layouts.len() - 1].clone(),
            rotations: self.rotations(steps, ring_degree),
        }
    }

    /// Checks layouts and schedules against the steps.
    pub(crate) fn check(&self, steps: &[Step], ring_degree: usize) -> Result<(), Error> {
        let wrong = |what: String, expected: &str, found: String| {
            Err(Error::malformed("server", what, expected, found))
        };
        check_slots("server", self.slots, ring_degree)?;
        if self.plaintext_bits > MAX_PLAINTEXT_BITS {
            let expected = format!("at most {MAX_PLAINTEXT_BITS}");
            return wrong(
                "plaintext bits".into(),
                &expected,
                self.plaintext_bits.to_string(),
            );
        }
        if self.layouts.len() != steps.len() || self.schedules.len() != steps.len() {
            return wrong(
                "layouts".into(),
                "one a step",
                self.layouts.len().to_string(),
            );
        }
        for (index, ((step, layout), schedule)) in steps
            .iter()
            .zip(&self.layouts)
            .zip(&self.schedules)
            .enumerate()
        {
            layout.check("server", step.elements, self.slots)?;
            let linear = matches!(step.operation, Operation::Linear { .. });
            if schedule.is_some() != linear {
                return wrong(
                    format!("schedule of step {index}"),
                    "one a linear step",
                    "other".into(),
                );
            }
            match (&step.operation, schedule) {
                (Operation::Linear { terms, .. }, Some(schedule)) => {
                    schedule.check(index, layout, self.slots)?;
                    let most = terms
                        .iter()
                        .map(|term| diagonals::pairs(&self.layouts[term.source()], layout))
                        .max();
                    if most.is_some_and(|pairs| pairs > MAX_DIAGONALS / self.slots) {
                        let expected = format!("at most {}", MAX_DIAGONALS / self.slots);
                        return wrong(
                            format!("pairs of ciphertexts of step {index}"),
                            &expected,
                            format!("{most:?}"),
                        );
                    }
                    let longest = terms
                        .iter()
                        .map(|term| self.layouts[term.source()].period)
                        .max();
                    if longest.is_some_and(|period| period > schedule.folded_from) {
                        let expected = format!("at most {}", schedule.folded_from);
                        return wrong(
                            format!("period read by step {index}"),
                            &expected,
                            format!("{longest:?}"),
                        );
                    }
                }
                (Operation::Input, _) | (Operation::Linear { .. }, None) => {}
                (operation, _) => {
                    let source = operation.sources()[0];
                    if self.layouts[source] != *layout {
                        return wrong(
                            format!("layout of step {index}"),
                            "that of its source",
                            "another".into(),
                        );
                    }
                }
            }
        }
        Ok(())
    }
}

/// Weights fit 16 bits; more than this many bits beside them no scale holds.
const MAX_PLAINTEXT_BITS: u32 = 40;
/// Most diagonals that a step could have, whether or not it has them: tables have a place for each.
const MAX_DIAGONALS: usize = 1 << 30;
/// Fewest positions an image may have.
pub(crate) const MIN_SLOTS: usize = 16;

impl ChannelLayout {
    /// Images that a ciphertext holds.
    pub fn images(&self, ring_degree: usize) -> usize {
        ring_degree / self.slots
    }

    pub(crate) fn check(
        &self,
        features: usize,
        logits: usize,
        ring_degree: usize,
    ) -> Result<(), Error> {
        check_slots("client", self.slots, ring_degree)?;
        self.input.check("client", features, self.slots)?;
        self.output.check("client", logits, self.slots)?;
        Ok(self.key_set()?.check(ring_degree)?)
    }

    /// The switching keys that the server needs.
    ///
    /// # Errors
    /// [`Error::Scheme`] for rotations that are no key set.
    pub fn key_set(&self) -> Result<KeySet, Error> {
        Ok(KeySet::new(true, self.rotations.clone())?)
    }
}

pub(crate) fn check_slots(
    part: &'static str,
    slots: usize,
    ring_degree: usize,
) -> Result<(), Error> {
    if slots.is_power_of_two() && (MIN_SLOTS..=ring_degree).contains(&slots) {
        return Ok(());
    }
    Err(Error::malformed(
        part,
        "slots an image",
        format!("a power of two from {MIN_SLOTS} to {ring_degree}"),
        slots,
    ))
}
