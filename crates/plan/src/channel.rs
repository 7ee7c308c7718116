//! Channel-wise packing: the channels of an image side by side in the slots of few ciphertexts.
//!
//! An image has `slots` positions, a power of two that divides N, and N / slots images lie interleaved: position p of
//! image b is entry p · N / slots + b of the rotation order. A rotation by d · N / slots steps then moves every image by d
//! positions, cyclically and without touching another image, so one plan serves one image per ciphertext or many.
//!
//! A linear layer is a matrix on those positions, computed by its diagonals: for every distance d between an output's
//! position and an input's, the rotated input times a plaintext that holds the weights of that distance ([`diagonals`]).
//! Positions that hold no element get weight zero, so whatever stands there is never read.

pub(crate) mod counts;
pub(crate) mod diagonals;
pub(crate) mod geometry;
pub(crate) mod layout;
pub(crate) mod memory;
pub(crate) mod noise;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use sordino_ckks::KeySet;
use sordino_container::{Builder, Reader};

pub use diagonals::{Diagonal, RotationSchedule, diagonals};
pub use layout::SlotLayout;

use crate::{Error, Operation, Step};
use counts::{Counts, distinct};
use diagonals::Distances;

/// What a channel-wise plan fixes in addition to its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelPlan {
    /// Positions per image; N / slots images lie interleaved in a ciphertext.
    pub slots: usize,
    /// Plaintexts hold the integer weights times 2 to the power of this.
    pub plaintext_bits: u32,
    /// Where the elements of each step's value lie.
    pub layouts: Vec<SlotLayout>,
    /// How each linear step is computed; `None` for the other steps.
    pub schedules: Vec<Option<RotationSchedule>>,
}

/// What the client needs to know about a channel-wise plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelLayout {
    /// Positions per image; N / slots images lie interleaved in a ciphertext.
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
        let schedule = self.schedules[index]?;
        let terms = steps[index].terms();
        let sources = terms.iter().map(|term| &self.layouts[term.source()]);
        let (sources, output) = (sources.collect::<Vec<_>>(), &self.layouts[index]);
        let distances = diagonals::distances(terms, &sources, output, &schedule, self.slots);
        Some((schedule, distances))
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
        let linear = (0..steps.len()).filter_map(|index| self.distances(steps, index));
        let positions = linear
            .flat_map(|(schedule, distances)| schedule.rotations(&distances, self.slots))
            .map(|positions| positions % self.slots * stride);
        distinct(positions)
    }

    /// The plan as a server plan's metadata has it: the positions are in the payload.
    pub(crate) fn without_positions(&self) -> Self {
        let layout = |layout: &SlotLayout| SlotLayout {
            positions: Vec::new(),
            ..*layout
        };
        Self {
            layouts: self.layouts.iter().map(layout).collect(),
            schedules: self.schedules.clone(),
            ..*self
        }
    }

    /// Appends the positions of every layout.
    pub(crate) fn write_positions(&self, out: &mut Builder) {
        for layout in &self.layouts {
            out.vec_u32(&layout.positions);
        }
    }

    /// Reads the positions of every layout; [`check`](Self::check) compares them with the steps.
    pub(crate) fn read_positions(
        &mut self,
        steps: &[Step],
        reader: &mut Reader<'_>,
    ) -> Result<(), Error> {
        let (layouts, count) = (&mut self.layouts, steps.len());
        let good = layouts.len() == count && layouts.iter().all(|l| l.positions.is_empty());
        let expected = format_args!("{count} without positions, one per step");
        Error::require(good, "server", "layouts", expected, layouts.len())?;
        for (layout, step) in layouts.iter_mut().zip(steps) {
            layout.positions = reader.vec_u32(step.elements)?;
        }
        Ok(())
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
        let require = |good,
                       what: fmt::Arguments<'_>,
                       expected: fmt::Arguments<'_>,
                       found: &dyn fmt::Display| {
            Error::require(good, "server", what, expected, found)
        };
        let within = |what: fmt::Arguments<'_>, found: usize, most: usize| {
            require(found <= most, what, format_args!("at most {most}"), &found)
        };
        check_slots("server", self.slots, ring_degree)?;
        let bits = self.plaintext_bits as usize;
        within(format_args!("plaintext bits"), bits, MAX_PLAINTEXT_BITS)?;
        let lists = [self.layouts.len(), self.schedules.len()];
        let (what, expected) = (format_args!("layouts"), format_args!("one per step"));
        require(
            lists == [steps.len(); 2],
            what,
            expected,
            &format_args!("{lists:?}"),
        )?;
        for (index, (step, layout)) in steps.iter().zip(&self.layouts).enumerate() {
            layout.check("server", step.elements, self.slots)?;
            let schedule = self.schedules[index].as_ref();
            let linear = matches!(step.operation, Operation::Linear { .. });
            let what = format_args!("schedule of step {index}");
            let expected = format_args!("one per linear step");
            require(linear == schedule.is_some(), what, expected, &"other")?;
            let Some(schedule) = schedule else {
                let source = step.operation.sources().first().map(|&s| &self.layouts[s]);
                let good = source.is_none_or(|source| source == layout);
                let what = format_args!("layout of step {index}");
                require(good, what, format_args!("that of its source"), &"another")?;
                continue;
            };
            schedule.check(index, layout, self.slots)?;
            for term in step.terms() {
                let source = &self.layouts[term.source()];
                let what = format_args!("pairs of ciphertexts of step {index}");
                let pairs = diagonals::pairs(source, layout);
                within(what, pairs, MAX_DIAGONALS / self.slots)?;
                let what = format_args!("period read by step {index}");
                within(what, source.period, schedule.folded_from)?;
            }
        }
        Ok(())
    }
}

/// No scale has room for weights of 16 bits times a larger factor than 2 to this power.
const MAX_PLAINTEXT_BITS: usize = 40;
/// Most diagonals that a step could have: tables have a place for each, whether or not the step has it.
const MAX_DIAGONALS: usize = 1 << 30;
/// Fewest positions per image.
pub(crate) const MIN_SLOTS: usize = 16;

impl ChannelLayout {
    pub(crate) fn check(
        &self,
        features: usize,
        logits: usize,
        ring_degree: usize,
    ) -> Result<(), Error> {
        check_slots("client", self.slots, ring_degree)?;
        self.input.check("client", features, self.slots)?;
        self.output.check("client", logits, self.slots)?;
        Ok(KeySet::new(true, self.rotations.clone())?.check(ring_degree)?)
    }
}

pub(crate) fn check_slots(
    part: &'static str,
    slots: usize,
    ring_degree: usize,
) -> Result<(), Error> {
    let good = slots.is_power_of_two() && (MIN_SLOTS..=ring_degree).contains(&slots);
    let expected = format_args!("a power of two from {MIN_SLOTS} to {ring_degree}");
    Error::require(good, part, "slots per image", expected, slots)
}
