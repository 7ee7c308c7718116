//! The candidate that came closest, for the error when none meets the constraints, and the moduli over the security bound.

use std::collections::BTreeMap;

use crate::Error;

#[derive(Default)]
pub(super) struct Closest {
    /// The smallest rms error, and its ring degree.
    best_rms: Option<(f64, usize)>,
    /// Fewest bits over the bound with enough precision, by ring degree and whether the first layers are rescaled.
    over_bound: BTreeMap<(usize, bool), u32>,
}

impl Closest {
    pub(super) fn note_precision(&mut self, degree: usize, rms: f64) {
        if self.best_rms.is_none_or(|(best, _)| rms < best) {
            self.best_rms = Some((rms, degree));
        }
    }

    pub(super) fn note_modulus(&mut self, degree: usize, rescale_first: bool, bits: u32) {
        let least = self
            .over_bound
            .entry((degree, rescale_first))
            .or_insert(bits);
        *least = bits.min(*least);
    }

    /// Fewest bits that a ring degree would need for the precision, each over its bound.
    pub(super) fn over_bound(&self) -> &BTreeMap<(usize, bool), u32> {
        &self.over_bound
    }

    /// The error for constraints that no candidate meets. `hint` says what to change. Where no candidate is within the security
    /// bound, `no_room` says what the shortest chain needs, and what to change.
    pub(super) fn into_error(
        self,
        constraints: String,
        no_room: (String, &str),
        hint: &str,
    ) -> Error {
        let (closest, hint) = match self.best_rms {
            Some((rms, degree)) => {
                let error = rms.log2();
                let closest = format!("N = {degree} with an rms logit error of 2^{error:.1}");
                (closest, hint)
            }
            None => no_room,
        };
        Error::Impossible {
            constraints,
            closest,
            hint: hint.to_owned(),
        }
    }
}
