//! Operations on whole limbs: the interface of their implementations, and the plain one, which defines every result.

use super::{bytes, twist::Twist};
use crate::{Modulus, constant::Constant};

/// Terms of a combination that are added before they are reduced: the sum of their upper halves stays below 2^51.
pub(crate) const MOST_COMBINED: usize = 8;

/// Residues that move together in an automorphism.
pub(crate) const BLOCK: usize = 8;

/// The source of a block of results: a block, and for each result a place in that block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockSource {
    pub(crate) block: u32,
    pub(crate) places: [u8; BLOCK],
}

/// The operations on slices of canonical residues modulo one prime.
///
/// The provided methods are plain loops and define every result; an implementation replaces those that it does faster.
/// [`Backend`](super::Backend)'s methods of the same names check lengths and constants before they call these.
pub(crate) trait LimbOperations: Sync {
    /// Shoup quotients in the [`Twist`] of `fold` and `unfold` are floor(w · 2^shift / q).
    fn shoup_shift(&self) -> u32 {
        64
    }

    fn add_assign(&self, modulus: &Modulus, a: &mut [u64], b: &[u64]) {
        for (a, &b) in a.iter_mut().zip(b) {
            *a = modulus.add(*a, b);
        }
    }

    fn sub_assign(&self, modulus: &Modulus, a: &mut [u64], b: &[u64]) {
        for (a, &b) in a.iter_mut().zip(b) {
            *a = modulus.sub(*a, b);
        }
    }

    fn multiply_assign(&self, modulus: &Modulus, a: &mut [u64], b: &[u64]) {
        for (a, &b) in a.iter_mut().zip(b) {
            *a = modulus.mul(*a, b);
        }
    }

