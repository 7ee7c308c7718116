//! Functions of teachers and what operations refuse, against their definitions.

mod networks;

use networks::{Sketch, apply, close};
use sordino_graph::{Error, Function, Granularity, Op, Padding, Shape, Tensor, execute};

/// `erf` by Simpson's rule.
fn erf(x: f64) -> f64 {
    let steps = 2000;
    let h = x / f64::from(steps);
    let f = |t: f64| (-t * t).exp();
    let inner: f64 = (1..steps)
        .map(|k| f(h * f64::from(k)) * if k % 2 == 1 { 4.0 } else { 2.0 })
        .sum();
    (f(0.0) + inner + f(x)) * h / 3.0 * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn functions_by_their_definitions() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let softplus = |x: f64| (1.0 + x.exp()).ln();
    let half = f64::from(0.3f32);
    type Definition<'a> = Box<dyn Fn(f64) -> f64 + 'a>;
    let definitions: Vec<(Function, Definition<'_>)> = vec![
        (Function::Relu, Box::new(|x| if x < 0.0 { 0.0 } else { x })),
        (Function::RELU6, Box::new(|x| x.clamp(0.0, 6.0))),
        (
            Function::Clip {
                min: -0.5,
                max: 1.5,
            },
            Box::new(|x| x.clamp(-0.5, 1.5)),
        ),
        (
            Function::LeakyRelu { slope: 0.3 },
            Box::new(|x| if x < 0.0 { half * x } else { x }),
        ),
        (
            Function::PRelu {
                slope: vec![0.3, 0.3],
            },
            Box::new(|x| if x < 0.0 { half * x } else { x }),
        ),
        (
            Function::Elu { alpha: 0.3 },
            Box::new(|x| if x < 0.0 { half * (x.exp() - 1.0) } else { x }),
        ),
        (
            Function::Selu {
                alpha: 0.3,
                gamma: 2.0,
            },
            Box::new(|x| {
                if x <= 0.0 {
                    2.0 * (half * x.exp() - half)
                } else {
                    2.0 * x
                }
            }),
        ),
        (
            Function::Gelu { tanh: false },
            Box::new(|x| 0.5 * x * (1.0 + erf(x / 2f64.sqrt()))),
        ),
        (
            Function::Gelu { tanh: true },
            Box::new(|x| {
                let y = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                0.5 * x * (1.0 + y.tanh())
            }),
        ),
        (Function::Silu, Box::new(|x| x * sigmoid(x))),
        (
            Function::HardSwish,
            Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        ),
        (
            Function::HardSigmoid {
                alpha: 0.3,
                beta: 0.5,
            },
            Box::new(|x| (half * x + 0.5).clamp(0.0, 1.0)),
        ),
        (
            Function::Tanh,
            Box::new(|x| (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())),
        ),
        (Function::Sigmoid, Box::new(sigmoid)),
        (Function::Softplus, Box::new(softplus)),
        (Function::Mish, Box::new(|x| x * softplus(x).tanh())),
    ];
    let shape = Shape::map(2, 1, 60);
    let x: Vec<f32> = (-60..60).map(|k| k as f32 / 7.0).collect();
    for (function, definition) in definitions {
        let expected: Vec<f64> = x.iter().map(|&x| definition(f64::from(x))).collect();
        close(
            &expected,
            &apply(&Op::Activation(function.clone()), &[(shape, &x)]),
        );
        // Far out nothing overflows.
        for x in [-1e4, 1e4] {
            assert!(function.apply(x, 0).is_finite(), "{function:?} {x}");
        }
    }
}

#[test]
fn slopes_belong_to_channels() {
    let op = Op::Activation(Function::PRelu {
        slope: vec![0.5, -2.0],
    });
    let found = apply(&op, &[(Shape::map(2, 1, 2), &[-1.0, 1.0, -1.0, -3.0])]);
    assert_eq!(found, [-0.5, 1.0, 2.0, 6.0]);
}

