//! The folded network equals the graph, whatever the order of its operations.

mod networks;

use networks::folding::{check, count};
use networks::{Coefficients, Random, Sketch, batch_norm, conv, dense, quadratic, random_network};
use proptest::prelude::*;
use sordino_graph::{Error, Folded, FoldedOp, Granularity, Op, Padding, Shape, Tensor, Term, fold};

fn squares(folded: &Folded) -> usize {
    count(folded, |op| matches!(op, FoldedOp::Square { .. }))
}

fn exact_sums(folded: &Folded) -> usize {
    let nodes = folded.nodes.iter();
    nodes.filter(|node| node.is_exact_sum()).count()
}

fn diagonals(folded: &Folded) -> usize {
    folded
        .nodes
        .iter()
        .flat_map(|node| node.terms())
        .filter(|term| matches!(term, Term::Diagonal { .. }))
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_network_folds_to_an_equal_one(seed: u64) {
        check(&random_network(seed), seed);
    }
}

#[test]
fn padding_is_zero_after_the_activation_and_after_batch_norm() {
    let random = &mut Random::new(1);
    for before in 0..3 {
        let mut net = Sketch::new(Shape::map(2, 5, 4));
        if before == 0 {
            // Input normalization.
            net.then(batch_norm(random, &Shape::map(2, 5, 4)));
        }
        net.then(conv(random, [3, 2, 3, 3], [1, 1], [1, 1]));
        let shape = net.shape();
        net.then(quadratic(
            random,
            &shape,
            [
                Granularity::Element,
                Granularity::Layer,
                Granularity::Channel,
            ][before],
            Coefficients::Ordinary,
        ));
        if before == 1 {
            net.then(batch_norm(random, &shape));
        }
        net.then(conv(random, [2, 3, 3, 3], [1, 1], [2, 2]));
        let folded = check(&net.finish(random, 4), 7);
        // A border of inputs needs a bias of its own: more than one bias for the positions of a channel.
        let second = folded.nodes[3].linear().expect("the second convolution");
        assert_ne!(second.bias[0], second.bias[8]);
        assert_eq!(folded.nodes.len(), 5);
    }
}

#[test]
fn positions_without_any_tap_are_their_bias() {
    let random = &mut Random::new(2);
    let mut net = Sketch::new(Shape::map(1, 2, 2));
    net.then(conv(random, [2, 1, 1, 1], [1, 1], [2, 3]));
    check(&net.finish(random, 2), 3);
}

#[test]
fn positions_that_share_their_inputs_share_a_tile() {
    let random = &mut Random::new(3);
    let mut net = Sketch::new(Shape::map(2, 2, 2));
    net.then(conv(random, [3, 2, 3, 3], [1, 1], [1, 1]));
    let folded = check(&net.finish(random, 2), 3);
    // A 3x3 kernel sees all of a 2x2 map from everywhere.
    let Term::Tiles { tiles, .. } = &folded.nodes[1].terms()[0] else {
        panic!("tiles")
    };
    assert_eq!(tiles.len(), 1);
    assert_eq!((tiles[0].outputs.len(), tiles[0].inputs.len()), (12, 8));
}

#[test]
fn a_pooling_window_may_hold_both_signs_and_stays_an_exact_sum() {
    let random = &mut Random::new(4);
    let mut net = Sketch::new(Shape::map(1, 5, 5));
    net.then(conv(random, [2, 1, 2, 2], [1, 1], [0, 0]));
    let shape = net.shape();
    net.then(quadratic(
        random,
        &shape,
        Granularity::Element,
        Coefficients::Ordinary,
    ));
    net.then(Op::AveragePool {
        kernel: [2, 2],
        stride: [2, 2],
    });
    let folded = check(&net.finish(random, 3), 5);
    assert_eq!(exact_sums(&folded), 1);
    let signs: Vec<f64> = folded
        .nodes
        .iter()
        .filter(|node| node.is_exact_sum())
        .flat_map(|node| node.terms())
        .flat_map(Term::tiles)
        .flat_map(|tile| tile.weights.clone())
        .collect();
    assert!(signs.contains(&1.0) && signs.contains(&-1.0));
}

