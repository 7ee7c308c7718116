//! From a decoded file to a graph: which nodes matter, what the input is, and one node after the other.

use std::collections::HashMap;
use std::rc::Rc;

use sordino_graph::{Graph, Shape};

use crate::Error;
use crate::array::Array;
use crate::attributes::Attributes;
use crate::computed::{Computed, Value};
use crate::element::Element;
use crate::error::malformed;
use crate::evaluate::Evaluator;
use crate::faults::Faults;
use crate::input::{InputDescription, describe};
use crate::network::{Imported, Network};
use crate::operators::{HALF, Operator};
use crate::options::{ImportOptions, InputLayout};
use crate::outputs::{Ending, ending};
use crate::proto::{NodeProto, TensorProto};
use crate::reader::Reader;
use crate::simplify::simplify;
use crate::table;
use crate::view::View;

/// What was read of a file.
struct Found {
    graph: Graph,
    ending: Ending,
    warnings: Vec<String>,
    takes_raw: bool,
    output: String,
    layout: InputLayout,
}

/// Reads a network from the bytes of an ONNX file.
///
/// # Errors
/// As [`Network::from_bytes`] and [`Network::import`].
pub fn import(bytes: &[u8]) -> Result<Imported, Error> {
    Network::from_bytes(bytes)?.import(&ImportOptions::default())
}

impl Network {
    /// The network as a graph.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::Node`] and [`Error::Several`] for what has no counterpart, [`Error::Malformed`]
    /// for a file that contradicts itself, [`Error::Graph`] for operations that do not form a network.
    pub fn import(&self, options: &ImportOptions) -> Result<Imported, Error> {
        let found = read(self, options)?;
        Ok(Imported {
            graph: simplify(&found.graph)?,
            output: found.ending.output,
            warnings: found.warnings,
            producer: self.producer.clone(),
            takes_raw: found.takes_raw,
            options: ImportOptions {
                output: Some(found.output),
                layout: Some(found.layout),
                ..options.clone()
            },
            form: found.ending.form,
            logits: found.ending.logits,
        })
    }
}

/// Reads the graph of a file.
fn read(network: &Network, options: &ImportOptions) -> Result<Found, Error> {
    let (output, chosen) = network.output(options.output.as_deref())?;
    let live = live_nodes(&network.graph.node, output)?;
    let input = network.input(&live)?;
    let options = &ImportOptions {
        layout: options
            .layout
            .or_else(|| layout_by_readers(&live, &input.name)),
        ..options.clone()
    };
    let mut description = describe(input, options)?;
    // Two images show what belongs to the batch.
    let open = description.batch.is_none();
    let images = description.batch.unwrap_or(2);
    description.dims[0] = images;
    let result = read_nodes(network, options, &live, &description, output, chosen);
    match result {
        // Some files take any number of images and have shapes for one inside.
        Err(_) if open => {
            description.dims[0] = 1;
            let single = read_nodes(network, options, &live, &description, output, chosen);
            match single {
                Ok(mut found) if result.as_ref().is_err_and(only_shapes) => {
                    found.warnings.push(
                        "the file says that it takes any number of images, but has shapes for one: it is read for one".to_string(),
                    );
                    Ok(found)
                }
                _ => result,
            }
        }
        result => result,
    }
}

/// Where the channels are, by what reads the input: convolutions have them first, TensorFlow's exporters move them there.
fn layout_by_readers(live: &[&NodeProto], input: &str) -> Option<InputLayout> {
    let mut readers = live
        .iter()
        .filter(|node| node.input.iter().any(|name| name == input))
        .peekable();
    readers.peek()?;
    let moves = |node: &NodeProto| {
        let perm = node
            .attribute
            .iter()
            .find(|attribute| attribute.name == "perm");
        node.op_type == "Transpose" && perm.is_some_and(|perm| perm.ints == [0, 3, 1, 2])
    };
    let layout = |node: &NodeProto| match &node.op_type[..] {
        "Conv" | "AveragePool" | "MaxPool" => Some(InputLayout::Nchw),
        _ => moves(node).then_some(InputLayout::Nhwc),
    };
    let first = layout(readers.peek()?)?;
    readers
        .all(|node| layout(node) == Some(first))
        .then_some(first)
}

/// Whether all that is wrong is that shapes do not fit a larger batch.
fn only_shapes(error: &Error) -> bool {
    match error {
        Error::Node { operator, what, .. } => {
            operator == "Reshape" && what.contains(crate::layout::MISFIT)
        }
        Error::Several { list, .. } => list
            .lines()
            .all(|line| line.contains(" x Reshape (") && line.contains(crate::layout::MISFIT)),
        _ => false,
    }
}

/// The nodes that the output needs, in the order of the file.
pub(crate) fn live_nodes<'a>(
    nodes: &'a [NodeProto],
    output: &str,
) -> Result<Vec<&'a NodeProto>, Error> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if makers.insert(name, index).is_some() {
                return Err(malformed(format!("two nodes compute {name:?}")));
            }
        }
    }
    let mut needed = vec![false; nodes.len()];
    let mut open: Vec<usize> = makers.get(output).copied().into_iter().collect();
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut needed[index], true) {
            open.extend(
                nodes[index]
                    .input
                    .iter()
                    .filter_map(|name| makers.get(&name[..])),
            );
        }
    }
    let live: Vec<&NodeProto> = nodes
        .iter()
        .zip(&needed)
        .filter(|(_, needed)| **needed)
        .map(|(node, _)| node)
        .collect();
    match live.is_empty() {
        true => Err(malformed(format!("nothing computes the output {output:?}"))),
        false => Ok(live),
    }
}

