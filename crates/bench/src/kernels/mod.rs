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

/// Seconds of one sample.
const SAMPLE_SECONDS: f64 = 0.01;
const QUICK_SAMPLE_SECONDS: f64 = 0.0005;

/// A unit, and how many of it make the unit of the samples: seconds, or 10^9 multiply-accumulates per second.
type Unit = (&'static str, f64);

const RATE: Unit = ("G MAC/s", 1.0);
const MICROSECONDS: Unit = ("us", 1e6);
const NANOSECONDS_PER_RESIDUE: Unit = ("ns/residue", 1e9 / LIMB as f64);
const NANOSECONDS_PER_BYTE: Unit = ("ns/byte", 1e9);

/// The largest prime of `bits` bits for a ring degree.
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

/// Measures every kernel of every back end, on all threads of the current pool. The median of `runs` samples counts;
/// `progress` is called with what is measured next. With `quick` there are fewer shapes and shorter samples, which show that
/// everything works, not how fast it is.
///
/// # Cost
/// Some ten seconds, a second or two with `quick`.
pub(crate) fn measure_kernels(
    backends: &[&'static Backend],
    runs: usize,
    quick: bool,
    progress: &dyn Fn(&str),
) -> Vec<KernelRecord> {
    let origin = Origin::here();
    let mut records = Vec::new();
    for &backend in backends {
        let mut suite = Suite {
            backend,
            sampler: Sampler {
                runs,
                seconds: if quick {
                    QUICK_SAMPLE_SECONDS
                } else {
                    SAMPLE_SECONDS
                },
            },
            quick,
            progress,
            origin: &origin,
            records: &mut records,
        };
        suite.peak();
        suite.products();
        suite.transforms();
        suite.residues();
        suite.expansion();
    }
    records
}

/// The measurements of one back end.
struct Suite<'a> {
    backend: &'static Backend,
    sampler: Sampler,
    quick: bool,
    progress: &'a dyn Fn(&str),
    origin: &'a Origin,
    records: &'a mut Vec<KernelRecord>,
}

/// Operands of the kernels that work residue by residue: three limbs, and room for a packed one.
type Operands = ([Vec<u64>; 3], Vec<u8>);

/// A kernel by name.
type Kernel<'a> = (&'static str, &'a (dyn Fn(&mut Operands) + Sync));

impl Suite<'_> {
    fn next(&self, what: &str) {
        (self.progress)(&format!("{}: {what}", self.backend.name));
    }

    /// Appends a row, and gives it back for what else is known of it.
    fn push(
        &mut self,
        kernel: &str,
        (unit, factor): Unit,
        shape: impl Into<String>,
        samples: &[f64],
    ) -> &mut KernelRecord {
        let samples: Vec<f64> = samples.iter().map(|sample| sample * factor).collect();
        self.records.push(KernelRecord {
            backend: self.backend.name.into(),
            threads: rayon::current_num_threads() as u64,
            shape: shape.into(),
            ..KernelRecord::new(self.origin, kernel, unit, &samples)
        });
        self.records.last_mut().expect("a row was appended")
    }

    /// Appends a row of a kernel on limbs.
    fn push_limbs(&mut self, kernel: &str, unit: Unit, bits: u32, degree: usize, samples: &[f64]) {
        let record = self.push(kernel, unit, format!("{bits}-bit prime"), samples);
        record.width_bytes = Some(bits.div_ceil(8).into());
        record.ring_degree = Some(degree as u64);
    }

    /// The whole list, or with `quick` its first and last entry.
    fn some<T: Copy>(&self, all: &[T]) -> Vec<T> {
        match (all, self.quick) {
            ([first, .., last], true) => vec![*first, *last],
            _ => all.to_vec(),
        }
    }

    fn measure_peak(&self) -> f64 {
        measure_int8_peak(self.backend, rayon::current_num_threads())
    }

    fn peak(&mut self) {
        self.next("int8 peak");
        let runs = 0..self.sampler.runs.max(1);
        let samples: Vec<f64> = runs.map(|_| self.measure_peak()).collect();
        self.push("int8_peak", RATE, "registers only", &samples);
    }

    fn products(&mut self) {
        let columns = product::columns(self.backend, self.quick);
        for product::Shape { name, map } in product::shapes() {
            self.next(&name);
            for width in self.some(&[4, 5, 6]) {
                let mut product = product::Product::new(&map, self.backend, width, columns);
                // Just before, so that both see the same clock and the same other load.
                let peak = self.measure_peak();
                let giga_products = product.byte_products() * 1e-9;
                let seconds = product.samples(self.sampler);
                let rates: Vec<f64> = seconds.iter().map(|s| giga_products / s).collect();
                let record = self.push("linear", RATE, &name, &rates);
                record.width_bytes = Some(width as u64);
                record.ring_degree = Some(columns as u64);
                record.share_of_peak = Some(record.median / peak);
            }
        }
    }

    fn transforms(&mut self) {
        for log2 in self.some(&[12, 13, 14, 15]) {
            let degree = 1 << log2;
            self.next(&format!("transforms, N = {degree}"));
            for bits in self.some(&[30, 32, 40, 49]) {
                let [forward, inverse] =
                    transform_samples(self.backend, bits, degree, self.sampler);
                self.push_limbs("ntt_forward", MICROSECONDS, bits, degree, &forward);
                self.push_limbs("ntt_inverse", MICROSECONDS, bits, degree, &inverse);
            }
        }
    }

    fn residues(&mut self) {
        self.next("residue by residue");
        let backend = self.backend;
        for bits in self.some(&[32, 40, 48]) {
            let modulus = &modulus_below(bits, LIMB);
            let width = modulus.byte_width();
            let values = residues(modulus, LIMB);
            let operands = || {
                let limbs = [values.clone(), values.clone(), values.clone()];
                (limbs, vec![0; LIMB * width])
            };
            let kernels: [Kernel<'_>; 4] = [
                ("square_shifted", &|([c0, c1, c2], _)| {
                    backend.square_shifted_assign(modulus, c0, c1, 3, c2);
                }),
                ("multiply_add", &|([sum, a, b], _)| {
                    backend.multiply_add_assign(modulus, sum, a, b);
                }),
                ("pack", &|([values, ..], bytes)| {
                    backend.pack(width, black_box(values), bytes);
                }),
                ("unpack", &|([values, ..], bytes)| {
                    backend.unpack(width, black_box(bytes), values);
                }),
            ];
            for (kernel, run) in kernels {
                let samples = self.sampler.samples_on_all_threads(operands, run);
                self.push_limbs(kernel, NANOSECONDS_PER_RESIDUE, bits, LIMB, &samples);
            }
        }
    }

    fn expansion(&mut self) {
        self.next("expansion");
        for (name, limit) in [
            ("prime just below 2^32", 1 << 32),
            ("prime just below 2^40", 1 << 40),
            ("prime at 3/4 of 2^40", 3 << 38),
        ] {
            let modulus = modulus_near(limit, LIMB);
            let samples = expansion_samples(self.backend, &modulus, self.sampler);
            let shape = format!("{name}, {STRIP_ROWS}x{SEGMENT} residues");
            let record = self.push("expand_uniform", NANOSECONDS_PER_BYTE, shape, &samples);
            record.width_bytes = Some(modulus.byte_width() as u64);
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
    let samples = sampler.samples_on_all_threads(
        || ResidueMatrix::zeros(STRIP_ROWS, SEGMENT, width),
        |strip| stream.expand_strip(0, 0, strip),
    );
    let bytes = (STRIP_ROWS * SEGMENT * width) as f64;
    samples.iter().map(|seconds| seconds / bytes).collect()
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
    let samples = sampler.samples_on_all_threads(operands, |([c0, c1, c2], bytes)| {
        backend.unpack(width, &bytes[0], c0);
        backend.unpack(width, &bytes[1], c1);
        backend.square_shifted_assign(modulus, c0, c1, 3, c2);
        for (component, bytes) in [c0, c1, c2].into_iter().zip(bytes) {
            backend.pack(width, component, bytes);
        }
    });
    samples
        .iter()
        .map(|seconds| seconds / LIMB as f64)
        .collect()
}
