//! Time, memory and bytes of a candidate, from the cost table.

use serde::{Deserialize, Serialize};
use sordino_ckks::Gadget;

use crate::OutputLayout;
use crate::cost::CostTable;
use crate::modulus::{SizedSketch, digits_of};
use crate::primes;
use crate::sketch::{SketchKind, SketchOperation};

/// Expected cost of a plan; printed before anything runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Evaluation of one whole batch, all threads of the machine of the cost table.
    pub evaluate_seconds: f64,
    /// Peak memory of the evaluator, within the limit that the plan was compiled for.
    pub memory_bytes: u64,
    /// Most bytes that the evaluator keeps on scratch to stay within that limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scratch_bytes: u64,
    /// Request file.
    pub upload_bytes: u64,
    /// Evaluation key file; 0 where the plan needs none.
    pub key_bytes: u64,
    /// Reply file.
    pub reply_bytes: u64,
    /// −log2 of the worst error of a logit of the batch against the clear integer engine, with rare images that are more sensitive
    /// than all that were looked at in calibration.
    pub precision_bits: f64,
    /// rms error of a logit that noise causes.
    pub rms_noise: f64,
    /// rms difference of a logit between the integer network and the float network.
    pub rms_weight_rounding: f64,
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

impl Estimate {
    /// Bits after the binary point that released logits are rounded to: the guaranteed precision less 2 bits.
    pub fn released_bits(&self) -> i32 {
        self.precision_bits.floor() as i32 - 2
    }
}

/// Seconds of the parts of key switching for one polynomial; all 0 without a gadget.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SwitchSeconds {
    /// Cutting it into digits modulo every modulus.
    pub digits: f64,
    /// Products of the digits with a key, added up.
    pub products: f64,
    /// Dividing two sums by the special primes.
    pub division: f64,
}

impl SwitchSeconds {
    /// At the level of an operation's result.
    pub(crate) fn new(
        sized: &SizedSketch<'_>,
        operation: &SketchOperation,
        cost: &CostTable,
    ) -> Self {
        let Some(choice) = sized.gadget else {
            return Self::default();
        };
        let (bits, ring_degree) = (sized.bits(operation), sized.ring_degree());
        let ntt = cost.ntt_seconds(ring_degree);
        let pointwise = ring_degree as f64 * cost.pointwise_ns * 1e-9;
        let (limbs, special) = (bits.len() as f64, f64::from(choice.special_primes));
        let all = limbs + special;
        let (digits, transforms, conversions) = match choice.gadget {
            Gadget::SmallDigits { digit_bits } => {
                let digits = bits.iter().map(|&b| f64::from(digits_of(b, digit_bits)));
                let digits: f64 = digits.sum();
                (digits, limbs + digits * limbs, 0.0)
            }
            Gadget::SpecialPrime | Gadget::WideDigits { .. } => {
                let groups = bits.chunks(choice.digit_limbs() as usize);
                let widths = groups.map(|group| group.len() as f64);
                // Each limb of a digit is reduced, multiplied and added, modulo each other modulus.
                let wide = widths.clone().filter(|&width| width > 1.0);
                let conversions = wide.map(|width| width * (all - width) + width * width / 2.0);
                let digits = widths.count() as f64;
                (digits, digits * all, 2.0 * conversions.sum::<f64>())
            }
        };
        let remainders = match choice.special_primes {
            0 | 1 => 0.0,
            _ => 2.0 * 2.0 * special * (limbs + special / 2.0),
        };
        let divided = if special > 0.0 { all } else { 0.0 };
        Self {
            digits: transforms * ntt + conversions * pointwise,
            products: 2.0 * digits * all * pointwise,
            division: 2.0 * divided * ntt + remainders * pointwise,
        }
    }

    /// Of a relinearization.
    pub(crate) fn sum(self) -> f64 {
        self.digits + self.products + self.division
    }
}

