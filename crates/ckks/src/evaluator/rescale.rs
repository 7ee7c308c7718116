//! Division by primes of the chain, with centred rounding.

use std::ops::Range;

use rayon::prelude::*;

use crate::mixed_radix::MixedRadix;
use crate::rows::rows_of;
use crate::{Ciphertexts, Context, Error, Scale};

/// Exact division of residues by the product of a group of moduli, rounded to the nearest integer.
///
/// The centred remainder is subtracted first. A remainder in [0, P) instead of (−P/2, P/2) would add the same
/// half unit to every coefficient, which is 0.64 N in slot 0 alone.
pub(super) struct Division {
    pub(super) group: MixedRadix,
    /// 1 / P modulo every limb that stays.
    inverses: Vec<u64>,
}

impl Division {
    /// Division by the moduli `divided` of what remains in the limbs `0..kept`.
    pub(super) fn new(context: &Context, divided: Range<usize>, kept: usize) -> Self {
        let group = MixedRadix::new(divided.map(|limb| *context.modulus(limb)).collect());
        let inverses = (0..kept)
            .map(|limb| {
                let modulus = context.modulus(limb);
                let product = group.primes().fold(1, |product, prime| {
                    modulus.mul(product, modulus.reduce_u64(prime.value()))
                });
                modulus.inv(product)
            })
            .collect();
        Self { group, inverses }
    }

    /// values = (values − remainder) / P modulo one limb that stays, in evaluation form.
    ///
    /// # Shapes
    /// `remainder`: mixed-radix digits, group × N. `values`, `scratch`: N.
    pub(super) fn divide(
        &self,
        context: &Context,
        limb: usize,
        remainder: &[u64],
        values: &mut [u64],
        scratch: &mut [u64],
    ) {
        let (modulus, inverse) = (context.modulus(limb), self.inverses[limb]);
        let backend = context.backend();
        self.group.reduce_into(backend, remainder, modulus, scratch);
        context.table(limb).forward(scratch);
        backend.sub_multiply_scalar_assign(modulus, values, scratch, inverse);
    }
}

impl Context {
    /// Divides by the last `count` primes at once and rounds every coefficient once, to the nearest integer.
    ///
    /// # Level and scale
    /// `count` levels less; the scale is divided by the product of the dropped primes. Any number of
    /// components; three cost much more noise than two ([`noise::rescale_three`](crate::noise::rescale_three)).
    ///
    /// # Errors
    /// [`Error::Level`] if no limb would be left, [`Error::ParametersMismatch`].
    ///
    /// # Cost
    /// `count` inverse transforms, and one forward transform per limb that stays, for each component.
    pub fn rescale(&self, mut a: Ciphertexts, count: usize) -> Result<Ciphertexts, Error> {
        self.check_parameters("rescale", &a)?;
        let kept = self.kept_limbs("rescale", &a, count)?;
        if count == 0 {
            return Ok(a);
        }
        let (limbs, n) = (a.limbs(), self.ring_degree());
        let division = Division::new(self, kept..limbs, kept);
        a.scale = Scale::new(a.scale.value() / division.group.product())?;
        for component in &mut a.parts {
            rows_of(component.iter_mut())
                .par_chunks_exact_mut(limbs)
                .for_each_init(
                    || (vec![0; count * n], vec![0; count * n], vec![0; n]),
                    |(residues, remainder, scratch), row| {
                        let (row, dropped) = row.split_at_mut(kept);
                        self.remainder(kept, dropped, residues);
                        division
                            .group
                            .digits_into(self.backend(), residues, remainder);
                        let values = &mut residues[..n];
                        for (limb, bytes) in row.iter_mut().enumerate() {
                            self.unpack(limb, bytes, values);
                            division.divide(self, limb, remainder, values, scratch);
                            self.pack(limb, values, bytes);
                        }
                    },
                );
            component.truncate(kept);
        }
        Ok(a)
    }

    /// The coefficients modulo the limbs from `first` on, limb after limb.
    fn remainder(&self, first: usize, limbs: &[&mut [u8]], residues: &mut [u64]) {
        let polynomials = residues.chunks_exact_mut(self.ring_degree());
        for ((limb, bytes), residues) in (first..).zip(limbs).zip(polynomials) {
            self.unpack(limb, bytes, residues);
            self.table(limb).inverse(residues);
        }
    }
}
