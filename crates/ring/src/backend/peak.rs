//! The machine's int8 multiply-accumulate rate: what a linear layer's time is a share of.

use std::{hint::black_box, sync::Barrier, time::Instant};

use super::table::{Backend, PORTABLE};

/// Byte products a thread runs in one timed burst: some milliseconds.
const BURST: u64 = 1 << 30;
/// A plain loop is a tenth to a hundredth as fast.
const PORTABLE_BURST: u64 = 1 << 26;
const RUNS: usize = 9;

/// The peak rate of byte products of a backend in 10^9 a second: threads all at once, nothing but registers.
///
/// One product is one unsigned byte times one signed byte, added to a 32-bit sum. Best of several short runs,
/// so that other load on the machine hides it as little as possible. The portable product multiplies whole residues
/// rather than bytes, so its share of this rate can exceed one.
///
/// # Panics
/// If `threads` is 0.
///
/// # Cost
/// About 50 ms.
pub fn measure_int8_peak(backend: &Backend, threads: usize) -> f64 {
    assert!(threads > 0, "at least one thread");
    let burst = if backend.name == PORTABLE {
        PORTABLE_BURST
    } else {
        BURST
    };
    (0..RUNS)
        .map(|_| {
            let barrier = Barrier::new(threads);
            let (products, seconds) = std::thread::scope(|scope| {
                let workers: Vec<_> = (0..threads)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            let start = Instant::now();
                            let products = (backend.int8_burst)(burst);
                            (products, start.elapsed().as_secs_f64())
                        })
                    })
                    .collect();
                workers
                    .into_iter()
                    .map(|worker| worker.join().expect("the loop does not panic"))
                    .fold((0, 0.0_f64), |(sum, slowest), (products, seconds)| {
                        (sum + products, slowest.max(seconds))
                    })
            });
            products as f64 / seconds / 1e9
        })
        .fold(0.0, f64::max)
}

/// The loop as any processor can run it.
pub(super) fn portable_burst(products: u64) -> u64 {
    const LANES: usize = 256;
    let unsigned: [u8; LANES] = black_box(std::array::from_fn(|i| i as u8));
    let signed: [i8; LANES] = black_box(std::array::from_fn(|i| (i as i8) ^ 0x55));
    let mut sums = [0_i32; LANES];
    let rounds = products.div_ceil(LANES as u64);
    for _ in 0..rounds {
        // The operands must look new each round, or the sums become one multiplication.
        let (unsigned, signed) = (black_box(&unsigned), black_box(&signed));
        for ((sum, &u), &s) in sums.iter_mut().zip(unsigned).zip(signed) {
            *sum = sum.wrapping_add(i32::from(u) * i32::from(s));
        }
    }
    black_box(sums);
    rounds * LANES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_has_a_rate() {
        for backend in super::super::available() {
            let products = (backend.int8_burst)(1000);
            assert!((1000..10_000).contains(&products), "{}", backend.name);
            let peak = measure_int8_peak(backend, 2);
            // Between a processor of the nineties and one of the next decade.
            assert!(peak > 0.01 && peak < 1e6, "{}: {peak}", backend.name);
        }
    }
}
