//! The modulus of a candidate: the sizes of its limbs, and the gadget of its evaluation key.

use sordino_ckks::Gadget;

use crate::network::Network;
use crate::primes::{self, Chain};
use crate::sketch::{Sketch, SketchOperation};

/// Limbs of the widest digits that are tried.
const MOST_DIGIT_LIMBS: u32 = 6;

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

/// The gadget of a candidate: which, how many special primes, and the bits of all of them together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GadgetChoice {
    pub gadget: Gadget,
    pub special_primes: u32,
    pub special_bits: u32,
}

impl GadgetChoice {
    /// Gadgets with digits of whole limbs and special primes of at most `spare` bits together: by limbs of a digit, and for each the
    /// fewest special primes first, which cost less time and leave more noise.
    ///
    /// Of as many primes a larger product costs no time, and more than `beyond` bits beyond those of a digit are of no use.
    pub(crate) fn with_special_primes(
        limbs: &Limbs,
        spare: u32,
        beyond: u32,
        ring_degree: usize,
    ) -> Vec<Vec<Self>> {
        let bits = &limbs.bits;
        let of_width = |width: u32| {
            let digits = bits.chunks(width as usize).map(|group| group.iter().sum());
            let digit: u32 = digits.max().unwrap_or(0);
            let most = digit.saturating_add(beyond).min(spare);
            let mut before = 0;
            let with_primes = |special_primes: u32| {
                let found = primes::special_bits(special_primes, most, bits, ring_degree);
                let special_bits = found.filter(|&found| found > before)?;
                before = special_bits;
                let gadget = match (width, special_primes) {
                    (1, 1) => Gadget::SpecialPrime,
                    _ => Gadget::WideDigits { limbs: width },
                };
                Some(Self {
                    gadget,
                    special_primes,
                    special_bits,
                })
            };
            (1..=width).map_while(with_primes).collect()
        };
        let widest = MOST_DIGIT_LIMBS.min(bits.len() as u32);
        (1..=widest).map(of_width).collect()
    }

    pub(crate) const fn small_digits(digit_bits: u32) -> Self {
        Self {
            gadget: Gadget::SmallDigits { digit_bits },
            special_primes: 0,
            special_bits: 0,
        }
    }

    /// Limbs of a digit; 0 for parts of a limb.
    pub(crate) const fn digit_limbs(self) -> u32 {
        match self.gadget {
            Gadget::SpecialPrime => 1,
            Gadget::WideDigits { limbs } => limbs,
            Gadget::SmallDigits { .. } => 0,
        }
    }

    /// Bits of each special prime.
    pub(crate) fn special_sizes(self) -> impl Iterator<Item = u32> {
        primes::even_sizes(self.special_primes, self.special_bits)
    }
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
