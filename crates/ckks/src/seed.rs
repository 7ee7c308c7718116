//! Which part of a public seed's expansion is used for what.

use rayon::prelude::*;
use sordino_ring::sample::{UniformDomain, expand_uniform, expand_uniform_packed_into};
use sordino_ring::{Modulus, ResidueMatrix};

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
    expand_uniform(seed, domain(purpose, index, limb), modulus, residues);
}

/// Fills every row of a matrix: row r is [`expand`] of index `first_index` + r, packed.
///
/// # Panics
/// If the matrix has another width than the modulus or `limb` is 2^32 or more.
pub(crate) fn expand_rows(
    seed: &[u8; 32],
    purpose: Purpose,
    first_index: u64,
    limb: usize,
    modulus: &Modulus,
    matrix: &mut ResidueMatrix,
) {
    assert_eq!(matrix.width(), modulus.byte_width());
    matrix.rows_mut().enumerate().for_each(|(row, bytes)| {
        let domain = domain(purpose, first_index + row as u64, limb);
        expand_uniform_packed_into(seed, domain, modulus, bytes);
    });
}

fn domain(purpose: Purpose, index: u64, limb: usize) -> UniformDomain {
    UniformDomain {
        index,
        limb: u32::try_from(limb).expect("limbs are few"),
        purpose: purpose as u8,
    }
}
