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

    /// Weights over all tiles, zeros included: modular multiply-accumulates a column.
    pub fn multiply_accumulates(&self) -> u64 {
        self.tiles
            .iter()
            .map(|tile| tile.weights.len() as u64)
            .sum()
    }
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
