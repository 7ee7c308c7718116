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
    fn of(node: NodeId) -> Self {
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

impl Reader {
    /// The value of an input of a node.
    pub(crate) fn value(&self, at: Attributes<'_>, index: usize) -> Result<&Value, Error> {
        let name = at.node.input.get(index).map_or("", |name| name);
        self.values.get(name).ok_or_else(|| {
            at.wrong(format!(
                "input {index} ({name:?}) is missing or computed later"
            ))
        })
    }

    /// An optional constant.
    pub(crate) fn optional(
        &self,
        at: Attributes<'_>,
        index: usize,
    ) -> Result<Option<&Array>, Error> {
        match at.node.input.get(index) {
            Some(name) if !name.is_empty() => self.constant(at, index).map(Some),
            _ => Ok(None),
        }
    }

    pub(crate) fn constant(&self, at: Attributes<'_>, index: usize) -> Result<&Array, Error> {
        match self.value(at, index)? {
            Value::Constant(array) => Ok(array),
            Value::Polynomial(_) => Err(at.wrong(format!(
                "input {index} is computed, expected a constant: weights must not depend on the image"
            ))),
        }
    }

    pub(crate) fn polynomial(
        &self,
        at: Attributes<'_>,
        index: usize,
    ) -> Result<&Polynomial, Error> {
        match self.value(at, index)? {
            Value::Polynomial(polynomial) => Ok(polynomial),
            Value::Constant(_) => Err(at.wrong(format!(
                "input {index} is a constant, expected what is computed from the image"
            ))),
        }
    }

    /// The node that holds the value of an input.
    pub(crate) fn node(&mut self, at: Attributes<'_>, index: usize) -> Result<NodeId, Error> {
        let polynomial = self.polynomial(at, index)?.clone();
        self.materialize(&polynomial, at.name())
    }

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
            what: "a product with factors that differ within a channel, or a constant, is no operation of its own: use a square, or one factor a channel"
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

    /// Appends an operation, and gives its value.
    pub(crate) fn push(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> Result<Value, Error> {
        self.append(name, op, inputs).map(Value::of)
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
        let accepted = |c: char| {
            if c.is_ascii_alphanumeric() || "_-./".contains(c) {
                c
            } else {
                '_'
            }
        };
        let name: String = name.chars().map(accepted).take(100).collect();
        let name = name.trim_matches('/').to_string();
        let name = if name.is_empty() {
            "node".to_string()
        } else {
            name
        };
        let mut candidate = name.clone();
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
                self.nodes[index]
                    .inputs
                    .iter()
                    .for_each(|input| needed[input.0] = true);
            }
        }
        let mut places = vec![NodeId(0); self.nodes.len()];
        let mut kept = Vec::new();
        for (index, mut node) in self.nodes.into_iter().enumerate().take(last.0 + 1) {
            if !needed[index] {
                continue;
            }
            node.inputs
                .iter_mut()
                .for_each(|input| *input = places[input.0]);
            places[index] = NodeId(kept.len());
            kept.push(node);
        }
        Ok((Graph::new(input, kept)?, self.output, self.warnings))
    }
}
