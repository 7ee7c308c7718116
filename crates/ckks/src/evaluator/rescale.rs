//! Division by primes of the chain, with centred rounding.

use std::ops::Range;

use super::RowOperation;
use crate::mixed_radix::MixedRadix;
use crate::{Ciphertexts, Context, Error};

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

/// Division of ciphertexts of some shape by their last primes.
pub(super) struct Rescale<'a> {
    context: &'a Context,
    pub(super) components: usize,
    pub(super) limbs: usize,
    /// Limbs that stay.
    pub(super) kept: usize,
    /// None where no prime is dropped.
    division: Option<Division>,
}

/// Memory of one worker.
pub(super) struct Scratch {
    /// Coefficients modulo the primes that are dropped, then a limb that stays.
    residues: Vec<u64>,
    /// The centred remainder, in mixed radix.
    remainder: Vec<u64>,
    values: Vec<u64>,
}

impl Scratch {
    /// For up to `dropped` primes.
    pub(super) fn new(dropped: usize, ring_degree: usize) -> Self {
        Self {
            residues: vec![0; dropped * ring_degree],
            remainder: vec![0; dropped * ring_degree],
            values: vec![0; ring_degree],
        }
    }
}

impl<'a> Rescale<'a> {
    /// # Errors
    /// [`Error::Level`] if no limb would be left.
    pub(super) fn new(
        context: &'a Context,
        components: usize,
        limbs: usize,
        primes: usize,
    ) -> Result<Self, Error> {
        let kept = context.kept_limbs("rescale", limbs, primes)?;
        Ok(Self {
            context,
            components,
            limbs,
            kept,
            division: (kept < limbs).then(|| Division::new(context, kept..limbs, kept)),
        })
    }

    /// The product of the primes that are dropped.
    pub(super) fn divisor(&self) -> f64 {
        let division = self.division.as_ref();
        division.map_or(1.0, |division| division.group.product())
    }

    /// Divides one component of one ciphertext, given by its limbs.
    pub(super) fn divide(&self, limbs: &mut [&mut [u8]], scratch: &mut Scratch) {
        let (context, n) = (self.context, self.context.ring_degree());
        let (kept, dropped) = limbs.split_at_mut(self.kept);
        let Some(division) = &self.division else {
            return;
        };
        let residues = &mut scratch.residues[..dropped.len() * n];
        let remainder = &mut scratch.remainder[..dropped.len() * n];
        for ((limb, bytes), residues) in
            (self.kept..).zip(dropped).zip(residues.chunks_exact_mut(n))
        {
            context.unpack(limb, bytes, residues);
            context.table(limb).inverse(residues);
        }
        let backend = context.backend();
        division.group.digits_into(backend, residues, remainder);
        let values = &mut residues[..n];
        for (limb, bytes) in kept.iter_mut().enumerate() {
            context.unpack(limb, bytes, values);
            division.divide(context, limb, remainder, values, &mut scratch.values);
            context.pack(limb, values, bytes);
        }
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
    pub fn rescale(&self, a: Ciphertexts, count: usize) -> Result<Ciphertexts, Error> {
        self.check_parameters("rescale", &a)?;
        let rescale = RowOperation::Rescale { primes: count };
        Ok(self.apply_rows(a, &[rescale])?.ciphertexts)
    }
}
