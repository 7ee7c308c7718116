//! Operations on whole limbs: slices of canonical residues modulo one prime.
//!
//! They are methods of [`Backend`], so that the choice of implementation is made once. All results are canonical
//! and the same bytes on every backend. Nothing branches on residues.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_ifma;
pub(crate) mod portable;

use crate::{Modulus, ResidueMatrix, automorphism::BlockSource, backend::Backend, ntt::Twist};

type SquareRows = fn(&Modulus, usize, &[[u64; 2]], [&mut [u8]; 3]);
type AddPackedProducts = fn(&Modulus, &mut [u64], &[(&[u64], &[u8])]);

/// The functions behind the methods; lengths are checked before they are called.
pub(crate) struct Kernel {
    /// Shoup quotients that the functions on a [`Twist`] expect are floor(w · 2^shift / q).
    pub(crate) shoup_shift: u32,
    pub(crate) add_assign: fn(&Modulus, &mut [u64], &[u64]),
    pub(crate) sub_assign: fn(&Modulus, &mut [u64], &[u64]),
    pub(crate) negate_assign: fn(&Modulus, &mut [u64]),
    pub(crate) multiply_assign: fn(&Modulus, &mut [u64], &[u64]),
    pub(crate) multiply_into: fn(&Modulus, &[u64], &[u64], &mut [u64]),
    pub(crate) multiply_add_assign: fn(&Modulus, &mut [u64], &[u64], &[u64]),
    pub(crate) add_scalar_assign: fn(&Modulus, &mut [u64], u64),
    pub(crate) multiply_scalar_assign: fn(&Modulus, &mut [u64], u64),
    pub(crate) multiply_scalar_add_assign: fn(&Modulus, &mut [u64], &[u64], u64),
    pub(crate) sub_multiply_scalar_assign: fn(&Modulus, &mut [u64], &[u64], u64),
    pub(crate) square_shifted_assign: fn(&Modulus, &mut [u64], &mut [u64], u64, &mut [u64]),
    pub(crate) reduce_centered_into: fn(&Modulus, &Modulus, &[u64], &mut [u64]),
    pub(crate) reduce_i64_into: fn(&Modulus, &[i64], &mut [u64]),
    pub(crate) fold: fn(&Twist, &mut [u64]),
    pub(crate) unfold: fn(&Twist, &mut [u64]),
    /// Eight results at a time from the block and the places of their source; blocks are counted from a first one, which
    /// the residues start with, and all exist.
    pub(crate) permute_blocks: fn(&[BlockSource], u32, &[u64], &mut [u64]),
    /// Width, packed bytes, residues; exactly as long as each other, width 1 to 8.
    pub(crate) unpack: fn(usize, &[u8], &mut [u64]),
    pub(crate) pack: fn(usize, &[u64], &mut [u8]),
    /// Masks rows of packed candidates to the bits of the modulus and lists the rows that have some not below it.
    /// Modulus, bytes of a row, whole rows, list.
    pub(crate) screen: fn(&Modulus, usize, &mut [u8], &mut Vec<usize>),
    /// Whether all packed residues are below the modulus.
    pub(crate) is_canonical: fn(&Modulus, &[u8]) -> bool,
    /// Modulus, bytes of a row, (bias, shift) of each row, packed c0, c1 and c2: [`Backend::square_rows`].
    pub(crate) square_rows: SquareRows,
    /// Modulus, sums, (residues, packed residues) of each product: [`Backend::add_packed_products`].
    pub(crate) add_packed_products: AddPackedProducts,
    /// out = ± the number of thresholds not above the low 63 bits; the sign is the top bit.
    pub(crate) cumulative_lookup: fn(&[u64], &[u64], &mut [i32]),
}

/// Panics unless the operands are equally long.
#[track_caller]
fn same_length(a: usize, b: usize) {
    assert_eq!(a, b, "limbs of different lengths");
}

/// Limb operations.
///
/// # Range
/// Residues and residue constants must be canonical, i.e. below the modulus; all results are.
///
/// # Panics
/// Every one panics if its slices are not equally long.
impl Backend {
    /// a += b.
    pub fn add_assign(&self, modulus: &Modulus, a: &mut [u64], b: &[u64]) {
        same_length(a.len(), b.len());
        (self.limb.add_assign)(modulus, a, b);
    }

    /// a -= b.
    pub fn sub_assign(&self, modulus: &Modulus, a: &mut [u64], b: &[u64]) {
        same_length(a.len(), b.len());
        (self.limb.sub_assign)(modulus, a, b);
    }

    /// a = -a.
    pub fn negate_assign(&self, modulus: &Modulus, a: &mut [u64]) {
        (self.limb.negate_assign)(modulus, a);
    }

