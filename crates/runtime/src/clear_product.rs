//! Linear maps on wide integers, exactly and fast.
//!
//! A product of 128-bit integers takes a dozen instructions and no vector unit. Here values are cut into limbs so narrow
//! that their weighted sums stay below 2^53, where double precision is exact, and every limb is summed for several
//! images at once.

use sordino_ring::linear::LinearMap;

/// Images that are summed at once.
pub(crate) const LANES: usize = 16;

/// Bits that double precision holds exactly.
const EXACT_BITS: u32 = 53;

/// One limb of a feature map for [`LANES`] images: a row for each element.
type Limb = Vec<[f64; LANES]>;

/// sums += 2^`factor_bits` · map·source, exactly, as long as the results fit.
///
/// # Shapes
/// `sums` is map.output_rows × `images`, `source` at least map.input_rows × `images`, both row major.
pub(crate) fn add_product(
    sums: &mut [i128],
    map: &LinearMap,
    source: &[i128],
    images: usize,
    factor_bits: u32,
) {
    let width = limb_bits(map);
    let count = value_bits(source).div_ceil(width).max(1);
    for first in (0..images).step_by(LANES) {
        let columns = first..images.min(first + LANES);
        for index in 0..count {
            let shift = index * width;
            let limb: Limb = source
                .chunks_exact(images)
                .map(|row| {
                    let mut lanes = [0.0; LANES];
                    for (lane, &value) in lanes.iter_mut().zip(&row[columns.clone()]) {
                        // The last limb keeps the sign.
                        let value = (value >> shift) as i64;
                        let last = index + 1 == count;
                        *lane = (if last {
                            value
                        } else {
                            value & ((1 << width) - 1)
                        }) as f64;
                    }
                    lanes
                })
                .collect();
            add_limb(map, &limb, |output, lanes| {
                let row = &mut sums[output * images..][columns.clone()];
                for (sum, &lane) in row.iter_mut().zip(lanes) {
                    *sum = sum.wrapping_add(i128::from(lane as i64) << (shift + factor_bits));
                }
            });
        }
    }
}

/// Calls `add` with every output row of the map applied to a limb.
fn add_limb(map: &LinearMap, limb: &[[f64; LANES]], mut add: impl FnMut(usize, &[f64; LANES])) {
    for tile in map.tiles() {
        let rows = tile.weights.chunks_exact(tile.inputs.len().max(1));
        for (&output, weights) in tile.outputs.iter().zip(rows) {
            let mut lanes = [0.0; LANES];
            for (&input, &weight) in tile.inputs.iter().zip(weights) {
                let weight = f64::from(weight);
                for (lane, value) in lanes.iter_mut().zip(&limb[input as usize]) {
                    *lane += weight * value;
                }
            }
            add(output as usize, &lanes);
        }
    }
}

/// Bits of a limb for which every sum of a map stays exact.
fn limb_bits(map: &LinearMap) -> u32 {
    let inputs = map.tiles().iter().map(|tile| tile.inputs.len());
    let largest = inputs.max().unwrap_or(0).max(1) * map.weight_width().max_weight() as usize;
    EXACT_BITS - largest.next_power_of_two().ilog2()
}

/// The least b with -2^b ≤ x < 2^b for every value.
fn value_bits(values: &[i128]) -> u32 {
    let union = values.iter().fold(0, |union, &x| union | (x ^ (x >> 127)));
    i128::BITS - union.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordino_ring::linear::{Tile, WeightWidth};

    /// Numbers of up to `bits` bits and their negatives, from a fixed sequence.
    fn numbers(count: usize, bits: u32) -> Vec<i128> {
        let mut state = 1u128;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645) + 1;
                (state as i128) >> (127 - bits)
            })
            .collect()
    }

    #[test]
    fn products_are_exact_for_every_size_of_value_and_weight() {
        for (width, bits) in [
            (WeightWidth::Eight, 0),
            (WeightWidth::Eight, 30),
            (WeightWidth::Eight, 44),
            (WeightWidth::Eight, 100),
            (WeightWidth::Sixteen, 30),
            (WeightWidth::Sixteen, 75),
            (WeightWidth::Sixteen, 105),
        ] {
            let most = i64::from(width.max_weight());
            let weights = |count| {
                let weights = numbers(count, 15).into_iter();
                weights.map(|w| (w as i64).clamp(-most, most) as i16)
            };
            let tile = |outputs: &[u32], inputs: Vec<u32>| Tile {
                outputs: outputs.to_vec(),
                weights: weights(outputs.len() * inputs.len()).collect(),
                inputs,
            };
            // An input twice, an output without inputs, one that no tile writes.
            let tiles = vec![
                tile(&[4, 0], vec![2, 7, 2]),
                tile(&[1], (0..90).collect()),
                tile(&[2], vec![]),
            ];
            let map = LinearMap::new(90, 5, width, tiles).unwrap();
            for images in [1, LANES, 2 * LANES + 3] {
                let source = numbers(90 * images, bits);
                let mut sums = numbers(5 * images, 20);
                let mut expected = sums.clone();
                for tile in map.tiles() {
                    for (i, &input) in tile.inputs.iter().enumerate() {
                        for (o, &output) in tile.outputs.iter().enumerate() {
                            let weight = i128::from(tile.weights[o * tile.inputs.len() + i]);
                            for image in 0..images {
                                expected[output as usize * images + image] +=
                                    weight * 8 * source[input as usize * images + image];
                            }
                        }
                    }
                }
                add_product(&mut sums, &map, &source, images, 3);
                assert_eq!(sums, expected, "{width:?}, {bits} bits, {images} images");
            }
        }
    }

    #[test]
    fn the_widest_sums_stay_exact() {
        for (width, inputs) in [(WeightWidth::Eight, 66_311), (WeightWidth::Sixteen, 65_793)] {
            let weights = vec![width.max_weight(); inputs];
            let tile = Tile {
                outputs: vec![0],
                inputs: vec![0; inputs],
                weights,
            };
            let map = LinearMap::new(1, 1, width, vec![tile]).unwrap();
            for value in [i128::MAX >> 40, i128::MIN >> 40] {
                let mut sum = [0];
                add_product(&mut sum, &map, &[value], 1, 0);
                let expected = value * i128::from(width.max_weight()) * inputs as i128;
                assert_eq!(sum, [expected]);
            }
        }
    }
}
