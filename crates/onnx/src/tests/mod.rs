//! Files put together node by node: operators that PyTorch's exporters fold away, and those that are refused.

mod constants;
mod endings;
mod hostile;
mod preprocess;
mod refusals;

use prost::Message;
use sordino_graph::Op;

use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::{Error, ImportOptions, Imported, InputLayout, Network};

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

/// Bytes of a network of these nodes from the input `image` to the output `logits`, version 17 of the operators.
fn bytes(node: Vec<NodeProto>, dims: &[i64], elem_type: i32) -> Vec<u8> {
    let dim = dims
        .iter()
        .map(|&dim_value| DimensionProto { dim_value })
        .collect();
    let image = ValueInfoProto {
        name: "image".to_string(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type,
                shape: Some(TensorShapeProto { dim }),
            }),
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
                floats("two", &[], vec![2.0]),
            ],
            input: vec![image],
            output: vec![logits],
        }),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        ..Default::default()
    };
    model.encode_to_vec()
}

/// A network from images `[batch, 2, 4, 4]`, compared with itself computed in the clear.
fn read(node: Vec<NodeProto>) -> Result<Imported, Error> {
    read_input(node, &[0, 2, 4, 4], 1, &ImportOptions::default())
}

fn read_input(
    node: Vec<NodeProto>,
    dims: &[i64],
    kind: i32,
    options: &ImportOptions,
) -> Result<Imported, Error> {
    let network = Network::from_bytes(&bytes(node, dims, kind))?;
    let imported = network.import(options)?;
    network.check(&imported)?;
    Ok(imported)
}

fn kinds(imported: &Imported) -> Vec<&str> {
    imported
        .graph
        .nodes()
        .iter()
        .map(|node| node.op.kind())
        .collect()
}

/// Flattening and a dense layer behind a value.
fn dense(from: &str) -> Vec<NodeProto> {
    vec![
        node("Flatten", "flat", &[from], "flattened"),
        node("MatMul", "product", &["flattened", "matrix"], "logits"),
    ]
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
    assert_eq!(kinds(&imported), ["input", "flatten", "dense"]);
    let Op::Dense { weight, bias } = &imported.graph.nodes()[2].op else {
        panic!("{:?}", kinds(&imported))
    };
    assert_eq!(bias, &[1.0, -2.0, 0.5]);
    // Row `output`, column `input` of what is stored by inputs.
    let stored = |input: usize, output: usize| ((input * 3 + output) * 7 % 11) as f32 / 11.0 - 0.4;
    assert_eq!(weight.data()[32 + 5], stored(5, 1));
}

#[test]
fn a_bias_that_a_square_follows_stays_with_its_layer() {
    let imported = read(vec![
        node("Flatten", "flat", &["image"], "a"),
        node("MatMul", "product", &["a", "matrix"], "b"),
        node("Add", "sum", &["b", "bias"], "c"),
        node("Mul", "square", &["c", "c"], "logits"),
    ])
    .unwrap();
    assert_eq!(kinds(&imported), ["input", "flatten", "dense", "quadratic"]);
    let Op::Quadratic { granularity, .. } = imported.graph.nodes()[3].op else {
        panic!("{:?}", kinds(&imported))
    };
    assert_eq!(granularity, sordino_graph::Granularity::Layer);
    // Not where the layer itself is read too.
    let imported = read(vec![
        node("Flatten", "flat", &["image"], "a"),
        node("MatMul", "product", &["a", "matrix"], "b"),
        node("Add", "sum", &["b", "bias"], "c"),
        node("Mul", "square", &["b", "c"], "logits"),
    ])
    .unwrap();
    let Op::Dense { bias, .. } = &imported.graph.nodes()[2].op else {
        panic!("{:?}", kinds(&imported))
    };
    assert_eq!(bias, &[0.0; 3]);
}

#[test]
fn activations_of_several_nodes_are_one() {
    let cases: [(&str, Vec<NodeProto>); 3] = [
        (
            "silu",
            vec![
                node("Sigmoid", "s", &["image"], "y"),
                node("Mul", "m", &["image", "y"], "z"),
            ],
        ),
        (
            "mish",
            vec![
                node("Softplus", "p", &["image"], "x"),
                node("Tanh", "t", &["x"], "y"),
                node("Mul", "m", &["y", "image"], "z"),
            ],
        ),
        (
            "leaky_relu",
            vec![
                node("Mul", "s", &["image", "slope"], "y"),
                node("Max", "m", &["y", "image"], "z"),
            ],
        ),
    ];
    for (kind, mut nodes) in cases {
        let slope = NodeProto {
            attribute: vec![AttributeProto {
                name: "value_float".to_string(),
                f: 0.25,
                ..Default::default()
            }],
            ..node("Constant", "slope", &[], "slope")
        };
        nodes.insert(0, slope);
        nodes.extend(dense("z"));
        let imported = read(nodes).unwrap();
        assert_eq!(kinds(&imported), ["input", kind, "flatten", "dense"]);
    }
}

