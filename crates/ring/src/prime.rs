//! Primality and the search for moduli.

/// Whether n is prime, by a deterministic Miller-Rabin test.
///
/// # Reference
/// The first twelve primes as bases decide every n below 2^64 (Sorenson and Webster, *Strong pseudoprimes to twelve
/// prime bases*, Math. Comp. 86, 2017).
pub fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    if let Some(&divisor) = BASES.iter().find(|&&p| n.is_multiple_of(p)) {
        return n == divisor;
    }
    let mul = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(n)) as u64;
    let twos = (n - 1).trailing_zeros();
    let odd = (n - 1) >> twos;
    BASES.iter().all(|&base| {
        let (mut x, mut square, mut exponent) = (1, base, odd);
        while exponent > 0 {
            if exponent & 1 == 1 {
                x = mul(x, square);
            }
            square = mul(square, square);
            exponent >>= 1;
        }
        if x == 1 || x == n - 1 {
            return true;
        }
        (1..twos).any(|_| {
            x = mul(x, x);
            x == n - 1
        })
    })
}

/// The primes q = 1 mod 4N below `limit`, the largest first.
///
/// # Panics
/// If `ring_degree` is not a power of two.
pub fn primes_below(limit: u64, ring_degree: usize) -> impl Iterator<Item = u64> {
    assert!(
        ring_degree.is_power_of_two() && ring_degree <= 1 << 40,
        "ring degree must be a power of two"
    );
    // 4N divides q - 1.
    let step = 4 * ring_degree as u64;
    // The largest number of the form 1 + k·step that is below the limit, as k.
    let top = limit.saturating_sub(2) / step;
    (1..=top)
        .rev()
        .map(move |k| 1 + k * step)
        .filter(|&q| is_prime(q))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_sieve() {
        const END: usize = 100_000;
        let mut composite = vec![false; END];
        composite[..2].fill(true);
        for i in 2..END {
            if !composite[i] {
                (i * i..END).step_by(i).for_each(|j| composite[j] = true);
            }
        }
        for (n, composite) in composite.into_iter().enumerate() {
            assert_eq!(is_prime(n as u64), !composite, "{n}");
        }
    }

    #[test]
    fn is_not_fooled_by_strong_pseudoprimes() {
        // Smallest strong pseudoprimes to the first 1, 2, 3, 4, 5, 6, 7 and 9 prime bases (OEIS A014233).
        for n in [
            2047,
            1_373_653,
            25_326_001,
            3_215_031_751,
            2_152_302_898_747,
            3_474_749_660_383,
            341_550_071_728_321,
            3_825_123_056_546_413_051,
        ] {
            assert!(!is_prime(n), "{n}");
        }
        for n in [
            2,
            4_294_967_291,
            1_125_899_906_842_597,
            18_446_744_073_709_551_557,
        ] {
            assert!(is_prime(n), "{n}");
        }
    }

    #[test]
    fn primes_below_descends_and_stays_below() {
        for log in [12, 13, 14, 15] {
            let n = 1 << log;
            let found: Vec<u64> = primes_below(1 << 32, n).take(12).collect();
            assert_eq!(found.len(), 12);
            assert!(found.windows(2).all(|w| w[0] > w[1]));
            assert!(
                found
                    .iter()
                    .all(|&q| q < 1 << 32 && q % (4 * n as u64) == 1 && is_prime(q))
            );
        }
        // The limit itself is excluded, the number below it is not.
        assert_eq!(primes_below(65537, 1 << 14).next(), None);
        assert_eq!(primes_below(65538, 1 << 14).next(), Some(65537));
        assert_eq!(primes_below(0, 16).next(), None);
        assert_eq!(
            primes_below(1 << 18, 16).count(),
            (1..1 << 18).filter(|&q| q % 64 == 1 && is_prime(q)).count()
        );
    }
}
