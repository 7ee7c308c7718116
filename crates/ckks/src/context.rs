//! Parameters together with the tables that arithmetic on ciphertexts needs.

use std::fmt;
use std::sync::Arc;

use sordino_container::Digest;
use sordino_ring::backend::Backend;
use sordino_ring::{Modulus, NttTable, ResidueMatrix};

use crate::gadget::Digit;
use crate::{Encoder, Error, Parameters, ParametersRecord, RotationOrder};

/// [`Parameters`] with moduli, transform tables, encoder and backend; never serialized, cheap to clone.
///
/// The operations on ciphertexts are its methods. Results depend on the parameters only, not on the backend
/// or the number of threads.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    parameters: Parameters,
    digest: Digest,
    backend: &'static Backend,
    /// One table per modulus: the chain, then the special primes.
    tables: Vec<NttTable>,
    moduli: Vec<Modulus>,
    digits: Vec<Digit>,
    encoder: Encoder,
    rotation_order: RotationOrder,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("parameters", &self.inner.parameters)
            .field("backend", &self.inner.backend.name)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Builds the tables for these parameters.
    ///
    /// # Errors
    /// [`Error::Ring`] if a modulus has no transform at this degree, which checked parameters exclude.
    pub fn new(parameters: Parameters, backend: &'static Backend) -> Result<Self, Error> {
        let moduli = parameters
            .primes()
            .iter()
            .chain(parameters.special_primes())
            .map(|&prime| Modulus::new(prime))
            .collect::<Result<Vec<_>, _>>()?;
        let tables = moduli
            .iter()
            .map(|&modulus| NttTable::new(parameters.ring_degree(), modulus, backend))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            inner: Arc::new(Inner {
                digest: parameters.digest(),
                digits: parameters.digits(),
                encoder: Encoder::new(parameters.ring_degree()),
                rotation_order: RotationOrder::new(parameters.ring_degree()),
                parameters,
                backend,
                tables,
                moduli,
            }),
        })
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.inner.parameters
    }

    /// The parameters' digest.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// The ring degree N, which is also the number of slots.
    pub fn ring_degree(&self) -> usize {
        self.inner.parameters.ring_degree()
    }

    /// The back end that everything on this context runs on.
    pub fn backend(&self) -> &'static Backend {
        self.inner.backend
    }

    /// Encoder and decoder for this ring degree.
    pub fn encoder(&self) -> &Encoder {
        &self.inner.encoder
    }

    /// The order of slots in which rotations are cyclic shifts.
    pub fn rotation_order(&self) -> &RotationOrder {
        &self.inner.rotation_order
    }

    /// A modulus of the chain, or a special one after it.
    ///
    /// # Panics
    /// If `limb` is not below [`all_limbs`](Self::all_limbs).
    pub fn modulus(&self, limb: usize) -> &Modulus {
        &self.inner.moduli[limb]
    }

    /// The transform modulo a prime of the chain, or a special one after it.
    ///
    /// # Panics
    /// If `limb` is not below [`all_limbs`](Self::all_limbs).
    pub fn table(&self, limb: usize) -> &NttTable {
        &self.inner.tables[limb]
    }

    /// The number of limbs of a fresh ciphertext.
    pub fn limbs(&self) -> usize {
        self.inner.parameters.limbs()
    }

    /// The number of moduli, special ones included.
    pub fn all_limbs(&self) -> usize {
        self.inner.moduli.len()
    }

    /// The digits of the gadget, from the first limb on; empty without a gadget.
    pub fn digits(&self) -> &[Digit] {
        &self.inner.digits
    }

    /// The product P of the special primes modulo a limb; 1 without any.
    ///
    /// # Panics
    /// If `limb` is not below [`all_limbs`](Self::all_limbs).
    pub fn special_product(&self, limb: usize) -> u64 {
        let modulus = self.modulus(limb);
        let special = self.parameters().special_primes();
        special.iter().fold(1, |product, &prime| {
            modulus.mul(product, modulus.reduce_u64(prime))
        })
    }

    /// Zeros for one limb of `rows` polynomials.
    ///
    /// # Panics
    /// If `limb` is not below [`all_limbs`](Self::all_limbs).
    pub fn zeros(&self, rows: usize, limb: usize) -> ResidueMatrix {
        ResidueMatrix::zeros(rows, self.ring_degree(), self.modulus(limb).byte_width())
    }

    /// One limb of `rows` polynomials with unspecified residues, for an operation that writes all of them.
    pub(crate) fn unspecified(&self, rows: usize, limb: usize) -> ResidueMatrix {
        ResidueMatrix::unspecified(rows, self.ring_degree(), self.modulus(limb).byte_width())
    }

    /// Reads the packed residues of a limb.
    ///
    /// # Panics
    /// If there is no such limb or `bytes` does not hold exactly the residues that `out` has room for.
    pub fn unpack(&self, limb: usize, bytes: &[u8], out: &mut [u64]) {
        let width = self.modulus(limb).byte_width();
        self.backend().unpack(width, bytes, out);
    }

    /// Writes residues of a limb as packed bytes.
    ///
    /// # Panics
    /// If there is no such limb or `out` has not exactly the bytes of the residues.
    pub fn pack(&self, limb: usize, residues: &[u64], out: &mut [u8]) {
        let width = self.modulus(limb).byte_width();
        self.backend().pack(width, residues, out);
    }

    /// The digest is that of this context's parameters; `what` names the thing that it was found in.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`].
    pub fn check_digest(&self, what: &'static str, found: Digest) -> Result<(), Error> {
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

    /// Digest and numbers are those of this context's parameters; `what` names the file that says them.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`].
    pub fn check_record(
        &self,
        what: &'static str,
        digest: Digest,
        record: &ParametersRecord,
    ) -> Result<(), Error> {
        self.check_digest(what, digest)?;
        if record == self.parameters().record() {
            return Ok(());
        }
        Err(Error::ParametersMismatch {
            what,
            expected: self.digest(),
            found: digest,
        })
    }
}
