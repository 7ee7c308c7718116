//! The public keys for relinearization and rotations.

use sordino_ckks::rows::rows_of;
use sordino_ckks::seed::Purpose;
use sordino_ckks::{Context, EvaluationKey, KeySet};
use sordino_ring::Automorphism;
use sordino_ring::sample::{self, SecretRng};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::key::public_bytes;
use crate::rows::for_each_row;
use crate::{Error, SecretKey};

/// Memory of one worker.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Scratch {
    error: Vec<i32>,
    wide_error: Vec<i64>,
    residues: Vec<u64>,
    product: Vec<u64>,
    moved: Vec<u64>,
}

/// The relinearization key of a secret key, for the gadget of the parameters.
///
/// The relinearization key is public: an encryption of s² under s, digit by digit (circular security is assumed). One
/// key serves all levels.
///
/// # Errors
/// [`Error::Ckks`] if the parameters have no gadget or the key belongs to others; [`Error::Ring`] if the operating
/// system gives no random bytes.
pub fn evaluation_key(
    context: &Context,
    key: &SecretKey,
    rng: &mut SecretRng,
) -> Result<EvaluationKey, Error> {
    evaluation_key_for(context, key, &KeySet::relinearization_only(), rng)
}

/// The switching keys of a set, for the gadget of the parameters.
///
/// Switching keys are public: encryptions, digit by digit, of s² under s for relinearization, and of s under its images
/// by the inverse automorphisms for rotations (circular security is assumed). Each serves all levels.
///
/// # Errors
/// [`Error::Ckks`] if the parameters have no gadget, the set is empty or has rotations by N steps or more, or the key
/// belongs to other parameters; [`Error::Ring`] if the operating system gives no random bytes.
///
/// # Cost
/// A transform and an expansion per row and modulus, in parallel over rows; a row is a digit of one key.
pub fn evaluation_key_for(
    context: &Context,
    key: &SecretKey,
    key_set: &KeySet,
    rng: &mut SecretRng,
) -> Result<EvaluationKey, Error> {
    key.check(context)?;
    let digits = context.digits();
    if digits.is_empty() {
        return Err(sordino_ckks::Error::NoGadget.into());
    }
    let (limbs, n) = (context.all_limbs(), context.ring_degree());
    key_set.check(n)?;
    // None stands for relinearization; a rotation needs the inverse of its automorphism.
    let mut automorphisms = Vec::with_capacity(key_set.len());
    automorphisms.extend(key_set.relinearization().then_some(None));
    for steps in key_set.rotations() {
        automorphisms.push(Some(Automorphism::new(n, n - steps)?));
    }
    let seed = public_bytes()?;
    let secret = key.evaluations(context, 0..limbs);
    let errors = rng.streams();
    let rows = automorphisms.len() * digits.len();
    let mut bodies: Vec<_> = (0..limbs).map(|limb| context.zeros(rows, limb)).collect();
    for_each_row(
        &mut rows_of(bodies.iter_mut()),
        limbs,
        || Scratch {
            error: vec![0; n],
            wide_error: vec![0; n],
            residues: vec![0; n],
            product: vec![0; n],
            moved: vec![0; n],
        },
        |scratch, index, rows| {
            let digit = digits[index % digits.len()];
            let automorphism = automorphisms[index / digits.len()].as_ref();
            let (backend, mut rng) = (context.backend(), errors.fork(index as u64));
            sample::gaussian(backend, &mut rng, &mut scratch.error);
            for (wide, &error) in scratch.wide_error.iter_mut().zip(&scratch.error) {
                *wide = i64::from(error);
            }
            for ((limb, bytes), secret) in rows.iter_mut().enumerate().zip(secret.chunks_exact(n)) {
                let modulus = context.modulus(limb);
                let Scratch {
                    wide_error,
                    residues,
                    product,
                    moved,
                    ..
                } = scratch;
                backend.reduce_i64_into(modulus, wide_error, residues);
                context.table(limb).forward(residues);
                context
                    .uniform(&seed, Purpose::EvaluationKey, limb)
                    .expand_row(index as u64, product);
                match automorphism {
                    None => moved.copy_from_slice(secret),
                    Some(automorphism) => automorphism.apply_into(backend, secret, moved),
                }
                backend.multiply_assign(modulus, product, moved);
                backend.sub_assign(modulus, residues, product);
                if digit.limbs().contains(&limb) {
                    let shift = modulus.pow(2, u64::from(digit.shift));
                    let factor = modulus.mul(context.special_product(limb), shift);
                    match automorphism {
                        None => backend.multiply_into(modulus, secret, secret, product),
                        Some(_) => product.copy_from_slice(secret),
                    }
                    backend.multiply_scalar_add_assign(modulus, residues, product, factor);
                }
                context.pack(limb, residues, bytes);
            }
            Ok(())
        },
    )?;
    Ok(EvaluationKey::from_parts(
        context,
        key.key_id(),
        seed,
        key_set.clone(),
        bodies,
    )?)
}

