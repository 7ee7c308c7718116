//! Operations that act on every component alike: sums, integer multiples, whole layers, dropped limbs.

use sordino_ring::linear::PreparedLinearMap;
use sordino_ring::{Modulus, ResidueMatrix};

use crate::error::check_count;
use crate::rows::{update_rows, update_rows_by};
use crate::{Ciphertexts, Context, Error};

impl Context {
    /// a + b, ciphertext by ciphertext.
    ///
    /// # Level and scale
    /// Both operands have the same level, scale and number of components, and so has the result.
    ///
    /// # Errors
    /// [`Error::Count`], [`Error::Level`], [`Error::Components`], [`Error::ScaleMismatch`] or
    /// [`Error::ParametersMismatch`] where the operands differ.
    pub fn add(&self, a: &Ciphertexts, b: &Ciphertexts) -> Result<Ciphertexts, Error> {
        self.check_sum("sum", a, b)?;
        let mut sum = a.clone();
        self.add_assign(&mut sum, b)?;
        Ok(sum)
    }

    /// a += b, ciphertext by ciphertext.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_assign(&self, a: &mut Ciphertexts, b: &Ciphertexts) -> Result<(), Error> {
        self.check_sum("sum", a, b)?;
        self.combine(a, b, |modulus, _, a, b| {
            self.backend().add_assign(modulus, a, b)
        });
        Ok(())
    }

    /// a − b, ciphertext by ciphertext.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn sub(&self, a: &Ciphertexts, b: &Ciphertexts) -> Result<Ciphertexts, Error> {
        self.check_sum("difference", a, b)?;
        let mut difference = a.clone();
        self.combine(&mut difference, b, |modulus, _, a, b| {
            self.backend().sub_assign(modulus, a, b);
        });
        Ok(difference)
    }

    /// Ciphertext f times `integers[f]`, with the scale unchanged: the slots are multiplied.
    ///
    /// # Errors
    /// [`Error::Count`] if there is not one integer per ciphertext, [`Error::ParametersMismatch`].
    pub fn multiply_integers(
        &self,
        a: &Ciphertexts,
        integers: &[i64],
    ) -> Result<Ciphertexts, Error> {
        self.check_parameters("product with integers", a)?;
        check_count("integers, one per ciphertext", a.len(), integers.len())?;
        let mut product = a.clone();
        self.update(&mut product, |modulus, row, residues| {
            let factor = modulus.from_i64(integers[row]);
            self.backend()
                .multiply_scalar_assign(modulus, residues, factor);
        });
        Ok(product)
    }

    /// a += b · integers, ciphertext by ciphertext, for branches that join a sum at another scale.
    ///
    /// # Level and scale
    /// The level and number of components of both operands are equal. The scale of `a` stays, whatever that
    /// of `b`: the caller chooses the integers so that it holds.
    ///
    /// # Errors
    /// [`Error::Count`], [`Error::Level`], [`Error::Components`] or [`Error::ParametersMismatch`] where the
    /// operands do not fit together.
    pub fn add_multiple_assign(
        &self,
        a: &mut Ciphertexts,
        b: &Ciphertexts,
        integers: &[i64],
    ) -> Result<(), Error> {
        self.check_pair("sum with multiples", a, b)?;
        check_count("integers, one per ciphertext", a.len(), integers.len())?;
        self.combine(a, b, |modulus, row, a, b| {
            let factor = modulus.from_i64(integers[row]);
            self.backend()
                .multiply_scalar_add_assign(modulus, a, b, factor);
        });
        Ok(())
    }

    /// Adds the integer `constants[f]` to every slot of ciphertext f.
    ///
    /// # Level and scale
    /// The constants are at the scale of the ciphertexts already: value · scale, rounded.
    ///
    /// # Errors
    /// [`Error::Count`] if there is not one constant per ciphertext, [`Error::ParametersMismatch`].
    pub fn add_constants(&self, a: &mut Ciphertexts, constants: &[i128]) -> Result<(), Error> {
        self.check_parameters("sum with constants", a)?;
        check_count("constants, one per ciphertext", a.len(), constants.len())?;
        // A constant polynomial has the same residue at every evaluation point.
        for (limb, matrix) in a.parts[0].iter_mut().enumerate() {
            let modulus = self.modulus(limb);
            update_rows(self.backend(), matrix, |row, residues| {
                let constant = modulus.from_i128(constants[row]);
                self.backend()
                    .add_scalar_assign(modulus, residues, constant);
            });
        }
        Ok(())
    }

    /// A whole linear layer: output o is Σ weight(o, k) · ciphertext k, on every component and limb.
    ///
    /// # Shapes
    /// input rows of the map → output rows of the map.
    ///
    /// # Level and scale
    /// The level stays; the scale is multiplied by `weight_scale`, the factor from real weights to the map's
    /// integers.
    ///
    /// # Errors
    /// [`Error::Count`] if the map takes another number of ciphertexts, [`Error::Scale`],
    /// [`Error::ParametersMismatch`], [`Error::Ring`] from the product.
    pub fn linear(
        &self,
        a: &Ciphertexts,
        map: &PreparedLinearMap,
        weight_scale: f64,
    ) -> Result<Ciphertexts, Error> {
        self.check_parameters("linear layer", a)?;
        check_count("inputs of a linear layer", map.input_rows(), a.len())?;
        let scale = a.scale.times(weight_scale)?;
        let (components, limbs) = (a.components(), a.limbs());
        let mut result =
            Ciphertexts::unspecified(self, map.output_rows(), components, limbs, scale);
        for (inputs, outputs) in a.parts.iter().zip(&mut result.parts) {
            for (limb, (input, output)) in inputs.iter().zip(outputs).enumerate() {
                map.apply(self.modulus(limb), input, output);
            }
        }
        Ok(result)
    }

    /// Forgets the last `count` limbs: the same slots at a lower level.
    ///
    /// # Level and scale
    /// `count` levels less, the scale stays. The values must fit the smaller modulus.
    ///
    /// # Errors
    /// [`Error::Level`] if no limb would be left, [`Error::ParametersMismatch`].
    pub fn drop_limbs(&self, mut a: Ciphertexts, count: usize) -> Result<Ciphertexts, Error> {
        self.check_parameters("dropped limbs", &a)?;
        let kept = self.kept_limbs("dropped limbs", a.limbs(), count)?;
        a.parts
            .iter_mut()
            .for_each(|component| component.truncate(kept));
        Ok(a)
    }

    /// How many limbs are left when `count` are dropped: at least one.
    pub(super) fn kept_limbs(
        &self,
        what: &'static str,
        limbs: usize,
        count: usize,
    ) -> Result<usize, Error> {
        match limbs.checked_sub(count) {
            Some(kept) if kept > 0 => Ok(kept),
            _ => Err(Error::Level {
                what,
                expected: count,
                found: limbs.saturating_sub(1),
            }),
        }
    }

    fn check_sum(&self, what: &'static str, a: &Ciphertexts, b: &Ciphertexts) -> Result<(), Error> {
        self.check_pair(what, a, b)?;
        self.check_scales(what, a.scale, b.scale)
    }

    /// Changes every polynomial: `change(modulus, row, residues)`.
    fn update(
        &self,
        a: &mut Ciphertexts,
        change: impl Fn(&Modulus, usize, &mut [u64]) + Sync + Send,
    ) {
        for component in &mut a.parts {
            for (limb, matrix) in component.iter_mut().enumerate() {
                let modulus = self.modulus(limb);
                update_rows(self.backend(), matrix, |row, residues| {
                    change(modulus, row, residues)
                });
            }
        }
    }

    /// Changes every polynomial of `a` by that of `b`: `change(modulus, row, residues, others)`.
    fn combine(
        &self,
        a: &mut Ciphertexts,
        b: &Ciphertexts,
        change: impl Fn(&Modulus, usize, &mut [u64], &[u64]) + Sync + Send,
    ) {
        let pairs = |component: (&mut Vec<ResidueMatrix>, &Vec<ResidueMatrix>)| {
            for (limb, (a, b)) in component.0.iter_mut().zip(component.1).enumerate() {
                let modulus = self.modulus(limb);
                update_rows_by(self.backend(), a, b, |row, a, b| change(modulus, row, a, b));
            }
        };
        a.parts.iter_mut().zip(&b.parts).for_each(pairs);
    }
}
