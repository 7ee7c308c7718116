//! The secret key.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sordino_ckks::{Context, KeyId, ParametersRecord};
use sordino_container::Digest;
use sordino_ring::sample::{self, SecretRng};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::Error;

/// The metadata of a secret key file; nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKeyMetadata {
    /// The parameters, unchecked.
    pub parameters: ParametersRecord,
    /// The digest of the parameters, which decides whether the key fits.
    pub parameters_digest: Digest,
    /// The public name of the key.
    pub key_id: KeyId,
    /// How the key is encrypted, if it is.
    #[cfg(feature = "passphrase")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<crate::Seal>,
}

/// A uniform ternary secret polynomial.
///
/// A key is overwritten when dropped and can be neither copied, printed nor serialized; the only way out is
/// [`write_file`](Self::write_file).
pub struct SecretKey {
    pub(crate) metadata: SecretKeyMetadata,
    pub(crate) coefficients: Coefficients,
}

/// The coefficients in {-1, 0, 1}, in the basis 1, X^k + X^-k.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Coefficients(pub(crate) Vec<i8>);

/// Marks that the whole key is overwritten on drop: its one secret field is.
impl ZeroizeOnDrop for SecretKey {}

impl SecretKey {
    /// A fresh key for these parameters, with a random public name.
    ///
    /// # Errors
    /// [`Error::Ring`] if the operating system gives no random bytes.
    pub fn generate(context: &Context, rng: &mut SecretRng) -> Result<Self, Error> {
        let mut coefficients = Coefficients(vec![0; context.ring_degree()]);
        sample::ternary(rng, &mut coefficients.0);
        Ok(Self {
            metadata: SecretKeyMetadata {
                parameters: context.parameters().record().clone(),
                parameters_digest: context.digest(),
                key_id: KeyId(public_bytes()?),
                #[cfg(feature = "passphrase")]
                seal: None,
            },
            coefficients,
        })
    }

    /// The public name of the key.
    pub fn key_id(&self) -> KeyId {
        self.metadata.key_id
    }

    /// The digest of the parameters that the key belongs to.
    pub fn parameters(&self) -> Digest {
        self.metadata.parameters_digest
    }

    /// The key belongs to this context.
    pub(crate) fn check(&self, context: &Context) -> Result<(), Error> {
        Ok(context.check_digest("the secret key", self.parameters())?)
    }

    /// The secret modulo some limbs, in evaluation form, limb after limb.
    pub(crate) fn evaluations(
        &self,
        context: &Context,
        limbs: Range<usize>,
    ) -> Zeroizing<Vec<u64>> {
        let n = context.ring_degree();
        let wide: Zeroizing<Vec<i64>> =
            Zeroizing::new(self.coefficients.0.iter().map(|&s| i64::from(s)).collect());
        let mut evaluations = Zeroizing::new(vec![0; limbs.len() * n]);
        for (limb, residues) in limbs.zip(evaluations.chunks_exact_mut(n)) {
            let modulus = context.modulus(limb);
            context.backend().reduce_i64_into(modulus, &wide, residues);
            context.table(limb).forward(residues);
        }
        evaluations
    }
}

/// Random bytes that will be published: seeds and names. Secrets never come from here.
pub(crate) fn public_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    sample::system_bytes(&mut bytes)?;
    Ok(bytes)
}

/// Fails to compile if the key gains one of these traits: the method would then be ambiguous.
#[cfg(test)]
mod absent_traits {
    use super::SecretKey;

    macro_rules! assert_absent {
        ($($absent:path),*) => {$(
            const _: fn() = || {
                trait Ambiguous<A> {
                    fn probe() {}
                }
                impl<T: ?Sized> Ambiguous<()> for T {}
                struct Present;
                impl<T: ?Sized + $absent> Ambiguous<Present> for T {}
                let _ = <SecretKey as Ambiguous<_>>::probe;
            };
        )*};
    }

    assert_absent!(Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);

    const fn assert_zeroized_on_drop<T: zeroize::ZeroizeOnDrop>() {}
    const _: () = assert_zeroized_on_drop::<SecretKey>();
}
