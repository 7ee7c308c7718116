//! The automorphisms of the conjugate-invariant ring, which move slots.
//!
//! X → X^g, g odd, maps X + 1/X to X^g + X^-g, and g and -g do the same. The group of odd g mod 4N up to sign is
//! cyclic of order N with generator 5, so every automorphism is X → X^(5^s) for one `steps` s below N. Listing the
//! evaluation points ζ^(5^p) by p makes each of them a cyclic shift: see [`rotation_order`].
//!
//! In evaluation form an automorphism is a permutation, the same one modulo every prime. Position t holds the value at
//! ζ^(4·r(t)+1), r reversing bits (`ntt`), and 5^s is 1 mod 4, so the value for position t comes from the t' with
//! r(t') = 5^s·r(t) + (5^s - 1)/4 mod N. The low bits of r(t') depend on the low bits of r(t) only: a block of
//! 2^k positions comes from one block, for every k. Blocks of eight are moved at a time.

use std::ops::Range;

use crate::{
    Error,
    backend::{
        Backend,
        limb::{BLOCK, BlockSource},
    },
    error::check_ring_degree,
};

/// The automorphism X → X^(5^s) as a permutation of evaluations.
///
/// # Cost
/// 1.5 bytes of tables a coefficient.
#[derive(Clone)]
pub struct Automorphism {
    ring_degree: usize,
    steps: usize,
    sources: Vec<BlockSource>,
}

impl Automorphism {
    /// The automorphism X → X^(5^s); `steps` counts modulo N.
    ///
    /// # Errors
    /// [`Error::RingDegree`] if N is not a power of two from 2^4 to 2^16.
    pub fn new(ring_degree: usize, steps: usize) -> Result<Self, Error> {
        check_ring_degree(ring_degree)?;
        let steps = steps % ring_degree;
        let exponent = power_of_five(ring_degree, steps);
        let reverse = |t: usize| t.reverse_bits() >> (usize::BITS - ring_degree.trailing_zeros());
        let source = |t: usize| {
            let exponent = exponent * (4 * reverse(t) + 1) % (4 * ring_degree);
            reverse((exponent - 1) / 4)
        };
        let sources = (0..ring_degree)
            .step_by(BLOCK)
            .map(|start| BlockSource {
                block: (source(start) / BLOCK) as u32,
                places: std::array::from_fn(|k| (source(start + k) % BLOCK) as u8),
            })
            .collect();
        Ok(Self {
            ring_degree,
            steps,
            sources,
        })
    }

    /// The ring degree N.
    pub fn ring_degree(&self) -> usize {
        self.ring_degree
    }

    /// The s of 5^s, below N.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The image of a polynomial, both in evaluation form.
    ///
    /// # Panics
    /// If a slice is not N long.
    pub fn apply_into(&self, backend: &Backend, evaluations: &[u64], image: &mut [u64]) {
        for length in [evaluations.len(), image.len()] {
            assert_eq!(
                length, self.ring_degree,
                "a limb has as many residues as the ring degree"
            );
        }
        backend
            .limb
            .permute_blocks(&self.sources, 0, evaluations, image);
    }

    /// Where a strip of positions of an image comes from: a strip of the same length.
    ///
    /// # Panics
    /// If the length is not a power of two of at least 8 that the start is a multiple of, or ends above N.
    pub fn source_of(&self, strip: Range<usize>) -> Range<usize> {
        let length = strip.len();
        assert!(
            length.is_power_of_two()
                && length >= BLOCK
                && strip.start.is_multiple_of(length)
                && strip.end <= self.ring_degree,
            "positions {strip:?} are no aligned strip of {}",
            self.ring_degree
        );
        let inside = self.sources[strip.start / BLOCK].block as usize * BLOCK;
        let start = inside - inside % length;
        start..start + length
    }

