//! The model file: safetensors, with everything that is not a tensor in one JSON string of its metadata.
//!
//! Safetensors has no checksum, so the JSON carries a digest of itself and of all tensors. It is compared last: a file
//! that another tool wrote is told what is wrong with its network rather than that it has no digest.

use crate::infer::tensors;
use crate::{
    Calibration, Error, Granularity, Graph, Model, Node, NodeId, Op, OutputKind, Preprocess, Shape,
    Tensor,
};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sordino_container::Digest;
use std::collections::HashMap;

/// Version of the format that this crate writes and the only one it reads.
const FORMAT_VERSION: u32 = 1;

/// Largest model file: 512 MiB.
pub(crate) const MAX_FILE_BYTES: u64 = 512 << 20;

/// Largest header of tensor names and metadata: 4 MiB.
const MAX_HEADER_BYTES: u64 = 4 << 20;

/// Key of the JSON string in the metadata.
const KEY: &str = "sordino";

#[derive(Deserialize)]
struct VersionOnly {
    format_version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format_version: u32,
    /// Of everything else; see [`content_digest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    name: String,
    dataset: String,
    classes: Vec<String>,
    output: OutputKind,
    preprocess: Preprocess,
    input: Shape,
    nodes: Vec<NodeDescription>,
    calibration: Option<Calibration>,
    training: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeDescription {
    name: String,
    op: OpDescription,
    inputs: Vec<NodeId>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum OpDescription {
    Input,
    Conv2d {
        stride: [usize; 2],
        padding: [usize; 2],
    },
    Dense,
    AveragePool {
        kernel: [usize; 2],
        stride: [usize; 2],
    },
    BatchNorm {
        epsilon: f64,
    },
    Flatten,
    Add,
    Relu,
    Quadratic {
        granularity: Granularity,
    },
}

fn wrong(location: &str, what: impl Into<String>) -> Error {
    Error::ModelFile {
        location: location.to_string(),
        what: what.into(),
    }
}

/// Refuses a file over the limit before it is read.
pub(crate) fn check_length(bytes: u64, location: &str) -> Result<(), Error> {
    if bytes <= MAX_FILE_BYTES {
        return Ok(());
    }
    Err(wrong(
        location,
        format!(
            "expected a model file of at most {MAX_FILE_BYTES} bytes, found {bytes}: check that this is the right file"
        ),
    ))
}

fn describe(op: &Op) -> OpDescription {
    match op {
        Op::Input => OpDescription::Input,
        Op::Conv2d {
            stride, padding, ..
        } => OpDescription::Conv2d {
            stride: *stride,
            padding: *padding,
        },
        Op::Dense { .. } => OpDescription::Dense,
        Op::AveragePool { kernel, stride } => OpDescription::AveragePool {
            kernel: *kernel,
            stride: *stride,
        },
        Op::BatchNorm { epsilon, .. } => OpDescription::BatchNorm { epsilon: *epsilon },
        Op::Flatten => OpDescription::Flatten,
        Op::Add => OpDescription::Add,
        Op::Relu => OpDescription::Relu,
        Op::Quadratic { granularity, .. } => OpDescription::Quadratic {
            granularity: *granularity,
        },
    }
}

/// Name of the tensor with the statistics of a folded node's elements.
fn statistics_tensor(index: usize) -> String {
    format!("calibration/{index}.mean_square")
}

/// A tensor to be written.
struct Written<'a> {
    name: String,
    shape: Vec<usize>,
    values: &'a [f32],
}

impl Written<'_> {
    /// Of the values in single precision, however they are stored.
    fn digest(&self) -> Digest {
        let bytes: Vec<u8> = self.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Digest::of_bytes(&bytes)
    }

    /// Half precision where it loses nothing, else single.
    fn stored(&self) -> (Dtype, Vec<u8>) {
        let halves: Vec<f16> = self.values.iter().map(|&v| f16::from_f32(v)).collect();
        let exact = |(half, value): (&f16, &f32)| half.to_f32().to_bits() == value.to_bits();
        if halves.iter().zip(self.values).all(exact) {
            let bytes = halves.iter().flat_map(|half| half.to_le_bytes());
            (Dtype::F16, bytes.collect())
        } else {
            let bytes = self.values.iter().flat_map(|value| value.to_le_bytes());
            (Dtype::F32, bytes.collect())
        }
    }
}

fn describe_model(model: &Model) -> Description {
    Description {
        format_version: FORMAT_VERSION,
        digest: None,
        name: model.name.clone(),
        dataset: model.dataset.clone(),
        classes: model.classes.clone(),
        output: model.output,
        preprocess: model.preprocess.clone(),
        input: model.graph.input_shape(),
        nodes: model
            .graph
            .nodes()
            .iter()
            .map(|node| NodeDescription {
                name: node.name.clone(),
                op: describe(&node.op),
                inputs: node.inputs.clone(),
            })
            .collect(),
        calibration: model.calibration.clone(),
        training: model.training.clone(),
    }
}

