//! A plain negacyclic transform: the definition that faster ones must match.
//!
//! Cooley-Tukey butterflies forward, Gentleman-Sande back, twiddles in bit-reversed order, values kept below 4q and
//! 2q between the passes.
//!
//! # Reference
//! Longa and Naehrig, *Speeding up the Number Theoretic Transform for Faster Ideal Lattice-Based Cryptography*,
//! CANS 2016, algorithms 1 and 2; Harvey, *Faster arithmetic for number-theoretic transforms*, J. Symb. Comp. 60, 2014.

use crate::{Modulus, constant::Constant};

#[derive(Clone)]
pub(super) struct Table {
    modulus: Modulus,
    /// ψ^r(t) at t, r reversing bits, and its inverse.
    forward: Vec<Constant<64>>,
    inverse: Vec<Constant<64>>,
}

impl Table {
    pub(super) fn new(ring_degree: usize, modulus: &Modulus, psi: u64) -> Self {
        let unused_bits = usize::BITS - ring_degree.trailing_zeros();
        let bit_reversed_powers = |root: u64| {
            let mut table = vec![Constant::new(modulus, 1); ring_degree];
            let mut power = 1;
            for t in 0..ring_degree {
                table[t.reverse_bits() >> unused_bits] = Constant::new(modulus, power);
                power = modulus.mul(power, root);
            }
            table
        };
        Self {
            modulus: *modulus,
            forward: bit_reversed_powers(psi),
            inverse: bit_reversed_powers(modulus.inv(psi)),
        }
    }

    /// Coefficients to values at ψ^(2·r(t)+1).
    pub(super) fn forward(&self, a: &mut [u64]) {
        let (q, two_q) = (self.modulus.value(), 2 * self.modulus.value());
        let mut groups = 1;
        while groups < a.len() {
            let half = a.len() / (2 * groups);
            for (group, w) in a.chunks_exact_mut(2 * half).zip(&self.forward[groups..]) {
                let (low, high) = group.split_at_mut(half);
                for (x, y) in low.iter_mut().zip(high) {
                    // x and y are below 4q; q < 2^50 leaves room for far more.
                    let u = (*x).min(x.wrapping_sub(two_q));
                    let v = w.times_lazy(*y);
                    (*x, *y) = (u + v, u + two_q - v);
                }
            }
            groups *= 2;
        }
        for x in a {
            let below_two_q = (*x).min(x.wrapping_sub(two_q));
            *x = below_two_q.min(below_two_q.wrapping_sub(q));
        }
    }

    /// Values to coefficients times the ring degree.
    pub(super) fn inverse(&self, a: &mut [u64]) {
        let (q, two_q) = (self.modulus.value(), 2 * self.modulus.value());
        let mut groups = a.len() / 2;
        while groups > 0 {
            let half = a.len() / (2 * groups);
            for (group, w) in a.chunks_exact_mut(2 * half).zip(&self.inverse[groups..]) {
                let (low, high) = group.split_at_mut(half);
                for (x, y) in low.iter_mut().zip(high) {
                    // x and y are below 2q.
                    let sum = *x + *y;
                    let difference = *x + two_q - *y;
                    (*x, *y) = (sum.min(sum.wrapping_sub(two_q)), w.times_lazy(difference));
                }
            }
            groups /= 2;
        }
        for x in a {
            *x = (*x).min(x.wrapping_sub(q));
        }
    }
}
