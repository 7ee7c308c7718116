//! Secret keys under a passphrase.
//!
//! Argon2id (RFC 9106) makes a key of the passphrase and a fresh salt, ChaCha20-Poly1305 (RFC 8439) encrypts the coefficients with it
//! and authenticates which key they are of. Each salt is used once, so the nonce is zero.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::key::{SecretKeyMetadata, public_bytes};
use crate::{Error, Passphrase};

/// The second choice that RFC 9106 recommends: 64 MiB, 3 passes, 4 lanes.
const COST: Cost = Cost {
    memory_kib: 64 << 10,
    passes: 3,
    lanes: 4,
};

/// Most that a file may ask of its reader.
const MOST: Cost = Cost {
    memory_kib: 1 << 20,
    passes: 16,
    lanes: 16,
};

/// What it costs to try a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// How a key file is encrypted: Argon2id's salt and cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    #[serde(with = "hex::serde")]
    salt: [u8; 16],
    argon2id: Cost,
}

impl Seal {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            salt: public_bytes()?,
            argon2id: COST,
        })
    }

    /// The cipher; `None` for a cost that is out of bounds.
    fn cipher(&self, passphrase: &Passphrase) -> Option<ChaCha20Poly1305> {
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = self.argon2id;
        if memory_kib > MOST.memory_kib || passes > MOST.passes || lanes > MOST.lanes {
            return None;
        }
        let mut key = Zeroizing::new([0; 32]);
        let params = Params::new(memory_kib, passes, lanes, Some(key.len())).ok()?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2
            .hash_password_into(passphrase.bytes(), &self.salt, &mut *key)
            .ok()?;
        Some(ChaCha20Poly1305::new(&Key::from(*key)))
    }

    /// Encrypts the payload of a key file.
    pub(crate) fn close(
        &self,
        passphrase: &Passphrase,
        metadata: &SecretKeyMetadata,
        payload: &[u8],
    ) -> Option<Vec<u8>> {
        let aad = &about(metadata);
        let payload = Payload { msg: payload, aad };
        self.cipher(passphrase)?
            .encrypt(&Nonce::default(), payload)
            .ok()
    }

    /// Decrypts the payload of a key file; `None` for another passphrase or a changed file.
    pub(crate) fn open(
        &self,
        passphrase: &Passphrase,
        metadata: &SecretKeyMetadata,
        payload: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let aad = &about(metadata);
        let payload = Payload { msg: payload, aad };
        let opened = self.cipher(passphrase)?.decrypt(&Nonce::default(), payload);
        opened.ok().map(Zeroizing::new)
    }
}

/// Which key a file is of.
fn about(metadata: &SecretKeyMetadata) -> Vec<u8> {
    [
        metadata.parameters_digest.as_bytes().as_slice(),
        &metadata.key_id.0,
    ]
    .concat()
}
