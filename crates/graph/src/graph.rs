//! A validated network.

use crate::{Error, Node, NodeId, Op, Shape};
use std::collections::HashSet;

/// Most nodes that a graph may have.
pub const MAX_NODES: usize = 4096;

/// Most elements that the value of a node may have: `2^24`.
pub const MAX_ELEMENTS: usize = 1 << 24;

/// A validated network: shapes known, nodes in the order of evaluation, weights finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
    shapes: Vec<Shape>,
}

impl Graph {
    /// Starts a graph whose input has this shape.
    pub fn builder(input: Shape) -> Builder {
        Builder {
            input,
            nodes: Vec::new(),
        }
    }

    /// Validates nodes given in the order of evaluation: the first one is the input, the last one the logits.
    ///
    /// # Errors
    /// [`Error::Graph`] for nodes that do not form a network, [`Error::Node`] for one that does not fit what it reads,
    /// [`Error::NotFinite`] for a NaN or infinite weight.
    pub fn new(input: Shape, nodes: Vec<Node>) -> Result<Self, Error> {
        check_structure(&nodes)?;
        let mut shapes: Vec<Shape> = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let inputs: Vec<Shape> = node.inputs.iter().map(|id| shapes[id.0]).collect();
            let shape = match node.op {
                Op::Input => input,
                _ => node.op.output_shape(&node.name, &inputs)?,
            };
            let elements = shape.elements();
            if elements == 0 || elements > MAX_ELEMENTS {
                return Err(Error::Node {
                    node: node.name.clone(),
                    what: format!(
                        "its value of shape {shape} has {elements} elements, expected 1 to {MAX_ELEMENTS}: check kernel, stride and padding"
                    ),
                });
            }
            shapes.push(shape);
        }
        for node in &nodes {
            check_finite(node)?;
        }
        let graph = Self { nodes, shapes };
        if let Shape::Map { .. } = graph.shape(graph.output()) {
            return Err(Error::Node {
                node: graph.node(graph.output()).name.clone(),
                what: format!(
                    "the last node must hold a vector of logits, found a map of {}: flatten it",
                    graph.shape(graph.output())
                ),
            });
        }
        Ok(graph)
    }

    /// The nodes in the order of evaluation.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node.
    ///
    /// # Panics
    /// When the graph has no such node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The node of a name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes
            .iter()
            .position(|node| node.name == name)
            .map(NodeId)
    }

    /// Shape of a node's value.
    ///
    /// # Panics
    /// When the graph has no such node.
    pub fn shape(&self, id: NodeId) -> Shape {
        self.shapes[id.0]
    }

    /// Shape of the input.
    pub fn input_shape(&self) -> Shape {
        self.shapes[0]
    }

    /// The node that holds the logits: the last one.
    pub fn output(&self) -> NodeId {
        NodeId(self.nodes.len() - 1)
    }

    /// Number of logits.
    pub fn classes(&self) -> usize {
        self.shape(self.output()).elements()
    }

    /// Refuses a network with operations of teachers, which cannot be computed on encrypted values.
    ///
    /// # Errors
    /// [`Error::TeacherOnly`] names the first of them.
    pub fn check_polynomial(&self) -> Result<(), Error> {
        let found = self.nodes.iter().find(|node| node.op.is_teacher_only());
        found.map_or(Ok(()), |node| {
            Err(Error::TeacherOnly {
                node: node.name.clone(),
                operation: node.op.kind(),
            })
        })
    }

    /// How many times each node is read.
    pub fn reader_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.nodes.len()];
        for id in self.nodes.iter().flat_map(|node| &node.inputs) {
            counts[id.0] += 1;
        }
        counts
    }

    /// Number of weights, statistics of batch normalization included.
    pub fn parameters(&self) -> u64 {
        self.nodes
            .iter()
            .flat_map(|node| node.op.tensors())
            .map(|(_, values)| values.len() as u64)
            .sum()
    }

    /// Multiply-accumulates of all convolutions and dense layers for one image, padded taps included.
    pub fn multiply_accumulates(&self) -> u64 {
        let of_node = |(node, shape): (&Node, &Shape)| match &node.op {
            Op::Conv2d { weight, .. } => {
                weight.data().len() as u64 * shape.channel_elements() as u64
            }
            Op::Dense { weight, .. } => weight.data().len() as u64,
            _ => 0,
        };
        self.nodes.iter().zip(&self.shapes).map(of_node).sum()
    }

    /// Number of elements that activations compute for one image.
    pub fn activations(&self) -> u64 {
        self.nodes
            .iter()
            .zip(&self.shapes)
            .filter(|(node, _)| matches!(node.op, Op::Activation(_) | Op::Quadratic { .. }))
            .map(|(_, shape)| shape.elements() as u64)
            .sum()
    }
}

