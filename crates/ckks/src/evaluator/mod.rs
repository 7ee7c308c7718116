//! Operations on feature maps of ciphertexts, as methods of [`Context`].
//!
//! All are deterministic functions of their operands: the number of threads and the backend do not change a
//! bit of the result. They run in parallel over ciphertexts in the current rayon pool, unpack a row at a time
//! into scratch memory of the worker, and fail before anything is written if operands do not fit together.

mod additive;
mod columns;
mod product;
mod relinearize;
mod rescale;
mod rotate;
mod rotated_sums;
mod vectors;

pub use columns::{ColumnOperation, ColumnResult, ColumnSource};
pub use rotate::RotatedTerm;

use sordino_container::Digest;

use crate::error::check_count;
use crate::{Ciphertexts, Context, Error};

impl Context {
    /// The operand belongs to this context.
    fn check_parameters(&self, what: &'static str, operand: &Ciphertexts) -> Result<(), Error> {
        self.check_digest(what, operand.parameters)
    }

    /// The digest is that of this context's parameters.
    fn check_digest(&self, what: &'static str, found: Digest) -> Result<(), Error> {
        let expected = self.digest();
        if found == expected {
            return Ok(());
        }
        Err(Error::ParametersMismatch {
            what,
            expected,
            found,
        })
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
        if a.components() != b.components() {
            return Err(Error::Components {
                what,
                expected: "as many as the first operand",
                found: b.components(),
            });
        }
        Ok(())
    }
}
