use crate::{CheckImageCount, CostTable, PackingKind};

/// Largest batch that one plan serves.
pub(crate) const MAX_BATCH: usize = 1 << 20;

/// The demands on a plan.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Images per request.
    pub batch: usize,
    /// The packing. `None`: the one whose estimated evaluation is shorter.
    pub packing: Option<PackingKind>,
    /// −log2 of the largest tolerated error of a logit against the clear integer engine. `None`: 1/300 of the
    /// usual size of a logit.
    pub precision_bits: Option<f64>,
    /// Upper limit of the evaluator's memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Fixes the ring degree instead of searching it.
    pub ring_degree: Option<usize>,
    /// Fixes how many images share a channel-wise ciphertext instead of searching; a power of two.
    pub block_images: Option<usize>,
    /// Fixes the bits of every weight (2 to 16) instead of choosing a width per layer.
    pub weight_bits: Option<u8>,
    /// Check images of every block.
    pub check_images: CheckImageCount,
    /// What operations cost on the evaluating machine.
    pub cost: CostTable,
}

impl CompileOptions {
    /// Defaults for a batch of `batch` images.
    pub fn new(batch: usize) -> Self {
        CompileOptions {
            batch,
            packing: None,
            precision_bits: None,
            memory_bytes: None,
            ring_degree: None,
            block_images: None,
            weight_bits: None,
            check_images: CheckImageCount::Auto,
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

    /// These options with a fixed packing, or with a free choice of it.
    pub fn with_packing(self, packing: impl Into<Option<PackingKind>>) -> Self {
        Self {
            packing: packing.into(),
            ..self
        }
    }
}
