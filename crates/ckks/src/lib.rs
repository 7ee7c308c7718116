//! RNS-CKKS on the conjugate-invariant ring: parameters, encoding, ciphertexts, evaluation and noise formulas.
//!
//! The scheme is leveled, without bootstrapping. Ciphertexts come as feature maps
//! ([`Ciphertexts`]): all elements of a layer at once, one slot per image. Linear layers are exact integer
//! matrix products over the whole map ([`Context::linear`]). Rotations move slots, for images that share a
//! ciphertext ([`Context::sum_rotated`]).
//!
//! ```text
//! Parameters ── Context ──┬── Encoder            slots ↔ coefficients
//!   (numbers)   (tables)  ├── SeededCiphertexts ── expand ── Ciphertexts
//!                         └── add, multiply, square_shifted, linear, relinearize, rescale, drop_limbs,
//!                             sum_rotated, add_plaintexts
//! ```
//!
//! No secret key exists here: encryption and decryption are in `sordino-secret`, which a server never links.

mod ciphertexts;
mod context;
mod encoder;
mod error;
mod evaluation_key;
mod evaluation_key_file;
mod evaluator;
pub mod gadget;
mod key_id;
mod key_set;
mod mixed_radix;
pub mod noise;
mod parameters;
mod plaintexts;
mod rotation_order;
pub mod rows;
mod scale;
pub mod security;
pub mod seed;
mod seeded;

pub use ciphertexts::Ciphertexts;
pub use context::Context;
pub use encoder::{Encoder, check_message_range};
pub use error::Error;
pub use evaluation_key::{EvaluationKey, EvaluationKeyMetadata};
pub use evaluator::{
    ColumnOperation, ColumnResult, ColumnSource, RotatedTerm, RowOperation, RowResult,
};
pub use gadget::Gadget;
pub use key_id::{KeyId, SlotTag};
pub use key_set::KeySet;
pub use mixed_radix::MixedRadix;
pub use parameters::{MAX_LIMBS, Parameters, ParametersRecord};
pub use plaintexts::Plaintexts;
pub use rotation_order::RotationOrder;
pub use scale::Scale;
pub use seeded::SeededCiphertexts;
