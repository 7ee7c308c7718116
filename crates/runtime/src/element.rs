//! The encrypted engine of element-wise packing: a plan's integers on ciphertexts, column by column.

use sordino_ckks::{
    Ciphertexts, ColumnOperation, ColumnSource, Context, EvaluationKey, RowOperation, Scale,
    SeededCiphertexts,
};
use sordino_plan::{Budget, Operation, Schedule, ServerPlan, Step, Term, Unit, unread};
use sordino_ring::linear::{LinearMap, PreparedLinearMap};

use crate::engine::{EncryptedEngine, live};
use crate::{Computed, Engine, Error, Piece};

/// An element-wise plan cut into units, with the weights of each packed for the matrix kernels.
#[derive(Debug)]
pub struct PackedWeights {
    schedule: Schedule,
    /// By unit, the maps of its linear steps in their order: one per product where the step has residual factors, else one.
    maps: Vec<Vec<PreparedLinearMap>>,
    /// By step and element: the unit that makes it, and where it is in that unit's piece.
    places: Vec<Vec<(u32, u32)>>,
}

impl PackedWeights {
    /// Cuts a plan into units that an evaluation within a budget can take, and packs its weights for the context's backend.
    ///
    /// # Errors
    /// [`Error::Plan`] where the memory does not suffice.
    pub fn new(plan: &ServerPlan, context: &Context, budget: Budget) -> Result<Self, Error> {
        let steps = plan.steps();
        let schedule = plan.schedule(budget)?;
        let prepare = |map: LinearMap| map.prepare(context.backend());
        let maps = schedule.units().iter().map(|unit| {
            let maps = linear_maps(steps, unit)?;
            Ok(maps.into_iter().map(prepare).collect())
        });
        Ok(Self {
            maps: maps.collect::<Result<_, Error>>()?,
            places: places(steps, schedule.units()),
            schedule,
        })
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
        let terms = steps[index].terms();
        let products = terms.iter().enumerate();
        let products = products.filter_map(|(number, term)| Some((number, term.map()?)));
        let restricted = products.map(|(term, map)| {
            let inputs = match position {
                0 => &unit.reads[term],
                _ => &unit.elements[position - 1],
            };
            map.restricted(outputs, inputs)
        });
        if has_factors(terms) {
            maps.extend(restricted);
        } else if !terms.is_empty() {
            let restricted: Vec<LinearMap> = restricted.collect();
            let sum = LinearMap::side_by_side(&restricted).map_err(sordino_ckks::Error::from);
            maps.push(sum.map_err(at(&steps[index]))?);
        }
    }
    Ok(maps)
}

fn has_factors(terms: &[Term]) -> bool {
    terms.iter().any(|term| term.map().is_none())
}

/// Evaluates an element-wise plan on ciphertexts.
#[derive(Debug)]
pub struct ElementEngine<'a> {
    steps: &'a [Step],
    context: &'a Context,
    key: Option<&'a EvaluationKey>,
    weights: &'a PackedWeights,
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
        let steps = plan.steps();
        match steps.iter().find(|step| relinearizes(step)) {
            Some(step) if key.is_none() => Err(missing_key(step)),
            _ => Ok(Self {
                steps,
                context,
                key,
                weights,
            }),
        }
    }
}

impl EncryptedEngine for ElementEngine<'_> {
    fn schedule(&self) -> &Schedule {
        &self.weights.schedule
    }

    /// The input as the units read it: expanded where one of them cannot do that on the way.
    fn input(&self, block: SeededCiphertexts) -> Result<Piece, Error> {
        let mut readers = self.weights.schedule.units().iter().filter(|unit| {
            let sources = self.steps[unit.steps.start].operation.sources();
            sources.contains(&0)
        });
        let expands = |unit: &Unit| match &self.steps[unit.steps.start].operation {
            Operation::Square { .. } => !self.is_by_rows(unit),
            Operation::Linear { terms, .. } => matches!(terms[..], [Term::Product { .. }]),
            _ => false,
        };
        if readers.all(expands) {
            return Ok(Piece::Fresh(block));
        }
        let block = block.expand(self.context).map_err(at(&self.steps[0]))?;
        Ok(Piece::Expanded(block))
    }

    fn result(&self, pieces: &mut [Option<Piece>]) -> Result<Ciphertexts, Error> {
        let last = self.steps.len() - 1;
        let step = &self.steps[last];
        let all: Vec<u32> = (0..step.elements as u32).collect();
        let norms = unread(self.steps);
        if norms.is_empty() {
            let (unit, _) = self.weights.places[last][0];
            let freed = [unit as usize];
            let logits = self.take(pieces, last, &all, step.limbs, &freed);
            return logits.map_err(at(step));
        }
        let logits = self.rows(pieces, last, &all);
        let norms = norms.iter().flat_map(|&norm| self.rows(pieces, norm, &[0]));
        let rows: Vec<_> = logits
            .chain(norms)
            .map(|(map, row)| (map, row as usize))
            .collect();
        Ciphertexts::gather(&rows, step.limbs).map_err(at(step))
    }
}

