//! Measuring the kernels: products, transforms, residues, expansion, each on every thread of the current pool.
//!
//! Times are those of one item while every thread works on its own: elapsed time over the items of all threads. With
//! one thread that is the time of one core.

pub(crate) mod product;
pub(crate) mod timing;

use std::hint::black_box;

use sordino::ring::backend::{self, Backend, measure_int8_peak};
use sordino::ring::sample::{SEGMENT, UniformDomain, UniformStream};
use sordino::ring::{Modulus, NttTable, ResidueMatrix, primes_below};

use crate::record::{KernelRecord, Origin};
use timing::Sampler;

/// What is measured, and how often.
pub struct KernelOptions<'a> {
    /// Back ends, one after another.
    pub backends: Vec<&'static Backend>,
    /// Samples whose median counts.
    pub runs: usize,
    /// Fewer shapes and shorter samples: shows that everything works, not how fast it is.
    pub quick: bool,
    /// Called with what is measured next.
    pub progress: Option<&'a dyn Fn(&str)>,
}

/// Seconds of one sample.
const SAMPLE_SECONDS: f64 = 0.01;
const QUICK_SAMPLE_SECONDS: f64 = 0.0005;

pub(crate) const RATE_UNIT: &str = "G MAC/s";

/// The largest prime of that many bits for a ring degree.
pub(crate) fn modulus_below(bits: u32, ring_degree: usize) -> Modulus {
    modulus_near(1 << bits, ring_degree)
}

/// The largest prime below a limit.
fn modulus_near(limit: u64, ring_degree: usize) -> Modulus {
    let prime = primes_below(limit, ring_degree).next();
    Modulus::new(prime.expect(PRIME)).expect(PRIME)
}

const PRIME: &str = "there are primes of 30 to 49 bits for every ring degree";

/// Residues of a limb, all different from each other and below the modulus.
pub(crate) fn residues(modulus: &Modulus, count: usize) -> Vec<u64> {
    let mut values = vec![0; count];
    UniformStream::new(backend::portable(), &[2; 32], DOMAIN, modulus).expand_row(0, &mut values);
    values
}

const DOMAIN: UniformDomain = UniformDomain {
    limb: 0,
    purpose: 0,
};

/// Measures every kernel of every back end, on all threads of the current pool.
///
/// # Cost
/// Some ten seconds, a second or two with `quick`.
pub fn measure_kernels(options: &KernelOptions<'_>) -> Vec<KernelRecord> {
    let mut suite = Suite {
        origin: Origin::here(),
        records: Vec::new(),
        options,
    };
    for &backend in &options.backends {
        suite.peak(backend);
        suite.products(backend);
        suite.transforms(backend);
        suite.pointwise(backend);
        suite.packing(backend);
        suite.expansion(backend);
    }
    suite.records
}

struct Suite<'a> {
    origin: Origin,
    records: Vec<KernelRecord>,
    options: &'a KernelOptions<'a>,
}

