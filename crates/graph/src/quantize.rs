//! Rounding the weights of a folded network to integers.

use crate::{
    Error, Folded, FoldedOp, FoldedTile, Quantized, QuantizedNode, QuantizedOp, QuantizedTerm,
    QuantizedTile, Term,
};

/// How the weights of one linear map are rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightFormat {
    /// 8 or 16.
    pub bits: u8,
    /// The weight scale; by default the largest at which all weights fit.
    pub scale: Option<f64>,
}

impl WeightFormat {
    /// Largest magnitude of an integer weight of this many bits.
    ///
    /// 16-bit weights are computed as two signed bytes `hi * 256 + lo`; above 32,639 `hi` would not fit.
    pub const fn largest(bits: u8) -> Option<i16> {
        match bits {
            8 => Some(127),
            16 => Some(32_639),
            _ => None,
        }
    }
}

/// Rounds the weights of every linear map to 8 or 16 bits, at the largest scale at which all of its weights fit.
///
/// `bits` holds one number for every linear node of the network, in order; that of an exact sum has no effect.
///
/// # Errors
/// [`Error::Quantize`] for a list of another length and for other numbers of bits.
pub fn quantize(folded: &Folded, bits: &[u8]) -> Result<Quantized, Error> {
    let formats: Vec<WeightFormat> = bits
        .iter()
        .map(|&bits| WeightFormat { bits, scale: None })
        .collect();
    quantize_with(folded, &formats)
}

/// As [`quantize`], with weight scales that may be given.
///
/// # Errors
/// [`Error::Quantize`] as for [`quantize`], and for a scale at which a weight does not fit.
pub fn quantize_with(folded: &Folded, formats: &[WeightFormat]) -> Result<Quantized, Error> {
    let expected = folded.linear_nodes().count();
    if formats.len() != expected {
        return Err(Error::Quantize {
            what: format!(
                "expected a weight format for each of {expected} linear maps, found {}: give one a linear node",
                formats.len()
            ),
        });
    }
    let mut formats = formats.iter();
    let nodes = folded
        .nodes
        .iter()
        .map(|node| {
            let op = match &node.op {
                FoldedOp::Input => QuantizedOp::Input,
                FoldedOp::Square { source, shift } => QuantizedOp::Square {
                    source: *source,
                    shift: shift.clone(),
                },
                FoldedOp::Linear {
                    terms,
                    bias,
                    exact_sum,
                } => {
                    let format = formats.next().expect("one format a linear node");
                    quantize_linear(&node.name, terms, bias, *exact_sum, *format)?
                }
            };
            Ok(QuantizedNode {
                name: node.name.clone(),
                op,
                elements: node.elements,
            })
        })
        .collect::<Result<_, Error>>()?;
    Ok(Quantized { nodes })
}

fn quantize_linear(
    name: &str,
    terms: &[Term],
    bias: &[f64],
    exact_sum: bool,
    format: WeightFormat,
) -> Result<QuantizedOp, Error> {
    let wrong = |what: String| Error::Quantize {
        what: format!("node {name:?}: {what}"),
    };
    let bits = format.bits;
    let largest = WeightFormat::largest(bits)
        .ok_or_else(|| wrong(format!("expected 8 or 16 weight bits, found {bits}")))?;
    let largest_weight = terms
        .iter()
        .flat_map(tiles)
        .flat_map(|tile| &tile.weights)
        .fold(0.0, |most: f64, weight| most.max(weight.abs()));
    let weight_scale = match format.scale {
        _ if exact_sum || largest_weight == 0.0 => 1.0,
        None => f64::from(largest) / largest_weight,
        Some(scale) => {
            // Half a unit may be rounded away; a NaN scale fails too.
            let fits = scale > 0.0 && (scale * largest_weight).round() <= f64::from(largest);
            if !fits {
                return Err(wrong(format!(
                    "at the weight scale {scale} its largest weight {largest_weight} does not fit {bits} bits (at most {largest}): use a smaller scale or more bits"
                )));
            }
            scale
        }
    };
    let mut max_rounding_error: f64 = 0.0;
    let mut round = |weight: f64| {
        // The largest weight times its scale may come out a hair above the limit.
        let integer = (weight * weight_scale)
            .round()
            .clamp(-f64::from(largest), f64::from(largest));
        max_rounding_error = max_rounding_error.max((integer / weight_scale - weight).abs());
        integer as i16
    };
    let terms = terms
        .iter()
        .map(|term| match term {
            Term::Diagonal { source, factors } => QuantizedTerm::Diagonal {
                source: *source,
                factors: factors.clone(),
            },
            Term::Tiles { source, tiles } => QuantizedTerm::Tiles {
                source: *source,
                tiles: tiles
                    .iter()
                    .map(|tile| QuantizedTile {
                        outputs: tile.outputs.clone(),
                        inputs: tile.inputs.clone(),
                        weights: tile.weights.iter().map(|&weight| round(weight)).collect(),
                    })
                    .collect(),
            },
        })
        .collect();
    Ok(QuantizedOp::Linear {
        terms,
        bias: bias.to_vec(),
        exact_sum,
        bits,
        weight_scale,
        max_rounding_error,
    })
}

fn tiles(term: &Term) -> &[FoldedTile] {
    match term {
        Term::Tiles { tiles, .. } => tiles,
        Term::Diagonal { .. } => &[],
    }
}
