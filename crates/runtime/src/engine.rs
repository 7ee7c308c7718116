//! The interface between a plan's steps and an arithmetic.

use std::ops::Range;

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

    /// Linear steps of one product and squares, each the only reader of the one before it, as one operation. `None`
    /// where the engine takes such steps one by one.
    ///
    /// # Errors
    /// When the source does not fit the first step.
    fn run(
        &self,
        _steps: &[Step],
        _run: Range<usize>,
        _source: &Self::Value,
    ) -> Result<Option<Run<Self::Value>>, Error> {
        Ok(None)
    }
}

/// The result of several steps, and what each took.
pub struct Run<Value> {
    /// The last step's value.
    pub value: Value,
    /// Wall time of reading the source, then of each step.
    pub seconds: Vec<f64>,
}

/// A finished step.
pub struct Finished<'a, Value> {
    /// Index of the step.
    pub step: usize,
    /// Its value; `None` inside a run of steps, where it only ever existed in parts.
    pub value: Option<&'a Value>,
    /// Wall time, where several steps ran together.
    pub seconds: Option<f64>,
}

/// The longest run that starts with a step, empty if it starts none: what [`Engine::run`] may be asked for.
fn run_from(steps: &[Step], last_reader: &[usize], start: usize) -> Range<usize> {
    let mut end = start;
    while end < steps.len() {
        let step = &steps[end];
        let source = match &step.operation {
            Operation::Square { source, .. } => *source,
            Operation::Linear { terms, .. } => match &terms[..] {
                [Term::Product { source, .. }] => *source,
                _ => break,
            },
            _ => break,
        };
        let joined =
            source + 1 == end && last_reader[source] == end && steps[source].limbs == step.limbs;
        if end > start && !joined {
            break;
        }
        end += 1;
    }
    start..end
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
    values[0] = Some(input);
    let mut index = 1;
    while index < steps.len() {
        let run = run_from(steps, &last_reader, index);
        if let Some(&source) = steps[index].operation.sources().first()
            && !run.is_empty()
            && let Some(Run { value, seconds }) =
                engine.run(steps, run.clone(), values[source].as_ref().expect(LIVE))?
        {
            if index == 1 {
                // The only value that the first step can read is the input.
                after(Finished {
                    step: 0,
                    value: None,
                    seconds: seconds.first().copied(),
                });
            }
            let last = run.end - 1;
            for (step, seconds) in run.zip(seconds.into_iter().skip(1)) {
                after(Finished {
                    step,
                    value: (step == last).then_some(&value),
                    seconds: Some(seconds),
                });
            }
            if last_reader[source] <= last {
                values[source] = None;
            }
            values[last] = Some(value);
            index = last + 1;
            continue;
        }
        if index == 1 {
            after(Finished {
                step: 0,
                value: values[0].as_ref(),
                seconds: None,
            });
        }
        let step = &steps[index];
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
            value: Some(&value),
            seconds: None,
        });
        values[index] = Some(value);
        index += 1;
    }
    Ok(values
        .pop()
        .flatten()
        .expect("a plan has at least one step"))
}

const LIVE: &str = "a value lives until its last reader";
