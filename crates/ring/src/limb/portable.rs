//! The plain limb operations: they define every result.

use super::Kernel;
use crate::{Modulus, automorphism::BlockSource, ntt::Twist, residue_bytes};

pub(crate) static KERNEL: Kernel = Kernel {
    shoup_shift: 64,
    add_assign,
    sub_assign,
    negate_assign,
    multiply_assign,
    multiply_into,
    multiply_add_assign,
    add_scalar_assign,
    multiply_scalar_assign,
    multiply_scalar_add_assign,
    sub_multiply_scalar_assign,
    square_shifted_assign,
    reduce_centered_into,
    reduce_i64_into,
    fold: |twist, a| fold::<64>(twist, a),
    unfold: |twist, a| unfold::<64>(twist, a),
    permute_blocks,
    unpack: residue_bytes::portable::unpack,
    pack: residue_bytes::portable::pack,
    screen,
    is_canonical,
    square_rows,
    add_packed_products,
    cumulative_lookup,
};

pub(super) fn add_assign(modulus: &Modulus, a: &mut [u64], b: &[u64]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = modulus.add(*a, b);
    }
}

pub(super) fn sub_assign(modulus: &Modulus, a: &mut [u64], b: &[u64]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = modulus.sub(*a, b);
    }
}

pub(super) fn negate_assign(modulus: &Modulus, a: &mut [u64]) {
    for a in a {
        *a = modulus.neg(*a);
    }
}

pub(super) fn multiply_assign(modulus: &Modulus, a: &mut [u64], b: &[u64]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = modulus.mul(*a, b);
    }
}

pub(super) fn multiply_into(modulus: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *out = modulus.mul(a, b);
    }
}

pub(super) fn multiply_add_assign(modulus: &Modulus, sum: &mut [u64], a: &[u64], b: &[u64]) {
    for ((sum, &a), &b) in sum.iter_mut().zip(a).zip(b) {
        *sum = modulus.add(*sum, modulus.mul(a, b));
    }
}

pub(super) fn add_scalar_assign(modulus: &Modulus, a: &mut [u64], c: u64) {
    for a in a {
        *a = modulus.add(*a, c);
    }
}

pub(super) fn multiply_scalar_assign(modulus: &Modulus, a: &mut [u64], w: u64) {
    let w = Constant::<64>::new(modulus, w);
    for a in a {
        *a = w.times(*a);
    }
}

pub(super) fn multiply_scalar_add_assign(modulus: &Modulus, sum: &mut [u64], a: &[u64], w: u64) {
    let w = Constant::<64>::new(modulus, w);
    for (sum, &a) in sum.iter_mut().zip(a) {
        *sum = modulus.add(*sum, w.times(a));
    }
}

pub(super) fn sub_multiply_scalar_assign(modulus: &Modulus, a: &mut [u64], b: &[u64], w: u64) {
    let w = Constant::<64>::new(modulus, w);
    for (a, &b) in a.iter_mut().zip(b) {
        *a = w.times(modulus.sub(*a, b));
    }
}

pub(super) fn square_shifted_assign(
    modulus: &Modulus,
    c0: &mut [u64],
    c1: &mut [u64],
    r: u64,
    c2: &mut [u64],
) {
    for ((c0, c1), c2) in c0.iter_mut().zip(c1).zip(c2) {
        let shifted = modulus.add(*c0, r);
        let doubled = modulus.add(*c0, shifted);
        *c2 = modulus.mul(*c1, *c1);
        *c1 = modulus.mul(*c1, doubled);
        *c0 = modulus.mul(*c0, shifted);
    }
}

pub(super) fn add_packed_products(
    modulus: &Modulus,
    sum: &mut [u64],
    products: &[(&[u64], &[u8])],
) {
    /// Residues that are unpacked at a time.
    const PIECE: usize = 64;
    let width = modulus.byte_width();
    let mut factor = [0; PIECE];
    for (a, b) in products {
        for ((sum, a), b) in sum
            .chunks_mut(PIECE)
            .zip(a.chunks(PIECE))
            .zip(b.chunks(PIECE * width))
        {
            let factor = &mut factor[..sum.len()];
            residue_bytes::portable::unpack(width, b, factor);
            multiply_add_assign(modulus, sum, a, factor);
        }
    }
}

pub(super) fn screen(
    modulus: &Modulus,
    row_bytes: usize,
    bytes: &mut [u8],
    rejected: &mut Vec<usize>,
) {
    for (row, bytes) in bytes.chunks_exact_mut(row_bytes).enumerate() {
        if screen_row(modulus, bytes) {
            rejected.push(row);
        }
    }
}