fn check_structure(nodes: &[Node]) -> Result<(), Error> {
    let graph = |what: String| Err(Error::Graph { what });
    if nodes.len() < 2 || nodes.len() > MAX_NODES {
        return graph(format!(
            "expected 2 to {MAX_NODES} nodes, found {}: a network is an input and at least one layer",
            nodes.len()
        ));
    }
    let mut names = HashSet::new();
    for (index, node) in nodes.iter().enumerate() {
        let name = &node.name;
        let good = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        if name.is_empty() || name.len() > 128 || !name.chars().all(good) {
            return graph(format!(
                "node {index} has the name {:?}: use 1 to 128 of the characters A-Z a-z 0-9 _ - . /",
                name.chars().take(130).collect::<String>()
            ));
        }
        if !names.insert(name) {
            return graph(format!(
                "two nodes have the name {name:?}: give each its own"
            ));
        }
        let wrong = |what: String| {
            Err(Error::Node {
                node: name.clone(),
                what,
            })
        };
        if (node.op == Op::Input) != (index == 0) {
            return wrong(format!(
                "found {:?} as node {index}: the first node, and no other, must be the input",
                node.op.kind()
            ));
        }
        let arity = node.op.arity();
        if !arity.contains(&node.inputs.len()) {
            let expected = match (*arity.start(), *arity.end()) {
                (least, most) if least == most => format!("{least}"),
                (least, MAX_NODES) => format!("{least} or more"),
                (least, most) => format!("{least} to {most}"),
            };
            return wrong(format!(
                "{} reads {expected} values, found {}",
                node.op.kind(),
                node.inputs.len()
            ));
        }
        if let Some(id) = node.inputs.iter().find(|id| id.0 >= index) {
            return wrong(format!(
                "it is node {index} and reads node {}: give the nodes in the order of evaluation",
                id.0
            ));
        }
    }
    let mut read = vec![false; nodes.len()];
    nodes
        .iter()
        .flat_map(|node| &node.inputs)
        .for_each(|id| read[id.0] = true);
    if let Some(index) = read[..nodes.len() - 1].iter().position(|&read| !read) {
        return graph(format!(
            "nothing reads node {:?} and it is not the last one: remove it",
            nodes[index].name
        ));
    }
    Ok(())
}

fn check_finite(node: &Node) -> Result<(), Error> {
    for (tensor, values) in node.op.tensors() {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite {
                node: node.name.clone(),
                tensor,
                index,
                value: values[index],
            });
        }
    }
    Ok(())
}

/// Collects nodes one after the other; see [`Graph::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    input: Shape,
    nodes: Vec<Node>,
}

impl Builder {
    /// Appends a node and returns its id.
    pub fn push(&mut self, name: impl Into<String>, op: Op, inputs: &[NodeId]) -> NodeId {
        self.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
        });
        NodeId(self.nodes.len() - 1)
    }

    /// Validates the graph; the last node pushed is the output.
    ///
    /// # Errors
    /// As [`Graph::new`].
    pub fn finish(self) -> Result<Graph, Error> {
        Graph::new(self.input, self.nodes)
    }
}
