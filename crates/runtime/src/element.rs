//! The element-wise engine: a plan's integers on ciphertexts, unit after unit.

use std::time::Instant;

use sordino_ckks::{
    Ciphertexts, ColumnOperation, ColumnSource, Context, EvaluationKey, Scale, SeededCiphertexts,
};
use sordino_plan::{Budget, Operation, Schedule, ServerPlan, Step, Term, Unit};
use sordino_ring::linear::{LinearMap, PreparedLinearMap};

use crate::{Error, Scratch};

/// An element-wise plan cut into units, with the weights of each packed for the matrix kernels.
#[derive(Debug)]
pub struct PackedWeights {
    schedule: Schedule,
    /// By unit: those of its linear steps in their order. A step with residual factors has one a product, any other has one.
    maps: Vec<Vec<PreparedLinearMap>>,
}

impl PackedWeights {
    /// Cuts a plan into units that an evaluation within a budget can take, and packs its weights for the context's backend.
    ///
    /// # Errors
    /// [`Error::Plan`] where so little memory does not do.
    pub fn new(plan: &ServerPlan, context: &Context, budget: Budget) -> Result<Self, Error> {
        let steps = plan.steps();
        let schedule = plan.schedule(budget)?;
        let maps = schedule
            .units()
            .iter()
            .map(|unit| {
                let maps = linear_maps(steps, unit)?;
                Ok(maps
                    .iter()
                    .map(|map| map.prepare(context.backend()))
                    .collect())
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { schedule, maps })
    }

    /// The units.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }
}

/// The integer matrices of a unit's linear steps, on the elements that the unit reads and makes.
fn linear_maps(steps: &[Step], unit: &Unit) -> Result<Vec<LinearMap>, Error> {
    let mut maps = Vec::new();
    for (position, (index, outputs)) in unit.steps.clone().zip(&unit.elements).enumerate() {
        let Operation::Linear { terms, .. } = &steps[index].operation else {
            continue;
        };
        let products = terms.iter().enumerate().filter_map(|(term, t)| match t {
            Term::Product { map, .. } => Some((term, map)),
            Term::Scaled { .. } => None,
        });
        let restricted = products.map(|(term, map)| {
            let inputs = match position {
                0 => &unit.reads[term],
                _ => &unit.elements[position - 1],
            };
            map.restricted(outputs, inputs)
        });
        if has_factors(terms) {
            maps.extend(restricted);
        } else {
            let restricted: Vec<LinearMap> = restricted.collect();
            let sum = LinearMap::side_by_side(&restricted);
            maps.push(sum.map_err(|source| Error::Step {
                step: steps[index].name.clone(),
                source: source.into(),
            })?);
        }
    }
    Ok(maps)
}

fn has_factors(terms: &[Term]) -> bool {
    terms.iter().any(|term| matches!(term, Term::Scaled { .. }))
}

/// Evaluates an element-wise plan on ciphertexts.
#[derive(Debug)]
pub struct ElementEngine<'a> {
    steps: &'a [Step],
    context: &'a Context,
    key: Option<&'a EvaluationKey>,
    weights: &'a PackedWeights,
}

/// The elements that a unit made.
enum Piece {
    /// The input as it came: the uniform half is still a seed.
    Fresh(SeededCiphertexts),
    /// All components.
    Expanded(Ciphertexts),
}

/// What is in memory of a block.
struct Pieces {
    of_unit: Vec<Option<Piece>>,
    /// By step and element: the unit that makes it, and where it is in that unit's piece.
    places: Vec<Vec<(u32, u32)>>,
}

/// A unit that was computed.
pub(crate) struct Finished<'u> {
    /// Its place in the schedule.
    pub index: usize,
    pub unit: &'u Unit,
    /// Wall time of reading the source, then of each of the unit's steps.
    pub seconds: Vec<f64>,
}

impl<'a> ElementEngine<'a> {
    /// An engine for a plan's weights and a client's key.
    ///
    /// # Errors
    /// [`Error::MissingKey`] when the plan relinearizes and there is no key.
    pub fn new(
        plan: &'a ServerPlan,
        weights: &'a PackedWeights,
        context: &'a Context,
        key: Option<&'a EvaluationKey>,
    ) -> Result<Self, Error> {
        let relinearizes = |step: &&Step| matches!(step.operation, Operation::Relinearize { .. });
        match plan.steps().iter().find(relinearizes) {
            Some(step) if key.is_none() => Err(Error::MissingKey {
                step: step.name.clone(),
            }),
            _ => Ok(Self {
                steps: plan.steps(),
                context,
                key,
                weights,
            }),
        }
    }

