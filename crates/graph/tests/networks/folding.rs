//! A folded network against the graph that it comes from.

use super::{Random, images};
use sordino_graph::{
    Folded, FoldedOp, Graph, Term, execute_f64, execute_folded, execute_observed, fold,
};

/// Folds, checks what a folded network promises, and compares the logits.
pub fn check(graph: &Graph, seed: u64) -> Folded {
    let folded = fold(graph).unwrap();
    check_promises(graph, &folded);
    let batch = 11;
    let images = images(&mut Random::new(seed), graph.input_shape(), batch);
    let mut largest = 1.0f64;
    let single = execute_observed(graph, &images, batch, |_, value| {
        largest = value
            .iter()
            .fold(largest, |m, &v| m.max(f64::from(v).abs()));
    })
    .unwrap();
    let expected = execute_f64(graph, &images, batch).unwrap();
    let found = execute_folded(&folded, &images, batch).unwrap();
    // Untrained squares may explode; such a network says nothing.
    if largest < 1e9 {
        assert_close(&expected, &found, largest * 1e-9);
        let single: Vec<f64> = single.into_iter().map(f64::from).collect();
        assert_close(&single, &found, largest * 1e-4);
    }
    folded
}

pub fn assert_close(expected: &[f64], found: &[f64], tolerance: f64) {
    assert_eq!(expected.len(), found.len());
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        assert!(
            (expected - found).abs() <= tolerance,
            "logit {index}: expected {expected}, found {found} (tolerance {tolerance})"
        );
    }
}

pub fn check_promises(graph: &Graph, folded: &Folded) {
    let nodes = &folded.nodes;
    assert_eq!(nodes[nodes.len() - 1].elements, graph.classes());
    let mut names: Vec<&str> = nodes.iter().map(|node| &node.name[..]).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), nodes.len(), "names are unique");
    for (index, node) in nodes.iter().enumerate() {
        assert_eq!(index == 0, node.op == FoldedOp::Input);
        assert!(node.sources().all(|source| source < index));
        match &node.op {
            FoldedOp::Input => assert_eq!(node.elements, graph.input_shape().elements()),
            FoldedOp::Square { source, shift } => {
                assert!(nodes[*source].linear().is_some());
                assert_eq!(nodes[*source].elements, node.elements);
                assert_eq!(shift.len(), node.elements);
                assert!(shift.iter().all(|r| r.is_finite()));
            }
            FoldedOp::Linear(linear) => {
                assert_eq!(linear.bias.len(), node.elements);
                assert_eq!(linear.weight_scale, 1.0);
                for term in &linear.terms {
                    let of_source = nodes[term.source()].elements;
                    check_term(term, node.elements, of_source, linear.exact_sum);
                }
            }
        }
    }
    assert!(nodes[nodes.len() - 1].linear().is_some());
}

fn check_term(term: &Term, elements: usize, source_elements: usize, exact_sum: bool) {
    match term {
        Term::Diagonal { factors, .. } => {
            assert!(!exact_sum);
            assert!(factors.len() <= elements.min(source_elements));
            assert!(factors.iter().all(|f| f.is_finite()));
        }
        Term::Tiles { tiles, .. } => {
            let mut written = vec![false; elements];
            for tile in tiles {
                assert!(!tile.inputs.is_empty() && !tile.outputs.is_empty());
                assert_eq!(tile.weights.len(), tile.inputs.len() * tile.outputs.len());
                assert!(tile.inputs.iter().all(|&i| (i as usize) < source_elements));
                for &output in &tile.outputs {
                    let seen = std::mem::replace(&mut written[output as usize], true);
                    assert!(!seen, "an output is in one tile");
                }
                let good = |w: &f64| w.is_finite() && (!exact_sum || w.abs() == 1.0);
                assert!(tile.weights.iter().all(good));
            }
        }
    }
}

pub fn count(folded: &Folded, wanted: impl Fn(&FoldedOp) -> bool) -> usize {
    folded.nodes.iter().filter(|node| wanted(&node.op)).count()
}
