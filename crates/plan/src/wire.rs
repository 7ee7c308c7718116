//! The steps of a server plan as bytes: descriptions in the metadata, numbers in the payload.

use serde::{Deserialize, Serialize};
use sordino_container::{Builder, Reader};
use sordino_ring::linear::{LinearMap, Tile, WeightWidth};

use crate::parts::ServerRecord;
use crate::{Error, Operation, Step, Term};

/// Most elements of a feature map.
pub(crate) const MAX_ELEMENTS: usize = 1 << 22;
/// Most steps of a plan.
const MAX_STEPS: usize = 4096;

/// A step without its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepRecord {
    pub name: String,
    pub operation: OperationRecord,
    pub elements: usize,
    pub components: usize,
    pub limbs: usize,
    pub scale: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rms_noise: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum OperationRecord {
    Input,
    Linear { terms: Vec<TermRecord> },
    Square { source: usize },
    Relinearize { source: usize },
    Rescale { source: usize, primes: usize },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum TermRecord {
    Product {
        source: usize,
        inputs: usize,
        wide: bool,
        weight_scale: f64,
    },
    Scaled {
        source: usize,
    },
}

pub(crate) fn describe(steps: &[Step]) -> Vec<StepRecord> {
    let term = |term: &Term| match term {
        Term::Product {
            source,
            map,
            weight_scale,
        } => TermRecord::Product {
            source: *source,
            inputs: map.input_rows(),
            wide: map.weight_width() == WeightWidth::Sixteen,
            weight_scale: *weight_scale,
        },
        Term::Scaled { source, .. } => TermRecord::Scaled { source: *source },
    };
    let operation = |operation: &Operation| match operation {
        Operation::Input => OperationRecord::Input,
        Operation::Linear { terms, .. } => OperationRecord::Linear {
            terms: terms.iter().map(term).collect(),
        },
        Operation::Square { source, .. } => OperationRecord::Square { source: *source },
        Operation::Relinearize { source } => OperationRecord::Relinearize { source: *source },
        Operation::Rescale { source, primes } => OperationRecord::Rescale {
            source: *source,
            primes: *primes,
        },
    };
    steps
        .iter()
        .map(|step| StepRecord {
            name: step.name.clone(),
            operation: operation(&step.operation),
            elements: step.elements,
            components: step.components,
            limbs: step.limbs,
            scale: step.scale,
            rms_noise: step.rms_noise,
        })
        .collect()
}

pub(crate) fn encode_steps(steps: &[Step], out: &mut Builder) {
    for step in steps {
        match &step.operation {
            Operation::Linear { terms, bias } => {
                for term in terms {
                    encode_term(out, term);
                }
                out.vec_i128(bias);
            }
            Operation::Square { shift, .. } => {
                out.vec_i128(shift);
            }
            Operation::Input | Operation::Relinearize { .. } | Operation::Rescale { .. } => {}
        }
    }
}

fn encode_term(out: &mut Builder, term: &Term) {
    match term {
        Term::Scaled { factors, .. } => {
            out.vec_i64(factors);
        }
        Term::Product { map, .. } => {
            out.count(map.tiles().len());
            for tile in map.tiles() {
                out.count(tile.outputs.len()).vec_u32(&tile.outputs);
                out.count(tile.inputs.len()).vec_u32(&tile.inputs);
                match map.weight_width() {
                    WeightWidth::Sixteen => out.vec_i16(&tile.weights),
                    // Weights of 8 bits are checked by the map's constructor.
                    WeightWidth::Eight => {
                        out.vec_i8(&tile.weights.iter().map(|&w| w as i8).collect::<Vec<_>>())
                    }
                };
            }
        }
    }
}

pub(crate) fn decode_steps(
    records: &[StepRecord],
    reader: &mut Reader<'_>,
) -> Result<Vec<Step>, Error> {
    if records.is_empty() || records.len() > MAX_STEPS {
        return Err(Error::malformed(
            "server",
            "steps",
            format!("1 to {MAX_STEPS}"),
            records.len(),
        ));
    }
    let mut steps = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        if record.elements == 0 || record.elements > MAX_ELEMENTS {
            let what = format!("elements of step {index}");
            return Err(Error::malformed(
                "server",
                what,
                format!("1 to {MAX_ELEMENTS}"),
                record.elements,
            ));
        }
        let operation = match &record.operation {
            OperationRecord::Input => Operation::Input,
            OperationRecord::Linear { terms } => {
                let decode = |term| decode_term(reader, record, term);
                let terms = terms.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
                Operation::Linear {
                    terms,
                    bias: reader.vec_i128(record.elements)?,
                }
            }
            OperationRecord::Square { source } => Operation::Square {
                source: *source,
                shift: reader.vec_i128(record.elements)?,
            },
            OperationRecord::Relinearize { source } => Operation::Relinearize { source: *source },
            OperationRecord::Rescale { source, primes } => Operation::Rescale {
                source: *source,
                primes: *primes,
            },
        };
        steps.push(Step {
            name: record.name.clone(),
            operation,
            elements: record.elements,
            components: record.components,
            limbs: record.limbs,
            scale: record.scale,
            rms_noise: record.rms_noise,
        });
    }
    Ok(steps)
}

