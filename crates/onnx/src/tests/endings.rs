//! What stands at the end of networks, and what is refused there.

use sordino_graph::{OutputKind, execute};

use super::{bytes, node, read, with_int, with_ints};
use crate::proto::{AttributeProto, NodeProto};
use crate::{Error, ImportOptions, Imported, Network};

/// A constant number.
fn number(name: &str, value: f32) -> NodeProto {
    NodeProto {
        attribute: vec![AttributeProto {
            name: "value_float".to_string(),
            f: value,
            ..Default::default()
        }],
        ..node("Constant", name, &[], name)
    }
}

/// A network with one logit `z`, and these nodes behind it.
fn one_logit(behind: Vec<NodeProto>) -> Vec<NodeProto> {
    let mut nodes = vec![
        number("one", 1.0),
        number("half", 0.5),
        number("nought", 0.0),
        node("Flatten", "flat", &["image"], "a"),
        node("MatMul", "product", &["a", "matrix"], "b"),
        with_ints(node("ReduceMean", "mean", &["b"], "z"), "axes", &[1]),
    ];
    nodes.extend(behind);
    nodes
}

fn sigmoid(behind: Vec<NodeProto>) -> Vec<NodeProto> {
    let mut nodes = vec![node("Sigmoid", "sigmoid", &["z"], "p")];
    nodes.extend(behind);
    one_logit(nodes)
}

/// The difference of the two logits for one image.
fn difference(imported: &Imported) -> f32 {
    let image: Vec<f32> = (0..32).map(|at| (at % 7) as f32 / 3.0).collect();
    let logits = execute(&imported.graph, &image, 1).unwrap();
    logits[1] - logits[0]
}

#[test]
fn one_probability_is_two_classes_however_it_is_written() {
    let plain = read(sigmoid(vec![node("Identity", "same", &["p"], "logits")])).unwrap();
    let z = difference(&plain);
    assert!(z.abs() > 0.1);
    let concat = |from: &[&str]| with_int(node("Concat", "both", from, "logits"), "axis", 1);
    let other = || node("Sub", "other", &["one", "p"], "q");
    let halves = |sign: &str| {
        vec![
            node("Mul", "halved", &["z", "half"], "h"),
            node("Tanh", "tanh", &["h"], "t"),
            node("Mul", "scaled", &["t", "half"], "u"),
            node(sign, "moved", &["half", "u"], "logits"),
        ]
    };
    let cases = [
        (sigmoid(vec![other(), concat(&["q", "p"])]), z),
        (sigmoid(vec![other(), concat(&["p", "q"])]), -z),
        (
            sigmoid(vec![node("Sub", "other", &["one", "p"], "logits")]),
            -z,
        ),
        (one_logit(halves("Add")), z),
        (one_logit(halves("Sub")), -z),
    ];
    for (at, (nodes, expected)) in cases.into_iter().enumerate() {
        let imported = read(nodes).unwrap();
        assert_eq!(imported.output, OutputKind::Softmax, "case {at}");
        assert!(
            imported.warnings.is_empty(),
            "case {at}: {:?}",
            imported.warnings
        );
        let found = difference(&imported);
        assert!(
            (found - expected).abs() < 1e-4,
            "case {at}: {found} {expected}"
        );
    }
}

#[test]
fn a_sigmoid_of_each_logit_is_a_network_of_findings() {
    let dense = || {
        vec![
            node("Flatten", "flat", &["image"], "a"),
            node("MatMul", "product", &["a", "matrix"], "b"),
        ]
    };
    let plain = [dense(), vec![node("Add", "sum", &["b", "bias"], "logits")]].concat();
    let ending = vec![
        node("Add", "sum", &["b", "bias"], "z"),
        node("Sigmoid", "sigmoid", &["z"], "logits"),
    ];
    let (plain, found) = (
        read(plain).unwrap(),
        read([dense(), ending].concat()).unwrap(),
    );
    assert_eq!(plain.output, OutputKind::Raw);
    assert_eq!(
        (found.output, found.graph.classes()),
        (OutputKind::Sigmoid, 3)
    );
    let image: Vec<f32> = (0..32).map(|at| (at % 5) as f32 / 2.0).collect();
    let logits = execute(&found.graph, &image, 1).unwrap();
    assert_eq!(logits, execute(&plain.graph, &image, 1).unwrap());
    let probabilities = found.file_output(&logits);
    let expected = logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp()));
    for (found, expected) in probabilities.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{probabilities:?}");
    }
}

