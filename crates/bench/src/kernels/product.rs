//! The whole-layer product on the shapes that matter.

use sordino::ring::backend::{Backend, portable};
use sordino::ring::linear::{LinearMap, PreparedLinearMap, Tile, WeightWidth};
use sordino::ring::sample::UniformStream;
use sordino::ring::{Modulus, ResidueMatrix};

use super::timing::Sampler;
use super::{DOMAIN, modulus_below};

/// A product to be measured.
pub(crate) struct Shape {
    pub name: String,
    pub map: LinearMap,
}

/// Weights of every size.
fn weights(count: usize, width: WeightWidth) -> Vec<i16> {
    let limit = i32::from(width.max_weight());
    (0..count as u32)
        .map(|i| {
            let mixed = i.wrapping_mul(2_654_435_761) >> 8;
            ((mixed as i32) % (2 * limit + 1) - limit) as i16
        })
        .collect()
}

pub(crate) fn dense(outputs: u32, inputs: u32, width: WeightWidth) -> Shape {
    let tile = Tile {
        outputs: (0..outputs).collect(),
        inputs: (0..inputs).collect(),
        weights: weights((outputs * inputs) as usize, width),
    };
    let map = LinearMap::new(inputs as usize, outputs as usize, width, vec![tile]);
    let bits = match width {
        WeightWidth::Eight => "",
        WeightWidth::Sixteen => ", 16-bit weights",
    };
    Shape {
        name: format!("dense {outputs}x{inputs}{bits}"),
        map: map.expect(VALID),
    }
}

/// The first layer of `cryptonets`: 5 channels, 5 × 5 windows with stride 2 on 28 × 28 images padded by 1, a tile per
/// position with the pixels under its window.
fn convolution() -> Shape {
    const POSITIONS: u32 = 13;
    let tiles = (0..POSITIONS * POSITIONS)
        .map(|position| {
            let (top, left) = (position / POSITIONS * 2, position % POSITIONS * 2);
            let taps = (0..25).map(|tap| (top + tap / 5, left + tap % 5));
            let inside = |at: u32| (1..=28).contains(&at);
            let inputs: Vec<u32> = taps
                .filter(|&(y, x)| inside(y) && inside(x))
                .map(|(y, x)| (y - 1) * 28 + x - 1)
                .collect();
            Tile {
                outputs: (0..5).map(|channel| channel * 169 + position).collect(),
                weights: weights(5 * inputs.len(), WeightWidth::Eight),
                inputs,
            }
        })
        .collect();
    Shape {
        name: "convolution 169x5x25".into(),
        map: LinearMap::new(784, 845, WeightWidth::Eight, tiles).expect(VALID),
    }
}

const VALID: &str = "the shapes are within the limits of a map";

/// Every shape, those of the committed networks first.
pub(crate) fn shapes() -> Vec<Shape> {
    let eight = WeightWidth::Eight;
    vec![
        dense(128, 784, eight),
        dense(100, 845, eight),
        dense(10, 100, eight),
        dense(512, 512, eight),
        convolution(),
        dense(100, 845, WeightWidth::Sixteen),
    ]
}

/// Columns of a product: 4096 as of N = 4096, a quarter of them with `quick`, and for the portable kernel, which is a hundred
/// times as slow, one block of columns per thread.
pub(crate) fn columns(backend: &Backend, quick: bool) -> usize {
    if backend.name == portable().name {
        256 * rayon::current_num_threads()
    } else if quick {
        1024
    } else {
        4096
    }
}

/// A prepared product with operands.
pub(crate) struct Product {
    prepared: PreparedLinearMap,
    modulus: Modulus,
    input: ResidueMatrix,
    output: ResidueMatrix,
}

impl Product {
    pub(crate) fn new(
        map: &LinearMap,
        backend: &'static Backend,
        width: usize,
        columns: usize,
    ) -> Self {
        // The largest modulus of that width; products know nothing of transforms, so any ring degree serves.
        let modulus = modulus_below(8 * width as u32, 4096);
        let mut input = ResidueMatrix::zeros(map.input_rows(), columns, width);
        UniformStream::new(backend, &[1; 32], DOMAIN, &modulus).expand_rows(0, &mut input);
        Self {
            prepared: map.prepare(backend),
            output: ResidueMatrix::zeros(map.output_rows(), columns, width),
            modulus,
            input,
        }
    }

    /// Byte products of one application.
    pub(crate) fn byte_products(&self) -> f64 {
        let bytes = self.input.row_bytes() as f64;
        self.prepared.byte_products() as f64 * bytes
    }

    /// Seconds of one application.
    pub(crate) fn samples(&mut self, sampler: Sampler) -> Vec<f64> {
        sampler.samples(|repetitions| {
            for _ in 0..repetitions {
                self.prepared
                    .apply(&self.modulus, &self.input, &mut self.output);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_convolution_is_that_of_cryptonets() {
        let map = convolution().map;
        let sizes: Vec<usize> = map.tiles().iter().map(|tile| tile.inputs.len()).collect();
        let count = |size: usize| sizes.iter().filter(|&&found| found == size).count();
        // Padding lies above and to the left; the last windows end with the last pixel.
        assert_eq!((count(25), count(20), count(16)), (144, 24, 1));
        assert_eq!(map.tiles()[168].inputs.last(), Some(&783));
        let shared = map.tiles()[14].inputs.iter();
        assert!(
            shared
                .clone()
                .any(|pixel| map.tiles()[15].inputs.contains(pixel))
        );
    }

    #[test]
    fn products_are_counted_in_bytes() {
        let shape = dense(3, 5, WeightWidth::Sixteen);
        let product = Product::new(&shape.map, portable(), 4, 256);
        assert_eq!(product.byte_products(), (3 * 5 * 2 * 4 * 256) as f64);
    }
}
