//! From the winning sketch to steps: every constant rounded at the scale it is used at.

use sordino_graph::{
    Folded, FoldedNode, FoldedOp, Quantized, Term as FoldedTerm, Tile as FoldedTile,
};
use sordino_ring::linear::{LinearMap, Tile, WeightWidth};

use crate::modulus::SizedSketch;
use crate::network::NodeInfo;
use crate::primes::Chain;
use crate::sketch::{SketchKind, SketchOperation};
use crate::{Error, Operation, Step, Term};

/// Integers of a plan stay below this many bits, so that the clear engine's 128-bit integers never wrap.
const INTEGER_BITS: u32 = 120;
/// Factors of residual branches are 64-bit integers.
const FACTOR_BITS: u32 = 62;

/// The steps of a sketch that was drawn with the divisors of `chain`; `plaintext_factor` is 1 element-wise.
///
/// # Errors
/// [`Error::Overflow`] for constants or values that no integer of the plan holds, [`Error::Weights`] for matrices
/// that the kernels do not take.
pub(crate) fn steps(
    sized: &SizedSketch<'_>,
    chain: &Chain,
    folded: &Folded,
    quantized: &Quantized,
    plaintext_factor: f64,
) -> Result<Vec<Step>, Error> {
    let (network, sketch) = (sized.network, sized.sketch);
    let mut steps: Vec<Step> = Vec::with_capacity(sketch.operations.len());
    for op in &sketch.operations {
        let rounding = Rounding {
            info: &network.nodes[op.node],
            folded: &folded.nodes[op.node],
            quantized: &quantized.nodes[op.node],
            op,
            steps: &steps,
            plaintext_factor,
        };
        let operation = match op.kind {
            SketchKind::Input => Operation::Input,
            SketchKind::Linear => rounding.linear()?,
            SketchKind::Square => rounding.square()?,
            SketchKind::Relinearize => Operation::Relinearize {
                source: op.sources[0],
            },
            SketchKind::Rescale => Operation::Rescale {
                source: op.sources[0],
                primes: chain.group_sizes[op.dropped - 1],
            },
        };
        rounding.fits("the value", op.scale * rounding.info.max_abs, INTEGER_BITS)?;
        steps.push(Step {
            name: rounding.info.name.clone(),
            operation,
            elements: rounding.info.elements,
            components: op.components,
            limbs: sized.limbs.left[op.dropped],
            scale: op.scale,
            rms_noise: None,
            seconds: None,
        });
    }
    Ok(steps)
}

/// One sketched operation with the node that it computes.
struct Rounding<'a> {
    info: &'a NodeInfo,
    folded: &'a FoldedNode,
    quantized: &'a FoldedNode<i16>,
    op: &'a SketchOperation,
    /// The steps before it.
    steps: &'a [Step],
    /// What products are multiplied by in addition to the integer weights: 1 element-wise.
    plaintext_factor: f64,
}

impl Rounding<'_> {
    fn fits(&self, quantity: &'static str, magnitude: f64, limit_bits: u32) -> Result<(), Error> {
        let found_bits = magnitude.log2();
        // An infinite magnitude fails, zero passes.
        if found_bits < f64::from(limit_bits) {
            return Ok(());
        }
        let step = self.info.name.clone();
        Err(Error::Overflow {
            step,
            quantity,
            found_bits,
            limit_bits,
        })
    }

    fn constants(
        &self,
        quantity: &'static str,
        values: &[f64],
        scale: f64,
    ) -> Result<Vec<i128>, Error> {
        self.fits(quantity, largest(values) * scale, INTEGER_BITS)?;
        Ok(values.iter().map(|v| (v * scale).round() as i128).collect())
    }

    fn square(&self) -> Result<Operation, Error> {
        let FoldedOp::Square { shift, .. } = &self.quantized.op else {
            unreachable!("the quantizing pass keeps the kinds of nodes")
        };
        let source = self.op.sources[0];
        let shift = self.constants("the shift", shift, self.steps[source].scale)?;
        Ok(Operation::Square { source, shift })
    }

    fn linear(&self) -> Result<Operation, Error> {
        let FoldedOp::Linear(quantized) = &self.quantized.op else {
            unreachable!("the quantizing pass keeps the kinds of nodes")
        };
        // Products come first, as in the sketch: that of the value with the largest scale sets the scale.
        let terms = quantized.terms.iter().zip(self.folded.terms());
        let is_product =
            |(term, _): &(&FoldedTerm<i16>, _)| matches!(term, FoldedTerm::Tiles { .. });
        let (products, branches): (Vec<_>, Vec<_>) = terms.partition(is_product);
        let scale_of = |position: &usize| self.steps[self.op.sources[*position]].scale;
        let setting = (0..products.len()).max_by(|a, b| scale_of(a).total_cmp(&scale_of(b)));
        let mut planned = Vec::with_capacity(quantized.terms.len());
        let terms = products.into_iter().chain(branches).zip(&self.op.sources);
        for (position, ((term, exact), &source)) in terms.enumerate() {
            let ratio = self.op.scale / self.steps[source].scale;
            planned.push(match term {
                FoldedTerm::Tiles { tiles, .. } if Some(position) == setting => {
                    let (wide, scale) = (self.info.wide, self.info.weight_scale);
                    self.product(source, tiles, |&weight| weight, wide, scale)?
                }
                FoldedTerm::Tiles { .. } => {
                    // The others have to meet the scale that this one sets.
                    let ratio = ratio / self.plaintext_factor;
                    let tiles = exact.tiles();
                    let most = tiles.iter().map(|tile| largest(&tile.weights));
                    let most = most.fold(0.0, f64::max) * ratio;
                    self.fits("a weight of a second branch", most, 15)?;
                    let round = |weight: &f64| (weight * ratio).round() as i16;
                    let wide = most.round() > f64::from(WeightWidth::Eight.max_weight());
                    self.product(source, tiles, round, wide, ratio)?
                }
                FoldedTerm::Diagonal { factors, .. } => {
                    let quantity = "the factor of a residual branch";
                    self.fits(quantity, largest(factors) * ratio, FACTOR_BITS)?;
                    let rounded = factors.iter().map(|f| (f * ratio).round() as i64);
                    let mut factors: Vec<i64> = rounded.collect();
                    factors.resize(self.info.elements, 0);
                    Term::Scaled { source, factors }
                }
            });
        }
        let bias = self.constants("the bias", &quantized.bias, self.op.scale)?;
        Ok(Operation::Linear {
            terms: planned,
            bias,
        })
    }

    /// A product with the weights of `tiles` as `round` makes them integers.
    fn product<W>(
        &self,
        source: usize,
        tiles: &[FoldedTile<W>],
        round: impl Fn(&W) -> i16 + Copy,
        wide: bool,
        weight_scale: f64,
    ) -> Result<Term, Error> {
        let tiles = tiles.iter().map(|tile| Tile {
            outputs: tile.outputs.clone(),
            inputs: tile.inputs.clone(),
            weights: tile.weights.iter().map(round).collect(),
        });
        let width = match wide {
            true => WeightWidth::Sixteen,
            false => WeightWidth::Eight,
        };
        let inputs = self.steps[source].elements;
        let map = LinearMap::new(inputs, self.info.elements, width, tiles.collect());
        let map = map.map_err(|reason| Error::Weights {
            step: self.info.name.clone(),
            reason,
        })?;
        Ok(Term::Product {
            source,
            map,
            weight_scale,
        })
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}