    /// A strip of positions of the image, from the evaluations at the positions [`source_of`](Self::source_of) it.
    ///
    /// # Panics
    /// As `source_of`, and if a slice is not as long as the strip.
    pub fn apply_strip_into(
        &self,
        backend: &Backend,
        strip: Range<usize>,
        evaluations: &[u64],
        image: &mut [u64],
    ) {
        let first = self.source_of(strip.clone()).start / BLOCK;
        for length in [evaluations.len(), image.len()] {
            assert_eq!(length, strip.len(), "residues of a strip");
        }
        let sources = &self.sources[strip.start / BLOCK..strip.end / BLOCK];
        backend
            .limb
            .permute_blocks(sources, first as u32, evaluations, image);
    }
}

impl std::fmt::Debug for Automorphism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Automorphism(N = {}, 5^{})",
            self.ring_degree, self.steps
        )
    }
}

/// The slots in the order in which automorphisms are cyclic shifts.
///
/// Slot j is the value at ζ^(2j+1) with ζ = exp(iπ/2N). Entry p is the j with 2j + 1 = ±5^p mod 4N. If v_p is slot
/// `order[p]` of a polynomial, slot `order[p]` of its image under 5^s is v_(p+s), indices modulo N: the vector v
/// rotated to the left by s.
///
/// # Panics
/// If N is not a power of two from 2^4 to 2^16.
pub fn rotation_order(ring_degree: usize) -> Vec<u32> {
    check_ring_degree(ring_degree).expect("a power of two from 2^4 to 2^16");
    let mut exponent = 1;
    (0..ring_degree)
        .map(|_| {
            let positive = exponent.min(4 * ring_degree - exponent);
            exponent = 5 * exponent % (4 * ring_degree);
            ((positive - 1) / 2) as u32
        })
        .collect()
}

/// 5^s mod 4N.
fn power_of_five(ring_degree: usize, steps: usize) -> usize {
    (0..steps).fold(1, |power, _| 5 * power % (4 * ring_degree))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_lists_every_slot_once() {
        for log in 4..=16 {
            let order = rotation_order(1 << log);
            let mut seen = vec![false; 1 << log];
            for &slot in &order {
                assert!(!std::mem::replace(&mut seen[slot as usize], true));
            }
        }
        // 5^p mod 64 = 1, 5, 25, 61, 49, 53, 9, 45, … up to sign, for N = 16.
        assert_eq!(rotation_order(16)[..8], [0, 2, 12, 1, 7, 5, 4, 9]);
    }

    #[test]
    fn strips_come_from_strips() {
        for (log, steps) in [(4, 1), (4, 15), (7, 3), (10, 511), (10, 1000)] {
            let n = 1usize << log;
            let automorphism = Automorphism::new(n, steps).unwrap();
            let evaluations: Vec<u64> = (0..n as u64).collect();
            for backend in crate::backend::available() {
                let mut image = vec![0; n];
                automorphism.apply_into(backend, &evaluations, &mut image);
                for length in [8, 16, n / 2, n] {
                    let mut strip_image = vec![0; length];
                    for start in (0..n).step_by(length) {
                        let strip = start..start + length;
                        let source = &evaluations[automorphism.source_of(strip.clone())];
                        automorphism.apply_strip_into(
                            backend,
                            strip.clone(),
                            source,
                            &mut strip_image,
                        );
                        assert_eq!(strip_image, image[strip]);
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_come_from_blocks() {
        for (log, steps) in [(4, 1), (4, 15), (7, 3), (13, 8191), (13, 4096), (16, 12345)] {
            let n = 1usize << log;
            let automorphism = Automorphism::new(n, steps).unwrap();
            let exponent = power_of_five(n, steps);
            let reverse = |t: usize| t.reverse_bits() >> (usize::BITS - log);
            for t in 0..n {
                let source = &automorphism.sources[t / BLOCK];
                let from = source.block as usize * BLOCK + usize::from(source.places[t % BLOCK]);
                let expected = exponent * (4 * reverse(t) + 1) % (4 * n);
                assert_eq!(4 * reverse(from) + 1, expected, "N = {n}, position {t}");
            }
        }
    }
}
