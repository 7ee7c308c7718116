//! Memory of encoded weights.

use crate::estimate::BASE_BYTES;
use crate::{Operation, ServerPlan};

/// Bytes of encoded weights: a vector of N residues modulo every prime for each product.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EncodedBytes {
    /// Of all steps.
    all: u64,
    /// Of the largest step while it is computed, if weights are encoded when they are used: numbers, coefficients, and residues modulo
    /// one prime.
    largest_step: u64,
}

impl EncodedBytes {
    /// Adds a linear step with so many products; `moduli` are the stored bytes of a coefficient modulo every prime together.
    pub(crate) fn add(&mut self, products: usize, ring_degree: usize, moduli: usize) {
        let entries = (products * ring_degree) as u64;
        self.all += entries * moduli as u64;
        let step = entries * 3 * size_of::<u64>() as u64;
        self.largest_step = self.largest_step.max(step);
    }

    /// All of them beforehand where that fits a limit beside `other` bytes, else those of one step at a time.
    pub(crate) fn within(self, other: u64, limit: Option<u64>) -> u64 {
        match limit {
            Some(limit) if other + self.all > limit => self.largest_step.min(self.all),
            _ => self.all,
        }
    }
}

impl ServerPlan {
    /// Bytes that a channel-wise evaluation takes within a limit, and whether weights are encoded beforehand; `None` element-wise.
    pub fn channel_memory(&self, limit: Option<u64>) -> Option<(u64, bool)> {
        let channel = self.channel()?;
        let (steps, parameters) = (self.steps(), self.parameters());
        let width = |prime: &u64| prime.ilog2() as usize / 8 + 1;
        let special: usize = parameters.special_primes().iter().map(width).sum();
        let limbs = |count: usize| {
            parameters.primes()[..count]
                .iter()
                .map(width)
                .sum::<usize>()
        };
        let degree = parameters.ring_degree();
        let mut encoded = EncodedBytes::default();
        let mut largest = 0;
        for (index, step) in steps.iter().enumerate() {
            let polynomials = channel.layouts[index].ciphertexts * step.components;
            largest = largest.max((polynomials * degree * limbs(step.limbs)) as u64);
            if let Operation::Linear { .. } = step.operation
                && let Some(counts) = channel.counts(steps, index)
            {
                encoded.add(counts.products, degree, limbs(step.limbs) + special);
            }
        }
        let estimate = self.estimate();
        let files = estimate.upload_bytes + estimate.reply_bytes + 2 * estimate.key_bytes;
        let other = files + 3 * largest + BASE_BYTES;
        let weights = encoded.within(other, limit);
        Some((other + weights, weights == encoded.all))
    }
}