impl Engine for ElementEngine<'_> {
    type Piece = Piece;

    fn compute(
        &self,
        index: usize,
        unit: &Unit,
        pieces: &mut [Option<Piece>],
    ) -> Result<Computed<Piece>, Error> {
        let step = &self.steps[unit.steps.start];
        match &step.operation {
            Operation::Input => unreachable!("plans are checked to have one input, first"),
            Operation::Linear { terms, bias } if has_factors(terms) => {
                let sum = self.sum_of_terms(index, unit, terms, bias, pieces);
                let piece = Piece::Expanded(sum.map_err(at(step))?);
                Ok(Computed::by_one_step(piece))
            }
            _ if self.is_by_rows(unit) => self.by_rows(unit, pieces),
            _ => self.columns(index, unit, pieces),
        }
    }
}

impl ElementEngine<'_> {
    fn is_by_rows(&self, unit: &Unit) -> bool {
        self.steps[unit.steps.clone()]
            .iter()
            .all(Step::is_row_local)
    }

    /// A run of rescales, squares and relinearizations, a few ciphertexts at a time.
    fn by_rows(&self, unit: &Unit, pieces: &mut [Option<Piece>]) -> Result<Computed<Piece>, Error> {
        let (first, last) = (&self.steps[unit.steps.start], &self.steps[unit.last_step()]);
        let shifts: Vec<Vec<i128>> = self.steps[unit.steps.clone()]
            .iter()
            .zip(&unit.elements)
            .map(|(step, elements)| match &step.operation {
                Operation::Square { shift, .. } => chosen(shift, elements),
                _ => Vec::new(),
            })
            .collect();
        let operations = self.steps[unit.steps.clone()].iter().zip(&shifts);
        let operations = operations.map(|(step, shift)| match &step.operation {
            Operation::Rescale { primes, .. } => Ok(RowOperation::Rescale { primes: *primes }),
            Operation::Relinearize { .. } => {
                let key = self.key.ok_or_else(|| missing_key(step))?;
                Ok(RowOperation::Relinearize { key })
            }
            _ => Ok(RowOperation::Square { shift }),
        });
        let operations: Vec<RowOperation<'_>> = operations.collect::<Result<_, Error>>()?;
        let source = first.operation.sources()[0];
        let limbs = self.steps[source].limbs;
        let input = self.take(pieces, source, &unit.reads[0], limbs, &unit.frees);
        let result = input.and_then(|input| self.context.apply_rows(input, &operations));
        let result = result.map_err(at(last))?;
        let scale = Scale::new(last.scale).map_err(at(last))?;
        Ok(Computed {
            piece: Piece::Expanded(result.ciphertexts.with_scale(scale)),
            shares: std::iter::once(0).chain(result.nanoseconds).collect(),
        })
    }

    /// A run of linear steps and squares, a few columns at a time.
    fn columns(
        &self,
        index: usize,
        unit: &Unit,
        pieces: &[Option<Piece>],
    ) -> Result<Computed<Piece>, Error> {
        let last = &self.steps[unit.last_step()];
        let constants = |(step, elements): (usize, &Vec<u32>)| match &self.steps[step].operation {
            Operation::Linear { bias: all, .. } | Operation::Square { shift: all, .. } => {
                chosen(all, elements)
            }
            _ => unreachable!("runs have column-local steps only"),
        };
        let steps = || unit.steps.clone();
        let constants: Vec<Vec<i128>> = steps().zip(&unit.elements).map(constants).collect();
        let mut maps = self.weights.maps[index].iter();
        let operation = |(step, constants): (usize, _)| match self.steps[step].terms() {
            [] => ColumnOperation::Square { shift: constants },
            [Term::Product { weight_scale, .. }, ..] => ColumnOperation::Linear {
                map: maps.next().expect("a linear step of products has one map"),
                weight_scale: *weight_scale,
                bias: constants,
            },
            [Term::Scaled { .. }, ..] => unreachable!("runs have products only"),
        };
        let with_constants = steps().zip(constants.iter().map(Vec::as_slice));
        let operations: Vec<ColumnOperation<'_>> = with_constants.map(operation).collect();
        let sources = self.steps[unit.steps.start].operation.sources();
        let rows;
        let source = match &pieces[0] {
            Some(Piece::Fresh(map)) if sources == [0] => ColumnSource::Seeded {
                map,
                rows: &unit.reads[0],
            },
            _ => {
                rows = sources
                    .iter()
                    .zip(&unit.reads)
                    .flat_map(|(&source, read)| self.rows(pieces, source, read))
                    .collect::<Vec<_>>();
                ColumnSource::Rows(&rows)
            }
        };
        let result = self
            .context
            .apply_columns(source, last.limbs, &operations)
            .map_err(at(last))?;
        let scale = Scale::new(last.scale).map_err(at(last))?;
        Ok(Computed {
            piece: Piece::Expanded(result.ciphertexts.with_scale(scale)),
            shares: result.nanoseconds,
        })
    }

    /// A linear step some of whose terms multiply every element by its own integer.
    fn sum_of_terms(
        &self,
        index: usize,
        unit: &Unit,
        terms: &[Term],
        bias: &[i128],
        pieces: &[Option<Piece>],
    ) -> Result<Ciphertexts, sordino_ckks::Error> {
        let step = &self.steps[unit.steps.start];
        let scale = Scale::new(step.scale)?;
        let mut maps = self.weights.maps[index].iter();
        let mut sum: Option<Ciphertexts> = None;
        for (term, read) in terms.iter().zip(&unit.reads) {
            let source = term.source();
            match term {
                Term::Product { weight_scale, .. } => {
                    let input = self.gather(pieces, source, read, step.limbs)?;
                    let map = maps.next().expect("every product has a map");
                    let product = self
                        .context
                        .linear(&input, map, *weight_scale)?
                        .with_scale(scale);
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
                    let factors = chosen(factors, unit.piece());
                    let input = self.gather(pieces, source, &rows, step.limbs)?;
                    match &mut sum {
                        Some(sum) => self.context.add_multiple_assign(sum, &input, &factors)?,
                        None => {
                            let scaled = self.context.multiply_integers(&input, &factors)?;
                            sum = Some(scaled.with_scale(scale));
                        }
                    }
                }
            }
        }
        let mut sum = sum.expect("plans are checked to have at least one term per linear step");
        self.context
            .add_constants(&mut sum, &chosen(bias, unit.piece()))?;
        Ok(sum)
    }

    /// Where some elements of a step's value are.
    fn rows<'p>(
        &self,
        pieces: &'p [Option<Piece>],
        step: usize,
        elements: &[u32],
    ) -> impl Iterator<Item = (&'p Ciphertexts, u32)> {
        elements.iter().map(move |&element| {
            let (unit, row) = self.weights.places[step][element as usize];
            (live(pieces, unit as usize).expanded(), row)
        })
    }

    fn gather(
        &self,
        pieces: &[Option<Piece>],
        step: usize,
        elements: &[u32],
        limbs: usize,
    ) -> Result<Ciphertexts, sordino_ckks::Error> {
        let rows = self
            .rows(pieces, step, elements)
            .map(|(map, row)| (map, row as usize));
        Ciphertexts::gather(&rows.collect::<Vec<_>>(), limbs)
    }

    /// Some elements of a step's value: the piece itself where they are all of it and it is among those that no later unit
    /// reads, else a copy.
    fn take(
        &self,
        pieces: &mut [Option<Piece>],
        step: usize,
        elements: &[u32],
        limbs: usize,
        freed: &[usize],
    ) -> Result<Ciphertexts, sordino_ckks::Error> {
        let places = &self.weights.places[step];
        let (unit, _) = places[elements[0] as usize];
        let in_order = |(row, &element): (u32, &u32)| places[element as usize] == (unit, row);
        let piece = &mut pieces[unit as usize];
        let whole = freed.contains(&(unit as usize))
            && matches!(piece, Some(Piece::Expanded(map)) if map.len() == elements.len())
            && (0..).zip(elements).all(in_order);
        if whole && let Some(Piece::Expanded(map)) = piece.take() {
            return Ok(map);
        }
        self.gather(pieces, step, elements, limbs)
    }
}

