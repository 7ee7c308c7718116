//! Average pooling of a view.

use super::view::Entry;
use super::{Folder, View};
use crate::window::Window;
use crate::{Error, Linear, Node, Shape, Term, Tile};

impl Folder<'_> {
    /// Average pooling: for every base an exact sum where the factors in each window have one magnitude, which the view
    /// keeps.
    pub(super) fn fold_pool(
        &mut self,
        node: &Node,
        x: &View,
        from: &Shape,
        to: &Shape,
    ) -> Result<View, Error> {
        let window = Window::of(&node.op).expect("a pool has windows");
        let taps = window.taps(from, to);
        let pixels = from.channel_elements();
        let mean = 1.0 / (window.kernel[0] * window.kernel[1]) as f64;
        let windows = || {
            (0..from.channels()).flat_map(|channel| {
                taps.iter()
                    .map(move |taps| taps.iter().map(move |&(pixel, _)| channel * pixels + pixel))
            })
        };
        let beta: Vec<f64> = windows()
            .map(|elements| elements.map(|element| x.beta[element]).sum::<f64>() * mean)
            .collect();
        let mut entries: Vec<Vec<Entry>> = vec![Vec::new(); to.elements()];
        let alone = x.bases().len() == 1;
        for &base in x.bases() {
            let of_base = |element: usize| {
                let entries = x.of(element).iter();
                entries.filter(|entry| entry.base() == base && entry.factor != 0.0)
            };
            let mut columns: Vec<Vec<Entry>> = Vec::with_capacity(to.elements());
            for elements in windows() {
                let column: Vec<Entry> = elements.flat_map(of_base).copied().collect();
                self.reserve(&node.name, column.len() as u64)?;
                columns.push(column);
            }
            let magnitude = |window: &[Entry]| window.first().map_or(1.0, |e| e.factor.abs());
            let exact_sum = columns.iter().all(|window| {
                let magnitude = magnitude(window);
                window.iter().all(|entry| entry.factor.abs() == magnitude)
            });
            let tiles = columns
                .iter()
                .enumerate()
                .filter(|(_, window)| !window.is_empty())
                .map(|(output, window)| Tile {
                    outputs: vec![output as u32],
                    inputs: window.iter().map(|entry| entry.element() as u32).collect(),
                    weights: window
                        .iter()
                        .map(|entry| match exact_sum {
                            true => entry.factor.signum(),
                            false => entry.factor * mean,
                        })
                        .collect(),
                })
                .collect();
            let own_bias = alone && !exact_sum;
            let bias = match own_bias {
                true => beta.clone(),
                false => vec![0.0; to.elements()],
            };
            let map = Linear {
                exact_sum,
                ..Linear::new(
                    vec![Term::Tiles {
                        source: base,
                        tiles,
                    }],
                    bias,
                )
            };
            let name = match alone {
                true => node.name.clone(),
                false => format!("{}:{base}", node.name),
            };
            let pooled = self.push(&name, crate::FoldedOp::Linear(map), to.elements());
            if own_bias {
                return Ok(View::identity(pooled, to.elements()));
            }
            for (output, (entries, window)) in entries.iter_mut().zip(&columns).enumerate() {
                let factor = match exact_sum {
                    true => magnitude(window) * mean,
                    false => 1.0,
                };
                if alone || !window.is_empty() {
                    entries.push(Entry::new(pooled, output, factor));
                }
            }
        }
        Ok(View::collect(entries.into_iter().zip(beta)))
    }
}
