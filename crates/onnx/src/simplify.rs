//! Merging split layers: a factor and an offset per channel behind a linear layer become part of the layer.

use sordino_graph::{Graph, Node, NodeId, Op, Tensor};

use crate::Error;

/// Merges diagonal nodes (batch normalizations that record no statistics) into the layer before them, where nothing
/// else reads that layer.
pub(crate) fn simplify(graph: &Graph) -> Result<Graph, Error> {
    let readers = graph.reader_counts();
    let mut places: Vec<NodeId> = Vec::with_capacity(graph.nodes().len());
    let mut nodes: Vec<Node> = Vec::new();
    for node in graph.nodes() {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| places[input.0]).collect();
        if let Some((gamma, beta)) = diagonal(&node.op)
            && readers[node.inputs[0].0] == 1
            && merge(&mut nodes[inputs[0].0].op, gamma, beta)?
        {
            places.push(inputs[0]);
            continue;
        }
        places.push(NodeId(nodes.len()));
        nodes.push(Node {
            inputs,
            ..node.clone()
        });
    }
    Ok(Graph::new(graph.input_shape(), nodes)?)
}

fn diagonal(op: &Op) -> Option<(&[f32], &[f32])> {
    match op {
        Op::BatchNorm {
            gamma,
            beta,
            mean,
            variance,
            epsilon,
        } if *epsilon == 0.0
            && mean.iter().all(|m| *m == 0.0)
            && variance.iter().all(|v| *v == 1.0) =>
        {
            Some((gamma, beta))
        }
        _ => None,
    }
}

/// Whether `op` was a linear layer, and is now one with the factors and offsets.
fn merge(op: &mut Op, gamma: &[f32], beta: &[f32]) -> Result<bool, Error> {
    let (Op::Conv2d { weight, bias, .. } | Op::Dense { weight, bias }) = op else {
        return Ok(false);
    };
    let row = weight.data().len() / bias.len();
    let rows = weight.data().chunks_exact(row).zip(gamma);
    let values = rows.flat_map(|(row, factor)| row.iter().map(move |value| value * factor));
    *weight = Tensor::new(weight.shape(), values.collect())?;
    for ((bias, factor), offset) in bias.iter_mut().zip(gamma).zip(beta) {
        *bias = *bias * factor + offset;
    }
    Ok(true)
}
