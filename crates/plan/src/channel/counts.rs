//! The number of operations of a linear node.

use super::RotationSchedule;
use super::diagonals::Distances;

/// How a linear node is rotated, and how many operations that takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counts {
    pub schedule: RotationSchedule,
    /// Ciphertexts whose digits are cut for hoisted rotations.
    pub inputs: usize,
    /// Hoisted rotations.
    pub hoisted: usize,
    /// Products with a plaintext.
    pub products: usize,
    /// Sums of products: outputs times outer rotations, the rotation by zero included.
    pub sums: usize,
    /// Rotations of sums.
    pub outer: usize,
    /// Rotations that fold.
    pub folds: usize,
    /// Shares that each output is folded from, as a number of terms.
    pub shares: usize,
}

/// Weights of operations when schedules are compared: a rotation of a sum needs digits of its own.
const OUTER_COST: f64 = 4.0;
const PRODUCT_COST: f64 = 0.2;

impl Counts {
    /// The cost by which schedules are compared, in hoisted rotations.
    pub(super) fn cost(&self) -> f64 {
        self.hoisted as f64
            + OUTER_COST * (self.outer + self.folds) as f64
            + PRODUCT_COST * self.products as f64
    }

    pub(crate) fn rotations(&self) -> usize {
        self.hoisted + self.outer + self.folds
    }

    pub(super) fn new(
        distances: &Distances,
        schedule: &RotationSchedule,
        slots: usize,
        ciphertexts: usize,
    ) -> Self {
        let seen = || distances.seen.iter();
        let hoisted =
            seen().map(|&(term, input, _, d)| (term, input, schedule.hoisted(d as usize)));
        let hoisted = distinct(hoisted);
        let sums = distinct(seen().map(|&(_, _, output, d)| (output, schedule.outer(d as usize))));
        let rotated = || hoisted.iter().filter(|h| h.2 % slots != 0);
        let inputs = distinct(rotated().map(|h| (h.0, h.1)));
        let folds = schedule.folds(distances.period).count();
        Self {
            schedule: *schedule,
            inputs: inputs.len(),
            hoisted: rotated().count(),
            products: distances.seen.len(),
            sums: sums.len(),
            outer: sums.iter().filter(|s| s.1 % slots != 0).count(),
            folds: folds * ciphertexts,
            shares: 1 << folds,
        }
    }
}

/// The values in order, each once.
pub(super) fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
