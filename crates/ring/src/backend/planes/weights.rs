//! The weights of a linear map in the order in which a byte-plane kernel reads them.

use std::sync::OnceLock;

use super::panel::{self, Panel};
use crate::{
    backend::groups::Group,
    linear_map::{LinearMap, WeightWidth},
};

/// Widths of a residue run from 1 to this, as moduli are below 2^50.
pub(in crate::backend) const MAX_WIDTH: usize = 7;

/// How a kernel wants its weights.
pub(in crate::backend) struct Layout {
    /// Output rows of a register block, by width of a residue; even for 16-bit weights, whose low and high row share one.
    pub(in crate::backend) block_rows: fn(usize, WeightWidth) -> usize,
    /// Words that hold the weights of a quad.
    pub(in crate::backend) words: usize,
    /// These words; the rest is not used.
    pub(in crate::backend) encode: fn([i8; 4]) -> [i32; 2],
}

/// A linear map cut into panels.
pub(in crate::backend) struct Planes {
    pub(in crate::backend) panels: Vec<PanelWork>,
    pub(in crate::backend) weight_width: WeightWidth,
}

impl Planes {
    pub(in crate::backend) fn new(map: &LinearMap) -> Self {
        let groups = Group::of(map);
        Self {
            panels: panel::plan(&groups)
                .into_iter()
                .map(|panel| PanelWork::new(panel, &groups, map.weight_width()))
                .collect(),
            weight_width: map.weight_width(),
        }
    }
}

/// Quads that are packed together and all that reads them.
pub(in crate::backend) struct PanelWork {
    pub(in crate::backend) panel: Panel,
    pub(in crate::backend) groups: Vec<PackedGroup>,
}

impl PanelWork {
    fn new(panel: Panel, groups: &[Group<'_>], weight_width: WeightWidth) -> Self {
        let groups = panel
            .readers
            .iter()
            .map(|reader| PackedGroup::new(&groups[reader.group], reader, weight_width))
            .collect();
        Self { panel, groups }
    }
}

/// Outputs with the same inputs.
pub(in crate::backend) struct PackedGroup {
    /// Positions in the panel of the quads that it reads.
    pub(in crate::backend) quads: Vec<u32>,
    pub(in crate::backend) outputs: Vec<u32>,
    /// The number of inputs.
    pub(in crate::backend) inputs: usize,
    /// Row-major \[outputs (low and high row each for 16-bit weights), quads\].
    weights: Vec<[i8; 4]>,
    /// The same in the order of the kernel, for each width of a residue on first use: the register block follows it.
    blocks: [OnceLock<Vec<WeightBlock>>; MAX_WIDTH + 1],
}

/// The weights of one register block.
pub(in crate::backend) struct WeightBlock {
    pub(in crate::backend) first_row: usize,
    pub(in crate::backend) rows: usize,
    /// \[quads, rows, words\].
    pub(in crate::backend) weights: Vec<i32>,
}

impl PackedGroup {
    fn new(group: &Group<'_>, reader: &panel::Reader, weight_width: WeightWidth) -> Self {
        let mut weights = Vec::new();
        for (_, row) in &group.outputs {
            let mut quads_of = |byte: fn(i16) -> i8| {
                let start = weights.len();
                weights.resize(start + reader.quads.len(), [0; 4]);
                // Different inputs have different places, also where a row is named twice (`panel::shared`).
                for (&(quad, lane), &weight) in reader.places.iter().zip(*row) {
                    weights[start + quad as usize][lane as usize] = byte(weight);
                }
            };
            match weight_width {
                WeightWidth::Eight => quads_of(|w| w as i8),
                WeightWidth::Sixteen => {
                    // w = 256·hi + lo with lo the signed low byte, so hi = (w - lo) / 256 rounds up from 128.
                    quads_of(|w| w as i8);
                    quads_of(|w| ((i32::from(w) + 128) >> 8) as i8);
                }
            }
        }
        Self {
            quads: reader.quads.clone(),
            outputs: group.outputs.iter().map(|&(output, _)| output).collect(),
            inputs: group.inputs.len(),
            weights,
            blocks: Default::default(),
        }
    }

    /// The register blocks for residues of that many bytes, of sizes as equal as possible.
    pub(in crate::backend) fn blocks(
        &self,
        width: usize,
        weight_width: WeightWidth,
        layout: &Layout,
    ) -> &[WeightBlock] {
        self.blocks[width].get_or_init(|| {
            let depth = self.quads.len();
            let unit = weight_width.bytes();
            let outputs = self.outputs.len();
            let count = outputs.div_ceil((layout.block_rows)(width, weight_width) / unit);
            let mut first_row = 0;
            (0..count)
                .map(|block| {
                    let rows = unit * (outputs / count + usize::from(block < outputs % count));
                    let weights = (0..depth)
                        .flat_map(|quad| {
                            (first_row..first_row + rows)
                                .map(move |row| self.weights[row * depth + quad])
                        })
                        .flat_map(|quad| (layout.encode)(quad).into_iter().take(layout.words))
                        .collect();
                    first_row += rows;
                    WeightBlock {
                        first_row: first_row - rows,
                        rows,
                        weights,
                    }
                })
                .collect()
        })
    }
}
