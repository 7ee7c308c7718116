//! The encrypted engine: the plan's integers on ciphertexts.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use sordino_ckks::{
    Ciphertexts, ColumnOperation, ColumnSource, Context, EvaluationKey, Scale, SeededCiphertexts,
};
use sordino_plan::{Operation, ServerPlan, Step, Term};
use sordino_ring::linear::PreparedLinearMap;

use crate::{Engine, Error, Run};

/// The packed weights of an element-wise plan, by step and term.
#[derive(Debug)]
pub struct PackedWeights {
    maps: HashMap<(usize, usize), PreparedLinearMap>,
}

impl PackedWeights {
    /// Packs the weights of a plan for the context's backend.
    pub fn new(plan: &ServerPlan, context: &Context) -> Self {
        let mut maps = HashMap::new();
        for (index, step) in plan.steps().iter().enumerate() {
            if let Operation::Linear { terms, .. } = &step.operation {
                for (position, term) in terms.iter().enumerate() {
                    if let Term::Product { map, .. } = term {
                        maps.insert((index, position), map.prepare(context.backend()));
                    }
                }
            }
        }
        Self { maps }
    }
}

/// Evaluates the steps of an element-wise plan on ciphertexts.
#[derive(Debug)]
pub struct EncryptedEngine<'a> {
    context: &'a Context,
    key: Option<&'a EvaluationKey>,
    maps: &'a HashMap<(usize, usize), PreparedLinearMap>,
}

impl<'a> EncryptedEngine<'a> {
    /// An engine for a plan's weights and a client's key.
    ///
    /// # Errors
    /// [`Error::MissingKey`] when the plan relinearizes and there is no key.
    pub fn new(
        plan: &ServerPlan,
        weights: &'a PackedWeights,
        context: &'a Context,
        key: Option<&'a EvaluationKey>,
    ) -> Result<Self, Error> {
        let relinearizes = |step: &&Step| matches!(step.operation, Operation::Relinearize { .. });
        match plan.steps().iter().find(relinearizes) {
            Some(step) if key.is_none() => Err(Error::MissingKey {
                step: step.name.clone(),
            }),
            _ => Ok(EncryptedEngine {
                context,
                key,
                maps: &weights.maps,
            }),
        }
    }

    fn add_term(
        &self,
        (index, position): (usize, usize),
        step: &Step,
        term: &Term,
        source: &Ciphertexts,
        sum: Option<Ciphertexts>,
    ) -> Result<Ciphertexts, sordino_ckks::Error> {
        let cut = at_limbs(self.context, source, step.limbs)?;
        let source = cut.as_ref().unwrap_or(source);
        let scale = Scale::new(step.scale)?;
        match term {
            Term::Product { weight_scale, .. } => {
                let product = self
                    .context
                    .linear(source, &self.maps[&(index, position)], *weight_scale)?
                    .with_scale(scale);
                match sum {
                    None => Ok(product),
                    Some(sum) => self.context.add(&sum, &product),
                }
            }
            Term::Scaled { factors, .. } => {
                // Elements that the source lacks have factor 0: any row serves.
                let rows: Vec<usize> = (0..step.elements)
                    .map(|row| row.min(source.len() - 1))
                    .collect();
                let selected = (source.len() != step.elements)
                    .then(|| source.select(&rows))
                    .transpose()?;
                let source = selected.as_ref().unwrap_or(source);
                match sum {
                    None => Ok(self
                        .context
                        .multiply_integers(source, factors)?
                        .with_scale(scale)),
                    Some(mut sum) => {
                        self.context
                            .add_multiple_assign(&mut sum, source, factors)?;
                        Ok(sum)
                    }
                }
            }
        }
    }
}

/// A feature map under encryption.
#[derive(Clone, Debug)]
pub enum FeatureMap {
    /// As it came: the uniform half is still a seed.
    Seeded(SeededCiphertexts),
    /// All components.
    Expanded(Ciphertexts),
}

