//! Equal bytes for every backend and every number of threads.

mod common;

use common::{toy, uniform};
use sordino_ckks::{Ciphertexts, Context, EvaluationKey, Gadget, KeyId, Parameters};
use sordino_ring::linear::{LinearMap, Tile, WeightWidth};
use sordino_ring::{ResidueMatrix, backend};

/// A little network: every kind of operation, on 11 ciphertexts (an odd number, to leave ragged blocks).
fn evaluate(context: &Context) -> Vec<Ciphertexts> {
    let rows = 11;
    let digits = context.digits().len();
    // Any residues make a key here: only equal bytes are asked for.
    let bodies = (0..context.all_limbs())
        .map(|limb| {
            let modulus = context.modulus(limb);
            let n = context.ring_degree();
            let mut matrix = ResidueMatrix::zeros(digits, n, modulus.byte_width());
            for row in 0..digits {
                let residues: Vec<_> = (0..n as u64)
                    .map(|k| modulus.reduce_u64((k + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> row))
                    .collect();
                matrix.pack_row_from(row, &residues);
            }
            matrix
        })
        .collect();
    let key = EvaluationKey::from_parts(context, KeyId([1; 16]), [2; 32], bodies).unwrap();
    let weights = (0..rows * rows)
        .map(|k| ((k * 89) % 255) as i16 - 127)
        .collect();
    let tile = Tile {
        outputs: (0..rows as u32).collect(),
        inputs: (0..rows as u32).collect(),
        weights,
    };
    let map = LinearMap::new(rows, rows, WeightWidth::Eight, vec![tile])
        .unwrap()
        .prepare(context.backend());
    let shift: Vec<i128> = (0..rows as i128).map(|k| k * 12_345 - 60_000).collect();

    let a = uniform(context, 1, rows, 2, context.limbs());
    let b = uniform(context, 2, rows, 2, context.limbs());
    let product = context.multiply(&a, &b).unwrap();
    let square = context.square_shifted(a.clone(), &shift).unwrap();
    let relinearized = context.relinearize(square.clone(), &key).unwrap();
    let layer = context.linear(&relinearized, &map, 1.0).unwrap();
    let rescaled = context.rescale(layer, 1).unwrap();
    let mut constant = rescaled.clone();
    context.add_constants(&mut constant, &shift).unwrap();
    let second = context.square(constant.clone()).unwrap();
    let again = context.relinearize(second, &key).unwrap();
    let group = context.rescale(square, 2).unwrap();
    let difference = context.sub(&a, &b).unwrap();
    vec![
        product,
        relinearized,
        rescaled,
        constant,
        again,
        group,
        difference,
    ]
}

fn parameter_sets() -> Vec<Parameters> {
    vec![
        toy(
            1024,
            &[48, 32, 32, 40],
            Some(24),
            Some(Gadget::SpecialPrime),
        ),
        toy(
            256,
            &[50, 32, 20],
            None,
            Some(Gadget::SmallDigits { digit_bits: 13 }),
        ),
    ]
}

#[test]
fn backends_and_threads_give_equal_bytes() {
    for parameters in parameter_sets() {
        let reference = {
            let context = Context::new(parameters.clone(), backend::portable()).unwrap();
            evaluate(&context)
        };
        for backend in backend::available() {
            for threads in [1, 2, 3] {
                let context = Context::new(parameters.clone(), backend).unwrap();
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let found = pool.install(|| evaluate(&context));
                assert!(
                    found == reference,
                    "{} with {threads} threads",
                    backend.name
                );
            }
        }
        if backend::available().len() == 1 {
            println!("skipped: no backend but the portable one on this processor");
        }
    }
}

#[test]
fn expansion_depends_on_seed_and_index_only() {
    use sordino_ckks::{Scale, SeededCiphertexts};
    let context = common::portable(toy(64, &[40, 30], None, None));
    let parts: Vec<_> = (0..2)
        .map(|limb| ResidueMatrix::zeros(6, 64, context.modulus(limb).byte_width()))
        .collect();
    let seeded = |seed: u8| {
        let scale = Scale::new(1.0).unwrap();
        SeededCiphertexts::from_parts(&context, [seed; 32], 5, parts.clone(), scale).unwrap()
    };
    let all = seeded(1).expand(&context).unwrap();
    let some = seeded(1).select(2..5).unwrap().expand(&context).unwrap();
    assert_eq!(all.select(&[2, 3, 4]).unwrap(), some);
    let rows: Vec<_> = (0..6).map(|row| all.part(1, 0).row(row)).collect();
    assert!((1..6).all(|row| rows[row] != rows[0]));
    let other = seeded(2).expand(&context).unwrap();
    assert!(other.part(1, 0).row(0) != rows[0]);
    assert!(seeded(1).select(4..7).is_err() && seeded(1).select(3..3).is_err());
}
