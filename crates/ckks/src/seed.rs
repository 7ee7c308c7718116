//! Which part of a public seed's expansion is used for what.

use sordino_ring::ResidueMatrix;
use sordino_ring::sample::{UniformDomain, UniformStream};

use crate::Context;

/// What a uniform polynomial is used for: one seed never gives the same polynomial to two purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Component 1 of a fresh ciphertext; the index is the ciphertext's.
    Ciphertext = 1,
    /// The uniform half of an evaluation key; the index is the row of the key: digits of one switching key after
    /// the other.
    EvaluationKey = 2,
}

impl Context {
    /// The uniform polynomials of a purpose and limb, by index, in evaluation form.
    ///
    /// This defines the file formats of seeded ciphertexts and keys.
    ///
    /// # Panics
    /// If `limb` is not below [`all_limbs`](Self::all_limbs).
    pub fn uniform<'a>(
        &'a self,
        seed: &'a [u8; 32],
        purpose: Purpose,
        limb: usize,
    ) -> UniformStream<'a> {
        let domain = UniformDomain {
            limb: u32::try_from(limb).expect("limbs are few"),
            purpose: purpose as u8,
        };
        UniformStream::new(self.backend(), seed, domain, self.modulus(limb))
    }

    /// The uniform polynomials `first_index`, `first_index` + 1, … as the rows of a matrix.
    ///
    /// # Panics
    /// If `limb` is not below [`all_limbs`](Self::all_limbs).
    pub fn uniform_rows(
        &self,
        seed: &[u8; 32],
        purpose: Purpose,
        limb: usize,
        first_index: u64,
        rows: usize,
    ) -> ResidueMatrix {
        let mut matrix = self.zeros(rows, limb);
        self.uniform(seed, purpose, limb)
            .expand_rows(first_index, &mut matrix);
        matrix
    }
}
