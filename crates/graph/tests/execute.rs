//! The plain executor against hand-computed values and a naive reference.

mod networks;

use networks::{Random, Sketch, images, random_network};
use sordino_graph::{
    Error, Granularity, Graph, Node, NodeId, Op, Padding, Shape, Tensor, execute, execute_f64,
    execute_observed,
};

/// The logits of one image of a graph of input, one operation, and flatten if that is a map.
fn apply(input: Shape, op: Op, image: &[f32]) -> Vec<f32> {
    let mut net = Sketch::new(input);
    net.then(op);
    if let Shape::Map { .. } = net.shape() {
        net.then(Op::Flatten);
    }
    execute(&net.done(), image, 1).unwrap()
}

#[test]
fn dense_by_hand() {
    let op = Op::Dense {
        weight: Tensor::new(&[2, 3], vec![1.0, 2.0, 3.0, -1.0, 0.0, 0.5]).unwrap(),
        bias: vec![0.25, -1.0],
    };
    assert_eq!(
        apply(Shape::Flat(3), op, &[1.0, 10.0, 100.0]),
        [321.25, 48.0]
    );
}

#[test]
fn convolution_by_hand_with_padding_and_stride() {
    // Cross-correlation: the kernel is not flipped.
    let op = |stride, padding| Op::Conv2d {
        weight: Tensor::new(&[1, 1, 2, 2], vec![1.0, 10.0, 100.0, 1000.0]).unwrap(),
        bias: vec![0.5],
        stride,
        padding: Padding::same(padding),
        dilation: [1, 1],
        groups: 1,
    };
    let input = Shape::map(1, 2, 3);
    let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    assert_eq!(apply(input, op([1, 1], [0, 0]), &image), [5421.5, 6532.5]);
    assert_eq!(
        apply(input, op([2, 2], [1, 1]), &image),
        [1000.5, 3200.5, 40.5, 65.5]
    );
}

#[test]
fn convolution_adds_up_its_input_channels() {
    let op = Op::Conv2d {
        weight: Tensor::new(&[3, 2, 1, 1], vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0]).unwrap(),
        bias: vec![0.0, 0.0, 0.5],
        stride: [1, 1],
        padding: Padding::same([0, 0]),
        dilation: [1, 1],
        groups: 1,
    };
    let found = apply(Shape::map(2, 1, 2), op, &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(found, [31.0, 42.0, 62.0, 84.0, 93.5, 126.5]);
}

#[test]
fn pooling_leaves_incomplete_windows_out() {
    let op = Op::AveragePool {
        kernel: [2, 2],
        stride: [2, 2],
    };
    let image: Vec<f32> = (1..=15).map(|x| x as f32).collect();
    // Three rows of five: one row of two windows, the last row and column unused.
    assert_eq!(apply(Shape::map(1, 3, 5), op, &image), [4.0, 6.0]);
}

#[test]
fn batch_norm_and_quadratics_by_hand() {
    let op = Op::BatchNorm {
        gamma: vec![2.0, 1.0],
        beta: vec![0.5, 0.0],
        mean: vec![1.0, -1.0],
        variance: vec![3.0, 0.0],
        epsilon: 1.0,
    };
    let image = [1.0, 3.0, 1.0, 3.0];
    assert_eq!(apply(Shape::map(2, 1, 2), op, &image), [0.5, 2.5, 2.0, 4.0]);
    let op = |granularity, a: &[f32]| Op::Quadratic {
        granularity,
        a: a.to_vec(),
        b: vec![10.0; a.len()],
        c: vec![0.5; a.len()],
    };
    for (granularity, a, expected) in [
        (Granularity::Layer, &[1.0][..], [11.5, 39.5, 11.5, 39.5]),
        (Granularity::Channel, &[1.0, -1.0], [11.5, 39.5, 9.5, 21.5]),
        (
            Granularity::Element,
            &[1.0, 2.0, 3.0, 4.0],
            [11.5, 48.5, 13.5, 66.5],
        ),
    ] {
        assert_eq!(
            apply(Shape::map(2, 1, 2), op(granularity, a), &image),
            expected
        );
    }
}

#[test]
fn flatten_is_channel_first_and_relu_cuts() {
    let image = [-1.0, 2.0, 3.0, -4.0];
    assert_eq!(
        apply(Shape::map(2, 1, 2), Op::Flatten, &image),
        [-1.0, 2.0, 3.0, -4.0]
    );
    assert_eq!(
        apply(Shape::map(2, 1, 2), Op::RELU, &image),
        [0.0, 2.0, 3.0, 0.0]
    );
}

