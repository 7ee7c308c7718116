//! The whole-layer product on every backend. Throughput counts byte products, the unit of the int8 peak printed
//! before each backend: their quotient is the share of peak. One thread, so that the share is a core's.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sordino_ring::{
    Modulus, ResidueMatrix, backend,
    linear::{LinearMap, Tile, WeightWidth},
    primes_below,
};

const COLUMNS: usize = 4096;

fn weights(count: u32) -> Vec<i16> {
    (0..count)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as i16 % 128)
        .collect()
}

/// The large layer of CryptoNets: 845 inputs, 100 outputs.
fn dense() -> LinearMap {
    let tile = Tile {
        outputs: (0..100).collect(),
        inputs: (0..845).collect(),
        weights: weights(84_500),
    };
    LinearMap::new(845, 100, WeightWidth::Eight, vec![tile]).expect("a valid map")
}

/// Its first layer: 5 channels, 5 × 5 windows with stride 2 on padded 29 × 29 images, a tile a position.
fn convolution() -> LinearMap {
    let tiles = (0..169)
        .map(|position| {
            let (y, x) = (position / 13 * 2, position % 13 * 2);
            Tile {
                outputs: (0..5).map(|channel| channel * 169 + position).collect(),
                inputs: (0..25).map(|k| (y + k / 5) * 29 + x + k % 5).collect(),
                weights: weights(125),
            }
        })
        .collect();
    LinearMap::new(841, 845, WeightWidth::Eight, tiles).expect("a valid map")
}

fn linear(criterion: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("one thread");
    for backend in backend::available() {
        println!(
            "{}: int8 peak {:.1} G products/s a thread",
            backend.name,
            backend::measure_int8_peak(backend, 1)
        );
        let mut group = criterion.benchmark_group(format!("linear/{}", backend.name));
        group.sample_size(10);
        for (name, map) in [
            ("dense 100x845", dense()),
            ("convolution 169x5x25", convolution()),
        ] {
            let prepared = map.prepare(backend);
            for bits in [32, 40] {
                let prime = primes_below(1 << bits, COLUMNS).next().expect("a prime");
                let modulus = Modulus::new(prime).expect("a modulus");
                let width = modulus.byte_width();
                let mut input = ResidueMatrix::zeros(map.input_rows(), COLUMNS, width);
                for row in 0..map.input_rows() {
                    let residues: Vec<u64> = (0..COLUMNS as u64)
                        .map(|c| (c + row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % prime)
                        .collect();
                    backend::portable().pack_row(&mut input, row, &residues);
                }
                let mut output = ResidueMatrix::zeros(map.output_rows(), COLUMNS, width);
                let products = prepared.byte_products() * (COLUMNS * width) as u64;
                group.throughput(Throughput::Elements(products));
                group.bench_function(
                    BenchmarkId::new(name, format!("{width} bytes")),
                    |bencher| {
                        pool.install(|| {
                            bencher.iter(|| prepared.apply(&modulus, &input, &mut output));
                        });
                    },
                );
            }
        }
    }
}

criterion_group!(benches, linear);
criterion_main!(benches);