    /// a *= b, position by position.
    pub fn multiply_assign(&self, modulus: &Modulus, a: &mut [u64], b: &[u64]) {
        same_length(a.len(), b.len());
        (self.limb.multiply_assign)(modulus, a, b);
    }

    /// out = a · b, position by position.
    pub fn multiply_into(&self, modulus: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
        same_length(a.len(), b.len());
        same_length(a.len(), out.len());
        (self.limb.multiply_into)(modulus, a, b, out);
    }

    /// sum += a · b, position by position.
    pub fn multiply_add_assign(&self, modulus: &Modulus, sum: &mut [u64], a: &[u64], b: &[u64]) {
        same_length(a.len(), b.len());
        same_length(a.len(), sum.len());
        (self.limb.multiply_add_assign)(modulus, sum, a, b);
    }

    /// sum += Σ a · b over pairs (a, packed b), position by position.
    ///
    /// # Cost
    /// With AVX-512 IFMA one reduction for eight products, and nothing is unpacked to memory.
    pub fn add_packed_products(
        &self,
        modulus: &Modulus,
        sum: &mut [u64],
        products: &[(&[u64], &[u8])],
    ) {
        for (a, b) in products {
            same_length(a.len(), sum.len());
            same_length(b.len(), sum.len() * modulus.byte_width());
        }
        (self.limb.add_packed_products)(modulus, sum, products);
    }

    /// a += c at every position: in evaluation form this adds the constant polynomial c.
    pub fn add_scalar_assign(&self, modulus: &Modulus, a: &mut [u64], c: u64) {
        assert!(c < modulus.value(), "the constant must be reduced");
        (self.limb.add_scalar_assign)(modulus, a, c);
    }

    /// a *= w.
    pub fn multiply_scalar_assign(&self, modulus: &Modulus, a: &mut [u64], w: u64) {
        assert!(w < modulus.value(), "the constant must be reduced");
        (self.limb.multiply_scalar_assign)(modulus, a, w);
    }

    /// sum += w · a.
    pub fn multiply_scalar_add_assign(
        &self,
        modulus: &Modulus,
        sum: &mut [u64],
        a: &[u64],
        w: u64,
    ) {
        same_length(a.len(), sum.len());
        assert!(w < modulus.value(), "the constant must be reduced");
        (self.limb.multiply_scalar_add_assign)(modulus, sum, a, w);
    }

    /// a = (a - b) · w: the last step of a rescale or of a division by the special prime.
    pub fn sub_multiply_scalar_assign(&self, modulus: &Modulus, a: &mut [u64], b: &[u64], w: u64) {
        same_length(a.len(), b.len());
        assert!(w < modulus.value(), "the constant must be reduced");
        (self.limb.sub_multiply_scalar_assign)(modulus, a, b, w);
    }

    /// (c0, c1) becomes (c0 · (c0 + r), c1 · (2·c0 + r)) and `c2` becomes c1^2: the components of x·(x + r).
    pub fn square_shifted_assign(
        &self,
        modulus: &Modulus,
        c0: &mut [u64],
        c1: &mut [u64],
        r: u64,
        c2: &mut [u64],
    ) {
        same_length(c0.len(), c1.len());
        same_length(c0.len(), c2.len());
        assert!(r < modulus.value(), "the constant must be reduced");
        (self.limb.square_shifted_assign)(modulus, c0, c1, r, c2);
    }

    /// Every row of (c0, c1) becomes the components 0 and 1 of x·(x + r) with x = c0 + bias + c1·s, and `c2` the third;
    /// a row has its own `[bias, r]`.
    ///
    /// # Shapes
    /// Three equal shapes with one pair of constants a row.
    pub fn square_rows(
        &self,
        modulus: &Modulus,
        constants: &[[u64; 2]],
        components: [&mut ResidueMatrix; 3],
    ) {
        let row_bytes = components[0].row_bytes();
        for matrix in &components {
            same_length(constants.len(), matrix.rows());
            same_length(row_bytes, matrix.row_bytes());
            assert_eq!(matrix.width(), modulus.byte_width(), "width of residues");
        }
        assert!(
            constants.iter().flatten().all(|&c| c < modulus.value()),
            "the constants must be reduced"
        );
        let components = components.map(ResidueMatrix::as_mut_bytes);
        (self.limb.square_rows)(modulus, row_bytes, constants, components);
    }

    /// out = a, taken as a number in (-p/2, p/2) with p the modulus `from`, mod `to`; either may be the larger one.
    pub fn reduce_centered_into(&self, from: &Modulus, to: &Modulus, a: &[u64], out: &mut [u64]) {
        same_length(a.len(), out.len());
        (self.limb.reduce_centered_into)(from, to, a, out);
    }

