//! Sums and squares with encoded vectors.

use super::product::check_two_components;
use crate::error::{check, check_count};
use crate::rows::update_rows_by;
use crate::{Ciphertexts, Context, Error, Plaintexts};

impl Context {
    /// Adds vector f to ciphertext f.
    ///
    /// # Level and scale
    /// The vectors have the scale of the ciphertexts and as many limbs or more; both stay.
    ///
    /// # Errors
    /// [`Error::Count`] if there is not one vector per ciphertext or they have fewer limbs, [`Error::ScaleMismatch`],
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
            update_rows_by(self.backend(), matrix, &vectors, |_, residues, vector| {
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
        a: Ciphertexts,
        shift: &Plaintexts,
    ) -> Result<Ciphertexts, Error> {
        check_two_components("square", &a)?;
        self.check_vectors("square", &a, shift)?;
        let shifts: Vec<_> = (0..a.limbs())
            .map(|limb| shift.of_modulus(self, limb))
            .collect();
        self.square_rows(a, |limb, row, [c0, c1, c2, sum]| {
            let (modulus, backend) = (self.modulus(limb), self.backend());
            // (c0 (c0 + R), c1 (2 c0 + R), c1²).
            backend.unpack_row(&shifts[limb], row, sum);
            backend.add_assign(modulus, sum, c0);
            backend.multiply_into(modulus, c1, c1, c2);
            backend.add_assign(modulus, c0, sum);
            backend.multiply_assign(modulus, c1, c0);
            backend.sub_assign(modulus, c0, sum);
            backend.multiply_assign(modulus, c0, sum);
        })
    }

    /// Vectors of this context with enough limbs.
    pub(super) fn check_plaintexts(
        &self,
        what: &'static str,
        a: &Ciphertexts,
        plaintexts: &Plaintexts,
    ) -> Result<(), Error> {
        self.check_digest(what, plaintexts.parameters())?;
        check(
            plaintexts.limbs() >= a.limbs(),
            "limbs of encoded vectors (at least those of the ciphertexts)",
            a.limbs(),
            plaintexts.limbs(),
        )
    }

    /// One vector per ciphertext, at its scale.
    fn check_vectors(
        &self,
        what: &'static str,
        a: &Ciphertexts,
        plaintexts: &Plaintexts,
    ) -> Result<(), Error> {
        self.check_parameters(what, a)?;
        self.check_plaintexts(what, a, plaintexts)?;
        check_count(
            "encoded vectors, one per ciphertext",
            a.len(),
            plaintexts.len(),
        )?;
        self.check_scales(what, a.scale, plaintexts.scale())
    }
}
