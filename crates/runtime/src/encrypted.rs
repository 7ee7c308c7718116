//! The encrypted engine: the plan's integers on ciphertexts.

use std::collections::HashMap;

use sordino_ckks::{Ciphertexts, Context, EvaluationKey, Scale};
use sordino_plan::{Operation, ServerPlan, Step, Term};
use sordino_ring::linear::PreparedLinearMap;

use crate::{Engine, Error};

/// Evaluates steps on ciphertexts of one parameter set.
#[derive(Debug)]
pub struct EncryptedEngine<'a> {
    context: &'a Context,
    key: Option<&'a EvaluationKey>,
    /// Packed weights, by step and term.
    maps: HashMap<(usize, usize), PreparedLinearMap>,
}

impl<'a> EncryptedEngine<'a> {
    /// Packs the weights of a plan for the context's backend.
    ///
    /// # Errors
    /// [`Error::Parameters`] when context or key belong to other parameters than the plan, [`Error::MissingKey`]
    /// when the plan relinearizes and there is no key.
    pub fn new(
        plan: &ServerPlan,
        context: &'a Context,
        key: Option<&'a EvaluationKey>,
    ) -> Result<Self, Error> {
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
        let mut maps = HashMap::new();
        for (index, step) in plan.steps().iter().enumerate() {
            match &step.operation {
                Operation::Linear { terms, .. } => {
                    for (position, term) in terms.iter().enumerate() {
                        if let Term::Product { map, .. } = term {
                            maps.insert((index, position), map.prepare(context.backend()));
                        }
                    }
                }
                Operation::Relinearize { .. } if key.is_none() => {
                    return Err(Error::MissingKey {
                        step: step.name.clone(),
                    });
                }
                _ => {}
            }
        }
        Ok(EncryptedEngine { context, key, maps })
    }

    /// The source with the limbs of the step, copied only where it has more.
    fn at_limbs(
        &self,
        source: &Ciphertexts,
        limbs: usize,
    ) -> Result<Option<Ciphertexts>, sordino_ckks::Error> {
        if source.limbs() == limbs {
            return Ok(None);
        }
        self.context
            .drop_limbs(source.clone(), source.limbs() - limbs)
            .map(Some)
    }

    fn add_term(
        &self,
        (index, position): (usize, usize),
        step: &Step,
        term: &Term,
        source: &Ciphertexts,
        sum: Option<Ciphertexts>,
    ) -> Result<Ciphertexts, sordino_ckks::Error> {
        let cut = self.at_limbs(source, step.limbs)?;
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

impl Engine for EncryptedEngine<'_> {
    type Value = Ciphertexts;

    fn linear(
        &self,
        index: usize,
        step: &Step,
        terms: &[Term],
        sources: &[&Ciphertexts],
        bias: &[i128],
    ) -> Result<Ciphertexts, Error> {
        let at = at(step);
        let mut sum = None;
        for (position, (term, source)) in terms.iter().zip(sources).enumerate() {
            sum = Some(
                self.add_term((index, position), step, term, source, sum)
                    .map_err(&at)?,
            );
        }
        let mut sum = sum.expect("plans are checked to have at least one term a linear step");
        self.context.add_constants(&mut sum, bias).map_err(&at)?;
        Ok(sum)
    }

    fn square(
        &self,
        step: &Step,
        source: Ciphertexts,
        shift: &[i128],
    ) -> Result<Ciphertexts, Error> {
        self.context.square_shifted(source, shift).map_err(at(step))
    }

    fn relinearize(&self, step: &Step, source: Ciphertexts) -> Result<Ciphertexts, Error> {
        let key = self.key.ok_or_else(|| Error::MissingKey {
            step: step.name.clone(),
        })?;
        self.context.relinearize(source, key).map_err(at(step))
    }

    fn rescale(
        &self,
        step: &Step,
        source: Ciphertexts,
        primes: usize,
    ) -> Result<Ciphertexts, Error> {
        self.context.rescale(source, primes).map_err(at(step))
    }

    fn duplicate(&self, value: &Ciphertexts) -> Ciphertexts {
        value.clone()
    }
}

/// Names the step in an error of the scheme.
fn at(step: &Step) -> impl Fn(sordino_ckks::Error) -> Error {
    let name = step.name.clone();
    move |source| Error::Step {
        step: name.clone(),
        source,
    }
}
