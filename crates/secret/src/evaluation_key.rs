//! The public key for relinearization.

use sordino_ckks::rows::rows_of;
use sordino_ckks::seed::{Purpose, expand};
use sordino_ckks::{Context, EvaluationKey};
use sordino_ring::sample::{self, SecretRng};
use sordino_ring::{ResidueMatrix, pack};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::key::public_bytes;
use crate::schedule::for_each_row;
use crate::{Error, SecretKey};

/// Memory of one worker.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Scratch {
    error: Vec<i32>,
    wide_error: Vec<i64>,
    residues: Vec<u64>,
    product: Vec<u64>,
}

/// The relinearization key of a secret key, for the gadget of the parameters.
///
/// It is public: an encryption of s² under s, digit by digit (circular security is assumed). One key serves all
/// levels.
///
/// # Errors
/// [`Error::Ckks`] if the parameters have no gadget or the key belongs to others; [`Error::Entropy`].
pub fn evaluation_key(
    context: &Context,
    key: &SecretKey,
    rng: &mut SecretRng,
) -> Result<EvaluationKey, Error> {
    key.check(context)?;
    let digits = context.digits();
    if digits.is_empty() {
        return Err(sordino_ckks::Error::NoGadget.into());
    }
    let (limbs, n) = (context.all_limbs(), context.ring_degree());
    let seed = public_bytes()?;
    let secret = key.evaluations(context, 0..limbs);
    let errors = rng.streams();
    let mut bodies: Vec<_> = (0..limbs)
        .map(|limb| ResidueMatrix::zeros(digits.len(), n, context.modulus(limb).byte_width()))
        .collect();
    for_each_row(
        &mut rows_of(bodies.iter_mut()),
        limbs,
        || Scratch {
            error: vec![0; n],
            wide_error: vec![0; n],
            residues: vec![0; n],
            product: vec![0; n],
        },
        |scratch, index, rows| {
            let digit = digits[index];
            sample::gaussian(&mut errors.fork(index as u64), &mut scratch.error);
            for (wide, &error) in scratch.wide_error.iter_mut().zip(&scratch.error) {
                *wide = i64::from(error);
            }
            for ((limb, bytes), secret) in rows.iter_mut().enumerate().zip(secret.chunks_exact(n)) {
                let (modulus, backend) = (context.modulus(limb), context.backend());
                let Scratch {
                    wide_error,
                    residues,
                    product,
                    ..
                } = scratch;
                backend.reduce_i64_into(modulus, wide_error, residues);
                context.table(limb).forward(residues);
                let purpose = Purpose::Relinearization;
                expand(&seed, purpose, index as u64, limb, modulus, product);
                backend.multiply_assign(modulus, product, secret);
                backend.sub_assign(modulus, residues, product);
                if limb == digit.limb {
                    let special = context.special_modulus().map_or(1, |p| p.value());
                    let shift = modulus.pow(2, u64::from(digit.shift));
                    let factor = modulus.mul(modulus.reduce_u64(special), shift);
                    backend.multiply_into(modulus, secret, secret, product);
                    backend.multiply_scalar_add_assign(modulus, residues, product, factor);
                }
                pack(modulus.byte_width(), residues, bytes);
            }
            Ok(())
        },
    )?;
    Ok(EvaluationKey::from_parts(
        context,
        key.key_id(),
        seed,
        bodies,
    )?)
}
