//! Plans that were not chosen, and why.

use serde::{Deserialize, Serialize};

/// The best plan of another kind than the chosen one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    /// What sets it apart: rescaling, relinearization, weights.
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
    /// What ruled it out.
    pub reason: String,
}
