//! The gradient of each kind of step against finite differences.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sordino_graph::{Granularity, Shape};

use super::*;
use crate::network::unit;

/// Images in each test.
const COUNT: usize = 3;

fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| 2.0 * unit(&mut rng) - 1.0).collect()
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    assert_eq!(left.len(), right.len());
    let products = left.iter().zip(right);
    products.map(|(&l, &r)| f64::from(l) * f64::from(r)).sum()
}

/// Compares the gradients of `loss` with its differences, input by input.
fn check<const N: usize>(
    inputs: [Vec<f32>; N],
    gradients: [&[f32]; N],
    loss: impl Fn(&[Vec<f32>; N]) -> f64,
) {
    for (input, gradient) in gradients.iter().enumerate() {
        assert_eq!(gradient.len(), inputs[input].len());
        for (index, &found) in gradient.iter().enumerate() {
            let moved = |change: f32| {
                let mut moved = inputs.clone();
                moved[input][index] += change;
                loss(&moved)
            };
            let slope = |step: f32| (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            // Without the term of third order.
            let expected = (4.0 * slope(1e-2) - slope(2e-2)) / 3.0;
            let off = (expected - f64::from(found)).abs() / expected.abs().max(1.0);
            assert!(
                off < 1e-2,
                "input {input}, {index}: {found}, not {expected}"
            );
        }
        let largest = gradient.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        assert!(largest > 0.1, "input {input}: no gradient above {largest}");
    }
}

#[test]
fn a_convolution_with_padding_and_strides() {
    for (stride, padding, output) in [([1, 1], [1, 1], [5, 4]), ([2, 1], [1, 0], [3, 2])] {
        let shapes = [Shape::map(2, 5, 4), Shape::map(3, output[0], output[1])];
        let window = Window {
            kernel: [3, 3],
            stride,
            padding,
        };
        let step = Convolution::new(shapes[0], shapes[1], window);
        let inputs = [random(1, COUNT * 40), random(2, 3 * 2 * 9)];
        let weights = random(3, COUNT * shapes[1].elements());
        let (of_images, of_weights) = step.backward(&inputs[0], &inputs[1], &weights, [true, true]);
        let gradients = [&of_images.unwrap()[..], &of_weights];
        check(inputs, gradients, |[images, kernels]| {
            dot(&step.forward(images, kernels), &weights)
        });
    }
}

#[test]
fn a_pool_with_overlapping_windows() {
    let window = Window {
        stride: [1, 2],
        ..Window::square(2, 1, 0)
    };
    let step = AveragePool::new(Shape::map(2, 5, 4), Shape::map(2, 4, 2), window);
    let weights = random(4, COUNT * 16);
    let gradient = step.backward(&weights);
    check([random(5, COUNT * 40)], [&gradient], |[maps]| {
        dot(&step.forward(maps), &weights)
    });
}

#[test]
fn a_dense_layer_and_biases_of_vectors_and_maps() {
    let inputs = [random(6, COUNT * 5), random(7, 5 * 4), random(8, 4)];
    let weights = random(9, COUNT * 4);
    let (x, w) = (matrix(&inputs[0], 5), matrix(&inputs[1], 4));
    let of_y = matrix(&weights, 4);
    let (of_x, of_w) = (product(of_y, w.transpose()), product(x.transpose(), of_y));
    let of_bias = channel_sums(&weights, Shape::Flat(4));
    let gradients = [&of_x[..], &of_w, &of_bias];
    check(inputs.clone(), gradients, |[x, w, bias]| {
        let mut y = product(matrix(x, 5), matrix(w, 4));
        add_bias(&mut y, bias, Shape::Flat(4));
        dot(&y, &weights)
    });
    let shape = Shape::map(2, 3, 1);
    let weights = random(10, COUNT * 6);
    check(
        [random(11, 2)],
        [&channel_sums(&weights, shape)],
        |[bias]| {
            let mut y = vec![0.0; COUNT * 6];
            add_bias(&mut y, bias, shape);
            dot(&y, &weights)
        },
    );
}

#[test]
fn a_normalization_with_every_activation_and_every_term() {
    let shape = Shape::map(2, 3, 2);
    let weights = random(12, COUNT * 12);
    let target = Arc::new(random(13, COUNT * 12));
    let granularities = [
        Granularity::Layer,
        Granularity::Channel,
        Granularity::Element,
    ];
    let counts =
        granularities.map(|granularity| (Some(granularity), granularity.coefficients(&shape)));
    for (granularity, count) in counts.into_iter().chain([(None, 0)]) {
        for blend in [0.0, 0.3] {
            let normalize = |inputs: &[Vec<f32>; 6]| {
                let [x, gamma, beta, a, b, c] = inputs;
                let normalize = Normalize {
                    shape,
                    gamma,
                    beta,
                    function: match granularity {
                        None => Function::Identity,
                        Some(granularity) => Function::Quadratic(granularity, [a, b, c]),
                    },
                    blend,
                    frozen: false,
                    terms: Terms {
                        range_limit: 0.5,
                        range_penalty: 0.7,
                        features: Some((target.clone(), 0.9)),
                    },
                };
                let y = normalize.forward(x, None);
                let gradient = normalize.backward(x, &y.statistics, &weights);
                (dot(&y.values, &weights) + y.added_loss, gradient)
            };
            let inputs = [
                random(14, COUNT * 12),
                vec![0.8, -1.2],
                vec![0.3, 0.1],
                random(15, count),
                random(16, count),
                random(17, count),
            ];
            let found = normalize(&inputs).1;
            if granularity.is_some() {
                let [a, b, c] = &found.coefficients;
                let gradients = [&found.x[..], &found.gamma, &found.beta, a, b, c];
                check(inputs, gradients, |inputs| normalize(inputs).0);
            } else {
                assert!(found.coefficients.iter().all(Vec::is_empty));
                let gradients = [&found.x[..], &found.gamma, &found.beta];
                let [x, gamma, beta, ..] = inputs;
                check([x, gamma, beta], gradients, |[x, gamma, beta]| {
                    let [x, gamma, beta] = [x, gamma, beta].map(Vec::clone);
                    normalize(&[x, gamma, beta, vec![], vec![], vec![]]).0
                });
            }
        }
    }
}
