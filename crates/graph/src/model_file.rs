//! The model file: safetensors, with everything that is not a tensor in one JSON string of its metadata.
//!
//! Safetensors has no checksum, so the JSON carries a digest of itself and of all tensors. It is compared last: for a
//! file that another tool wrote, the error then names what is wrong with its network and not the missing digest.

use crate::{
    Calibration, Error, Function, Graph, Model, Node, Op, OperatingPoints, OutputKind, Preprocess,
    Shape, Tensor,
};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sordino_container::Digest;
use std::borrow::Cow;
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
struct Description<'a> {
    format_version: u32,
    /// Digest of everything else; see [`content_digest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    name: String,
    dataset: String,
    classes: Vec<String>,
    output: OutputKind,
    preprocess: Preprocess,
    input: Shape,
    nodes: Cow<'a, [Node]>,
    calibration: Option<Calibration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operating_points: Option<OperatingPoints>,
    training: serde_json::Value,
}

/// What is wrong with a file, without its name.
pub(crate) enum Fault {
    /// The bytes are not a good model file.
    File(String),
    /// The file describes a network that cannot be used.
    Content(Error),
}

impl Fault {
    /// The error for a file of this name.
    pub(crate) fn at(self, location: &str) -> Error {
        let location = location.to_string();
        match self {
            Self::File(what) => Error::ModelFile { location, what },
            Self::Content(reason) => Error::ModelContent {
                location,
                reason: Box::new(reason),
            },
        }
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::File(what)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Content(error)
    }
}

/// Refuses a file over the limit before it is read.
pub(crate) fn check_length(bytes: u64) -> Result<(), Fault> {
    if bytes <= MAX_FILE_BYTES {
        return Ok(());
    }
    Err(format!(
        "expected a model file of at most {MAX_FILE_BYTES} bytes, found {bytes}: check that this is the right file"
    ))?
}

/// Name of the tensor with the statistics of a folded node's elements.
fn statistics_tensor(index: usize) -> String {
    format!("calibration/{index}.mean_square")
}

/// Names of the tensors with the statistic of the images.
const INPUT_TENSORS: [&str; 3] = [
    "calibration/input.mean",
    "calibration/input.deviation",
    "calibration/input.whitening",
];

/// A tensor to be written.
struct Written<'a> {
    name: String,
    shape: Vec<usize>,
    values: Values<'a>,
}

/// The values of a tensor.
#[derive(Clone, Copy)]
enum Values<'a> {
    Numbers(&'a [f32]),
    Indices(&'a [i32]),
}

impl Written<'_> {
    /// Digest of the values, numbers in single precision in whichever precision they are stored.
    fn digest(&self) -> Digest {
        Digest::of_bytes(&self.values.bytes())
    }

    /// Numbers in half precision where it loses nothing, else in single.
    fn stored(&self) -> (Dtype, Vec<u8>) {
        let Values::Numbers(values) = self.values else {
            return (Dtype::I32, self.values.bytes());
        };
        let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
        let exact = |(half, value): (&f16, &f32)| half.to_f32().to_bits() == value.to_bits();
        if halves.iter().zip(values).all(exact) {
            let bytes = halves.iter().flat_map(|half| half.to_le_bytes());
            (Dtype::F16, bytes.collect())
        } else {
            (Dtype::F32, self.values.bytes())
        }
    }
}

impl Values<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Numbers(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::Indices(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

fn describe_model(model: &Model) -> Description<'_> {
    Description {
        format_version: FORMAT_VERSION,
        digest: None,
        name: model.name.clone(),
        dataset: model.dataset.clone(),
        classes: model.classes.clone(),
        output: model.output,
        preprocess: model.preprocess.clone(),
        input: model.graph.input_shape(),
        nodes: Cow::Borrowed(model.graph.nodes()),
        calibration: model.calibration.clone(),
        operating_points: model.operating_points.clone(),
        training: model.training.clone(),
    }
}

fn written_tensors<'m>(model: &'m Model) -> Vec<Written<'m>> {
    let mut all = Vec::new();
    for node in model.graph.nodes() {
        for (name, values) in node.op.tensors() {
            let shape = match &node.op {
                Op::Conv2d { weight, .. } | Op::Dense { weight, .. } if name == "weight" => {
                    weight.shape().to_vec()
                }
                _ => vec![values.len()],
            };
            all.push(Written {
                name: format!("{}.{name}", node.name),
                shape,
                values: Values::Numbers(values),
            });
        }
        if let Op::Select { indices, .. } = &node.op {
            all.push(Written {
                name: format!("{}.indices", node.name),
                shape: vec![indices.len()],
                values: Values::Indices(indices),
            });
        }
    }
    let mut add = |name, values: &'m [f32]| {
        all.push(Written {
            name,
            shape: vec![values.len()],
            values: Values::Numbers(values),
        });
    };
    let statistics = model.calibration.iter().flat_map(|c| &c.folded);
    for (index, node) in statistics.enumerate() {
        add(statistics_tensor(index), &node.mean_square);
    }
    if let Some(input) = model.calibration.as_ref().and_then(|c| c.input.as_ref()) {
        let lists = [&input.mean, &input.deviation, &input.whitening];
        for (name, values) in INPUT_TENSORS.into_iter().zip(lists) {
            add(name.to_string(), values);
        }
    }
    all
}

