//! The modulus of a candidate: the sizes of its limbs, and the gadget of its evaluation key.

use sordino_ckks::Gadget;

use crate::network::Network;
use crate::primes::{self, Chain};
use crate::sketch::{Sketch, SketchOperation};

/// Sizes of the limbs of a candidate's chain.
#[derive(Clone, Debug)]
pub(crate) struct Limbs {
    /// Bits of each prime, base first.
    pub bits: Vec<u32>,
    /// Limbs left after d rescale groups.
    pub left: Vec<usize>,
}

impl Limbs {
    /// The sizes that the splitting rule chooses, without looking for primes.
    pub(crate) fn ideal(sketch: &Sketch) -> Option<Self> {
        let ring_degree = sketch.ring_degree;
        let base = primes::split(sketch.base_bits, ring_degree)?;
        let split = |divisor: &f64| primes::split(divisor.log2(), ring_degree);
        let groups: Vec<Vec<u32>> = sketch.divisors.iter().map(split).collect::<Option<_>>()?;
        let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
        let bits = base.into_iter().chain(groups.into_iter().rev().flatten());
        let limbs = Self::new(bits.collect(), &sizes);
        primes::suffice(&limbs.bits, ring_degree).then_some(limbs)
    }

    /// The sizes of real primes.
    pub(crate) fn of(chain: &Chain) -> Self {
        let bits = chain.primes.iter().map(|&q| q.ilog2() + 1).collect();
        Self::new(bits, &chain.group_sizes)
    }

    /// Limbs of these sizes; groups of them are dropped from the end.
    fn new(bits: Vec<u32>, group_sizes: &[usize]) -> Self {
        let mut left = vec![bits.len()];
        left.extend(group_sizes.iter().scan(bits.len(), |left, size| {
            *left -= size;
            Some(*left)
        }));
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
}

/// The gadget of a candidate: which, and log2 of the special modulus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GadgetChoice {
    pub gadget: Gadget,
    pub special_bits: u32,
}

/// Balanced digits of `digit_bits` bits in a residue modulo a prime of `bits` bits.
pub(crate) fn digits_of(bits: u32, digit_bits: u32) -> u32 {
    bits.div_ceil(digit_bits)
}

/// A sketch of a network with the sizes of its primes and the gadget of its key.
#[derive(Clone, Copy)]
pub(crate) struct SizedSketch<'a> {
    pub network: &'a Network,
    pub sketch: &'a Sketch,
    pub limbs: &'a Limbs,
    pub gadget: Option<GadgetChoice>,
}

impl SizedSketch<'_> {
    /// The sketch with another gadget.
    pub(crate) fn with(self, gadget: GadgetChoice) -> Self {
        let gadget = Some(gadget);
        Self { gadget, ..self }
    }

    pub(crate) fn ring_degree(&self) -> usize {
        self.sketch.ring_degree
    }

    /// Bits of the limbs of an operation's result.
    pub(crate) fn bits(&self, operation: &SketchOperation) -> &[u32] {
        &self.limbs.bits[..self.limbs.left[operation.dropped]]
    }

    /// Stored bytes of `ciphertexts` ciphertexts that an operation makes.
    pub(crate) fn bytes(&self, operation: &SketchOperation, ciphertexts: usize) -> u64 {
        let polynomials = ciphertexts * operation.components;
        (polynomials * self.ring_degree() * self.limbs.bytes(operation.dropped)) as u64
    }
}
