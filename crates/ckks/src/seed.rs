//! Which part of a public seed's expansion is used for what.

use sordino_ring::Modulus;
use sordino_ring::sample::{UniformDomain, UniformStream};

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

/// The uniform polynomials of a purpose and limb, by index, in evaluation form.
///
/// This defines the file formats of seeded ciphertexts and keys.
///
/// # Panics
/// If `limb` is 2^32 or more.
pub fn uniform<'a>(
    seed: &'a [u8; 32],
    purpose: Purpose,
    limb: usize,
    modulus: &'a Modulus,
) -> UniformStream<'a> {
    let domain = UniformDomain {
        limb: u32::try_from(limb).expect("limbs are few"),
        purpose: purpose as u8,
    };
    UniformStream::new(seed, domain, modulus)
}
