//! The interface between a plan's steps and an arithmetic.

use sordino_plan::{Operation, Step, Term};

use crate::Error;

/// Arithmetic on feature maps: what the steps of a plan are made of.
pub trait Engine {
    /// A feature map.
    type Value;

    /// Sum of the terms, each over its own source, plus the bias.
    ///
    /// # Errors
    /// When a source does not fit the step.
    fn linear(
        &self,
        index: usize,
        step: &Step,
        terms: &[Term],
        sources: &[&Self::Value],
        bias: &[i128],
    ) -> Result<Self::Value, Error>;

    /// x·(x + r), element by element.
    ///
    /// # Errors
    /// When the source does not fit the step.
    fn square(
        &self,
        index: usize,
        step: &Step,
        source: Self::Value,
        shift: &[i128],
    ) -> Result<Self::Value, Error>;

    /// From three components to two, where the engine has components.
    ///
    /// # Errors
    /// When there is no evaluation key, or the source does not fit the step.
    fn relinearize(&self, step: &Step, source: Self::Value) -> Result<Self::Value, Error>;

    /// Division by the last `primes` primes of the chain, rounded.
    ///
    /// # Errors
    /// When the source does not fit the step.
    fn rescale(
        &self,
        step: &Step,
        source: Self::Value,
        primes: usize,
    ) -> Result<Self::Value, Error>;

    /// A second copy of a value that another step will consume.
    fn duplicate(&self, value: &Self::Value) -> Self::Value;
}

/// A finished step.
pub struct Finished<'a, Value> {
    /// Index of the step.
    pub step: usize,
    /// Its value.
    pub value: &'a Value,
}

/// Runs all steps on one block and returns the last value; `after` hears of every finished step.
///
/// Values are dropped after their last reader.
///
/// # Errors
/// Those of the engine.
pub fn walk<E: Engine>(
    engine: &E,
    steps: &[Step],
    input: E::Value,
    mut after: impl FnMut(Finished<'_, E::Value>),
) -> Result<E::Value, Error> {
    let last_reader = sordino_plan::last_readers(steps);
    let mut values: Vec<Option<E::Value>> = steps.iter().map(|_| None).collect();
    after(Finished {
        step: 0,
        value: &input,
    });
    values[0] = Some(input);
    for (index, step) in steps.iter().enumerate().skip(1) {
        // The one source of a unary step is consumed when nobody else needs it.
        let mut take = |source: usize| -> E::Value {
            let held = if last_reader[source] == index {
                values[source].take()
            } else {
                None
            };
            held.unwrap_or_else(|| engine.duplicate(values[source].as_ref().expect(LIVE)))
        };
        let value = match &step.operation {
            Operation::Input => unreachable!("plans are checked to have one input, first"),
            Operation::Square { source, shift } => {
                engine.square(index, step, take(*source), shift)?
            }
            Operation::Relinearize { source } => engine.relinearize(step, take(*source))?,
            Operation::Rescale { source, primes } => {
                engine.rescale(step, take(*source), *primes)?
            }
            Operation::Linear { terms, bias } => {
                let sources: Vec<&E::Value> = terms
                    .iter()
                    .map(|t| values[t.source()].as_ref().expect(LIVE))
                    .collect();
                engine.linear(index, step, terms, &sources, bias)?
            }
        };
        for source in step.operation.sources() {
            if last_reader[source] == index {
                values[source] = None;
            }
        }
        after(Finished {
            step: index,
            value: &value,
        });
        values[index] = Some(value);
    }
    Ok(values
        .pop()
        .flatten()
        .expect("a plan has at least one step"))
}

const LIVE: &str = "a value lives until its last reader";
