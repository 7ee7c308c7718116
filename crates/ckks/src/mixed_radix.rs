//! Exact centred integers from residues.

use sordino_ring::Modulus;
use sordino_ring::backend::Backend;

/// Balanced mixed-radix conversion for a group of primes p_0, p_1, …
///
/// An integer in (−P/2, P/2), P the product of the group, is d_0 + p_0 (d_1 + p_1 (d_2 + …)) with digits
/// |d_k| < p_k / 2 in exactly one way, because all primes are odd. Small integers have zero high digits.
#[derive(Clone, Debug)]
pub struct MixedRadix {
    primes: Vec<Modulus>,
    /// inverses[k][j] = p_j^-1 mod p_k, for j < k.
    inverses: Vec<Vec<u64>>,
}

impl MixedRadix {
    /// The conversion for a group of distinct primes.
    ///
    /// # Panics
    /// If the group is empty or a prime occurs twice.
    pub fn new(primes: Vec<Modulus>) -> Self {
        assert!(!primes.is_empty(), "a group has at least one prime");
        let inverses = primes
            .iter()
            .enumerate()
            .map(|(k, prime)| {
                primes[..k]
                    .iter()
                    .map(|other| prime.inv(prime.reduce_u64(other.value())))
                    .collect()
            })
            .collect();
        Self { primes, inverses }
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
    pub fn primes(&self) -> &[Modulus] {
        &self.primes
    }

    /// The product of the group as a float.
    pub fn product(&self) -> f64 {
        self.primes.iter().map(|p| p.value() as f64).product()
    }

    /// The centred digits of integers given by their residues, which are used up.
    ///
    /// # Shapes
    /// `residues`, `digits`: primes × columns, one prime after the other. `spare`: columns.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn digits_into(
        &self,
        backend: &Backend,
        residues: &mut [u64],
        digits: &mut [i64],
        spare: &mut [u64],
    ) {
        let columns = spare.len();
        assert_eq!(residues.len(), self.len() * columns);
        assert_eq!(digits.len(), residues.len());
        let of_primes = self.primes.iter().zip(&self.inverses);
        for (k, (residues, (prime, inverses))) in residues
            .chunks_exact_mut(columns)
            .zip(of_primes)
            .enumerate()
        {
            let (known, rest) = digits.split_at_mut(k * columns);
            for (lower, &inverse) in known.chunks_exact(columns).zip(inverses) {
                backend.reduce_i64_into(prime, lower, spare);
                backend.sub_multiply_scalar_assign(prime, residues, spare, inverse);
            }
            for (digit, &residue) in rest.iter_mut().zip(&*residues) {
                *digit = prime.center(residue);
            }
        }
    }

    /// The integers of mixed-radix digits modulo another prime.
    ///
    /// # Shapes
    /// `digits`: primes × columns. `residues`, `spare`: columns.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn reduce_into(
        &self,
        backend: &Backend,
        digits: &[i64],
        modulus: &Modulus,
        residues: &mut [u64],
        spare: &mut [u64],
    ) {
        let columns = residues.len();
        assert_eq!(digits.len(), self.len() * columns);
        let (lowest, higher) = digits.split_at(columns);
        backend.reduce_i64_into(modulus, lowest, residues);
        let mut radix = 1;
        for (digits, prime) in higher.chunks_exact(columns).zip(&self.primes) {
            radix = modulus.mul(radix, modulus.reduce_u64(prime.value()));
            backend.reduce_i64_into(modulus, digits, spare);
            backend.multiply_scalar_add_assign(modulus, residues, spare, radix);
        }
    }

    /// The integers of mixed-radix digits as floats, each within a few units in the last place.
    ///
    /// Balanced digits make this safe: a lower digit never cancels more than half of the higher ones.
    ///
    /// # Shapes
    /// `digits`: primes × columns. `values`: columns.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn floats_into(&self, digits: &[i64], values: &mut [f64]) {
        let columns = values.len();
        assert_eq!(digits.len(), self.len() * columns);
        values.fill(0.0);
        for (k, prime) in self.primes.iter().enumerate().rev() {
            // The radix below digit k + 1 is p_k.
            let radix = prime.value() as f64;
            for (value, &digit) in values.iter_mut().zip(&digits[k * columns..]) {
                *value = *value * radix + digit as f64;
            }
        }
    }
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
        let product: i128 = group.primes.iter().map(|p| i128::from(p.value())).product();
        let half = product / 2;
        let mut values = vec![0, 1, -1, half, -half, half - 1, 12345, -(1 << 40)];
        let mut state = 1u128;
        for _ in 0..200 {
            state = state.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645) + 1;
            values.push((state >> 1) as i128 % half);
        }
        let backend = sordino_ring::backend::portable();
        let mut residues: Vec<u64> = group
            .primes
            .iter()
            .flat_map(|p| values.iter().map(|&v| p.from_i128(v)))
            .collect();
        let (mut digits, mut spare) = (vec![0; residues.len()], vec![0; values.len()]);
        group.digits_into(backend, &mut residues, &mut digits, &mut spare);
        for (k, prime) in group.primes.iter().enumerate() {
            let digits = &digits[k * values.len()..][..values.len()];
            assert!(digits.iter().all(|d| d.unsigned_abs() <= prime.value() / 2));
        }
        let other = Modulus::new((1 << 31) - 1).unwrap();
        let mut reduced = vec![0; values.len()];
        group.reduce_into(backend, &digits, &other, &mut reduced, &mut spare);
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
        let mut residues: Vec<u64> = group.primes.iter().map(|p| p.from_i64(-77)).collect();
        let mut digits = vec![0; residues.len()];
        group.digits_into(backend, &mut residues, &mut digits, &mut [0]);
        assert_eq!(digits, [-77, 0, 0, 0, 0]);
        let mut float = [0.0];
        group.floats_into(&digits, &mut float);
        assert_eq!(float, [-77.0]);
    }
}
