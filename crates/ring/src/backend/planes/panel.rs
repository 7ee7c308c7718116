//! Which input rows are packed side by side.
//!
//! Packing a quad costs about as much as multiplying it by a dozen outputs. A dense layer packs each of its inputs once.
//! The windows of a convolution overlap, so its inputs are cut into quads once for all windows, at multiples of four
//! rows: a window then reads a few more quads, with weights of zero for the rows outside of it, and packs none.

use std::collections::HashMap;

use crate::backend::groups::Group;

/// Quads that are packed together, and who reads them.
pub(in crate::backend) struct Panel {
    /// Input rows; a quad that is not full repeats one, with weights of zero.
    pub(in crate::backend) quads: Vec<[u32; 4]>,
    pub(super) readers: Vec<Reader>,
}

/// What a group reads of a panel.
pub(super) struct Reader {
    /// Position of the group.
    pub(super) group: usize,
    /// Positions of the quads in the panel.
    pub(super) quads: Vec<u32>,
    /// For every input of the group: which of `quads`, and which row of it.
    pub(super) places: Vec<(u32, u8)>,
}

/// Cost of packing a quad, in outputs that it is multiplied by meanwhile.
const PACKING: usize = 8;
/// The most quads of a shared panel: more would not stay in the cache with the rest.
const MAX_SHARED: usize = 512;

/// A panel for each group, or one for all where that is less work.
pub(super) fn plan(groups: &[Group<'_>]) -> Vec<Panel> {
    let own: usize = groups
        .iter()
        .map(|group| group.inputs.len().div_ceil(4) * (PACKING + group.outputs.len()))
        .sum();
    if let Some(panel) = shared(groups) {
        let read: usize = panel
            .readers
            .iter()
            .map(|reader| reader.quads.len() * groups[reader.group].outputs.len())
            .sum();
        if panel.quads.len() <= MAX_SHARED && panel.quads.len() * PACKING + read < own {
            return vec![panel];
        }
    }
    groups.iter().enumerate().map(private).collect()
}

/// The inputs of one group in their order.
fn private((position, group): (usize, &Group<'_>)) -> Panel {
    let quads: Vec<[u32; 4]> = group
        .inputs
        .chunks(4)
        .map(|rows| std::array::from_fn(|i| *rows.get(i).unwrap_or(&rows[0])))
        .collect();
    Panel {
        readers: vec![Reader {
            group: position,
            quads: (0..quads.len() as u32).collect(),
            places: (0..group.inputs.len())
                .map(|i| ((i / 4) as u32, (i % 4) as u8))
                .collect(),
        }],
        quads,
    }
}

/// Quads of rows 4k to 4k + 3 for all groups; `None` if a group names a row twice.
fn shared(groups: &[Group<'_>]) -> Option<Panel> {
    let last = *groups.iter().flat_map(|group| group.inputs).max()?;
    let mut numbers: Vec<u32> = groups
        .iter()
        .flat_map(|group| group.inputs.iter().map(|row| row / 4))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let readers = groups
        .iter()
        .enumerate()
        .map(|(position, group)| {
            let mut rows = group.inputs.to_vec();
            rows.sort_unstable();
            if rows.windows(2).any(|pair| pair[0] == pair[1]) {
                return None;
            }
            let mut read: Vec<u32> = rows.iter().map(|row| row / 4).collect();
            read.dedup();
            let place_of: HashMap<u32, u32> = (0..).zip(&read).map(|(i, &n)| (n, i)).collect();
            Some(Reader {
                group: position,
                quads: read
                    .iter()
                    .map(|number| numbers.binary_search(number).unwrap_or(0) as u32)
                    .collect(),
                places: group
                    .inputs
                    .iter()
                    .map(|row| (place_of[&(row / 4)], (row % 4) as u8))
                    .collect(),
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let quads = numbers
        .iter()
        .map(|number| std::array::from_fn(|i| (4 * number + i as u32).min(last)))
        .collect();
    Some(Panel { quads, readers })
}
