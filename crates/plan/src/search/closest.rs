//! What came closest, for the error when nothing meets the constraints, and what was over the security bound.

use sordino_ckks::security::largest_log2_qp;

use crate::{CompileOptions, Error};

#[derive(Default)]
pub(super) struct Closest {
    best_rms: Option<(f64, usize)>,
    /// Fewest bits over the bound with enough precision, by ring degree and whether the first layers are rescaled.
    over_bound: Vec<(usize, bool, u32)>,
}

impl Closest {
    pub(super) fn note_precision(&mut self, degree: usize, rms: f64) {
        if self.best_rms.is_none_or(|(best, _)| rms < best) {
            self.best_rms = Some((rms, degree));
        }
    }

    pub(super) fn note_modulus(&mut self, degree: usize, rescale_first: bool, bits: u32) {
        let same =
            |(d, first, _): &&mut (usize, bool, u32)| *d == degree && *first == rescale_first;
        match self.over_bound.iter_mut().find(same) {
            Some((_, _, least)) => *least = bits.min(*least),
            None => self.over_bound.push((degree, rescale_first, bits)),
        }
    }

    /// Fewest bits that a ring degree would need for the precision, each over its bound.
    pub(super) fn over_bound(&self) -> &[(usize, bool, u32)] {
        &self.over_bound
    }

    pub(super) fn into_error(
        self,
        options: &CompileOptions,
        target_bits: f64,
        degrees: &[usize],
        shortest: f64,
    ) -> Error {
        let mut constraints = format!(", precision of {target_bits:.1} bits");
        if let Some(degree) = options.ring_degree {
            constraints += &format!(", ring degree {degree}");
        }
        let (closest, hint) = if let Some((rms, degree)) = self.best_rms {
            (
                format!("N = {degree} with an rms logit error of 2^{:.1}", rms.log2()),
                "a lower --precision-bits, fewer --weight-bits, another --ring-degree, or fewer activations".to_owned(),
            )
        } else {
            let degree = degrees.last().copied().unwrap_or(0);
            let bound = f64::from(largest_log2_qp(degree).unwrap_or(0));
            (
                format!(
                    "N = {degree} has room for {bound:.0} bits of modulus and the shortest chain needs {shortest:.0}"
                ),
                "a larger --ring-degree, fewer --weight-bits, or fewer activations".to_owned(),
            )
        };
        Error::Impossible {
            constraints,
            closest,
            hint,
        }
    }
}