    /// Runs the units of one block that come after the first `done`; `after` hears of each.
    pub(crate) fn evaluate(
        &self,
        block: SeededCiphertexts,
        done: usize,
        mut scratch: Option<&mut dyn Scratch>,
        mut after: impl FnMut(Finished<'_>),
    ) -> Result<Ciphertexts, Error> {
        let schedule = &self.weights.schedule;
        let units = schedule.units();
        let mut pieces = Pieces::new(self.steps, units);
        if done == 0 {
            let start = Instant::now();
            pieces.of_unit[0] = Some(self.input(block)?);
            after(Finished {
                index: 0,
                unit: &units[0],
                seconds: vec![0.0, start.elapsed().as_secs_f64()],
            });
        } else {
            let mut there = schedule.in_memory(done);
            if there.remove(&0) {
                pieces.of_unit[0] = Some(self.input(block)?);
            }
            self.load(there, &mut pieces, &mut scratch)?;
        }
        for (index, unit) in units.iter().enumerate().skip(done.max(1)) {
            if let Some(transfers) = schedule.transfers(index) {
                for &evicted in &transfers.evict {
                    let piece = pieces.of_unit[evicted].take();
                    if let (Some(Piece::Expanded(piece)), Some(scratch)) = (&piece, &mut scratch) {
                        scratch.store(evicted, piece)?;
                    }
                }
                let load = transfers.load.iter().copied();
                self.load(load, &mut pieces, &mut scratch)?;
            }
            let (piece, seconds) = self.compute(index, unit, &mut pieces)?;
            pieces.of_unit[index] = Some(Piece::Expanded(piece));
            for &unit in &unit.frees {
                pieces.of_unit[unit] = None;
            }
            after(Finished {
                index,
                unit,
                seconds,
            });
            if let Some(scratch) = &mut scratch {
                scratch.free(&unit.frees)?;
                scratch.units_done(index + 1, &pieces.expanded())?;
            }
        }
        let last = self.steps.len() - 1;
        let step = &self.steps[last];
        let all: Vec<u32> = (0..step.elements as u32).collect();
        let (unit, _) = pieces.places[last][0];
        pieces
            .take(last, &all, step.limbs, &[unit as usize])
            .map_err(at(step))
    }

    /// Brings pieces back.
    fn load(
        &self,
        units: impl IntoIterator<Item = usize>,
        pieces: &mut Pieces,
        scratch: &mut Option<&mut dyn Scratch>,
    ) -> Result<(), Error> {
        for unit in units {
            if let Some(scratch) = scratch {
                let piece = scratch.load(self.context, unit)?;
                pieces.of_unit[unit] = Some(Piece::Expanded(piece));
            }
        }
        Ok(())
    }

    /// The input as the units read it: expanded where one of them cannot do that on the way.
    fn input(&self, block: SeededCiphertexts) -> Result<Piece, Error> {
        let readers = self.weights.schedule.units().iter().filter(|unit| {
            let sources = self.steps[unit.steps.start].operation.sources();
            sources.contains(&0)
        });
        let mut first = readers.map(|unit| &self.steps[unit.steps.start].operation);
        let expands = first.all(|operation| match operation {
            Operation::Square { .. } => true,
            Operation::Linear { terms, .. } => matches!(terms[..], [Term::Product { .. }]),
            _ => false,
        });
        if expands {
            return Ok(Piece::Fresh(block));
        }
        let block = block.expand(self.context).map_err(at(&self.steps[0]))?;
        Ok(Piece::Expanded(block))
    }

    fn compute(
        &self,
        index: usize,
        unit: &Unit,
        pieces: &mut Pieces,
    ) -> Result<(Ciphertexts, Vec<f64>), Error> {
        let step = &self.steps[unit.steps.start];
        let start = Instant::now();
        let alone = |result: Result<Ciphertexts, sordino_ckks::Error>| {
            let result = result.map_err(at(step))?;
            Ok((result, vec![0.0, start.elapsed().as_secs_f64()]))
        };
        match &step.operation {
            Operation::Input => unreachable!("plans are checked to have one input, first"),
            Operation::Relinearize { source } => {
                let key = self.key.ok_or_else(|| Error::MissingKey {
                    step: step.name.clone(),
                })?;
                let limbs = self.steps[*source].limbs;
                let input = pieces.take(*source, &unit.reads[0], limbs, &unit.frees);
                alone(input.and_then(|input| self.context.relinearize(input, key)))
            }
            Operation::Rescale { source, primes } => {
                let limbs = self.steps[*source].limbs;
                let input = pieces.take(*source, &unit.reads[0], limbs, &unit.frees);
                alone(input.and_then(|input| self.context.rescale(input, *primes)))
            }
            Operation::Linear { terms, bias } if has_factors(terms) => {
                alone(self.sum_of_terms(index, unit, terms, bias, pieces))
            }
            Operation::Linear { .. } | Operation::Square { .. } => {
                self.columns(index, unit, pieces)
            }
        }
    }

    /// A run of linear steps and squares, a few columns at a time.
    fn columns(
        &self,
        index: usize,
        unit: &Unit,
        pieces: &Pieces,
    ) -> Result<(Ciphertexts, Vec<f64>), Error> {
        let last = &self.steps[unit.last_step()];
        let constants: Vec<Vec<i128>> = unit
            .steps
            .clone()
            .zip(&unit.elements)
            .map(|(step, elements)| {
                let (Operation::Linear { bias: all, .. } | Operation::Square { shift: all, .. }) =
                    &self.steps[step].operation
                else {
                    unreachable!("runs have column-local steps only")
                };
                elements
                    .iter()
                    .map(|&element| all[element as usize])
                    .collect()
            })
            .collect();
        let mut maps = self.weights.maps[index].iter();
        let operations: Vec<ColumnOperation<'_>> = unit
            .steps
            .clone()
            .zip(&constants)
            .map(|(step, constants)| match &self.steps[step].operation {
                Operation::Linear { terms, .. } => ColumnOperation::Linear {
                    map: maps.next().expect("a linear step of products has one map"),
                    weight_scale: match terms[0] {
                        Term::Product { weight_scale, .. } => weight_scale,
                        Term::Scaled { .. } => unreachable!("runs have products only"),
                    },
                    bias: constants,
                },
                _ => ColumnOperation::Square { shift: constants },
            })
            .collect();
        let sources = self.steps[unit.steps.start].operation.sources();
        let rows;
        let source = match &pieces.of_unit[0] {
            Some(Piece::Fresh(map)) if sources == [0] => ColumnSource::Seeded {
                map,
                rows: &unit.reads[0],
            },
            _ => {
                rows = sources
                    .iter()
                    .zip(&unit.reads)
                    .flat_map(|(&source, read)| pieces.rows(source, read))
                    .collect::<Vec<_>>();
                ColumnSource::Rows(&rows)
            }
        };
        let start = Instant::now();
        let result = self
            .context
            .apply_columns(source, last.limbs, &operations)
            .map_err(at(last))?;
        // The threads' times, scaled to the wall's.
        let all: u64 = result.nanoseconds.iter().sum();
        let share = start.elapsed().as_secs_f64() / all.max(1) as f64;
        let scale = Scale::new(last.scale).map_err(at(last))?;
        let seconds = result.nanoseconds.iter().map(|&spent| spent as f64 * share);
        Ok((result.ciphertexts.with_scale(scale), seconds.collect()))
    }

    /// A linear step some of whose terms multiply every element by its own integer.
    fn sum_of_terms(
        &self,
        index: usize,
        unit: &Unit,
        terms: &[Term],
        bias: &[i128],
        pieces: &Pieces,
    ) -> Result<Ciphertexts, sordino_ckks::Error> {
        let step = &self.steps[unit.steps.start];
        let scale = Scale::new(step.scale)?;
        let mut maps = self.weights.maps[index].iter();
        let mut sum: Option<Ciphertexts> = None;
        for (term, read) in terms.iter().zip(&unit.reads) {
            let source = term.source();
            match term {
                Term::Product { weight_scale, .. } => {
                    let input = pieces.gather(source, read, step.limbs)?;
                    let map = maps.next().expect("every product has a map");
                    let product = self.context.linear(&input, map, *weight_scale)?;
                    let product = product.with_scale(scale);
                    sum = Some(match sum {
                        None => product,
                        Some(sum) => self.context.add(&sum, &product)?,
                    });
                }
                Term::Scaled { factors, .. } => {
                    // Elements that the source lacks have factor 0: any row serves.
                    let count = self.steps[source].elements as u32;
                    let present = |&element: &u32| if element < count { element } else { read[0] };
                    let rows: Vec<u32> = unit.piece().iter().map(present).collect();
                    let factors: Vec<i64> = unit
                        .piece()
                        .iter()
                        .map(|&element| factors[element as usize])
                        .collect();
                    let input = pieces.gather(source, &rows, step.limbs)?;
                    sum = Some(match sum {
                        None => {
                            let scaled = self.context.multiply_integers(&input, &factors)?;
                            scaled.with_scale(scale)
                        }
                        Some(mut sum) => {
                            self.context
                                .add_multiple_assign(&mut sum, &input, &factors)?;
                            sum
                        }
                    });
                }
            }
        }
        let mut sum = sum.expect("plans are checked to have at least one term a linear step");
        let bias: Vec<i128> = unit
            .piece()
            .iter()
            .map(|&element| bias[element as usize])
            .collect();
        self.context.add_constants(&mut sum, &bias)?;
        Ok(sum)
    }
}

impl Pieces {
    fn new(steps: &[Step], units: &[Unit]) -> Self {
        let mut places: Vec<Vec<(u32, u32)>> = vec![Vec::new(); steps.len()];
        for (number, unit) in (0..).zip(units) {
            let places = &mut places[unit.last_step()];
            places.resize(steps[unit.last_step()].elements, (0, 0));
            for (row, &element) in (0..).zip(unit.piece()) {
                places[element as usize] = (number, row);
            }
        }
        Self {
            of_unit: units.iter().map(|_| None).collect(),
            places,
        }
    }

