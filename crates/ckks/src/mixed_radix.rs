//! Exact centred integers from residues.

use sordino_ring::Modulus;
use sordino_ring::backend::Backend;

/// Balanced mixed-radix conversion for a group of primes p_0, p_1, …
///
/// An integer in (−P/2, P/2), P the product of the group, is d_0 + p_0 (d_1 + p_1 (d_2 + …)) with digits
/// |d_k| < p_k / 2 in exactly one way, because all primes are odd. Small integers have zero high digits. A digit is
/// stored as d_k + (p_k − 1) / 2, which is not negative: these are the plain digits of the integer plus (P − 1) / 2.
#[derive(Clone, Debug)]
pub struct MixedRadix {
    primes: Vec<Prime>,
}

/// What the digit of a prime is computed with, modulo that prime.
#[derive(Clone, Debug)]
struct Prime {
    modulus: Modulus,
    /// 1 / (p_0 … p_{k−1}).
    inverse: u64,
    /// (P − 1) / 2 times the inverse.
    offset: u64,
    /// −1 / (p_j … p_{k−1}) for j < k.
    lower: Vec<u64>,
}

impl MixedRadix {
    /// The conversion for a group of distinct primes.
    ///
    /// # Panics
    /// If the group is empty or a prime occurs twice.
    pub fn new(primes: Vec<Modulus>) -> Self {
        assert!(!primes.is_empty(), "a group has at least one prime");
        let of_prime = |(k, &modulus): (usize, &Modulus)| {
            let product = |primes: &[Modulus]| {
                primes.iter().fold(1, |product, prime| {
                    modulus.mul(product, modulus.reduce_u64(prime.value()))
                })
            };
            let inverse = modulus.inv(product(&primes[..k]));
            // P is 0 modulo the prime, so that (P - 1) / 2 is -1 / 2.
            let half = modulus.neg(modulus.inv(2));
            Prime {
                modulus,
                inverse,
                offset: modulus.mul(half, inverse),
                lower: (0..k)
                    .map(|j| modulus.neg(modulus.inv(product(&primes[j..k]))))
                    .collect(),
            }
        };
        Self {
            primes: primes.iter().enumerate().map(of_prime).collect(),
        }
    }

    /// The number of primes in the group.
    pub fn len(&self) -> usize {
        self.primes.len()
    }

    /// Whether the group is empty.
    pub fn is_empty(&self) -> bool {
        self.primes.is_empty()
    }

    /// The primes of the group.
    pub fn primes(&self) -> impl DoubleEndedIterator<Item = &Modulus> + ExactSizeIterator {
        self.primes.iter().map(|prime| &prime.modulus)
    }

    /// The product of the group as a float.
    pub fn product(&self) -> f64 {
        self.primes().map(|p| p.value() as f64).product()
    }

    /// The digits of integers given by their residues.
    ///
    /// # Shapes
    /// `residues`, `digits`: primes × columns, one prime after the other.
    ///
    /// # Panics
    /// If a length is not a multiple of the number of primes, or the lengths differ.
    pub fn digits_into(&self, backend: &Backend, residues: &[u64], digits: &mut [u64]) {
        assert_eq!(residues.len(), digits.len());
        assert_eq!(residues.len() % self.len(), 0);
        let columns = residues.len() / self.len();
        for (k, prime) in self.primes.iter().enumerate() {
            let (known, rest) = digits.split_at_mut(k * columns);
            let residues = &residues[k * columns..][..columns];
            let mut terms = vec![(residues, prime.inverse)];
            terms.extend(known.chunks_exact(columns).zip(prime.lower.iter().copied()));
            rest[..columns].fill(prime.offset);
            backend.combine_assign(&prime.modulus, &mut rest[..columns], &terms);
        }
    }