/// Reads the nodes one after the other, and collects what cannot be read.
fn read_nodes<'f>(
    network: &'f Network,
    options: &ImportOptions,
    live: &[&'f NodeProto],
    input: &InputDescription,
    output: &'f str,
    chosen: bool,
) -> Result<Found, Error> {
    let images = input.dims[0];
    let [channels, height, width] = input.image;
    let shape = Shape::map(channels, height, width);
    let mut consumers: HashMap<&str, usize> = HashMap::from([(output, 1)]);
    for name in live.iter().flat_map(|node| &node.input) {
        *consumers.entry(name).or_default() += 1;
    }
    let mut reader = Reader::new(Evaluator::folding(&network.beside), images, consumers);
    let node = reader.input(shape);
    let image = Computed {
        raw: input.element == Element::Uint8,
        ..Computed::of(node, View::ordered(images, &input.image))
    };
    let at = |node| Attributes {
        node,
        opset: network.opset,
    };
    let image = reader.moved(at(live[0]), &image, &input.layout())?;
    reader
        .values
        .insert(input.name.clone(), Value::Computed(image));
    if matches!(input.element, Element::Float16 | Element::BFloat16) {
        reader.warn_once(at(live[0]), HALF);
    }
    if input.guessed {
        reader.warnings.push(format!(
            "input {:?} is read as [batch, {height}, {width}, {channels}], channels last: --input-layout nchw says otherwise",
            input.name
        ));
    }
    if chosen {
        reader.warnings.push(format!(
            "the output {output:?} is imported, the others are left out: --output NAME chooses"
        ));
    }
    let initializers: HashMap<&str, &TensorProto> = network
        .graph
        .initializer
        .iter()
        .map(|t| (&t.name[..], t))
        .collect();
    let mut faults = Faults::default();
    for &node in live {
        let at = at(node);
        match step(&mut reader, at, &initializers, network) {
            Ok(values) => reader.keep(&node.op_type, &node.output, values),
            Err(error) => {
                faults.add(at, error)?;
                for name in &node.output {
                    reader.values.insert(name.clone(), Value::Refused);
                }
            }
        }
    }
    faults.finish()?;
    let value = reader.values.get(output).cloned();
    let last = at(live[live.len() - 1]);
    let value = value.ok_or_else(|| {
        last.wrong(format!(
            "its output {output:?} is not supported: choose another with --output"
        ))
    })?;
    let ending = ending(&mut reader, last, &value, output)?;
    let takes_raw = input.element == Element::Uint8 || reader.reads_raw();
    if takes_raw {
        let why = match input.element {
            Element::Uint8 => "its input is of type uint8",
            _ => "it scales its input itself, or takes a mean from it, as for values of 0 to 255",
        };
        reader.warnings.push(format!(
            "the images go in as they are, 0 to 255, because {why}: --std 1 has them scaled to 0..1 first"
        ));
    }
    let node = ending.node;
    let (graph, warnings) = reader.finish(node, shape)?;
    Ok(Found {
        graph,
        ending,
        warnings,
        takes_raw,
        output: output.to_string(),
        layout: options.layout.unwrap_or(input.layout),
    })
}

/// One node.
fn step<'f>(
    reader: &mut Reader<'f>,
    at: Attributes<'f>,
    initializers: &HashMap<&str, &TensorProto>,
    network: &Network,
) -> Result<Vec<Value>, Error> {
    table::check(at)?;
    let mut constant = true;
    for name in at.node.input.iter().filter(|name| !name.is_empty()) {
        if !reader.values.contains_key(name) {
            let tensor = initializers.get(&name[..]).ok_or_else(|| {
                at.wrong(format!("its input {name:?} is missing: the file has its nodes in a wrong order, or is damaged"))
            })?;
            let array = Array::read(tensor, &network.beside)?;
            reader
                .values
                .insert(name.clone(), Value::Constant(Rc::new(array)));
        }
        match reader.values.get(name) {
            Some(Value::Refused) => return Ok(vec![Value::Refused; at.node.output.len()]),
            Some(Value::Constant(_)) => {}
            Some(Value::Unread(operator)) => {
                return Err(at.wrong(format!(
                    "its input {name:?} is an output of {operator} that is not read: only values are, no class numbers, places or masks"
                )));
            }
            _ => constant = false,
        }
    }
    if !constant {
        return Operator { reader, at }.apply();
    }
    let arrays: Vec<Option<Rc<Array>>> = at
        .node
        .input
        .iter()
        .map(|name| match reader.values.get(name) {
            Some(Value::Constant(array)) => Some(Rc::clone(array)),
            _ => None,
        })
        .collect();
    let arrays: Vec<Option<&Array>> = arrays.iter().map(Option::as_deref).collect();
    let made = reader.evaluator.evaluate(at, &arrays)?;
    Ok(made
        .into_iter()
        .map(|array| Value::Constant(Rc::new(array)))
        .collect())
}