#[test]
fn pooling_before_the_activation_scales_the_convolution() {
    let random = &mut Random::new(5);
    for stride in [1, 2] {
        let mut net = Sketch::new(Shape::map(1, 6, 6));
        net.then(conv(random, [2, 1, 3, 3], [1, 1], [1, 1]));
        let shape = net.shape();
        net.then(batch_norm(random, &shape));
        net.then(Op::AveragePool {
            kernel: [2, 2],
            stride: [stride, stride],
        });
        let shape = net.shape();
        net.then(batch_norm(random, &shape));
        net.then(quadratic(
            random,
            &shape,
            Granularity::Element,
            Coefficients::Ordinary,
        ));
        let folded = check(&net.finish(random, 3), 5);
        // Overlapping windows want several scales of one element: then the sum takes the scale.
        assert_eq!(exact_sums(&folded), usize::from(stride == 2));
        assert_eq!(folded.nodes.len(), 5);
        assert_eq!(diagonals(&folded), 0);
    }
}

#[test]
fn tiny_coefficients_do_not_ask_for_huge_shifts() {
    for seed in 0..40 {
        let random = &mut Random::new(seed);
        let mut net = Sketch::new(Shape::Flat(6));
        net.then(dense(random, 12, 6));
        let op = quadratic(
            random,
            &Shape::Flat(12),
            Granularity::Element,
            Coefficients::WithTiny,
        );
        let Op::Quadratic { a, b, .. } = &op else {
            unreachable!()
        };
        let most = |values: &[f32]| values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let bound = f64::from(most(b)) / (f64::from(most(a)).sqrt() / 16.0) * 1.001;
        net.then(op);
        let folded = check(&net.finish(random, 3), seed);
        let FoldedOp::Square { shift, .. } = &folded.nodes[2].op else {
            panic!("the activation")
        };
        assert!(
            shift.iter().all(|r| r.abs() <= bound),
            "{shift:?} over {bound}"
        );
    }
}

#[test]
fn an_element_without_square_becomes_two_squares() {
    let mut net = Sketch::new(Shape::Flat(2));
    net.then(Op::Quadratic {
        granularity: Granularity::Element,
        a: vec![0.25, 0.0],
        b: vec![0.5, 0.5],
        c: vec![0.0, 1.0],
    });
    let folded = check(&net.finish(&mut Random::new(6), 2), 6);
    assert_eq!(folded.nodes[2].elements, 3);
}

#[test]
fn activations_without_squares_cost_nothing() {
    let random = &mut Random::new(7);
    let mut net = Sketch::new(Shape::map(1, 4, 4));
    net.then(conv(random, [2, 1, 3, 3], [1, 1], [1, 1]));
    let shape = net.shape();
    net.then(quadratic(
        random,
        &shape,
        Granularity::Element,
        Coefficients::Affine,
    ));
    net.then(conv(random, [2, 2, 3, 3], [1, 1], [1, 1]));
    let folded = check(&net.finish(random, 3), 7);
    assert_eq!(squares(&folded), 0);
    assert_eq!(folded.nodes.len(), 4);
}

#[test]
fn per_element_coefficients_with_strides() {
    let random = &mut Random::new(8);
    let mut net = Sketch::new(Shape::map(2, 7, 6));
    net.then(conv(random, [3, 2, 3, 2], [2, 1], [1, 0]));
    let shape = net.shape();
    net.then(quadratic(
        random,
        &shape,
        Granularity::Element,
        Coefficients::Ordinary,
    ));
    net.then(conv(random, [2, 3, 2, 3], [1, 2], [0, 1]));
    let shape = net.shape();
    net.then(quadratic(
        random,
        &shape,
        Granularity::Element,
        Coefficients::Ordinary,
    ));
    let folded = check(&net.finish(random, 3), 8);
    assert_eq!(folded.nodes.len(), 6);
}

#[test]
fn a_shortcut_that_reads_before_the_activation_undoes_its_scale() {
    let random = &mut Random::new(9);
    for shortcut_first in [true, false] {
        let mut net = Sketch::new(Shape::map(1, 4, 4));
        let x = net.then(conv(random, [2, 1, 3, 3], [1, 1], [1, 1]));
        let shape = net.shape();
        let activation = quadratic(random, &shape, Granularity::Element, Coefficients::WithTiny);
        let branch_conv = conv(random, [2, 2, 3, 3], [1, 1], [1, 1]);
        let shortcut_conv = conv(random, [2, 2, 1, 1], [1, 1], [0, 0]);
        let (shortcut, branch);
        if shortcut_first {
            // The shortcut has its columns before the activation scales the rows that it reads.
            shortcut = net.push(shortcut_conv, &[x]);
            let y = net.push(activation, &[x]);
            branch = net.push(branch_conv, &[y]);
        } else {
            let y = net.push(activation, &[x]);
            branch = net.push(branch_conv, &[y]);
            shortcut = net.push(shortcut_conv, &[x]);
        }
        net.push(Op::SUM, &[branch, shortcut]);
        net.push(Op::SUM, &[net.last(), x]);
        let shape = net.shape();
        net.then(quadratic(
            random,
            &shape,
            Granularity::Element,
            Coefficients::Ordinary,
        ));
        check(&net.finish(random, 3), 9);
    }
}