fn to_json(description: &Description<'_>) -> Result<String, Fault> {
    Ok(serde_json::to_string(description)
        .map_err(|error| format!("its description cannot be written: {error}"))?)
}

/// Digest of the description without its digest, and of name, shape and digest of every tensor in the graph's order.
fn content_digest(description: &Description<'_>, tensors: &[Written<'_>]) -> Result<Digest, Fault> {
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

pub(crate) fn to_bytes(model: &Model) -> Result<Vec<u8>, Fault> {
    let mut description = describe_model(model);
    let tensors = written_tensors(model);
    description.digest = Some(content_digest(&description, &tensors)?);
    let stored: Vec<(Dtype, Vec<u8>)> = tensors.iter().map(Written::stored).collect();
    let views = tensors.iter().zip(&stored).map(|(tensor, (dtype, bytes))| {
        TensorView::new(*dtype, tensor.shape.clone(), bytes)
            .map(|view| (tensor.name.as_str(), view))
            .map_err(|error| format!("tensor {:?}: {error}", tensor.name))
    });
    let views = views.collect::<Result<Vec<_>, String>>()?;
    // One key only: the order of several would not be fixed.
    let metadata = HashMap::from([(KEY.to_string(), to_json(&description)?)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| e.to_string())?;
    check_length(bytes.len() as u64)?;
    check_header(&bytes)?;
    Ok(bytes)
}

/// Refuses a header over the limit before it is parsed.
fn check_header(bytes: &[u8]) -> Result<(), String> {
    let Some(length) = bytes.first_chunk::<8>() else {
        return Err(format!(
            "expected a safetensors file, found {} bytes: the file was cut short, copy or make it again",
            bytes.len()
        ));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(format!(
            "expected a safetensors header of at most {MAX_HEADER_BYTES} bytes, found {length}: check that this is a model file"
        ));
    }
    if length > bytes.len() as u64 - 8 {
        return Err(format!(
            "expected a header of {length} bytes, found {}: the file was cut short, copy or make it again",
            bytes.len() - 8
        ));
    }
    Ok(())
}

pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Model, Fault> {
    check_length(bytes.len() as u64)?;
    check_header(bytes)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| {
        format!("expected a safetensors file: {error}: the file is damaged or of another kind, copy or make it again")
    })?;
    let json = metadata
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(KEY));
    let json = json.ok_or_else(|| {
        format!("expected the key {KEY:?} in the metadata: these are weights without a network, export them with Sordino")
    })?;
    let described = |error: serde_json::Error| {
        format!("its description cannot be read: {error}: make the file again with this version")
    };
    let VersionOnly { format_version } = serde_json::from_str(json).map_err(described)?;
    if format_version != FORMAT_VERSION {
        Err(format!(
            "expected model format version {FORMAT_VERSION}, found {format_version}: make the file again with this version, or read it with the version that wrote it"
        ))?;
    }
    let description: Description<'_> = serde_json::from_str(json).map_err(described)?;
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("{error}: copy or make the file again"))?;
    build(description, Tensors { file, used: 0 })
}