impl Suite<'_> {
    fn sampler(&self) -> Sampler {
        Sampler {
            runs: self.options.runs,
            seconds: if self.options.quick {
                QUICK_SAMPLE_SECONDS
            } else {
                SAMPLE_SECONDS
            },
        }
    }

    fn next(&self, backend: &Backend, what: &str) {
        if let Some(progress) = self.options.progress {
            progress(&format!("{}: {what}", backend.name));
        }
    }

    /// A row without its shape.
    fn record(&self, backend: &Backend, kernel: &str, unit: &str, samples: &[f64]) -> KernelRecord {
        KernelRecord {
            backend: backend.name.into(),
            threads: rayon::current_num_threads() as u64,
            ..KernelRecord::new(&self.origin, kernel, unit, samples)
        }
    }

    /// The whole list, or with `quick` its first and last entry.
    fn some<T: Copy>(&self, all: &[T]) -> Vec<T> {
        match (all, self.options.quick) {
            ([first, .., last], true) => vec![*first, *last],
            _ => all.to_vec(),
        }
    }

    fn peak(&mut self, backend: &'static Backend) {
        self.next(backend, "int8 peak");
        let threads = rayon::current_num_threads();
        let samples: Vec<f64> = (0..self.options.runs.max(1))
            .map(|_| measure_int8_peak(backend, threads))
            .collect();
        let record = KernelRecord {
            shape: "registers only".into(),
            ..self.record(backend, "int8_peak", RATE_UNIT, &samples)
        };
        self.records.push(record);
    }

    fn products(&mut self, backend: &'static Backend) {
        let columns = product::columns(backend, self.options.quick);
        let threads = rayon::current_num_threads();
        for product::Shape { name, map } in product::shapes() {
            self.next(backend, &name);
            for width in self.some(&[4, 5, 6]) {
                let mut product = product::Product::new(&map, backend, width, columns);
                // Just before, so that both see the same clock and the same other load.
                let peak = measure_int8_peak(backend, threads);
                let giga_products = product.byte_products() * 1e-9;
                let seconds = product.samples(self.sampler());
                let rates: Vec<f64> = seconds.iter().map(|s| giga_products / s).collect();
                let mut record = KernelRecord {
                    shape: name.clone(),
                    width_bytes: Some(width as u64),
                    ring_degree: Some(columns as u64),
                    ..self.record(backend, "linear", RATE_UNIT, &rates)
                };
                record.share_of_peak = Some(record.median / peak);
                self.records.push(record);
            }
        }
    }

    fn transforms(&mut self, backend: &'static Backend) {
        for log2 in self.some(&[12, 13, 14, 15]) {
            let ring_degree = 1 << log2;
            self.next(backend, &format!("transforms, N = {ring_degree}"));
            for bits in self.some(&[30, 32, 40, 49]) {
                let [forward, inverse] =
                    transform_samples(backend, bits, ring_degree, self.sampler());
                for (kernel, samples) in [("ntt_forward", forward), ("ntt_inverse", inverse)] {
                    let samples: Vec<f64> = samples.iter().map(|s| s * 1e6).collect();
                    let record = KernelRecord {
                        shape: format!("{bits}-bit prime"),
                        width_bytes: Some(u64::from(bits.div_ceil(8))),
                        ring_degree: Some(ring_degree as u64),
                        ..self.record(backend, kernel, "us", &samples)
                    };
                    self.records.push(record);
                }
            }
        }
    }

    fn pointwise(&mut self, backend: &'static Backend) {
        self.next(backend, "residue by residue");
        for bits in self.some(&[32, 40, 48]) {
            let modulus = modulus_below(bits, LIMB);
            let values = residues(&modulus, LIMB);
            let operands = || [values.clone(), values.clone(), values.clone()];
            let square = self
                .sampler()
                .samples_on_all_threads(operands, |[c0, c1, c2]| {
                    backend.square_shifted_assign(&modulus, c0, c1, 3, c2);
                });
            let add = self
                .sampler()
                .samples_on_all_threads(operands, |[sum, a, b]| {
                    backend.multiply_add_assign(&modulus, sum, a, b);
                });
            for (kernel, samples) in [("square_shifted", square), ("multiply_add", add)] {
                self.push_residues(backend, kernel, bits, &samples);
            }
        }
    }

    fn packing(&mut self, backend: &'static Backend) {
        self.next(backend, "packing");
        for bits in self.some(&[32, 40, 48]) {
            let modulus = modulus_below(bits, LIMB);
            let width = modulus.byte_width();
            let operands = || (residues(&modulus, LIMB), vec![0; LIMB * width]);
            let packing = self
                .sampler()
                .samples_on_all_threads(operands, |(values, bytes)| {
                    backend.pack(width, black_box(values), bytes);
                });
            let unpacking = self
                .sampler()
                .samples_on_all_threads(operands, |(values, bytes)| {
                    backend.unpack(width, black_box(bytes), values);
                });
            for (kernel, samples) in [("pack", packing), ("unpack", unpacking)] {
                self.push_residues(backend, kernel, bits, &samples);
            }
        }
    }

    /// A row in nanoseconds per residue, from seconds per limb.
    fn push_residues(&mut self, backend: &Backend, kernel: &str, bits: u32, seconds: &[f64]) {
        let samples: Vec<f64> = seconds.iter().map(|s| s * 1e9 / LIMB as f64).collect();
        let record = KernelRecord {
            shape: format!("{bits}-bit prime"),
            width_bytes: Some(u64::from(bits.div_ceil(8))),
            ring_degree: Some(LIMB as u64),
            ..self.record(backend, kernel, "ns/residue", &samples)
        };
        self.records.push(record);
    }

    fn expansion(&mut self, backend: &'static Backend) {
        self.next(backend, "expansion");
        for (name, limit) in [
            ("prime just below 2^32", 1 << 32),
            ("prime just below 2^40", 1 << 40),
            ("prime at 3/4 of 2^40", 3 << 38),
        ] {
            let modulus = modulus_near(limit, LIMB);
            let samples = expansion_samples(backend, &modulus, self.sampler());
            let samples: Vec<f64> = samples.iter().map(|s| s * 1e9).collect();
            let record = KernelRecord {
                shape: format!("{name}, {STRIP_ROWS}x{SEGMENT} residues"),
                width_bytes: Some(modulus.byte_width() as u64),
                ..self.record(backend, "expand_uniform", "ns/byte", &samples)
            };
            self.records.push(record);
        }
    }
}