fn written_tensors(model: &Model) -> Vec<Written<'_>> {
    let mut all = Vec::new();
    let mut add = |name, shape, values| {
        all.push(Written {
            name,
            shape,
            values,
        });
    };
    for node in model.graph.nodes() {
        for (name, values) in tensors(node) {
            let shape = match &node.op {
                Op::Conv2d { weight, .. } | Op::Dense { weight, .. } if name == "weight" => {
                    weight.shape().to_vec()
                }
                _ => vec![values.len()],
            };
            add(format!("{}.{name}", node.name), shape, values);
        }
    }
    let statistics = model.calibration.iter().flat_map(|c| &c.folded);
    for (index, node) in statistics.enumerate() {
        let values = &node.mean_square;
        add(statistics_tensor(index), vec![values.len()], values);
    }
    all
}

fn unwritable(what: String) -> Error {
    wrong("model", what)
}

fn to_json(description: &Description) -> Result<String, Error> {
    serde_json::to_string(description)
        .map_err(|error| unwritable(format!("its description cannot be written: {error}")))
}

/// Digest of the description without its digest, and of name, shape and digest of every tensor in the graph's order.
fn content_digest(description: &Description, tensors: &[Written<'_>]) -> Result<Digest, Error> {
    let mut content = Digest::of_bytes(to_json(description)?.as_bytes())
        .0
        .to_vec();
    for tensor in tensors {
        // A name has no control characters and a shape prints digits, so that the pieces cannot be cut another way.
        content.extend(format!("{}\n{:?}\n", tensor.name, tensor.shape).bytes());
        content.extend(tensor.digest().0);
    }
    Ok(Digest::of("sordino model v1", &content))
}

pub(crate) fn to_bytes(model: &Model) -> Result<Vec<u8>, Error> {
    let mut description = describe_model(model);
    let tensors = written_tensors(model);
    description.digest = Some(content_digest(&description, &tensors)?);
    let stored: Vec<(Dtype, Vec<u8>)> = tensors.iter().map(Written::stored).collect();
    let views = tensors
        .iter()
        .zip(&stored)
        .map(|(tensor, (dtype, bytes))| {
            TensorView::new(*dtype, tensor.shape.clone(), bytes)
                .map(|view| (tensor.name.as_str(), view))
                .map_err(|error| unwritable(format!("tensor {:?}: {error}", tensor.name)))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    // One key only: the order of several would not be fixed.
    let metadata = HashMap::from([(KEY.to_string(), to_json(&description)?)]);
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| unwritable(error.to_string()))?;
    check_length(bytes.len() as u64, "model")?;
    check_header(&bytes, "model")?;
    Ok(bytes)
}

/// Refuses a header over the limit before it is parsed.
fn check_header(bytes: &[u8], location: &str) -> Result<(), Error> {
    let Some(length) = bytes.first_chunk::<8>() else {
        return Err(wrong(
            location,
            format!(
                "expected a safetensors file, found {} bytes: the file was cut short, copy or make it again",
                bytes.len()
            ),
        ));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(wrong(
            location,
            format!(
                "expected a safetensors header of at most {MAX_HEADER_BYTES} bytes, found {length}: check that this is a model file"
            ),
        ));
    }
    if length > bytes.len() as u64 - 8 {
        return Err(wrong(
            location,
            format!(
                "expected a header of {length} bytes, found {}: the file was cut short, copy or make it again",
                bytes.len() - 8
            ),
        ));
    }
    Ok(())
}

pub(crate) fn from_bytes(bytes: &[u8], location: &str) -> Result<Model, Error> {
    check_length(bytes.len() as u64, location)?;
    check_header(bytes, location)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| {
        wrong(
            location,
            format!("expected a safetensors file: {error}: the file is damaged or of another kind, copy or make it again"),
        )
    })?;
    let json = metadata
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(KEY))
        .ok_or_else(|| {
            wrong(
                location,
                format!("expected the key {KEY:?} in the metadata: these are weights without a network, export them with Sordino"),
            )
        })?;
    let described = |error: serde_json::Error| {
        wrong(
            location,
            format!(
                "its description cannot be read: {error}: make the file again with this version"
            ),
        )
    };
    let VersionOnly { format_version } = serde_json::from_str(json).map_err(described)?;
    if format_version != FORMAT_VERSION {
        return Err(wrong(
            location,
            format!(
                "expected model format version {FORMAT_VERSION}, found {format_version}: make the file again with this version, or read it with the version that wrote it"
            ),
        ));
    }
    let description: Description = serde_json::from_str(json).map_err(described)?;
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| wrong(location, format!("{error}: copy or make the file again")))?;
    let tensors = Tensors {
        file,
        used: 0,
        location,
    };
    build(description, tensors)
}

