//! Time, memory and bytes of a candidate, from the cost table.

use serde::{Deserialize, Serialize};
use sordino_ckks::Gadget;

use crate::cost::CostTable;
use crate::network::{Network, NodeKind};
use crate::noise::digits_of;
use crate::primes::{self, Chain};
use crate::schedule::{Choice, Kind, Sketch};

/// What a plan is expected to cost; printed before anything runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Evaluation of one whole batch, all threads of the machine of the cost table.
    pub evaluate_seconds: f64,
    /// Peak memory of the evaluator, within the limit that the plan was compiled for.
    pub memory_bytes: u64,
    /// Most that the evaluator keeps outside of memory to stay within that limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scratch_bytes: u64,
    /// Request file.
    pub upload_bytes: u64,
    /// Evaluation key file; 0 where the plan needs none.
    pub key_bytes: u64,
    /// Reply file.
    pub reply_bytes: u64,
    /// −log2 of the worst error of a logit of the batch against the clear integer engine.
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

/// Sizes of the limbs of a candidate's chain.
#[derive(Clone, Debug)]
pub(crate) struct Limbs {
    /// Bits of each prime, base first.
    pub bits: Vec<u32>,
    /// Limbs left after d rescale groups.
    pub left: Vec<usize>,
}

impl Limbs {
    /// As the splitting rule would choose, without looking for primes.
    pub(crate) fn ideal(sketch: &Sketch, ring_degree: usize) -> Option<Self> {
        let base = primes::split(sketch.base_bits, ring_degree)?;
        let groups: Option<Vec<Vec<u32>>> = sketch
            .divisors
            .iter()
            .map(|d| primes::split(d.log2(), ring_degree))
            .collect();
        let limbs = Self::assemble(base, groups?);
        primes::suffice(&limbs.bits, ring_degree).then_some(limbs)
    }

    /// Of primes that were found.
    pub(crate) fn of(chain: &Chain) -> Self {
        let bits: Vec<u32> = chain.primes.iter().map(|&q| q.ilog2() + 1).collect();
        let mut left = vec![bits.len()];
        for size in &chain.group_sizes {
            left.push(left[left.len() - 1] - size);
        }
        Limbs { bits, left }
    }

    fn assemble(base: Vec<u32>, groups: Vec<Vec<u32>>) -> Self {
        let total = base.len() + groups.iter().map(Vec::len).sum::<usize>();
        let mut left = vec![total];
        for group in &groups {
            left.push(left[left.len() - 1] - group.len());
        }
        let bits = base
            .into_iter()
            .chain(groups.into_iter().rev().flatten())
            .collect();
        Limbs { bits, left }
    }

    /// Bits of the modulus, rounded up.
    pub(crate) fn log2_q(&self) -> u32 {
        self.bits.iter().sum()
    }

    /// Stored bytes of one coefficient after `dropped` groups.
    pub(crate) fn bytes(&self, dropped: usize) -> usize {
        self.bits[..self.left[dropped]]
            .iter()
            .map(|&b| primes::bytes_of(b))
            .sum()
    }

    /// Stored bytes of all elements of an operation's result, one block.
    fn value_bytes(
        &self,
        elements: usize,
        components: usize,
        dropped: usize,
        ring_degree: usize,
    ) -> u64 {
        (elements * components * ring_degree) as u64 * self.bytes(dropped) as u64
    }
}

/// The gadget of a candidate: which, and log2 of the special modulus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GadgetChoice {
    pub gadget: Gadget,
    pub special_bits: u32,
}

/// Seconds to relinearize one ciphertext with `limbs` limbs.
pub(crate) fn relinearize_seconds(
    cost: &CostTable,
    gadget: GadgetChoice,
    bits: &[u32],
    ring_degree: usize,
) -> f64 {
    let limbs = bits.len() as f64;
    let (transforms, products) = match gadget.gadget {
        Gadget::SpecialPrime => (
            limbs * limbs + 3.0 * limbs + 2.0,
            2.0 * limbs * (limbs + 1.0),
        ),
        Gadget::SmallDigits { digit_bits } => {
            let digits: f64 = bits
                .iter()
                .map(|&b| f64::from(digits_of(b, digit_bits)))
                .sum();
            (limbs + digits * limbs, 2.0 * digits * limbs)
        }
    };
    transforms * cost.ntt_seconds(ring_degree)
        + products * ring_degree as f64 * cost.pointwise_ns * 1e-9
}

