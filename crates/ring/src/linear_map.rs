//! Linear maps as lists of dense tiles, checked once.

use crate::Error;

/// A dense block of an integer matrix on chosen rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The output rows it writes.
    pub outputs: Vec<u32>,
    /// The input rows it reads; a row may be named more than once.
    pub inputs: Vec<u32>,
    /// Row-major \[outputs, inputs\].
    pub weights: Vec<i16>,
}

/// How many bytes a weight takes in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightWidth {
    /// |w| ≤ 127, one pass.
    Eight,
    /// |w| ≤ 32,639, two passes: w = 256·hi + lo with lo in \[-128, 127\], so that hi fits a byte too.
    Sixteen,
}

impl WeightWidth {
    /// The largest magnitude of a weight.
    pub const fn max_weight(self) -> i16 {
        match self {
            Self::Eight => 127,
            Self::Sixteen => 32_639,
        }
    }

    /// The most inputs of a tile for which 32-bit sums of byte products stay exact: (2^31 - 1) / (255 · 127), and
    /// / (255 · 128) where a low byte may be -128.
    pub const fn max_inputs(self) -> usize {
        match self {
            Self::Eight => 66_311,
            Self::Sixteen => 65_793,
        }
    }

    /// Bytes a weight.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Eight => 1,
            Self::Sixteen => 2,
        }
    }
}

/// An integer matrix \[output_rows, input_rows\] as dense tiles; what no tile covers is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearMap {
    input_rows: usize,
    output_rows: usize,
    weight_width: WeightWidth,
    tiles: Vec<Tile>,
}

impl LinearMap {
    /// Checks the tiles.
    ///
    /// # Errors
    /// [`Error::Shape`] if a tile has not outputs · inputs weights, [`Error::TileRow`] if it names a row outside the
    /// matrix, [`Error::RepeatedOutput`] if an output row is written twice, [`Error::TileInputs`] and
    /// [`Error::WeightRange`] beyond the limits of the weight width.
    pub fn new(
        input_rows: usize,
        output_rows: usize,
        weight_width: WeightWidth,
        tiles: Vec<Tile>,
    ) -> Result<Self, Error> {
        let mut written = vec![false; output_rows];
        for (index, tile) in tiles.iter().enumerate() {
            check_tile(index, tile, input_rows, weight_width, &mut written)?;
        }
        Ok(Self {
            input_rows,
            output_rows,
            weight_width,
            tiles,
        })
    }

    /// The number of input rows.
    pub fn input_rows(&self) -> usize {
        self.input_rows
    }

    /// The number of output rows.
    pub fn output_rows(&self) -> usize {
        self.output_rows
    }

    /// The width of the weights.
    pub fn weight_width(&self) -> WeightWidth {
        self.weight_width
    }

    /// The tiles, as given.
    pub fn tiles(&self) -> &[Tile] {
        &self.tiles
    }

    /// The map of some inputs to some outputs alone: row k of the new map is row `outputs[k]` or `inputs[k]` of this one.
    ///
    /// # Panics
    /// If there is no such row, or a chosen output reads an input that is not chosen.
    pub fn restricted(&self, outputs: &[u32], inputs: &[u32]) -> Self {
        let (new_output, new_input) = (
            places(outputs, self.output_rows),
            places(inputs, self.input_rows),
        );
        let mut tiles = Vec::new();
        for tile in &self.tiles {
            let kept: Vec<usize> = (0..tile.outputs.len())
                .filter(|&row| new_output[tile.outputs[row] as usize].is_some())
                .collect();
            if kept.is_empty() {
                continue;
            }
            let depth = tile.inputs.len();
            let weights = kept
                .iter()
                .flat_map(|&row| &tile.weights[row * depth..][..depth]);
            tiles.push(Tile {
                outputs: kept
                    .iter()
                    .filter_map(|&row| new_output[tile.outputs[row] as usize])
                    .collect(),
                inputs: tile
                    .inputs
                    .iter()
                    .map(|&row| {
                        new_input[row as usize].expect("every input that is read is chosen")
                    })
                    .collect(),
                weights: weights.copied().collect(),
            });
        }
        Self {
            input_rows: inputs.len(),
            output_rows: outputs.len(),
            weight_width: self.weight_width,
            tiles,
        }
    }

    /// The sum of maps as one map, whose inputs are those of the first, then those of the second, and so on.
    ///
    /// # Errors
    /// [`Error::TileInputs`] where a sum becomes too long.
    ///
    /// # Panics
    /// If there are no maps, or they have different numbers of outputs.
    pub fn side_by_side(maps: &[Self]) -> Result<Self, Error> {
        let output_rows = maps[0].output_rows;
        assert!(
            maps.iter().all(|map| map.output_rows == output_rows),
            "outputs of maps that are added"
        );
        let width = maps
            .iter()
            .map(|map| map.weight_width)
            .max_by_key(|width| width.bytes());
        let tiles = by_tiles(maps).unwrap_or_else(|| by_outputs(maps));
        let input_rows = maps.iter().map(|map| map.input_rows).sum();
        Self::new(
            input_rows,
            output_rows,
            width.unwrap_or(WeightWidth::Eight),
            tiles,
        )
    }