fn build(description: Description, mut tensors: Tensors<'_>) -> Result<Model, Error> {
    let location = tensors.location;
    let content = |error: Error| Error::ModelContent {
        location: location.to_string(),
        source: Box::new(error),
    };
    let nodes = description
        .nodes
        .into_iter()
        .map(|node| {
            Ok(Node {
                op: tensors.op(&node)?,
                name: node.name,
                inputs: node.inputs,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let graph = Graph::new(description.input, nodes).map_err(content)?;
    let mut calibration = description.calibration;
    let statistics = calibration.iter_mut().flat_map(|c| &mut c.folded);
    for (index, node) in statistics.enumerate() {
        node.mean_square = tensors.vector(&statistics_tensor(index))?;
    }
    let found = tensors.file.len();
    if found != tensors.used {
        return Err(wrong(
            location,
            format!(
                "expected {} tensors, found {found}: the file does not fit its own description, make it again",
                tensors.used
            ),
        ));
    }
    let model = Model {
        graph,
        preprocess: description.preprocess,
        classes: description.classes,
        output: description.output,
        name: description.name,
        dataset: description.dataset,
        calibration,
        training: description.training,
    };
    model.validate().map_err(content)?;
    let expected = content_digest(&describe_model(&model), &written_tensors(&model))?;
    if description.digest != Some(expected) {
        return Err(wrong(
            location,
            "its content does not match its digest: the file was damaged or edited, copy or make it again",
        ));
    }
    Ok(model)
}

/// The tensors of a file, counted as they are taken.
struct Tensors<'a> {
    file: SafeTensors<'a>,
    used: usize,
    location: &'a str,
}

impl Tensors<'_> {
    fn op(&mut self, node: &NodeDescription) -> Result<Op, Error> {
        let name = |tensor: &str| format!("{}.{tensor}", node.name);
        Ok(match node.op {
            OpDescription::Input => Op::Input,
            OpDescription::Conv2d { stride, padding } => Op::Conv2d {
                weight: self.tensor(&name("weight"))?,
                bias: self.vector(&name("bias"))?,
                stride,
                padding,
            },
            OpDescription::Dense => Op::Dense {
                weight: self.tensor(&name("weight"))?,
                bias: self.vector(&name("bias"))?,
            },
            OpDescription::AveragePool { kernel, stride } => Op::AveragePool { kernel, stride },
            OpDescription::BatchNorm { epsilon } => Op::BatchNorm {
                gamma: self.vector(&name("gamma"))?,
                beta: self.vector(&name("beta"))?,
                mean: self.vector(&name("mean"))?,
                variance: self.vector(&name("variance"))?,
                epsilon,
            },
            OpDescription::Flatten => Op::Flatten,
            OpDescription::Add => Op::Add,
            OpDescription::Relu => Op::Relu,
            OpDescription::Quadratic { granularity } => Op::Quadratic {
                granularity,
                a: self.vector(&name("a"))?,
                b: self.vector(&name("b"))?,
                c: self.vector(&name("c"))?,
            },
        })
    }

    fn tensor(&mut self, name: &str) -> Result<Tensor, Error> {
        let view = self.file.tensor(name).map_err(|_| {
            wrong(
                self.location,
                format!("expected a tensor {name:?}, found none of that name: make the file again"),
            )
        })?;
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => {
                let (numbers, _) = view.data().as_chunks::<4>();
                numbers.iter().map(|&b| f32::from_le_bytes(b)).collect()
            }
            Dtype::F16 => {
                let (numbers, _) = view.data().as_chunks::<2>();
                let halves = numbers.iter().map(|&b| f16::from_le_bytes(b));
                halves.map(f16::to_f32).collect()
            }
            other => {
                return Err(wrong(
                    self.location,
                    format!(
                        "expected tensor {name:?} in f32 or f16, found {other}: convert the weights to f32"
                    ),
                ));
            }
        };
        let tensor = Tensor::new(view.shape(), values).map_err(|error| Error::ModelContent {
            location: self.location.to_string(),
            source: Box::new(error),
        })?;
        self.used += 1;
        Ok(tensor)
    }

    fn vector(&mut self, name: &str) -> Result<Vec<f32>, Error> {
        let tensor = self.tensor(name)?;
        if tensor.shape().len() != 1 {
            return Err(wrong(
                self.location,
                format!(
                    "expected tensor {name:?} with one axis, found the shape {:?}: make the file again",
                    tensor.shape()
                ),
            ));
        }
        Ok(tensor.into_data())
    }
}
