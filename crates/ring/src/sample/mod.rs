//! Random polynomials: the public uniform half of a ciphertext, and the secret parts.
//!
//! The two never share a generator. [`UniformStream`] turns a *public* 32-byte seed into residues and is part of the
//! file format. [`SecretRng`] makes everything that must stay secret: keys ([`ternary()`]) and errors ([`gaussian()`]).

mod gaussian;
mod secret_rng;
mod ternary;
mod uniform;

pub use gaussian::{GAUSSIAN_BOUND, GAUSSIAN_SIGMA, gaussian};
pub use secret_rng::{SecretRng, SecretStreams, system_bytes};
pub use ternary::ternary;
pub use uniform::{MAX_INDEX, SEGMENT, UniformDomain, UniformStream};
