//! What a back end is: a table of implementations.

use super::limb::LimbOperations;
use crate::{Modulus, Strip, StripMut, linear_map::LinearMap};

/// The name of the plain back end.
pub(super) const PORTABLE: &str = "portable";

/// One implementation of the kernels.
pub struct Backend {
    /// The name by which it is forced and reported.
    pub name: &'static str,
    /// The operations on whole limbs.
    pub(crate) limb: &'static dyn LimbOperations,
    /// Packs a linear map for the matrix kernel.
    pub(crate) linear: fn(&LinearMap) -> Box<dyn LinearKernel>,
    /// The negacyclic transform.
    pub(crate) transform: Transform,
    /// Runs about that many byte products in registers and returns how many it ran.
    pub(super) int8_burst: fn(u64) -> u64,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Backend({})", self.name)
    }
}

/// A linear map with its weights in the order in which the kernel of a back end reads them.
///
/// Whole tiles in, whole tiles out, one strip of columns at a time. The caller has checked shapes, and spreads strips over
/// threads.
pub(crate) trait LinearKernel: Send + Sync {
    /// Overwrites every row of `output` that some tile writes.
    fn apply(&self, modulus: &Modulus, input: Strip<'_>, output: &mut StripMut<'_>);
}

/// A negacyclic transform.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transform {
    /// The plain one of this crate.
    Portable,
    /// `tfhe-ntt`, which finds the best instructions of the processor by itself.
    Tfhe,
}
