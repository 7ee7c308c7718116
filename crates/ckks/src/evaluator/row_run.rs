//! Operations in a row that act on each ciphertext by itself, on all its coefficients together.
//!
//! A thread takes a few ciphertexts through all of them while they stay in its cache. The third component of a square that is
//! relinearized is never in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rayon::prelude::*;

use super::check_components;
use super::relinearize::{self, KeySwitch};
use super::rescale::{self, Rescale};
use crate::error::check_count;
use crate::rows::rows_of;
use crate::{Ciphertexts, Context, Error, EvaluationKey, Scale};

/// An operation that acts on each ciphertext by itself.
#[derive(Clone, Copy, Debug)]
pub enum RowOperation<'a> {
    /// As [`Context::rescale`].
    Rescale {
        /// How many primes are dropped.
        primes: usize,
    },
    /// As [`Context::square_shifted`].
    Square {
        /// One integer per ciphertext, at the scale of the ciphertexts.
        shift: &'a [i128],
    },
    /// As [`Context::relinearize`].
    Relinearize {
        /// The key.
        key: &'a EvaluationKey,
    },
}

/// The result of a run of row operations, and the time of each.
#[derive(Clone, Debug)]
pub struct RowResult {
    /// The last operation's result.
    pub ciphertexts: Ciphertexts,
    /// Time of all threads together for each operation, in nanoseconds.
    pub nanoseconds: Vec<u64>,
}

/// Ciphertexts that a thread takes through the run together, so that each polynomial of a key comes from memory once for all of
/// them. They still fit a second-level cache or little more.
const LARGEST_BLOCK: usize = 4;

/// An operation with its tables.
enum Stage<'a> {
    Rescale(Rescale<'a>),
    Square { limbs: usize, shift: &'a [i128] },
    Relinearize(KeySwitch<'a>),
}

/// The shape of a ciphertext.
#[derive(Clone, Copy)]
struct Shape {
    components: usize,
    limbs: usize,
}

/// Memory of a thread.
struct Scratch {
    /// Third components: ciphertext, limb.
    third: Vec<u8>,
    values: Vec<u64>,
    rescale: rescale::Scratch,
    relinearize: Option<relinearize::Scratch>,
}

impl Context {
    /// Runs operations one after the other on every ciphertext.
    ///
    /// The result is the same as that of the single operations.
    ///
    /// # Level and scale
    /// Every operation treats them as its own method does.
    ///
    /// # Errors
    /// Those of the single operations.
    ///
    /// # Cost
    /// Works in the memory of the ciphertexts, and allocates a third component only for a result that has three.
    pub fn apply_rows(
        &self,
        mut a: Ciphertexts,
        operations: &[RowOperation<'_>],
    ) -> Result<RowResult, Error> {
        self.check_parameters("row operations", &a)?;
        let (rows, first) = (
            a.len(),
            Shape {
                components: a.components(),
                limbs: a.limbs(),
            },
        );
        let (mut shape, mut scale) = (first, a.scale);
        let mut stages = Vec::with_capacity(operations.len());
        for operation in operations {
            stages.push(self.stage(operation, rows, &mut shape, &mut scale)?);
        }
        if shape.components > first.components {
            let third = (0..first.limbs).map(|limb| self.unspecified(rows, limb));
            a.parts.push(third.collect());
        }
        let run = Run {
            context: self,
            components: a.components(),
            limbs: first.limbs,
            nanoseconds: stages.iter().map(|_| AtomicU64::new(0)).collect(),
            stages,
        };
        let threads = rayon::current_num_threads();
        let block = rows.div_ceil(threads).clamp(1, LARGEST_BLOCK);
        let mut slices = rows_of(a.parts.iter_mut().flatten());
        let blocks = slices
            .chunks_mut(block * run.components * run.limbs)
            .enumerate();
        let blocks = Mutex::new(blocks);
        let next = || blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
        (0..threads).into_par_iter().for_each(|_| {
            let mut scratch: Option<Scratch> = None;
            while let Some((index, rows)) = next() {
                let scratch = scratch.get_or_insert_with(|| run.scratch(block));
                run.block(index * block, rows, scratch);
            }
        });
        a.parts.truncate(shape.components);
        a.parts
            .iter_mut()
            .for_each(|part| part.truncate(shape.limbs));
        a.scale = scale;
        Ok(RowResult {
            ciphertexts: a,
            nanoseconds: run
                .nanoseconds
                .into_iter()
                .map(AtomicU64::into_inner)
                .collect(),
        })
    }

    fn stage<'a>(
        &'a self,
        operation: &RowOperation<'a>,
        rows: usize,
        shape: &mut Shape,
        scale: &mut Scale,
    ) -> Result<Stage<'a>, Error> {
        let Shape { components, limbs } = *shape;
        Ok(match *operation {
            RowOperation::Rescale { primes } => {
                let rescale = Rescale::new(self, components, limbs, primes)?;
                *scale = Scale::new(scale.value() / rescale.divisor())?;
                shape.limbs = rescale.kept;
                Stage::Rescale(rescale)
            }
            RowOperation::Square { shift } => {
                check_components("square", "two", 2, components)?;
                check_count("shifts, one per ciphertext", rows, shift.len())?;
                *scale = scale.times(scale.value())?;
                shape.components = 3;
                Stage::Square { limbs, shift }
            }
            RowOperation::Relinearize { key } => {
                key.check(self)?;
                check_components("relinearization", "three", 3, components)?;
                shape.components = 2;
                Stage::Relinearize(KeySwitch::new(self, key, limbs)?)
            }
        })
    }
}

/// A run on ciphertexts of some shape in memory.
struct Run<'a> {
    context: &'a Context,
    stages: Vec<Stage<'a>>,
    nanoseconds: Vec<AtomicU64>,
    components: usize,
    limbs: usize,
}

