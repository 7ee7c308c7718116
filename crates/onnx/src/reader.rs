//! The network read so far: ONNX's named values and the nodes of a graph that hold them.

use std::collections::{HashMap, HashSet};

use sordino_graph::{Graph, Node, NodeId, Op, OutputKind, Shape};

use crate::Error;
use crate::array::Array;
use crate::attributes::Attributes;
use crate::polynomial::Polynomial;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Constant(Array),
    /// A polynomial of a node's value. It becomes a node of its own when something else than a polynomial reads it.
    Polynomial(Polynomial),
}

impl Value {
    /// The value of a node itself.
    pub(crate) fn of(node: NodeId) -> Self {
        Self::Polynomial(Polynomial::of(node))
    }
}

/// The network read so far.
#[derive(Default)]
pub(crate) struct Reader {
    nodes: Vec<Node>,
    shapes: Vec<Shape>,
    names: HashSet<String>,
    pub(crate) values: HashMap<String, Value>,
    pub(crate) output: OutputKind,
    pub(crate) warnings: Vec<String>,
}

/// A node of the file, and the network that it is read into.
pub(crate) struct Operator<'a> {
    pub(crate) reader: &'a mut Reader,
    pub(crate) at: Attributes<'a>,
}

impl Operator<'_> {
    pub(crate) fn wrong(&self, what: impl Into<String>) -> Error {
        self.at.wrong(what)
    }

    pub(crate) fn unsupported(&self, advice: &str) -> Error {
        self.at.unsupported(advice)
    }

    /// The value of an input.
    pub(crate) fn value(&self, index: usize) -> Result<&Value, Error> {
        let name = self.at.node.input.get(index).map_or("", |name| name);
        self.reader.values.get(name).ok_or_else(|| {
            let input = format!("input {index} ({name:?})");
            self.at
                .wrong(format!("{input} is missing or computed later"))
        })
    }

    /// An optional constant.
    pub(crate) fn optional(&self, index: usize) -> Result<Option<&Array>, Error> {
        match self.at.node.input.get(index) {
            Some(name) if !name.is_empty() => self.constant(index).map(Some),
            _ => Ok(None),
        }
    }

    pub(crate) fn constant(&self, index: usize) -> Result<&Array, Error> {
        match self.value(index)? {
            Value::Constant(array) => Ok(array),
            Value::Polynomial(_) => Err(self.wrong(format!(
                "input {index} is computed, expected a constant: weights must not depend on the image"
            ))),
        }
    }

    pub(crate) fn polynomial(&self, index: usize) -> Result<&Polynomial, Error> {
        match self.value(index)? {
            Value::Polynomial(polynomial) => Ok(polynomial),
            Value::Constant(_) => Err(self.wrong(format!(
                "input {index} is a constant, expected what is computed from the image"
            ))),
        }
    }

    /// The node that holds the value of an input.
    pub(crate) fn node(&mut self, index: usize) -> Result<NodeId, Error> {
        let polynomial = self.polynomial(index)?.clone();
        self.reader.materialize(&polynomial, self.at.name())
    }

    /// Appends an operation under the name of this one, and gives its value.
    pub(crate) fn append(&mut self, op: Op, inputs: &[NodeId]) -> Result<Value, Error> {
        let node = self.reader.append(self.at.name(), op, inputs)?;
        Ok(Value::of(node))
    }
}

impl Reader {
    /// The node that holds the value of a polynomial, made if there is none.
    pub(crate) fn materialize(
        &mut self,
        polynomial: &Polynomial,
        name: &str,
    ) -> Result<NodeId, Error> {
        if polynomial.is_value() {
            return Ok(polynomial.node);
        }
        let shape = self.shape(polynomial.node);
        let op = polynomial.operation(&shape).ok_or_else(|| Error::Node {
            node: name.to_string(),
            operator: "Mul/Add".to_string(),
            what: "a product with factors that differ within a channel, or a constant, is no operation of its own: use a square, or one factor per channel"
                .to_string(),
        })?;
        let name = format!("{name}_{}", op.kind());
        let node = self.append(&name, op, &[polynomial.node])?;
        // Others who read the same polynomial find the node.
        for value in self.values.values_mut() {
            if matches!(value, Value::Polynomial(other) if other == polynomial) {
                *value = Value::Polynomial(Polynomial::of(node));
            }
        }
        Ok(node)
    }

    pub(crate) fn shape(&self, node: NodeId) -> Shape {
        self.shapes[node.0]
    }

    /// The value of the images, which must come first.
    pub(crate) fn input(&mut self, shape: Shape) -> Value {
        Value::of(self.append_shaped("input", Op::Input, &[], shape))
    }

    pub(crate) fn append(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[NodeId],
    ) -> Result<NodeId, Error> {
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.shape(input)).collect();
        let shape = op.output_shape(name, &shapes)?;
        Ok(self.append_shaped(name, op, inputs, shape))
    }

    fn append_shaped(&mut self, name: &str, op: Op, inputs: &[NodeId], shape: Shape) -> NodeId {
        let name = self.unique(name);
        self.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
        });
        self.shapes.push(shape);
        NodeId(self.nodes.len() - 1)
    }

    /// A name that the graph accepts and that no node has yet.
    fn unique(&mut self, name: &str) -> String {
        let refused = |c: char| !c.is_ascii_alphanumeric() && !"_-./".contains(c);
        let name: String = name.chars().take(100).collect();
        let name = name.replace(refused, "_");
        let name = match name.trim_matches('/') {
            "" => "node",
            name => name,
        };
        let mut candidate = name.to_string();
        let mut count = 1;
        while !self.names.insert(candidate.clone()) {
            count += 1;
            candidate = format!("{name}_{count}");
        }
        candidate
    }

    /// The graph of the nodes that the last one needs.
    pub(crate) fn finish(
        self,
        last: NodeId,
        input: Shape,
    ) -> Result<(Graph, OutputKind, Vec<String>), Error> {
        let mut needed = vec![false; self.nodes.len()];
        needed[last.0] = true;
        needed[0] = true;
        for index in (0..=last.0).rev() {
            if needed[index] {
                for input in &self.nodes[index].inputs {
                    needed[input.0] = true;
                }
            }
        }
        let mut places = vec![NodeId(0); self.nodes.len()];
        let mut kept = Vec::new();
        for (index, mut node) in self.nodes.into_iter().enumerate().take(last.0 + 1) {
            if !needed[index] {
                continue;
            }
            for input in &mut node.inputs {
                *input = places[input.0];
            }
            places[index] = NodeId(kept.len());
            kept.push(node);
        }
        Ok((Graph::new(input, kept)?, self.output, self.warnings))
    }
}
