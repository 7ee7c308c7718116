//! Networks with the operations that other frameworks export, as teachers and as students.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sordino_data::Targets;
use sordino_graph::{Function, Granularity, Graph, Op, Padding, Shape, Tensor, execute, fold};

use crate::export;
use crate::forward::Batch;
use crate::network::{Network, unit};
use crate::student::{network, replace_functions};
use crate::{Activation, TrainConfig};

fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| 2.0 * unit(rng) - 1.0).collect()
}

fn conv(
    rng: &mut ChaCha8Rng,
    shape: [usize; 4],
    padding: Padding,
    stride: usize,
    dilation: usize,
    groups: usize,
) -> Op {
    let count = shape.iter().product();
    let size = (3.0 / (shape[1] * shape[2] * shape[3]) as f32).sqrt();
    let weights = random(rng, count).iter().map(|w| size * w).collect();
    Op::Conv2d {
        weight: Tensor::new(&shape, weights).unwrap(),
        bias: random(rng, shape[0]),
        stride: [stride; 2],
        padding,
        dilation: [dilation; 2],
        groups,
    }
}

/// A little of everything.
fn exported(rng: &mut ChaCha8Rng) -> Graph {
    let mut g = Graph::builder(Shape::map(2, 6, 6));
    let x = g.push("input", Op::Input, &[]);
    // A row of zeros above, without the last column.
    let indices = (0..2 * 7 * 5).map(|i| match (i / 35, i % 35 / 5, i % 5) {
        (_, 0, _) => -1,
        (c, y, x) => c * 36 + (y - 1) * 6 + x,
    });
    let select = Op::Select {
        shape: Shape::map(2, 7, 5),
        indices: indices.collect(),
    };
    let x = g.push("pad", select, &[x]);
    let dilated = conv(rng, [4, 1, 3, 3], Padding::same([2, 2]), 1, 2, 2);
    let x = g.push("groups", dilated, &[x]);
    let slope = vec![0.1, 0.3, -0.2, 0.0];
    let x = g.push("prelu", Op::Activation(Function::PRelu { slope }), &[x]);
    let uneven = Padding {
        before: [0, 1],
        after: [2, 1],
    };
    let y = g.push("depthwise", conv(rng, [4, 1, 3, 3], uneven, 1, 1, 4), &[x]);
    let y = g.push("silu", Op::Activation(Function::Silu), &[y]);
    let pool = Op::MaxPool {
        kernel: [3, 3],
        stride: [2, 2],
        padding: Padding::same([1, 1]),
        dilation: [1, 1],
    };
    let y = g.push("maximum", pool, &[y]);
    let strided = conv(rng, [2, 4, 3, 3], Padding::same([1, 1]), 2, 1, 1);
    let z = g.push("strided", strided, &[x]);
    let joined = g.push("joined", Op::Concat, &[y, z]);
    let affine = Op::Affine {
        granularity: Granularity::Channel,
        factor: random(rng, 6),
        offset: random(rng, 6),
    };
    let w = g.push("affine", affine, &[joined]);
    let w = g.push("tanh", Op::Activation(Function::Tanh), &[w]);
    let factors = vec![0.5, -1.5];
    let sum = g.push("sum", Op::Add { factors }, &[w, joined]);
    let pool = Op::MaxPool {
        kernel: [2, 2],
        stride: [2, 1],
        padding: Padding::NONE,
        dilation: [1, 1],
    };
    let x = g.push("maximum2", pool, &[sum]);
    let x = g.push("flat", Op::Flatten, &[x]);
    let dense = Op::Dense {
        weight: Tensor::new(&[3, 24], random(rng, 72).iter().map(|w| 0.05 * w).collect()).unwrap(),
        bias: random(rng, 3),
    };
    g.push("dense", dense, &[x]);
    g.finish().unwrap()
}

/// Largest difference of the logits of a network and of a graph, over the largest logit.
fn difference(network: &Network, graph: &Graph, images: &[f32]) -> f32 {
    let expected = execute(graph, images, images.len() / 72).unwrap();
    let found = network.logits(images, |_, _| ());
    let size = expected.iter().fold(0.0f32, |size, v| size.max(v.abs()));
    let off = found.iter().zip(&expected).map(|(x, y)| (x - y).abs());
    off.fold(0.0f32, f32::max) / size
}

#[test]
fn a_teacher_of_any_operations_is_exact_and_so_is_its_student_as_a_graph() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let graph = exported(&mut rng);
    let images: Vec<f32> = (0..200 * 72).map(|_| unit(&mut rng)).collect();
    let teacher = network(&graph, &images);
    assert!(difference(&teacher, &graph, &images) < 1e-4);
    let again = export::graph(&teacher, false).unwrap();
    assert!(difference(&teacher, &again, &images) < 1e-4);
    for activation in [Activation::Layer, Activation::Channel, Activation::Element] {
        let mut student = teacher.clone();
        replace_functions(&mut student, activation);
        let written = export::graph(&student, false).unwrap();
        assert!(difference(&student, &written, &images) < 1e-4);
        fold(&written).unwrap();
    }
}

#[test]
fn gradients_of_exported_operations_are_those_of_finite_differences() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let graph = exported(&mut rng);
    let images: Vec<f32> = (0..12 * 72).map(|_| unit(&mut rng)).collect();
    let labels = Targets::Classes((0..12).map(|index| index % 3).collect());
    let mut network = network(&graph, &images);
    replace_functions(&mut network, Activation::Channel);
    let config = TrainConfig {
        activation: Activation::Channel,
        // The loss is small, so that single precision shows its changes.
        range_penalty: 0.0,
        logit_penalty: 0.0,
        ..Default::default()
    };
    let batch = Batch {
        images: &images,
        labels: &labels,
        weights: &[],
        teacher: None,
        blend: 0.0,
    };
    let gradient = network.gradient(&batch, &config);
    let (mut worst, mut largest) = (0.0f32, 0.0f32);
    for (parameter, gradient) in gradient.parameters.iter().enumerate() {
        for (index, gradient) in gradient.iter().enumerate() {
            let loss = |change: f32| {
                let mut moved = network.clone();
                moved.parameters[parameter].values[index] += change;
                moved.gradient(&batch, &config).loss
            };
            let slope = |step: f32| (loss(step) - loss(-step)) / (2.0 * step);
            // Without the term of third order.
            let difference = (4.0 * slope(2e-3) - slope(4e-3)) / 3.0;
            worst = worst.max((difference - gradient).abs() / difference.abs().max(1.0));
            largest = largest.max(difference.abs());
        }
    }
    assert!(gradient.loss < 10.0, "the loss is {}", gradient.loss);
    assert!(largest > 0.1, "the largest gradient is {largest}");
    assert!(
        worst < 1e-2,
        "the worst gradient is off by {worst}, the largest is {largest}"
    );
}