fn build(description: Description<'_>, mut tensors: Tensors<'_>) -> Result<Model, Fault> {
    let mut nodes = description.nodes.into_owned();
    nodes.iter_mut().try_for_each(|node| tensors.fill(node))?;
    let graph = Graph::new(description.input, nodes)?;
    let mut calibration = description.calibration;
    let statistics = calibration.iter_mut().flat_map(|c| &mut c.folded);
    for (index, node) in statistics.enumerate() {
        node.mean_square = tensors.vector(&statistics_tensor(index))?;
    }
    if let Some(input) = calibration.as_mut().and_then(|c| c.input.as_mut()) {
        let lists = [&mut input.mean, &mut input.deviation, &mut input.whitening];
        for (name, values) in INPUT_TENSORS.into_iter().zip(lists) {
            *values = tensors.vector(name)?;
        }
    }
    let found = tensors.file.len();
    if found != tensors.used {
        Err(format!(
            "expected {} tensors, found {found}: the file does not fit its own description, make it again",
            tensors.used
        ))?;
    }
    let model = Model {
        graph,
        preprocess: description.preprocess,
        classes: description.classes,
        output: description.output,
        name: description.name,
        dataset: description.dataset,
        calibration,
        operating_points: description.operating_points,
        training: description.training,
    };
    model.validate()?;
    let expected = content_digest(&describe_model(&model), &written_tensors(&model))?;
    if description.digest != Some(expected) {
        Err("its content does not match its digest: the file was damaged or edited, copy or make it again".to_string())?;
    }
    Ok(model)
}

/// The tensors of a file, counted as they are taken.
struct Tensors<'a> {
    file: SafeTensors<'a>,
    used: usize,
}

impl Tensors<'_> {
    /// Reads the weights of a node that was described.
    fn fill(&mut self, node: &mut Node) -> Result<(), Fault> {
        let mut vector = |name: &str| self.vector(&format!("{}.{name}", node.name));
        match &mut node.op {
            Op::Conv2d { weight, bias, .. } | Op::Dense { weight, bias } => {
                *weight = self.tensor(&format!("{}.weight", node.name))?;
                *bias = self.vector(&format!("{}.bias", node.name))?;
            }
            Op::BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                ..
            } => {
                *gamma = vector("gamma")?;
                *beta = vector("beta")?;
                *mean = vector("mean")?;
                *variance = vector("variance")?;
            }
            Op::Quadratic { a, b, c, .. } => {
                *a = vector("a")?;
                *b = vector("b")?;
                *c = vector("c")?;
            }
            Op::Affine { factor, offset, .. } => {
                *factor = vector("factor")?;
                *offset = vector("offset")?;
            }
            Op::Activation(Function::PRelu { slope }) => *slope = vector("slope")?,
            Op::Select { indices, .. } => {
                *indices = self.indices(&format!("{}.indices", node.name))?;
            }
            Op::Input
            | Op::AveragePool { .. }
            | Op::MaxPool { .. }
            | Op::Flatten
            | Op::Concat
            | Op::Add { .. }
            | Op::Activation(_) => {}
        }
        Ok(())
    }

    fn view(&self, name: &str) -> Result<TensorView<'_>, Fault> {
        Ok(self.file.tensor(name).map_err(|_| {
            format!("expected a tensor {name:?}, found none of that name: make the file again")
        })?)
    }

    fn indices(&mut self, name: &str) -> Result<Vec<i32>, Fault> {
        let view = self.view(name)?;
        if view.dtype() != Dtype::I32 || view.shape().len() != 1 {
            Err(format!(
                "expected tensor {name:?} in i32 with one axis, found {} of shape {:?}: make the file again",
                view.dtype(),
                view.shape()
            ))?;
        }
        let (numbers, _) = view.data().as_chunks::<4>();
        let indices = numbers.iter().map(|&b| i32::from_le_bytes(b)).collect();
        self.used += 1;
        Ok(indices)
    }

    fn tensor(&mut self, name: &str) -> Result<Tensor, Fault> {
        let view = self.view(name)?;
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
            other => Err(format!(
                "expected tensor {name:?} in f32 or f16, found {other}: convert the weights to f32"
            ))?,
        };
        let tensor = Tensor::new(view.shape(), values)?;
        self.used += 1;
        Ok(tensor)
    }

    fn vector(&mut self, name: &str) -> Result<Vec<f32>, Fault> {
        let tensor = self.tensor(name)?;
        if tensor.shape().len() != 1 {
            Err(format!(
                "expected tensor {name:?} with one axis, found the shape {:?}: make the file again",
                tensor.shape()
            ))?;
        }
        Ok(tensor.into_data())
    }
}
