//! From the bytes of an ONNX file to a graph.

use prost::Message;
use sordino_graph::{Graph, OutputKind, Shape};

use crate::Error;
use crate::array::Array;
use crate::attributes::Attributes;
use crate::proto::{GraphProto, ModelProto, ValueInfoProto};
use crate::reader::{Operator, Reader, Value};
use crate::simplify::simplify;

/// Largest file: 512 MiB, as for model files.
pub const MAX_FILE_BYTES: usize = 512 << 20;

/// Most nodes that are looked at.
const MAX_NODES: usize = 1 << 16;

/// A network read from an ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network. Layers that exporters split are one node again where that is exact.
    pub graph: Graph,
    /// What the logits stand for, by the last operation: a softmax, a sigmoid, or nothing, which is raw.
    pub output: OutputKind,
    /// Where the network differs from the file (a maximum pool became an average pool).
    pub warnings: Vec<String>,
    /// The program that wrote the file.
    pub producer: String,
}

/// Reads a network from the bytes of an ONNX file.
///
/// # Errors
/// [`Error::Malformed`] for bytes that are no ONNX model, [`Error::Unsupported`] and [`Error::Node`] for what has no
/// counterpart, [`Error::Graph`] for operations that do not form a network.
pub fn import(bytes: &[u8]) -> Result<Imported, Error> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(malformed(format!(
            "{} bytes, expected at most {MAX_FILE_BYTES}",
            bytes.len()
        )));
    }
    let model = ModelProto::decode(bytes).map_err(|error| {
        malformed(format!(
            "expected an ONNX file, found other bytes ({error})"
        ))
    })?;
    let producer = format!("{} {}", model.producer_name, model.producer_version);
    let graph = model
        .graph
        .ok_or_else(|| malformed("expected a graph, found none".to_string()))?;
    let (graph, output, warnings) = read(&graph)?;
    Ok(Imported {
        graph: simplify(&graph)?,
        output,
        warnings,
        producer: producer.trim().to_string(),
    })
}

fn malformed(what: String) -> Error {
    Error::Malformed { what }
}

/// The graph, the kind of output and the warnings.
fn read(graph: &GraphProto) -> Result<(Graph, OutputKind, Vec<String>), Error> {
    if graph.node.len() > MAX_NODES {
        return Err(malformed(format!(
            "{} nodes, expected at most {MAX_NODES}",
            graph.node.len()
        )));
    }
    let mut reader = Reader::default();
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
    let image = reader.input(shape);
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
        let value = Operator {
            reader: &mut reader,
            at,
        }
        .apply(is_last)?;
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
            return Err(malformed(format!(
                "input {:?} has the dimensions {dims:?}, expected [batch, channels, height, width]: a network on vectors \
                 starts with torch.nn.Flatten, export it on images",
                input.name
            )));
        }
    };
    match sides {
        [Ok(channels), Ok(height), Ok(width)] if channels * height * width > 0 => {
            Ok(Shape::map(channels, height, width))
        }
        _ => Err(malformed(format!(
            "input {:?} has the dimensions {dims:?}, expected numbers for channels, height and width: only the batch may be dynamic",
            input.name
        ))),
    }
}
