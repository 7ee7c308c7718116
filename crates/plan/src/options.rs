use serde::{Deserialize, Serialize};

use crate::CostTable;

/// How images and feature maps are laid out over ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// The planner picks by estimate.
    Auto,
    /// One ciphertext an element of a feature map, one image a slot.
    ElementWise,
    /// An image's channels side by side in few ciphertexts.
    ChannelWise,
}

impl std::fmt::Display for Packing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Packing::Auto => "auto",
            Packing::ElementWise => "element-wise",
            Packing::ChannelWise => "channel-wise",
        })
    }
}

/// Largest batch that one plan serves.
pub(crate) const MAX_BATCH: usize = 1 << 20;

/// What the user asks of a plan.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Images a request.
    pub batch: usize,
    /// Packing; [`Packing::Auto`] chooses.
    pub packing: Packing,
    /// −log2 of the largest tolerated error of a logit against the clear integer engine. `None`: 1/1500 of the
    /// usual size of a logit.
    pub precision_bits: Option<f64>,
    /// Upper limit of the evaluator's memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Fixes the ring degree instead of searching it.
    pub ring_degree: Option<usize>,
    /// Fixes how many images share a channel-wise ciphertext instead of searching; a power of two.
    pub block_images: Option<usize>,
    /// Fixes the bits of every weight (2 to 16) instead of choosing a width a layer.
    pub weight_bits: Option<u8>,
    /// What operations cost on the evaluating machine.
    pub cost: CostTable,
}

impl CompileOptions {
    /// Defaults for a batch of `batch` images.
    pub fn new(batch: usize) -> Self {
        CompileOptions {
            batch,
            packing: Packing::Auto,
            precision_bits: None,
            memory_bytes: None,
            ring_degree: None,
            block_images: None,
            weight_bits: None,
            cost: CostTable::default(),
        }
    }

    /// The ring degrees that are searched.
    pub(crate) fn ring_degrees(&self) -> Vec<usize> {
        match self.ring_degree {
            Some(degree) => vec![degree],
            None => vec![1 << 12, 1 << 13, 1 << 14, 1 << 15],
        }
    }

    /// The same for one packing.
    pub fn with_packing(self, packing: Packing) -> Self {
        Self { packing, ..self }
    }
}
