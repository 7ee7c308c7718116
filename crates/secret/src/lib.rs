//! Secret key, key generation, encryption and decryption.
//!
//! Everything that touches a secret is in this crate, which no server code depends on. Encryption is
//! symmetric: the owner of the key encrypts, so a fresh ciphertext is one polynomial and a public seed.
//!
//! Two kinds of randomness never mix: the uniform half comes from a public seed that is drawn from the
//! operating system for every call and published; secrets and errors come from
//! [`SecretRng`](sordino_ring::sample::SecretRng), which is not.
//!
//! [`SecretKey`] has no `Debug`, `Clone` or `Serialize`, and is overwritten when dropped, like every buffer
//! that held it or a message. No branch and no index depends on a secret. Decrypted values are returned as
//! they are; rounding them before they are released is the caller's duty (`SECURITY.md`).

mod decrypt;
mod encrypt;
mod error;
mod evaluation_key;
mod key;
mod key_file;
#[cfg(feature = "passphrase")]
mod passphrase;
mod rows;
#[cfg(feature = "passphrase")]
mod seal;
mod slots;

pub use decrypt::decrypt;
pub use encrypt::encrypt;
pub use error::Error;
pub use evaluation_key::{evaluation_key, evaluation_key_for};
pub use key::{SecretKey, SecretKeyMetadata};
#[cfg(feature = "passphrase")]
pub use passphrase::Passphrase;
#[cfg(feature = "passphrase")]
pub use seal::Seal;