    fn multiply_into(&self, modulus: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = modulus.mul(a, b);
        }
    }

    fn multiply_add_assign(&self, modulus: &Modulus, sum: &mut [u64], a: &[u64], b: &[u64]) {
        for ((sum, &a), &b) in sum.iter_mut().zip(a).zip(b) {
            *sum = modulus.add(*sum, modulus.mul(a, b));
        }
    }

    fn add_scalar_assign(&self, modulus: &Modulus, a: &mut [u64], c: u64) {
        for a in a {
            *a = modulus.add(*a, c);
        }
    }

    fn multiply_scalar_assign(&self, modulus: &Modulus, a: &mut [u64], w: u64) {
        let w = Constant::<64>::new(modulus, w);
        for a in a {
            *a = w.times(*a);
        }
    }

    fn multiply_scalar_add_assign(&self, modulus: &Modulus, sum: &mut [u64], a: &[u64], w: u64) {
        let w = Constant::<64>::new(modulus, w);
        for (sum, &a) in sum.iter_mut().zip(a) {
            *sum = modulus.add(*sum, w.times(a));
        }
    }

    fn sub_multiply_scalar_assign(&self, modulus: &Modulus, a: &mut [u64], b: &[u64], w: u64) {
        let w = Constant::<64>::new(modulus, w);
        for (a, &b) in a.iter_mut().zip(b) {
            *a = w.times(modulus.sub(*a, b));
        }
    }

    fn square_shifted_assign(
        &self,
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

    /// At most [`MOST_COMBINED`] terms; their numbers are below 2^50.
    fn combine_assign(&self, modulus: &Modulus, sum: &mut [u64], terms: &[(&[u64], u64)]) {
        for (index, sum) in sum.iter_mut().enumerate() {
            let products = terms
                .iter()
                .map(|(a, w)| u128::from(a[index]) * u128::from(*w));
            *sum = modulus.reduce_u128(u128::from(*sum) + products.sum::<u128>());
        }
    }

    fn reduce_i64_into(&self, modulus: &Modulus, a: &[i64], out: &mut [u64]) {
        for (out, &a) in out.iter_mut().zip(a) {
            *out = modulus.from_i64(a);
        }
    }

    fn fold(&self, twist: &Twist, a: &mut [u64]) {
        let (front, back) = a.split_at_mut(a.len() / 2);
        fold_pairs::<64>(twist, 0, &mut front[1..], &mut back[1..]);
        fold_middle::<64>(twist, back);
    }

    fn unfold(&self, twist: &Twist, a: &mut [u64]) {
        let (front, back) = a.split_at_mut(a.len() / 2);
        unfold_pairs::<64>(twist, 0, &mut front[1..], &mut back[1..]);
        unfold_middle::<64>(twist, front, back);
    }

    /// Blocks of sources are counted from block `first`, which `a` starts with; all of them are in `a`.
    fn permute_blocks(&self, sources: &[BlockSource], first: u32, a: &[u64], out: &mut [u64]) {
        let (blocks, outputs) = (a.as_chunks::<BLOCK>().0, out.as_chunks_mut::<BLOCK>().0);
        for (out, source) in outputs.iter_mut().zip(sources) {
            let block = &blocks[(source.block - first) as usize];
            *out = source.places.map(|place| block[usize::from(place & 7)]);
        }
    }

    /// `bytes` holds exactly as many residues as `out`, of 1 to 8 bytes each.
    fn unpack(&self, width: usize, bytes: &[u8], out: &mut [u64]) {
        bytes::unpack(width, bytes, out);
    }

    /// `out` has room for exactly these residues, of 1 to 8 bytes each.
    fn pack(&self, width: usize, residues: &[u64], out: &mut [u8]) {
        bytes::pack(width, residues, out);
    }

    /// Masks rows of packed candidates to the bits of the modulus, and appends the rows that have some not below it to
    /// a list.
    fn screen(
        &self,
        modulus: &Modulus,
        row_bytes: usize,
        rows: &mut [u8],
        rejected: &mut Vec<usize>,
    ) {
        for (row, bytes) in rows.chunks_exact_mut(row_bytes).enumerate() {
            if screen_row(modulus, bytes) {
                rejected.push(row);
            }
        }
    }

    /// Whether all packed residues are below the modulus.
    fn is_canonical(&self, modulus: &Modulus, bytes: &[u8]) -> bool {
        let mut residues = bytes.chunks_exact(modulus.byte_width());
        residues.all(|bytes| bytes::word(bytes) < modulus.value())
    }

    /// `constants` has bias and shift of each row.
    fn square_rows(
        &self,
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

    fn add_packed_products(
        &self,
        modulus: &Modulus,
        sum: &mut [u64],
        products: &[(&[u64], &[u8])],
    ) {
        let width = modulus.byte_width();
        let mut factor = [0; PIECE];
        for (a, b) in products {
            for ((sum, a), b) in sum
                .chunks_mut(PIECE)
                .zip(a.chunks(PIECE))
                .zip(b.chunks(PIECE * width))
            {
                let factor = &mut factor[..sum.len()];
                bytes::unpack(width, b, factor);
                Portable.multiply_add_assign(modulus, sum, a, factor);
            }
        }
    }

    /// out = ± the number of thresholds not above the low 63 bits; the sign is the top bit.
    fn cumulative_lookup(&self, thresholds: &[u64], random: &[u64], out: &mut [i32]) {
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
}

/// The plain operations.
pub(crate) struct Portable;

impl LimbOperations for Portable {}

/// Residues that are unpacked at a time.
const PIECE: usize = 64;

/// Masks candidates; whether some are not below the modulus.
pub(super) fn screen_row(modulus: &Modulus, bytes: &mut [u8]) -> bool {
    let width = modulus.byte_width();
    let (q, mask) = (modulus.value(), u64::MAX >> (64 - modulus.bits()));
    let mut rejected = false;
    for bytes in bytes.chunks_exact_mut(width) {
        let candidate = bytes::word(bytes) & mask;
        rejected |= candidate >= q;
        bytes.copy_from_slice(&candidate.to_le_bytes()[..width]);
    }
    rejected
}

pub(super) fn square_row(
    modulus: &Modulus,
    [bias, r]: [u64; 2],
    c0: &mut [u8],
    c1: &mut [u8],
    c2: &mut [u8],
) {
    let width = modulus.byte_width();
    let mut residues = [[0; PIECE]; 3];
    for ((c0, c1), c2) in c0
        .chunks_mut(PIECE * width)
        .zip(c1.chunks_mut(PIECE * width))
        .zip(c2.chunks_mut(PIECE * width))
    {
        let count = c0.len() / width;
        let [x0, x1, x2] = residues.each_mut().map(|x| &mut x[..count]);
        bytes::unpack(width, c0, x0);
        bytes::unpack(width, c1, x1);
        Portable.add_scalar_assign(modulus, x0, bias);
        Portable.square_shifted_assign(modulus, x0, x1, r, x2);
        bytes::pack(width, x0, c0);
        bytes::pack(width, x1, c1);
        bytes::pack(width, x2, c2);
    }
}

/// Folds and twists the pairs from `start` on: `front` ascends, `back` is read from its end. See [`crate::ntt`].
pub(super) fn fold_pairs<const SHIFT: u32>(
    twist: &Twist,
    start: usize,
    front: &mut [u64],
    back: &mut [u64],
) {
    let q = &twist.modulus;
    let i = Constant::<SHIFT>::new(q, twist.imaginary);
    let pairs = front.iter_mut().zip(back.iter_mut().rev());
    for ((f, b), [front, back]) in pairs.zip(twist.forward.constants::<SHIFT>(q, start)) {
        let rotated = i.times(*b);
        (*f, *b) = (
            front.times(q.sub(*f, rotated)),
            back.times(q.add(*f, rotated)),
        );
    }
}

/// The inverse of [`fold_pairs`], times the factor of the unnormalized transform.
pub(super) fn unfold_pairs<const SHIFT: u32>(
    twist: &Twist,
    start: usize,
    front: &mut [u64],
    back: &mut [u64],
) {
    let q = &twist.modulus;
    let i = Constant::<SHIFT>::new(q, twist.imaginary);
    let pairs = front.iter_mut().zip(back.iter_mut().rev());
    for ((f, b), [front, back]) in pairs.zip(twist.inverse.constants::<SHIFT>(q, start)) {
        let (x, y) = (front.times(*f), back.times(*b));
        (*f, *b) = (q.sub(x, y), i.times(q.add(x, y)));
    }
}

/// Twists the position without a partner that the back half of a limb starts with.
pub(super) fn fold_middle<const SHIFT: u32>(twist: &Twist, back: &mut [u64]) {
    back[0] = Constant::<SHIFT>::new(&twist.modulus, twist.middle).times(back[0]);
}

/// The inverse of [`fold_middle`], times the factor of the unnormalized transform.
pub(super) fn unfold_middle<const SHIFT: u32>(twist: &Twist, front: &mut [u64], back: &mut [u64]) {
    let constant = |factor| Constant::<SHIFT>::new(&twist.modulus, factor);
    front[0] = constant(twist.inverse_degree).times(front[0]);
    back[0] = constant(twist.inverse_middle).times(back[0]);
}
