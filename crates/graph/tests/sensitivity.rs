//! Sensitivities against finite differences.

mod networks;

use networks::{Random, images, random_network};
use sordino_graph::{Folded, FoldedOp, execute_folded, fold, sensitivities};

/// Largest Σ (∂logit/∂value)² over the logits, of a linear node, by moving its bias.
fn by_differences(folded: &mut Folded, node: usize, image: &[f32]) -> f64 {
    let step = 1e-4;
    let mut gains = vec![0.0; folded.nodes[folded.nodes.len() - 1].elements];
    for element in 0..folded.nodes[node].elements {
        let mut moved = |by: f64| {
            if let FoldedOp::Linear(linear) = &mut folded.nodes[node].op {
                linear.bias[element] += by;
            }
            execute_folded(folded, image, 1).unwrap()
        };
        let above = moved(step);
        let below = moved(-2.0 * step);
        moved(step);
        for ((gain, above), below) in gains.iter_mut().zip(above).zip(below) {
            *gain += ((above - below) / (2.0 * step)).powi(2);
        }
    }
    gains.into_iter().fold(0.0, f64::max)
}

#[test]
fn sensitivities_are_derivatives() {
    let mut compared = 0;
    for seed in 0..40 {
        let graph = random_network(seed);
        let mut folded = fold(&graph).unwrap();
        let image = images(&mut Random::new(seed), graph.input_shape(), 1);
        let logits = execute_folded(&folded, &image, 1).unwrap();
        if logits.iter().any(|logit| logit.abs() > 10.0) {
            // Higher derivatives are too large for finite differences.
            continue;
        }
        let found = sensitivities(&folded, &image);
        assert_eq!(found.len(), folded.nodes.len());
        for (node, found) in found.iter().enumerate() {
            if folded.nodes[node].linear().is_none() {
                continue;
            }
            let expected = by_differences(&mut folded, node, &image);
            let share: f64 = found.iter().map(|&(share, _)| share).sum();
            assert!((share - 1.0).abs() < 1e-9);
            assert!(found.is_sorted_by(|x, y| x.1 <= y.1));
            let worst = found[found.len() - 1].1;
            assert!(
                (worst - expected).abs() <= 1e-4 * expected.max(1.0),
                "seed {seed}, node {node}: found {worst}, expected {expected}"
            );
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared}");
}
