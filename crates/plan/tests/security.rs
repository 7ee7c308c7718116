//! No plan exceeds the bound of the security table, whatever the network, the batch and the precision.
//!
//! The bound and the sum that is compared with it are computed from the numbers in the plan *files*, by code and a table of this test.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sordino_graph::{
    ColorPolicy, Granularity, Graph, Model, NodeId, Op, OutputKind, Padding, Preprocess, Shape,
    SizePolicy, Tensor, calibrate,
};
use sordino_plan::{
    CheckImageCount, ClientPlan, CompileOptions, Error, PackingKind, Plan, ServerPlan, compile,
};

/// Largest log2(QP) for 128 bits, classical, uniform ternary secret: Bossuat et al., *Security Guidelines for Implementing Homomorphic
/// Encryption*, 2024 (ePrint 2024/463), table 5.2.
fn bound(ring_degree: u64) -> f64 {
    match ring_degree {
        4096 => 106.0,
        8192 => 214.0,
        16_384 => 430.0,
        32_768 => 868.0,
        other => panic!("no row for N = {other}"),
    }
}

/// A network to plan for.
#[derive(Clone, Debug)]
struct Network {
    /// Height and width of the input.
    side: usize,
    /// Channels of each convolution in front of the dense layers.
    convolutions: Vec<usize>,
    /// Outputs of each dense layer.
    dense: Vec<usize>,
    /// Coefficients of x² in the activations, and the size of weights.
    curvature: f32,
    weight: f32,
    granularity: Granularity,
    seed: u32,
}

fn networks() -> impl Strategy<Value = Network> {
    (
        2..=6_usize,
        prop::collection::vec(1..=3_usize, 0..=2),
        prop::collection::vec(2..=8_usize, 1..=5),
        0.05..0.5_f32,
        0.3..3.0_f32,
        prop::sample::select(vec![
            Granularity::Layer,
            Granularity::Channel,
            Granularity::Element,
        ]),
        any::<u32>(),
    )
        .prop_map(
            |(side, convolutions, dense, curvature, weight, granularity, seed)| Network {
                side,
                convolutions,
                dense,
                curvature,
                weight,
                granularity,
                seed,
            },
        )
}

/// Numbers in [-1, 1), always the same for a seed.
fn numbers(seed: u32) -> impl FnMut() -> f32 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

impl Network {
    /// `None` for a network whose values explode, which cannot be planned.
    fn model(&self) -> Option<Model> {
        let mut next = numbers(self.seed);
        let mut shape = Shape::map(1, self.side, self.side);
        let mut graph = Graph::builder(shape);
        let mut x = graph.push("input", Op::Input, &[]);
        let mut layers = self.convolutions.len() + self.dense.len();
        let mut random = |count: usize, inputs: usize| -> Vec<f32> {
            let size = self.weight * (3.0 / inputs as f32).sqrt();
            (0..count).map(|_| size * next()).collect()
        };
        let mut channels = 1;
        for (index, &out) in self.convolutions.iter().enumerate() {
            let weight = random(out * channels * 9, channels * 9);
            let convolution = Op::Conv2d {
                weight: Tensor::new(&[out, channels, 3, 3], weight).unwrap(),
                bias: vec![0.1; out],
                stride: [1, 1],
                padding: Padding::same([1, 1]),
                dilation: [1, 1],
                groups: 1,
            };
            x = graph.push(format!("conv{index}"), convolution, &[x]);
            (channels, layers) = (out, layers - 1);
            shape = Shape::map(channels, self.side, self.side);
            let quadratic = self.quadratic(&shape);
            x = graph.push(format!("square_conv{index}"), quadratic, &[x]);
        }
        x = graph.push("flatten", Op::Flatten, &[x]);
        let mut inputs = channels * self.side * self.side;
        let mut last: NodeId = x;
        for (index, &out) in self.dense.iter().enumerate() {
            let dense = Op::Dense {
                weight: Tensor::new(&[out, inputs], random(out * inputs, inputs)).unwrap(),
                bias: vec![0.1; out],
            };
            last = graph.push(format!("dense{index}"), dense, &[last]);
            (inputs, layers) = (out, layers - 1);
            if layers > 0 {
                let quadratic = self.quadratic(&Shape::Flat(out));
                last = graph.push(format!("square_dense{index}"), quadratic, &[last]);
            }
        }
        let mut model = Model {
            graph: graph.finish().unwrap(),
            preprocess: Preprocess {
                channels: 1,
                height: self.side,
                width: self.side,
                size: SizePolicy::Refuse,
                input_range: (0.0, 1.0),
                mean: vec![0.0],
                std: vec![1.0],
                allowed: (0.0, 1.0),
                color: ColorPolicy::Refuse,
                window: None,
            },
            classes: (0..inputs).map(|class| class.to_string()).collect(),
            output: OutputKind::Raw,
            name: "random".into(),
            dataset: "random".into(),
            calibration: None,
            operating_points: None,
            training: serde_json::Value::Null,
        };
        let mut next = numbers(self.seed.wrapping_add(1));
        let pixels = self.side * self.side;
        let images: Vec<f32> = (0..32 * pixels).map(|_| 0.5 + 0.5 * next()).collect();
        model.calibration = match calibrate(&model, &images, 32, &mut |_| ()) {
            Ok(calibration) => Some(calibration),
            Err(sordino_graph::Error::Calibrate { .. }) => return None,
            Err(error) => panic!("{error}"),
        };
        Some(model)
    }