    /// The integers of digits modulo another prime.
    ///
    /// # Shapes
    /// `digits`: primes × columns. `residues`: columns.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn reduce_into(
        &self,
        backend: &Backend,
        digits: &[u64],
        modulus: &Modulus,
        residues: &mut [u64],
    ) {
        let columns = residues.len();
        assert_eq!(digits.len(), self.len() * columns);
        let (mut radix, mut offset) = (1, 0);
        let mut terms = Vec::with_capacity(self.len());
        for (digits, prime) in digits.chunks_exact(columns).zip(self.primes()) {
            terms.push((digits, radix));
            let half = modulus.reduce_u64(prime.value() / 2);
            offset = modulus.sub(offset, modulus.mul(radix, half));
            radix = modulus.mul(radix, modulus.reduce_u64(prime.value()));
        }
        residues.fill(offset);
        backend.combine_assign(modulus, residues, &terms);
    }

    /// The integers of digits as floats, each within a few units in the last place.
    ///
    /// Balanced digits make this safe: a lower digit never cancels more than half of the higher ones.
    ///
    /// # Shapes
    /// `digits`: primes × columns. `values`: columns.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn floats_into(&self, digits: &[u64], values: &mut [f64]) {
        let columns = values.len();
        assert_eq!(digits.len(), self.len() * columns);
        values.fill(0.0);
        for (k, prime) in self.primes().enumerate().rev() {
            // The radix below digit k + 1 is p_k.
            let radix = prime.value() as f64;
            for (value, &digit) in values.iter_mut().zip(&digits[k * columns..]) {
                *value = *value * radix + balanced(prime, digit) as f64;
            }
        }
    }
}

/// The digit d that is stored as d + (p − 1) / 2.
pub(crate) const fn balanced(prime: &Modulus, digit: u64) -> i64 {
    digit as i64 - (prime.value() / 2) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> MixedRadix {
        let primes: Vec<_> = sordino_ring::primes_below(1 << 20, 16).take(5).collect();
        MixedRadix::new(primes.iter().map(|&p| Modulus::new(p).unwrap()).collect())
    }

    #[test]
    fn integers_survive_the_conversion() {
        let group = group();
        let product: i128 = group.primes().map(|p| i128::from(p.value())).product();
        let half = product / 2;
        let mut values = vec![0, 1, -1, half, -half, half - 1, 12345, -(1 << 40)];
        let mut state = 1u128;
        for _ in 0..200 {
            state = state.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645) + 1;
            values.push((state >> 1) as i128 % half);
        }
        let backend = sordino_ring::backend::portable();
        let residues: Vec<u64> = group
            .primes()
            .flat_map(|p| values.iter().map(|&v| p.from_i128(v)))
            .collect();
        let mut digits = vec![0; residues.len()];
        group.digits_into(backend, &residues, &mut digits);
        for (k, prime) in group.primes().enumerate() {
            let digits = &digits[k * values.len()..][..values.len()];
            assert!(digits.iter().all(|&digit| digit < prime.value()));
        }
        let other = Modulus::new((1 << 31) - 1).unwrap();
        let mut reduced = vec![0; values.len()];
        group.reduce_into(backend, &digits, &other, &mut reduced);
        let mut floats = vec![0.0; values.len()];
        group.floats_into(&digits, &mut floats);
        for (k, &value) in values.iter().enumerate() {
            assert_eq!(reduced[k], other.from_i128(value));
            assert!((floats[k] - value as f64).abs() <= 1e-15 * (value as f64).abs());
        }
    }

    #[test]
    fn small_integers_are_exact_floats() {
        let group = group();
        let backend = sordino_ring::backend::portable();
        let residues: Vec<u64> = group.primes().map(|p| p.from_i64(-77)).collect();
        let mut digits = vec![0; residues.len()];
        group.digits_into(backend, &residues, &mut digits);
        let balanced: Vec<i64> = group
            .primes()
            .zip(&digits)
            .map(|(prime, &digit)| balanced(prime, digit))
            .collect();
        assert_eq!(balanced, [-77, 0, 0, 0, 0]);
        let mut float = [0.0];
        group.floats_into(&digits, &mut float);
        assert_eq!(float, [-77.0]);
    }
}
