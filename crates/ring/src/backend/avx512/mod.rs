//! Limb operations with AVX-512 and its 52-bit multiply-add (IFMA), eight residues at a time. Every processor with IFMA
//! has the byte permutes (VBMI) for packing too.

pub(super) mod bytes;
mod lanes;
mod packed;

use std::arch::x86_64::*;

use self::bytes::for_width;
use self::lanes::{Factor, LANES, Lanes, SHIFT, load, reverse, splat, store};
use super::{
    limb::{self, BlockSource, LimbOperations, Portable},
    twist::Twist,
};
use crate::Modulus;

/// The operations of processors with the instructions of the back end `avx512-vnni`.
pub(super) struct Avx512Ifma;

/// Defines an operation by what it does to eight lanes; what is left over goes to the plain operation.
///
/// The first slice of the list decides how many groups there are; all are equally long (checked by the callers).
macro_rules! limb_operation {
    (
        fn $name:ident($modulus:ident: &Modulus, $($argument:ident: $kind:tt),*);
        let $lanes:ident, $prepared:pat = $prepare:expr;
        $body:block
    ) => {
        fn $name(&self, $modulus: &Modulus, $($argument: limb_operation!(@type $kind)),*) {
            #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
            fn groups($modulus: &Modulus, $($argument: limb_operation!(@type $kind)),*) {
                let $lanes = Lanes::new($modulus);
                let $prepared = $prepare;
                limb_operation!(@loop $body, $($argument: $kind),*);
            }
            // SAFETY: this is used only where `backend::available` found these instructions.
            unsafe { groups($modulus, $(limb_operation!(@reborrow $argument $kind)),*) };
            $(limb_operation!(@tail $argument $kind);)*
            Portable.$name($modulus, $($argument),*);
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

impl LimbOperations for Avx512Ifma {
    fn shoup_shift(&self) -> u32 {
        SHIFT
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

    fn combine_assign(&self, modulus: &Modulus, sum: &mut [u64], terms: &[(&[u64], u64)]) {
        #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
        fn groups(
            modulus: &Modulus,
            sum: &mut [[u64; LANES]],
            terms: &[(&[[u64; LANES]], __m512i)],
        ) {
            let lanes = Lanes::new(modulus);
            let radix = Factor::new(modulus, modulus.reduce_u64(1 << SHIFT));
            let reciprocal = splat(modulus.shoup_quotient(1, SHIFT));
            for (group, sum) in sum.iter_mut().enumerate() {
                let (mut low, mut high) = (load(sum), _mm512_setzero_si512());
                for &(a, w) in terms {
                    let a = load(&a[group]);
                    low = _mm512_madd52lo_epu64(low, a, w);
                    high = _mm512_madd52hi_epu64(high, a, w);
                }
                store(sum, lanes.reduce_sum(radix, reciprocal, low, high));
            }
        }
        let (groups_of_sum, tail) = sum.as_chunks_mut();
        // SAFETY: this is used only where `backend::available` found these instructions.
        unsafe {
            let whole = terms.iter().map(|(a, w)| (a.as_chunks().0, splat(*w)));
            groups(modulus, groups_of_sum, &whole.collect::<Vec<_>>());
        }
        let rest: Vec<_> = terms
            .iter()
            .map(|(a, w)| (a.as_chunks::<LANES>().1, *w))
            .collect();
        Portable.combine_assign(modulus, tail, &rest);
    }

    fn reduce_i64_into(&self, modulus: &Modulus, a: &[i64], out: &mut [u64]) {
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
        // SAFETY: this is used only where `backend::available` found these instructions.
        unsafe { groups(modulus, a, out) };
        Portable.reduce_i64_into(modulus, a_tail, out_tail);
    }

    fn fold(&self, twist: &Twist, a: &mut [u64]) {
        let (_, back) = pass(twist, a, fold_groups, limb::fold_pairs::<SHIFT>);
        limb::fold_middle::<SHIFT>(twist, back);
    }

    fn unfold(&self, twist: &Twist, a: &mut [u64]) {
        let (front, back) = pass(twist, a, unfold_groups, limb::unfold_pairs::<SHIFT>);
        limb::unfold_middle::<SHIFT>(twist, front, back);
    }

    fn permute_blocks(&self, sources: &[BlockSource], first: u32, a: &[u64], out: &mut [u64]) {
        #[target_feature(enable = "avx512f")]
        fn groups(
            sources: &[BlockSource],
            first: u32,
            a: &[[u64; LANES]],
            out: &mut [[u64; LANES]],
        ) {
            for (out, source) in out.iter_mut().zip(sources) {
                let places = u64::from_le_bytes(source.places) as i64;
                let places = _mm512_cvtepu8_epi64(_mm_cvtsi64_si128(places));
                let block = load(&a[(source.block - first) as usize]);
                store(out, _mm512_permutexvar_epi64(places, block));
            }
        }
        // SAFETY: this is used only where `backend::available` found these instructions.
        unsafe { groups(sources, first, a.as_chunks().0, out.as_chunks_mut().0) };
    }

    fn cumulative_lookup(&self, thresholds: &[u64], random: &[u64], out: &mut [i32]) {
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
                unsafe {
                    _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(value))
                };
            }
        }
        let ((random, random_tail), (out, out_tail)) = (random.as_chunks(), out.as_chunks_mut());
        // SAFETY: this is used only where `backend::available` found these instructions.
        unsafe { groups(thresholds, random, out) };
        Portable.cumulative_lookup(thresholds, random_tail, out_tail);
    }

    fn unpack(&self, width: usize, bytes: &[u8], out: &mut [u64]) {
        let (whole, tail) = out.as_chunks_mut();
        let (bytes, tail_bytes) = bytes.split_at(whole.len() * LANES * width);
        // SAFETY: this is used only where `backend::available` found these instructions.
        unsafe { for_width!(width, bytes::unpack(bytes, whole)) };
        Portable.unpack(width, tail_bytes, tail);
    }

    fn pack(&self, width: usize, residues: &[u64], out: &mut [u8]) {
        let (whole, tail) = residues.as_chunks();
        let (out, tail_out) = out.split_at_mut(whole.len() * LANES * width);
        // SAFETY: this is used only where `backend::available` found these instructions.
        unsafe { for_width!(width, bytes::pack(whole, out)) };
        Portable.pack(width, tail, tail_out);
    }

    fn screen(
        &self,
        modulus: &Modulus,
        row_bytes: usize,
        rows: &mut [u8],
        rejected: &mut Vec<usize>,
    ) {
        // SAFETY: this is used only where `backend::available` found these instructions.
        unsafe {
            for_width!(
                modulus.byte_width(),
                packed::screen(modulus, row_bytes, rows, rejected)
            )
        }
    }

    fn is_canonical(&self, modulus: &Modulus, bytes: &[u8]) -> bool {
        let width = modulus.byte_width();
        let (whole, tail) = bytes.split_at(bytes.len() - bytes.len() % (LANES * width));
        // SAFETY: this is used only where `backend::available` found these instructions.
        let canonical = unsafe { for_width!(width, packed::is_canonical(modulus, whole)) };
        canonical && Portable.is_canonical(modulus, tail)
    }

    fn square_rows(
        &self,
        modulus: &Modulus,
        row_bytes: usize,
        constants: &[[u64; 2]],
        components: [&mut [u8]; 3],
    ) {
        // SAFETY: this is used only where `backend::available` found these instructions.
        unsafe {
            for_width!(
                modulus.byte_width(),
                packed::square_rows(modulus, row_bytes, constants, components)
            )
        }
    }

    fn add_packed_products(
        &self,
        modulus: &Modulus,
        sum: &mut [u64],
        products: &[(&[u64], &[u8])],
    ) {
        let width = modulus.byte_width();
        let (whole, tail) = sum.as_chunks_mut::<LANES>();
        let done = whole.len() * LANES;
        // SAFETY: this is used only where `backend::available` found these instructions.
        unsafe { for_width!(width, packed::add_packed_products(modulus, whole, products)) };
        for (a, b) in products {
            Portable.add_packed_products(modulus, tail, &[(&a[done..], &b[done * width..])]);
        }
    }
}

/// Whole registers of a half of a limb.
type Groups<'a> = &'a mut [[u64; LANES]];

/// One pass of the conjugate-invariant transform over the two halves of a limb, which it returns: whole groups of pairs
/// by `groups`, the pairs from a position on by `rest`.
fn pass<'a>(
    twist: &Twist,
    a: &'a mut [u64],
    groups: unsafe fn(&Twist, Groups<'_>, Groups<'_>),
    rest: fn(&Twist, usize, &mut [u64], &mut [u64]),
) -> (&'a mut [u64], &'a mut [u64]) {
    let (front, back) = a.split_at_mut(a.len() / 2);
    let (front_groups, front_rest) = front[1..].as_chunks_mut();
    let (back_rest, back_groups) = back[1..].as_rchunks_mut();
    let done = front_groups.len() * LANES;
    // SAFETY: this is used only where `backend::available` found the instructions of `groups`.
    unsafe { groups(twist, front_groups, back_groups) };
    rest(twist, done, front_rest, back_rest);
    (front, back)
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn fold_groups(twist: &Twist, front: Groups<'_>, back: Groups<'_>) {
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

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn unfold_groups(twist: &Twist, front: Groups<'_>, back: Groups<'_>) {
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
