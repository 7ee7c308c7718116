//! The roots of unity that fix the order of the evaluations.

use crate::Modulus;

/// What square roots modulo a prime are found with.
pub(super) struct Roots<'a> {
    modulus: &'a Modulus,
    /// The smallest number that has no square root.
    non_residue: u64,
}

impl<'a> Roots<'a> {
    pub(super) fn new(modulus: &'a Modulus) -> Self {
        let minus_one = modulus.value() - 1;
        let non_residue = (2..minus_one)
            .find(|&z| modulus.pow(z, minus_one / 2) == minus_one)
            .expect("half of the residues of an odd prime are no squares");
        Self {
            modulus,
            non_residue,
        }
    }

    /// The primitive root of unity of `order`, a power of two that divides q - 1, that repeated square roots of -1 give.
    pub(super) fn primitive(&self, order: u64) -> u64 {
        let minus_one = self.modulus.value() - 1;
        (1..order.trailing_zeros()).fold(minus_one, |root, _| self.square_root(root))
    }

    /// The smaller of the two square roots of a square.
    pub(super) fn smaller_square_root(&self, square: u64) -> u64 {
        let root = self.square_root(square);
        root.min(self.modulus.neg(root))
    }

    /// The square root of a non-zero square by the algorithm of Tonelli and Shanks.
    ///
    /// Which of the two roots comes out depends on the non-residue; `tfhe-ntt` runs the same algorithm.
    fn square_root(&self, square: u64) -> u64 {
        let modulus = self.modulus;
        let mut twos = (modulus.value() - 1).trailing_zeros();
        let odd = (modulus.value() - 1) >> twos;
        let mut generator = modulus.pow(self.non_residue, odd);
        let mut remainder = modulus.pow(square, odd);
        let mut root = modulus.pow(square, odd.div_ceil(2));
        while remainder != 1 {
            // The order of the remainder is 2^log_order, less than that of the generator.
            let (mut log_order, mut power) = (0, remainder);
            while power != 1 {
                power = modulus.mul(power, power);
                log_order += 1;
            }
            assert!(log_order < twos, "not a square");
            let factor = modulus.pow(generator, 1 << (twos - log_order - 1));
            twos = log_order;
            generator = modulus.mul(factor, factor);
            remainder = modulus.mul(remainder, generator);
            root = modulus.mul(root, factor);
        }
        root
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primes_below;

    #[test]
    fn roots_have_the_order_asked_for() {
        for (log, limit) in [(4, 1 << 20), (12, 1 << 32), (16, 1 << 50)] {
            let q = Modulus::new(primes_below(limit, 1 << log).next().unwrap()).unwrap();
            let roots = Roots::new(&q);
            let psi = roots.primitive(2 << log);
            assert_eq!(q.pow(psi, 1 << log), q.value() - 1);
            let zeta = roots.smaller_square_root(psi);
            assert_eq!(q.mul(zeta, zeta), psi);
            assert!(zeta < q.value() - zeta);
        }
    }
}
