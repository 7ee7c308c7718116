//! Constants of the pass between the conjugate-invariant ring and the negacyclic transform.
//!
//! Positions k and N - k are handled together, for 0 < k < N/2. With m = i·a_(N-k):
//! - fold: out_k = ζ^-k · (a_k - m), out_(N-k) = -ζ^k · (a_k + m), because i·ζ^-k = ζ^(N-k);
//! - unfold of d: x = ζ^k/2N · d_k, y = ζ^-k/2N · d_(N-k), a_k = x - y, a_(N-k) = i·(x + y).
//!
//! Position 0 is unchanged (1/N on the way back), position N/2 has one factor of its own.

use crate::Modulus;

/// The factors of the two positions of each pair, k = 1 to N/2 - 1, with their Shoup quotients.
#[derive(Clone)]
pub(crate) struct PairFactors {
    pub(crate) front: Vec<u64>,
    pub(crate) front_quotient: Vec<u64>,
    pub(crate) back: Vec<u64>,
    pub(crate) back_quotient: Vec<u64>,
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

    /// Factor and quotient of the front, factor and quotient of the back position, for whole groups of eight pairs.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn groups(&self) -> impl Iterator<Item = [&[u64; 8]; 4]> {
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
    pub(crate) modulus: Modulus,
    /// i = ζ^N, a square root of -1.
    pub(crate) imaginary: u64,
    /// ζ^(-N/2) · (1 - i)
    pub(crate) middle: u64,
    /// 1 / (N · middle)
    pub(crate) inverse_middle: u64,
    /// 1 / N
    pub(crate) inverse_degree: u64,
    pub(crate) forward: PairFactors,
    pub(crate) inverse: PairFactors,
}

impl Twist {
    pub(super) fn new(ring_degree: usize, modulus: &Modulus, zeta: u64, shift: u32) -> Self {
        let q = modulus;
        let n = ring_degree as u64;
        let inverse_zeta = q.inv(zeta);
        let imaginary = q.pow(zeta, n);
        let middle = q.mul(q.pow(inverse_zeta, n / 2), q.sub(1, imaginary));
        let inverse_degree = q.inv(q.reduce_u64(n));
        let inverse_double = q.inv(q.reduce_u64(2 * n));
        // (start · ζ^k, start · ζ^-k) for k = 1 to N/2 - 1
        let powers = |start: u64| {
            let step =
                move |&(up, down): &(u64, u64)| Some((q.mul(up, zeta), q.mul(down, inverse_zeta)));
            std::iter::successors(Some((start, start)), step)
                .skip(1)
                .take(ring_degree / 2 - 1)
        };
        Self {
            modulus: *q,
            imaginary,
            middle,
            inverse_middle: q.inv(q.mul(middle, q.reduce_u64(n))),
            inverse_degree,
            forward: PairFactors::new(q, shift, powers(1).map(|(up, down)| (down, q.neg(up)))),
            inverse: PairFactors::new(q, shift, powers(inverse_double)),
        }
    }
}