#[test]
fn a_residual_branch_joins_the_linear_map_that_nothing_else_reads() {
    let random = &mut Random::new(10);
    let mut net = Sketch::new(Shape::map(2, 4, 4));
    net.then(conv(random, [2, 2, 3, 3], [1, 1], [1, 1]));
    let shape = net.shape();
    let ordinary = Coefficients::Ordinary;
    let x = net.then(quadratic(random, &shape, Granularity::Element, ordinary));
    net.then(conv(random, [2, 2, 3, 3], [1, 1], [1, 1]));
    net.then(batch_norm(random, &shape));
    net.push(Op::SUM, &[x, net.last()]);
    net.then(quadratic(random, &shape, Granularity::Element, ordinary));
    let folded = check(&net.finish(random, 3), 10);
    let kinds: Vec<usize> = folded.nodes.iter().map(|node| node.terms().len()).collect();
    assert_eq!(kinds, [0, 1, 0, 2, 0, 1]);
    assert_eq!(diagonals(&folded), 1);
    assert_eq!(folded.nodes[3].name, "conv2d3+add5");
}

#[test]
fn two_linear_maps_of_activated_values_become_one() {
    let random = &mut Random::new(11);
    let mut net = Sketch::new(Shape::map(1, 4, 4));
    net.then(conv(random, [2, 1, 3, 3], [1, 1], [1, 1]));
    let shape = net.shape();
    let ordinary = Coefficients::Ordinary;
    let x = net.then(quadratic(random, &shape, Granularity::Channel, ordinary));
    net.then(conv(random, [2, 2, 3, 3], [1, 1], [1, 1]));
    net.then(quadratic(random, &shape, Granularity::Channel, ordinary));
    let y = net.then(conv(random, [3, 2, 3, 3], [2, 2], [1, 1]));
    let shortcut = net.push(conv(random, [3, 2, 1, 1], [2, 2], [0, 0]), &[x]);
    net.push(Op::SUM, &[y, shortcut]);
    let folded = check(&net.finish(random, 3), 11);
    assert_eq!(diagonals(&folded), 0);
    assert_eq!(folded.nodes.len(), 7);
}

#[test]
fn a_sum_of_activated_values_moves_into_the_layers_that_read_it() {
    let random = &mut Random::new(12);
    let ordinary = Coefficients::Ordinary;
    // A pool between the sum and a layer is taken along where that costs little next to everything else.
    for (sums, pool, left) in [(1, false, 0), (2, false, 0), (1, true, 2)] {
        let mut net = Sketch::new(Shape::map(2, 4, 4));
        net.then(conv(random, [4, 2, 3, 3], [1, 1], [1, 1]));
        let shape = net.shape();
        for _ in 0..sums {
            let x = net.then(quadratic(random, &shape, Granularity::Element, ordinary));
            net.then(conv(random, [4, 4, 3, 3], [1, 1], [1, 1]));
            net.then(batch_norm(random, &shape));
            net.then(quadratic(random, &shape, Granularity::Channel, ordinary));
            net.push(Op::SUM, &[x, net.last()]);
            net.then(conv(random, [4, 4, 3, 3], [1, 1], [1, 1]));
        }
        if pool {
            net.then(quadratic(random, &shape, Granularity::Element, ordinary));
            let x = net.last();
            net.then(conv(random, [4, 4, 3, 3], [1, 1], [1, 1]));
            net.then(quadratic(random, &shape, Granularity::Layer, ordinary));
            net.push(Op::SUM, &[x, net.last()]);
            net.then(Op::AveragePool {
                kernel: [2, 2],
                stride: [2, 2],
            });
        }
        let folded = check(&net.finish(random, 3), 12);
        assert_eq!(diagonals(&folded), left, "{sums} sums, pool {pool}");
        let products = |node: &sordino_graph::FoldedNode| node.terms().len() == 2;
        let read_twice = folded.nodes.iter().filter(|node| products(node)).count();
        assert_eq!(read_twice, sums + left / 2);
    }
}

