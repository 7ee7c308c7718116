//! A validated network.

use crate::{Error, Node, NodeId, Op, Shape};

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
    /// [`Error::Graph`], [`Error::Node`] or [`Error::NotFinite`] for what cannot be computed.
    pub fn new(input: Shape, nodes: Vec<Node>) -> Result<Self, Error> {
        Ok(Self {
            shapes: vec![input; nodes.len()],
            nodes,
        })
    }

    /// The nodes in the order of evaluation.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Shape of a node's value.
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
        self.shapes[self.nodes.len() - 1].elements()
    }
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
