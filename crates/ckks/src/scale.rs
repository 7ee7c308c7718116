//! The factor between a message and its integer coefficients.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Two scales closer than this (relatively) count as equal.
///
/// Scales that the plan makes equal are products and quotients of the same numbers in another order, so
/// they differ by a few units in the last place of an `f64`; a relative difference of 2^-40 changes no
/// result that this scheme can resolve.
const RELATIVE_TOLERANCE: f64 = 1.0 / (1u64 << 40) as f64;

/// The factor by which slot values were multiplied before they were rounded to integers.
///
/// Range: positive and finite.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Scale(f64);

impl Scale {
    /// A scale of the given value.
    ///
    /// # Errors
    /// [`Error::Scale`] if the value is not a positive finite number.
    pub fn new(value: f64) -> Result<Self, Error> {
        if value.is_finite() && value > 0.0 {
            Ok(Self(value))
        } else {
            Err(Error::Scale { found: value })
        }
    }

    /// The scale 2^`log2`.
    ///
    /// # Errors
    /// [`Error::Scale`] if that is not a positive finite number.
    pub fn from_log2(log2: f64) -> Result<Self, Error> {
        Self::new(log2.exp2())
    }

    /// The factor itself.
    pub fn value(self) -> f64 {
        self.0
    }

    /// The factor in bits.
    pub fn log2(self) -> f64 {
        self.0.log2()
    }

    /// This scale multiplied by a factor.
    ///
    /// # Errors
    /// [`Error::Scale`] if the result is not a positive finite number.
    pub fn times(self, factor: f64) -> Result<Self, Error> {
        Self::new(self.0 * factor)
    }

    /// Whether two scales are equal up to the rounding of the arithmetic on scales.
    pub fn is_close_to(self, other: Self) -> bool {
        (self.0 - other.0).abs() <= RELATIVE_TOLERANCE * self.0.max(other.0)
    }
}

impl TryFrom<f64> for Scale {
    type Error = Error;

    fn try_from(value: f64) -> Result<Self, Error> {
        Self::new(value)
    }
}

impl From<Scale> for f64 {
    fn from(scale: Scale) -> f64 {
        scale.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positive_finite_scales() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Scale::new(bad).is_err());
        }
        assert!(Scale::from_log2(2000.0).is_err());
        let scale = Scale::from_log2(24.0).unwrap();
        assert_eq!(scale.value(), 16_777_216.0);
        assert!(scale.times(0.0).is_err());
        assert!(scale.is_close_to(scale.times(1.0 + 1e-14).unwrap()));
        assert!(!scale.is_close_to(scale.times(1.0 + 1e-9).unwrap()));
        assert!(serde_json::from_str::<Scale>("-3.0").is_err());
        assert_eq!(serde_json::from_str::<Scale>("3.5").unwrap().value(), 3.5);
    }
}