    fn quadratic(&self, shape: &Shape) -> Op {
        let count = self.granularity.coefficients(shape);
        Op::Quadratic {
            granularity: self.granularity,
            a: vec![self.curvature; count],
            b: vec![0.5; count],
            c: vec![0.2; count],
        }
    }
}

/// The metadata of a plan file: JSON behind a header of 56 bytes that has its length at byte 12.
fn metadata(file: &[u8]) -> serde_json::Value {
    let length = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    serde_json::from_slice(&file[56..56 + length]).unwrap()
}

/// Whether a number has no divisor: deterministic Miller and Rabin for 64 bits.
fn is_prime(q: u64) -> bool {
    let multiply = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(q)) as u64;
    let (odd_part, twos) = (
        (q - 1) >> (q - 1).trailing_zeros(),
        (q - 1).trailing_zeros(),
    );
    [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]
        .iter()
        .all(|&base| {
            let (mut x, mut square, mut exponent) = (1, base, odd_part);
            while exponent > 0 {
                if exponent & 1 == 1 {
                    x = multiply(x, square);
                }
                square = multiply(square, square);
                exponent >>= 1;
            }
            (0..twos).fold(x == 1, |prime, _| {
                let prime = prime || x == q - 1;
                x = multiply(x, x);
                prime
            })
        })
}

/// Checks the parameters that a plan file carries.
fn check(file: &[u8]) -> Result<(), TestCaseError> {
    let parameters = &metadata(file)["parameters"];
    let ring_degree = parameters["ring_degree"].as_u64().unwrap();
    let list = |name: &str| -> Vec<u64> {
        let list = parameters[name].as_array();
        list.map_or_else(Vec::new, |list| {
            list.iter().map(|q| q.as_u64().unwrap()).collect()
        })
    };
    let mut moduli = list("primes");
    prop_assert!(!moduli.is_empty());
    moduli.extend(list("special_primes"));
    let log2_qp: f64 = moduli.iter().map(|&q| (q as f64).log2()).sum();
    prop_assert!(
        log2_qp <= bound(ring_degree),
        "N = {ring_degree}: log2(QP) = {log2_qp}"
    );
    for &q in &moduli {
        prop_assert!(is_prime(q) && q % (4 * ring_degree) == 1, "{q}");
    }
    moduli.sort_unstable();
    prop_assert!(
        moduli.windows(2).all(|pair| pair[0] < pair[1]),
        "{moduli:?}"
    );
    Ok(())
}

/// Without check images, which need an engine: the client's half is complete.
fn options_for(batch: usize) -> CompileOptions {
    CompileOptions {
        check_images: CheckImageCount::Exactly(0),
        ..CompileOptions::new(batch)
    }
}

