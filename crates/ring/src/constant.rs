//! Multiplication by a constant that is known in advance.

use crate::Modulus;

/// A constant factor with its precomputed quotient (Shoup's multiplication).
///
/// With w' = floor(w · 2^SHIFT / q) the remainder x·w - floor(x·w' / 2^SHIFT)·q is below 2q for every x < 2^SHIFT.
#[derive(Clone, Copy)]
pub(crate) struct Constant<const SHIFT: u32> {
    factor: u64,
    quotient: u64,
    modulus: u64,
}

impl<const SHIFT: u32> Constant<SHIFT> {
    pub(crate) fn new(modulus: &Modulus, factor: u64) -> Self {
        Self::from_parts(modulus, factor, modulus.shoup_quotient(factor, SHIFT))
    }

    #[inline(always)]
    pub(crate) fn from_parts(modulus: &Modulus, factor: u64, quotient: u64) -> Self {
        Self {
            factor,
            quotient,
            modulus: modulus.value(),
        }
    }

    /// w · x mod q, below 2q.
    #[inline(always)]
    pub(crate) fn times_lazy(self, x: u64) -> u64 {
        let estimate = ((u128::from(x) * u128::from(self.quotient)) >> SHIFT) as u64;
        x.wrapping_mul(self.factor)
            .wrapping_sub(estimate.wrapping_mul(self.modulus))
    }

    /// w · x mod q.
    #[inline(always)]
    pub(crate) fn times(self, x: u64) -> u64 {
        let lazy = self.times_lazy(x);
        lazy.min(lazy.wrapping_sub(self.modulus))
    }
}
