//! Arithmetic under the CKKS scheme: primes, the number-theoretic transform of the conjugate-invariant ring
//! `Z[X + 1/X] / (X^2N + 1)`, packed residues, sampling, and the modular matrix product.
//!
//! This crate knows rings and residues, not ciphertexts, scales or keys. It is the only crate of the workspace
//! with `unsafe` code (SIMD intrinsics); [`backend::portable`] is complete without any of it and defines every
//! result. The other backends return the same bytes.

pub mod allocator;
mod automorphism;
pub mod backend;
mod constant;
mod error;
pub mod linear;
mod linear_map;
mod modulus;
mod ntt;
pub mod prime;
mod residue_matrix;
pub mod sample;
mod strip;

pub use automorphism::{Automorphism, rotation_order};
pub use error::Error;
pub use modulus::Modulus;
pub use ntt::NttTable;
pub use prime::{is_prime, primes_below};
pub use residue_matrix::ResidueMatrix;
pub use strip::{Strip, StripMut};
