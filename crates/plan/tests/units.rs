//! The cutting of plans into units: every order is one in which each unit finds what it reads, memory falls as asked, and what
//! is said of it is what a walk through the units takes.

use std::collections::BTreeSet;

use sordino_ckks::{Gadget, Parameters};
use sordino_plan::{Budget, Operation, Schedule, Step, Term, Unit};
use sordino_ring::linear::{LinearMap, Tile, WeightWidth};

/// A 3 × 3 convolution of `stride` over maps of `size` × `size`, all weights 1, a tile a position.
fn of_memory(bytes: u64) -> Budget {
    Budget {
        memory_bytes: Some(bytes),
        scratch_bytes: 0,
    }
}

fn convolution(size: usize, [inputs, outputs]: [usize; 2], stride: usize) -> LinearMap {
    let side = size.div_ceil(stride);
    let tiles = (0..side * side).map(|position| {
        let (y, x) = (position / side * stride, position % side * stride);
        let taps = (0..9).map(|tap| (y + tap / 3, x + tap % 3));
        let inside = taps.filter(|&(y, x)| (1..=size).contains(&y) && (1..=size).contains(&x));
        let pixels: Vec<usize> = inside.map(|(y, x)| (y - 1) * size + x - 1).collect();
        let channel = |c: usize| {
            pixels
                .iter()
                .map(move |pixel| (c * size * size + pixel) as u32)
        };
        let inputs: Vec<u32> = (0..inputs).flat_map(channel).collect();
        Tile {
            outputs: (0..outputs)
                .map(|o| (o * side * side + position) as u32)
                .collect(),
            weights: vec![1; outputs * inputs.len()],
            inputs,
        }
    });
    LinearMap::new(
        inputs * size * size,
        outputs * side * side,
        WeightWidth::Eight,
        tiles.collect(),
    )
    .unwrap()
}

struct Steps(Vec<Step>);

impl Steps {
    fn push(
        &mut self,
        operation: Operation,
        elements: usize,
        components: usize,
        limbs: usize,
    ) -> usize {
        self.0.push(Step {
            name: format!("step{}", self.0.len()),
            operation,
            elements,
            components,
            limbs,
            scale: 2f64.powi(30),
            rms_noise: None,
            seconds: None,
        });
        self.0.len() - 1
    }

    fn linear(&mut self, sources: &[usize], maps: Vec<LinearMap>) -> usize {
        let terms = sources
            .iter()
            .zip(maps)
            .map(|(&source, map)| Term::Product {
                source,
                map,
                weight_scale: 1.0,
            });
        let terms: Vec<Term> = terms.collect();
        let Term::Product { map, .. } = &terms[0] else {
            unreachable!()
        };
        let (elements, from) = (map.output_rows(), &self.0[sources[0]]);
        let (components, limbs) = (from.components, from.limbs);
        let bias = vec![0; elements];
        self.push(
            Operation::Linear { terms, bias },
            elements,
            components,
            limbs,
        )
    }

    /// Square and relinearization.
    fn activation(&mut self, source: usize) -> usize {
        let (elements, limbs) = (self.0[source].elements, self.0[source].limbs);
        let shift = vec![0; elements];
        let square = self.push(Operation::Square { source, shift }, elements, 3, limbs);
        self.push(
            Operation::Relinearize { source: square },
            elements,
            2,
            limbs,
        )
    }

    fn rescale(&mut self, source: usize) -> usize {
        let Step {
            elements,
            components,
            limbs,
            ..
        } = self.0[source];
        self.push(
            Operation::Rescale { source, primes: 1 },
            elements,
            components,
            limbs - 1,
        )
    }
}

/// Three convolutions with activations, the last two with a way around them, and a dense layer.
fn residual() -> Vec<Step> {
    let mut steps = Steps(vec![]);
    let input = steps.push(Operation::Input, 3 * 16 * 16, 2, 4);
    let x = steps.linear(&[input], vec![convolution(16, [3, 8], 1)]);
    let x = steps.activation(x);
    let x = steps.linear(&[x], vec![convolution(16, [8, 16], 2)]);
    let x = steps.rescale(x);
    let around = steps.activation(x);
    let x = steps.linear(&[around], vec![convolution(8, [16, 16], 1)]);
    let through = steps.activation(x);
    let dense = || {
        let tile = Tile {
            outputs: (0..10).collect(),
            inputs: (0..16 * 64).collect(),
            weights: vec![1; 10 * 16 * 64],
        };
        LinearMap::new(16 * 64, 10, WeightWidth::Eight, vec![tile]).unwrap()
    };
    steps.linear(&[around, through], vec![dense(), dense()]);
    steps.0
}

/// Four convolutions with activations that make a map smaller: nothing reads all of it.
fn local() -> Vec<Step> {
    let mut steps = Steps(vec![]);
    let mut x = steps.push(Operation::Input, 16 * 16, 2, 4);
    for (size, channels, stride) in [(16, [1, 8], 1), (16, [8, 8], 1), (16, [8, 8], 2)] {
        x = steps.linear(&[x], vec![convolution(size, channels, stride)]);
        x = steps.activation(x);
    }
    steps.linear(&[x], vec![convolution(8, [8, 4], 2)]);
    steps.0
}

