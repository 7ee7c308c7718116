//! Cutting polynomials into the digits of the gadget.

use crate::Context;
use crate::gadget::Digit;
use crate::mixed_radix::MixedRadix;

/// The digits of polynomials with some number of limbs.
pub(super) struct Digits<'a> {
    context: &'a Context,
    /// Each with the conversion of its limbs to integers.
    digits: Vec<(Digit, MixedRadix)>,
}

impl<'a> Digits<'a> {
    pub(super) fn new(context: &'a Context, limbs: usize) -> Self {
        let parameters = context.parameters();
        let primes = &parameters.primes()[..limbs];
        let digits = parameters
            .gadget()
            .map_or_else(Vec::new, |gadget| Digit::of_chain(gadget, primes));
        let with_group = |digit: Digit| {
            let primes = digit.limbs().map(|limb| *context.modulus(limb));
            (digit, MixedRadix::new(primes.collect()))
        };
        Self {
            context,
            digits: digits.into_iter().map(with_group).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.digits.len()
    }

    /// Whether a digit modulo a limb is the residue modulo that limb.
    pub(super) fn is_residue(&self, index: usize, limb: usize) -> bool {
        let digit = &self.digits[index].0;
        digit.is_whole() && digit.limbs().contains(&limb)
    }

    /// The centred integers that a polynomial is modulo the limbs of each digit, in mixed radix.
    ///
    /// # Shapes
    /// `residues`, `centred`: limbs × N, coefficients.
    pub(super) fn center(&self, residues: &[u64], centred: &mut [u64]) {
        let (backend, n) = (self.context.backend(), self.context.ring_degree());
        for (digit, group) in self.digits.iter().filter(|(digit, _)| digit.shift == 0) {
            let place = digit.first * n..(digit.first + digit.limbs) * n;
            group.digits_into(backend, &residues[place.clone()], &mut centred[place]);
        }
    }

    /// A digit modulo any modulus, in evaluation form.
    ///
    /// # Shapes
    /// `centred`: of [`center`](Self::center). `values`, `cut`: N.
    pub(super) fn transform(
        &self,
        index: usize,
        target: usize,
        centred: &[u64],
        values: &mut [u64],
        cut: &mut [i64],
    ) {
        let (context, n) = (self.context, self.context.ring_degree());
        let (modulus, backend) = (context.modulus(target), context.backend());
        let (digit, group) = &self.digits[index];
        let centred = &centred[digit.first * n..][..digit.limbs * n];
        if digit.is_whole() {
            group.reduce_into(backend, centred, modulus, values);
        } else {
            digit.cut_into(context.modulus(digit.first), centred, cut);
            backend.reduce_i64_into(modulus, cut, values);
        }
        context.table(target).forward(values);
    }
}