    /// What is in memory, but for a fresh input.
    fn expanded(&self) -> Vec<(usize, &Ciphertexts)> {
        let pieces = self.of_unit.iter().enumerate().skip(1);
        pieces
            .filter_map(|(unit, piece)| match piece {
                Some(Piece::Expanded(map)) => Some((unit, map)),
                _ => None,
            })
            .collect()
    }

    /// Where some elements of a step's value are.
    fn rows(&self, step: usize, elements: &[u32]) -> impl Iterator<Item = (&Ciphertexts, u32)> {
        elements.iter().map(move |&element| {
            let (unit, row) = self.places[step][element as usize];
            match &self.of_unit[unit as usize] {
                Some(Piece::Expanded(map)) => (map, row),
                Some(Piece::Fresh(_)) => {
                    unreachable!("expanded unless every reader can read seeds")
                }
                None => unreachable!("a piece lives until its last reader"),
            }
        })
    }

    fn gather(
        &self,
        step: usize,
        elements: &[u32],
        limbs: usize,
    ) -> Result<Ciphertexts, sordino_ckks::Error> {
        let rows = self
            .rows(step, elements)
            .map(|(map, row)| (map, row as usize));
        Ciphertexts::gather(&rows.collect::<Vec<_>>(), limbs)
    }

