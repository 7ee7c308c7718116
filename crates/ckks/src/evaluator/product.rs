//! Products of ciphertexts: two components in, three out.

use rayon::prelude::*;

use super::{RowOperation, check_components};
use crate::rows::rows_of;
use crate::{Ciphertexts, Context, Error};

impl Context {
    /// a · b, slot by slot: three components at the product of the scales.
    ///
    /// # Level and scale
    /// Both operands have the same level; the scales are multiplied. Neither relinearizes nor rescales.
    ///
    /// # Errors
    /// [`Error::Count`], [`Error::Level`] or [`Error::ParametersMismatch`] where the operands differ,
    /// [`Error::Components`] unless both have two.
    pub fn multiply(&self, a: &Ciphertexts, b: &Ciphertexts) -> Result<Ciphertexts, Error> {
        self.check_pair("product", a, b)?;
        check_two_components("product", a)?;
        let scale = a.scale.times(b.scale.value())?;
        let mut product = Ciphertexts::unspecified(self, a.len(), 3, a.limbs(), scale);
        let n = self.ring_degree();
        for limb in 0..a.limbs() {
            let modulus = self.modulus(limb);
            let outputs = product
                .parts
                .iter_mut()
                .map(|component| &mut component[limb]);
            rows_of(outputs)
                .par_chunks_exact_mut(3)
                .enumerate()
                .for_each_init(
                    || vec![0; 5 * n],
                    |scratch, (row, outputs)| {
                        let (cross, factors) = scratch.split_at_mut(n);
                        let [a0, a1, b0, b1] = quarters(factors);
                        let backend = self.backend();
                        backend.unpack_row(&a.parts[0][limb], row, a0);
                        backend.unpack_row(&a.parts[1][limb], row, a1);
                        backend.unpack_row(&b.parts[0][limb], row, b0);
                        backend.unpack_row(&b.parts[1][limb], row, b1);
                        backend.multiply_into(modulus, a0, b1, cross);
                        backend.multiply_add_assign(modulus, cross, a1, b0);
                        backend.multiply_assign(modulus, a0, b0);
                        backend.multiply_assign(modulus, a1, b1);
                        self.pack(limb, a0, outputs[0]);
                        self.pack(limb, cross, outputs[1]);
                        self.pack(limb, a1, outputs[2]);
                    },
                );
        }
        Ok(product)
    }

    /// a², slot by slot: three components at the squared scale.
    ///
    /// # Errors
    /// As [`multiply`](Self::multiply).
    pub fn square(&self, a: Ciphertexts) -> Result<Ciphertexts, Error> {
        let zeros = vec![0; a.len()];
        self.square_shifted(a, &zeros)
    }

    /// x (x + r) slot by slot, with a constant r a ciphertext: three components at the squared scale.
    ///
    /// With R = `shift[f]` this is (c_0 (c_0 + R), c_1 (2 c_0 + R), c_1²): one product and no extra level.
    ///
    /// # Level and scale
    /// `shift` is at the scale of the ciphertexts: r · scale, rounded. The scale is squared, the level stays.
    ///
    /// # Errors
    /// [`Error::Components`] unless there are two, [`Error::Count`] if there is not one shift per ciphertext,
    /// [`Error::ParametersMismatch`].
    pub fn square_shifted(&self, a: Ciphertexts, shift: &[i128]) -> Result<Ciphertexts, Error> {
        self.check_parameters("square", &a)?;
        let square = RowOperation::Square { shift };
        Ok(self.apply_rows(a, &[square])?.ciphertexts)
    }

    /// The squared scale and a third component, of ciphertexts with two; `square(limb, row, [c0, c1, c2, scratch])`
    /// replaces the first two components of a polynomial and makes the third.
    ///
    /// # Errors
    /// [`Error::Scale`].
    pub(super) fn square_rows(
        &self,
        mut a: Ciphertexts,
        square: impl Fn(usize, usize, [&mut [u64]; 4]) + Sync,
    ) -> Result<Ciphertexts, Error> {
        a.scale = a.scale.times(a.scale.value())?;
        let (rows, limbs, n) = (a.len(), a.limbs(), self.ring_degree());
        a.parts.push(
            (0..limbs)
                .map(|limb| self.unspecified(rows, limb))
                .collect(),
        );
        for limb in 0..limbs {
            rows_of(a.parts.iter_mut().map(|component| &mut component[limb]))
                .par_chunks_exact_mut(3)
                .enumerate()
                .for_each_init(
                    || vec![0; 4 * n],
                    |scratch, (row, parts)| {
                        let [c0, c1, c2, spare] = quarters(scratch);
                        self.unpack(limb, parts[0], c0);
                        self.unpack(limb, parts[1], c1);
                        square(limb, row, [&mut *c0, &mut *c1, &mut *c2, spare]);
                        for (values, part) in [c0, c1, c2].into_iter().zip(parts) {
                            self.pack(limb, values, part);
                        }
                    },
                );
        }
        Ok(a)
    }
}

fn quarters(scratch: &mut [u64]) -> [&mut [u64]; 4] {
    let (low, high) = scratch.split_at_mut(scratch.len() / 2);
    let (a, b) = low.split_at_mut(low.len() / 2);
    let (c, d) = high.split_at_mut(high.len() / 2);
    [a, b, c, d]
}

pub(super) fn check_two_components(what: &'static str, a: &Ciphertexts) -> Result<(), Error> {
    check_components(what, "two", 2, a.components())
}