#[test]
fn an_image_has_the_same_logits_in_every_batch() {
    for seed in 0..10 {
        let graph = random_network(seed);
        let pixels = graph.input_shape().elements();
        let classes = graph.classes();
        let batch = 37;
        let images = images(&mut Random::new(seed), graph.input_shape(), batch);
        let all = execute(&graph, &images, batch).unwrap();
        for index in [0, 7, 15, 16, 36] {
            let image = &images[index * pixels..][..pixels];
            let alone = execute(&graph, image, 1).unwrap();
            assert_eq!(alone, all[index * classes..][..classes]);
        }
        let double = execute_f64(&graph, &images, batch).unwrap();
        for (single, double) in all.iter().zip(double) {
            assert!((f64::from(*single) - double).abs() <= 1e-3 * double.abs().max(1.0));
        }
    }
}

#[test]
fn the_observer_sees_every_node_of_every_image_in_order() {
    let graph = random_network(3);
    let batch = 50;
    let images = images(&mut Random::new(3), graph.input_shape(), batch);
    let mut seen: Vec<Vec<f32>> = vec![Vec::new(); graph.nodes().len()];
    let logits = execute_observed(&graph, &images, batch, |node, values| {
        let id = graph.find(&node.name).unwrap();
        assert_eq!(values.len() % graph.shape(id).elements(), 0);
        seen[id.0].extend_from_slice(values);
    })
    .unwrap();
    assert_eq!(seen[0], images);
    assert_eq!(seen[seen.len() - 1], logits);
    assert_eq!(logits, execute(&graph, &images, batch).unwrap());
    for (index, values) in seen.iter().enumerate() {
        assert_eq!(values.len(), batch * graph.shape(NodeId(index)).elements());
    }
}

#[test]
fn a_wrong_number_of_pixels_is_refused() {
    let graph = random_network(1);
    let shape = graph.input_shape();
    for found in [0, shape.elements() * 2 - 1, shape.elements() * 3] {
        let error = execute(&graph, &vec![0.0; found], 2).unwrap_err();
        assert!(
            matches!(&error, Error::Images { batch: 2, found: f, .. } if *f == found),
            "{error}"
        );
    }
    assert_eq!(execute(&graph, &[], 0).unwrap(), Vec::<f32>::new());
}

/// The message for nodes after an input of 1x4x4.
fn refusal(nodes: Vec<(&str, Op, Vec<usize>)>) -> String {
    let nodes = nodes
        .into_iter()
        .map(|(name, op, inputs)| Node {
            name: name.into(),
            op,
            inputs: inputs.into_iter().map(NodeId).collect(),
        })
        .collect();
    Graph::new(Shape::map(1, 4, 4), nodes)
        .unwrap_err()
        .to_string()
}

fn small_conv(weight: &[usize], bias: usize, value: f32) -> Op {
    Op::Conv2d {
        weight: Tensor::new(weight, vec![value; weight.iter().product()]).unwrap(),
        bias: vec![0.0; bias],
        stride: [1, 1],
        padding: Padding::same([0, 0]),
        dilation: [1, 1],
        groups: 1,
    }
}

