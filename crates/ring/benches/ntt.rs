//! The transform, limb operations and sampling on every backend of this processor.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use sordino_ring::{
    Modulus, NttTable, ResidueMatrix, backend, primes_below,
    sample::{SEGMENT, SecretRng, UniformDomain, UniformStream, gaussian, ternary},
};

const RING_DEGREE: usize = 1 << 14;

fn transforms(criterion: &mut Criterion) {
    for bits in [32, 48] {
        let q = Modulus::new(
            primes_below(1 << bits, RING_DEGREE)
                .next()
                .expect("a prime"),
        )
        .expect("a modulus");
        for backend in backend::available() {
            let mut group =
                criterion.benchmark_group(format!("{} N = 2^14, {bits} bits", backend.name));
            let table = NttTable::new(RING_DEGREE, q, backend).expect("a table");
            let mut a: Vec<u64> = (0..RING_DEGREE as u64)
                .map(|k| q.reduce_u64(k * k * k * k * k))
                .collect();
            let b = a.clone();
            group.bench_function("forward", |bencher| {
                bencher.iter(|| table.forward(black_box(&mut a)))
            });
            group.bench_function("inverse", |bencher| {
                bencher.iter(|| table.inverse(black_box(&mut a)))
            });
            group.bench_function("multiply_assign", |bencher| {
                bencher.iter(|| backend.multiply_assign(&q, black_box(&mut a), &b));
            });
            group.bench_function("multiply_add_assign", |bencher| {
                bencher.iter(|| backend.multiply_add_assign(&q, black_box(&mut a), &b, &b));
            });
        }
    }
}

fn sampling(criterion: &mut Criterion) {
    let backend = backend::available()[0];
    let mut group = criterion.benchmark_group(format!("{} sampling, 2^14", backend.name));
    let domain = UniformDomain {
        limb: 0,
        purpose: 0,
    };
    for bits in [32, 48] {
        let q = Modulus::new(
            primes_below(1 << bits, RING_DEGREE)
                .next()
                .expect("a prime"),
        )
        .expect("a modulus");
        let mut out = vec![0; RING_DEGREE];
        let seed = [1; 32];
        let stream = UniformStream::new(backend, &seed, domain, &q);
        group.bench_function(format!("expand a row of {bits} bits"), |bencher| {
            bencher.iter(|| stream.expand_row(0, black_box(&mut out)));
        });
        let rows = RING_DEGREE / SEGMENT;
        let mut strip = ResidueMatrix::zeros(rows, SEGMENT, q.byte_width());
        group.bench_function(format!("expand a strip of {bits} bits"), |bencher| {
            bencher.iter(|| stream.expand_strip(0, 0, black_box(&mut strip)));
        });
        let packed = strip.as_bytes();
        group.bench_function(format!("unpack {bits} bits"), |bencher| {
            bencher.iter(|| backend.unpack(q.byte_width(), black_box(packed), black_box(&mut out)));
        });
    }
    let mut rng = SecretRng::from_seed([0; 32]);
    let mut errors = vec![0; RING_DEGREE];
    group.bench_function("gaussian", |bencher| {
        bencher.iter(|| gaussian(backend, &mut rng, black_box(&mut errors)))
    });
    let mut secret = vec![0; RING_DEGREE];
    group.bench_function("ternary", |bencher| {
        bencher.iter(|| ternary(&mut rng, black_box(&mut secret)))
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = transforms, sampling
}
criterion_main!(benches);
