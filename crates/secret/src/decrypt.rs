//! Decryption.

use sordino_ckks::{Ciphertexts, Context, MixedRadix};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::rows::collect_rows;
use crate::{Error, SecretKey};

/// Memory of one worker; all of it depends on the secret.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Scratch {
    /// limb, coefficient
    residues: Vec<u64>,
    digits: Vec<u64>,
    component: Vec<u64>,
    transform: Vec<f64>,
}

/// The slots of every ciphertext, divided by the scale.
///
/// Decrypts c_0 + c_1 s + c_2 s² for one to three components. A wrong key gives noise of the size of the
/// modulus, not an error.
///
/// The result carries the error that the ciphertexts had, which depends on the secret: round it before
/// others see it (`SECURITY.md`).
///
/// # Shapes
/// F vectors of N slots.
///
/// # Errors
/// [`Error::Ckks`] if the ciphertexts or the key belong to other parameters.
pub fn decrypt(
    context: &Context,
    key: &SecretKey,
    ciphertexts: &Ciphertexts,
) -> Result<Vec<Vec<f64>>, Error> {
    key.check(context)?;
    context.check_digest("the feature map to decrypt", ciphertexts.parameters())?;
    let (limbs, n) = (ciphertexts.limbs(), context.ring_degree());
    let secret = key.evaluations(context, 0..limbs);
    let group = MixedRadix::new((0..limbs).map(|limb| *context.modulus(limb)).collect());
    let encoder = context.encoder();
    collect_rows(
        ciphertexts.len(),
        || Scratch {
            residues: vec![0; limbs * n],
            digits: vec![0; limbs * n],
            component: vec![0; n],
            transform: vec![0.0; encoder.scratch_len()],
        },
        |scratch, row| {
            let polynomials = scratch.residues.chunks_exact_mut(n);
            for ((limb, phase), secret) in polynomials.enumerate().zip(secret.chunks_exact(n)) {
                let (modulus, backend) = (context.modulus(limb), context.backend());
                // Horner's rule in s, from the last component.
                let last = ciphertexts.components() - 1;
                backend.unpack_row(ciphertexts.part(last, limb), row, phase);
                for component in (0..last).rev() {
                    let part = ciphertexts.part(component, limb);
                    backend.unpack_row(part, row, &mut scratch.component);
                    backend.multiply_assign(modulus, phase, secret);
                    backend.add_assign(modulus, phase, &scratch.component);
                }
                context.table(limb).inverse(phase);
            }
            group.digits_into(context.backend(), &scratch.residues, &mut scratch.digits);
            let mut slots = vec![0.0; n];
            group.floats_into(&scratch.digits, &mut slots);
            encoder.decode_in_place(&mut slots, &mut scratch.transform, ciphertexts.scale())?;
            Ok(slots)
        },
    )
}
