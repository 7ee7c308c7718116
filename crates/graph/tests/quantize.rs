//! Integer weights: ranges, scales, and the error they may cause.

mod networks;

use networks::{Coefficients, Random, Sketch, conv, images, quadratic, random_network};
use proptest::prelude::*;
use sordino_graph::{
    Error, Folded, FoldedOp, Granularity, Op, Quantized, Shape, Term, WeightFormat, execute_folded,
    execute_folded_observed, fold, quantize,
};

fn all(folded: &Folded, bits: u8) -> Quantized {
    let format = WeightFormat { bits, scale: None };
    quantize(folded, &vec![format; folded.linear_nodes().count()]).unwrap()
}

/// Largest error that an element of each node may have for one image, by interval arithmetic.
fn bounds(quantized: &Quantized, values: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut bounds: Vec<Vec<f64>> = Vec::new();
    for (node, value) in quantized.nodes.iter().zip(values) {
        let bound = match &node.op {
            FoldedOp::Input => vec![0.0; node.elements],
            FoldedOp::Square { source, shift } => (0..node.elements)
                .map(|f| {
                    let (x, error) = (values[*source][f], bounds[*source][f]);
                    (2.0 * x + shift[f]).abs() * error + error * error
                })
                .collect(),
            FoldedOp::Linear(linear) => {
                let weight_scale = linear.weight_scale;
                // Half a unit, or a hair more for the largest weight.
                let rounding_error = match linear.exact_sum {
                    true => 0.0,
                    false => 0.5 / weight_scale * (1.0 + 1e-9),
                };
                let mut bound = vec![0.0; node.elements];
                for term in &linear.terms {
                    match term {
                        Term::Diagonal { source, factors } => {
                            for (f, factor) in factors.iter().enumerate() {
                                bound[f] += factor.abs() * bounds[*source][f];
                            }
                        }
                        Term::Tiles { source, tiles } => {
                            for tile in tiles {
                                let rows = tile.weights.chunks_exact(tile.inputs.len());
                                for (row, &output) in rows.zip(&tile.outputs) {
                                    for (&weight, &input) in row.iter().zip(&tile.inputs) {
                                        let input = input as usize;
                                        let weight = f64::from(weight).abs() / weight_scale;
                                        bound[output as usize] += weight * bounds[*source][input]
                                            + rounding_error * values[*source][input].abs();
                                    }
                                }
                            }
                        }
                    }
                }
                bound
            }
        };
        // Rounding of f64 itself, where the value is large.
        let slack = value.iter().fold(1.0, |m: f64, v| m.max(v.abs())) * 1e-9;
        bounds.push(bound.iter().map(|b| b * (1.0 + 1e-9) + slack).collect());
    }
    bounds
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_error_stays_under_what_rounding_allows(seed: u64, bits in prop::sample::select(vec![8u8, 16])) {
        let graph = random_network(seed);
        let folded = fold(&graph).unwrap();
        let quantized = all(&folded, bits);
        let image = images(&mut Random::new(seed), graph.input_shape(), 1);
        let mut values = Vec::new();
        let expected =
            execute_folded_observed(&folded, &image, 1, |_, value| values.push(value.to_vec()))
                .unwrap();
        // Untrained squares may explode; such a network says nothing.
        let largest = values.iter().flatten().fold(0.0, |m: f64, v| m.max(v.abs()));
        prop_assume!(largest < 1e9);
        prop_assert_eq!(&expected, &execute_folded(&folded, &image, 1).unwrap());
        let found = execute_folded(&quantized, &image, 1).unwrap();
        let bounds = bounds(&quantized, &values);
        for ((expected, found), bound) in expected.iter().zip(&found).zip(&bounds[bounds.len() - 1]) {
            prop_assert!((expected - found).abs() <= *bound, "{} {} {}", expected, found, bound);
        }
    }

    #[test]
    fn weights_use_the_full_range_and_round_to_nearest(seed: u64, bits in prop::sample::select(vec![8u8, 16])) {
        let folded = fold(&random_network(seed)).unwrap();
        let quantized = all(&folded, bits);
        let limit = if bits == 8 { 127 } else { 32_639 };
        prop_assert_eq!(quantized.nodes.len(), folded.nodes.len());
        for (node, exact) in quantized.nodes.iter().zip(&folded.nodes) {
            let Some(linear) = node.linear() else { continue };
            let exact_linear = exact.linear().expect("another kind");
            prop_assert_eq!(&linear.bias, &exact_linear.bias);
            let weight_scale = linear.weight_scale;
            let mut largest = 0;
            let mut worst: f64 = 0.0;
            for (term, exact) in linear.terms.iter().zip(exact.terms()) {
                prop_assert_eq!(term.tiles().len(), exact.tiles().len());
                for (tile, exact) in term.tiles().iter().zip(exact.tiles()) {
                    prop_assert_eq!(&tile.inputs, &exact.inputs);
                    prop_assert_eq!(&tile.outputs, &exact.outputs);
                    for (&integer, exact) in tile.weights.iter().zip(&exact.weights) {
                        largest = largest.max(integer.abs());
                        worst = worst.max((f64::from(integer) / weight_scale - exact).abs());
                    }
                }
            }
            if linear.exact_sum {
                // No weight at all where everything that is pooled is constant.
                prop_assert!(largest <= 1);
                prop_assert_eq!((weight_scale, worst), (1.0, 0.0));
            } else if largest > 0 {
                prop_assert_eq!(largest, limit);
                prop_assert!(worst <= 0.5 / weight_scale * (1.0 + 1e-9));
            }
        }
    }
}

