//! Symmetric encryption with a public seed.

use sordino_ckks::rows::rows_of;
use sordino_ckks::seed::Purpose;
use sordino_ckks::{Context, Scale, SeededCiphertexts, check_message_range};
use sordino_ring::sample::{self, SecretRng};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::key::public_bytes;
use crate::rows::for_each_row;
use crate::{Error, SecretKey};

/// Memory of one worker: message, error and what they are computed with.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Scratch {
    slots: Vec<f64>,
    transform: Vec<f64>,
    coefficients: Vec<i64>,
    error: Vec<i32>,
    residues: Vec<u64>,
    product: Vec<u64>,
}

/// Encrypts `features` vectors of N slots as one feature map with a fresh public seed.
///
/// `slots_of(f, slots)` fills the slots of feature f, which come as zeros.
///
/// # Shapes
/// F ciphertexts of N slots; one component is stored, the other is expanded from the seed.
///
/// # Level and scale
/// `level` + 1 limbs; the slots are multiplied by `scale` and rounded in the coefficients.
///
/// # Errors
/// [`Error::Ckks`] if the key belongs to other parameters, the level is higher than the highest, there are no
/// features, or a message does not fit the modulus; [`Error::Ring`] if the operating system gives no random bytes.
///
/// # Safety of use
/// Every call draws a fresh seed from the operating system and fresh errors from `rng`, which advances.
pub fn encrypt(
    context: &Context,
    key: &SecretKey,
    rng: &mut SecretRng,
    features: usize,
    slots_of: &(dyn Fn(usize, &mut [f64]) + Sync),
    level: usize,
    scale: Scale,
) -> Result<SeededCiphertexts, Error> {
    let seed = public_bytes()?;
    encrypt_with_seed(context, key, rng, seed, features, slots_of, level, scale)
}

/// [`encrypt`] with a given seed; a seed must never be used twice with one key.
#[allow(clippy::too_many_arguments)]
fn encrypt_with_seed(
    context: &Context,
    key: &SecretKey,
    rng: &mut SecretRng,
    seed: [u8; 32],
    features: usize,
    slots_of: &(dyn Fn(usize, &mut [f64]) + Sync),
    level: usize,
    scale: Scale,
) -> Result<SeededCiphertexts, Error> {
    key.check(context)?;
    let (limbs, n) = (level.saturating_add(1), context.ring_degree());
    if limbs > context.limbs() {
        return Err(sordino_ckks::Error::Level {
            what: "encryption",
            expected: context.limbs() - 1,
            found: level,
        }
        .into());
    }
    let secret = key.evaluations(context, 0..limbs);
    let errors = rng.streams();
    let encoder = context.encoder();
    let limit = context.parameters().log2_q_at(level) - 1.0;
    // The uniform half comes first, all at once; each row is then replaced by the other half.
    let mut parts: Vec<_> = (0..limbs)
        .map(|limb| {
            let purpose = Purpose::Ciphertext;
            context.uniform_rows(&seed, purpose, limb, 0, features)
        })
        .collect();
    for_each_row(
        &mut rows_of(parts.iter_mut()),
        limbs,
        || Scratch {
            slots: vec![0.0; n],
            transform: vec![0.0; encoder.scratch_len()],
            coefficients: vec![0; n],
            error: vec![0; n],
            residues: vec![0; n],
            product: vec![0; n],
        },
        |scratch, feature, limbs| {
            scratch.slots.fill(0.0);
            slots_of(feature, &mut scratch.slots);
            encoder.encode_in_place(
                &mut scratch.slots,
                &mut scratch.transform,
                scale,
                &mut scratch.coefficients,
            )?;
            check_message_range(&scratch.coefficients, limit)?;
            let (backend, mut rng) = (context.backend(), errors.fork(feature as u64));
            sample::gaussian(backend, &mut rng, &mut scratch.error);
            for (coefficient, &error) in scratch.coefficients.iter_mut().zip(&scratch.error) {
                *coefficient += i64::from(error);
            }
            for ((limb, bytes), secret) in limbs.iter_mut().enumerate().zip(secret.chunks_exact(n))
            {
                let modulus = context.modulus(limb);
                let Scratch {
                    residues, product, ..
                } = scratch;
                backend.reduce_i64_into(modulus, &scratch.coefficients, residues);
                context.table(limb).forward(residues);
                context.unpack(limb, bytes, product);
                backend.multiply_assign(modulus, product, secret);
                backend.sub_assign(modulus, residues, product);
                context.pack(limb, residues, bytes);
            }
            Ok(())
        },
    )?;
    Ok(SeededCiphertexts::from_parts(
        context, seed, 0, parts, scale,
    )?)
}

#[cfg(test)]
mod tests {
    use sordino_ckks::Parameters;
    use sordino_ring::{backend, primes_below};

    use super::*;

    fn context(backend: &'static backend::Backend) -> Context {
        let primes = primes_below(1 << 40, 64).take(2).collect();
        let parameters = Parameters::insecure_for_tests(64, primes, vec![], None).unwrap();
        Context::new(parameters, backend).unwrap()
    }

    fn encrypt_once(context: &Context, key: &SecretKey, rng: &mut SecretRng) -> SeededCiphertexts {
        let fill = |feature: usize, slots: &mut [f64]| slots.fill(feature as f64);
        let scale = Scale::new(1e6).unwrap();
        encrypt_with_seed(context, key, rng, [4; 32], 9, &fill, 1, scale).unwrap()
    }

    #[test]
    fn errors_are_fresh_even_if_a_seed_were_not() {
        let context = context(backend::portable());
        let mut rng = SecretRng::from_seed([5; 32]);
        let key = SecretKey::generate(&context, &mut rng).unwrap();
        let first = encrypt_once(&context, &key, &mut rng);
        let second = encrypt_once(&context, &key, &mut rng);
        for limb in 0..2 {
            for row in 0..9 {
                assert!(first.parts()[limb].row(row) != second.parts()[limb].row(row));
            }
        }
    }

    #[cfg(feature = "parallel")]
    #[test]
    fn threads_and_backends_do_not_change_the_ciphertexts() {
        let run = |threads, backend| {
            let context = context(backend);
            let key = SecretKey::generate(&context, &mut SecretRng::from_seed([6; 32])).unwrap();
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let mut rng = SecretRng::from_seed([7; 32]);
            pool.install(|| encrypt_once(&context, &key, &mut rng))
        };
        let reference = run(1, backend::portable());
        for backend in backend::available() {
            assert_eq!(run(1, backend), reference);
            assert_eq!(run(2, backend), reference);
        }
    }
}