/// Residues of a limb wherever the ring degree makes no difference.
const LIMB: usize = 4096;

/// Seconds of a forward and of an inverse transform of one limb.
pub(crate) fn transform_samples(
    backend: &'static Backend,
    bits: u32,
    ring_degree: usize,
    sampler: Sampler,
) -> [Vec<f64>; 2] {
    let modulus = modulus_below(bits, ring_degree);
    let table = NttTable::new(ring_degree, modulus, backend).expect(PRIME);
    let values = residues(&modulus, ring_degree);
    let limb = || values.clone();
    [
        sampler.samples_on_all_threads(limb, |limb| table.forward(limb)),
        sampler.samples_on_all_threads(limb, |limb| table.inverse(limb)),
    ]
}

/// Polynomials of an expanded strip: the pixels of an image of MNIST.
const STRIP_ROWS: usize = 784;

/// Seconds of one byte of expanded residues, a strip at a time as an evaluation does it.
pub(crate) fn expansion_samples(
    backend: &Backend,
    modulus: &Modulus,
    sampler: Sampler,
) -> Vec<f64> {
    let width = modulus.byte_width();
    let stream = UniformStream::new(backend, &[3; 32], DOMAIN, modulus);
    let mut samples = sampler.samples_on_all_threads(
        || ResidueMatrix::zeros(STRIP_ROWS, SEGMENT, width),
        |strip| stream.expand_strip(0, 0, strip),
    );
    for sample in &mut samples {
        *sample /= (STRIP_ROWS * SEGMENT * width) as f64;
    }
    samples
}

/// Seconds of squaring one packed residue of a ciphertext in cache: two components unpacked, three packed.
pub(crate) fn square_samples(
    backend: &'static Backend,
    modulus: &Modulus,
    sampler: Sampler,
) -> Vec<f64> {
    let width = modulus.byte_width();
    let mut packed = vec![0; LIMB * width];
    backend.pack(width, &residues(modulus, LIMB), &mut packed);
    let operands = || {
        let residues = [vec![0; LIMB], vec![0; LIMB], vec![0; LIMB]];
        (residues, [packed.clone(), packed.clone(), packed.clone()])
    };
    let mut samples = sampler.samples_on_all_threads(operands, |([c0, c1, c2], bytes)| {
        backend.unpack(width, &bytes[0], c0);
        backend.unpack(width, &bytes[1], c1);
        backend.square_shifted_assign(modulus, c0, c1, 3, c2);
        for (component, bytes) in [c0, c1, c2].into_iter().zip(bytes) {
            backend.pack(width, component, bytes);
        }
    });
    for sample in &mut samples {
        *sample /= LIMB as f64;
    }
    samples
}
