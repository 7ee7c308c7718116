//! Files put together node by node: operators that PyTorch's exporters fold away, and those that are refused.

use prost::Message;
use sordino_graph::{Op, execute};

use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
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
        (node("ArgMax", "", image, "x"), "--output"),
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
        mean: vec![],
        std: vec![],
        classes: vec![],
        input_range: (0.0, 255.0),
    });
    // White goes in as 255.
    assert!((model.unwrap().preprocess.normalize(1, 255.0) - 255.0).abs() < 1e-9);
}

#[test]
fn what_is_common_to_several_images_is_refused() {
    let mixed = |reshape: &[i64]| {
        let target = NodeProto {
            attribute: vec![AttributeProto {
                name: "value_ints".to_string(),
                ints: reshape.to_vec(),
                ..Default::default()
            }],
            ..node("Constant", "target", &[], "target")
        };
        let mut nodes = vec![target, node("Reshape", "mixing", &["image", "target"], "x")];
        nodes.extend(dense("x"));
        read(nodes)
    };
    assert!(mixed(&[-1, 2, 16]).is_ok());
    assert!(mixed(&[0, 0, -1]).is_ok());
    // A batch of one, whatever the input says.
    assert!(mixed(&[1, 32]).unwrap().warnings[0].contains("read for one"));
    assert!(mixed(&[3, -1, 4, 4]).is_err());
}

#[test]
fn versions_and_hostile_sizes_are_refused() {
    let mut model = ModelProto::decode(&bytes(dense("image"), &[0, 2, 4, 4], 1)[..]).unwrap();
    for (version, good) in [(6, false), (7, true), (24, true), (25, false)] {
        model.opset_import[0].version = version;
        let network = Network::from_bytes(&model.encode_to_vec());
        assert_eq!(network.is_ok(), good, "{version}");
    }
    // A shape of petabytes in a file of bytes.
    let huge = |operator: &str, ints: &[i64]| {
        let target = NodeProto {
            attribute: vec![AttributeProto {
                name: "value_ints".to_string(),
                ints: ints.to_vec(),
                ..Default::default()
            }],
            ..node("Constant", "target", &[], "target")
        };
        let mut nodes = vec![
            target,
            node(operator, "huge", &["two", "target"], "y"),
            node("Add", "sum", &["image", "y"], "x"),
        ];
        nodes.extend(dense("x"));
        read(nodes)
    };
    let message = huge("Expand", &[1 << 20, 1 << 20, 1, 1])
        .unwrap_err()
        .to_string();
    assert!(message.contains("huge"), "{message}");
    let message = huge("Expand", &[i64::MAX, i64::MAX])
        .unwrap_err()
        .to_string();
    assert!(message.contains("huge"), "{message}");
}

#[test]
fn many_nodes_take_no_time() {
    // Each doubles a large constant's elements in turn: without a budget this would take hours.
    let mut nodes = vec![NodeProto {
        attribute: vec![AttributeProto {
            name: "value_ints".to_string(),
            ints: vec![1 << 12, 1 << 12],
            ..Default::default()
        }],
        ..node("Constant", "shape", &[], "shape")
    }];
    nodes.push(node("Expand", "expand", &["two", "shape"], "c0"));
    for step in 0..20_000 {
        nodes.push(node(
            "Add",
            "",
            &[&format!("c{step}"), "two"],
            &format!("c{}", step + 1),
        ));
    }
    nodes.push(node("Add", "last", &["image", "c20000"], "x"));
    nodes.extend(dense("x"));
    let start = std::time::Instant::now();
    let message = read(nodes).unwrap_err().to_string();
    assert!(message.contains("too much work"), "{message}");
    assert!(start.elapsed().as_secs() < 60);
    // Many small ones are read.
    let mut nodes = Vec::new();
    let mut last = "image".to_string();
    for step in 0..60_000 {
        let next = format!("v{step}");
        nodes.push(node("Identity", "", &[&last], &next));
        last = next;
    }
    nodes.extend(dense(&last));
    let start = std::time::Instant::now();
    assert_eq!(kinds(&read(nodes).unwrap()), ["input", "flatten", "dense"]);
    assert!(start.elapsed().as_secs() < 30);
}

#[test]
fn data_beside_the_file_stays_in_its_folder() {
    let folder = std::env::temp_dir().join(format!("sordino-onnx-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let weights: Vec<u8> = (0..96u32)
        .flat_map(|i| (i as f32 / 96.0).to_le_bytes())
        .collect();
    std::fs::write(folder.join("weights"), &weights).unwrap();
    let import = |entries: &[(&str, &str)]| {
        let mut model = ModelProto::decode(&bytes(dense("image"), &[0, 2, 4, 4], 1)[..]).unwrap();
        let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
        tensor.float_data.clear();
        tensor.data_location = 1;
        let entry = |&(key, value): &(&str, &str)| StringEntryProto {
            key: key.to_string(),
            value: value.to_string(),
        };
        tensor.external_data = entries.iter().map(entry).collect();
        std::fs::write(folder.join("net.onnx"), model.encode_to_vec()).unwrap();
        let network = Network::read(folder.join("net.onnx")).unwrap();
        network.import(&ImportOptions::default())
    };
    let imported = import(&[("location", "weights")]).unwrap();
    let image: Vec<f32> = (0..32).map(|i| i as f32).collect();
    let logits = execute(&imported.graph, &image, 1).unwrap();
    let expected: f32 = (0..32).map(|i| i as f32 * (3 * i + 1) as f32 / 96.0).sum();
    assert!((logits[1] - expected).abs() < 1e-2, "{logits:?} {expected}");
    for (entries, part) in [
        (
            vec![("location", "../weights")],
            "expected a file in the folder",
        ),
        (
            vec![("location", "/etc/hostname")],
            "expected a file in the folder",
        ),
        (
            vec![("location", "weights"), ("offset", "4")],
            "expected 384 bytes",
        ),
        (
            vec![("location", "weights"), ("length", "380")],
            "expected 384 bytes",
        ),
        (
            vec![
                ("location", "weights"),
                ("offset", "18446744073709551615"),
                ("length", "384"),
            ],
            "expected 384 bytes",
        ),
        (
            vec![("location", "weights"), ("offset", "x")],
            "expected a number",
        ),
        (vec![("location", "absent")], "cannot read"),
    ] {
        let message = import(&entries).unwrap_err().to_string();
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc/hostname", folder.join("link")).unwrap();
        let message = import(&[("location", "link")]).unwrap_err().to_string();
        assert!(message.contains("leads out of the folder"), "{message}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
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
