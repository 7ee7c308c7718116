//! Choosing the primes of a modulus chain from the bits that the schedule needs.

use sordino_ring::prime_near;

/// Largest prime the transforms take.
const MAX_PRIME_BITS: f64 = 49.9;

/// Smallest useful prime of ring degree `n`: primes ≡ 1 (mod 4N) need some room above 4N.
pub(crate) fn min_prime_bits(ring_degree: usize) -> f64 {
    (4 * ring_degree) as f64 * 8.0
}

/// Splits `bits` of modulus into primes: fewest stored bytes first, then fewest limbs. `None` below the smallest prime.
pub(crate) fn split(bits: f64, ring_degree: usize) -> Option<Vec<f64>> {
    let smallest = min_prime_bits(ring_degree).log2();
    if bits < smallest {
        return None;
    }
    let mut best: Option<(f64, Vec<f64>)> = None;
    for count in 1..=64usize {
        let each = bits / count as f64;
        if each < smallest {
            break;
        }
        if each > MAX_PRIME_BITS {
            continue;
        }
        // A limb costs transforms as well as bytes; a third of a byte is about what the transforms weigh.
        let cost = count as f64 * (bytes_of(each) as f64 + 0.33);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, vec![each; count]));
        }
    }
    best.map(|(_, parts)| parts)
}

/// Bytes of a packed residue modulo a prime of `bits` bits.
pub(crate) fn bytes_of(bits: f64) -> usize {
    // A target on a byte boundary may be met by a prime just above it: leave a hair's breadth.
    ((bits + 0.001) / 8.0).ceil() as usize
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

/// Finds primes for `base_bits` (at least) and for divisors as close as possible to 2^`group_bits`.
pub(crate) fn chain(base_bits: f64, group_bits: &[f64], ring_degree: usize) -> Option<Chain> {
    let mut taken: Vec<u64> = Vec::new();
    let mut pick = |target: f64| -> Option<u64> {
        let prime = prime_near(target, ring_degree, &taken)?;
        taken.push(prime);
        Some(prime)
    };
    // The base must not fall short: aim a little above.
    let base_parts = split(base_bits + 0.002, ring_degree)?;
    let base: Vec<u64> = base_parts
        .iter()
        .map(|bits| pick(bits.exp2()))
        .collect::<Option<_>>()?;
    let mut groups: Vec<Vec<u64>> = Vec::new();
    for &bits in group_bits {
        let parts = split(bits, ring_degree)?;
        let mut rest = bits.exp2();
        let mut group = Vec::new();
        for (index, _) in parts.iter().enumerate() {
            // Each prime takes up what the earlier ones missed.
            let prime = pick(rest.powf(1.0 / (parts.len() - index) as f64))?;
            rest /= prime as f64;
            group.push(prime);
        }
        groups.push(group);
    }
    let divisors = groups
        .iter()
        .map(|g| g.iter().map(|&q| q as f64).product())
        .collect();
    let group_sizes = groups.iter().map(Vec::len).collect();
    let primes = base
        .into_iter()
        .chain(groups.into_iter().rev().flatten())
        .collect();
    Some(Chain {
        primes,
        group_sizes,
        divisors,
    })
}

/// One prime of about `bits` bits outside `taken`.
pub(crate) fn special(bits: u32, ring_degree: usize, taken: &[u64]) -> Option<u64> {
    if f64::from(bits) < min_prime_bits(ring_degree).log2() {
        return None;
    }
    prime_near(f64::from(bits).exp2(), ring_degree, taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_prefers_whole_bytes() {
        assert_eq!(split(59.0, 4096).unwrap().len(), 2);
        assert_eq!(split(38.0, 4096).unwrap(), vec![38.0]);
        assert!(split(10.0, 4096).is_none());
        assert!(split(80.0, 4096).unwrap().iter().all(|&b| b <= 50.0));
    }

    #[test]
    fn chain_meets_its_targets() {
        let chain = chain(59.3, &[38.0, 79.0], 4096).unwrap();
        let base: f64 = chain.primes[..2].iter().map(|&q| (q as f64).log2()).sum();
        assert!((59.3..59.5).contains(&base), "{base}");
        assert_eq!(chain.group_sizes, vec![1, 2]);
        assert!((chain.divisors[0].log2() - 38.0).abs() < 1e-4);
        assert!((chain.divisors[1].log2() - 79.0).abs() < 1e-3);
        // The group dropped first stands last.
        assert_eq!(*chain.primes.last().unwrap() as f64, chain.divisors[0]);
        let mut sorted = chain.primes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), chain.primes.len());
    }
}