/// The values of some elements.
fn chosen<T: Copy>(all: &[T], elements: &[u32]) -> Vec<T> {
    let values = elements.iter().map(|&element| all[element as usize]);
    values.collect()
}

/// Whether a step needs an evaluation key, element-wise.
pub(crate) fn relinearizes(step: &Step) -> bool {
    matches!(step.operation, Operation::Relinearize { .. })
}

/// The error of a step that needs an evaluation key where there is none.
pub(crate) fn missing_key(step: &Step) -> Error {
    let step = step.name.clone();
    Error::MissingKey { step }
}

/// By step and element: the unit that makes it, and where it is in that unit's piece.
fn places(steps: &[Step], units: &[Unit]) -> Vec<Vec<(u32, u32)>> {
    let mut places: Vec<Vec<(u32, u32)>> = vec![Vec::new(); steps.len()];
    for (number, unit) in (0..).zip(units) {
        let places = &mut places[unit.last_step()];
        places.resize(steps[unit.last_step()].elements, (0, 0));
        for (row, &element) in (0..).zip(unit.piece()) {
            places[element as usize] = (number, row);
        }
    }
    places
}

/// Names the step in an error of the scheme.
pub(crate) fn at(step: &Step) -> impl Fn(sordino_ckks::Error) -> Error {
    let name = step.name.clone();
    move |reason| Error::Step {
        step: name.clone(),
        reason,
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
