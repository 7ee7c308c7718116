//! Operations on whole limbs, slices of canonical residues modulo one prime, and on their packed form.
//!
//! They are methods of [`Backend`], so that the choice of implementation is made once. All results are canonical
//! and the same bytes on every back end. Nothing branches on residues.

use rayon::prelude::*;

use super::{bytes, limb::MOST_COMBINED, table::Backend};
use crate::{Error, Modulus, ResidueMatrix, error::check_shape};

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
        self.limb.add_assign(modulus, a, b);
    }

    /// a -= b.
    pub fn sub_assign(&self, modulus: &Modulus, a: &mut [u64], b: &[u64]) {
        same_length(a.len(), b.len());
        self.limb.sub_assign(modulus, a, b);
    }

    /// a *= b, position by position.
    pub fn multiply_assign(&self, modulus: &Modulus, a: &mut [u64], b: &[u64]) {
        same_length(a.len(), b.len());
        self.limb.multiply_assign(modulus, a, b);
    }

    /// out = a · b, position by position.
    pub fn multiply_into(&self, modulus: &Modulus, a: &[u64], b: &[u64], out: &mut [u64]) {
        same_length(a.len(), b.len());
        same_length(a.len(), out.len());
        self.limb.multiply_into(modulus, a, b, out);
    }

    /// sum += a · b, position by position.
    pub fn multiply_add_assign(&self, modulus: &Modulus, sum: &mut [u64], a: &[u64], b: &[u64]) {
        same_length(a.len(), b.len());
        same_length(a.len(), sum.len());
        self.limb.multiply_add_assign(modulus, sum, a, b);
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
        self.limb.add_packed_products(modulus, sum, products);
    }

    /// a += c at every position: in evaluation form this adds the constant polynomial c.
    pub fn add_scalar_assign(&self, modulus: &Modulus, a: &mut [u64], c: u64) {
        assert!(c < modulus.value(), "the constant must be reduced");
        self.limb.add_scalar_assign(modulus, a, c);
    }

    /// a *= w.
    pub fn multiply_scalar_assign(&self, modulus: &Modulus, a: &mut [u64], w: u64) {
        assert!(w < modulus.value(), "the constant must be reduced");
        self.limb.multiply_scalar_assign(modulus, a, w);
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
        self.limb.multiply_scalar_add_assign(modulus, sum, a, w);
    }

    /// a = (a - b) · w: the last step of a rescale or of a division by the special prime.
    pub fn sub_multiply_scalar_assign(&self, modulus: &Modulus, a: &mut [u64], b: &[u64], w: u64) {
        same_length(a.len(), b.len());
        assert!(w < modulus.value(), "the constant must be reduced");
        self.limb.sub_multiply_scalar_assign(modulus, a, b, w);
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
        self.limb.square_shifted_assign(modulus, c0, c1, r, c2);
    }

    /// With x = c0 + bias + c1·s in every row, (c0, c1) become components 0 and 1 of x·(x + r) and `c2` becomes
    /// component 2; each row has its own `[bias, r]`.
    ///
    /// # Shapes
    /// Three equal shapes, and one pair of constants per row.
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
        self.limb
            .square_rows(modulus, row_bytes, constants, components);
    }

    /// sum += Σ w · a, for any numbers a below 2^50 and residues w.
    pub fn combine_assign(&self, modulus: &Modulus, sum: &mut [u64], terms: &[(&[u64], u64)]) {
        for (a, w) in terms {
            same_length(a.len(), sum.len());
            assert!(*w < modulus.value(), "the constants must be reduced");
            debug_assert!(a.iter().all(|&a| a < 1 << Modulus::MAX_BITS));
        }
        for terms in terms.chunks(MOST_COMBINED) {
            self.limb.combine_assign(modulus, sum, terms);
        }
    }

    /// out = a mod q, for any signed 64-bit numbers.
    pub fn reduce_i64_into(&self, modulus: &Modulus, a: &[i64], out: &mut [u64]) {
        same_length(a.len(), out.len());
        self.limb.reduce_i64_into(modulus, a, out);
    }

    /// Reads `out.len()` residues of `width` little-endian bytes each.
    ///
    /// # Panics
    /// If `width` is not 1 to 8 or `bytes` is not exactly `width · out.len()` long.
    pub fn unpack(&self, width: usize, bytes: &[u8], out: &mut [u64]) {
        check_packed(width, bytes.len(), out.len());
        self.limb.unpack(width, bytes, out);
    }

    /// Writes residues as `width` little-endian bytes each, without padding; higher bytes are cut off.
    ///
    /// # Panics
    /// If `width` is not 1 to 8 or `out` is not exactly `width · residues.len()` long.
    pub fn pack(&self, width: usize, residues: &[u64], out: &mut [u8]) {
        check_packed(width, out.len(), residues.len());
        self.limb.pack(width, residues, out);
    }

    /// Unpacks one row of a matrix.
    ///
    /// # Panics
    /// If there is no such row or `out` is not N long.
    pub fn unpack_row(&self, matrix: &ResidueMatrix, row: usize, out: &mut [u64]) {
        self.unpack(matrix.width(), matrix.row(row), out);
    }

    /// Packs residues into one row of a matrix.
    ///
    /// # Panics
    /// If there is no such row or `residues` is not N long.
    pub fn pack_row(&self, matrix: &mut ResidueMatrix, row: usize, residues: &[u64]) {
        self.pack(matrix.width(), residues, matrix.row_mut(row));
    }

    /// Checks a matrix from outside: the width is the modulus' own and every residue is below it.
    ///
    /// # Errors
    /// [`Error::Shape`] for another width, [`Error::ResidueRange`] naming the first residue that is too large.
    pub fn validate(&self, modulus: &Modulus, matrix: &ResidueMatrix) -> Result<(), Error> {
        let width = modulus.byte_width();
        check_shape("bytes per residue of this modulus", width, matrix.width())?;
        let bad = matrix
            .par_rows()
            .enumerate()
            .find_map_first(|(row, bytes)| {
                if self.limb.is_canonical(modulus, bytes) {
                    return None;
                }
                let mut residues = bytes.chunks_exact(width).map(bytes::word);
                let column = residues.position(|residue| residue >= modulus.value())?;
                Some((row, column))
            });
        match bad {
            Some((row, column)) => Err(Error::ResidueRange {
                row,
                column,
                modulus: modulus.value(),
            }),
            None => Ok(()),
        }
    }
}