impl Run<'_> {
    fn scratch(&self, block: usize) -> Scratch {
        let n = self.context.ring_degree();
        let third: usize = match self.components {
            2 => self.row_bytes().sum(),
            _ => 0,
        };
        let switch = self.stages.iter().find_map(|stage| match stage {
            Stage::Relinearize(switch) => Some(switch.scratch(block)),
            _ => None,
        });
        let dropped = self.stages.iter().map(|stage| match stage {
            Stage::Rescale(rescale) => rescale.limbs - rescale.kept,
            _ => 0,
        });
        Scratch {
            third: vec![0; block * third],
            values: vec![0; 3 * n],
            rescale: rescale::Scratch::new(dropped.max().unwrap_or(0), n),
            relinearize: switch,
        }
    }

    /// Bytes of the polynomials of a component.
    fn row_bytes(&self) -> impl Iterator<Item = usize> {
        (0..self.limbs)
            .map(|limb| self.context.modulus(limb).byte_width() * self.context.ring_degree())
    }

    /// Takes ciphertexts from `first` on through all operations; `rows` are the limbs of the components of each.
    fn block(&self, first: usize, rows: &mut [&mut [u8]], scratch: &mut Scratch) {
        let mut third = &mut scratch.third[..];
        let mut ciphertexts: Vec<Vec<&mut [u8]>> = Vec::new();
        for row in rows.chunks_exact_mut(self.components * self.limbs) {
            let mut polynomials: Vec<&mut [u8]> =
                row.iter_mut().map(|bytes| &mut **bytes).collect();
            if self.components == 2 {
                for bytes in self.row_bytes() {
                    polynomials.push(third.split_off_mut(..bytes).expect("room for a block"));
                }
            }
            ciphertexts.push(polynomials);
        }
        for (stage, nanoseconds) in self.stages.iter().zip(&self.nanoseconds) {
            let start = Instant::now();
            let shape = stage.shape();
            // The limbs of the components that the operation reads or makes.
            let mut view: Vec<&mut [u8]> = ciphertexts
                .iter_mut()
                .flat_map(|polynomials| {
                    polynomials
                        .chunks_exact_mut(self.limbs)
                        .take(shape.components)
                })
                .flat_map(|component| component.iter_mut().take(shape.limbs))
                .map(|bytes| &mut **bytes)
                .collect();
            match stage {
                Stage::Rescale(rescale) => {
                    for component in view.chunks_exact_mut(shape.limbs) {
                        rescale.divide(component, &mut scratch.rescale);
                    }
                }
                Stage::Square { shift, .. } => {
                    for (row, polynomials) in (first..).zip(view.chunks_exact_mut(3 * shape.limbs))
                    {
                        self.square(shift[row], polynomials, &mut scratch.values);
                    }
                }
                Stage::Relinearize(switch) => {
                    let scratch = scratch.relinearize.as_mut();
                    switch.run(&mut view, scratch.expect("made for this operation"));
                }
            }
            let spent = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            nanoseconds.fetch_add(spent, Ordering::Relaxed);
        }
    }

    fn square(&self, shift: i128, polynomials: &mut [&mut [u8]], values: &mut [u64]) {
        let (context, limbs) = (self.context, polynomials.len() / 3);
        let (c0, rest) = values.split_at_mut(context.ring_degree());
        let (c1, c2) = rest.split_at_mut(context.ring_degree());
        for limb in 0..limbs {
            let modulus = context.modulus(limb);
            context.unpack(limb, polynomials[limb], c0);
            context.unpack(limb, polynomials[limbs + limb], c1);
            let shift = modulus.from_i128(shift);
            context
                .backend()
                .square_shifted_assign(modulus, c0, c1, shift, c2);
            for (component, values) in [&*c0, &*c1, &*c2].into_iter().enumerate() {
                context.pack(limb, values, polynomials[component * limbs + limb]);
            }
        }
    }
}

impl Stage<'_> {
    /// The shape of what the operation reads or makes, whichever is larger.
    fn shape(&self) -> Shape {
        match self {
            Self::Rescale(rescale) => Shape {
                components: rescale.components,
                limbs: rescale.limbs,
            },
            Self::Square { limbs, .. } => Shape {
                components: 3,
                limbs: *limbs,
            },
            Self::Relinearize(switch) => Shape {
                components: 3,
                limbs: switch.limbs,
            },
        }
    }
}
