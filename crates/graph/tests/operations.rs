//! Every operation against its definition, written without tricks, and folded.

mod networks;

use networks::folding::{check, count};
use networks::{Coefficients, Random, Sketch, apply, batch_norm, close, dense, quadratic};
use proptest::prelude::*;
use sordino_graph::{FoldedOp, Granularity, Graph, NodeId, Op, Padding, Shape, Tensor, fold};

/// What lies at a row and column of the padded map; `outside` is the padding.
fn padded(
    x: &[f32],
    shape: &Shape,
    [channel, row, column]: [usize; 3],
    padding: &Padding,
    outside: f64,
) -> f64 {
    let Shape::Map { height, width, .. } = *shape else {
        panic!("a map")
    };
    let (top, left) = (padding.before[0], padding.before[1]);
    if row < top || column < left || row >= top + height || column >= left + width {
        return outside;
    }
    f64::from(x[(channel * height + row - top) * width + column - left])
}

fn windows(
    shape: &Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: &Padding,
    dilation: [usize; 2],
) -> [usize; 2] {
    let Shape::Map { height, width, .. } = *shape else {
        panic!("a map")
    };
    std::array::from_fn(|axis| {
        let size = [height, width][axis] + padding.before[axis] + padding.after[axis];
        (size - (kernel[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1
    })
}

fn pair(random: &mut Random, below: usize) -> [usize; 2] {
    [random.below(below), random.below(below)]
}

fn from_one(random: &mut Random, most: usize) -> [usize; 2] {
    pair(random, most).map(|x| x + 1)
}

/// A convolution that fits maps of at least 3 x 3.
fn any_conv(random: &mut Random, groups: usize, of_group: [usize; 2]) -> Op {
    let [outputs, inputs] = of_group;
    let kernel = from_one(random, 3);
    let shape = [outputs * groups, inputs, kernel[0], kernel[1]];
    let fan_in = (inputs * kernel[0] * kernel[1]) as f32;
    Op::Conv2d {
        weight: Tensor::new(
            &shape,
            random.values(shape.iter().product(), 1.5 / fan_in.sqrt()),
        )
        .unwrap(),
        bias: random.values(shape[0], 0.5),
        stride: from_one(random, 2),
        padding: Padding {
            before: [kernel[0] - 1, random.below(2)],
            after: [random.below(2), kernel[1]],
        },
        dilation: match kernel {
            [3, _] | [_, 3] => [1, 1],
            _ => from_one(random, 2),
        },
        groups,
    }
}

fn affine(random: &mut Random, shape: &Shape, granularity: Granularity) -> Op {
    let count = granularity.coefficients(shape);
    Op::Affine {
        granularity,
        factor: random.values(count, 1.5),
        offset: random.values(count, 0.5),
    }
}

const GRANULARITIES: [Granularity; 3] = [
    Granularity::Layer,
    Granularity::Channel,
    Granularity::Element,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn convolutions_in_groups(seed: u64) {
        let random = &mut Random::new(seed);
        let (groups, of_group) = (1 + random.below(3), from_one(random, 5));
        let shape = Shape::map(groups * of_group[1], 3 + random.below(4), 3 + random.below(4));
        let op = any_conv(random, groups, of_group);
        let x = random.values(shape.elements(), 1.0);
        let Op::Conv2d { weight, bias, stride, padding, dilation, .. } = &op else { panic!() };
        let &[outputs, inputs, rows, columns] = weight.shape() else { panic!() };
        let size = windows(&shape, [rows, columns], *stride, padding, *dilation);
        let mut expected = Vec::new();
        for (output, &bias) in bias.iter().enumerate().take(outputs) {
            let group = output / of_group[0];
            for y in 0..size[0] {
                for x_out in 0..size[1] {
                    let mut sum = f64::from(bias);
                    for input in 0..inputs {
                        for ky in 0..rows {
                            for kx in 0..columns {
                                let at = [
                                    group * inputs + input,
                                    y * stride[0] + ky * dilation[0],
                                    x_out * stride[1] + kx * dilation[1],
                                ];
                                let place = ((output * inputs + input) * rows + ky) * columns + kx;
                                sum += f64::from(weight.data()[place])
                                    * padded(&x, &shape, at, padding, 0.0);
                            }
                        }
                    }
                    expected.push(sum);
                }
            }
        }
        close(&expected, &apply(&op, &[(shape, &x)]));
    }

    #[test]
    fn maxima_of_windows(seed: u64) {
        let random = &mut Random::new(seed);
        let shape = Shape::map(1 + random.below(3), 3 + random.below(4), 3 + random.below(4));
        let kernel = from_one(random, 3);
        let padding = Padding {
            before: kernel.map(|k| k / 2),
            after: [random.below(kernel[0]), random.below(kernel[1])],
        };
        let dilation = if kernel.contains(&3) { [1, 1] } else { from_one(random, 2) };
        let stride = from_one(random, 3);
        let op = Op::MaxPool { kernel, stride, padding, dilation };
        let x: Vec<f32> = random.values(shape.elements(), 1.0).iter().map(|x| x - 2.0).collect();
        prop_assume!(op.output_shape("pool", &[shape]).is_ok());
        let size = windows(&shape, kernel, stride, &padding, dilation);
        let mut expected = Vec::new();
        for channel in 0..shape.channels() {
            for y in 0..size[0] {
                for x_out in 0..size[1] {
                    let mut most = f64::NEG_INFINITY;
                    for ky in 0..kernel[0] {
                        for kx in 0..kernel[1] {
                            let at = [
                                channel,
                                y * stride[0] + ky * dilation[0],
                                x_out * stride[1] + kx * dilation[1],
                            ];
                            most = most.max(padded(&x, &shape, at, &padding, f64::NEG_INFINITY));
                        }
                    }
                    expected.push(most);
                }
            }
        }
        close(&expected, &apply(&op, &[(shape, &x)]));
    }

    #[test]
    fn selections_concatenations_sums_and_affine_maps(seed: u64) {
        let random = &mut Random::new(seed);
        let [height, width] = from_one(random, 4);
        let first = Shape::map(1 + random.below(3), height, width);
        let second = Shape::map(1 + random.below(3), height, width);
        let x = random.values(first.elements(), 1.0);
        let y = random.values(second.elements(), 1.0);
        let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| f64::from(x)).collect() };

        let indices: Vec<i32> = (0..1 + random.below(30))
            .map(|_| random.below(x.len() + 1) as i32 - 1)
            .collect();
        let expected: Vec<f64> = indices
            .iter()
            .map(|&i| if i < 0 { 0.0 } else { f64::from(x[i as usize]) })
            .collect();
        let op = Op::Select { shape: Shape::Flat(indices.len()), indices };
        close(&expected, &apply(&op, &[(first, &x)]));

        let both = [wide(&x), wide(&y), wide(&x)].concat();
        close(&both, &apply(&Op::Concat, &[(first, &x), (second, &y), (first, &x)]));

        let (p, q) = (random.values(x.len(), 1.0), random.values(x.len(), 1.0));
        let factors = random.values(3, 2.0);
        let weighted = |factors: [f32; 3]| -> Vec<f64> {
            let [f, g, h] = factors.map(f64::from);
            let sum = |i: usize| f * f64::from(x[i]) + g * f64::from(p[i]) + h * f64::from(q[i]);
            (0..x.len()).map(sum).collect()
        };
        let inputs = [(first, &x[..]), (first, &p), (first, &q)];
        close(&weighted([1.0; 3]), &apply(&Op::SUM, &inputs));
        let expected = weighted([factors[0], factors[1], factors[2]]);
        close(&expected, &apply(&Op::Add { factors }, &inputs));

        for granularity in GRANULARITIES {
            let op = affine(random, &first, granularity);
            let Op::Affine { factor, offset, .. } = &op else { panic!() };
            let place = |i: usize| match granularity {
                Granularity::Layer => 0,
                Granularity::Channel => i / (height * width),
                Granularity::Element => i,
            };
            let value = |i: usize| {
                f64::from(factor[place(i)]) * f64::from(x[i]) + f64::from(offset[place(i)])
            };
            let expected: Vec<f64> = (0..x.len()).map(value).collect();
            close(&expected, &apply(&op, &[(first, &x)]));
        }
    }

    #[test]
    fn any_network_of_linear_operations_folds_to_an_equal_one(seed: u64) {
        let graph = any_network(seed);
        check(&graph, seed ^ 7);
    }
}

/// A random selection on a map that is often one of those that exporters make.
fn any_select(random: &mut Random, shape: &Shape) -> Op {
    let Shape::Map {
        channels,
        height,
        width,
    } = *shape
    else {
        panic!("a map")
    };
    let from = |to: Shape, of: &dyn Fn(usize, usize, usize) -> Option<[usize; 3]>| {
        let Shape::Map {
            channels,
            height: rows,
            width: columns,
        } = to
        else {
            panic!("a map")
        };
        let mut indices = Vec::new();
        for c in 0..channels {
            for y in 0..rows {
                for x in 0..columns {
                    let place = of(c, y, x).map(|[c, y, x]| (c * height + y) * width + x);
                    indices.push(place.map_or(-1, |place| place as i32));
                }
            }
        }
        Op::Select { shape: to, indices }
    };
    match random.below(6) {
        // Zeros around the map.
        0 => from(Shape::map(channels, height + 1, width + 2), &|c, y, x| {
            (y < height && (1..=width).contains(&x)).then(|| [c, y, x - 1])
        }),
        // Without its last column.
        1 if width > 3 => from(Shape::map(channels, height, width - 1), &|c, y, x| {
            Some([c, y, x])
        }),
        // Nearest upsampling.
        2 if height * width < 20 => {
            from(Shape::map(channels, 2 * height, 2 * width), &|c, y, x| {
                Some([c, y / 2, x / 2])
            })
        }
        // Channels in another order, and two of zeros.
        3 => from(Shape::map(channels + 2, height, width), &|c, y, x| {
            (c < channels).then(|| [channels - 1 - c, y, x])
        }),
        // Rows become columns.
        4 => from(Shape::map(channels, width, height), &|c, y, x| {
            Some([c, x, y])
        }),
        _ => {
            let most = channels * height * width;
            let indices = (0..most).map(|_| random.below(most + 1) as i32 - 1);
            Op::Select {
                shape: *shape,
                indices: indices.collect(),
            }
        }
    }
}

/// A network of operations without teachers, whose values are read more than once.
fn any_network(seed: u64) -> Graph {
    let random = &mut Random::new(seed);
    let shape = Shape::map(
        1 + random.below(3),
        3 + random.below(3),
        3 + random.below(3),
    );
    let mut net = Sketch::new(shape);
    let (mut read, mut squares) = (vec![false], 0);
    for _ in 0..4 + random.below(9) {
        let from = net.shapes.len() - 1 - random.below(net.shapes.len().min(3));
        let shape = net.shapes[from];
        let alike = |same: &dyn Fn(&Shape) -> bool| -> Vec<usize> {
            let numbered = net.shapes.iter().enumerate();
            numbered
                .filter(|(_, shape)| same(shape))
                .map(|(i, _)| i)
                .collect()
        };
        let mut inputs = vec![from];
        let channels = shape.channels();
        let op = match random.below(10) {
            0 | 1 => {
                let outputs = 1 + random.below(2);
                any_conv(random, channels, [outputs, 1])
            }
            2 | 3 => {
                let outputs = 1 + random.below(4);
                any_conv(random, 1, [outputs, channels])
            }
            4 => {
                let granularity = GRANULARITIES[random.below(3)];
                affine(random, &shape, granularity)
            }
            5 => any_select(random, &shape),
            6 => {
                let others = alike(&|other| {
                    other.channel_elements() == shape.channel_elements()
                        && *other
                            == match shape {
                                Shape::Map { height, width, .. } => {
                                    Shape::map(other.channels(), height, width)
                                }
                                flat => flat,
                            }
                });
                inputs.extend((0..1 + random.below(2)).map(|_| others[random.below(others.len())]));
                Op::Concat
            }
            7 => {
                let others = alike(&|other| *other == shape);
                inputs.extend((0..1 + random.below(2)).map(|_| others[random.below(others.len())]));
                match random.below(2) {
                    0 => Op::SUM,
                    _ => Op::Add {
                        factors: random.values(inputs.len(), 1.0),
                    },
                }
            }
            8 if squares < 3 => {
                squares += 1;
                let granularity = GRANULARITIES[random.below(3)];
                let kind = [Coefficients::Ordinary, Coefficients::WithTiny][random.below(2)];
                quadratic(random, &shape, granularity, kind)
            }
            8 | 9 if random.below(2) == 0 => batch_norm(random, &shape),
            _ => Op::AveragePool {
                kernel: [2, 2],
                stride: from_one(random, 2),
            },
        };
        let small = |shape: Shape| match shape {
            Shape::Map { height, width, .. } => {
                (3..9).contains(&height) && (3..9).contains(&width) && shape.channels() < 9
            }
            Shape::Flat(_) => false,
        };
        let shapes: Vec<Shape> = inputs.iter().map(|&i| net.shapes[i]).collect();
        if op.output_shape("next", &shapes).is_ok_and(small) {
            inputs.iter().for_each(|&input| read[input] = true);
            let inputs: Vec<NodeId> = inputs.into_iter().map(NodeId).collect();
            net.push(op, &inputs);
            read.push(false);
        }
    }
    // Whatever nothing has read goes to the logits.
    let loose: Vec<usize> = (0..read.len()).filter(|&node| !read[node]).collect();
    let flat: Vec<NodeId> = loose
        .iter()
        .map(|&node| net.push(Op::Flatten, &[NodeId(node)]))
        .collect();
    let all = net.push(Op::Concat, &flat);
    let features = net.shape().elements();
    if random.chance(4) {
        // Logits that are no dense layer's.
        let indices = (0..5).map(|_| random.below(features) as i32).collect();
        let shape = Shape::Flat(5);
        net.push(Op::Select { shape, indices }, &[all]);
    } else {
        net.push(dense(random, 4, features), &[all]);
    }
    net.done()
}

/// Most linear maps that cost a level on a path from the input to the logits.
fn depth(graph: &Graph) -> usize {
    let folded = fold(graph).unwrap();
    let mut depths: Vec<usize> = Vec::new();
    for node in &folded.nodes {
        let before = node
            .sources()
            .map(|source| depths[source])
            .max()
            .unwrap_or(0);
        depths.push(before + usize::from(node.linear().is_some() && !node.is_exact_sum()));
    }
    depths[depths.len() - 1]
}

/// Two convolutions with an activation each, and what `between` puts after the first convolution and after its activation.
fn deep(between: impl Fn(&mut Sketch, &mut Random)) -> Graph {
    let random = &mut Random::new(5);
    let mut net = Sketch::new(Shape::map(2, 6, 6));
    net.then(networks::conv(random, [4, 2, 3, 3], [1, 1], [1, 1]));
    between(&mut net, random);
    let op = quadratic(
        random,
        &net.shape(),
        Granularity::Channel,
        Coefficients::Ordinary,
    );
    net.then(op);
    between(&mut net, random);
    let channels = net.shape().channels();
    net.then(networks::conv(random, [4, channels, 3, 3], [2, 2], [1, 1]));
    let op = quadratic(
        random,
        &net.shape(),
        Granularity::Channel,
        Coefficients::Ordinary,
    );
    net.then(op);
    net.finish(random, 3)
}

#[test]
fn what_only_moves_or_scales_costs_no_level() {
    assert_eq!(depth(&deep(|_, _| ())), 3);
    let moved = deep(|net, random| {
        let shape = net.shape();
        net.then(affine(random, &shape, Granularity::Element));
        let indices = (0..shape.elements() as i32).rev().collect();
        net.then(Op::Select { shape, indices });
    });
    check(&moved, 3);
    assert_eq!(depth(&moved), 3);
    let joined = deep(|net, random| {
        let (x, channels) = (net.last(), net.shape().channels());
        let shape = net.shape();
        let y = net.push(affine(random, &shape, Granularity::Channel), &[x]);
        net.push(Op::Concat, &[x, y, x]);
        assert_eq!(net.shape().channels(), 3 * channels);
    });
    check(&joined, 3);
    assert_eq!(depth(&joined), 3);
    let summed = deep(|net, _| {
        let (x, shape) = (net.last(), net.shape());
        let indices = (0..shape.elements() as i32).rev().collect();
        let y = net.push(Op::Select { shape, indices }, &[x]);
        net.push(
            Op::Add {
                factors: vec![0.5, -2.0, 1.0],
            },
            &[x, y, x],
        );
    });
    check(&summed, 3);
    assert_eq!(depth(&summed), 3);
}

#[test]
fn two_branches_of_channels_cost_no_level() {
    let random = &mut Random::new(6);
    let mut net = Sketch::new(Shape::map(2, 6, 6));
    let x = net.last();
    let left = net.push(networks::conv(random, [3, 2, 3, 3], [1, 1], [1, 1]), &[x]);
    let right = net.push(networks::conv(random, [2, 2, 1, 1], [1, 1], [0, 0]), &[x]);
    net.push(Op::Concat, &[left, right]);
    let op = quadratic(
        random,
        &net.shape(),
        Granularity::Channel,
        Coefficients::Ordinary,
    );
    let joined = net.then(op);
    let op = quadratic(
        random,
        &net.shapes[left.0],
        Granularity::Layer,
        Coefficients::Ordinary,
    );
    let other = net.push(op, &[left]);
    net.push(Op::Concat, &[joined, other]);
    net.then(Op::AveragePool {
        kernel: [2, 2],
        stride: [2, 2],
    });
    let graph = net.finish(random, 3);
    let folded = check(&graph, 4);
    assert_eq!(depth(&graph), 2);
    // Each branch is pooled on its own, exactly.
    let exact = |op: &FoldedOp| matches!(op, FoldedOp::Linear(linear) if linear.exact_sum);
    assert_eq!(count(&folded, exact), 2);
}

#[test]
fn a_depthwise_convolution_has_no_zeros() {
    let random = &mut Random::new(8);
    let mut net = Sketch::new(Shape::map(5, 6, 6));
    let Op::Conv2d { weight, bias, .. } = networks::conv(random, [5, 1, 3, 3], [1, 1], [1, 1])
    else {
        panic!()
    };
    net.then(Op::Conv2d {
        weight,
        bias,
        stride: [1, 1],
        padding: Padding::same([1, 1]),
        dilation: [1, 1],
        groups: 5,
    });
    let graph = net.finish(random, 3);
    let folded = check(&graph, 4);
    let taps = 16 * 9 + 4 * 4 * 6 + 4 * 4;
    assert_eq!(folded.multiply_accumulates(), 5 * taps + 3 * 5 * 36);
}
