//! Files put together node by node: operators that PyTorch's exporters fold away, and those that are refused.

use prost::Message;
use sordino_graph::{Op, execute};

use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::{Error, Imported, import};

fn node(operator: &str, name: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.to_string(),
        name: name.to_string(),
        input: inputs.iter().map(|input| input.to_string()).collect(),
        output: vec![output.to_string()],
        ..Default::default()
    }
}

fn with_ints(mut node: NodeProto, name: &str, ints: &[i64]) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.to_string(),
        ints: ints.to_vec(),
        ..Default::default()
    });
    node
}

fn with_int(mut node: NodeProto, name: &str, i: i64) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.to_string(),
        i,
        ..Default::default()
    });
    node
}

fn floats(name: &str, dims: &[i64], float_data: Vec<f32>) -> TensorProto {
    TensorProto {
        name: name.to_string(),
        dims: dims.to_vec(),
        data_type: 1,
        float_data,
        ..Default::default()
    }
}

/// A network of these nodes from the input `image`, `[batch, 2, 4, 4]`, to the output `logits`.
fn read(node: Vec<NodeProto>) -> Result<Imported, Error> {
    let dims = [0, 2, 4, 4].map(|dim_value| DimensionProto { dim_value });
    let shape = TensorShapeProto { dim: dims.to_vec() };
    let image = ValueInfoProto {
        name: "image".to_string(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto { shape: Some(shape) }),
        }),
    };
    let logits = ValueInfoProto {
        name: "logits".to_string(),
        r#type: None,
    };
    let numbers = |count: usize| (0..count).map(|i| (i * 7 % 11) as f32 / 11.0 - 0.4);
    let model = ModelProto {
        graph: Some(GraphProto {
            node,
            initializer: vec![
                floats("matrix", &[32, 3], numbers(96).collect()),
                floats("narrow", &[2, 3], numbers(6).collect()),
                floats("bias", &[3], vec![1.0, -2.0, 0.5]),
                floats("kernel", &[2, 2, 3, 3], numbers(36).collect()),
            ],
            input: vec![image],
            output: vec![logits],
        }),
        ..Default::default()
    };
    import(&model.encode_to_vec())
}

#[test]
fn a_product_and_a_sum_are_a_dense_layer_and_dropout_is_nothing() {
    let imported = read(vec![
        node("Identity", "same", &["image"], "a"),
        node("Dropout", "drop", &["a"], "b"),
        node("Flatten", "flat", &["b"], "c"),
        node("MatMul", "product", &["c", "matrix"], "d"),
        node("Add", "sum", &["d", "bias"], "logits"),
    ])
    .unwrap();
    let kinds: Vec<&str> = imported.graph.nodes().iter().map(|n| n.op.kind()).collect();
    assert_eq!(kinds, ["input", "flatten", "dense"]);
    let Op::Dense { weight, bias } = &imported.graph.nodes()[2].op else {
        panic!("{kinds:?}")
    };
    assert_eq!(bias, &[1.0, -2.0, 0.5]);
    // Row `output`, column `input` of what is stored by inputs.
    let stored = |input: usize, output: usize| ((input * 3 + output) * 7 % 11) as f32 / 11.0 - 0.4;
    assert_eq!(weight.data()[32 + 5], stored(5, 1));
}

#[test]
fn pools_become_averages_and_a_maximum_is_warned_of() {
    let pooled = |operator: &str| {
        let mut pool = node(operator, "the_pool", &["image"], "a");
        if operator != "GlobalAveragePool" {
            pool = with_ints(pool, "kernel_shape", &[4, 4]);
        }
        read(vec![
            pool,
            node("Flatten", "flat", &["a"], "b"),
            node("MatMul", "product", &["b", "narrow"], "logits"),
        ])
        .unwrap()
    };
    let image: Vec<f32> = (0..32).map(|i| i as f32).collect();
    let mut results = Vec::new();
    for operator in ["AveragePool", "GlobalAveragePool", "MaxPool"] {
        let imported = pooled(operator);
        assert_eq!(imported.warnings.len(), usize::from(operator == "MaxPool"));
        for warning in &imported.warnings {
            assert!(
                warning.contains("the_pool") && warning.contains("average"),
                "{warning}"
            );
        }
        results.push(execute(&imported.graph, &image, 1).unwrap());
    }
    // Means 7.5 and 23.5 of the channels.
    let expected = 7.5 * -0.4 + 23.5 * (21 % 11) as f32 / 11.0 - 23.5 * 0.4;
    assert!((results[0][0] - expected).abs() < 1e-4, "{results:?}");
    assert!(
        results.iter().all(|result| *result == results[0]),
        "{results:?}"
    );
}

#[test]
fn what_cannot_be_computed_is_refused_by_operator_node_and_nearest_alternative() {
    let image = &["image"][..];
    let twice = &["image", "image"][..];
    let padded = with_ints(
        node("Conv", "", &["image", "kernel"], "x"),
        "pads",
        &[1, 1, 0, 0],
    );
    let dilated = with_ints(
        node("Conv", "", &["image", "kernel"], "x"),
        "dilations",
        &[2, 2],
    );
    let grouped = with_int(node("Conv", "", &["image", "kernel"], "x"), "group", 2);
    let pool = with_ints(node("AveragePool", "", image, "x"), "kernel_shape", &[2, 2]);
    let cases = [
        (node("LeakyRelu", "", image, "x"), "ReLU"),
        (node("Gelu", "", image, "x"), "ReLU"),
        (node("Tanh", "", image, "x"), "ReLU"),
        (node("Clip", "", image, "x"), "ReLU"),
        (node("Sigmoid", "", image, "x"), "last operation"),
        (node("Softmax", "", image, "x"), "last operation"),
        (
            node("LayerNormalization", "", image, "x"),
            "batch normalization",
        ),
        (
            node("InstanceNormalization", "", image, "x"),
            "batch normalization",
        ),
        (node("Concat", "", twice, "x"), "residual sum"),
        (node("GlobalMaxPool", "", image, "x"), "average pool"),
        (node("Resize", "", image, "x"), "remove it"),
        (node("LSTM", "", image, "x"), "feed-forward"),
        (node("Einsum", "", image, "x"), "Gemm"),
        (node("Sqrt", "", image, "x"), "degree 2"),
        (node("NonZero", "", image, "x"), "supported are Conv, Gemm"),
        (padded, "pad both sides alike"),
        (dilated, "larger kernel"),
        (grouped, "use a full one"),
        (with_int(pool, "ceil_mode", 1), "incomplete windows"),
    ];
    for (mut node, advice) in cases {
        node.name = "the_node".to_string();
        let operator = node.op_type.clone();
        let after = NodeProto {
            input: vec!["x".to_string()],
            output: vec!["logits".to_string()],
            op_type: "Relu".to_string(),
            ..Default::default()
        };
        let error = read(vec![node, after]).unwrap_err();
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
fn products_of_two_values_and_higher_powers_are_refused() {
    let relu = node("Relu", "relu", &["image"], "r");
    let gate = node("Mul", "gate", &["image", "r"], "logits");
    let message = read(vec![relu, gate]).unwrap_err().to_string();
    assert!(
        message.contains("gate") && message.contains("quadratics of one value"),
        "{message}"
    );
    let square = node("Mul", "square", &["image", "image"], "s");
    let cube = node("Mul", "cube", &["s", "image"], "logits");
    let message = read(vec![square, cube]).unwrap_err().to_string();
    assert!(
        message.contains("cube") && message.contains("degree above 2"),
        "{message}"
    );
}