#[test]
fn graphs_that_cannot_be_computed_are_refused_with_the_node() {
    let input = || ("x", Op::Input, vec![]);
    let flat = || ("f", Op::Flatten, vec![0]);
    let dense = |inputs| Op::Dense {
        weight: Tensor::new(&[2, inputs], vec![0.0; 2 * inputs]).unwrap(),
        bias: vec![0.0; 2],
    };
    let quadratic = |count| Op::Quadratic {
        granularity: Granularity::Element,
        a: vec![1.0; count],
        b: vec![1.0; 16],
        c: vec![1.0; 16],
    };
    let norm = |variance: f32, epsilon| Op::BatchNorm {
        gamma: vec![1.0],
        beta: vec![1.0],
        mean: vec![1.0],
        variance: vec![variance],
        epsilon,
    };
    let pool = |kernel, stride| Op::AveragePool { kernel, stride };
    let cases = [
        (vec![], "expected 2 to"),
        (vec![input()], "expected 2 to"),
        (vec![flat(), input()], "first node, and no other"),
        (
            vec![input(), ("y", Op::Input, vec![])],
            "first node, and no other",
        ),
        (
            vec![input(), ("x", Op::Flatten, vec![0])],
            "two nodes have the name \"x\"",
        ),
        (
            vec![input(), ("a b", Op::Flatten, vec![0])],
            "has the name \"a b\"",
        ),
        (
            vec![input(), ("", Op::Flatten, vec![0])],
            "has the name \"\"",
        ),
        (
            vec![input(), ("f", Op::Flatten, vec![1])],
            "order of evaluation",
        ),
        (
            vec![input(), ("f", Op::Flatten, vec![usize::MAX])],
            "order of evaluation",
        ),
        (
            vec![input(), ("f", Op::Flatten, vec![])],
            "reads 1 values, found 0",
        ),
        (
            vec![input(), flat(), ("s", Op::SUM, vec![0])],
            "reads 2 or more values, found 1",
        ),
        (
            vec![input(), flat(), ("s", Op::SUM, vec![0, 1])],
            "found 1x4x4 and 16",
        ),
        (
            vec![input(), ("r", Op::RELU, vec![0]), flat()],
            "nothing reads node \"r\"",
        ),
        (vec![input(), ("r", Op::RELU, vec![0])], "flatten it"),
        (
            vec![input(), ("d", dense(16), vec![0])],
            "put a flatten before it",
        ),
        (
            vec![input(), flat(), ("d", dense(15), vec![1])],
            "expects 15 features, found 16",
        ),
        (
            vec![input(), ("c", small_conv(&[1, 2, 1, 1], 1, 0.0), vec![0])],
            "expects 2 channels, found 1",
        ),
        (
            vec![input(), ("c", small_conv(&[1, 1, 5, 1], 1, 0.0), vec![0])],
            "does not fit a map of 4x4",
        ),
        (
            vec![input(), ("c", small_conv(&[1, 1, 1, 1], 2, 0.0), vec![0])],
            "bias needs 1 values",
        ),
        (
            vec![input(), ("c", small_conv(&[1, 1, 1], 1, 0.0), vec![0])],
            "[out, in, height, width]",
        ),
        (
            vec![input(), ("c", small_conv(&[1, 1, 0, 1], 1, 0.0), vec![0])],
            "must be at least 1",
        ),
        (
            vec![input(), flat(), ("p", pool([1, 1], [1, 1]), vec![1])],
            "expects a feature map",
        ),
        (
            vec![input(), ("p", pool([2, 2], [0, 1]), vec![0])],
            "must be at least 1",
        ),
        (
            vec![input(), ("p", pool([5, 5], [1, 1]), vec![0])],
            "does not fit",
        ),
        (
            vec![
                input(),
                ("q", quadratic(15), vec![0]),
                ("f", Op::Flatten, vec![1]),
            ],
            "a needs 16 values",
        ),
        (
            vec![input(), ("b", norm(-1.0, 1e-5), vec![0])],
            "variance[0] is -1",
        ),
        (
            vec![input(), ("b", norm(0.0, 0.0), vec![0])],
            "must be positive",
        ),
        (
            vec![input(), ("b", norm(1.0, f64::NAN), vec![0])],
            "epsilon is NaN",
        ),
    ];
    for (nodes, expected) in cases {
        let message = refusal(nodes);
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    }
}

#[test]
fn huge_padding_is_refused_before_memory_is_taken() {
    for padding in [usize::MAX, usize::MAX / 2, 1 << 40, 1 << 13] {
        let op = Op::Conv2d {
            weight: Tensor::new(&[1, 1, 1, 1], vec![1.0]).unwrap(),
            bias: vec![0.0],
            stride: [1, 1],
            padding: Padding::same([padding, padding]),
            dilation: [1, 1],
            groups: 1,
        };
        refusal(vec![("x", Op::Input, vec![]), ("c", op, vec![0])]);
    }
}

#[test]
fn weights_that_are_not_finite_are_named_with_their_index() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut weights = vec![0.5; 32];
        weights[17] = bad;
        let op = Op::Dense {
            weight: Tensor::new(&[2, 16], weights).unwrap(),
            bias: vec![0.0; 2],
        };
        let message = refusal(vec![
            ("x", Op::Input, vec![]),
            ("f", Op::Flatten, vec![0]),
            ("logits", op, vec![1]),
        ]);
        assert!(
            message.contains("\"logits\"")
                && message.contains("weight")
                && message.contains("index 17")
        );
        let norm = Op::BatchNorm {
            gamma: vec![1.0],
            beta: vec![0.0],
            mean: vec![0.0],
            variance: vec![bad.abs()],
            epsilon: 1e-5,
        };
        let message = refusal(vec![
            ("x", Op::Input, vec![]),
            ("norm", norm, vec![0]),
            ("f", Op::Flatten, vec![1]),
        ]);
        assert!(
            message.contains("\"norm\"")
                && message.contains("variance")
                && message.contains("index 0"),
            "{message}"
        );
    }
    let error = Tensor::new(&[2, 3], vec![0.0; 5]).unwrap_err();
    assert!(matches!(error, Error::TensorLength { found: 5, .. }));
    assert!(Tensor::new(&[usize::MAX, 2], vec![0.0; 2]).is_err());
}

#[test]
fn counts_of_a_network() {
    let random = &mut Random::new(1);
    let mut net = Sketch::new(Shape::map(1, 28, 28));
    net.then(networks::conv(random, [5, 1, 5, 5], [2, 2], [1, 1]));
    net.then(Op::RELU);
    let graph = net.finish(random, 10);
    assert_eq!(graph.shape(NodeId(1)), Shape::map(5, 13, 13));
    assert_eq!(graph.multiply_accumulates(), 845 * 25 + 8450);
    assert_eq!(graph.parameters(), 125 + 5 + 8450 + 10);
    assert_eq!(graph.activations(), 845);
}
