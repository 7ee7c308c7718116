//! Channel-wise packing, step by step: what every ciphertext of every step holds against the clear engine.

mod common;

use std::cell::RefCell;

use common::{activated_residual, convolutional, exported, images, mlp, model, residual, strided};
use sordino_ckks::{Ciphertexts, Context, EvaluationKey, KeySet, Scale, SeededCiphertexts};
use sordino_graph::Graph;
use sordino_plan::{CompileOptions, Operation, PackingKind, ServerPlan, compile};
use sordino_ring::backend;
use sordino_ring::sample::SecretRng;
use sordino_runtime::{
    ChannelEngine, ChannelWeights, ClearEngine, Error, Options, Piece, evaluate, evaluate_clear,
    walk,
};
use sordino_secret::{SecretKey, decrypt, encrypt, evaluation_key_for};

struct Setup {
    plan: ServerPlan,
    context: Context,
    secret: SecretKey,
    key: EvaluationKey,
    images: Vec<f32>,
    count: usize,
}

fn setup(graph: Graph, batch: usize) -> Setup {
    let model = model(graph);
    let options = CompileOptions::new(batch).with_packing(PackingKind::ChannelWise);
    let plan = compile(&model, &options).unwrap().server;
    assert_eq!(plan.packing().kind(), PackingKind::ChannelWise);
    let context = Context::new(plan.parameters().clone(), backend::select(None).unwrap()).unwrap();
    let (secret, key) = keys(&plan, &context, 5);
    let count = batch.min(plan.block_places());
    Setup {
        images: images(&model, count, 21),
        plan,
        context,
        secret,
        key,
        count,
    }
}

fn keys(plan: &ServerPlan, context: &Context, seed: u8) -> (SecretKey, EvaluationKey) {
    let mut rng = SecretRng::from_seed([seed; 32]);
    let secret = SecretKey::generate(context, &mut rng).unwrap();
    let keys = KeySet::new(true, plan.rotations()).unwrap();
    let key = evaluation_key_for(context, &secret, &keys, &mut rng).unwrap();
    (secret, key)
}

impl Setup {
    /// One block of all images, filled as the plan's first layout says.
    fn encrypted(&self) -> SeededCiphertexts {
        let channel = self.plan.channel().unwrap();
        let (layout, features) = (&channel.layouts[0], self.plan.input().features);
        let side_by_side = self.plan.block_places();
        let fill = |row: usize, slots: &mut [f64]| {
            let mut values = vec![0.0; slots.len()];
            for element in 0..features {
                let (ciphertext, first) = layout.place(element, channel.slots);
                for position in (first..channel.slots)
                    .step_by(layout.period)
                    .filter(|_| ciphertext == row)
                {
                    for image in 0..self.count {
                        values[position * side_by_side + image] =
                            f64::from(self.images[image * features + element]);
                    }
                }
            }
            self.context.rotation_order().to_slots_into(&values, slots);
        };
        let input = self.plan.input();
        let mut rng = SecretRng::from_seed([9; 32]);
        encrypt(
            &self.context,
            &self.secret,
            &mut rng,
            self.plan.input_ciphertexts(),
            &fill,
            input.limbs - 1,
            Scale::new(input.scale).unwrap(),
        )
        .unwrap()
    }

    /// elements × images of a step's value, every copy of a repeated layout checked to be the same.
    fn read(&self, step: usize, value: &Ciphertexts) -> Vec<f64> {
        let channel = self.plan.channel().unwrap();
        let layout = &channel.layouts[step];
        let side_by_side = self.plan.block_places();
        let rows: Vec<Vec<f64>> = decrypt(&self.context, &self.secret, value)
            .unwrap()
            .iter()
            .map(|row| self.context.rotation_order().from_slots(row))
            .collect();
        let mut values = Vec::new();
        for element in 0..self.plan.steps()[step].elements {
            let (ciphertext, position) = layout.place(element, channel.slots);
            for image in 0..self.count {
                let at = |position: usize| rows[ciphertext][position * side_by_side + image];
                for copy in (position..channel.slots).step_by(layout.period) {
                    assert!(
                        (at(copy) - at(position)).abs() < 1e-2,
                        "step {step}, element {element}: {} at position {copy}, {} at {position}",
                        at(copy),
                        at(position)
                    );
                }
                values.push(at(position));
            }
        }
        values
    }
}

impl Setup {
    /// How far the logits are from those of the clear engine.
    fn errors(&self) -> Vec<f64> {
        let plan = &self.plan;
        let replies = evaluate(
            plan,
            &self.context,
            Some(&self.key),
            vec![self.encrypted()],
            Options::default(),
        )
        .unwrap();
        let logits = self.read(plan.steps().len() - 1, &replies[0]);
        let clear = evaluate_clear(plan, &self.images, self.count).unwrap();
        let classes = plan.output().logits;
        let places = logits.iter().enumerate();
        places
            .map(|(at, logit)| logit - clear[at % self.count * classes + at / self.count])
            .collect()
    }
}

