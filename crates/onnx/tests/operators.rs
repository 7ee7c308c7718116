//! Every operator, attribute, default and version: what is accepted computes what ONNX Runtime computes, and what is not
//! is refused by name.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{distance, floats, folder};
use serde_json::Value;
use sordino_graph::execute;
use sordino_onnx::{Error, ImportOptions, Network};

/// Operators that are read, with the least number of their cases, each at each version, that are accepted.
const ACCEPTED: &[(&str, usize)] = &[
    ("Add", 69),
    ("AveragePool", 124),
    ("BatchNormalization", 26),
    ("Cast", 49),
    ("CastLike", 5),
    ("Celu", 2),
    ("Clip", 24),
    ("Concat", 25),
    ("Constant", 57),
    ("ConstantOfShape", 14),
    ("Conv", 82),
    ("ConvTranspose", 36),
    ("DepthToSpace", 7),
    ("DequantizeLinear", 29),
    ("Div", 44),
    ("Dropout", 17),
    ("Elu", 4),
    ("Erf", 3),
    ("Expand", 8),
    ("Flatten", 26),
    ("Gather", 24),
    ("Gelu", 2),
    ("Gemm", 42),
    ("GlobalAveragePool", 4),
    ("GlobalMaxPool", 4),
    ("HardSigmoid", 6),
    ("HardSwish", 2),
    ("Identity", 8),
    ("LeakyRelu", 10),
    ("LogSoftmax", 12),
    ("MatMul", 18),
    ("Max", 10),
    ("MaxPool", 125),
    ("Mean", 16),
    ("Min", 10),
    ("Mish", 2),
    ("Mul", 66),
    ("Neg", 3),
    ("PRelu", 9),
    ("Pad", 100),
    ("Pow", 27),
    ("QuantizeLinear", 13),
    ("Range", 5),
    ("ReduceMax", 6),
    ("ReduceMean", 64),
    ("ReduceSum", 45),
    ("Relu", 6),
    ("Reshape", 114),
    ("Resize", 53),
    ("Selu", 4),
    ("Shape", 25),
    ("Sigmoid", 11),
    ("Size", 3),
    ("Slice", 51),
    ("Softmax", 17),
    ("Softplus", 4),
    ("SpaceToDepth", 2),
    ("Split", 23),
    ("Squeeze", 47),
    ("Sub", 71),
    ("Sum", 16),
    ("Swish", 2),
    ("Tanh", 7),
    ("Tile", 7),
    ("Transpose", 34),
    ("Unsqueeze", 24),
    ("Upsample", 3),
    ("Where", 2),
];

#[test]
fn operators_mean_what_onnx_says() {
    let text = fs::read_to_string(folder("operators").join("operators.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let bin = fs::read(folder("operators").join("operators.bin")).unwrap();
    let pair = |value: &Value| {
        let number = |index: usize| value[index].as_u64().unwrap() as usize;
        (number(0), number(1))
    };
    let numbers = |value: &Value| {
        let (offset, count) = pair(value);
        floats(&bin[offset..offset + 4 * count])
    };
    let mut accepted: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut faults = Vec::new();
    for case in &cases {
        let operator = case["operator"].as_str().unwrap();
        let (offset, size) = pair(&case["model"]);
        let (inputs, expected) = (numbers(&case["inputs"]), numbers(&case["outputs"]));
        for opset in case["opsets"].as_array().unwrap() {
            let mut bytes = bin[offset..offset + size].to_vec();
            *bytes.last_mut().unwrap() = opset.as_u64().unwrap() as u8;
            let name = format!("{operator} {} at opset {opset}", case["attributes"]);
            let network = Network::from_bytes(&bytes).unwrap();
            let image: Vec<usize> = case["image"]
                .as_array()
                .unwrap()
                .iter()
                .map(|side| side.as_u64().unwrap() as usize)
                .collect();
            let count = accepted.entry(operator.to_string()).or_default();
            let options = ImportOptions {
                layout: Some(sordino_onnx::InputLayout::Nchw),
                input_shape: None,
                output: None,
            };
            let imported = match network.import(&options) {
                Ok(imported) => imported,
                Err(error) => {
                    count[1] += 1;
                    if std::env::var_os("SORDINO_SHOW").is_some() {
                        println!("refused {} {name}: {error}", case["kind"]);
                    }
                    // Another node than the one that is tried may be what cannot be read.
                    let named = match &error {
                        Error::Unsupported { operator, .. } | Error::Node { operator, .. } => bytes
                            .windows(operator.len())
                            .any(|part| part == operator.as_bytes()),
                        other => other.to_string().contains(operator),
                    };
                    if !named {
                        faults.push(format!("{name} is refused without a name: {error}"));
                    }
                    continue;
                }
            };
            count[0] += 1;
            let warned = |part: &str| {
                imported
                    .warnings
                    .iter()
                    .any(|warning| warning.contains(part))
            };
            if case["kind"] == "batch" {
                faults.push(format!("{name} depends on the batch and is accepted"));
                continue;
            }
            let elements: usize = image.iter().product();
            let logits = execute(&imported.graph, &inputs, inputs.len() / elements).unwrap();
            let rows = logits.chunks(imported.graph.classes());
            let found: Vec<f32> = rows.flat_map(|row| imported.file_output(row)).collect();
            if found.len() != expected.len() {
                faults.push(format!(
                    "{name}: {} numbers, expected {}",
                    found.len(),
                    expected.len()
                ));
                continue;
            }
            let worst = distance(&found, &expected);
            // Rounding that is left out is said.
            let rounded = warned("not rounded") || warned("its rounding");
            if worst.is_nan() || worst > if rounded { 1.1e-2 } else { 1e-4 } {
                faults.push(
                    format!("{name}: {worst}: {found:?} {expected:?}")
                        .chars()
                        .take(400)
                        .collect(),
                );
            }
            if let Err(error) = network.check(&imported) {
                faults.push(format!("{name}: check: {error}"));
            }
        }
    }
    if std::env::var_os("SORDINO_SHOW").is_some() {
        println!("{accepted:?}");
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
    for (operator, least) in ACCEPTED {
        let [found, _] = accepted[*operator];
        assert!(
            found >= *least,
            "{operator}: {found} cases are accepted, expected {least}"
        );
    }
}
