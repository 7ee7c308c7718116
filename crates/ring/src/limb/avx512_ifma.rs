//! Limb operations with AVX-512 and its 52-bit multiply-add (IFMA): eight residues at a time. Every processor with IFMA
//! has the byte permutes (VBMI) for packing too.
//!
//! `madd52lo` and `madd52hi` add the low and the high 52 bits of a 104-bit product to a 64-bit lane. With q below
//! 2^50 a product of residues, and everything below 4q, fits.

use std::arch::x86_64::*;

use super::{Kernel, portable};
use crate::{Modulus, automorphism::BlockSource, ntt::Twist, residue_bytes::avx512_vbmi};

pub(crate) static KERNEL: Kernel = Kernel {
    shoup_shift: SHIFT,
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
    fold,
    unfold,
    permute_blocks,
    unpack: avx512_vbmi::unpack,
    pack: avx512_vbmi::pack,
    screen: packed::screen,
    is_canonical: packed::is_canonical,
    square_rows: packed::square_rows,
    add_packed_products: packed::add_packed_products,
    cumulative_lookup,
};

/// Whether the processor has the instructions of this table.
pub(crate) fn supported() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512ifma")
        && is_x86_feature_detected!("avx512vbmi")
}

#[path = "avx512_packed.rs"]
mod packed;

const SHIFT: u32 = 52;
const LANES: usize = 8;