#[test]
fn activations_of_what_is_no_linear_map_get_a_diagonal_one() {
    let random = &mut Random::new(12);
    let ordinary = Coefficients::Ordinary;
    // The input itself.
    let mut net = Sketch::new(Shape::map(1, 3, 3));
    net.then(quadratic(
        random,
        &Shape::map(1, 3, 3),
        Granularity::Element,
        ordinary,
    ));
    assert_eq!(diagonals(&check(&net.finish(random, 3), 12)), 1);
    // A batch norm of a square.
    let mut net = Sketch::new(Shape::Flat(3));
    net.then(dense(random, 5, 3));
    for granularity in [Granularity::Element, Granularity::Layer] {
        net.then(quadratic(random, &Shape::Flat(5), granularity, ordinary));
        net.then(batch_norm(random, &Shape::Flat(5)));
    }
    assert_eq!(diagonals(&check(&net.finish(random, 3), 12)), 1);
    // A value with two activations: the second cannot have its own scale in the same rows.
    let mut net = Sketch::new(Shape::Flat(3));
    let x = net.then(dense(random, 5, 3));
    let left = net.push(
        quadratic(random, &Shape::Flat(5), Granularity::Element, ordinary),
        &[x],
    );
    let right = net.push(
        quadratic(random, &Shape::Flat(5), Granularity::Element, ordinary),
        &[x],
    );
    net.push(Op::SUM, &[left, right]);
    let folded = check(&net.finish(random, 3), 12);
    assert_eq!(squares(&folded), 2);
    assert_eq!(diagonals(&folded), 1);
}

#[test]
fn the_last_node_holds_the_logits_themselves() {
    let random = &mut Random::new(13);
    let ordinary = Coefficients::Ordinary;
    for last in 0..4 {
        let mut net = Sketch::new(Shape::map(2, 4, 4));
        net.then(conv(random, [3, 2, 3, 3], [1, 1], [0, 0]));
        let shape = net.shape();
        net.then(quadratic(random, &shape, Granularity::Element, ordinary));
        match last {
            0 => {
                // Global pooling: the divisor has to go into the last node.
                net.then(Op::AveragePool {
                    kernel: [2, 2],
                    stride: [2, 2],
                });
                net.then(Op::Flatten);
            }
            1 => {
                net.then(Op::Flatten);
            }
            2 => {
                net.then(Op::Flatten);
                let features = net.shape().elements();
                net.then(dense(random, 4, features));
                net.then(batch_norm(random, &Shape::Flat(4)));
            }
            _ => {
                // Read by its own shortcut too.
                net.then(Op::Flatten);
                let features = net.shape().elements();
                let x = net.then(dense(random, 4, features));
                let y = net.then(dense(random, 4, 4));
                net.push(Op::SUM, &[x, y]);
            }
        }
        check(&net.done(), 13);
    }
}

#[test]
fn relu_is_refused_with_advice() {
    let mut net = Sketch::new(Shape::Flat(2));
    net.then(Op::RELU);
    let error = fold(&net.finish(&mut Random::new(1), 2)).unwrap_err();
    assert!(matches!(&error, Error::TeacherOnly { node, .. } if node == "relu1"));
    assert!(error.to_string().contains("sordino distill"));
}

#[test]
fn a_folded_network_over_the_memory_limit_is_refused_before_it_is_built() {
    let mut net = Sketch::new(Shape::map(64, 256, 256));
    let weight = Tensor::new(&[64, 64, 3, 3], vec![0.5; 64 * 64 * 9]).unwrap();
    net.then(Op::Conv2d {
        weight,
        bias: vec![0.0; 64],
        stride: [1, 1],
        padding: Padding::same([1, 1]),
        dilation: [1, 1],
        groups: 1,
    });
    net.then(Op::AveragePool {
        kernel: [256, 256],
        stride: [1, 1],
    });
    let error = fold(&net.finish(&mut Random::new(1), 2)).unwrap_err();
    assert!(matches!(error, Error::FoldedSize { .. }), "{error}");
}