#[test]
fn one_output_that_is_never_negative_is_no_logit() {
    let clip = node("Clip", "end", &["z", "nought"], "logits");
    let mean = || with_ints(node("ReduceMean", "end", &["s"], "logits"), "axes", &[1]);
    let cases = [
        (node("Relu", "end", &["z"], "logits"), "0 and inf"),
        (node("Softplus", "end", &["z"], "logits"), "0 and inf"),
        (node("HardSigmoid", "end", &["z"], "logits"), "0 and 1"),
        (clip, "0 and inf"),
    ];
    for (end, part) in cases {
        let message = read(one_logit(vec![end])).unwrap_err().to_string();
        for part in [part, "no logit", "--output", "Sigmoid"] {
            assert!(message.contains(part), "no {part:?} in {message}");
        }
    }
    let message = read(one_logit(vec![
        node("Sigmoid", "sigmoid", &["b"], "s"),
        mean(),
    ]))
    .unwrap_err()
    .to_string();
    assert!(message.contains("between 0 and 1"), "{message}");
    // The sign of a hyperbolic tangent is that of a logit.
    let imported = read(one_logit(vec![node("Tanh", "end", &["z"], "logits")])).unwrap();
    assert!(imported.warnings[0].contains("taken for the logit"));
}

#[test]
fn what_chooses_the_class_is_refused_with_the_scores_to_import() {
    let int = |operator: &str, name: &str, value| {
        with_int(node(operator, "end", &["p"], "logits"), name, value)
    };
    for end in [
        int("ArgMax", "axis", 1),
        int("Cast", "to", 7),
        node("Greater", "end", &["p", "half"], "logits"),
        node("Round", "end", &["p"], "logits"),
        node("Hardmax", "end", &["p"], "logits"),
        node("TopK", "end", &["p", "half"], "logits"),
    ] {
        let operator = end.op_type.clone();
        let nodes = sigmoid(vec![end]);
        let error = read(nodes.clone()).unwrap_err();
        assert!(
            matches!(error, Error::Unsupported { .. } | Error::Node { .. }),
            "{error}"
        );
        let message = error.to_string();
        for part in [&operator[..], "end", "--output p"] {
            assert!(message.contains(part), "no {part:?} in {message}");
        }
        // What the message says works.
        let network = Network::from_bytes(&bytes(nodes, &[0, 2, 4, 4], 1)).unwrap();
        let options = ImportOptions {
            output: Some("p".to_string()),
            ..ImportOptions::default()
        };
        let imported = network.import(&options).unwrap();
        network.check(&imported).unwrap();
        assert_eq!(imported.output, OutputKind::Softmax);
    }
    let message = read(vec![
        node("Flatten", "flat", &["image"], "a"),
        node("Softmax", "soft", &["a"], "p"),
        node("Log", "log", &["p"], "logits"),
    ])
    .unwrap_err()
    .to_string();
    assert!(message.contains("--output p"), "{message}");
}

#[test]
fn a_mean_of_raw_bytes_says_that_bytes_go_in() {
    let taken = |mean: f32| {
        let mut nodes = vec![
            number("mean", mean),
            node("Sub", "taken", &["image", "mean"], "x"),
        ];
        nodes.extend(super::dense("x"));
        read(nodes).unwrap().takes_raw
    };
    assert!(taken(116.8) && taken(16.0));
    assert!(!taken(0.45) && !taken(-116.8) && !taken(300.0));
}

#[test]
fn activations_keep_their_names() {
    let mut nodes = vec![
        node("Relu", "act", &["image"], "r"),
        with_ints(
            node("MaxPool", "pool", &["r"], "x"),
            "kernel_shape",
            &[1, 1],
        ),
    ];
    nodes.extend(super::dense("x"));
    let imported = read(nodes).unwrap();
    let names: Vec<(&str, &str)> = imported
        .graph
        .nodes()
        .iter()
        .map(|node| (node.op.kind(), &node.name[..]))
        .collect();
    assert!(names.contains(&("relu", "act")), "{names:?}");
    assert!(names.contains(&("max_pool", "pool")), "{names:?}");
}
