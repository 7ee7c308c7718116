//! Feature maps of known residues, and the ring by its definition.

// Every test binary uses its own part of this.
#![allow(dead_code)]

use sordino_ckks::seed::Purpose;
use sordino_ckks::{Ciphertexts, Context, Gadget, Parameters, Scale};
use sordino_ring::{backend, primes_below};

/// Toy parameters: primes of the given bits, all different.
pub(crate) fn toy(
    n: usize,
    bits: &[u32],
    special_bits: Option<u32>,
    gadget: Option<Gadget>,
) -> Parameters {
    let mut taken = Vec::new();
    let mut pick = |bits: u32| {
        let prime = primes_below(1 << bits, n)
            .find(|prime| !taken.contains(prime))
            .expect("there are enough primes");
        taken.push(prime);
        prime
    };
    let primes = bits.iter().map(|&bits| pick(bits)).collect();
    let special = special_bits.map(&mut pick).into_iter().collect();
    Parameters::insecure_for_tests(n, primes, special, gadget).expect("toy parameters are sound")
}

/// Toy parameters with digits of some limbs and any number of special primes.
pub(crate) fn wide(n: usize, bits: &[u32], special_bits: &[u32], limbs: u32) -> Parameters {
    let sizes = [bits, special_bits].concat();
    let chain = toy(n, &sizes, None, None);
    let (primes, special) = chain.primes().split_at(bits.len());
    let gadget = Some(Gadget::WideDigits { limbs });
    Parameters::insecure_for_tests(n, primes.to_vec(), special.to_vec(), gadget)
        .expect("toy parameters are sound")
}

/// A context on the portable backend.
pub(crate) fn portable(parameters: Parameters) -> Context {
    Context::new(parameters, backend::portable()).expect("sound parameters have tables")
}

/// Uniform residues: `rows` ciphertexts of `components` components, determined by `seed`.
pub(crate) fn uniform(
    context: &Context,
    seed: u8,
    rows: usize,
    components: usize,
    limbs: usize,
) -> Ciphertexts {
    let matrix = |component: usize, limb: usize| {
        let first_index = 1000 * component as u64;
        context.uniform_rows(&[seed; 32], Purpose::Ciphertext, limb, first_index, rows)
    };
    let parts = (0..components)
        .map(|component| (0..limbs).map(|limb| matrix(component, limb)).collect())
        .collect();
    Ciphertexts::from_parts(context, parts, Scale::from_log2(20.0).unwrap()).unwrap()
}

/// The coefficients of one polynomial modulo one limb.
pub(crate) fn coefficients(
    context: &Context,
    map: &Ciphertexts,
    component: usize,
    limb: usize,
    row: usize,
) -> Vec<u64> {
    let mut residues = vec![0; context.ring_degree()];
    context
        .backend()
        .unpack_row(map.part(component, limb), row, &mut residues);
    context.table(limb).inverse(&mut residues);
    residues
}

/// The product in Z[X] / (X^2N + 1, q) of polynomials in the basis 1, X^k + X^-k.
pub(crate) fn schoolbook(a: &[u64], b: &[u64], q: u64) -> Vec<u64> {
    let n = a.len();
    let wide = |a: &[u64]| {
        // X^-k is -X^(2N-k).
        let mut wide = vec![0; 2 * n];
        wide[0] = a[0];
        for k in 1..n {
            wide[k] = a[k];
            wide[2 * n - k] = (q - a[k]) % q;
        }
        wide
    };
    let (a, b) = (wide(a), wide(b));
    let mut product = vec![0u64; 2 * n];
    for (i, &x) in a.iter().enumerate() {
        for (j, &y) in b.iter().enumerate() {
            let term = (u128::from(x) * u128::from(y) % u128::from(q)) as u64;
            let (place, term) = if i + j < 2 * n {
                (i + j, term)
            } else {
                (i + j - 2 * n, (q - term) % q)
            };
            product[place] = (product[place] + term) % q;
        }
    }
    product.truncate(n);
    product
}