impl FeatureMap {
    /// All components.
    fn expanded(self, context: &Context) -> Result<Ciphertexts, sordino_ckks::Error> {
        match self {
            FeatureMap::Seeded(fresh) => fresh.expand(context),
            FeatureMap::Expanded(value) => Ok(value),
        }
    }
}

impl Engine for EncryptedEngine<'_> {
    type Value = FeatureMap;

    fn linear(
        &self,
        index: usize,
        step: &Step,
        terms: &[Term],
        sources: &[&FeatureMap],
        bias: &[i128],
    ) -> Result<FeatureMap, Error> {
        let at = at(step);
        let mut sum = None;
        for (position, (term, source)) in terms.iter().zip(sources).enumerate() {
            let expanded;
            let source = match source {
                FeatureMap::Expanded(source) => source,
                FeatureMap::Seeded(fresh) => {
                    expanded = fresh.clone().expand(self.context).map_err(&at)?;
                    &expanded
                }
            };
            sum = Some(
                self.add_term((index, position), step, term, source, sum)
                    .map_err(&at)?,
            );
        }
        let mut sum = sum.expect("plans are checked to have at least one term a linear step");
        self.context.add_constants(&mut sum, bias).map_err(&at)?;
        Ok(FeatureMap::Expanded(sum))
    }

    fn square(
        &self,
        _: usize,
        step: &Step,
        source: FeatureMap,
        shift: &[i128],
    ) -> Result<FeatureMap, Error> {
        let square = |source: FeatureMap| {
            self.context
                .square_shifted(source.expanded(self.context)?, shift)
        };
        square(source).map(FeatureMap::Expanded).map_err(at(step))
    }

    fn relinearize(&self, step: &Step, source: FeatureMap) -> Result<FeatureMap, Error> {
        let key = self.key.ok_or_else(|| Error::MissingKey {
            step: step.name.clone(),
        })?;
        let relinearize = |source: FeatureMap| {
            self.context
                .relinearize(source.expanded(self.context)?, key)
        };
        relinearize(source)
            .map(FeatureMap::Expanded)
            .map_err(at(step))
    }

    fn rescale(&self, step: &Step, source: FeatureMap, primes: usize) -> Result<FeatureMap, Error> {
        let rescale =
            |source: FeatureMap| self.context.rescale(source.expanded(self.context)?, primes);
        rescale(source).map(FeatureMap::Expanded).map_err(at(step))
    }

    fn run(
        &self,
        steps: &[Step],
        run: Range<usize>,
        source: &FeatureMap,
    ) -> Result<Option<Run<FeatureMap>>, Error> {
        let last = &steps[run.end - 1];
        let operations: Vec<ColumnOperation<'_>> = run
            .clone()
            .map(|index| match &steps[index].operation {
                Operation::Linear { terms, bias } => ColumnOperation::Linear {
                    map: &self.maps[&(index, 0)],
                    weight_scale: match terms[0] {
                        Term::Product { weight_scale, .. } => weight_scale,
                        Term::Scaled { .. } => unreachable!("runs have products only"),
                    },
                    bias,
                },
                Operation::Square { shift, .. } => ColumnOperation::Square { shift },
                _ => unreachable!("runs have column-local steps only"),
            })
            .collect();
        let source = match source {
            FeatureMap::Seeded(fresh) => ColumnSource::Seeded(fresh),
            FeatureMap::Expanded(value) => ColumnSource::Expanded(value),
        };
        let start = Instant::now();
        let result = self
            .context
            .apply_columns(source, last.limbs, &operations)
            .map_err(at(last))?;
        let seconds = start.elapsed().as_secs_f64();
        // The threads' times, scaled to the wall's.
        let all: u64 = result.nanoseconds.iter().sum();
        let share = seconds / all.max(1) as f64;
        let scale = Scale::new(last.scale).map_err(at(last))?;
        Ok(Some(Run {
            value: FeatureMap::Expanded(result.ciphertexts.with_scale(scale)),
            seconds: result
                .nanoseconds
                .iter()
                .map(|&spent| spent as f64 * share)
                .collect(),
        }))
    }

    fn duplicate(&self, value: &FeatureMap) -> FeatureMap {
        value.clone()
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
