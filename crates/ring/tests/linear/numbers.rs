//! Reproducible matrices and maps, and the product with 128-bit arithmetic.

use proptest::prelude::*;
use sordino_ring::{
    Modulus, ResidueMatrix, backend,
    linear::{LinearMap, Tile, WeightWidth},
    prime::is_prime,
};

/// The largest prime of that many bits, so that residues reach bytes of 255 where the width is full.
pub(crate) fn modulus(bits: u32) -> Modulus {
    let prime = (0..1_u64 << bits).rev().find(|&q| is_prime(q)).unwrap();
    Modulus::new(prime).unwrap()
}

/// SplitMix64: reproducible residues without a dependency.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Half of the weights are at an end of the range or at a byte boundary.
    pub(crate) fn weight(&mut self, width: WeightWidth) -> i16 {
        let max = width.max_weight();
        match (self.next() % 8, width) {
            (0, _) => max,
            (1, _) => -max,
            (2, WeightWidth::Sixteen) => 128,
            (3, WeightWidth::Sixteen) => -128,
            (2 | 3, _) => 0,
            _ => (self.below(2 * max as usize + 1) as i32 - i32::from(max)) as i16,
        }
    }

    /// A quarter of the residues is 0 or q - 1.
    pub(crate) fn matrix(&mut self, rows: usize, columns: usize, q: &Modulus) -> ResidueMatrix {
        let mut matrix = ResidueMatrix::zeros(rows, columns, q.byte_width());
        for row in 0..rows {
            let residues: Vec<u64> = (0..columns)
                .map(|_| match self.next() % 8 {
                    0 => 0,
                    1 => q.value() - 1,
                    _ => self.next() % q.value(),
                })
                .collect();
            backend::portable().pack_row(&mut matrix, row, &residues);
        }
        matrix
    }

    /// Tiles over shuffled outputs; some share their inputs, some outputs stay unwritten.
    pub(crate) fn map(&mut self, inputs: usize, outputs: usize, width: WeightWidth) -> LinearMap {
        let mut order: Vec<u32> = (0..outputs as u32).collect();
        for i in (1..outputs).rev() {
            order.swap(i, self.below(i + 1));
        }
        let mut lists: Vec<Vec<u32>> = Vec::new();
        let mut tiles = Vec::new();
        while !order.is_empty() {
            let rest = order.split_off(order.len().min(1 + self.below(20)));
            let rows = std::mem::replace(&mut order, rest);
            if self.next().is_multiple_of(5) {
                continue;
            }
            let list = if lists.is_empty() || self.next().is_multiple_of(2) {
                let depth = self.below(inputs + 3);
                let list: Vec<u32> = (0..depth).map(|_| self.below(inputs) as u32).collect();
                lists.push(list.clone());
                list
            } else {
                lists[self.below(lists.len())].clone()
            };
            let weights = (0..rows.len() * list.len())
                .map(|_| self.weight(width))
                .collect();
            tiles.push(Tile {
                outputs: rows,
                inputs: list,
                weights,
            });
        }
        LinearMap::new(inputs, outputs, width, tiles).unwrap()
    }
}

pub(crate) fn naive(map: &LinearMap, q: &Modulus, input: &ResidueMatrix) -> ResidueMatrix {
    let columns = input.columns();
    let mut output = ResidueMatrix::zeros(map.output_rows(), columns, q.byte_width());
    let rows: Vec<Vec<u64>> = (0..input.rows())
        .map(|row| {
            let mut residues = vec![0; columns];
            backend::portable().unpack_row(input, row, &mut residues);
            residues
        })
        .collect();
    for tile in map.tiles() {
        for (&output_row, weights) in tile
            .outputs
            .iter()
            .zip(tile.weights.chunks(tile.inputs.len().max(1)))
        {
            let residues: Vec<u64> = (0..columns)
                .map(|column| {
                    let modulus = u128::from(q.value());
                    let sum = tile.inputs.iter().zip(weights).fold(0, |sum, (&k, &w)| {
                        let w = (i128::from(w) + i128::from(q.value())).rem_euclid(modulus as i128);
                        (sum + w as u128 * u128::from(rows[k as usize][column])) % modulus
                    });
                    sum as u64
                })
                .collect();
            backend::portable().pack_row(&mut output, output_row as usize, &residues);
        }
    }
    output
}

pub(crate) fn apply(
    backend: &'static backend::Backend,
    map: &LinearMap,
    q: &Modulus,
    input: &ResidueMatrix,
    threads: usize,
) -> ResidueMatrix {
    let prepared = map.prepare(backend);
    // What was there before must not show.
    let bytes = map.output_rows() * input.row_bytes();
    let mut output = ResidueMatrix::from_bytes(
        map.output_rows(),
        input.columns(),
        input.width(),
        vec![0xa5; bytes],
    )
    .unwrap();
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(|| prepared.apply(q, input, &mut output));
    output
}

/// Every backend that is not portable, or a note that there is none.
pub(crate) fn others() -> Vec<&'static backend::Backend> {
    let others: Vec<_> = backend::available()
        .into_iter()
        .filter(|b| b.name != backend::portable().name)
        .collect();
    if others.is_empty() {
        println!("skipped: this processor runs the portable backend only");
    }
    others
}

pub(crate) fn weight_width() -> impl Strategy<Value = WeightWidth> {
    prop_oneof![Just(WeightWidth::Eight), Just(WeightWidth::Sixteen)]
}