fn parameters() -> Parameters {
    let primes = sordino_ring::primes_below(1 << 32, 4 * 8192)
        .take(4)
        .collect();
    let gadget = Gadget::SmallDigits { digit_bits: 16 };
    Parameters::new(8192, primes, vec![], Some(gadget)).unwrap()
}

/// Walks through the units: what they read is there, and nothing is made twice. Returns the most bytes of pieces.
fn walk(steps: &[Step], units: &[Unit]) -> u64 {
    let bytes = |unit: &Unit| {
        let step = &steps[unit.last_step()];
        let components = if unit.last_step() == 0 {
            1
        } else {
            step.components
        };
        (unit.piece().len() * components * step.limbs * 8192 * 4) as u64
    };
    // (step, element, unit) of everything in memory.
    let mut present: BTreeSet<(usize, u32, usize)> = BTreeSet::new();
    let mut made: BTreeSet<(usize, u32)> = BTreeSet::new();
    let (mut live, mut peak) = (0, 0);
    for (number, unit) in units.iter().enumerate() {
        for (source, read) in steps[unit.steps.start]
            .operation
            .sources()
            .iter()
            .zip(&unit.reads)
        {
            assert!(read.is_sorted() && !read.is_empty());
            for &element in read {
                let mut found =
                    present.range((*source, element, 0)..=(*source, element, usize::MAX));
                assert!(
                    found.next().is_some(),
                    "unit {number} misses {element} of {source}"
                );
            }
        }
        assert!(unit.piece().is_sorted());
        for &element in unit.piece() {
            assert!(made.insert((unit.last_step(), element)), "made twice");
            present.insert((unit.last_step(), element, number));
        }
        live += bytes(unit);
        if unit.takes_over(units, steps) {
            live -= bytes(&units[unit.frees[0]]);
            peak = peak.max(live);
        } else {
            peak = peak.max(live);
            live -= unit
                .frees
                .iter()
                .map(|&freed| bytes(&units[freed]))
                .sum::<u64>();
        }
        present.retain(|(_, _, by)| !unit.frees.contains(by));
    }
    let last = steps.len() - 1;
    assert_eq!(made.range((last, 0)..).count(), steps[last].elements);
    // All that is left are the logits.
    assert!(present.iter().all(|&(step, ..)| step == last));
    peak
}

/// The memory of a schedule: pieces, a twelfth of them lost between pieces, and 1,000 bytes for other things.
fn memory(pieces: u64) -> u64 {
    1000 + pieces + pieces / 12
}

#[test]
fn less_memory_takes_smaller_pieces_and_more_of_them() {
    let steps = residual();
    let parameters = parameters();
    let whole = Schedule::new(&steps, &parameters, 1000, Budget::default()).unwrap();
    assert_eq!(whole.memory_bytes(), memory(walk(&steps, whole.units())));
    let mut last = whole.memory_bytes();
    let mut count = whole.units().len();
    for share in [0.8, 0.6] {
        let limit = (whole.memory_bytes() as f64 * share) as u64;
        let schedule = Schedule::new(&steps, &parameters, 1000, of_memory(limit)).unwrap();
        assert_eq!(
            schedule.memory_bytes(),
            memory(walk(&steps, schedule.units()))
        );
        assert!(schedule.memory_bytes() <= limit.min(last));
        assert!(schedule.units().len() >= count);
        (last, count) = (schedule.memory_bytes(), schedule.units().len());
    }
    let refused = Schedule::new(
        &steps,
        &parameters,
        1000,
        of_memory(whole.memory_bytes() / 10),
    );
    let Err(sordino_plan::Error::Memory { limit, needed, .. }) = refused else {
        panic!("a tenth of the memory is too little")
    };
    // What it says is needed is enough.
    assert!(needed > limit);
    assert!(Schedule::new(&steps, &parameters, 1000, of_memory(needed)).is_ok());
}