fn decode_term(
    reader: &mut Reader<'_>,
    step: &StepRecord,
    record: &TermRecord,
) -> Result<Term, Error> {
    match record {
        TermRecord::Scaled { source } => Ok(Term::Scaled {
            source: *source,
            factors: reader.vec_i64(step.elements)?,
        }),
        TermRecord::Product {
            source,
            inputs,
            wide,
            weight_scale,
        } => {
            let width = if *wide {
                WeightWidth::Sixteen
            } else {
                WeightWidth::Eight
            };
            // A tile takes 16 bytes of counts at least.
            let count = reader.count(16)?;
            let mut tiles = Vec::with_capacity(count);
            for _ in 0..count {
                let outputs = reader.count(4).and_then(|n| reader.vec_u32(n))?;
                let inputs = reader.count(4).and_then(|n| reader.vec_u32(n))?;
                let weights = outputs.len().saturating_mul(inputs.len());
                let weights = match width {
                    WeightWidth::Sixteen => reader.vec_i16(weights)?,
                    WeightWidth::Eight => {
                        reader.vec_i8(weights)?.into_iter().map(i16::from).collect()
                    }
                };
                tiles.push(Tile {
                    outputs,
                    inputs,
                    weights,
                });
            }
            let map = LinearMap::new(*inputs, step.elements, width, tiles).map_err(|source| {
                Error::Weights {
                    step: step.name.clone(),
                    source,
                }
            })?;
            Ok(Term::Product {
                source: *source,
                map,
                weight_scale: *weight_scale,
            })
        }
    }
}

/// Checks that steps read earlier steps and that shapes, components, limbs and scales follow from one another.
pub(crate) fn check_steps(record: &ServerRecord, steps: &[Step]) -> Result<(), Error> {
    let wrong = |index: usize, what: &str, expected: String, found: String| {
        Err(Error::malformed(
            "server",
            format!("{what} of step {index}"),
            expected,
            found,
        ))
    };
    for (index, step) in steps.iter().enumerate() {
        if !(step.scale.is_finite() && (1.0..=1e60).contains(&step.scale)) {
            return wrong(index, "scale", "1 to 1e60".into(), step.scale.to_string());
        }
        if (index == 0) != matches!(step.operation, Operation::Input) {
            return wrong(
                index,
                "operation",
                "input first and nowhere else".into(),
                step.operation.kind().into(),
            );
        }
        if let Some(&source) = step
            .operation
            .sources()
            .iter()
            .find(|&&source| source >= index)
        {
            return wrong(
                index,
                "source",
                format!("below {index}"),
                source.to_string(),
            );
        }
        let (elements, components, limbs, scale) = expected(record, steps, index)?;
        if step.elements != elements {
            return wrong(
                index,
                "elements",
                elements.to_string(),
                step.elements.to_string(),
            );
        }
        if step.components != components {
            return wrong(
                index,
                "components",
                components.to_string(),
                step.components.to_string(),
            );
        }
        if step.limbs != limbs {
            return wrong(index, "limbs", limbs.to_string(), step.limbs.to_string());
        }
        if (step.scale / scale - 1.0).abs() > 1e-9 {
            return wrong(index, "scale", scale.to_string(), step.scale.to_string());
        }
    }
    let last = &steps[steps.len() - 1];
    let output = &record.output;
    if (last.elements, last.components, last.limbs, last.scale)
        != (output.logits, output.components, output.limbs, output.scale)
    {
        return wrong(
            steps.len() - 1,
            "layout",
            format!("{output:?}"),
            format!("{last:?}", last = describe(&steps[steps.len() - 1..])),
        );
    }
    Ok(())
}

