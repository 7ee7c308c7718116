//! The network read so far: ONNX's named values and the nodes of a graph that hold them.

use std::collections::{HashMap, HashSet};

use sordino_graph::{Granularity, Graph, Node, NodeId, Op, Shape};

use crate::Error;
use crate::attributes::Attributes;
use crate::computed::{Called, Computed, Expression, Value};
use crate::evaluate::Evaluator;
use crate::polynomial::{Coefficient, Polynomial};
use crate::simplify::merge;

/// The network read so far.
pub(crate) struct Reader<'a> {
    nodes: Vec<Node>,
    shapes: Vec<Shape>,
    names: HashSet<String>,
    pub(crate) values: HashMap<String, Value>,
    pub(crate) warnings: Vec<String>,
    pub(crate) evaluator: Evaluator<'a>,
    /// Images that the dimensions of values count: those of the file, or two where it takes any number.
    pub(crate) batch: usize,
    /// Layers that one name stands for, which one node reads: what follows may become part of them.
    sole: HashSet<NodeId>,
    /// How many nodes read a name.
    consumers: HashMap<&'a str, usize>,
}

/// A network that multiplies its input by less makes small numbers of raw bytes.
const RAW_FACTOR: f64 = 1.0 / 48.0;

/// A network that takes more from its input takes the mean of raw bytes from them.
const RAW_MEAN: f64 = 16.0;

/// Most nodes of the graph while it is read.
const MAX_NODES: usize = 1 << 14;

impl<'a> Reader<'a> {
    pub(crate) fn new(
        evaluator: Evaluator<'a>,
        batch: usize,
        consumers: HashMap<&'a str, usize>,
    ) -> Self {
        Self {
            nodes: Vec::new(),
            shapes: Vec::new(),
            names: HashSet::new(),
            values: HashMap::new(),
            warnings: Vec::new(),
            evaluator,
            batch,
            sole: HashSet::new(),
            consumers,
        }
    }

    pub(crate) fn shape(&self, node: NodeId) -> Shape {
        self.shapes[node.0]
    }

    pub(crate) fn op(&self, node: NodeId) -> &Op {
        &self.nodes[node.0].op
    }

    /// Whether the operations that read the image scale raw values of 0 to 255, or take a mean of such values from them.
    pub(crate) fn reads_raw(&self) -> bool {
        let mut largest = 0.0f64;
        let mut mean = 0.0f64;
        for node in self
            .nodes
            .iter()
            .filter(|node| node.inputs.contains(&NodeId(0)))
        {
            // Factors, and what is taken from the image before them.
            let lines: Vec<(f64, f64)> = match &node.op {
                Op::Affine { factor, offset, .. } => {
                    let lines = factor.iter().zip(offset);
                    lines
                        .map(|(&factor, &offset)| {
                            (factor.into(), -f64::from(offset) / f64::from(factor))
                        })
                        .collect()
                }
                Op::BatchNorm {
                    gamma,
                    mean,
                    variance,
                    epsilon,
                    ..
                } => {
                    let channels = gamma.iter().zip(mean).zip(variance);
                    channels
                        .map(|((&gamma, &mean), &variance)| {
                            let deviation = (f64::from(variance) + epsilon).sqrt();
                            (f64::from(gamma) / deviation, mean.into())
                        })
                        .collect()
                }
                _ => return false,
            };
            for (factor, taken) in lines {
                largest = largest.max(factor.abs());
                mean = mean.max(taken);
            }
        }
        largest > 0.0 && largest < RAW_FACTOR || (RAW_MEAN..=255.0).contains(&mean)
    }

    /// The first node that a node reads.
    pub(crate) fn reads(&self, node: NodeId) -> NodeId {
        self.nodes[node.0].inputs[0]
    }

    /// The node of the images, which must come first.
    pub(crate) fn input(&mut self, shape: Shape) -> NodeId {
        self.append_shaped("input", Op::Input, &[], shape)
    }

    /// Keeps the values of a node's outputs.
    pub(crate) fn keep(&mut self, operator: &str, names: &'a [String], values: Vec<Value>) {
        for name in names
            .iter()
            .skip(values.len())
            .filter(|name| !name.is_empty())
        {
            self.values
                .insert(name.clone(), Value::Unread(operator.to_string()));
        }
        let mut layers = HashSet::new();
        for (name, value) in names.iter().zip(values) {
            if let Value::Computed(computed) = &value {
                let node = computed.node();
                let read_once = self.consumers.get(&name[..]) == Some(&1);
                if !read_once || !layers.insert(node) {
                    self.sole.remove(&node);
                }
            }
            self.values.insert(name.clone(), value);
        }
    }

    /// Makes factor and offset part of the layer that a value is, where nothing else reads the layer.
    pub(crate) fn absorb(
        &mut self,
        value: &Computed,
        factor: &Coefficient,
        offset: &Coefficient,
    ) -> bool {
        let node = value.node();
        let own = matches!(&value.expression, Expression::Polynomial(polynomial) if polynomial.is_value());
        if !own || !self.sole.contains(&node) {
            return false;
        }
        let shape = self.shape(node);
        let per_channel = |coefficient: &Coefficient| {
            coefficient.granularity() != Granularity::Element || shape.channel_elements() == 1
        };
        if !per_channel(factor) || !per_channel(offset) {
            return false;
        }
        let numbers = |coefficient: &Coefficient| coefficient.at(Granularity::Channel, &shape);
        let lines: Vec<(f64, f64)> = numbers(factor).into_iter().zip(numbers(offset)).collect();
        merge(&mut self.nodes[node.0].op, &lines)
    }