fn check_plan(plan: &Plan) -> Result<(), TestCaseError> {
    let (server, client) = (
        plan.server.to_bytes().unwrap(),
        plan.client.to_bytes().unwrap(),
    );
    check(&server)?;
    check(&client)?;
    // What was written can be read: a reader refuses parameters over the bound.
    prop_assert!(ServerPlan::from_bytes(&server).is_ok());
    prop_assert!(ClientPlan::from_bytes(&client).is_ok());
    Ok(())
}

/// Cases of the property; more with `SORDINO_CASES=N` in the environment.
fn cases() -> u32 {
    let asked = std::env::var("SORDINO_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(48)
}

#[test]
fn no_plan_exceeds_the_bound() {
    let packings = vec![
        None,
        Some(PackingKind::ElementWise),
        Some(PackingKind::ChannelWise),
    ];
    let degrees = vec![1 << 12, 1 << 13, 1 << 14, 1 << 15];
    let asked = (
        networks(),
        0.0..15.0_f64,
        prop::option::of(1.0..26.0_f64),
        prop::sample::select(packings),
        prop::option::of(prop::sample::select(degrees)),
    );
    let config = ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let planned = Cell::new(0);
    let outcome = TestRunner::new(config).run(
        &asked,
        |(network, log2_batch, precision_bits, packing, ring_degree)| {
            let batch = log2_batch.exp2() as usize;
            let options = CompileOptions {
                precision_bits,
                ring_degree,
                ..options_for(batch).with_packing(packing)
            };
            let Some(model) = network.model() else {
                return Ok(());
            };
            match compile(&model, &options) {
                Ok(plan) => {
                    planned.set(planned.get() + 1);
                    check_plan(&plan)
                }
                // Nothing is emitted where nothing is secure and precise enough.
                Err(Error::Impossible { .. } | Error::Overflow { .. }) => Ok(()),
                Err(error) => Err(TestCaseError::fail(error.to_string())),
            }
        },
    );
    outcome.unwrap();
    println!("{} of {} were planned", planned.get(), cases());
    // The property must not hold for want of plans.
    assert!(planned.get() > cases() / 4, "{} planned", planned.get());
}

#[test]
fn usual_networks_are_planned() {
    let network = Network {
        side: 4,
        convolutions: vec![2],
        dense: vec![6, 3],
        curvature: 0.2,
        weight: 1.0,
        granularity: Granularity::Element,
        seed: 1,
    };
    for packing in [PackingKind::ElementWise, PackingKind::ChannelWise] {
        let plan = compile(
            &network.model().unwrap(),
            &options_for(100).with_packing(packing),
        );
        check_plan(&plan.unwrap()).unwrap();
    }
}

/// A plan says what its parts can read, whatever the size of logits.
#[test]
fn logits_of_any_size_are_planned_or_refused() {
    let mut planned = 0;
    for exponent in [-20, -12, -3, 0, 4, 8, 11, 13, 16] {
        let network = Network {
            side: 2,
            convolutions: vec![],
            dense: vec![2],
            curvature: 0.0,
            weight: 10f32.powi(exponent),
            granularity: Granularity::Layer,
            seed: 1,
        };
        let options = options_for(1).with_packing(PackingKind::ElementWise);
        match compile(&network.model().unwrap(), &options) {
            Ok(plan) => {
                planned += 1;
                check_plan(&plan).unwrap_or_else(|error| panic!("1e{exponent}: {error}"));
            }
            Err(Error::Impossible { .. } | Error::Overflow { .. }) => {}
            Err(error) => panic!("1e{exponent}: {error}"),
        }
    }
    assert!(planned >= 4, "{planned}");
}

/// Plans of the committed networks, deep ones included, which are the ones that are used.
#[test]
fn committed_networks_are_planned_within_the_bound() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    for name in [
        "mlp-mnist",
        "cryptonets-mnist",
        "cryptonets-channel-mnist",
        "lenet-fashion-mnist",
    ] {
        let model = Model::load(models.join(name).with_extension("safetensors")).unwrap();
        for batch in [1, 10_000] {
            let plan = compile(&model, &options_for(batch)).unwrap();
            check_plan(&plan).unwrap_or_else(|error| panic!("{name}, {batch}: {error}"));
        }
    }
}