#[test]
fn inputs_are_read_as_they_are_laid_out() {
    let options = |input_shape, layout| ImportOptions {
        input_shape,
        layout,
        output: None,
    };
    let flat = || vec![node("MatMul", "product", &["image", "matrix"], "logits")];
    let message = read_input(flat(), &[0, 32], 1, &options(None, None))
        .unwrap_err()
        .to_string();
    assert!(message.contains("--input-shape C,H,W"), "{message}");
    let message = read_input(flat(), &[0, 784], 1, &options(None, None))
        .unwrap_err()
        .to_string();
    assert!(message.contains("--input-shape 1,28,28"), "{message}");
    let imported = read_input(flat(), &[0, 32], 1, &options(Some([2, 4, 4]), None)).unwrap();
    assert_eq!(
        imported.graph.input_shape(),
        sordino_graph::Shape::map(2, 4, 4)
    );
    let message = read_input(flat(), &[0, 32], 1, &options(Some([1, 5, 5]), None))
        .unwrap_err()
        .to_string();
    assert!(message.contains("1,5,5"), "{message}");
    // Channels last: the columns of the dense layer are permuted, nothing else.
    let imported = read_input(
        dense("image"),
        &[0, 4, 4, 2],
        1,
        &options(None, Some(InputLayout::Nhwc)),
    )
    .unwrap();
    assert_eq!(
        imported.graph.input_shape(),
        sordino_graph::Shape::map(2, 4, 4)
    );
    assert_eq!(kinds(&imported), ["input", "flatten", "dense"]);
    let as_channels = read_input(dense("image"), &[0, 4, 4, 2], 1, &options(None, None)).unwrap();
    assert_eq!(
        as_channels.graph.input_shape(),
        sordino_graph::Shape::map(4, 4, 2)
    );
    // Open sides.
    let message = read_input(dense("image"), &[0, 2, 0, 0], 1, &options(None, None))
        .unwrap_err()
        .to_string();
    assert!(message.contains("--input-shape"), "{message}");
    assert!(
        read_input(
            dense("image"),
            &[0, 2, 0, 0],
            1,
            &options(Some([2, 4, 4]), None)
        )
        .is_ok()
    );
}

#[test]
fn what_reads_the_input_says_where_its_channels_are() {
    // Two channels last, which the sides do not show.
    let mut nodes = vec![with_ints(
        node("Transpose", "turn", &["image"], "x"),
        "perm",
        &[0, 3, 1, 2],
    )];
    nodes.extend(dense("x"));
    let imported = read_input(nodes, &[0, 4, 4, 2], 1, &ImportOptions::default()).unwrap();
    assert_eq!(
        imported.graph.input_shape(),
        sordino_graph::Shape::map(2, 4, 4)
    );
    assert_eq!(kinds(&imported), ["input", "flatten", "dense"]);
    assert!(imported.warnings.is_empty(), "{:?}", imported.warnings);
    // Eight rows or eight channels: a pool has channels first.
    let mut nodes = vec![with_ints(
        node("AveragePool", "pool", &["image"], "x"),
        "kernel_shape",
        &[1, 1],
    )];
    nodes.extend(dense("x"));
    let imported = read_input(nodes, &[0, 8, 1, 4], 1, &ImportOptions::default()).unwrap();
    assert_eq!(
        imported.graph.input_shape(),
        sordino_graph::Shape::map(8, 1, 4)
    );
}

#[test]
fn networks_in_half_and_double_precision_are_read() {
    for kind in [10, 11, 16] {
        let mut nodes = vec![
            node("Flatten", "flat", &["image"], "a"),
            with_int(
                node("Cast", "narrow", &["matrix"], "m"),
                "to",
                i64::from(kind),
            ),
            node("MatMul", "product", &["a", "m"], "b"),
            with_int(node("Cast", "wide", &["b"], "c"), "to", 1),
        ];
        nodes.push(node("Add", "sum", &["c", "bias"], "d"));
        nodes.push(with_int(
            node("Cast", "back", &["d"], "e"),
            "to",
            i64::from(kind),
        ));
        nodes.push(node("Softmax", "soft", &["e"], "logits"));
        let imported = read_input(nodes, &[0, 2, 4, 4], kind, &ImportOptions::default()).unwrap();
        assert_eq!(kinds(&imported), ["input", "flatten", "dense"]);
        let warned = imported
            .warnings
            .iter()
            .any(|warning| warning.contains("half precision"));
        assert_eq!(warned, kind != 11, "{:?}", imported.warnings);
    }
}

#[test]
fn bytes_are_no_numbers_before_a_cast() {
    let product = |from: &str| node("Mul", "times", &[from, "two"], "x");
    let mut nodes = vec![product("image")];
    nodes.extend(dense("x"));
    let message = read_input(nodes, &[0, 2, 4, 4], 2, &ImportOptions::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("cast them to float"), "{message}");
    let mut nodes = vec![
        with_int(node("Cast", "cast", &["image"], "f"), "to", 1),
        product("f"),
    ];
    nodes.extend(dense("x"));
    let imported = read_input(nodes, &[0, 2, 4, 4], 2, &ImportOptions::default()).unwrap();
    assert!(imported.takes_raw);
    let model = imported.into_model(crate::Description {
        name: "bytes".to_string(),
        classes: vec![],
        images: crate::ImageSettings::default(),
    });
    // White goes in as 255.
    assert!((model.unwrap().preprocess.normalize(1, 255.0) - 255.0).abs() < 1e-9);
}

#[test]
fn the_page_of_operators_is_current() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/onnx.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once("<!-- operators -->\n").unwrap();
    let (_, tail) = rest.split_once("<!-- end of operators -->").unwrap();
    let current = format!(
        "{head}<!-- operators -->\n{}<!-- end of operators -->{tail}",
        crate::reference()
    );
    if std::env::var_os("SORDINO_UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == current,
        "docs/reference/onnx.md is out of date: SORDINO_UPDATE=1 cargo test --release -p sordino-onnx --lib operators"
    );
}
