//! Networks of public fault reports give the values that ONNX Runtime gives, or are refused with what to do.

mod common;

use common::{distance, folder, numbers};
use sordino_graph::{OutputKind, execute};
use sordino_onnx::{Error, ImportOptions, Imported, Network};

fn network(name: &str) -> Network {
    Network::read(folder("cases").join(format!("{name}.onnx"))).unwrap()
}

fn import(name: &str) -> Result<Imported, Error> {
    network(name).import(&ImportOptions::default())
}

/// Imports a network, compares it with the stored numbers and with itself computed in the clear.
fn imported(name: &str) -> Imported {
    let found = import(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut inputs = numbers(&folder("cases").join(format!("{name}.f32")));
    let elements = found.graph.input_shape().elements();
    let expected = inputs.split_off(3 * elements);
    if let sordino_graph::Shape::Map {
        channels: 3,
        height,
        width,
    } = found.graph.input_shape()
    {
        // The only network on colours has them last.
        let image = |image: &[f32]| -> Vec<f32> {
            (0..3 * height * width)
                .map(|at| image[at % (height * width) * 3 + at / (height * width)])
                .collect()
        };
        inputs = inputs.chunks(elements).flat_map(image).collect();
    }
    let logits = execute(&found.graph, &inputs, 3).unwrap();
    let rows = logits.chunks(found.graph.classes());
    let values: Vec<f32> = rows.flat_map(|row| found.file_output(row)).collect();
    let worst = distance(&values, &expected);
    assert!(worst < 1e-4, "{name}: {worst}");
    network(name).check(&found).unwrap();
    found
}

#[test]
fn one_sigmoid_is_two_classes() {
    let found = imported("01-pneu");
    assert_eq!(
        (found.graph.classes(), found.output),
        (2, OutputKind::Softmax)
    );
    let image = vec![0.5; 784];
    let logits = execute(&found.graph, &image, 1).unwrap();
    assert_eq!(logits[0], -logits[1]);
}

#[test]
fn images_of_bytes_are_raw() {
    let found = imported("04-u8in");
    assert!(found.takes_raw);
    assert!(
        found
            .warnings
            .iter()
            .any(|warning| warning.contains("uint8") && warning.contains("--std"))
    );
}

#[test]
fn rounding_to_whole_numbers_is_refused() {
    let message = import("07-binarise").unwrap_err().to_string();
    assert!(
        message.contains("Cast") && message.contains("int32"),
        "{message}"
    );
}

#[test]
fn weights_may_be_beside_the_file() {
    imported("seq.default");
    let bytes = std::fs::read(folder("cases").join("seq.default.onnx")).unwrap();
    let message = sordino_onnx::import(&bytes).unwrap_err().to_string();
    assert!(
        message.contains("seq.default.onnx.data") && message.contains("path"),
        "{message}"
    );
}

#[test]
fn what_changes_nothing_is_looked_through() {
    for name in ["21-seq.leg9", "21-seq.leg14", "25-avgpool_ceil_exact"] {
        let found = imported(name);
        assert!(
            found
                .graph
                .nodes()
                .iter()
                .all(|node| node.op.kind() != "select"),
            "{name}"
        );
    }
    for name in ["23-softmax_identity", "23-softmax_reshape"] {
        assert_eq!(imported(name).output, OutputKind::Softmax);
    }
    assert_eq!(imported("23-OneLogitSqueeze.leg17").graph.classes(), 2);
}

#[test]
fn channels_last_cost_nothing() {
    for name in ["bn", "conv_gap", "conv_valid", "mlp", "rgb"] {
        let found = imported(&format!("22-{name}.tf2onnx"));
        assert!(
            found
                .graph
                .nodes()
                .iter()
                .all(|node| node.op.kind() != "select"),
            "{name}"
        );
    }
}

#[test]
fn constants_have_any_type() {
    for name in [
        "dropout13_bool",
        "fp16_weights_cast",
        "qdq_weights",
        "reshape_int32",
        "unused_int32",
    ] {
        imported(&format!("26-{name}"));
    }
}

#[test]
fn inputs_and_outputs_are_named() {
    imported("28-extra_scalar_input");
    let message = import("28-two_outputs").unwrap_err().to_string();
    assert!(
        message.contains("(l, f)") && message.contains("--output"),
        "{message}"
    );
    let chosen = |output: &str| {
        network("28-two_outputs").import(&ImportOptions {
            output: Some(output.to_string()),
            ..ImportOptions::default()
        })
    };
    assert_eq!(chosen("l").unwrap().graph.classes(), 3);
    assert_eq!(chosen("f").unwrap().graph.classes(), 128);
    assert!(chosen("x").unwrap_err().to_string().contains("l, f"));
    let message = import("28-nhw_input").unwrap_err().to_string();
    assert!(
        message.contains("[2, 8, 8]") && message.contains("[2, 1, 8, 8]"),
        "{message}"
    );
}

#[test]
fn branches_are_subtracted_and_averaged_and_padded() {
    let found = imported("35-ResSub.leg17");
    assert!(
        found
            .graph
            .nodes()
            .iter()
            .any(|node| node.op.kind() == "add")
    );
    imported("35-Ens2.leg17");
    let found = imported("35-zeropad.leg17");
    assert!(
        found
            .graph
            .nodes()
            .iter()
            .all(|node| node.op.kind() != "select")
    );
}
