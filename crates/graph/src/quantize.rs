//! Rounding the weights of a folded network to integers.

use crate::{Error, Folded, FoldedNode, FoldedOp, Linear, Quantized, Term, Tile};

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

/// Rounds the weights of every linear map to 8 or 16 bits, by default at the largest scale at which all of them fit.
///
/// `formats` holds one format for every linear node of the network, in order; that of an exact sum has no effect.
///
/// # Errors
/// [`Error::Quantize`] for a list of another length, for other numbers of bits, and for a scale at which a weight does
/// not fit.
pub fn quantize(folded: &Folded, formats: &[WeightFormat]) -> Result<Quantized, Error> {
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
    let quantized = |node: &FoldedNode| {
        let op = match &node.op {
            FoldedOp::Input => FoldedOp::Input,
            FoldedOp::Square { source, shift } => FoldedOp::Square {
                source: *source,
                shift: shift.clone(),
            },
            FoldedOp::Linear(linear) => {
                let format = formats.next().expect("one format a linear node");
                FoldedOp::Linear(quantize_linear(&node.name, linear, *format)?)
            }
        };
        Ok(FoldedNode {
            name: node.name.clone(),
            op,
            elements: node.elements,
        })
    };
    let nodes = folded
        .nodes
        .iter()
        .map(quantized)
        .collect::<Result<_, Error>>()?;
    Ok(Folded { nodes })
}

fn quantize_linear(
    name: &str,
    linear: &Linear,
    format: WeightFormat,
) -> Result<Linear<i16>, Error> {
    let wrong = |what: String| Error::Quantize {
        what: format!("node {name:?}: {what}"),
    };
    let bits = format.bits;
    let largest = WeightFormat::largest(bits)
        .ok_or_else(|| wrong(format!("expected 8 or 16 weight bits, found {bits}")))?;
    let tiles = linear.terms.iter().flat_map(Term::tiles);
    let largest_weight = tiles
        .flat_map(|tile| &tile.weights)
        .fold(0.0, |most: f64, weight| most.max(weight.abs()));
    let weight_scale = match format.scale {
        _ if linear.exact_sum || largest_weight == 0.0 => 1.0,
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
    // The largest weight times its scale may come out a hair above the limit.
    let limit = f64::from(largest);
    let round = |weight: &f64| (weight * weight_scale).round().clamp(-limit, limit) as i16;
    let terms = linear.terms.iter().map(|term| match term {
        Term::Diagonal { source, factors } => Term::Diagonal {
            source: *source,
            factors: factors.clone(),
        },
        Term::Tiles { source, tiles } => {
            let tiles = tiles.iter().map(|tile| Tile {
                outputs: tile.outputs.clone(),
                inputs: tile.inputs.clone(),
                weights: tile.weights.iter().map(round).collect(),
            });
            Term::Tiles {
                source: *source,
                tiles: tiles.collect(),
            }
        }
    });
    Ok(Linear {
        terms: terms.collect(),
        bias: linear.bias.clone(),
        exact_sum: linear.exact_sum,
        weight_scale,
    })
}
