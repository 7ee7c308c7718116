//! Choosing the primes of a modulus chain from the bits that a sketch needs.
//!
//! Every prime stands just below a power of two: the uniform half of a ciphertext is expanded by rejection from as many
//! bits as the prime has, and so hardly ever rejects. The cost depends on the bytes of a coefficient, not on its bits.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use sordino_ring::primes_below;

/// Bits of the largest primes that the transforms take.
pub(crate) const MAX_PRIME_BITS: u32 = 49;
/// How many sizes of primes, from the smallest on, are scarce: a chain may need more primes than there are.
const SCARCE_SIZES: usize = 5;
/// Cost of the transforms of a limb, in stored bytes of a coefficient.
const LIMB_COST: f64 = 0.33;

/// Bits of the smallest useful prime of ring degree `n`: primes ≡ 1 (mod 4N) need some room above 4N.
pub(crate) fn min_prime_bits(ring_degree: usize) -> u32 {
    (4 * ring_degree).ilog2() + 3
}

/// Bits of primes whose product has at least `bits` bits: fewest stored bytes first, then fewest limbs. `None` below the
/// smallest prime.
pub(crate) fn split(bits: f64, ring_degree: usize) -> Option<Vec<u32>> {
    let smallest = min_prime_bits(ring_degree);
    let needed = bits.ceil() as u32;
    let mut best: Option<(f64, Vec<u32>)> = None;
    for count in 1..=(needed / smallest).min(64) {
        let Some(parts) = split_into(needed, count, smallest) else {
            continue;
        };
        let bytes: usize = parts.iter().map(|&bits| bytes_of(bits)).sum();
        let cost = bytes as f64 + LIMB_COST * f64::from(count);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, parts));
        }
    }
    best.map(|(_, parts)| parts)
}

/// `count` primes of `needed` bits together, in as few whole bytes as possible.
fn split_into(needed: u32, count: u32, smallest: u32) -> Option<Vec<u32>> {
    let (least, most) = (
        needed.div_ceil(8).max(count * smallest.div_ceil(8)),
        count * MAX_PRIME_BITS.div_ceil(8),
    );
    (least..=most).find_map(|bytes| {
        let mut parts: Vec<u32> = (0..count)
            .map(|i| (8 * (bytes / count + u32::from(i < bytes % count))).min(MAX_PRIME_BITS))
            .collect();
        let mut spare = parts.iter().sum::<u32>().checked_sub(needed)?;
        while spare > 0 {
            let largest = parts.iter_mut().max_by_key(|bits| **bits)?;
            *largest -= 1;
            spare -= 1;
        }
        Some(parts)
    })
}

/// Bytes of a packed residue modulo a prime of `bits` bits.
pub(crate) fn bytes_of(bits: u32) -> usize {
    bits.div_ceil(8) as usize
}

/// Whether there are that many primes of every size.
///
/// Only the smallest sizes run short: of 17 bits there are two primes that are 1 modulo 4 · 2^12, of 19 bits none.
pub(crate) fn suffice(bits: &[u32], ring_degree: usize) -> bool {
    let counts = scarce_primes(ring_degree);
    counts
        .iter()
        .zip(min_prime_bits(ring_degree)..)
        .all(|(&available, size)| bits.iter().filter(|&&b| b == size).count() <= available)
}

/// Sizes of `count` primes of `bits` bits together.
pub(crate) fn even_sizes(count: u32, bits: u32) -> impl Iterator<Item = u32> {
    (0..count).map(move |i| bits / count + u32::from(i < bits % count))
}

/// The most bits, up to `most`, of `count` special primes together for a chain of these sizes.
pub(crate) fn special_bits(
    count: u32,
    most: u32,
    chain: &[u32],
    ring_degree: usize,
) -> Option<u32> {
    let least = count * min_prime_bits(ring_degree);
    (least..=most.min(count * MAX_PRIME_BITS))
        .rev()
        .find(|&bits| {
            let sizes = even_sizes(count, bits);
            let all: Vec<u32> = chain.iter().copied().chain(sizes).collect();
            suffice(&all, ring_degree)
        })
}

/// How many primes there are of the smallest size and the next few.
fn scarce_primes(ring_degree: usize) -> [usize; SCARCE_SIZES] {
    static COUNTS: OnceLock<Mutex<HashMap<usize, [usize; SCARCE_SIZES]>>> = OnceLock::new();
    let counts = COUNTS.get_or_init(Mutex::default);
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    *counts.entry(ring_degree).or_insert_with(|| {
        let mut sizes = [0; SCARCE_SIZES];
        for (count, bits) in sizes.iter_mut().zip(min_prime_bits(ring_degree)..) {
            let of_size = |prime: &u64| prime.ilog2() + 1 == bits;
            *count = primes_below(1 << bits, ring_degree)
                .take_while(of_size)
                .count();
        }
        sizes
    })
}

/// A concrete chain: base primes first, then the rescale groups in the order in which they are *not* yet dropped, so
/// that the group dropped first stands last.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub primes: Vec<u64>,
    /// Primes of each rescale group, first dropped first.
    pub group_sizes: Vec<usize>,
    /// Product of each group, first dropped first.
    pub divisors: Vec<f64>,
}

