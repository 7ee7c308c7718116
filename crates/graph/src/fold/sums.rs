//! Residual sums of activated values, moved into the layers that read them.
//!
//! Two squares of different layers have different scales, so that their sum would need factors, a rescale and with it a
//! level. A layer that reads the sum can as well read both summands, with its weights twice: W (x + y) = W x + W y.

use super::numbered_anew;
use crate::{Folded, FoldedNode, FoldedOp, Term, Tile};

/// Share of the network's matrix entries that taking a pool into the layer after it may add.
const CHEAP: f64 = 0.02;

/// Moves every sum that can be moved into its readers; unused nodes are removed.
pub(super) fn push_sums(mut nodes: Vec<FoldedNode>) -> Vec<FoldedNode> {
    let total: u64 = nodes.iter().map(FoldedNode::entries).sum();
    let mut gone = vec![false; nodes.len()];
    for sum in 0..nodes.len() {
        if !is_sum_of_squares(&nodes, sum) {
            continue;
        }
        let pools: Vec<usize> = readers(&nodes, sum)
            .filter(|&reader| nodes[reader].pool().is_some())
            .collect();
        let takes = |reader: usize, source: usize| takes_tiles(&nodes[reader], source);
        let layers_take = readers(&nodes, sum)
            .filter(|reader| !pools.contains(reader))
            .all(|reader| takes(reader, sum));
        // The last node holds the logits, and stays.
        let pools_give = pools.iter().all(|&pool| {
            pool + 1 < nodes.len()
                && readers(&nodes, pool).all(|reader| takes(reader, pool))
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

/// The network with pooling sums taken into the linear maps that read them, and which of its nodes are left. Other sums
/// become ordinary linear maps with weights of 1 and -1.
///
/// Element-wise a pooling sum is a few additions of ciphertexts. In slots it would take rotations of its own and, for
/// windows of mixed signs, a product; taken into the next layer it only makes that layer's window larger.
pub fn without_pooling(folded: &Folded) -> (Folded, Vec<bool>) {
    let mut nodes = folded.nodes.clone();
    let mut left = vec![true; nodes.len()];
    for index in 0..nodes.len() {
        let merges = index + 1 < nodes.len()
            && nodes[index].pool().is_some()
            && readers(&nodes, index).all(|reader| nodes[reader].linear().is_some());
        if merges {
            replace_everywhere(&mut nodes, index, through_pool);
            left[index] = false;
        } else if let FoldedOp::Linear(linear) = &mut nodes[index].op {
            linear.exact_sum = false;
        }
    }
    let kept = nodes.into_iter().zip(&left);
    let kept = kept.map(|(node, &left)| left.then_some(node)).collect();
    let nodes = numbered_anew(kept);
    (Folded { nodes }, left)
}

fn readers(nodes: &[FoldedNode], source: usize) -> impl Iterator<Item = usize> + '_ {
    (source + 1..nodes.len()).filter(move |&reader| nodes[reader].reads(source))
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

impl FoldedNode {
    /// The node that a pooling sum reads, and its windows; `None` for other nodes.
    pub(super) fn pool(&self) -> Option<(usize, &[Tile])> {
        match self.terms() {
            [Term::Tiles { source, tiles }] if self.is_exact_sum() => Some((*source, tiles)),
            _ => None,
        }
    }
}

/// Whether a node reads another by matrices of weights only.
fn takes_tiles(node: &FoldedNode, source: usize) -> bool {
    let mut reading = node.terms().iter().filter(|term| term.source() == source);
    node.linear().is_some()
        && !node.is_exact_sum()
        && reading.all(|term| matches!(term, Term::Tiles { .. }))
}

/// Entries that the readers of a pool have more when each reads what is pooled.
fn added_entries(nodes: &[FoldedNode], pool: usize) -> u64 {
    let window = nodes[pool]
        .entries()
        .div_ceil(nodes[pool].elements.max(1) as u64);
    readers(nodes, pool)
        .map(|reader| nodes[reader].entries() * window)
        .sum()
}

/// Replaces every term that reads a linear map by what `through` makes of it.
fn replace_everywhere(
    nodes: &mut [FoldedNode],
    index: usize,
    through: fn(&FoldedNode, &[Tile]) -> Vec<Term>,
) {
    let (before, after) = nodes.split_at_mut(index + 1);
    let node = &before[index];
    let constants = &node.linear().expect("called for linear maps only").bias;
    for reader in after {
        let FoldedOp::Linear(linear) = &mut reader.op else {
            continue;
        };
        for term in std::mem::take(&mut linear.terms) {
            let tiles = match term {
                Term::Tiles { source, tiles } if source == index => tiles,
                Term::Diagonal { source, factors } if source == index => {
                    (0..).zip(factors).map(tile_of_one).collect()
                }
                other => {
                    linear.terms.push(other);
                    continue;
                }
            };
            for tile in &tiles {
                for (output, row) in tile.rows() {
                    let inputs = row.iter().zip(&tile.inputs);
                    let offset = inputs.map(|(w, &input)| w * constants[input as usize]);
                    linear.bias[output] += offset.sum::<f64>();
                }
            }
            linear.terms.extend(through(node, &tiles));
        }
    }
}

/// One entry of a diagonal.
fn tile_of_one((element, factor): (u32, f64)) -> Tile {
    Tile {
        outputs: vec![element],
        inputs: vec![element],
        weights: vec![factor],
    }
}

/// W (f x + g y) = (W f) x + (W g) y.
fn through_sum(sum: &FoldedNode, tiles: &[Tile]) -> Vec<Term> {
    let summands = sum.terms().iter().map(|term| {
        let Term::Diagonal { source, factors } = term else {
            unreachable!("a sum of diagonals");
        };
        let scaled = tiles.iter().map(|tile| Tile {
            weights: tile
                .rows()
                .flat_map(|(_, row)| row.iter().zip(&tile.inputs))
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
fn through_pool(pool: &FoldedNode, tiles: &[Tile]) -> Vec<Term> {
    let (source, windows) = pool.pool().expect("called for pools only");
    // The inputs of every element of the pool, with their signs.
    let mut window_of: Vec<(&[u32], &[f64])> = vec![(&[], &[]); pool.elements];
    for window in windows {
        for (output, signs) in window.rows() {
            window_of[output] = (&window.inputs, signs);
        }
    }
    let composed = tiles.iter().map(|tile| {
        let columns = tile.inputs.iter().enumerate().flat_map(|(place, &input)| {
            let (inputs, signs) = window_of[input as usize];
            let window = inputs.iter().zip(signs);
            window.map(move |(&input, &sign)| (place, input, sign))
        });
        let columns: Vec<(usize, u32, f64)> = columns.collect();
        Tile {
            outputs: tile.outputs.clone(),
            inputs: columns.iter().map(|&(_, input, _)| input).collect(),
            weights: tile
                .rows()
                .flat_map(|(_, row)| columns.iter().map(|&(place, _, sign)| row[place] * sign))
                .collect(),
        }
    });
    let tiles = composed.filter(|tile| !tile.inputs.is_empty()).collect();
    vec![Term::Tiles { source, tiles }]
}
