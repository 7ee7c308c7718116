//! Plans that the planner did not choose, and why.

use serde::{Deserialize, Serialize};

/// The best plan of another kind than the chosen one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    /// How it differs: rescaling, relinearization, weights.
    pub kind: String,
    /// N.
    pub ring_degree: usize,
    /// Bits of the modulus with special primes.
    pub log2_qp: f64,
    /// Stored bytes of a coefficient of a fresh ciphertext.
    pub coefficient_bytes: usize,
    /// Estimated evaluation of the batch.
    pub evaluate_seconds: f64,
    /// −log2 of the predicted worst error of a logit.
    pub precision_bits: f64,
    /// Why it was not chosen.
    pub reason: String,
}

/// Expected times of both packings, where the planner was free to choose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackingComparison {
    /// Evaluation of the batch with the best element-wise plan.
    pub element_wise_seconds: f64,
    /// Evaluation of the batch with the best channel-wise plan.
    pub channel_wise_seconds: f64,
    /// Fewest images for which the element-wise one of the two plans is not slower.
    pub break_even_batch: u64,
}

impl PackingComparison {
    /// From each plan's seconds for the batch and the images that one of its blocks holds.
    pub(crate) fn new(
        batch: usize,
        element_wise: (f64, usize),
        channel_wise: (f64, usize),
    ) -> Self {
        let block = |(seconds, images): (f64, usize)| seconds / batch.div_ceil(images) as f64;
        // Element-wise blocks hold more images and take longer: while one of them is enough, the other packing needs several
        // blocks.
        let ratio = block(element_wise) / block(channel_wise);
        let blocks_before = (ratio.ceil() - 1.0).max(0.0);
        Self {
            element_wise_seconds: element_wise.0,
            channel_wise_seconds: channel_wise.0,
            break_even_batch: (blocks_before * channel_wise.1 as f64) as u64 + 1,
        }
    }
}
