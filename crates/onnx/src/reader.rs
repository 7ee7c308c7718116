//! From ONNX's named values to the nodes of a graph.

use std::collections::{HashMap, HashSet};

use sordino_graph::{Graph, Node, NodeId, Op, OutputKind, Shape};

use crate::Error;
use crate::array::Array;
use crate::attributes::Attributes;
use crate::operators;
use crate::polynomial::Polynomial;
use crate::proto::{GraphProto, ValueInfoProto};

/// Most nodes that are looked at.
const MAX_NODES: usize = 1 << 16;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Constant(Array),
    /// A polynomial of a node's value. Exact nodes are made when something else than a polynomial needs it.
    Polynomial(Polynomial),
}

/// The network read so far.
pub(crate) struct Reader {
    nodes: Vec<Node>,
    shapes: Vec<Shape>,
    names: HashSet<String>,
    values: HashMap<String, Value>,
    pub(crate) output: OutputKind,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn read(graph: &GraphProto) -> Result<(Graph, OutputKind, Vec<String>), Error> {
    let malformed = |what: String| Error::Malformed { what };
    if graph.node.len() > MAX_NODES {
        return Err(malformed(format!(
            "{} nodes, expected at most {MAX_NODES}",
            graph.node.len()
        )));
    }
    let mut reader = Reader {
        nodes: Vec::new(),
        shapes: Vec::new(),
        names: HashSet::new(),
        values: HashMap::new(),
        output: OutputKind::Raw,
        warnings: Vec::new(),
    };
    for tensor in &graph.initializer {
        let constant = Value::Constant(Array::read(tensor)?);
        reader.values.insert(tensor.name.clone(), constant);
    }
    let inputs = graph.input.iter();
    let inputs: Vec<&ValueInfoProto> = inputs
        .filter(|input| !reader.values.contains_key(&input.name))
        .collect();
    let [input] = inputs[..] else {
        return Err(malformed(format!(
            "{} inputs, expected one: the images",
            inputs.len()
        )));
    };
    let shape = input_shape(input)?;
    let image = reader.push_shaped("input", Op::Input, &[], shape);
    let image = Value::Polynomial(Polynomial::of(image));
    reader.values.insert(input.name.clone(), image);
    let [output] = &graph.output[..] else {
        return Err(malformed(format!(
            "{} outputs, expected one: the logits",
            graph.output.len()
        )));
    };
    for node in &graph.node {
        let at = Attributes { node };
        let is_last = node.output.contains(&output.name);
        let value = operators::apply(&mut reader, at, is_last)?;
        let Some(name) = node.output.first() else {
            return Err(at.wrong("it has no output"));
        };
        reader.values.insert(name.clone(), value);
    }
    let logits = match reader.values.get(&output.name) {
        Some(Value::Polynomial(polynomial)) => polynomial.clone(),
        _ => {
            return Err(malformed(format!(
                "nothing computes the output {:?}",
                output.name
            )));
        }
    };
    let last = reader.materialize(&logits, "logits")?;
    reader.finish(last, shape)
}

/// Channels, height and width of the images.
fn input_shape(input: &ValueInfoProto) -> Result<Shape, Error> {
    let shape = input.r#type.as_ref();
    let shape = shape.and_then(|kind| kind.tensor_type.as_ref()?.shape.as_ref());
    let dims: Vec<i64> = shape.map_or_else(Vec::new, |s| {
        s.dim.iter().map(|dim| dim.dim_value).collect()
    });
    let sides = match dims[..] {
        [_, channels, height, width] => [channels, height, width].map(usize::try_from),
        _ => {
            return Err(Error::Malformed {
                what: format!(
                    "input {:?} has the dimensions {dims:?}, expected [batch, channels, height, width]: a network on vectors \
                     starts with torch.nn.Flatten, export it on images",
                    input.name
                ),
            });
        }
    };
    match sides {
        [Ok(channels), Ok(height), Ok(width)] if channels * height * width > 0 => {
            Ok(Shape::map(channels, height, width))
        }
        _ => Err(Error::Malformed {
            what: format!(
                "input {:?} has the dimensions {dims:?}, expected numbers for channels, height and width: only the batch may be dynamic",
                input.name
            ),
        }),
    }
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
    fn materialize(&mut self, polynomial: &Polynomial, name: &str) -> Result<NodeId, Error> {
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
        let node = self.push_shaped(&name, op, &[polynomial.node], shape);
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

    /// Appends an operation whose shape is known.
    pub(crate) fn push_shaped(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[NodeId],
        shape: Shape,
    ) -> NodeId {
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
    fn finish(self, last: NodeId, input: Shape) -> Result<(Graph, OutputKind, Vec<String>), Error> {
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
