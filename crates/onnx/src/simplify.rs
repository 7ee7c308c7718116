//! Merging split layers: a factor and an offset behind a linear layer become part of the layer.

use sordino_graph::{Granularity, Graph, Node, NodeId, Op, Shape, Tensor};

use crate::Error;

/// Merges factors and offsets of the layer or each channel into the layer before them, where nothing else reads that
/// layer.
pub(crate) fn simplify(graph: &Graph) -> Result<Graph, Error> {
    let readers = graph.reader_counts();
    let mut places: Vec<NodeId> = Vec::with_capacity(graph.nodes().len());
    let mut nodes: Vec<Node> = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| places[input.0]).collect();
        if let Some(lines) = lines(&node.op, &graph.shape(NodeId(index)))
            && readers[node.inputs[0].0] == 1
            && merge(&mut nodes[inputs[0].0].op, &lines)
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

/// Factor and offset of each channel.
fn lines(op: &Op, shape: &Shape) -> Option<Vec<(f64, f64)>> {
    let Op::Affine {
        granularity,
        factor,
        offset,
    } = op
    else {
        return None;
    };
    if *granularity == Granularity::Element && shape.channel_elements() != 1 {
        return None;
    }
    let line = |channel: usize| {
        let index = granularity.index(shape, channel * shape.channel_elements());
        (f64::from(factor[index]), f64::from(offset[index]))
    };
    Some((0..shape.channels()).map(line).collect())
}

/// Whether `op` was a linear layer, and is now one with these factors and offsets of its channels.
pub(crate) fn merge(op: &mut Op, lines: &[(f64, f64)]) -> bool {
    let (Op::Conv2d { weight, bias, .. } | Op::Dense { weight, bias }) = op else {
        return false;
    };
    if bias.len() != lines.len() {
        return false;
    }
    let row = weight.data().len() / bias.len();
    let rows = weight.data().chunks_exact(row).zip(lines);
    let scaled = |value: f32, factor: f64| (f64::from(value) * factor) as f32;
    let values =
        rows.flat_map(|(row, (factor, _))| row.iter().map(move |&value| scaled(value, *factor)));
    let Ok(merged) = Tensor::new(weight.shape(), values.collect()) else {
        return false;
    };
    *weight = merged;
    for (bias, (factor, offset)) in bias.iter_mut().zip(lines) {
        *bias = (f64::from(*bias) * factor + offset) as f32;
    }
    true
}