/// Walks through a schedule that uses scratch: everything read is in memory, what comes back left before. Returns the most bytes in
/// memory and on scratch.
fn walk_with_scratch(steps: &[Step], schedule: &Schedule) -> (u64, u64) {
    let units = schedule.units();
    let bytes = |unit: usize| {
        let step = &steps[units[unit].last_step()];
        let components = if unit == 0 { 1 } else { step.components };
        (units[unit].piece().len() * components * step.limbs * 8192 * 4) as u64
    };
    let sum = |set: &BTreeSet<usize>| set.iter().map(|&unit| bytes(unit)).sum::<u64>();
    let (mut memory, mut scratch) = (BTreeSet::new(), BTreeSet::new());
    let (mut peak, mut scratch_peak) = (0, 0);
    for (number, unit) in units.iter().enumerate() {
        let transfers = schedule.transfers(number).unwrap();
        for evicted in &transfers.evict {
            assert!(memory.remove(evicted), "{evicted} is not in memory");
            scratch.insert(*evicted);
        }
        scratch_peak = scratch_peak.max(sum(&scratch));
        for loaded in &transfers.load {
            assert!(scratch.contains(loaded), "{loaded} was never written");
            assert!(memory.insert(*loaded), "{loaded} is in memory already");
        }
        assert!(unit.from.iter().all(|from| memory.contains(from)));
        let during = if unit.takes_over(units, steps) {
            sum(&memory)
        } else {
            sum(&memory) + bytes(number)
        };
        assert_eq!(during, schedule.live_bytes(number));
        peak = peak.max(during);
        memory.insert(number);
        for freed in &unit.frees {
            memory.remove(freed);
            scratch.remove(freed);
        }
    }
    // The logits.
    assert!(scratch.is_empty());
    assert!(
        memory
            .iter()
            .all(|&unit| units[unit].last_step() + 1 == steps.len())
    );
    (peak, scratch_peak)
}

#[test]
fn what_does_not_fit_the_memory_waits_on_scratch() {
    let steps = local();
    let parameters = parameters();
    let with = |limit: u64, scratch: u64| {
        Schedule::new(
            &steps,
            &parameters,
            1000,
            Budget {
                memory_bytes: Some(limit),
                scratch_bytes: scratch,
            },
        )
    };
    let Err(sordino_plan::Error::Memory { needed, .. }) = with(1, 0) else {
        panic!("nothing fits into a byte")
    };
    // Where memory does, scratch stays empty.
    let schedule = with(needed, u64::MAX).unwrap();
    assert_eq!((schedule.scratch_bytes(), schedule.transfers(0)), (0, None));
    let mut last = 0;
    for share in [0.95, 0.8] {
        let limit = (needed as f64 * share) as u64;
        let schedule = with(limit, u64::MAX).unwrap();
        walk(&steps, schedule.units());
        let (peak, scratch) = walk_with_scratch(&steps, &schedule);
        let budget = Budget {
            memory_bytes: Some(limit),
            scratch_bytes: u64::MAX,
        };
        let on_the_way = 2 * budget.transfer_bytes();
        assert_eq!(schedule.memory_bytes(), memory(peak) + on_the_way);
        assert_eq!(schedule.scratch_bytes(), scratch);
        assert!(schedule.memory_bytes() <= limit && scratch > last);
        last = scratch;
        // What it says of the scratch that is needed is enough.
        let Err(sordino_plan::Error::Scratch { needed, .. }) = with(limit, 1) else {
            panic!("a byte of scratch is too little")
        };
        assert!(with(limit, needed).unwrap().scratch_bytes() <= needed);
    }
    // As is what it says of memory.
    let Err(sordino_plan::Error::Memory { needed: least, .. }) = with(1, u64::MAX) else {
        panic!("nothing fits into a byte")
    };
    assert!(least < needed);
    assert!(with(least, u64::MAX).unwrap().memory_bytes() <= least);
}

#[test]
fn a_run_computes_what_its_last_step_needs() {
    let mut steps = Steps(vec![]);
    let input = steps.push(Operation::Input, 3 * 16 * 16, 2, 4);
    let x = steps.linear(&[input], vec![convolution(16, [3, 8], 1)]);
    let square = Operation::Square {
        source: x,
        shift: vec![0; 8 * 256],
    };
    let x = steps.push(square, 8 * 256, 3, 4);
    let pool = (0..8 * 64).map(|output| {
        let (channel, y, x) = (output / 64, output / 8 % 8 * 2, output % 8 * 2);
        let at = |dy: u32, dx: u32| channel * 256 + (y + dy) * 16 + x + dx;
        Tile {
            outputs: vec![output],
            inputs: vec![at(0, 0), at(0, 1), at(1, 0), at(1, 1)],
            weights: vec![1; 4],
        }
    });
    let pool = LinearMap::new(8 * 256, 8 * 64, WeightWidth::Eight, pool.collect()).unwrap();
    steps.linear(&[x], vec![pool]);
    let schedule = Schedule::new(&steps.0, &parameters(), 0, Budget::default()).unwrap();
    walk(&steps.0, schedule.units());
    let units = &schedule.units()[1..];
    assert!(
        units.len() > 1,
        "a strip of 2,048 × 5 rows does not fit the cache"
    );
    let mut computed = 0;
    for unit in units {
        assert_eq!(unit.steps, 1..4);
        // Windows of the pool do not overlap: a piece is of whole windows, in all channels.
        assert_eq!(unit.elements[1], unit.elements[0]);
        assert_eq!(unit.elements[1].len(), 4 * unit.piece().len());
        assert_eq!(unit.piece().len() % 8, 0);
        assert!(unit.reads[0].len() < 3 * 256);
        computed += unit.elements[0].len();
    }
    assert_eq!(computed, 8 * 256);
}
