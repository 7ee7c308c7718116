//! Which part of a public seed's expansion is used for what.

use sordino_ring::Modulus;
use sordino_ring::sample::{UniformDomain, expand_uniform};

/// What a uniform polynomial is used for: one seed never gives the same polynomial to two purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Component 1 of a fresh ciphertext; the index is the ciphertext's.
    Ciphertext = 1,
    /// The uniform half of a relinearization key; the index is the digit's.
    Relinearization = 2,
}

/// Expands the uniform polynomial of a purpose, index and limb, in evaluation form.
///
/// This defines the file formats of seeded ciphertexts and keys.
///
/// # Panics
/// If `limb` is 2^32 or more.
pub fn expand(
    seed: &[u8; 32],
    purpose: Purpose,
    index: u64,
    limb: usize,
    modulus: &Modulus,
    residues: &mut [u64],
) {
    let domain = UniformDomain {
        index,
        limb: u32::try_from(limb).expect("limbs are few"),
        purpose: purpose as u8,
    };
    expand_uniform(seed, domain, modulus, residues);
}