/// Masks candidates; whether some are not below the modulus.
pub(super) fn screen_row(modulus: &Modulus, bytes: &mut [u8]) -> bool {
    let width = modulus.byte_width();
    let (q, mask) = (modulus.value(), u64::MAX >> (64 - modulus.bits()));
    let mut rejected = false;
    for bytes in bytes.chunks_exact_mut(width) {
        let mut word = [0; 8];
        word[..width].copy_from_slice(bytes);
        let candidate = u64::from_le_bytes(word) & mask;
        rejected |= candidate >= q;
        bytes.copy_from_slice(&candidate.to_le_bytes()[..width]);
    }
    rejected
}

pub(super) fn is_canonical(modulus: &Modulus, bytes: &[u8]) -> bool {
    bytes.chunks_exact(modulus.byte_width()).all(|bytes| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word) < modulus.value()
    })
}

pub(super) fn square_rows(
    modulus: &Modulus,
    row_bytes: usize,
    constants: &[[u64; 2]],
    [c0, c1, c2]: [&mut [u8]; 3],
) {
    for (((c0, c1), c2), &constants) in c0
        .chunks_exact_mut(row_bytes)
        .zip(c1.chunks_exact_mut(row_bytes))
        .zip(c2.chunks_exact_mut(row_bytes))
        .zip(constants)
    {
        square_row(modulus, constants, c0, c1, c2);
    }
}

pub(super) fn square_row(
    modulus: &Modulus,
    [bias, r]: [u64; 2],
    c0: &mut [u8],
    c1: &mut [u8],
    c2: &mut [u8],
) {
    const CHUNK: usize = 64;
    let width = modulus.byte_width();
    let mut residues = [[0; CHUNK]; 3];
    for ((c0, c1), c2) in c0
        .chunks_mut(CHUNK * width)
        .zip(c1.chunks_mut(CHUNK * width))
        .zip(c2.chunks_mut(CHUNK * width))
    {
        let count = c0.len() / width;
        let [x0, x1, x2] = residues.each_mut().map(|x| &mut x[..count]);
        residue_bytes::portable::unpack(width, c0, x0);
        residue_bytes::portable::unpack(width, c1, x1);
        add_scalar_assign(modulus, x0, bias);
        square_shifted_assign(modulus, x0, x1, r, x2);
        residue_bytes::portable::pack(width, x0, c0);
        residue_bytes::portable::pack(width, x1, c1);
        residue_bytes::portable::pack(width, x2, c2);
    }
}

pub(super) fn reduce_centered_into(from: &Modulus, to: &Modulus, a: &[u64], out: &mut [u64]) {
    // Shifting by the half keeps everything unsigned: centred(a) = ((a + half) mod p) - half.
    let half = from.value() / 2;
    let half_reduced = to.reduce_u64(half);
    for (out, &a) in out.iter_mut().zip(a) {
        *out = to.sub(to.reduce_u64(from.add(a, half)), half_reduced);
    }
}

pub(super) fn reduce_i64_into(modulus: &Modulus, a: &[i64], out: &mut [u64]) {
    for (out, &a) in out.iter_mut().zip(a) {
        *out = modulus.from_i64(a);
    }
}

fn permute_blocks(sources: &[BlockSource], first: u32, a: &[u64], out: &mut [u64]) {
    let (blocks, outputs) = (a.as_chunks::<8>().0, out.as_chunks_mut::<8>().0);
    for (out, source) in outputs.iter_mut().zip(sources) {
        let block = &blocks[(source.block - first) as usize];
        *out = source.places.map(|place| block[usize::from(place & 7)]);
    }
}

/// A constant factor with its precomputed quotient (Shoup's multiplication).
///
/// With w' = floor(w · 2^SHIFT / q) the remainder x·w - floor(x·w' / 2^SHIFT)·q is below 2q for every x < 2^SHIFT.
#[derive(Clone, Copy)]
pub(crate) struct Constant<const SHIFT: u32> {
    factor: u64,
    quotient: u64,
    modulus: u64,
}

impl<const SHIFT: u32> Constant<SHIFT> {
    pub(crate) fn new(modulus: &Modulus, factor: u64) -> Self {
        Self::from_parts(modulus, factor, modulus.shoup_quotient(factor, SHIFT))
    }

