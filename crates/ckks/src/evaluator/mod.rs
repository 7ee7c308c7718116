//! Operations on feature maps of ciphertexts, as methods of [`Context`].
//!
//! All are deterministic functions of their operands: the number of threads and the backend do not change a
//! bit of the result. They run in parallel over ciphertexts in the current rayon pool, unpack a row at a time
//! into scratch memory of the worker, and fail before anything is written if operands do not fit together.

mod additive;
mod columns;
mod digits;
mod product;
mod relinearize;
mod rescale;
mod rotate;
mod rotated_sums;
mod row_run;
mod vectors;

pub use columns::{ColumnOperation, ColumnResult, ColumnSource};
pub use rotate::RotatedTerm;
pub use row_run::{RowOperation, RowResult};

use crate::error::check_count;
use crate::{Ciphertexts, Context, Error, Scale};

impl Context {
    /// The operand belongs to this context.
    fn check_parameters(&self, what: &'static str, operand: &Ciphertexts) -> Result<(), Error> {
        self.check_digest(what, operand.parameters)
    }

    /// Two operands belong to this context and have equal shapes: ciphertexts, limbs, components.
    fn check_pair(
        &self,
        what: &'static str,
        a: &Ciphertexts,
        b: &Ciphertexts,
    ) -> Result<(), Error> {
        self.check_parameters(what, a)?;
        self.check_parameters(what, b)?;
        check_count(what, a.len(), b.len())?;
        if a.level() != b.level() {
            return Err(Error::Level {
                what,
                expected: a.level(),
                found: b.level(),
            });
        }
        let as_many = "as many as the first operand";
        check_components(what, as_many, a.components(), b.components())
    }

    /// Two operands have one scale.
    fn check_scales(&self, what: &'static str, left: Scale, right: Scale) -> Result<(), Error> {
        if left.is_close_to(right) {
            return Ok(());
        }
        Err(Error::ScaleMismatch {
            what,
            left: left.log2(),
            right: right.log2(),
        })
    }
}

/// [`Error::Components`] unless there are as many as expected, which messages call `in_words`.
fn check_components(
    what: &'static str,
    in_words: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Components {
        what,
        expected: in_words,
        found,
    })
}
