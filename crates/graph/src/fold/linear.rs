//! Convolution, dense layer and pooling of a view.

use super::{Folder, View};
use crate::infer::window_taps;
use crate::{Error, Linear, Node, Op, Shape, Term, Tile};
use std::collections::HashMap;

/// One column of a tile: an element of the base, its factor in the view, and the tap it belongs to.
struct Column {
    base_element: u32,
    factor: f64,
    tap: usize,
}

impl Folder<'_> {
    /// Folds a convolution or dense layer: one tile per distinct set of inputs, one bias per output element.
    pub(super) fn fold_linear(
        &mut self,
        node: &Node,
        x: &View,
        from: &Shape,
        to: &Shape,
    ) -> Result<View, Error> {
        let (weight, bias, kernel, taps) = match &node.op {
            Op::Conv2d {
                weight,
                bias,
                stride,
                padding,
            } => {
                let kernel = [weight.shape()[2], weight.shape()[3]];
                let taps = window_taps(from, to, kernel, *stride, *padding);
                (weight, bias, kernel[0] * kernel[1], taps)
            }
            Op::Dense { weight, bias } => (weight, bias, 1, vec![vec![(0, 0)]]),
            _ => unreachable!("called for convolution and dense layers only"),
        };
        let (outputs, channels) = (weight.shape()[0], weight.shape()[1]);
        let (pixels, positions) = (from.elements() / channels, taps.len());
        let row = channels * kernel;
        let columns: usize = taps.iter().map(Vec::len).sum();
        let doubled = 1 + usize::from(!x.extra.is_empty());
        self.reserve(
            &node.name,
            [columns, channels, outputs, doubled]
                .into_iter()
                .fold(1, |product, factor| product.saturating_mul(factor as u64)),
        )?;
        let mut biases = vec![0.0; outputs * positions];
        let mut tiles: Vec<Tile> = Vec::new();
        let mut tile_of: HashMap<Vec<u32>, usize> = HashMap::new();
        for (position, taps) in taps.iter().enumerate() {
            let inside = (0..channels).flat_map(|channel| {
                taps.iter()
                    .map(move |&(pixel, tap)| (channel * pixels + pixel, channel * kernel + tap))
            });
            let mut columns = Vec::new();
            let mut offsets = Vec::new();
            for (element, tap) in inside {
                add_columns(&mut columns, x, element, tap);
                if x.beta[element] != 0.0 {
                    offsets.push((tap, x.beta[element]));
                }
            }
            let inputs: Vec<u32> = columns.iter().map(|column| column.base_element).collect();
            let tile = *tile_of.entry(inputs).or_insert_with_key(|inputs| {
                tiles.push(Tile {
                    outputs: Vec::new(),
                    inputs: inputs.clone(),
                    weights: Vec::new(),
                });
                tiles.len() - 1
            });
            let tile = &mut tiles[tile];
            tile.weights.reserve_exact(columns.len() * outputs);
            for (output, &bias) in bias.iter().enumerate() {
                let weights = &weight.data()[output * row..][..row];
                let element = output * positions + position;
                tile.outputs.push(element as u32);
                tile.weights.extend(
                    columns
                        .iter()
                        .map(|column| f64::from(weights[column.tap]) * column.factor),
                );
                // Only the taps inside the map see the offset of the value: the padding is zero.
                biases[element] = f64::from(bias)
                    + offsets
                        .iter()
                        .map(|&(tap, beta)| f64::from(weights[tap]) * beta)
                        .sum::<f64>();
            }
        }
        tiles.retain(|tile| !tile.inputs.is_empty());
        let source = x.base;
        let map = Linear::new(vec![Term::Tiles { source, tiles }], biases);
        Ok(self.push_linear(&node.name, map))
    }

    /// Average pooling: an exact sum where every window's factors have one magnitude, which the view keeps.
    pub(super) fn fold_pool(
        &mut self,
        node: &Node,
        x: &View,
        from: &Shape,
        to: &Shape,
        kernel: [usize; 2],
        stride: [usize; 2],
    ) -> Result<View, Error> {
        let taps = window_taps(from, to, kernel, stride, [0, 0]);
        let pixels = from.channel_elements();
        let mean = 1.0 / (kernel[0] * kernel[1]) as f64;
        let elements = to.elements();
        let mut windows = Vec::with_capacity(elements);
        let mut alpha = Vec::with_capacity(elements);
        let mut beta = Vec::with_capacity(elements);
        let mut exact_sum = true;
        for channel in 0..from.channels() {
            for taps in &taps {
                let mut columns = Vec::new();
                let mut offset = 0.0;
                for &(pixel, _) in taps {
                    let element = channel * pixels + pixel;
                    add_columns(&mut columns, x, element, 0);
                    offset += x.beta[element];
                }
                let magnitude = columns.first().map_or(1.0, |column| column.factor.abs());
                exact_sum &= columns
                    .iter()
                    .all(|column| column.factor.abs() == magnitude);
                alpha.push(magnitude * mean);
                beta.push(offset * mean);
                self.reserve(&node.name, columns.len() as u64)?;
                windows.push(columns);
            }
        }
        let tiles = windows
            .iter()
            .enumerate()
            .filter(|(_, columns)| !columns.is_empty())
            .map(|(output, columns)| Tile {
                outputs: vec![output as u32],
                inputs: columns.iter().map(|column| column.base_element).collect(),
                weights: columns
                    .iter()
                    .map(|column| match exact_sum {
                        true => column.factor.signum(),
                        false => column.factor * mean,
                    })
                    .collect(),
            })
            .collect();
        let bias = match exact_sum {
            true => vec![0.0; elements],
            false => std::mem::take(&mut beta),
        };
        let source = x.base;
        let map = Linear {
            exact_sum,
            ..Linear::new(vec![Term::Tiles { source, tiles }], bias)
        };
        let mut view = self.push_linear(&node.name, map);
        if exact_sum {
            (view.alpha, view.beta) = (alpha, beta);
        }
        Ok(view)
    }
}

/// The columns of one element; a factor of zero needs none.
fn add_columns(columns: &mut Vec<Column>, x: &View, element: usize, tap: usize) {
    let own = (element, x.alpha[element]);
    let extra = x
        .extra_of(element)
        .iter()
        .map(|extra| (extra.base_element, extra.factor));
    for (base_element, factor) in std::iter::once(own).chain(extra) {
        if factor != 0.0 {
            columns.push(Column {
                base_element: base_element as u32,
                factor,
                tap,
            });
        }
    }
}