    pub(crate) fn warn(&mut self, at: Attributes, what: &str) {
        // A network may have thousands of nodes of a kind.
        if self.warnings.len() < 64 {
            self.warnings.push(format!("{}: {what}", at.name()));
        }
    }

    /// A warning that is given for the first node only.
    pub(crate) fn warn_once(&mut self, at: Attributes, what: &str) {
        if self.warnings.iter().all(|warning| !warning.contains(what)) {
            self.warn(at, what);
        }
    }

    pub(crate) fn append(
        &mut self,
        at: Attributes,
        op: Op,
        inputs: &[NodeId],
    ) -> Result<NodeId, Error> {
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.shape(input)).collect();
        let shape = op.output_shape(at.name(), &shapes)?;
        self.has_room(at, &shape)?;
        Ok(self.append_shaped(at.name(), op, inputs, shape))
    }

    /// Refuses networks that are too large.
    fn has_room(&self, at: Attributes, shape: &Shape) -> Result<(), Error> {
        if shape.elements() > sordino_graph::MAX_ELEMENTS || self.nodes.len() >= MAX_NODES {
            return Err(at.wrong(format!(
                "the network has more than {MAX_NODES} operations, or a value of more than {} elements: use a smaller one",
                sordino_graph::MAX_ELEMENTS
            )));
        }
        self.evaluator.charge(at, shape.elements() as u64)
    }

    fn append_shaped(&mut self, name: &str, op: Op, inputs: &[NodeId], shape: Shape) -> NodeId {
        let name = self.unique(name, op.kind());
        self.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
        });
        self.shapes.push(shape);
        let node = NodeId(self.nodes.len() - 1);
        if matches!(self.nodes[node.0].op, Op::Conv2d { .. } | Op::Dense { .. }) {
            self.sole.insert(node);
        }
        node
    }

    /// A name that the graph accepts and that no node has yet.
    fn unique(&mut self, name: &str, kind: &str) -> String {
        let refused = |c: char| !c.is_ascii_alphanumeric() && !"_-./".contains(c);
        let name: String = name.chars().take(80).collect();
        let name = name.replace(refused, "_");
        let name = match name.trim_matches('/') {
            "" => kind,
            name => name,
        };
        let mut candidate = name.to_string();
        if self.names.contains(&candidate) {
            candidate = format!("{name}_{kind}");
        }
        if self.names.contains(&candidate) {
            candidate = format!("{name}_{}", self.nodes.len());
        }
        while !self.names.insert(candidate.clone()) {
            candidate.push('_');
        }
        candidate
    }

    /// A node whose value is this one, but for the order of its elements.
    pub(crate) fn settle(&mut self, at: Attributes, value: &Computed) -> Result<Computed, Error> {
        let node = match &value.expression {
            Expression::Polynomial(polynomial) if polynomial.is_value() => return Ok(value.clone()),
            _ if value.raw => return Err(at.wrong(RAW)),
            Expression::Polynomial(polynomial) => self.polynomial_node(at, polynomial)?,
            Expression::Call(call) => {
                let Called::Own(function) = call.function.clone() else {
                    return Err(Error::Unsupported {
                        node: call.made_by.clone(),
                        operator: if call.function == Called::Erf { "Erf" } else { "Tanh" }.to_string(),
                        advice: "it is known as part of GELU and Mish only: train the network with an activation of the list \
                                 (docs/reference/onnx.md)"
                            .to_string(),
                    });
                };
                let inner = line(call.node, call.scale, call.shift);
                let inner = self.polynomial_node(at, &inner)?;
                // The node has the name of its activation, not of what reads it.
                let shape = self.shape(inner);
                self.has_room(at, &shape)?;
                let active =
                    self.append_shaped(&call.made_by, Op::Activation(function), &[inner], shape);
                let outer = line(active, call.factor, call.offset);
                self.polynomial_node(at, &outer)?
            }
        };
        Ok(Computed::of(node, value.view.clone()))
    }

    fn polynomial_node(
        &mut self,
        at: Attributes,
        polynomial: &Polynomial,
    ) -> Result<NodeId, Error> {
        if polynomial.is_value() {
            return Ok(polynomial.node);
        }
        let shape = self.shape(polynomial.node);
        let op = polynomial.operation(&shape).ok_or_else(|| {
            at.wrong("it reads a product (Mul, Pow) of degree above 2, or what does not depend on the image: use a quadratic activation in each place")
        })?;
        self.append(at, op, &[polynomial.node])
    }

    /// The value as a polynomial of a node: calls get a node of their own.
    pub(crate) fn as_polynomial(
        &mut self,
        at: Attributes,
        value: &Computed,
    ) -> Result<Computed, Error> {
        match value.expression {
            Expression::Polynomial(_) => Ok(value.clone()),
            Expression::Call(_) => self.settle(at, value),
        }
    }

    /// The graph of the nodes that the last one needs.
    pub(crate) fn finish(self, last: NodeId, input: Shape) -> Result<(Graph, Vec<String>), Error> {
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
        Ok((Graph::new(input, kept)?, self.warnings))
    }
}

/// What is said of arithmetic on raw bytes.
pub(crate) const RAW: &str =
    "it computes with whole numbers, the raw bytes of the images: cast them to float first";

fn line(node: NodeId, factor: f64, offset: f64) -> Polynomial {
    Polynomial::line(
        node,
        Coefficient::scalar(factor),
        Coefficient::scalar(offset),
    )
}
