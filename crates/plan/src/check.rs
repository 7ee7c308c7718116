//! That the steps of a server plan follow from one another.

use std::fmt;

use sordino_ckks::Parameters;

use crate::steps::MAX_ELEMENTS;
use crate::{Error, Operation, Step, Term};

/// Most steps of a plan.
const MAX_STEPS: usize = 4096;

/// Checks the number of steps and of their elements.
pub(crate) fn check_counts(steps: &[Step]) -> Result<(), Error> {
    let within = |what: fmt::Arguments<'_>, found: usize, most: usize| {
        let good = (1..=most).contains(&found);
        Error::require(good, "server", what, format_args!("1 to {most}"), found)
    };
    within(format_args!("steps"), steps.len(), MAX_STEPS)?;
    steps.iter().enumerate().try_for_each(|(index, step)| {
        let what = format_args!("elements of step {index}");
        within(what, step.elements, MAX_ELEMENTS)
    })
}

/// Checks that steps read earlier steps and that shapes, components, limbs and scales follow from one another.
///
/// `plaintext_factor` is what products are multiplied by besides their integer weights: 1 element-wise.
pub(crate) fn check_steps(
    parameters: &Parameters,
    plaintext_factor: f64,
    steps: &[Step],
) -> Result<(), Error> {
    for (index, step) in steps.iter().enumerate() {
        let at = At(index);
        let (good, expected) = ((1.0..=1e60).contains(&step.scale), "1 to 1e60");
        at.require(good, "scale", expected, step.scale)?;
        let good = (index == 0) == matches!(step.operation, Operation::Input);
        let (expected, found) = ("input first and nowhere else", step.operation.kind());
        at.require(good, "operation", expected, found)?;
        let sources = step.operation.sources();
        for &source in &sources {
            at.require(
                source < index,
                "source",
                format_args!("below {index}"),
                source,
            )?;
        }
        let (components, limbs, scale) = match &step.operation {
            Operation::Input => (2, step.limbs, step.scale),
            Operation::Linear { terms, .. } => at.linear(steps, terms, plaintext_factor)?,
            Operation::Square { source, .. } => {
                let source = &steps[*source];
                at.equal("components read", 2, source.components)?;
                (3, source.limbs, source.scale * source.scale)
            }
            Operation::Relinearize { source } => {
                let source = &steps[*source];
                let good = source.components == 3 && parameters.gadget().is_some();
                let expected = "three components and a gadget";
                at.require(good, "relinearization", expected, source.components)?;
                (2, source.limbs, source.scale)
            }
            Operation::Rescale { source, primes } => {
                let source = &steps[*source];
                let good = (1..source.limbs).contains(primes);
                let expected = format_args!("1 to {}", source.limbs - 1);
                at.require(good, "primes dropped", expected, primes)?;
                let left = source.limbs - primes;
                let dropped = parameters.primes()[left..source.limbs].iter();
                let divisor: f64 = dropped.map(|&q| q as f64).product();
                (source.components, left, source.scale / divisor)
            }
        };
        match step.operation {
            Operation::Input | Operation::Linear { .. } => {}
            _ => at.equal("elements", steps[sources[0]].elements, step.elements)?,
        }
        at.equal("components", components, step.components)?;
        at.equal("limbs", limbs, step.limbs)?;
        let good = (step.scale / scale - 1.0).abs() <= 1e-9;
        at.require(good, "scale", scale, step.scale)?;
    }
    Ok(())
}

/// The index of the step that is checked.
struct At(usize);

impl At {
    fn require(
        &self,
        good: bool,
        what: &str,
        expected: impl ToString,
        found: impl ToString,
    ) -> Result<(), Error> {
        let what = format_args!("{what} of step {}", self.0);
        Error::require(good, "server", what, expected, found)
    }

    fn equal(&self, what: &str, expected: usize, found: usize) -> Result<(), Error> {
        self.require(expected == found, what, expected, found)
    }

    /// Components, limbs and scale of a sum of terms.
    fn linear(
        &self,
        steps: &[Step],
        terms: &[Term],
        plaintext_factor: f64,
    ) -> Result<(usize, usize, f64), Error> {
        self.require(!terms.is_empty(), "terms", "at least one", "none")?;
        for term in terms {
            let elements = steps[term.source()].elements;
            let rows = match term {
                Term::Product { map, .. } => map.input_rows() == elements,
                Term::Scaled { factors, .. } => factors.iter().skip(elements).all(|&f| f == 0),
            };
            self.require(rows, "elements read", elements, "another number")?;
        }
        let sources = || terms.iter().map(|term| &steps[term.source()]);
        let components = sources().map(|s| s.components).max().unwrap_or(2);
        let limbs = sources().map(|s| s.limbs).min().unwrap_or(1);
        let scale = match &terms[0] {
            Term::Product {
                source,
                weight_scale,
                ..
            } => steps[*source].scale * weight_scale * plaintext_factor,
            // Factors are rounded at whatever scale the sum has.
            Term::Scaled { .. } => steps[self.0].scale,
        };
        Ok((components, limbs, scale))
    }
}
