use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Costs of elementary operations on the evaluating machine, on all its threads together.
///
/// The default was measured on a 2-core AVX-512 VNNI machine and is part of the plan's determinism: the same model,
/// options and table give the same plan, byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostTable {
    /// Sustained 8-bit multiply-accumulates of the whole-layer product, in 10^9 per second.
    pub linear_gmacs: f64,
    /// One transform of N = 2^13 coefficients of one limb, in microseconds; other N scale as N log2 N.
    pub ntt_us: f64,
    /// One pointwise operation on one residue, in nanoseconds.
    pub pointwise_ns: f64,
    /// Expansion of the uniform half, in nanoseconds per byte.
    pub expand_ns: f64,
}

impl Default for CostTable {
    fn default() -> Self {
        CostTable {
            linear_gmacs: 350.0,
            ntt_us: 8.0,
            pointwise_ns: 0.2,
            expand_ns: 0.15,
        }
    }
}

impl CostTable {
    /// Reads a table written by `sordino bench calibrate`.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read, [`Error::CostTable`] when it is no such table or holds a value that is not
    /// positive.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let refuse = |detail: String| Error::CostTable {
            path: path.to_owned(),
            detail,
        };
        let bytes = std::fs::read(path)
            .map_err(|error| sordino_container::Error::io(path, "read", error))?;
        let table: CostTable = serde_json::from_slice(&bytes).map_err(|e| refuse(e.to_string()))?;
        let Self {
            linear_gmacs,
            ntt_us,
            pointwise_ns,
            expand_ns,
        } = table;
        let costs = [linear_gmacs, ntt_us, pointwise_ns, expand_ns];
        match costs.iter().all(|cost| cost.is_finite() && *cost > 0.0) {
            true => Ok(table),
            false => Err(refuse("every cost must be a positive number".into())),
        }
    }

    /// Seconds of one transform of `ring_degree` coefficients.
    pub(crate) fn ntt_seconds(&self, ring_degree: usize) -> f64 {
        let n = ring_degree as f64;
        self.ntt_us * 1e-6 * (n * n.log2()) / (8192.0 * 13.0)
    }
}