/// Finds primes for a modulus of `base_bits` and rescale groups of `group_bits`.
pub(crate) fn chain(base_bits: f64, group_bits: &[f64], ring_degree: usize) -> Option<Chain> {
    let mut taken: Vec<u64> = Vec::new();
    let mut primes_of = |bits: f64| -> Option<Vec<u64>> {
        let start = taken.len();
        for bits in split(bits, ring_degree)? {
            taken.push(below(bits, ring_degree, &taken)?);
        }
        Some(taken[start..].to_vec())
    };
    let base = primes_of(base_bits)?;
    let groups = group_bits.iter().map(|&bits| primes_of(bits));
    let groups: Vec<Vec<u64>> = groups.collect::<Option<_>>()?;
    let product = |group: &Vec<u64>| group.iter().map(|&q| q as f64).product();
    Some(Chain {
        group_sizes: groups.iter().map(Vec::len).collect(),
        divisors: groups.iter().map(product).collect(),
        primes: base
            .into_iter()
            .chain(groups.into_iter().rev().flatten())
            .collect(),
    })
}

/// The largest prime of `bits` bits outside `taken`.
fn below(bits: u32, ring_degree: usize, taken: &[u64]) -> Option<u64> {
    primes_below(1 << bits, ring_degree)
        .find(|prime| !taken.contains(prime))
        .filter(|prime| prime.ilog2() + 1 == bits)
}

/// Primes of these bits outside a chain.
pub(crate) fn special(
    sizes: impl Iterator<Item = u32>,
    ring_degree: usize,
    chain: &[u64],
) -> Option<Vec<u64>> {
    let mut taken = chain.to_vec();
    for bits in sizes {
        taken.push(below(bits, ring_degree, &taken)?);
    }
    Some(taken.split_off(chain.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(parts: &[u32]) -> usize {
        parts.iter().map(|&bits| bytes_of(bits)).sum()
    }

    #[test]
    fn split_takes_the_fewest_bytes() {
        for (bits, expected) in [
            (59.0, 8),
            (38.0, 5),
            (63.2, 8),
            (64.01, 9),
            (54.0, 7),
            (97.0, 13),
        ] {
            let parts = split(bits, 4096).unwrap();
            assert_eq!(bytes(&parts), expected, "{bits}: {parts:?}");
            assert!(f64::from(parts.iter().sum::<u32>()) >= bits);
        }
        assert_eq!(split(38.0, 4096).unwrap(), vec![38]);
        assert_eq!(split(64.0, 4096).unwrap(), vec![32, 32]);
        assert!(split(10.0, 4096).is_none());
        for bits in 17..400_u32 {
            let parts = split(f64::from(bits), 4096).unwrap();
            assert!(parts.iter().all(|b| (17..=MAX_PRIME_BITS).contains(b)));
            assert!((bits..bits + 8).contains(&parts.iter().sum()), "{bits}");
        }
    }

    #[test]
    fn chains_of_more_small_primes_than_there_are_do_not_suffice() {
        // 65,537 and 114,689 are the primes of 17 bits that are 1 modulo 16,384.
        assert!(suffice(&[17, 17, 30], 4096));
        assert!(!suffice(&[17, 17, 17], 4096));
        assert_eq!(special_bits(1, 19, &[17, 30], 4096), Some(18));
        assert_eq!(special_bits(1, 17, &[17, 17], 4096), None);
        assert_eq!(special_bits(1, 60, &[49], 4096), Some(49));
        assert_eq!(special_bits(2, 60, &[49], 4096), Some(60));
        assert_eq!(special_bits(2, 200, &[49], 4096), Some(98));
        assert_eq!(special_bits(3, 50, &[49], 4096), None);
        // What suffices can be found.
        for bits in [17, 18, 19, 20, 21, 22, 30] {
            let fits = |count: &usize| suffice(&vec![bits; *count], 4096);
            for count in (1..9).take_while(fits) {
                assert!(chain(60.0, &vec![f64::from(bits); count], 4096).is_some());
            }
        }
    }

    #[test]
    fn primes_stand_just_below_powers_of_two() {
        let chain = chain(59.3, &[38.0, 79.0], 4096).unwrap();
        assert_eq!(chain.group_sizes, vec![1, 2]);
        for &prime in &chain.primes {
            let bits = f64::from(prime.ilog2() + 1);
            assert!(bits - (prime as f64).log2() < 0.05, "{prime}");
        }
        let base: f64 = chain.primes[..2].iter().map(|&q| (q as f64).log2()).sum();
        assert!((59.3..60.5).contains(&base), "{base}");
        assert!((chain.divisors[0].log2() - 38.0).abs() < 1e-3);
        assert!((chain.divisors[1].log2() - 79.0).abs() < 1e-2);
        // The group dropped first stands last.
        assert_eq!(*chain.primes.last().unwrap() as f64, chain.divisors[0]);
        let mut sorted = chain.primes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), chain.primes.len());
    }
}
