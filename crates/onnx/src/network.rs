//! An ONNX file: read, imported, and computed in the clear.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use prost::Message;
use sordino_graph::{Graph, OutputKind};

use crate::Error;
use crate::error::malformed;
use crate::options::ImportOptions;
use crate::outputs::Form;
use crate::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use crate::table::OPSETS;
use crate::tensor::{Beside, MAX_FILE_BYTES};

/// Most nodes that are looked at.
const MAX_NODES: usize = 1 << 16;

/// The bytes of an ONNX file, decoded, and the folder of data beside it.
#[derive(Clone, Debug)]
pub struct Network {
    pub(crate) graph: GraphProto,
    pub(crate) opset: i64,
    pub(crate) beside: Beside,
    pub(crate) producer: String,
}

/// A network read from an ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network. Layers that exporters split are one node again where that is exact.
    pub graph: Graph,
    /// What the logits stand for.
    pub output: OutputKind,
    /// What was decided or left out.
    pub warnings: Vec<String>,
    /// The program that wrote the file.
    pub producer: String,
    /// Whether the network takes the raw values of images, 0 to 255, and scales them itself.
    pub takes_raw: bool,
    /// What was read, by name and settings: the same for the same file.
    pub options: ImportOptions,
    /// What the file's output is of the logits.
    pub(crate) form: Form,
    /// The value of the file that the logits are.
    pub(crate) logits: Option<String>,
}

impl Network {
    /// Decodes the bytes of an ONNX file whose weights are all in it.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bytes that are no ONNX model.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
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
        let standard = model
            .opset_import
            .iter()
            .filter(|set| matches!(&set.domain[..], "" | "ai.onnx"));
        let opset = standard.map(|set| set.version).max().unwrap_or(0);
        let graph = model
            .graph
            .ok_or_else(|| malformed("expected a graph, found none"))?;
        if !OPSETS.contains(&opset) {
            return Err(malformed(format!(
                "its operators are of version (opset) {opset}, expected {} to {}: export with opset_version={}",
                OPSETS.start(),
                OPSETS.end(),
                (*OPSETS.end()).min(20)
            )));
        }
        if graph.node.len() > MAX_NODES {
            return Err(malformed(format!(
                "{} nodes, expected at most {MAX_NODES}",
                graph.node.len()
            )));
        }
        Ok(Self {
            graph,
            opset,
            beside: Beside::default(),
            producer: producer.trim().to_string(),
        })
    }

    /// Reads an ONNX file, and later, as they are used, weights from files beside it.
    ///
    /// # Errors
    /// [`Error::Read`] when it cannot be read, else as [`from_bytes`](Self::from_bytes).
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |reason| Error::Read {
            path: path.display().to_string(),
            advice: "check the path and its permissions",
            reason,
        };
        let file = File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => ".".into(),
        };
        Ok(Self {
            beside: Beside(Some(folder)),
            ..Self::from_bytes(&bytes)?
        })
    }

    /// The input that is no constant and that the nodes read: the images.
    pub(crate) fn input(&self, live: &[&NodeProto]) -> Result<&ValueInfoProto, Error> {
        let constants: HashSet<&str> = self
            .graph
            .initializer
            .iter()
            .map(|tensor| &tensor.name[..])
            .collect();
        let read: HashSet<&str> = live
            .iter()
            .flat_map(|node| &node.input)
            .map(|name| &name[..])
            .collect();
        let inputs = self.graph.input.iter();
        let inputs: Vec<&ValueInfoProto> = inputs
            .filter(|input| !constants.contains(&input.name[..]) && read.contains(&input.name[..]))
            .collect();
        match inputs[..] {
            [input] => Ok(input),
            _ => {
                let names: Vec<&str> = inputs.iter().map(|input| &input.name[..]).take(8).collect();
                Err(malformed(format!(
                    "{} inputs are read {names:?}, expected one, the images: export the network with its other inputs as constants",
                    inputs.len()
                )))
            }
        }
    }

    /// The output to import: the one asked for, which may be a value inside the network, the only one, or the only one that
    /// is no label.
    pub(crate) fn output(&self, wanted: Option<&str>) -> Result<(&str, bool), Error> {
        let names: Vec<&str> = self
            .graph
            .output
            .iter()
            .map(|output| &output.name[..])
            .collect();
        let listed = || {
            names
                .iter()
                .take(16)
                .copied()
                .collect::<Vec<_>>()
                .join(", ")
        };
        if let Some(wanted) = wanted {
            let inner = self.graph.node.iter().flat_map(|node| &node.output);
            let mut all = names.iter().copied().chain(inner.map(|name| &name[..]));
            return match all.find(|&name| name == wanted) {
                Some(name) => Ok((name, false)),
                None => Err(malformed(format!(
                    "it has no output and no value {wanted:?}; its outputs are {}",
                    listed()
                ))),
            };
        }
        // Class numbers are whole numbers; scores are not.
        let whole = |output: &&ValueInfoProto| {
            let element = output
                .r#type
                .as_ref()
                .and_then(|kind| kind.tensor_type.as_ref());
            element.is_some_and(|kind| matches!(kind.elem_type, 2..=9 | 12 | 13))
        };
        let scores: Vec<&ValueInfoProto> = self
            .graph
            .output
            .iter()
            .filter(|output| !whole(output))
            .collect();
        match (&names[..], &scores[..]) {
            (&[only], _) => Ok((only, false)),
            (_, [only]) => Ok((&only.name, true)),
            _ => Err(malformed(format!(
                "it has {} outputs ({}): choose one with --output NAME",
                names.len(),
                listed()
            ))),
        }
    }
}
