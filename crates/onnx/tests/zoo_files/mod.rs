//! Reads the stored networks: `tests/zoo`, `tests/zoo/blocks` and `tests/operators`. Their READMEs define the formats.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One network as somebody exported it.
pub(crate) struct Network {
    pub(crate) name: String,
    /// The `.onnx` file; weights may lie beside it.
    pub(crate) path: PathBuf,
    /// Which exporter wrote it, as `torch-compiling`.
    pub(crate) exporter: String,
    pub(crate) opset: u64,
    /// The order of the input: `NCHW`, `NHWC`, `NHW` or `flat`.
    pub(crate) layout: String,
    /// Channels, rows and columns.
    pub(crate) image: [usize; 3],
    /// The batch that the file is fixed to, if it is.
    pub(crate) batch: Option<usize>,
    pub(crate) images: usize,
    /// The images in the order of `layout`.
    pub(crate) inputs: Vec<f32>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) polynomial: bool,
    pub(crate) tags: Vec<String>,
    /// Why the network cannot be imported, where that is expected.
    pub(crate) refused: Option<String>,
    /// How far from these outputs a network in floats may be, of the largest, where the file rounds values.
    pub(crate) tolerance: Option<f64>,
}

/// One output of a network for all images.
pub(crate) struct Output {
    pub(crate) name: String,
    /// What it is: `logits`, `logit`, `softmax`, `log-softmax`, `sigmoid`, `hidden`, `label` or `probabilities`.
    pub(crate) end: String,
    /// Numbers an image.
    pub(crate) size: usize,
    pub(crate) values: Vec<f32>,
}

/// One operator in one meaning, as a network of an image.
pub(crate) struct Case {
    pub(crate) operator: String,
    pub(crate) opset: u8,
    pub(crate) attributes: String,
    /// `plain`, `trap`, or `batch` when the network must be refused.
    pub(crate) kind: String,
    pub(crate) model: Vec<u8>,
    /// Channels, rows and columns.
    pub(crate) image: [usize; 3],
    pub(crate) images: usize,
    /// The images in NCHW.
    pub(crate) inputs: Vec<f32>,
    /// The dimensions of the output, the batch first.
    pub(crate) output: Vec<usize>,
    pub(crate) outputs: Vec<f32>,
    pub(crate) evaluators: Vec<String>,
    pub(crate) note: Option<String>,
}

impl Network {
    /// The images in NCHW, whatever the file's order is.
    pub(crate) fn planes(&self) -> Vec<f32> {
        let [channels, height, width] = self.image;
        if self.layout != "NHWC" {
            return self.inputs.clone();
        }
        let pixels = height * width;
        let mut planes = Vec::with_capacity(self.inputs.len());
        for image in self.inputs.chunks(channels * pixels) {
            for channel in 0..channels {
                planes.extend((0..pixels).map(|pixel| image[pixel * channels + channel]));
            }
        }
        planes
    }
}

/// The folder of the integration tests.
pub(crate) fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The networks of a folder with a `zoo.json`: `tests().join("zoo")` or `tests().join("zoo/blocks")`.
pub(crate) fn networks(folder: &Path) -> Vec<Network> {
    entries(&folder.join("zoo.json"))
        .iter()
        .map(|entry| network(folder, entry))
        .collect()
}

fn network(folder: &Path, entry: &Value) -> Network {
    let name = text(&entry["name"]);
    let images = number(&entry["images"]);
    let image = sides(&entry["image"]);
    let mut values = floats(&fs::read(folder.join(format!("{name}.f32"))).unwrap());
    let mut take = |count: usize| -> Vec<f32> {
        assert!(count <= values.len(), "{name}: too few numbers are stored");
        values.drain(..count).collect()
    };
    let inputs = take(images * image.iter().product::<usize>());
    let outputs = list(&entry["outputs"]).map(|output| {
        let size = numbers(&output["shape"]).iter().product();
        Output {
            name: text(&output["name"]),
            end: text(&output["end"]),
            size,
            values: take(images * size),
        }
    });
    let outputs = outputs.collect();
    assert!(values.is_empty(), "{name}: too many numbers are stored");
    Network {
        path: folder.join(format!("{name}.onnx")),
        exporter: text(&entry["exporter"]),
        opset: number(&entry["opset"]) as u64,
        layout: text(&entry["layout"]),
        image,
        batch: entry["input_shape"][0].as_u64().map(|batch| batch as usize),
        images,
        inputs,
        outputs,
        polynomial: entry["polynomial"].as_bool().unwrap(),
        tags: list(&entry["tags"]).map(text).collect(),
        refused: entry["refused"].as_str().map(str::to_string),
        tolerance: entry["tolerance"].as_f64(),
        name,
    }
}

/// The operator cases, one for each opset.
pub(crate) fn cases() -> Vec<Case> {
    let folder = tests().join("operators");
    let blob = fs::read(folder.join("operators.bin")).unwrap();
    let part = |place: &Value, size: usize| {
        let [offset, count] = numbers(place).try_into().unwrap();
        blob[offset..offset + count * size].to_vec()
    };
    let mut cases = Vec::new();
    for entry in entries(&folder.join("operators.json")) {
        let image = sides(&entry["image"]);
        let inputs = floats(&part(&entry["inputs"], 4));
        for opset in numbers(&entry["opsets"]) {
            let mut model = part(&entry["model"], 1);
            *model.last_mut().unwrap() = opset as u8;
            cases.push(Case {
                operator: text(&entry["operator"]),
                opset: opset as u8,
                attributes: text(&entry["attributes"]),
                kind: text(&entry["kind"]),
                model,
                image,
                images: inputs.len() / image.iter().product::<usize>(),
                inputs: inputs.clone(),
                output: numbers(&entry["output"]),
                outputs: floats(&part(&entry["outputs"], 4)),
                evaluators: list(&entry["evaluators"]).map(text).collect(),
                note: entry["note"].as_str().map(str::to_string),
            });
        }
    }
    cases
}

fn entries(path: &Path) -> Vec<Value> {
    match serde_json::from_slice(&fs::read(path).unwrap()).unwrap() {
        Value::Array(entries) => entries,
        other => panic!("{}: expected an array, found {other}", path.display()),
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    numbers
        .iter()
        .map(|&number| f32::from_le_bytes(number))
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_string()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn numbers(value: &Value) -> Vec<usize> {
    list(value).map(number).collect()
}

fn sides(value: &Value) -> [usize; 3] {
    numbers(value).try_into().unwrap()
}