#[cfg(test)]
mod tests {
    use sordino_ckks::{Gadget, Parameters};
    use sordino_ring::sample::GAUSSIAN_BOUND;
    use sordino_ring::{backend, primes_below};

    use super::*;

    /// The bodies of a key and its seed, as its file has them behind the metadata.
    fn payload(key: &EvaluationKey) -> Vec<u8> {
        let bytes = key.to_bytes().unwrap();
        bytes[bytes.len() - key.size_bytes()..].to_vec()
    }

    fn check(special: &[u64], gadget: Gadget) {
        let n = 64;
        let primes: Vec<_> = primes_below(1 << 32, n).take(3).collect();
        let parameters =
            Parameters::insecure_for_tests(n, primes, special.to_vec(), Some(gadget)).unwrap();
        let context = Context::new(parameters, backend::portable()).unwrap();
        let mut rng = SecretRng::from_os().unwrap();
        let key = SecretKey::generate(&context, &mut rng).unwrap();
        let key_set = KeySet::new(true, vec![1, 9, n - 1]).unwrap();
        let public = evaluation_key_for(&context, &key, &key_set, &mut rng).unwrap();
        let payload = payload(&public);
        let (seed, mut rest) = payload.split_at(32);
        let seed: [u8; 32] = seed.try_into().unwrap();
        let secret = key.evaluations(&context, 0..context.all_limbs());
        let digits = context.digits();
        // errors[row] as found in each limb: b + a s - factor s^2 or b + a s(X^(5^-steps)) - factor s, centred.
        let mut errors: Vec<Vec<Vec<i64>>> = vec![vec![]; digits.len() * key_set.len()];
        for (limb, secret) in secret.chunks_exact(n).enumerate() {
            let modulus = context.modulus(limb);
            let width = modulus.byte_width();
            for (index, errors) in errors.iter_mut().enumerate() {
                let digit = digits[index % digits.len()];
                let rotation = (index / digits.len()).checked_sub(1);
                let mut under = secret.to_vec();
                if let Some(rotation) = rotation {
                    let inverse = n - key_set.rotations()[rotation];
                    Automorphism::new(n, inverse).unwrap().apply_into(
                        context.backend(),
                        secret,
                        &mut under,
                    );
                }
                let (body, others) = rest.split_at(n * width);
                rest = others;
                let (mut values, mut uniform) = (vec![0; n], vec![0; n]);
                context.unpack(limb, body, &mut values);
                let purpose = Purpose::EvaluationKey;
                context
                    .uniform(&seed, purpose, limb)
                    .expand_row(index as u64, &mut uniform);
                for (place, (value, &a)) in values.iter_mut().zip(&uniform).enumerate() {
                    let s = secret[place];
                    *value = modulus.add(*value, modulus.mul(a, under[place]));
                    if digit.limbs().contains(&limb) {
                        let special: u128 = special.iter().map(|&p| u128::from(p)).product();
                        let factor = (special << digit.shift) % u128::from(modulus.value());
                        let message = if rotation.is_some() {
                            s
                        } else {
                            modulus.mul(s, s)
                        };
                        *value = modulus.sub(*value, modulus.mul(message, factor as u64));
                    }
                }
                context.table(limb).inverse(&mut values);
                errors.push(values.iter().map(|&v| modulus.center(v)).collect());
            }
        }
        for (index, limbs) in errors.iter().enumerate() {
            let bound = i64::from(GAUSSIAN_BOUND);
            assert!(limbs[0].iter().all(|e| e.abs() <= bound), "digit {index}");
            assert!(limbs.iter().all(|limb| limb == &limbs[0]), "digit {index}");
            assert!(limbs[0].iter().any(|&e| e != 0));
            assert!(errors[..index].iter().all(|other| other[0] != limbs[0]));
        }
    }

    #[test]
    fn every_digit_hides_its_factor_behind_an_error_of_its_own() {
        let special: Vec<_> = primes_below(1 << 24, 64).take(1).collect();
        check(&special, Gadget::SpecialPrime);
        check(&special, Gadget::WideDigits { limbs: 2 });
        let special: Vec<_> = primes_below(1 << 30, 64).take(2).collect();
        check(&special, Gadget::WideDigits { limbs: 2 });
        check(&special, Gadget::WideDigits { limbs: 3 });
        check(&[], Gadget::SmallDigits { digit_bits: 11 });
    }
}
