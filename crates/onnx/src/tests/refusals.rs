//! What is refused, and what is said of it.

use super::{dense, node, read, with_int, with_ints};
use crate::Error;

#[test]
fn what_cannot_be_computed_is_refused_by_operator_node_and_nearest_alternative() {
    let image = &["image"][..];
    let cases = [
        (node("Softsign", "", image, "x"), "activation of the list"),
        (node("Softmax", "", image, "x"), "over all classes"),
        (
            node("LayerNormalization", "", image, "x"),
            "batch normalization",
        ),
        (
            node("InstanceNormalization", "", image, "x"),
            "batch normalization",
        ),
        (node("LSTM", "", image, "x"), "feed-forward"),
        (node("Einsum", "", image, "x"), "Gemm"),
        (node("Sqrt", "", image, "x"), "degree 2"),
        (
            node("NonZero", "", image, "x"),
            "supported are convolutions",
        ),
        (node("ArgMax", "", image, "x"), "--output image"),
        (node("Erf", "", image, "x"), "GELU"),
        (
            with_int(node("Cast", "", image, "x"), "to", 6),
            "step function",
        ),
        (
            with_ints(node("ReduceMean", "", image, "x"), "axes", &[0]),
            "batch",
        ),
        (
            with_int(node("Relu", "", image, "x"), "leak", 1),
            "\"leak\" is not known",
        ),
        (node("Div", "", &["two", "image"], "x"), "divisor"),
        (
            with_int(node("Concat", "", &["image", "image"], "x"), "axis", 0),
            "batch",
        ),
    ];
    for (mut node, advice) in cases {
        node.name = "the_node".to_string();
        let operator = node.op_type.clone();
        let mut nodes = vec![node];
        nodes.extend(dense("x"));
        let error = read(nodes).unwrap_err();
        assert!(
            matches!(error, Error::Unsupported { .. } | Error::Node { .. }),
            "{operator}: {error:?}"
        );
        let message = error.to_string();
        for part in ["the_node", &operator[..], advice] {
            assert!(message.contains(part), "no {part:?} in {message}");
        }
    }
}

#[test]
fn all_refused_nodes_are_named_with_a_count() {
    let mut nodes = vec![
        node("Sqrt", "first", &["image"], "a"),
        node("Sqrt", "second", &["image"], "b"),
        node("LSTM", "third", &["a"], "c"),
        // Not refused: it is not needed.
        node("Loop", "unneeded", &["a"], "d"),
        node("Add", "sum", &["b", "c"], "x"),
    ];
    nodes.extend(dense("x"));
    let message = read(nodes).unwrap_err().to_string();
    assert!(message.starts_with("3 nodes"), "{message}");
    for part in ["2 x Sqrt (\"first, second\")", "1 x LSTM (\"third\")"] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    assert!(!message.contains("unneeded"), "{message}");
}

#[test]
fn products_of_two_values_and_higher_powers_are_refused() {
    let mut nodes = vec![
        node("Relu", "relu", &["image"], "r"),
        node("Mul", "gate", &["image", "r"], "x"),
    ];
    nodes.extend(dense("x"));
    let message = read(nodes).unwrap_err().to_string();
    assert!(
        message.contains("gate") && message.contains("quadratics of one value"),
        "{message}"
    );
    let power = |count: usize| {
        let mut nodes = Vec::new();
        let mut last = "image".to_string();
        for step in 0..count {
            let next = format!("p{step}");
            nodes.push(node("Mul", &next, &[&last, "image"], &next));
            last = next;
        }
        nodes.extend(dense(&last));
        read(nodes)
    };
    assert!(power(1).is_ok());
    for count in [2, 3] {
        let message = power(count).unwrap_err().to_string();
        assert!(message.contains("degree above 2"), "{message}");
    }
}

#[test]
fn maps_are_no_scores() {
    let message = read(vec![
        node("Identity", "same", &["image"], "x"),
        node("Neg", "minus", &["x"], "logits"),
    ])
    .unwrap_err()
    .to_string();
    assert!(
        message.contains("one score for each class") && message.contains("--output"),
        "{message}"
    );
}