/// Seconds for one block of an element-wise sketch, by operation.
pub(crate) fn operation_seconds<'a>(
    sized: &'a SizedSketch<'_>,
    cost: &'a CostTable,
) -> impl Iterator<Item = f64> + 'a {
    let limbs = sized.limbs;
    let n = sized.ring_degree() as f64;
    let ntt = cost.ntt_seconds(sized.ring_degree());
    let of = move |op: &SketchOperation| {
        let info = &sized.network.nodes[op.node];
        let (elements, components) = (info.elements as f64, op.components as f64);
        match op.kind {
            SketchKind::Input => elements * n * limbs.bytes(0) as f64 * cost.expand_ns * 1e-9,
            SketchKind::Linear => {
                let passes = if info.wide { 2.0 } else { 1.0 };
                info.macs as f64 * components * n * limbs.bytes(op.dropped) as f64 * passes
                    / (cost.linear_gmacs * 1e9)
            }
            SketchKind::Square => {
                let residues = 5.0 * elements * n * limbs.left[op.dropped] as f64;
                residues * cost.pointwise_ns * 1e-9
            }
            SketchKind::Relinearize => elements * SwitchSeconds::new(sized, op, cost).sum(),
            SketchKind::Rescale => {
                let before = limbs.left[op.dropped - 1] as f64;
                elements * components * (before * ntt + before * n * cost.pointwise_ns * 2e-9)
            }
        }
    };
    sized.sketch.operations.iter().map(of)
}

/// Seconds for one block of an element-wise sketch.
pub(crate) fn block_seconds(sized: &SizedSketch<'_>, cost: &CostTable) -> f64 {
    operation_seconds(sized, cost).sum()
}

/// Bytes of a switching key; 0 without a gadget.
fn key_bytes(sized: &SizedSketch<'_>) -> u64 {
    let bits = &sized.limbs.bits;
    let Some(choice) = sized.gadget else {
        return 0;
    };
    let digits: u64 = match choice.gadget {
        Gadget::SmallDigits { digit_bits } => {
            let digits = bits.iter().map(|&b| u64::from(digits_of(b, digit_bits)));
            digits.sum()
        }
        Gadget::SpecialPrime | Gadget::WideDigits { .. } => {
            bits.len().div_ceil(choice.digit_limbs() as usize) as u64
        }
    };
    let moduli = bits.iter().copied().chain(choice.special_sizes());
    let row: u64 = moduli.map(|b| primes::bytes_of(b) as u64).sum();
    digits * row * sized.ring_degree() as u64
}

/// Bytes that headers add to a file, roughly.
const HEADER_BYTES: u64 = 2048;
/// Memory of an evaluator in addition to what its plan needs, roughly.
pub(crate) const BASE_BYTES: u64 = 64 << 20;

/// Bytes of a plan's files and of evaluation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub upload: u64,
    pub key: u64,
    pub reply: u64,
    /// Peak of the evaluator.
    pub memory: u64,
}

impl Sizes {
    /// Adds the values of layers to a reply that was estimated without.
    pub(crate) fn add_norms(&mut self, output: &OutputLayout) {
        let logits = (self.reply - HEADER_BYTES) / output.logits.max(1) as u64;
        self.reply += logits * output.norms as u64;
    }

    /// Files of `blocks` blocks and of `keys` switching keys; `ciphertexts` gives those of a node's value. The memory is 0.
    pub(crate) fn of_files(
        sized: &SizedSketch<'_>,
        blocks: usize,
        keys: usize,
        ciphertexts: impl Fn(usize) -> usize,
    ) -> Self {
        let bytes = |op: &SketchOperation| sized.bytes(op, ciphertexts(op.node));
        let operations = &sized.sketch.operations;
        Self {
            // Half of a fresh ciphertext is a seed.
            upload: blocks as u64 * (bytes(&operations[0]) / 2) + HEADER_BYTES,
            key: match sized.gadget {
                Some(_) => keys as u64 * key_bytes(sized) + HEADER_BYTES,
                None => 0,
            },
            reply: blocks as u64 * bytes(&operations[operations.len() - 1]) + HEADER_BYTES,
            memory: 0,
        }
    }
}
