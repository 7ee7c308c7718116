//! Time of relinearizing ciphertexts with digits of one and of several limbs, in turns.
//!
//! ```sh
//! cargo run --release -p sordino-secret --example relinearize -- [LIMBS [BITS [LOG2_N [ROUNDS]]]]
//! ```
//!
//! Toy parameters: the time does not depend on their security. Prints milliseconds for each ciphertext on all threads, median of
//! the rounds, and the ratio to one digit per limb.

use std::time::Instant;

use sordino_ckks::seed::Purpose;
use sordino_ckks::{Ciphertexts, Context, Gadget, Parameters, Scale};
use sordino_ring::sample::SecretRng;
use sordino_ring::{backend, primes_below};
use sordino_secret::{SecretKey, evaluation_key};

/// Ciphertexts of a call.
const CIPHERTEXTS: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let number = |at: usize, default: usize| numbers.get(at).copied().unwrap_or(default);
    let (limbs, bits, log2_n, rounds) = (number(0, 9), number(1, 40), number(2, 14), number(3, 9));
    let n = 1 << log2_n;
    let mut cases = Vec::new();
    for (digit_limbs, special_primes) in [
        (1, 1),
        (2, 1),
        (2, 2),
        (3, 1),
        (3, 2),
        (3, 3),
        (4, 2),
        (4, 3),
        (5, 2),
        (5, 3),
        (5, 5),
        (9, 3),
        (9, 9),
    ] {
        let mut primes: Vec<u64> = primes_below(1 << bits, n)
            .take(limbs + special_primes)
            .collect();
        let special = primes.split_off(limbs);
        let gadget = match (digit_limbs, special_primes) {
            (1, 1) => Gadget::SpecialPrime,
            _ => Gadget::WideDigits { limbs: digit_limbs },
        };
        let parameters = Parameters::insecure_for_tests(n, primes, special, Some(gadget))?;
        let context = Context::new(parameters, backend::select(None)?)?;
        let mut rng = SecretRng::from_os()?;
        let key = SecretKey::generate(&context, &mut rng)?;
        let key = evaluation_key(&context, &key, &mut rng)?;
        let part = |component: u64, limb| {
            context.uniform_rows(
                &[7; 32],
                Purpose::Ciphertext,
                limb,
                100 * component,
                CIPHERTEXTS,
            )
        };
        let parts = (0..3).map(|component| (0..limbs).map(|limb| part(component, limb)).collect());
        let three = Ciphertexts::from_parts(&context, parts.collect(), Scale::new(1.0)?)?;
        cases.push((
            format!("{digit_limbs} limbs, {special_primes} special"),
            context,
            key,
            three,
        ));
    }
    let mut times = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for ((_, context, key, three), times) in cases.iter().zip(&mut times) {
            let three = three.clone();
            let start = Instant::now();
            context.relinearize(three, key)?;
            times.push(1e3 * start.elapsed().as_secs_f64() / CIPHERTEXTS as f64);
        }
    }
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    println!(
        "N = 2^{log2_n}, {limbs} limbs of {bits} bits, {} threads",
        rayon::current_num_threads()
    );
    for ((name, ..), of_case) in cases.iter().zip(&times) {
        println!(
            "{name}: {:.3} ms, {:.3}",
            of_case[rounds / 2],
            of_case[rounds / 2] / times[0][rounds / 2]
        );
    }
    Ok(())
}