    /// out = a mod q, for any signed 64-bit numbers.
    pub fn reduce_i64_into(&self, modulus: &Modulus, a: &[i64], out: &mut [u64]) {
        same_length(a.len(), out.len());
        (self.limb.reduce_i64_into)(modulus, a, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{Modulus, ResidueMatrix, backend, prime::is_prime};

    fn modulus(bits: u32) -> Modulus {
        let prime = (0..1_u64 << bits).rev().find(|&q| is_prime(q));
        Modulus::new(prime.expect("there is a prime")).expect("a modulus")
    }

    fn matrix(rows: usize, columns: usize, residues: &[u64], q: &Modulus) -> ResidueMatrix {
        let mut matrix = ResidueMatrix::zeros(rows, columns, q.byte_width());
        for row in 0..rows {
            let residues: Vec<u64> = (0..columns)
                .map(|c| match residues[(row * columns + c) % residues.len()] {
                    r if r % 5 == 0 => q.value() - 1,
                    r => q.reduce_u64(r),
                })
                .collect();
            matrix.pack_row_from(row, &residues);
        }
        matrix
    }

    proptest! {
        #[test]
        fn packed_operations_are_alike(
            bits in 2_u32..=50, rows in 1_usize..4, columns in 1_usize..40,
            residues in prop::collection::vec(any::<u64>(), 40), bad in any::<prop::sample::Index>(),
        ) {
            let q = modulus(bits);
            let width = q.byte_width();
            let constants: Vec<[u64; 2]> =
                (0..rows).map(|r| [q.value() - 1, q.reduce_u64(residues[r])]).collect();
            let start = [0, 13, 29].map(|skip| matrix(rows, columns, &residues[skip..], &q));
            let squared = |backend: &backend::Backend| {
                let mut maps = start.clone();
                backend.square_rows(&q, &constants, maps.each_mut());
                maps
            };
            let expected = squared(backend::portable());
            // By the operations on whole limbs.
            for (row, &[bias, r]) in constants.iter().enumerate() {
                let mut x = [vec![0; columns], vec![0; columns], vec![0; columns]];
                let [x0, x1, x2] = &mut x;
                start[0].unpack_row_into(row, x0);
                start[1].unpack_row_into(row, x1);
                backend::portable().add_scalar_assign(&q, x0, bias);
                backend::portable().square_shifted_assign(&q, x0, x1, r, x2);
                for (component, x) in expected.iter().zip(&x) {
                    let mut found = vec![0; columns];
                    component.unpack_row_into(row, &mut found);
                    prop_assert_eq!(&found, x);
                }
            }
            let unpacked: Vec<Vec<u64>> = (0..rows)
                .map(|row| {
                    let mut residues = vec![0; columns];
                    start[1].unpack_row_into(row, &mut residues);
                    residues
                })
                .collect();
            // More than what is summed without a reduction.
            let products: Vec<_> = (0..20)
                .map(|k| (&unpacked[k % rows][..], start[0].row((k + k / rows) % rows)))
                .collect();
            let summed = |backend: &backend::Backend, count: usize| {
                let mut sum = unpacked[0].clone();
                backend.add_packed_products(&q, &mut sum, &products[..count]);
                sum
            };
            for count in [0, 1, 7, 8, 9, 20] {
                let mut expected = unpacked[0].clone();
                for (a, b) in &products[..count] {
                    let mut factor = vec![0; columns];
                    crate::unpack(width, b, &mut factor);
                    backend::portable().multiply_add_assign(&q, &mut expected, a, &factor);
                }
                for backend in backend::available() {
                    prop_assert_eq!(&summed(backend, count), &expected, "{}", backend.name);
                }
            }
            let candidates: Vec<u8> = residues
                .iter()
                .cycle()
                .flat_map(|r| r.to_le_bytes())
                .take(rows * columns * width)
                .collect();
            let screened = |backend: &backend::Backend| {
                let (mut bytes, mut rejected) = (candidates.clone(), vec![]);
                (backend.limb.screen)(&q, columns * width, &mut bytes, &mut rejected);
                (bytes, rejected)
            };
            let mut damaged = start[0].as_bytes().to_vec();
            let place = bad.index(rows * columns) * width;
            damaged[place..place + width].copy_from_slice(&q.value().to_le_bytes()[..width]);
            for backend in backend::available() {
                prop_assert!(squared(backend) == expected, "{}", backend.name);
                prop_assert_eq!(screened(backend), screened(backend::portable()));
                prop_assert!((backend.limb.is_canonical)(&q, start[0].as_bytes()));
                prop_assert!(!(backend.limb.is_canonical)(&q, &damaged));
            }
        }
    }
}
