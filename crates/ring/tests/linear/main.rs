//! The whole-layer product: portable against 128-bit arithmetic, every backend against portable, every limit.

mod maps;
mod numbers;

use proptest::prelude::*;
use sordino_ring::{
    Error, ResidueMatrix, backend,
    linear::{LinearMap, Tile, WeightWidth},
};

use numbers::{Numbers, apply, modulus, naive, others, weight_width};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn portable_is_the_naive_product(
        seed: u64, bits in 2_u32..=50, columns in 1_usize..40, inputs in 1_usize..30, outputs in 1_usize..30,
        width in weight_width(),
    ) {
        let (q, mut numbers) = (modulus(bits), Numbers(seed));
        let map = numbers.map(inputs, outputs, width);
        let input = numbers.matrix(inputs, columns, &q);
        let expected = naive(&map, &q, &input);
        prop_assert!(apply(backend::portable(), &map, &q, &input, 1) == expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn backends_are_bit_identical(
        seed: u64, bits in 2_u32..=50, columns in 1_usize..700, inputs in 1_usize..80, outputs in 1_usize..60,
        width in weight_width(), threads in 1_usize..=2,
    ) {
        let (q, mut numbers) = (modulus(bits), Numbers(seed));
        let map = numbers.map(inputs, outputs, width);
        let input = numbers.matrix(inputs, columns, &q);
        let expected = apply(backend::portable(), &map, &q, &input, 1);
        for other in others() {
            let found = apply(other, &map, &q, &input, threads);
            prop_assert_eq!(other.validate(&q, &found), Ok(()), "{}", other.name);
            prop_assert!(found == expected, "{}", other.name);
        }
    }
}

/// All bytes as large as they get, with weights of one sign: sums reach their limits.
fn extremes(depth: usize, outputs: usize, columns: usize, bits: u32, width: WeightWidth) {
    let q = modulus(bits);
    let max = width.max_weight();
    let weight_of = |row: usize| match (row % 4, width) {
        (0, _) => max,
        (1, _) => -max,
        // Low byte -128, the other limit of a sum.
        (_, WeightWidth::Sixteen) => -128 - 256 * (row as i16 % 2),
        (_, WeightWidth::Eight) => row as i16 % 128,
    };
    let weights = (0..outputs).flat_map(|row| std::iter::repeat_n(weight_of(row), depth));
    let tile = Tile {
        outputs: (0..outputs as u32).collect(),
        inputs: vec![0; depth],
        weights: weights.collect(),
    };
    let map = LinearMap::new(1, outputs, width, vec![tile]).unwrap();
    let mut input = ResidueMatrix::zeros(1, columns, q.byte_width());
    backend::portable().pack_row(&mut input, 0, &vec![q.value() - 1; columns]);
    // The input is -1, so output o is -depth · weight.
    for found in backend::available() {
        let output = apply(found, &map, &q, &input, 1);
        for row in 0..outputs {
            let mut residues = vec![0; columns];
            backend::portable().unpack_row(&output, row, &mut residues);
            let expected = q.from_i64(-(depth as i64) * i64::from(weight_of(row)));
            assert!(
                residues.iter().all(|&r| r == expected),
                "{}, {bits} bits, {depth} inputs, row {row}",
                found.name
            );
        }
    }
}

#[test]
fn sums_are_exact_up_to_the_limit() {
    for width in [WeightWidth::Eight, WeightWidth::Sixteen] {
        for bits in [17, 24, 32, 40, 48, 50] {
            extremes(width.max_inputs(), 4, 17, bits, width);
        }
    }
}

#[test]
fn extreme_values_at_ordinary_sizes() {
    for width in [WeightWidth::Eight, WeightWidth::Sixteen] {
        for bits in [8, 16, 24, 32, 33, 40, 41, 48, 49, 50] {
            for depth in [1, 3, 4, 257, 258, 259, 1000] {
                extremes(depth, 13, 33, bits, width);
            }
        }
    }
}

#[test]
fn one_by_one() {
    let q = modulus(32);
    for (weight, width) in [(-127, WeightWidth::Eight), (32_639, WeightWidth::Sixteen)] {
        let tile = Tile {
            outputs: vec![0],
            inputs: vec![0],
            weights: vec![weight],
        };
        let map = LinearMap::new(1, 1, width, vec![tile]).unwrap();
        let mut input = ResidueMatrix::zeros(1, 1, 4);
        backend::portable().pack_row(&mut input, 0, &[3_000_000_000]);
        for found in backend::available() {
            let mut residue = [0];
            backend::portable().unpack_row(&apply(found, &map, &q, &input, 1), 0, &mut residue);
            let expected = (i128::from(weight) * 3_000_000_000).rem_euclid(q.value().into());
            assert_eq!(i128::from(residue[0]), expected, "{}", found.name);
        }
    }
}

/// A convolution as the planner makes it: one tile a position, each with its own weights, inputs overlapping.
#[test]
fn convolution_tiles_agree_for_any_number_of_threads() {
    let mut numbers = Numbers(7);
    let tiles: Vec<Tile> = (0..169)
        .map(|position: u32| {
            let (y, x) = (position / 13 * 2, position % 13 * 2);
            let inputs: Vec<u32> = (0..25).map(|k| (y + k / 5) * 29 + x + k % 5).collect();
            Tile {
                outputs: (0..5).map(|channel| channel * 169 + position).collect(),
                weights: (0..125)
                    .map(|_| numbers.weight(WeightWidth::Eight))
                    .collect(),
                inputs,
            }
        })
        .collect();
    let map = LinearMap::new(29 * 29, 845, WeightWidth::Eight, tiles).unwrap();
    assert_eq!(map.multiply_accumulates(), 169 * 125);
    for bits in [32, 40, 47, 50] {
        let q = modulus(bits);
        let input = numbers.matrix(29 * 29, 64, &q);
        let expected = apply(backend::portable(), &map, &q, &input, 1);
        for found in backend::available() {
            for threads in [1, 2, 5] {
                assert!(
                    apply(found, &map, &q, &input, threads) == expected,
                    "{}, {threads} threads, {bits} bits",
                    found.name
                );
            }
        }
    }
}

/// Deep enough for several passes over the packed right side, and more outputs than one register block.
#[test]
fn deep_tiles_agree() {
    let mut numbers = Numbers(11);
    for width in [WeightWidth::Eight, WeightWidth::Sixteen] {
        for bits in [24, 32, 40, 48, 50] {
            let q = modulus(bits);
            let input = numbers.matrix(2500, 50, &q);
            let tile = Tile {
                outputs: (0..31).rev().collect(),
                inputs: (0..2500).rev().collect(),
                weights: (0..31 * 2500).map(|_| numbers.weight(width)).collect(),
            };
            let map = LinearMap::new(2500, 31, width, vec![tile]).unwrap();
            let expected = apply(backend::portable(), &map, &q, &input, 1);
            for other in others() {
                assert!(
                    apply(other, &map, &q, &input, 2) == expected,
                    "{}, {bits} bits, {width:?}",
                    other.name
                );
            }
        }
    }
}

#[test]
fn rows_in_no_tile_and_tiles_without_inputs_are_zero() {
    let q = modulus(40);
    let input = Numbers(3).matrix(2, 20, &q);
    let tiles = vec![
        Tile {
            outputs: vec![3],
            inputs: vec![],
            weights: vec![],
        },
        Tile {
            outputs: vec![1],
            inputs: vec![1],
            weights: vec![1],
        },
        Tile {
            outputs: vec![],
            inputs: vec![0, 1],
            weights: vec![],
        },
    ];
    for tiles in [tiles, vec![]] {
        let written = !tiles.is_empty();
        let map = LinearMap::new(2, 5, WeightWidth::Eight, tiles).unwrap();
        for found in backend::available() {
            let output = apply(found, &map, &q, &input, 1);
            for row in [0, 2, 3, 4] {
                assert!(output.row(row).iter().all(|&b| b == 0), "{}", found.name);
            }
            assert_eq!(output.row(1) == input.row(1), written, "{}", found.name);
        }
    }
}

#[test]
fn every_limit_is_an_error() {
    let tile = |outputs: &[u32], inputs: &[u32], weights: &[i16]| Tile {
        outputs: outputs.to_vec(),
        inputs: inputs.to_vec(),
        weights: weights.to_vec(),
    };
    let new = |width, tiles| LinearMap::new(3, 2, width, tiles);
    use WeightWidth::{Eight, Sixteen};

    assert!(new(Eight, vec![tile(&[0, 1], &[0, 2], &[127, -127, 0, 1])]).is_ok());
    for found in [1, 3] {
        assert!(matches!(
            new(Eight, vec![tile(&[0], &[0, 1], &vec![1; found])]),
            Err(Error::Shape { expected: 2, found: f, .. }) if f == found
        ));
    }
    assert_eq!(
        new(Eight, vec![tile(&[0], &[1], &[1]), tile(&[1], &[3], &[1])]),
        Err(Error::TileRow {
            tile: 1,
            side: "input",
            found: 3,
            rows: 3
        })
    );
    assert_eq!(
        new(Eight, vec![tile(&[2], &[0], &[1])]),
        Err(Error::TileRow {
            tile: 0,
            side: "output",
            found: 2,
            rows: 2
        })
    );
    for tiles in [
        vec![tile(&[1], &[0], &[1]), tile(&[0, 1], &[0], &[1, 1])],
        vec![tile(&[0], &[0], &[1]), tile(&[1, 1], &[0], &[1, 1])],
    ] {
        assert_eq!(
            new(Eight, tiles),
            Err(Error::RepeatedOutput { tile: 1, output: 1 })
        );
    }
    for (width, limit) in [(Eight, 127), (Sixteen, 32_639)] {
        for found in [limit + 1, -limit - 1, i16::MIN, i16::MAX] {
            assert_eq!(
                new(width, vec![tile(&[0], &[0, 1], &[0, found])]),
                Err(Error::WeightRange {
                    tile: 0,
                    found,
                    limit
                })
            );
        }
        for weight in [limit, -limit] {
            assert!(new(width, vec![tile(&[0], &[0], &[weight])]).is_ok());
        }
    }
    for (width, limit) in [(Eight, 66_311), (Sixteen, 65_793)] {
        let deep = |found: usize| new(width, vec![tile(&[0], &vec![0; found], &vec![1; found])]);
        assert!(deep(limit).is_ok());
        assert_eq!(
            deep(limit + 1),
            Err(Error::TileInputs {
                tile: 0,
                found: limit + 1,
                limit
            })
        );
    }
}

#[test]
#[should_panic(expected = "width of the input")]
fn apply_refuses_another_width() {
    let map = LinearMap::new(1, 1, WeightWidth::Eight, vec![]).unwrap();
    let input = ResidueMatrix::zeros(1, 16, 5);
    map.prepare(backend::portable()).apply(
        &modulus(32),
        &input,
        &mut ResidueMatrix::zeros(1, 16, 4),
    );
}

/// A convolution over channels × height × width inputs, a tile a position; taps in the padding are left out.
fn convolution(
    numbers: &mut Numbers,
    [channels, height, width]: [usize; 3],
    [outputs, size, stride, padding]: [usize; 4],
    weight_width: WeightWidth,
) -> LinearMap {
    let positions = |length: usize| (length + 2 * padding - size) / stride + 1;
    let (rows, columns) = (positions(height), positions(width));
    let tiles = (0..rows * columns)
        .map(|position| {
            let (y, x) = (position / columns * stride, position % columns * stride);
            let inside = |at: usize, length: usize| (padding..padding + length).contains(&at);
            let taps = (0..channels * size * size).filter_map(|tap| {
                let (dy, dx) = (tap / size % size, tap % size);
                let channel = tap / (size * size);
                (inside(y + dy, height) && inside(x + dx, width)).then(|| {
                    ((channel * height + y + dy - padding) * width + x + dx - padding) as u32
                })
            });
            let inputs: Vec<u32> = taps.collect();
            Tile {
                outputs: (0..outputs)
                    .map(|o| (o * rows * columns + position) as u32)
                    .collect(),
                weights: (0..outputs * inputs.len())
                    .map(|_| numbers.weight(weight_width))
                    .collect(),
                inputs,
            }
        })
        .collect();
    let output_rows = outputs * rows * columns;
    LinearMap::new(channels * height * width, output_rows, weight_width, tiles).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Windows that overlap share packed inputs; large strides and many outputs make that not worth it.
    #[test]
    fn overlapping_windows_are_as_portable(
        seed: u64, bits in 8_u32..=50, columns in 1_usize..70, channels in 1_usize..4, height in 5_usize..10,
        width in 5_usize..14, outputs in 1_usize..9, size in 1_usize..=5, stride in 1_usize..=3, padding in 0_usize..3,
        weight_width in weight_width(),
    ) {
        let mut numbers = Numbers(seed);
        let q = modulus(bits);
        let shape = [channels, height, width];
        let window = [outputs, size, stride, padding.min(size - 1)];
        let map = convolution(&mut numbers, shape, window, weight_width);
        let input = numbers.matrix(map.input_rows(), columns, &q);
        let expected = apply(backend::portable(), &map, &q, &input, 1);
        for backend in others() {
            prop_assert!(apply(backend, &map, &q, &input, 2) == expected, "{}", backend.name);
        }
    }
}

#[test]
fn a_strip_is_the_same_columns_of_the_whole() {
    let mut numbers = Numbers(5);
    let q = modulus(40);
    let map = numbers.map(23, 17, WeightWidth::Eight);
    let input = numbers.matrix(23, 100, &q);
    for backend in backend::available() {
        let whole = apply(backend, &map, &q, &input, 1);
        let prepared = map.prepare(backend);
        for range in [0..1, 3..20, 31..95, 99..100] {
            let mut output = ResidueMatrix::zeros(17, range.len(), q.byte_width());
            prepared.apply_strip(&q, input.strip(range.clone()), &mut output.strip_mut());
            for row in 0..17 {
                assert_eq!(output.row(row), whole.strip(range.clone()).row(row));
            }
        }
    }
}
