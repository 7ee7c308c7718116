//! Tiles that read the same inputs, joined.

use std::collections::HashMap;

use crate::linear_map::{LinearMap, Tile};

/// All tiles with one list of inputs: what a kernel packs the right side for once.
///
/// Tiles without inputs are kept: their outputs are zero.
pub(super) struct Group<'a> {
    /// The input rows.
    pub(super) inputs: &'a [u32],
    /// The outputs, each with its row of weights.
    pub(super) outputs: Vec<(u32, &'a [i16])>,
}

impl<'a> Group<'a> {
    /// The groups of a map, in the order of their first tiles.
    pub(super) fn of(map: &'a LinearMap) -> Vec<Self> {
        let mut positions = HashMap::new();
        let mut groups: Vec<Self> = Vec::new();
        for tile in map.tiles() {
            let position = *positions.entry(&tile.inputs[..]).or_insert(groups.len());
            if position == groups.len() {
                groups.push(Self {
                    inputs: &tile.inputs,
                    outputs: Vec::new(),
                });
            }
            groups[position].outputs.extend(rows(tile));
        }
        groups.retain(|group| !group.outputs.is_empty());
        groups
    }
}

fn rows(tile: &Tile) -> impl Iterator<Item = (u32, &[i16])> {
    let depth = tile.inputs.len();
    tile.outputs
        .iter()
        .enumerate()
        .map(move |(row, &output)| (output, &tile.weights[row * depth..][..depth]))
}