/// Elements, components, limbs and scale that a step must have, from its sources. Sources are earlier steps.
fn expected(
    record: &ServerRecord,
    steps: &[Step],
    index: usize,
) -> Result<(usize, usize, usize, f64), Error> {
    let wrong = |what: &str, expected: String, found: String| {
        Err(Error::malformed(
            "server",
            format!("{what} of step {index}"),
            expected,
            found,
        ))
    };
    let bits = record
        .channel
        .as_ref()
        .map_or(0, |channel| channel.plaintext_bits);
    let plaintext_factor = f64::from(bits).exp2();
    let step = &steps[index];
    match &step.operation {
        Operation::Input => Ok((
            record.input.features,
            2,
            record.input.limbs,
            record.input.scale,
        )),
        Operation::Linear { terms, .. } => {
            let Some(first) = terms.first() else {
                return wrong("terms", "at least one".into(), "none".into());
            };
            for term in terms {
                let source = &steps[term.source()];
                let rows = match term {
                    Term::Product { map, .. } => map.input_rows() == source.elements,
                    Term::Scaled { factors, .. } => {
                        factors.iter().skip(source.elements).all(|&f| f == 0)
                    }
                };
                if !rows {
                    return wrong(
                        "elements read",
                        source.elements.to_string(),
                        "another number".into(),
                    );
                }
            }
            let sources = || terms.iter().map(|term| &steps[term.source()]);
            let components = sources().map(|s| s.components).max().unwrap_or(2);
            let limbs = sources().map(|s| s.limbs).min().unwrap_or(1);
            let scale = match first {
                Term::Product {
                    source,
                    weight_scale,
                    ..
                } => steps[*source].scale * weight_scale * plaintext_factor,
                // Factors are rounded at whatever scale the sum has.
                Term::Scaled { .. } => step.scale,
            };
            Ok((step.elements, components, limbs, scale))
        }
        Operation::Square { source, .. } => {
            let source = &steps[*source];
            if source.components != 2 {
                return wrong("components read", "2".into(), source.components.to_string());
            }
            Ok((
                source.elements,
                3,
                source.limbs,
                source.scale * source.scale,
            ))
        }
        Operation::Relinearize { source } => {
            let source = &steps[*source];
            if source.components != 3 || record.parameters.gadget().is_none() {
                return wrong(
                    "relinearization",
                    "three components and a gadget".into(),
                    source.components.to_string(),
                );
            }
            Ok((source.elements, 2, source.limbs, source.scale))
        }
        Operation::Rescale { source, primes } => {
            let source = &steps[*source];
            if *primes == 0 || *primes >= source.limbs {
                return wrong(
                    "primes dropped",
                    format!("1 to {}", source.limbs - 1),
                    primes.to_string(),
                );
            }
            let left = source.limbs - primes;
            let chain = record.parameters.primes();
            let divisor: f64 = chain[left..source.limbs]
                .iter()
                .map(|&q| q as f64)
                .product();
            Ok((
                source.elements,
                source.components,
                left,
                source.scale / divisor,
            ))
        }
    }
}
