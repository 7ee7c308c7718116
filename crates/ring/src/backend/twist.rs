//! Constants of the pass between the conjugate-invariant ring and the negacyclic transform.
//!
//! Positions k and N - k are handled together, for 0 < k < N/2. With m = i·a_(N-k):
//! - fold: out_k = ζ^-k · (a_k - m), out_(N-k) = -ζ^k · (a_k + m), because i·ζ^-k = ζ^(N-k);
//! - unfold of d: x = ζ^k/2N · d_k, y = ζ^-k/2N · d_(N-k), a_k = x - y, a_(N-k) = i·(x + y).
//!
//! Position 0 is unchanged (1/N on the way back), position N/2 has one factor of its own.

use crate::{Modulus, constant::Constant};

/// The factors of the two positions of each pair, k = 1 to N/2 - 1, with their Shoup quotients.
#[derive(Clone)]
pub(crate) struct PairFactors {
    front: Vec<u64>,
    front_quotient: Vec<u64>,
    back: Vec<u64>,
    back_quotient: Vec<u64>,
}

impl PairFactors {
    fn new(modulus: &Modulus, shift: u32, pairs: impl Iterator<Item = (u64, u64)>) -> Self {
        let (front, back): (Vec<u64>, Vec<u64>) = pairs.unzip();
        let quotients = |factors: &[u64]| {
            factors
                .iter()
                .map(|&w| modulus.shoup_quotient(w, shift))
                .collect()
        };
        Self {
            front_quotient: quotients(&front),
            back_quotient: quotients(&back),
            front,
            back,
        }
    }

    /// The constants of the front and the back position of each pair from `start` on.
    pub(super) fn constants<const SHIFT: u32>(
        &self,
        modulus: &Modulus,
        start: usize,
    ) -> impl Iterator<Item = [Constant<SHIFT>; 2]> {
        let constant = |factors: &[u64], quotients: &[u64], k| {
            Constant::from_parts(modulus, factors[k], quotients[k])
        };
        (start..self.front.len()).map(move |k| {
            [
                constant(&self.front, &self.front_quotient, k),
                constant(&self.back, &self.back_quotient, k),
            ]
        })
    }

    /// Factor and quotient of the front, factor and quotient of the back position, for whole groups of eight pairs.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn groups(&self) -> impl Iterator<Item = [&[u64; 8]; 4]> {
        let groups = |factors| <[u64]>::as_chunks::<8>(factors).0.iter();
        let front = groups(&self.front[..]).zip(groups(&self.front_quotient[..]));
        let back = groups(&self.back[..]).zip(groups(&self.back_quotient[..]));
        front
            .zip(back)
            .map(|((front, front_quotient), (back, back_quotient))| {
                [front, front_quotient, back, back_quotient]
            })
    }
}

/// All constants of both directions.
#[derive(Clone)]
pub(crate) struct Twist {
    pub(super) modulus: Modulus,
    /// i = ζ^N, a square root of -1.
    pub(super) imaginary: u64,
    /// ζ^(-N/2) · (1 - i)
    pub(super) middle: u64,
    /// 1 / (N · middle)
    pub(super) inverse_middle: u64,
    /// 1 / N
    pub(super) inverse_degree: u64,
    pub(super) forward: PairFactors,
    pub(super) inverse: PairFactors,
}

impl Twist {
    /// The constants for ζ, a 4N-th root of unity, with quotients floor(w · 2^shift / q).
    pub(crate) fn new(ring_degree: usize, modulus: &Modulus, zeta: u64, shift: u32) -> Self {
        let q = modulus;
        let n = ring_degree as u64;
        let inverse_zeta = q.inv(zeta);
        let imaginary = q.pow(zeta, n);
        let middle = q.mul(q.pow(inverse_zeta, n / 2), q.sub(1, imaginary));
        // (start · ζ^k, start · ζ^-k) for k = 1 to N/2 - 1
        let powers = |start: u64| {
            let step =
                move |&(up, down): &(u64, u64)| Some((q.mul(up, zeta), q.mul(down, inverse_zeta)));
            std::iter::successors(Some((start, start)), step)
                .skip(1)
                .take(ring_degree / 2 - 1)
        };
        let inverse_double = q.inv(q.reduce_u64(2 * n));
        Self {
            modulus: *q,
            imaginary,
            middle,
            inverse_middle: q.inv(q.mul(middle, q.reduce_u64(n))),
            inverse_degree: q.inv(q.reduce_u64(n)),
            forward: PairFactors::new(q, shift, powers(1).map(|(up, down)| (down, q.neg(up)))),
            inverse: PairFactors::new(q, shift, powers(inverse_double)),
        }
    }
}
