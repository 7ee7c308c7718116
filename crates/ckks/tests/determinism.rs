//! Equal bytes for every backend and every number of threads.

mod common;

use common::{toy, uniform, wide};
use sordino_ckks::{
    Ciphertexts, ColumnOperation, ColumnSource, Context, EvaluationKey, Gadget, KeyId, KeySet,
    Parameters, RotatedTerm, Scale, SeededCiphertexts,
};
use sordino_ring::linear::{LinearMap, PreparedLinearMap, Tile, WeightWidth};
use sordino_ring::{ResidueMatrix, backend};

/// A little network: every kind of operation, on 11 ciphertexts (an odd number, to leave ragged blocks).
fn evaluate(context: &Context) -> Vec<Ciphertexts> {
    let rows = 11;
    let key_set = KeySet::new(true, vec![1, 5, context.ring_degree() - 1]).unwrap();
    let digits = context.digits().len() * key_set.len();
    // Any residues make a key here: only equal bytes are asked for.
    let bodies = (0..context.all_limbs())
        .map(|limb| {
            let modulus = context.modulus(limb);
            let n = context.ring_degree();
            let mut matrix = ResidueMatrix::zeros(digits, n, modulus.byte_width());
            for row in 0..digits {
                let residues: Vec<_> = (0..n as u64)
                    .map(|k| {
                        modulus
                            .reduce_u64((k + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (row % 60))
                    })
                    .collect();
                context.backend().pack_row(&mut matrix, row, &residues);
            }
            matrix
        })
        .collect();
    let key = EvaluationKey::from_parts(context, KeyId([1; 16]), [2; 32], key_set, bodies).unwrap();
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
    let (run, single) = columns(context, &a, &map, &shift);
    let [products, folds] = rotated(context, &a, &key);
    assert!(
        run == single,
        "a run of column operations is its single operations"
    );
    vec![
        product,
        relinearized,
        rescaled,
        constant,
        again,
        group,
        difference,
        run,
        products,
        folds,
    ]
}

/// Sums of rotations with and without plaintexts, at two levels.
fn rotated(context: &Context, a: &Ciphertexts, key: &EvaluationKey) -> [Ciphertexts; 2] {
    let n = context.ring_degree();
    let steps = [0, 1, 5, n - 1];
    let terms = |output: usize, count: usize| -> Vec<_> {
        (0..count)
            .map(|k| RotatedTerm {
                input: (output + k) % 11,
                steps: steps[(3 * output + k) % 4],
                plaintext: Some(k % 5),
            })
            .collect()
    };
    let outputs: Vec<_> = (0..3).map(|output| terms(output, 9 + output)).collect();
    let slots: Vec<f64> = (0..5 * n).map(|k| (k as f64).sin()).collect();
    let scale = Scale::new(1e4).unwrap();
    let plaintexts = context
        .encode_plaintexts(&slots, scale, context.limbs())
        .unwrap();
    let low = context.drop_limbs(a.clone(), 1).unwrap();
    let products = context
        .sum_rotated(&low, &outputs, Some(&plaintexts), key)
        .unwrap();
    let mut folds = outputs;
    for term in folds.iter_mut().flatten() {
        term.plaintext = None;
    }
    let folds = context.sum_rotated(a, &folds, None, key).unwrap();
    [products, folds]
}

/// Layer, layer, square, layer and layer, square, all at once and one by one.
fn columns(
    context: &Context,
    a: &Ciphertexts,
    map: &PreparedLinearMap,
    constants: &[i128],
) -> (Ciphertexts, Ciphertexts) {
    let limbs = context.limbs() - 1;
    let layer = ColumnOperation::Linear {
        map,
        weight_scale: 3.0,
        bias: constants,
    };
    let square = ColumnOperation::Square { shift: constants };
    let run = |operations: &[ColumnOperation<'_>]| {
        let rows: Vec<_> = (0..a.len() as u32).map(|row| (a, row)).collect();
        context
            .apply_columns(ColumnSource::Rows(&rows), limbs, operations)
            .unwrap()
    };
    let long = run(&[layer, layer, square, layer]);
    assert_eq!(long.nanoseconds.len(), 5);
    let short = run(&[layer, square]).ciphertexts;

    let single_layer = |a: &Ciphertexts| {
        let mut result = context.linear(a, map, 3.0).unwrap();
        context.add_constants(&mut result, constants).unwrap();
        result
    };
    let first = single_layer(&context.drop_limbs(a.clone(), 1).unwrap());
    let squared = context
        .square_shifted(single_layer(&first), constants)
        .unwrap();
    assert!(short == context.square_shifted(first, constants).unwrap());
    (long.ciphertexts, single_layer(&squared))
}

#[test]
fn column_operations_expand_seeds_and_refuse_what_does_not_fit() {
    let context = common::portable(toy(256, &[32, 30], None, None));
    let parts: Vec<_> = uniform(&context, 3, 6, 1, 2).into_parts().remove(0);
    let scale = Scale::new(8.0).unwrap();
    let fresh = SeededCiphertexts::from_parts(&context, [9; 32], 5, parts, scale).unwrap();
    let square = ColumnOperation::Square { shift: &[1; 6] };
    let source = ColumnSource::Seeded {
        map: &fresh,
        rows: &[0, 1, 2, 3, 4, 5],
    };
    let run = context.apply_columns(source, 2, &[square]).unwrap();
    let expanded = fresh.clone().expand(&context).unwrap();
    let squares = context.square_shifted(expanded.clone(), &[1; 6]).unwrap();
    assert!(run.ciphertexts == squares);

    // Some of them, in another order, from the seed and from two feature maps.
    let pair = ColumnOperation::Square { shift: &[1; 3] };
    let some = ColumnSource::Seeded {
        map: &fresh,
        rows: &[4, 2, 3],
    };
    let expected = squares.select(&[4, 2, 3]).unwrap();
    let low = context.drop_limbs(expanded.clone(), 1).unwrap();
    let rows = [(&low, 4), (&expanded, 2), (&low, 3)];
    let other = context.apply_columns(some, 2, &[pair]).unwrap();
    assert!(other.ciphertexts == expected);
    let other = context
        .apply_columns(ColumnSource::Rows(&rows), 1, &[pair])
        .unwrap();
    assert!(other.ciphertexts == context.drop_limbs(expected, 1).unwrap());
    let rows = rows.map(|(map, row)| (map, row as usize));
    let gathered = Ciphertexts::gather(&rows, 1).unwrap();
    assert!(gathered == low.select(&[4, 2, 3]).unwrap());
    assert!(Ciphertexts::gather(&rows, 2).is_err());
    let rows = [(&low, 6)];
    for bad in [
        ColumnSource::Rows(&rows),
        ColumnSource::Rows(&[]),
        ColumnSource::Seeded {
            map: &fresh,
            rows: &[0, 1, 6],
        },
    ] {
        assert!(context.apply_columns(bad, 1, &[pair]).is_err());
    }

    let short = ColumnOperation::Square { shift: &[1; 5] };
    for (limbs, operations) in [
        (3, &[square][..]),
        (0, &[square]),
        (2, &[]),
        (2, &[short]),
        (2, &[square, square]),
    ] {
        assert!(context.apply_columns(source, limbs, operations).is_err());
    }
    let other = common::portable(toy(256, &[32, 31], None, None));
    assert!(other.apply_columns(source, 2, &[square]).is_err());
}

fn parameter_sets() -> Vec<Parameters> {
    vec![
        toy(
            1024,
            &[48, 32, 32, 40],
            Some(24),
            Some(Gadget::SpecialPrime),
        ),
        wide(512, &[48, 32, 32, 40, 20], &[49, 36], 2),
        wide(256, &[50, 32, 20], &[24], 5),
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
