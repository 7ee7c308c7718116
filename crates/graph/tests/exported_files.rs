//! Model files with the operations of exporters, and that files of the operations before them stay the same.

use sordino_graph::{
    ColorPolicy, Error, Function, Granularity, Graph, Model, Node, NodeId, Op, OutputKind, Padding,
    Preprocess, Shape, SizePolicy, Tensor,
};
use std::path::Path;

#[test]
fn committed_models_are_written_byte_for_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|ending| ending == "safetensors")
        {
            let bytes = std::fs::read(&path).unwrap();
            let model = Model::from_bytes(&bytes).unwrap();
            assert!(model.to_bytes().unwrap() == bytes, "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 5, "{count} models");
}

fn model(functions: &[Function]) -> Model {
    let mut g = Graph::builder(Shape::map(1, 4, 4));
    let x = g.push("input", Op::Input, &[]);
    let conv = Op::Conv2d {
        weight: Tensor::new(&[2, 1, 2, 2], vec![0.5; 8]).unwrap(),
        bias: vec![0.0; 2],
        stride: [1, 1],
        padding: Padding {
            before: [0, 1],
            after: [2, 1],
        },
        dilation: [2, 1],
        groups: 1,
    };
    let mut x = g.push("conv", conv, &[x]);
    for (index, function) in functions.iter().enumerate() {
        x = g.push(format!("f{index}"), Op::Activation(function.clone()), &[x]);
    }
    let affine = Op::Affine {
        granularity: Granularity::Channel,
        factor: vec![1.0, 0.1],
        offset: vec![0.0, 2.0],
    };
    let y = g.push("affine", affine, &[x]);
    let factors = vec![0.5, -1.0];
    let sum = g.push("sum", Op::Add { factors }, &[x, y]);
    let joined = g.push("joined", Op::Concat, &[sum, x]);
    let indices = vec![0, -1, 5];
    let shape = Shape::Flat(3);
    g.push("select", Op::Select { shape, indices }, &[joined]);
    Model {
        graph: g.finish().unwrap(),
        preprocess: Preprocess {
            channels: 1,
            height: 4,
            width: 4,
            size: SizePolicy::Refuse,
            input_range: (0.0, 1.0),
            mean: vec![0.0],
            std: vec![1.0],
            allowed: (0.0, 1.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes: ["a", "b", "c"].map(String::from).to_vec(),
        output: OutputKind::Softmax,
        name: "exported".into(),
        dataset: "none".into(),
        calibration: None,
        operating_points: None,
        training: serde_json::Value::Null,
    }
}

#[test]
fn every_operation_is_read_as_it_was_written() {
    let functions = [
        Function::Relu,
        Function::RELU6,
        Function::LeakyRelu { slope: 0.1 },
        Function::PRelu {
            slope: vec![0.25, 0.1],
        },
        Function::Elu { alpha: 1.0 },
        Function::Selu {
            alpha: 1.67,
            gamma: 1.05,
        },
        Function::Gelu { tanh: false },
        Function::Gelu { tanh: true },
        Function::Silu,
        Function::HardSwish,
        Function::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Function::Tanh,
        Function::Sigmoid,
        Function::Softplus,
        Function::Mish,
    ];
    let model = model(&functions);
    let bytes = model.to_bytes().unwrap();
    assert_eq!(Model::from_bytes(&bytes).unwrap(), model);
}

#[test]
fn descriptions_have_the_documented_form() {
    let text = |op: &Op| serde_json::to_string(op).unwrap();
    assert_eq!(text(&Op::RELU), r#"{"kind":"relu"}"#);
    assert_eq!(text(&Op::SUM), r#"{"kind":"add"}"#);
    let plain = Op::conv2d(Tensor::default(), vec![], [1, 2], Padding::same([0, 1]));
    assert_eq!(
        text(&plain),
        r#"{"kind":"conv2d","stride":[1,2],"padding":[0,1]}"#
    );
    let pool = Op::MaxPool {
        kernel: [2, 2],
        stride: [1, 1],
        padding: Padding {
            before: [0, 1],
            after: [1, 1],
        },
        dilation: [1, 2],
    };
    assert_eq!(
        text(&pool),
        r#"{"kind":"max_pool","kernel":[2,2],"stride":[1,1],"padding":[[0,1],[1,1]],"dilation":[1,2]}"#
    );
    for bad in [
        r#"{"kind":"elu"}"#,
        r#"{"kind":"add","factor":[1]}"#,
        r#"{"kind":"unheard_of"}"#,
        r#"{"kind":"conv2d","stride":[1,1],"padding":[1]}"#,
    ] {
        assert!(serde_json::from_str::<Op>(bad).is_err(), "{bad}");
    }
}

#[test]
fn indices_outside_the_value_are_refused() {
    let node = |name: &str, op, inputs: &[usize]| Node {
        name: name.into(),
        op,
        inputs: inputs.iter().map(|&input| NodeId(input)).collect(),
    };
    let select = Op::Select {
        shape: Shape::Flat(1),
        indices: vec![16],
    };
    let nodes = vec![node("x", Op::Input, &[]), node("s", select, &[0])];
    let error = Graph::new(Shape::map(1, 4, 4), nodes).unwrap_err();
    assert!(matches!(error, Error::Node { .. }), "{error}");
}
