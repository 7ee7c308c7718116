//! Sums and squares with encoded vectors.

use rayon::prelude::*;
use sordino_ring::{pack, unpack};

use super::check_rows;
use super::product::check_two_components;
use crate::ciphertexts::zero_matrix;
use crate::rows::{rows_of, update_rows_by};
use crate::{Ciphertexts, Context, Error, Plaintexts};

impl Context {
    /// Adds vector f to ciphertext f.
    ///
    /// # Level and scale
    /// The vectors have the scale of the ciphertexts and as many limbs or more; both stay.
    ///
    /// # Errors
    /// [`Error::Count`] if there is not one vector a ciphertext or they have fewer limbs, [`Error::ScaleMismatch`],
    /// [`Error::ParametersMismatch`].
    pub fn add_plaintexts(
        &self,
        a: &mut Ciphertexts,
        plaintexts: &Plaintexts,
    ) -> Result<(), Error> {
        self.check_vectors("sum with vectors", a, plaintexts)?;
        for (limb, matrix) in a.parts[0].iter_mut().enumerate() {
            let modulus = self.modulus(limb);
            let vectors = plaintexts.of_modulus(self, limb);
            update_rows_by(matrix, vectors, |_, residues, vector| {
                self.backend().add_assign(modulus, residues, vector);
            });
        }
        Ok(())
    }

    /// x (x + r) slot by slot, with a vector r a ciphertext: three components at the squared scale.
    ///
    /// # Level and scale
    /// `shift` has the scale of the ciphertexts and as many limbs or more. The scale is squared, the level stays.
    ///
    /// # Errors
    /// [`Error::Components`] unless there are two, else as [`add_plaintexts`](Self::add_plaintexts).
    pub fn square_shifted_by(
        &self,
        mut a: Ciphertexts,
        shift: &Plaintexts,
    ) -> Result<Ciphertexts, Error> {
        check_two_components("square", &a)?;
        self.check_vectors("square", &a, shift)?;
        a.scale = a.scale.times(a.scale.value())?;
        let (rows, limbs, n) = (a.len(), a.limbs(), self.ring_degree());
        a.parts.push(
            (0..limbs)
                .map(|limb| zero_matrix(self, rows, limb))
                .collect(),
        );
        for limb in 0..limbs {
            let (modulus, backend) = (self.modulus(limb), self.backend());
            let width = modulus.byte_width();
            let shift = shift.of_modulus(self, limb);
            rows_of(a.parts.iter_mut().map(|component| &mut component[limb]))
                .par_chunks_exact_mut(3)
                .enumerate()
                .for_each_init(
                    || vec![0; 4 * n],
                    |scratch, (row, parts)| {
                        let (c0, rest) = scratch.split_at_mut(n);
                        let (c1, rest) = rest.split_at_mut(n);
                        let (sum, spare) = rest.split_at_mut(n);
                        unpack(width, parts[0], c0);
                        unpack(width, parts[1], c1);
                        // (c0 (c0 + R), c1 (2 c0 + R), c1²).
                        shift.unpack_row_into(row, sum);
                        backend.add_assign(modulus, sum, c0);
                        let product = |a: &[u64], b: &[u64], out: &mut [u64], to: &mut [u8]| {
                            backend.multiply_into(modulus, a, b, out);
                            pack(width, out, to);
                        };
                        product(c0, sum, spare, parts[0]);
                        backend.add_assign(modulus, sum, c0);
                        product(c1, sum, spare, parts[1]);
                        product(c1, c1, spare, parts[2]);
                    },
                );
        }
        Ok(a)
    }

    /// Vectors of this context with enough limbs.
    pub(super) fn check_plaintexts(
        &self,
        what: &'static str,
        a: &Ciphertexts,
        plaintexts: &Plaintexts,
    ) -> Result<(), Error> {
        if plaintexts.parameters() != self.digest() {
            return Err(Error::ParametersMismatch {
                what,
                expected: self.digest(),
                found: plaintexts.parameters(),
            });
        }
        if plaintexts.limbs() < a.limbs() {
            return Err(Error::Count {
                what: "limbs of encoded vectors (at least those of the ciphertexts)",
                expected: a.limbs(),
                found: plaintexts.limbs(),
            });
        }
        Ok(())
    }

    /// One vector a ciphertext, at its scale.
    fn check_vectors(
        &self,
        what: &'static str,
        a: &Ciphertexts,
        plaintexts: &Plaintexts,
    ) -> Result<(), Error> {
        self.check_parameters(what, a)?;
        self.check_plaintexts(what, a, plaintexts)?;
        check_rows(
            "encoded vectors, one a ciphertext",
            a.len(),
            plaintexts.len(),
        )?;
        if plaintexts.scale().is_close_to(a.scale) {
            Ok(())
        } else {
            Err(Error::ScaleMismatch {
                what,
                left: a.scale.log2(),
                right: plaintexts.scale().log2(),
            })
        }
    }
}