#[track_caller]
fn check_packed(width: usize, bytes: usize, residues: usize) {
    assert!((1..=8).contains(&width), "width must be 1 to 8 bytes");
    assert_eq!(
        bytes,
        width * residues,
        "packed residues have exactly this many bytes"
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{Error, Modulus, ResidueMatrix, backend, prime::is_prime};

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
            backend::portable().pack_row(&mut matrix, row, &residues);
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
                backend::portable().unpack_row(&start[0], row, x0);
                backend::portable().unpack_row(&start[1], row, x1);
                backend::portable().add_scalar_assign(&q, x0, bias);
                backend::portable().square_shifted_assign(&q, x0, x1, r, x2);
                for (component, x) in expected.iter().zip(&x) {
                    let mut found = vec![0; columns];
                    backend::portable().unpack_row(component, row, &mut found);
                    prop_assert_eq!(&found, x);
                }
            }
            let unpacked: Vec<Vec<u64>> = (0..rows)
                .map(|row| {
                    let mut residues = vec![0; columns];
                    backend::portable().unpack_row(&start[1], row, &mut residues);
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
                    backend::portable().unpack(width, b, &mut factor);
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
                backend.limb.screen(&q, columns * width, &mut bytes, &mut rejected);
                (bytes, rejected)
            };
            let mut damaged = start[0].as_bytes().to_vec();
            let place = bad.index(rows * columns) * width;
            damaged[place..place + width].copy_from_slice(&q.value().to_le_bytes()[..width]);
            for backend in backend::available() {
                prop_assert!(squared(backend) == expected, "{}", backend.name);
                prop_assert_eq!(screened(backend), screened(backend::portable()));
                prop_assert!(backend.limb.is_canonical(&q, start[0].as_bytes()));
                prop_assert!(!backend.limb.is_canonical(&q, &damaged));
            }
        }

        #[test]
        fn round_trip_and_layout(width in 1_usize..=8, values in prop::collection::vec(any::<u64>(), 0..90)) {
            let mask = u64::MAX >> (64 - 8 * width);
            let plain: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()[..width].to_vec()).collect();
            let expected: Vec<u64> = values.iter().map(|v| v & mask).collect();
            for backend in backend::available() {
                let mut bytes = vec![0xa5; width * values.len()];
                backend.pack(width, &values, &mut bytes);
                prop_assert_eq!(&bytes, &plain, "{}", backend.name);
                let mut back = vec![u64::MAX; values.len()];
                backend.unpack(width, &bytes, &mut back);
                prop_assert_eq!(&back, &expected, "{}", backend.name);
            }
        }
    }

    #[test]
    fn rows_are_independent_and_round_trip() {
        for backend in backend::available() {
            for width in 3..=7 {
                let mut matrix = ResidueMatrix::zeros(3, 20, width);
                let values: Vec<Vec<u64>> = (0..3)
                    .map(|r| {
                        (0..20)
                            .map(|c| r * 1000 + c + (1 << (8 * width - 1)))
                            .collect()
                    })
                    .collect();
                for (r, values) in values.iter().enumerate() {
                    backend.pack_row(&mut matrix, r, values);
                }
                let again =
                    ResidueMatrix::from_bytes(3, 20, width, matrix.as_bytes().to_vec()).unwrap();
                assert!(again == matrix);
                let mut out = vec![0; 20];
                for (r, values) in values.iter().enumerate() {
                    backend.unpack_row(&again, r, &mut out);
                    assert_eq!(&out, values);
                }
            }
        }
    }

    #[test]
    fn validate_finds_the_first_residue_out_of_range() {
        for backend in backend::available() {
            let q = Modulus::new(4_294_967_291).unwrap();
            let mut matrix = ResidueMatrix::zeros(3, 1024, 4);
            let mut row = vec![q.value() - 1; 1024];
            backend.pack_row(&mut matrix, 1, &row);
            assert_eq!(backend.validate(&q, &matrix), Ok(()));
            row[700] = q.value();
            row[900] = q.value() + 1;
            backend.pack_row(&mut matrix, 1, &row);
            backend.pack_row(&mut matrix, 2, &row);
            assert_eq!(
                backend.validate(&q, &matrix),
                Err(Error::ResidueRange {
                    row: 1,
                    column: 700,
                    modulus: q.value()
                })
            );
            let narrow = ResidueMatrix::zeros(1, 16, 3);
            assert!(matches!(
                backend.validate(&q, &narrow),
                Err(Error::Shape {
                    expected: 4,
                    found: 3,
                    ..
                })
            ));
        }
    }

    #[test]
    #[should_panic(expected = "exactly")]
    fn unpack_refuses_a_wrong_length() {
        backend::portable().unpack(4, &[0; 15], &mut [0; 4]);
    }

    #[test]
    #[should_panic(expected = "exactly")]
    fn pack_refuses_a_wrong_length() {
        backend::portable().pack(5, &[0; 4], &mut [0; 21]);
    }
}