#[inline]
#[target_feature(enable = "avx512f")]
fn load(from: &[u64; LANES]) -> __m512i {
    // SAFETY: reads the 64 bytes of the array; the instruction takes any alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(to: &mut [u64; LANES], value: __m512i) {
    // SAFETY: writes the 64 bytes of the array; the instruction takes any alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(x: u64) -> __m512i {
    _mm512_set1_epi64(x as i64)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn reverse(x: __m512i) -> __m512i {
    _mm512_permutexvar_epi64(_mm512_setr_epi64(7, 6, 5, 4, 3, 2, 1, 0), x)
}

/// A modulus in every lane.
#[derive(Clone, Copy)]
struct Lanes {
    q: __m512i,
    two_q: __m512i,
    /// 2^52 - q: adding a multiple of it subtracts that multiple of q mod 2^52.
    negative_q: __m512i,
    mask: __m512i,
    /// floor(2^(bits - 2 + 52) / q)
    product_reciprocal: __m512i,
    /// bits - 2 and 52 - (bits - 2)
    shift: __m512i,
    complement: __m512i,
}

/// A constant factor and its quotient floor(w · 2^52 / q) in every lane, or one a lane.
#[derive(Clone, Copy)]
struct Factor {
    factor: __m512i,
    quotient: __m512i,
}

impl Lanes {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(modulus: &Modulus) -> Self {
        let (q, shift) = (modulus.value(), u64::from(modulus.bits() - 2));
        Self {
            q: splat(q),
            two_q: splat(2 * q),
            negative_q: splat((1 << SHIFT) - q),
            mask: splat((1 << SHIFT) - 1),
            product_reciprocal: splat(((1_u128 << (shift + 52)) / u128::from(q)) as u64),
            shift: splat(shift),
            complement: splat(52 - shift),
        }
    }

    /// [0, 2q) to [0, q).
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn below_two(self, x: __m512i) -> __m512i {
        _mm512_min_epu64(x, _mm512_sub_epi64(x, self.q))
    }

    /// [0, 4q) to [0, q).
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn below_four(self, x: __m512i) -> __m512i {
        self.below_two(_mm512_min_epu64(x, _mm512_sub_epi64(x, self.two_q)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        self.below_two(_mm512_add_epi64(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn sub(self, a: __m512i, b: __m512i) -> __m512i {
        let difference = _mm512_sub_epi64(a, b);
        _mm512_min_epu64(difference, _mm512_add_epi64(difference, self.q))
    }

    /// a · b mod q, below 2.5 q, by Barrett's reduction.
    ///
    /// With s = bits - 2 the estimate floor(floor(x / 2^s) · floor(2^(s+52) / q) / 2^52) falls short of x / q by less
    /// than 2^s / q + x / 2^(s+52) + 1 < 1/2 + 1 + 1. The operands of both products are below 2^52.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn multiply_lazy(self, a: __m512i, b: __m512i) -> __m512i {
        let zero = _mm512_setzero_si512();
        let low = _mm512_madd52lo_epu64(zero, a, b);
        let high = _mm512_madd52hi_epu64(zero, a, b);
        let top = _mm512_or_si512(
            _mm512_sllv_epi64(high, self.complement),
            _mm512_srlv_epi64(low, self.shift),
        );
        let estimate = _mm512_madd52hi_epu64(zero, top, self.product_reciprocal);
        _mm512_and_si512(
            _mm512_madd52lo_epu64(low, estimate, self.negative_q),
            self.mask,
        )
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn multiply(self, a: __m512i, b: __m512i) -> __m512i {
        self.below_four(self.multiply_lazy(a, b))
    }

    /// w · x mod q, below 2q, for any x below 2^52.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn times_lazy(self, w: Factor, x: __m512i) -> __m512i {
        let zero = _mm512_setzero_si512();
        let estimate = _mm512_madd52hi_epu64(zero, x, w.quotient);
        let product = _mm512_madd52lo_epu64(zero, x, w.factor);
        _mm512_and_si512(
            _mm512_madd52lo_epu64(product, estimate, self.negative_q),
            self.mask,
        )
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn times(self, w: Factor, x: __m512i) -> __m512i {
        self.below_two(self.times_lazy(w, x))
    }

    /// Any x below 2^52 mod q, below 2q: the product with one.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn reduce_lazy(self, reciprocal: __m512i, x: __m512i) -> __m512i {
        let estimate = _mm512_madd52hi_epu64(_mm512_setzero_si512(), x, reciprocal);
        _mm512_and_si512(
            _mm512_madd52lo_epu64(x, estimate, self.negative_q),
            self.mask,
        )
    }
}

impl Factor {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(modulus: &Modulus, factor: u64) -> Self {
        Self {
            factor: splat(factor),
            quotient: splat(modulus.shoup_quotient(factor, SHIFT)),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(factor: &[u64; LANES], quotient: &[u64; LANES]) -> Self {
        Self {
            factor: load(factor),
            quotient: load(quotient),
        }
    }
}

/// Defines an operation by what it does to eight lanes; what is left over goes to the portable function.
///
/// The first slice of the list decides how many groups there are; all are equally long (checked by the callers).
macro_rules! limb_operation {
    (
        fn $name:ident($modulus:ident: &Modulus, $($argument:ident: $kind:tt),*);
        let $lanes:ident, $prepared:pat = $prepare:expr;
        $body:block
    ) => {
        fn $name($modulus: &Modulus, $($argument: limb_operation!(@type $kind)),*) {
            #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
            fn groups($modulus: &Modulus, $($argument: limb_operation!(@type $kind)),*) {
                let $lanes = Lanes::new($modulus);
                let $prepared = $prepare;
                limb_operation!(@loop $body, $($argument: $kind),*);
            }
            // SAFETY: `KERNEL` is reachable only where `supported` found these instructions.
            unsafe { groups($modulus, $(limb_operation!(@reborrow $argument $kind)),*) };
            $(limb_operation!(@tail $argument $kind);)*
            portable::$name($modulus, $($argument),*);
        }
    };
    (@type read) => { &[u64] };
    (@type write) => { &mut [u64] };
    (@type scalar) => { u64 };
    (@reborrow $argument:ident read) => { $argument };
    (@reborrow $argument:ident write) => { &mut *$argument };
    (@reborrow $argument:ident scalar) => { $argument };
    (@tail $argument:ident read) => { let $argument = $argument.as_chunks::<LANES>().1; };
    (@tail $argument:ident write) => { let $argument = $argument.as_chunks_mut::<LANES>().1; };
    (@tail $argument:ident scalar) => {};
    (@loop $body:block, $a:ident: write) => {
        for $a in $a.as_chunks_mut::<LANES>().0 $body
    };
    (@loop $body:block, $a:ident: write, $c:ident: scalar) => {
        for $a in $a.as_chunks_mut::<LANES>().0 $body
    };
    (@loop $body:block, $a:ident: write, $b:ident: read) => {
        for ($a, $b) in $a.as_chunks_mut::<LANES>().0.iter_mut().zip($b.as_chunks::<LANES>().0) $body
    };
    (@loop $body:block, $a:ident: write, $b:ident: read, $c:ident: scalar) => {
        limb_operation!(@loop $body, $a: write, $b: read)
    };
    (@loop $body:block, $a:ident: write, $b:ident: read, $c:ident: read) => {
        for (($a, $b), $c) in $a.as_chunks_mut::<LANES>().0.iter_mut()
            .zip($b.as_chunks::<LANES>().0).zip($c.as_chunks::<LANES>().0) $body
    };
    (@loop $body:block, $a:ident: read, $b:ident: read, $c:ident: write) => {
        limb_operation!(@loop $body, $c: write, $a: read, $b: read)
    };
    (@loop $body:block, $a:ident: write, $b:ident: write, $r:ident: scalar, $c:ident: write) => {
        for (($a, $b), $c) in $a.as_chunks_mut::<LANES>().0.iter_mut()
            .zip($b.as_chunks_mut::<LANES>().0).zip($c.as_chunks_mut::<LANES>().0) $body
    };
}

limb_operation! {
    fn add_assign(modulus: &Modulus, a: write, b: read);
    let lanes, () = ();
    { store(a, lanes.add(load(a), load(b))) }
}

limb_operation! {
    fn sub_assign(modulus: &Modulus, a: write, b: read);
    let lanes, () = ();
    { store(a, lanes.sub(load(a), load(b))) }
}

limb_operation! {
    fn negate_assign(modulus: &Modulus, a: write);
    let lanes, () = ();
    { store(a, lanes.sub(_mm512_setzero_si512(), load(a))) }
}

limb_operation! {
    fn multiply_assign(modulus: &Modulus, a: write, b: read);
    let lanes, () = ();
    { store(a, lanes.multiply(load(a), load(b))) }
}

limb_operation! {
    fn multiply_into(modulus: &Modulus, a: read, b: read, out: write);
    let lanes, () = ();
    { store(out, lanes.multiply(load(a), load(b))) }
}

limb_operation! {
    fn multiply_add_assign(modulus: &Modulus, sum: write, a: read, b: read);
    let lanes, () = ();
    {
        let product = lanes.multiply_lazy(load(a), load(b));
        store(sum, lanes.below_four(_mm512_add_epi64(product, load(sum))))
    }
}

limb_operation! {
    fn add_scalar_assign(modulus: &Modulus, a: write, c: scalar);
    let lanes, c = splat(c);
    { store(a, lanes.add(load(a), c)) }
}

limb_operation! {
    fn multiply_scalar_assign(modulus: &Modulus, a: write, w: scalar);
    let lanes, w = Factor::new(modulus, w);
    { store(a, lanes.times(w, load(a))) }
}

limb_operation! {
    fn multiply_scalar_add_assign(modulus: &Modulus, sum: write, a: read, w: scalar);
    let lanes, w = Factor::new(modulus, w);
    {
        let product = lanes.times_lazy(w, load(a));
        store(sum, lanes.below_four(_mm512_add_epi64(product, load(sum))))
    }
}

limb_operation! {
    fn sub_multiply_scalar_assign(modulus: &Modulus, a: write, b: read, w: scalar);
    let lanes, w = Factor::new(modulus, w);
    {
        let difference = _mm512_add_epi64(_mm512_sub_epi64(load(a), load(b)), lanes.q);
        store(a, lanes.times(w, difference))
    }
}

limb_operation! {
    fn square_shifted_assign(modulus: &Modulus, c0: write, c1: write, r: scalar, c2: write);
    let lanes, r = splat(r);
    {
        let (x0, x1) = (load(c0), load(c1));
        let shifted = lanes.add(x0, r);
        let doubled = lanes.add(x0, shifted);
        store(c2, lanes.multiply(x1, x1));
        store(c1, lanes.multiply(x1, doubled));
        store(c0, lanes.multiply(x0, shifted));
    }
}

fn reduce_centered_into(from: &Modulus, to: &Modulus, a: &[u64], out: &mut [u64]) {
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn groups(from: &Modulus, to: &Modulus, a: &[[u64; LANES]], out: &mut [[u64; LANES]]) {
        let (from_lanes, to_lanes) = (Lanes::new(from), Lanes::new(to));
        let half = splat(from.value() / 2);
        let half_reduced = splat(to.reduce_u64(from.value() / 2));
        let reciprocal = splat(to.shoup_quotient(1, SHIFT));
        for (a, out) in a.iter().zip(out) {
            let shifted = from_lanes.add(load(a), half);
            let reduced = to_lanes.below_two(to_lanes.reduce_lazy(reciprocal, shifted));
            store(out, to_lanes.sub(reduced, half_reduced));
        }
    }
    let ((a, a_tail), (out, out_tail)) = (a.as_chunks(), out.as_chunks_mut());
    // SAFETY: `KERNEL` is reachable only where `supported` found these instructions.
    unsafe { groups(from, to, a, out) };
    portable::reduce_centered_into(from, to, a_tail, out_tail);
}

fn reduce_i64_into(modulus: &Modulus, a: &[i64], out: &mut [u64]) {
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn groups(modulus: &Modulus, a: &[[i64; LANES]], out: &mut [[u64; LANES]]) {
        // a + 2^63 = high · 2^50 + low with 14 and 50 bits; then 2^63 mod q is subtracted again.
        let lanes = Lanes::new(modulus);
        let reciprocal = splat(modulus.shoup_quotient(1, SHIFT));
        let step = Factor::new(modulus, modulus.reduce_u64(1 << 50));
        let offset = splat(modulus.reduce_u64(1 << 63));
        let low_mask = splat((1 << 50) - 1);
        for (a, out) in a.iter().zip(out) {
            // SAFETY: reads the 64 bytes of the array; the instruction takes any alignment.
            let a = unsafe { _mm512_loadu_si512(a.as_ptr().cast()) };
            let shifted = _mm512_xor_si512(a, splat(1 << 63));
            let high = lanes.times_lazy(step, _mm512_srli_epi64::<50>(shifted));
            let low = lanes.reduce_lazy(reciprocal, _mm512_and_si512(shifted, low_mask));
            store(
                out,
                lanes.sub(lanes.below_four(_mm512_add_epi64(high, low)), offset),
            );
        }
    }
    let ((a, a_tail), (out, out_tail)) = (a.as_chunks(), out.as_chunks_mut());
    // SAFETY: `KERNEL` is reachable only where `supported` found these instructions.
    unsafe { groups(modulus, a, out) };
    portable::reduce_i64_into(modulus, a_tail, out_tail);
}

fn fold(twist: &Twist, a: &mut [u64]) {
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn groups(twist: &Twist, front: &mut [[u64; LANES]], back: &mut [[u64; LANES]]) {
        let lanes = Lanes::new(&twist.modulus);
        let i = Factor::new(&twist.modulus, twist.imaginary);
        for ((f, b), [w, w_quotient, v, v_quotient]) in front
            .iter_mut()
            .zip(back.iter_mut().rev())
            .zip(twist.forward.groups())
        {
            let (x, rotated) = (load(f), lanes.times_lazy(i, reverse(load(b))));
            let difference = _mm512_add_epi64(_mm512_sub_epi64(x, rotated), lanes.two_q);
            let sum = _mm512_add_epi64(x, rotated);
            store(f, lanes.times(Factor::load(w, w_quotient), difference));
            store(b, reverse(lanes.times(Factor::load(v, v_quotient), sum)));
        }
    }
    let half = a.len() / 2;
    let (front, back) = a.split_at_mut(half);
    let (front_groups, front_rest) = front[1..].as_chunks_mut();
    let (back_rest, back_groups) = back[1..].as_rchunks_mut();
    let done = front_groups.len() * LANES;
    // SAFETY: `KERNEL` is reachable only where `supported` found these instructions.
    unsafe { groups(twist, front_groups, back_groups) };
    portable::fold_pairs::<SHIFT>(twist, done, front_rest, back_rest);
    back[0] = portable::Constant::<SHIFT>::new(&twist.modulus, twist.middle).times(back[0]);
}

fn unfold(twist: &Twist, a: &mut [u64]) {
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn groups(twist: &Twist, front: &mut [[u64; LANES]], back: &mut [[u64; LANES]]) {
        let lanes = Lanes::new(&twist.modulus);
        let i = Factor::new(&twist.modulus, twist.imaginary);
        for ((f, b), [w, w_quotient, v, v_quotient]) in front
            .iter_mut()
            .zip(back.iter_mut().rev())
            .zip(twist.inverse.groups())
        {
            let x = lanes.times_lazy(Factor::load(w, w_quotient), load(f));
            let y = lanes.times_lazy(Factor::load(v, v_quotient), reverse(load(b)));
            let difference = _mm512_add_epi64(_mm512_sub_epi64(x, y), lanes.two_q);
            store(f, lanes.below_four(difference));
            store(b, reverse(lanes.times(i, _mm512_add_epi64(x, y))));
        }
    }
    let half = a.len() / 2;
    let (front, back) = a.split_at_mut(half);
    let (front_groups, front_rest) = front[1..].as_chunks_mut();
    let (back_rest, back_groups) = back[1..].as_rchunks_mut();
    let done = front_groups.len() * LANES;
    // SAFETY: `KERNEL` is reachable only where `supported` found these instructions.
    unsafe { groups(twist, front_groups, back_groups) };
    portable::unfold_pairs::<SHIFT>(twist, done, front_rest, back_rest);
    front[0] =
        portable::Constant::<SHIFT>::new(&twist.modulus, twist.inverse_degree).times(front[0]);
    back[0] = portable::Constant::<SHIFT>::new(&twist.modulus, twist.inverse_middle).times(back[0]);
}

fn permute_blocks(sources: &[BlockSource], first: u32, a: &[u64], out: &mut [u64]) {
    #[target_feature(enable = "avx512f")]
    fn groups(sources: &[BlockSource], first: u32, a: &[[u64; LANES]], out: &mut [[u64; LANES]]) {
        for (out, source) in out.iter_mut().zip(sources) {
            let places = u64::from_le_bytes(source.places) as i64;
            let places = _mm512_cvtepu8_epi64(_mm_cvtsi64_si128(places));
            let block = load(&a[(source.block - first) as usize]);
            store(out, _mm512_permutexvar_epi64(places, block));
        }
    }
    // SAFETY: `KERNEL` is reachable only where `supported` found these instructions.
    unsafe { groups(sources, first, a.as_chunks().0, out.as_chunks_mut().0) };
}

fn cumulative_lookup(thresholds: &[u64], random: &[u64], out: &mut [i32]) {
    #[target_feature(enable = "avx512f")]
    fn groups(thresholds: &[u64], random: &[[u64; LANES]], out: &mut [[i32; LANES]]) {
        let one = splat(1);
        for (random, out) in random.iter().zip(out) {
            let random = load(random);
            let position = _mm512_and_si512(random, splat(u64::MAX >> 1));
            let mut magnitude = _mm512_setzero_si512();
            for &t in thresholds {
                let reached = _mm512_cmpge_epu64_mask(position, splat(t));
                magnitude = _mm512_mask_add_epi64(magnitude, reached, magnitude, one);
            }
            let sign = _mm512_srai_epi64::<63>(random);
            let value = _mm512_sub_epi64(_mm512_xor_si512(magnitude, sign), sign);
            // SAFETY: writes the 32 bytes of the array; the instruction takes any alignment.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(value)) };
        }
    }
    let ((random, random_tail), (out, out_tail)) = (random.as_chunks(), out.as_chunks_mut());
    // SAFETY: `KERNEL` is reachable only where `supported` found these instructions.
    unsafe { groups(thresholds, random, out) };
    portable::cumulative_lookup(thresholds, random_tail, out_tail);
}