/// Every step's decrypted value against the clear engine's integers.
fn check_steps(name: &str, graph: Graph, batch: usize) -> Setup {
    let setup = setup(graph, batch);
    let plan = &setup.plan;
    let steps = plan.steps();
    let clear = ClearEngine::new(plan, setup.count);
    let encoded = clear.encode(&setup.images, plan.input().features, plan.input().scale);
    let expected = RefCell::new(vec![Vec::new(); steps.len()]);
    let schedule = plan.whole_steps();
    walk(&clear, &schedule, encoded, |step, integers: &Vec<i128>| {
        let scale = steps[step].scale;
        expected.borrow_mut()[step] = integers
            .iter()
            .map(|&v| v as f64 / scale)
            .collect::<Vec<f64>>();
    })
    .unwrap();
    let expected = expected.into_inner();

    let channel = plan.channel().unwrap();
    // Weights are encoded step by step here, and beforehand by the front door.
    let weights = ChannelWeights::new(plan, channel, &setup.context, false).unwrap();
    let engine = ChannelEngine::new(plan, &weights, &setup.context, Some(&setup.key)).unwrap();
    let request = setup.encrypted();
    let input = request.clone().expand(&setup.context).unwrap();
    // The promise is about logits; values on the way may be off by more, a wrong weight by far more.
    let tolerance = 16.0 * (-plan.estimate().precision_bits).exp2();
    let last = walk(&engine, &schedule, Piece::Expanded(input), |index, piece| {
        let Piece::Expanded(value) = piece else {
            panic!("{name}, step {index} is not expanded")
        };
        let found = setup.read(index, value);
        let expected = &expected[index];
        assert_eq!(found.len(), expected.len());
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let largest = expected.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        let step = &steps[index];
        assert!(
            worst < tolerance * largest.max(1.0),
            "{name}, step {} ({} {}): worst error {worst:.2e}, values up to {largest:.2}, tolerance {tolerance:.2e}",
            index,
            step.name,
            step.operation.kind()
        );
    })
    .unwrap();

    // The front door gives the same logits, within the precision that the plan promises.
    let (context, key) = (&setup.context, Some(&setup.key));
    let replies = evaluate(plan, context, key, vec![request], Options::default()).unwrap();
    assert!(matches!(last, Piece::Expanded(value) if value == replies[0]));
    let worst = setup
        .errors()
        .into_iter()
        .fold(0.0f64, |worst, error| worst.max(error.abs()));
    let promised = (-plan.estimate().precision_bits).exp2();
    assert!(
        worst < promised,
        "{name}: a logit is {worst:.2e} away from the clear one, {promised:.2e} promised"
    );
    setup
}

#[test]
fn every_step_of_a_dense_network() {
    check_steps("mlp", mlp(), 1);
    check_steps("mlp", mlp(), 300);
}

#[test]
fn every_step_of_a_convolutional_network_with_pooling() {
    let one = check_steps("convolutional", convolutional(), 1);
    let filled = check_steps("convolutional", convolutional(), 40);
    assert!(filled.plan.block_places() > one.plan.block_places() || filled.plan.blocks() == 1);
    // Pooling is part of the next layer.
    assert!(one.plan.steps().iter().all(|step| step.name != "pool"));
}

#[test]
fn every_step_of_a_residual_network() {
    check_steps("residual", residual(), 3);
    check_steps("activated residual", activated_residual(), 3);
}

#[test]
fn every_step_of_networks_of_exported_operations() {
    check_steps("separable", exported::separable(), 8);
    check_steps("branches", exported::branches(), 8);
    check_steps("moved", exported::moved(), 8);
    check_steps("bottlenecks", exported::bottlenecks(), 8);
}

#[test]
fn every_step_of_a_network_with_strides() {
    let one = check_steps("strided", strided(), 1);
    let filled = check_steps("strided", strided(), 16);
    assert!(filled.plan.block_places() >= one.plan.block_places());
}

/// Over images and keys. The planner's formula has the largest error of an element for all elements of a layer.
#[test]
fn errors_of_logits_are_as_large_as_predicted() {
    for (name, graph) in [
        ("moved", exported::moved()),
        ("separable", exported::separable()),
        ("strided", strided()),
        ("residual", residual()),
    ] {
        let mut setup = setup(graph, 32);
        let mut squares = Vec::new();
        for seed in 0..3 {
            (setup.secret, setup.key) = keys(&setup.plan, &setup.context, seed);
            squares.extend(setup.errors().into_iter().map(|error| error * error));
        }
        let found = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
        let share = found / setup.plan.estimate().rms_noise;
        assert!(
            (0.5..1.15).contains(&share),
            "{name}: {share} of the predicted error"
        );
    }
}

#[test]
fn a_key_without_a_rotation_of_the_plan_is_refused() {
    let setup = setup(mlp(), 1);
    let mut rotations = setup.plan.rotations();
    let missing = rotations.pop().unwrap();
    let keys = KeySet::new(true, rotations).unwrap();
    let mut rng = SecretRng::from_seed([6; 32]);
    let key = evaluation_key_for(&setup.context, &setup.secret, &keys, &mut rng).unwrap();
    let found = evaluate(
        &setup.plan,
        &setup.context,
        Some(&key),
        vec![setup.encrypted()],
        Options::default(),
    );
    let message = found.unwrap_err().to_string();
    assert!(message.contains(&missing.to_string()), "{message}");
    let found = evaluate(
        &setup.plan,
        &setup.context,
        None,
        vec![setup.encrypted()],
        Options::default(),
    );
    assert!(matches!(found, Err(Error::MissingKey { .. })));
}

#[test]
fn plans_survive_their_files_and_lost_positions_are_refused() {
    let setup = setup(strided(), 2);
    let bytes = setup.plan.to_bytes().unwrap();
    let again = ServerPlan::from_bytes(&bytes).unwrap();
    assert_eq!(again.channel(), setup.plan.channel());
    assert_eq!(again.digest(), setup.plan.digest());
    assert!(
        again
            .steps()
            .iter()
            .any(|step| matches!(step.operation, Operation::Square { .. }))
    );
    assert!(ServerPlan::from_bytes(&bytes[..bytes.len() - 4]).is_err());
}