    /// Weights over all tiles, zeros included: modular multiply-accumulates a column.
    pub fn multiply_accumulates(&self) -> u64 {
        self.tiles
            .iter()
            .map(|tile| tile.weights.len() as u64)
            .sum()
    }
}

/// Where the inputs of every map start when they are put side by side.
fn offsets(maps: &[LinearMap]) -> impl Iterator<Item = u32> + '_ {
    maps.iter().scan(0, |next, map| {
        let offset = *next;
        *next += map.input_rows as u32;
        Some(offset)
    })
}

/// Maps side by side whose tiles have the same outputs: tile by tile.
fn by_tiles(maps: &[LinearMap]) -> Option<Vec<Tile>> {
    let count = maps[0].tiles.len();
    let alike = |map: &LinearMap| {
        let pairs = || map.tiles.iter().zip(&maps[0].tiles);
        map.tiles.len() == count && pairs().all(|(tile, first)| tile.outputs == first.outputs)
    };
    let joined = |at: usize| {
        let tiles = || maps.iter().map(|map| &map.tiles[at]);
        let row = |row: usize| {
            tiles()
                .flat_map(move |tile| &tile.weights[row * tile.inputs.len()..][..tile.inputs.len()])
        };
        let outputs = maps[0].tiles[at].outputs.clone();
        Tile {
            inputs: tiles()
                .zip(offsets(maps))
                .flat_map(|(tile, offset)| tile.inputs.iter().map(move |input| input + offset))
                .collect(),
            weights: (0..outputs.len()).flat_map(row).copied().collect(),
            outputs,
        }
    };
    maps.iter()
        .all(alike)
        .then(|| (0..count).map(joined).collect())
}

/// Maps side by side, with a tile for every output.
fn by_outputs(maps: &[LinearMap]) -> Vec<Tile> {
    let mut tiles: Vec<Option<Tile>> = vec![None; maps[0].output_rows];
    for (map, offset) in maps.iter().zip(offsets(maps)) {
        for tile in &map.tiles {
            let depth = tile.inputs.len();
            for (row, &output) in tile.outputs.iter().enumerate() {
                let sum = tiles[output as usize].get_or_insert_with(|| Tile {
                    outputs: vec![output],
                    inputs: Vec::new(),
                    weights: Vec::new(),
                });
                sum.inputs
                    .extend(tile.inputs.iter().map(|input| input + offset));
                sum.weights.extend(&tile.weights[row * depth..][..depth]);
            }
        }
    }
    tiles.into_iter().flatten().collect()
}

/// The place of every row in a list of rows.
fn places(rows: &[u32], count: usize) -> Vec<Option<u32>> {
    let mut places = vec![None; count];
    for (place, &row) in (0..).zip(rows) {
        places[row as usize] = Some(place);
    }
    places
}

fn check_tile(
    index: usize,
    tile: &Tile,
    input_rows: usize,
    weight_width: WeightWidth,
    written: &mut [bool],
) -> Result<(), Error> {
    if tile.inputs.len() > weight_width.max_inputs() {
        return Err(Error::TileInputs {
            tile: index,
            found: tile.inputs.len(),
            limit: weight_width.max_inputs(),
        });
    }
    if tile.outputs.len().checked_mul(tile.inputs.len()) != Some(tile.weights.len()) {
        return Err(Error::Shape {
            place: "weights of a tile (outputs x inputs)",
            expected: tile.outputs.len().saturating_mul(tile.inputs.len()),
            found: tile.weights.len(),
        });
    }
    if let Some(&row) = tile.inputs.iter().find(|&&row| row as usize >= input_rows) {
        return Err(Error::TileRow {
            tile: index,
            side: "input",
            found: row,
            rows: input_rows,
        });
    }
    for &row in &tile.outputs {
        match written.get_mut(row as usize) {
            None => {
                return Err(Error::TileRow {
                    tile: index,
                    side: "output",
                    found: row,
                    rows: written.len(),
                });
            }
            Some(true) => {
                return Err(Error::RepeatedOutput {
                    tile: index,
                    output: row,
                });
            }
            Some(seen) => *seen = true,
        }
    }
    let limit = weight_width.max_weight();
    // `unsigned_abs`, because -32,768 has no positive counterpart.
    if let Some(&weight) = tile
        .weights
        .iter()
        .find(|w| w.unsigned_abs() > limit.unsigned_abs())
    {
        return Err(Error::WeightRange {
            tile: index,
            found: weight,
            limit,
        });
    }
    Ok(())
}