    /// Some elements of a step's value: the piece itself where they are all of it and it is among those that nobody needs
    /// any more, else a copy.
    fn take(
        &mut self,
        step: usize,
        elements: &[u32],
        limbs: usize,
        freed: &[usize],
    ) -> Result<Ciphertexts, sordino_ckks::Error> {
        let (unit, _) = self.places[step][elements[0] as usize];
        let in_order =
            |(row, &element): (u32, &u32)| self.places[step][element as usize] == (unit, row);
        let piece = &mut self.of_unit[unit as usize];
        let whole = freed.contains(&(unit as usize))
            && matches!(piece, Some(Piece::Expanded(map)) if map.len() == elements.len())
            && (0..).zip(elements).all(in_order);
        if whole && let Some(Piece::Expanded(map)) = piece.take() {
            return Ok(map);
        }
        self.gather(step, elements, limbs)
    }
}

/// The source with the limbs of the step, copied only where it has more.
pub(crate) fn at_limbs(
    context: &Context,
    source: &Ciphertexts,
    limbs: usize,
) -> Result<Option<Ciphertexts>, sordino_ckks::Error> {
    if source.limbs() == limbs {
        return Ok(None);
    }
    context
        .drop_limbs(source.clone(), source.limbs() - limbs)
        .map(Some)
}

/// Names the step in an error of the scheme.
pub(crate) fn at(step: &Step) -> impl Fn(sordino_ckks::Error) -> Error {
    let name = step.name.clone();
    move |source| Error::Step {
        step: name.clone(),
        source,
    }
}

/// Context and key belong to the parameters of a plan.
pub(crate) fn check_parameters(
    plan: &ServerPlan,
    context: &Context,
    key: Option<&EvaluationKey>,
) -> Result<(), Error> {
    let expected = plan.parameters().digest();
    let same = |what, found| {
        if expected == found {
            Ok(())
        } else {
            Err(Error::Parameters {
                what,
                expected,
                found,
            })
        }
    };
    same("the context", context.digest())?;
    if let Some(key) = key {
        same("the evaluation key", key.parameters())?;
    }
    Ok(())
}
