//! Residual sums of activated values, moved into the layers that read them.
//!
//! Two squares of different layers have different scales, so that their sum would need factors, a rescale and with it a
//! level. A layer that reads the sum can as well read both summands, with its weights twice: W (x + y) = W x + W y.

use super::numbered_anew;
use crate::{FoldedNode, FoldedOp, FoldedTile, Term};

/// Share of the network's matrix entries that taking a pool into the layer after it may add.
const CHEAP: f64 = 0.02;

/// Moves every sum that can be moved into its readers; unused nodes are removed.
pub(super) fn push_sums(mut nodes: Vec<FoldedNode>) -> Vec<FoldedNode> {
    let total: u64 = (0..nodes.len()).map(|node| entries(&nodes, node)).sum();
    let mut gone = vec![false; nodes.len()];
    for sum in 0..nodes.len() {
        if !is_sum_of_squares(&nodes, sum) {
            continue;
        }
        let pools: Vec<usize> = readers(&nodes, sum)
            .filter(|&reader| is_pool(&nodes[reader]))
            .collect();
        let takes = |reader: usize, source: usize| takes_tiles(&nodes[reader], source);
        let layers_take = readers(&nodes, sum)
            .filter(|reader| !pools.contains(reader))
            .all(|reader| takes(reader, sum));
        let pools_give = pools.iter().all(|&pool| {
            readers(&nodes, pool).all(|reader| takes(reader, pool))
                && added_entries(&nodes, pool) as f64 <= CHEAP * total as f64
        });
        let read = readers(&nodes, sum).next().is_some();
        if !(read && layers_take && pools_give) {
            continue;
        }
        for pool in pools {
            replace_everywhere(&mut nodes, pool, through_pool);
            gone[pool] = true;
        }
        replace_everywhere(&mut nodes, sum, through_sum);
        gone[sum] = true;
    }
    let left = nodes.into_iter().zip(gone);
    numbered_anew(left.map(|(node, gone)| (!gone).then_some(node)).collect())
}

fn readers(nodes: &[FoldedNode], source: usize) -> impl Iterator<Item = usize> + '_ {
    let reads = move |node: &FoldedNode| node.sources().any(|other| other == source);
    let numbered = nodes.iter().enumerate();
    numbered.filter_map(move |(index, node)| reads(node).then_some(index))
}

/// Whether a node adds squares element by element and does nothing else.
fn is_sum_of_squares(nodes: &[FoldedNode], index: usize) -> bool {
    let node = &nodes[index];
    let of_square = |term: &Term| match term {
        Term::Diagonal { source, factors } => {
            factors.len() == node.elements && matches!(nodes[*source].op, FoldedOp::Square { .. })
        }
        Term::Tiles { .. } => false,
    };
    node.terms().len() > 1 && node.terms().iter().all(of_square)
}

fn is_pool(node: &FoldedNode) -> bool {
    matches!(&node.op, FoldedOp::Linear { exact_sum: true, terms, .. }
        if matches!(terms[..], [Term::Tiles { .. }]))
}

/// Whether a node reads another by matrices of weights only.
fn takes_tiles(node: &FoldedNode, source: usize) -> bool {
    let FoldedOp::Linear {
        terms,
        exact_sum: false,
        ..
    } = &node.op
    else {
        return false;
    };
    let mut reading = terms.iter().filter(|term| term.source() == source);
    reading.all(|term| matches!(term, Term::Tiles { .. }))
}

fn entries(nodes: &[FoldedNode], index: usize) -> u64 {
    let of_term = |term: &Term| match term {
        Term::Tiles { tiles, .. } => tiles.iter().map(|tile| tile.weights.len() as u64).sum(),
        Term::Diagonal { .. } => 0,
    };
    nodes[index].terms().iter().map(of_term).sum()
}

/// Entries that the readers of a pool have more when each reads what is pooled.
fn added_entries(nodes: &[FoldedNode], pool: usize) -> u64 {
    let window = entries(nodes, pool).div_ceil(nodes[pool].elements.max(1) as u64);
    readers(nodes, pool)
        .map(|reader| entries(nodes, reader) * window)
        .sum()
}

/// Replaces every term that reads a node by what `through` makes of it.
fn replace_everywhere(
    nodes: &mut [FoldedNode],
    index: usize,
    through: fn(&FoldedNode, Vec<FoldedTile>) -> Vec<Term>,
) {
    let node = nodes[index].clone();
    let FoldedOp::Linear {
        bias: constants, ..
    } = &node.op
    else {
        unreachable!("called for linear maps only");
    };
    for reader in nodes.iter_mut().skip(index + 1) {
        let FoldedOp::Linear { terms, bias, .. } = &mut reader.op else {
            continue;
        };
        for term in std::mem::take(terms) {
            match term {
                Term::Tiles { source, tiles } if source == index => {
                    for tile in &tiles {
                        let rows = tile.weights.chunks_exact(tile.inputs.len());
                        for (&output, row) in tile.outputs.iter().zip(rows) {
                            let inputs = row.iter().zip(&tile.inputs);
                            let offset = inputs.map(|(w, &input)| w * constants[input as usize]);
                            bias[output as usize] += offset.sum::<f64>();
                        }
                    }
                    terms.extend(through(&node, tiles));
                }
                other => terms.push(other),
            }
        }
    }
}

/// W (f x + g y) = (W f) x + (W g) y.
fn through_sum(sum: &FoldedNode, tiles: Vec<FoldedTile>) -> Vec<Term> {
    let summands = sum.terms().iter().map(|term| {
        let Term::Diagonal { source, factors } = term else {
            unreachable!("a sum of diagonals");
        };
        let scaled = tiles.iter().map(|tile| FoldedTile {
            weights: tile
                .weights
                .chunks_exact(tile.inputs.len())
                .flat_map(|row| row.iter().zip(&tile.inputs))
                .map(|(weight, &input)| weight * factors[input as usize])
                .collect(),
            ..tile.clone()
        });
        Term::Tiles {
            source: *source,
            tiles: scaled.collect(),
        }
    });
    summands.collect()
}

/// A layer on what is pooled, window by window.
fn through_pool(pool: &FoldedNode, tiles: Vec<FoldedTile>) -> Vec<Term> {
    let [
        Term::Tiles {
            source,
            tiles: windows,
        },
    ] = pool.terms()
    else {
        unreachable!("a pool reads one node");
    };
    // The window, and its row, of every element of the pool.
    let mut window_of = vec![None; pool.elements];
    for window in windows {
        for (row, &output) in window.outputs.iter().enumerate() {
            window_of[output as usize] = Some((window, row));
        }
    }
    let columns = |tile: &FoldedTile| {
        let mut columns = Vec::new();
        for (place, &input) in tile.inputs.iter().enumerate() {
            if let Some((window, row)) = window_of[input as usize] {
                let signs = &window.weights[row * window.inputs.len()..][..window.inputs.len()];
                let inputs = window.inputs.iter().zip(signs);
                columns.extend(inputs.map(|(&input, &sign)| (place, input, sign)));
            }
        }
        columns
    };
    let composed = tiles.iter().map(|tile| {
        let columns = columns(tile);
        FoldedTile {
            outputs: tile.outputs.clone(),
            inputs: columns.iter().map(|&(_, input, _)| input).collect(),
            weights: tile
                .weights
                .chunks_exact(tile.inputs.len())
                .flat_map(|row| columns.iter().map(|&(place, _, sign)| row[place] * sign))
                .collect(),
        }
    });
    vec![Term::Tiles {
        source: *source,
        tiles: composed.filter(|tile| !tile.inputs.is_empty()).collect(),
    }]
}
