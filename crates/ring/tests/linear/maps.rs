//! Maps without weights, parts of maps and sums of maps.

use proptest::prelude::*;
use sordino_ring::{
    ResidueMatrix, backend,
    linear::{LinearMap, Tile, WeightWidth},
};

use crate::numbers::{Numbers, apply, modulus, naive, weight_width};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sums_without_weights_are_the_product(
        seed: u64, bits in 2_u32..=50, columns in 1_usize..200, inputs in 1_usize..30, outputs in 1_usize..30,
    ) {
        let (q, mut numbers) = (modulus(bits), Numbers(seed));
        let map = numbers.map(inputs, outputs, WeightWidth::Eight);
        let tiles = map.tiles().iter().map(|tile| Tile {
            weights: vec![1; tile.weights.len()],
            ..tile.clone()
        });
        let map = LinearMap::new(inputs, outputs, WeightWidth::Eight, tiles.collect()).unwrap();
        let input = numbers.matrix(inputs, columns, &q);
        let expected = naive(&map, &q, &input);
        for backend in backend::available() {
            prop_assert!(apply(backend, &map, &q, &input, 2) == expected, "{}", backend.name);
        }
    }

    /// A map cut to some outputs makes those rows; maps side by side make the sum of their products.
    #[test]
    fn parts_and_sums_of_maps(
        seed: u64, inputs in 1_usize..20, outputs in 1_usize..20, width in weight_width(), alike: bool,
    ) {
        let (q, mut numbers) = (modulus(40), Numbers(seed));
        let map = numbers.map(inputs, outputs, width);
        let input = numbers.matrix(inputs, 9, &q);
        let whole = naive(&map, &q, &input);
        let chosen: Vec<u32> = (0..outputs as u32).rev().step_by(2).collect();
        let mut read: Vec<u32> = map
            .tiles()
            .iter()
            .filter(|tile| tile.outputs.iter().any(|output| chosen.contains(output)))
            .flat_map(|tile| tile.inputs.clone())
            .collect();
        read.sort_unstable();
        read.dedup();
        let mut gathered = ResidueMatrix::zeros(read.len(), 9, q.byte_width());
        for (to, &from) in read.iter().enumerate() {
            gathered.row_mut(to).copy_from_slice(input.row(from as usize));
        }
        let part = naive(&map.restricted(&chosen, &read), &q, &gathered);
        for (row, &output) in chosen.iter().enumerate() {
            prop_assert_eq!(part.row(row), whole.row(output as usize));
        }

        // The same tiles with other weights, or quite another map.
        let other = if alike {
            let tiles = map.tiles().iter().map(|tile| Tile {
                weights: tile.weights.iter().map(|w| -w).collect(),
                ..tile.clone()
            });
            LinearMap::new(inputs, outputs, width, tiles.collect()).unwrap()
        } else {
            numbers.map(inputs, outputs, WeightWidth::Eight)
        };
        let second = numbers.matrix(inputs, 9, &q);
        let sum = LinearMap::side_by_side(&[map.clone(), other.clone()]).unwrap();
        let mut both = ResidueMatrix::zeros(2 * inputs, 9, q.byte_width());
        for row in 0..inputs {
            both.row_mut(row).copy_from_slice(input.row(row));
            both.row_mut(inputs + row).copy_from_slice(second.row(row));
        }
        let (sum, addend) = (naive(&sum, &q, &both), naive(&other, &q, &second));
        let (mut a, mut b, mut c) = (vec![0; 9], vec![0; 9], vec![0; 9]);
        for row in 0..outputs {
            backend::portable().unpack_row(&whole, row, &mut a);
            backend::portable().unpack_row(&addend, row, &mut b);
            backend::portable().unpack_row(&sum, row, &mut c);
            let expected: Vec<u64> = a.iter().zip(&b).map(|(&a, &b)| q.add(a, b)).collect();
            prop_assert_eq!(&c, &expected);
        }
    }
}