/// Seconds for one block of a sketch.
pub(crate) fn block_seconds(
    network: &Network,
    cost: &CostTable,
    choice: &Choice,
    sketch: &Sketch,
    limbs: &Limbs,
    gadget: Option<GadgetChoice>,
) -> f64 {
    let n = choice.ring_degree as f64;
    let pointwise = |residues: f64| residues * cost.pointwise_ns * 1e-9;
    let ntt = cost.ntt_seconds(choice.ring_degree);
    sketch
        .operations
        .iter()
        .map(|op| {
            let info = &network.nodes[op.node];
            let elements = info.elements as f64;
            let components = op.components as f64;
            let left = limbs.left[op.dropped];
            match op.kind {
                Kind::Input => elements * n * limbs.bytes(0) as f64 * cost.expand_ns * 1e-9,
                Kind::Linear => {
                    let passes = if info.wide { 2.0 } else { 1.0 };
                    info.macs as f64 * components * n * limbs.bytes(op.dropped) as f64 * passes
                        / (cost.linear_gmacs * 1e9)
                }
                Kind::Square => pointwise(5.0 * elements * n * left as f64),
                Kind::Relinearize => gadget.map_or(0.0, |gadget| {
                    elements
                        * relinearize_seconds(cost, gadget, &limbs.bits[..left], choice.ring_degree)
                }),
                Kind::Rescale => {
                    let before = limbs.left[op.dropped - 1] as f64;
                    elements * components * (before * ntt + before * n * cost.pointwise_ns * 2e-9)
                }
            }
        })
        .sum()
}

/// Bytes of an evaluation key for parameters with these limbs.
pub(crate) fn key_bytes(limbs: &Limbs, gadget: GadgetChoice, ring_degree: usize) -> u64 {
    let chain: u64 = limbs.bits.iter().map(|&b| primes::bytes_of(b) as u64).sum();
    let (digits, row) = match gadget.gadget {
        Gadget::SpecialPrime => (
            limbs.bits.len() as u64,
            chain + u64::from(gadget.special_bits).div_ceil(8),
        ),
        Gadget::SmallDigits { digit_bits } => (
            limbs
                .bits
                .iter()
                .map(|&b| u64::from(digits_of(b, digit_bits)))
                .sum(),
            chain,
        ),
    };
    digits * row * ring_degree as u64
}

/// Bytes that headers add to a file, roughly.
pub(crate) const HEADER_BYTES: u64 = 2048;
/// Memory of an evaluator beside what its plan asks for, roughly.
pub(crate) const BASE_BYTES: u64 = 64 << 20;

/// Upload, key and reply of a batch of `blocks` blocks.
pub(crate) fn sizes(
    network: &Network,
    choice: &Choice,
    sketch: &Sketch,
    limbs: &Limbs,
    gadget: Option<GadgetChoice>,
    blocks: usize,
) -> (u64, u64, u64) {
    let n = choice.ring_degree;
    let bytes_of = |op: &crate::schedule::Operation| {
        limbs.value_bytes(
            network.nodes[op.node].elements,
            op.components,
            op.dropped,
            n,
        )
    };
    let input = &sketch.operations[0];
    debug_assert!(matches!(network.nodes[input.node].kind, NodeKind::Input));
    let upload = blocks as u64 * (bytes_of(input) / 2) + HEADER_BYTES;
    let last = &sketch.operations[sketch.operations.len() - 1];
    let reply = blocks as u64 * bytes_of(last) + HEADER_BYTES;
    let key = gadget.map_or(0, |gadget| key_bytes(limbs, gadget, n) + HEADER_BYTES);
    (upload, key, reply)
}