fn small() -> Folded {
    let random = &mut Random::new(1);
    let mut net = Sketch::new(Shape::map(1, 4, 4));
    net.then(conv(random, [2, 1, 3, 3], [1, 1], [1, 1]));
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
    fold(&net.finish(random, 3)).unwrap()
}

#[test]
fn sixteen_bits_are_closer_than_eight() {
    let folded = small();
    let batch = 20;
    let images = images(&mut Random::new(2), Shape::map(1, 4, 4), batch);
    let exact = execute_folded(&folded, &images, batch).unwrap();
    let error = |bits| {
        let found = execute_folded(&all(&folded, bits), &images, batch).unwrap();
        exact
            .iter()
            .zip(found)
            .map(|(x, y)| (x - y).abs())
            .fold(0.0, f64::max)
    };
    let (eight, sixteen) = (error(8), error(16));
    assert!(eight > 1e-5, "8 bits must show: {eight}");
    assert!(sixteen < eight / 50.0, "{sixteen} against {eight}");
}

#[test]
fn lists_and_numbers_that_do_not_fit_are_refused() {
    let folded = small();
    let count = folded.linear_nodes().count();
    assert_eq!(count, 3);
    let format = |bits| WeightFormat { bits, scale: None };
    for length in [0, 2, 4] {
        let error = quantize(&folded, &vec![format(8); length]).unwrap_err();
        assert!(
            error.to_string().contains("each of 3 linear maps"),
            "{error}"
        );
    }
    for bits in [0, 7, 9, 32] {
        let error = quantize(&folded, &[8, 8, bits].map(format)).unwrap_err();
        assert!(matches!(error, Error::Quantize { .. }));
        assert!(error.to_string().contains("8 or 16"), "{error}");
    }
}

#[test]
fn a_given_scale_is_used_or_refused() {
    let folded = small();
    let automatic = all(&folded, 8);
    let scale_of = |quantized: &Quantized, index: usize| {
        quantized.nodes[index]
            .linear()
            .expect("a linear map")
            .weight_scale
    };
    let full = scale_of(&automatic, 1);
    let format = |scale| WeightFormat {
        bits: 8,
        scale: Some(scale),
    };
    let last = scale_of(&automatic, folded.nodes.len() - 1);
    let quantized = quantize(
        &folded,
        &[format(full / 3.0), format(5.0), format(last / 2.0)],
    )
    .unwrap();
    assert_eq!(scale_of(&quantized, 1), full / 3.0);
    // An exact sum stays one.
    assert_eq!(scale_of(&quantized, 3), 1.0);
    for bad in [full * 1.01, f64::NAN, f64::INFINITY, 0.0, -1.0] {
        let error = quantize(&folded, &[format(bad), format(1.0), format(last)]).unwrap_err();
        assert!(error.to_string().contains("does not fit 8 bits"), "{error}");
    }
}
