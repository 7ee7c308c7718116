//! Convolution and dense layer of a view.

use super::{Folder, View};
use crate::window::Window;
use crate::{Error, Linear, Node, Op, Shape, Term, Tile};
use std::collections::HashMap;

/// One column of a tile: an element of a base, its factor in the view, and the tap it belongs to.
struct Column {
    base: usize,
    element: u32,
    factor: f64,
    tap: usize,
}

/// The matrices on one base.
#[derive(Default)]
struct OfBase {
    tiles: Vec<Tile>,
    tile_of: HashMap<Vec<u32>, usize>,
}

impl OfBase {
    /// The tile of these inputs and outputs, which is new where there is none.
    fn tile(&mut self, inputs: Vec<u32>) -> &mut Tile {
        let tiles = &mut self.tiles;
        let place = *self.tile_of.entry(inputs).or_insert_with_key(|inputs| {
            tiles.push(Tile {
                outputs: Vec::new(),
                inputs: inputs.clone(),
                weights: Vec::new(),
            });
            tiles.len() - 1
        });
        &mut self.tiles[place]
    }
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
        let (weight, bias, kernel, groups, taps) = match &node.op {
            Op::Conv2d {
                weight,
                bias,
                groups,
                ..
            } => {
                let window = Window::of(&node.op).expect("a convolution has windows");
                let kernel = window.kernel[0] * window.kernel[1];
                (weight, bias, kernel, *groups, window.taps(from, to))
            }
            Op::Dense { weight, bias } => (weight, bias, 1, 1, vec![vec![(0, 0)]]),
            _ => unreachable!("called for convolution and dense layers only"),
        };
        // Of each group.
        let (outputs, channels) = (weight.shape()[0] / groups, weight.shape()[1]);
        let (pixels, positions) = (from.elements() / (channels * groups), taps.len());
        let row = channels * kernel;
        let columns: usize = taps.iter().map(Vec::len).sum();
        let most_entries = x.entry_count().div_ceil(x.elements().max(1));
        self.reserve(
            &node.name,
            [columns, channels, outputs, groups, most_entries.max(1)]
                .into_iter()
                .fold(1, |product, factor| product.saturating_mul(factor as u64)),
        )?;
        let mut biases = vec![0.0; groups * outputs * positions];
        let mut matrices: HashMap<usize, OfBase> = HashMap::new();
        let moved = self.plain_base(x).is_none();
        for group in 0..groups {
            for (position, taps) in taps.iter().enumerate() {
                let inside = (0..channels).flat_map(|channel| {
                    let first = (group * channels + channel) * pixels;
                    taps.iter()
                        .map(move |&(pixel, tap)| (first + pixel, channel * kernel + tap))
                });
                let mut columns = Vec::new();
                let mut offsets = Vec::new();
                for (element, tap) in inside {
                    add_columns(&mut columns, x, element, tap);
                    if x.beta[element] != 0.0 {
                        offsets.push((tap, x.beta[element]));
                    }
                }
                if moved {
                    // Equal inputs stand together and become one column.
                    columns.sort_by_key(|column| (column.base, column.element));
                }
                let weights_of =
                    |output: usize| &weight.data()[(group * outputs + output) * row..][..row];
                let element_of = |output: usize| (group * outputs + output) * positions + position;
                for columns in columns.chunk_by(|left, right| left.base == right.base) {
                    let inputs: Vec<&[Column]> = columns
                        .chunk_by(|left, right| left.element == right.element)
                        .collect();
                    let of_base = matrices.entry(columns[0].base).or_default();
                    let tile = of_base.tile(inputs.iter().map(|same| same[0].element).collect());
                    tile.weights.reserve_exact(inputs.len() * outputs);
                    for output in 0..outputs {
                        let weights = weights_of(output);
                        tile.outputs.push(element_of(output) as u32);
                        tile.weights.extend(inputs.iter().map(|same| {
                            let of =
                                |column: &Column| f64::from(weights[column.tap]) * column.factor;
                            same.iter().map(of).sum::<f64>()
                        }));
                    }
                }
                for output in 0..outputs {
                    let weights = weights_of(output);
                    // Only the taps inside the map see the offset of the value: the padding is zero.
                    biases[element_of(output)] = f64::from(bias[group * outputs + output])
                        + offsets
                            .iter()
                            .map(|&(tap, beta)| f64::from(weights[tap]) * beta)
                            .sum::<f64>();
                }
            }
        }
        let terms = x.bases().iter().filter_map(|&source| {
            let tiles = matrices.remove(&source)?.tiles;
            Some(Term::Tiles { source, tiles })
        });
        let mut terms: Vec<Term> = terms.collect();
        if terms.is_empty() {
            // A map of a constant.
            terms.push(Term::Tiles {
                source: x.bases().first().copied().unwrap_or(0),
                tiles: Vec::new(),
            });
        }
        Ok(self.push_linear(&node.name, Linear::new(terms, biases)))
    }
}

/// The columns of one element; a factor of zero needs none.
fn add_columns(columns: &mut Vec<Column>, x: &View, element: usize, tap: usize) {
    let entries = x.of(element).iter().filter(|entry| entry.factor != 0.0);
    columns.extend(entries.map(|entry| Column {
        base: entry.base(),
        element: entry.element() as u32,
        factor: entry.factor,
        tap,
    }));
}