    #[inline(always)]
    pub(crate) fn from_parts(modulus: &Modulus, factor: u64, quotient: u64) -> Self {
        Self {
            factor,
            quotient,
            modulus: modulus.value(),
        }
    }

    /// w · x mod q, below 2q.
    #[inline(always)]
    pub(crate) fn times_lazy(self, x: u64) -> u64 {
        let estimate = ((u128::from(x) * u128::from(self.quotient)) >> SHIFT) as u64;
        x.wrapping_mul(self.factor)
            .wrapping_sub(estimate.wrapping_mul(self.modulus))
    }

    /// w · x mod q.
    #[inline(always)]
    pub(crate) fn times(self, x: u64) -> u64 {
        let lazy = self.times_lazy(x);
        lazy.min(lazy.wrapping_sub(self.modulus))
    }
}

/// The coefficients of a polynomial of the conjugate-invariant ring, folded and twisted: see [`crate::ntt`].
pub(super) fn fold<const SHIFT: u32>(twist: &Twist, a: &mut [u64]) {
    let half = a.len() / 2;
    let (front, back) = a.split_at_mut(half);
    fold_pairs::<SHIFT>(twist, 0, &mut front[1..], &mut back[1..]);
    back[0] = Constant::<SHIFT>::new(&twist.modulus, twist.middle).times(back[0]);
}

/// The pairs from `start`: `front` ascends, `back` is read from its end.
pub(super) fn fold_pairs<const SHIFT: u32>(
    twist: &Twist,
    start: usize,
    front: &mut [u64],
    back: &mut [u64],
) {
    let q = &twist.modulus;
    let i = Constant::<SHIFT>::new(q, twist.imaginary);
    for (k, (f, b)) in front.iter_mut().zip(back.iter_mut().rev()).enumerate() {
        let forward = &twist.forward;
        let front_factor = Constant::<SHIFT>::from_parts(
            q,
            forward.front[start + k],
            forward.front_quotient[start + k],
        );
        let back_factor = Constant::<SHIFT>::from_parts(
            q,
            forward.back[start + k],
            forward.back_quotient[start + k],
        );
        let rotated = i.times(*b);
        (*f, *b) = (
            front_factor.times(q.sub(*f, rotated)),
            back_factor.times(q.add(*f, rotated)),
        );
    }
}

/// The inverse of [`fold`], times the factor of the unnormalized transform: see [`crate::ntt`].
pub(super) fn unfold<const SHIFT: u32>(twist: &Twist, a: &mut [u64]) {
    let half = a.len() / 2;
    let (front, back) = a.split_at_mut(half);
    unfold_pairs::<SHIFT>(twist, 0, &mut front[1..], &mut back[1..]);
    front[0] = Constant::<SHIFT>::new(&twist.modulus, twist.inverse_degree).times(front[0]);
    back[0] = Constant::<SHIFT>::new(&twist.modulus, twist.inverse_middle).times(back[0]);
}

/// The pairs from `start`: `front` ascends, `back` is read from its end.
pub(super) fn unfold_pairs<const SHIFT: u32>(
    twist: &Twist,
    start: usize,
    front: &mut [u64],
    back: &mut [u64],
) {
    let q = &twist.modulus;
    let i = Constant::<SHIFT>::new(q, twist.imaginary);
    for (k, (f, b)) in front.iter_mut().zip(back.iter_mut().rev()).enumerate() {
        let inverse = &twist.inverse;
        let front_factor = Constant::<SHIFT>::from_parts(
            q,
            inverse.front[start + k],
            inverse.front_quotient[start + k],
        );
        let back_factor = Constant::<SHIFT>::from_parts(
            q,
            inverse.back[start + k],
            inverse.back_quotient[start + k],
        );
        let (x, y) = (front_factor.times(*f), back_factor.times(*b));
        (*f, *b) = (q.sub(x, y), i.times(q.add(x, y)));
    }
}

pub(super) fn cumulative_lookup(thresholds: &[u64], random: &[u64], out: &mut [i32]) {
    for (out, &random) in out.iter_mut().zip(random) {
        let position = random & (u64::MAX >> 1);
        // Both are below 2^63, so the top bit of the difference says whether the threshold is above.
        let magnitude: u64 = thresholds
            .iter()
            .map(|&t| 1 - (position.wrapping_sub(t) >> 63))
            .sum();
        let sign = (random as i64 >> 63) as i32;
        *out = (magnitude as i32 ^ sign) - sign;
    }
}