#[test]
fn a_maximum_hides_no_nan() {
    let mut net = Sketch::new(Shape::map(1, 1, 3));
    net.then(Op::MaxPool {
        kernel: [1, 3],
        stride: [1, 1],
        padding: Padding::NONE,
        dilation: [1, 1],
    });
    net.then(Op::Flatten);
    let graph = net.done();
    let nan = f32::NAN;
    for image in [[nan, 1.0, 2.0], [1.0, nan, 2.0], [1.0, 2.0, nan]] {
        assert!(execute(&graph, &image, 1).unwrap()[0].is_nan());
    }
    assert_eq!(execute(&graph, &[1.0, 3.0, 2.0], 1).unwrap(), [3.0]);
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let map = Shape::map(4, 3, 3);
    let refusal = |op: Op, inputs: &[Shape]| match op.output_shape("n", inputs) {
        Err(error @ Error::Node { .. }) => error.to_string(),
        other => panic!("expected a refusal, found {other:?}"),
    };
    let conv = |shape: [usize; 4], groups, dilation| Op::Conv2d {
        weight: Tensor::new(&shape, vec![1.0; shape.iter().product()]).unwrap(),
        bias: vec![0.0; shape[0]],
        stride: [1, 1],
        padding: Padding::NONE,
        dilation,
        groups,
    };
    let huge = usize::MAX / 2;
    let pool = |padding, dilation| Op::MaxPool {
        kernel: [2, 2],
        stride: [1, 1],
        padding,
        dilation,
    };
    let select = |count: usize, index| Op::Select {
        shape: Shape::Flat(2),
        indices: vec![index; count],
    };
    for (op, inputs, reason) in [
        (
            conv([4, 2, 1, 1], 3, [1, 1]),
            vec![map],
            "3 groups must divide",
        ),
        (
            conv([4, 2, 1, 1], 0, [1, 1]),
            vec![map],
            "0 groups must divide",
        ),
        (
            conv([3, 2, 1, 1], 2, [1, 1]),
            vec![map],
            "2 groups must divide",
        ),
        (
            conv([4, 4, 1, 1], 2, [1, 1]),
            vec![map],
            "in each of 2 groups, found 2",
        ),
        (conv([4, 4, 2, 2], 1, [0, 1]), vec![map], "at least 1"),
        (conv([4, 4, 2, 2], 1, [3, 1]), vec![map], "does not fit"),
        (
            conv([4, 4, 2, 2], 1, [huge, huge]),
            vec![map],
            "does not fit",
        ),
        (
            conv([4, 4, 3, 3], 1, [huge, huge]),
            vec![map],
            "does not fit",
        ),
        (pool(Padding::same([1 << 40, 0]), [1, 1]), vec![map], "taps"),
        (
            pool(Padding::same([huge, huge]), [1, 1]),
            vec![map],
            "does not fit",
        ),
        (
            pool(Padding::same([2, 0]), [1, 1]),
            vec![map],
            "holds padding only",
        ),
        (
            select(3, 0),
            vec![map],
            "each of the 2 elements of 2, found 3",
        ),
        (
            select(2, 36),
            vec![map],
            "index 0 of select is 36, expected -1 to 35",
        ),
        (select(2, -2), vec![map], "index 0 of select is -2"),
        (
            Op::Concat,
            vec![map, Shape::map(4, 3, 2)],
            "one height and width",
        ),
        (
            Op::Concat,
            vec![map, Shape::Flat(9)],
            "one height and width",
        ),
        (Op::SUM, vec![map, Shape::map(4, 3, 2)], "one shape"),
        (
            Op::Add { factors: vec![1.0] },
            vec![map, map],
            "1 factors for 2 values",
        ),
        (
            Op::Add {
                factors: vec![1.0, f32::NAN],
            },
            vec![map, map],
            "not finite",
        ),
        (
            Op::Activation(Function::PRelu {
                slope: vec![0.1; 3],
            }),
            vec![map],
            "slope needs 4 values",
        ),
        (
            Op::Activation(Function::Clip { min: 1.0, max: 0.0 }),
            vec![map],
            "expected the largest to be larger",
        ),
        (
            Op::Activation(Function::Elu {
                alpha: f32::INFINITY,
            }),
            vec![map],
            "finite",
        ),
        (
            Op::Affine {
                granularity: Granularity::Channel,
                factor: vec![1.0; 4],
                offset: vec![],
            },
            vec![map],
            "offset needs 4 values",
        ),
    ] {
        let found = refusal(op, &inputs);
        assert!(found.contains(reason), "{found:?} lacks {reason:?}");
    }
}
