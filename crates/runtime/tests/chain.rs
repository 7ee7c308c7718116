//! The differential chain on small networks: graph executor = folded network = quantized network = clear engine on
//! the plan ≈ encrypted engine. Every pair of neighbours has its own tolerance, so that a failure names the stage.

mod common;

use std::collections::BTreeMap;

use common::{
    activated_residual, convolutional, exported, images, mlp, model, residual, streamable,
};
use sordino_ckks::{Ciphertexts, Context, EvaluationKey, Scale, SeededCiphertexts};
use sordino_graph::{Graph, Model, execute, execute_folded, fold};
use sordino_plan::{Budget, CompileOptions, Operation, PackingKind, Plan, ServerPlan, compile};
use sordino_ring::backend;
use sordino_ring::sample::SecretRng;
use sordino_runtime::{
    BlockState, Options, Progress, Scratch, Trace, Weights, evaluate, evaluate_blocks,
    evaluate_clear,
};
use sordino_secret::{SecretKey, decrypt, encrypt, evaluation_key};

struct Keys {
    context: Context,
    secret: SecretKey,
    evaluation: Option<EvaluationKey>,
}

fn keys(plan: &ServerPlan, backend: &'static backend::Backend, seed: u8) -> Keys {
    let context = Context::new(plan.parameters().clone(), backend).unwrap();
    let mut rng = SecretRng::from_seed([seed; 32]);
    let secret = SecretKey::generate(&context, &mut rng).unwrap();
    let evaluation = plan
        .needs_evaluation_key()
        .then(|| evaluation_key(&context, &secret, &mut rng).unwrap());
    Keys {
        context,
        secret,
        evaluation,
    }
}

fn encrypt_images(plan: &ServerPlan, keys: &Keys, images: &[f32]) -> Vec<SeededCiphertexts> {
    let features = plan.input().features;
    let mut rng = SecretRng::from_seed([7; 32]);
    let slots = plan.parameters().ring_degree();
    images
        .chunks(slots * features)
        .map(|block| {
            let fill = |feature: usize, out: &mut [f64]| {
                out.fill(0.0);
                for (slot, image) in out.iter_mut().zip(block.chunks_exact(features)) {
                    *slot = f64::from(image[feature]);
                }
            };
            let level = plan.input().limbs - 1;
            let scale = Scale::new(plan.input().scale).unwrap();
            encrypt(
                &keys.context,
                &keys.secret,
                &mut rng,
                features,
                &fill,
                level,
                scale,
            )
            .unwrap()
        })
        .collect()
}

/// Logits [images, classes] of replies.
fn decrypted(keys: &Keys, replies: &[sordino_ckks::Ciphertexts], count: usize) -> Vec<f64> {
    let mut logits = Vec::new();
    for reply in replies {
        let rows = decrypt(&keys.context, &keys.secret, reply).unwrap();
        for slot in 0..rows[0].len() {
            logits.extend(rows.iter().map(|row| row[slot]));
        }
    }
    logits.truncate(count * replies[0].len());
    logits
}

fn worst(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f64::max)
}

fn compiled(model: &Model, batch: usize) -> Plan {
    compile(
        model,
        &CompileOptions::new(batch).with_packing(PackingKind::ElementWise),
    )
    .unwrap()
}

fn check_chain(name: &str, graph: Graph) -> Plan {
    const COUNT: usize = 5000;
    let model = model(graph);
    let images = images(&model, COUNT, 12);
    let plan = compiled(&model, COUNT);
    let server = &plan.server;
    println!("{name}:\n{}", server.explain());

    let float: Vec<f64> = execute(&model.graph, &images, COUNT)
        .unwrap()
        .into_iter()
        .map(f64::from)
        .collect();
    let folded = execute_folded(&fold(&model.graph).unwrap(), &images, COUNT).unwrap();
    let range = float.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let folding = worst(&float, &folded);
    assert!(
        folding < 1e-4 * range,
        "{name}: folding moved a logit by {folding}"
    );

    let clear = evaluate_clear(server, &images, COUNT).unwrap();
    let rounding = worst(&folded, &clear);
    let estimate = server.estimate();
    let allowed = 8.0 * estimate.rms_weight_rounding;
    assert!(
        rounding < allowed,
        "{name}: integers moved a logit by {rounding}, {allowed} allowed"
    );

    let keys = keys(server, backend::select(None).unwrap(), 3);
    let blocks = encrypt_images(server, &keys, &images);
    let mut trace = Trace::default();
    let seen = std::sync::Mutex::new(Vec::new());
    let progress = |p: &Progress<'_>| seen.lock().unwrap().push((p.block, p.unit));
    let options = Options {
        progress: Some(&progress),
        trace: Some(&mut trace),
        scratch: None,
    };
    let replies = evaluate(
        server,
        &keys.context,
        keys.evaluation.as_ref(),
        blocks,
        options,
    )
    .unwrap();
    let encrypted = decrypted(&keys, &replies, COUNT);
    let noise = worst(&clear, &encrypted);
    let measured_bits = -noise.log2();
    println!(
        "{name}: predicted {:.2} bits, measured {measured_bits:.2}",
        estimate.precision_bits
    );
    assert!(
        measured_bits >= estimate.precision_bits,
        "{name}: the worst error {noise} is above the prediction"
    );
    assert!(
        measured_bits <= estimate.precision_bits + 2.0,
        "{name}: the prediction is more than 2 bits too careful"
    );
    assert_eq!(trace.steps.len(), server.blocks() * server.steps().len());
    let units = server.schedule(Budget::default()).unwrap().units().len();
    assert_eq!(seen.lock().unwrap().len(), server.blocks() * units);
    plan
}

/// Scratch in memory, that remembers what there was after a unit as a run would find it that is started again.
#[derive(Default)]
struct Shelf {
    pieces: BTreeMap<usize, Ciphertexts>,
    /// The unit after which the run ends, as if killed.
    ends_after: Option<usize>,
    /// What is left of such a run.
    left: Option<(usize, BTreeMap<usize, Ciphertexts>)>,
    stored: usize,
    loaded: usize,
}

impl Scratch for Shelf {
    fn begin_block(&mut self, _: &Context, _: usize) -> Result<BlockState, sordino_runtime::Error> {
        Ok(match self.left.take() {
            Some((units, pieces)) => {
                self.pieces = pieces;
                BlockState::Units(units)
            }
            None => BlockState::New,
        })
    }

    fn store(&mut self, unit: usize, piece: Ciphertexts) -> Result<(), sordino_runtime::Error> {
        self.stored += 1;
        self.pieces.insert(unit, piece);
        Ok(())
    }

    fn load(&mut self, _: &Context, unit: usize) -> Result<Ciphertexts, sordino_runtime::Error> {
        self.loaded += 1;
        Ok(self.pieces[&unit].clone())
    }

    fn free(&mut self, units: &[usize]) -> Result<(), sordino_runtime::Error> {
        units.iter().for_each(|unit| drop(self.pieces.remove(unit)));
        Ok(())
    }

    fn units_done(
        &mut self,
        units: usize,
        in_memory: &[(usize, &Ciphertexts)],
    ) -> Result<(), sordino_runtime::Error> {
        if self.ends_after != Some(units) {
            return Ok(());
        }
        let mut pieces = self.pieces.clone();
        pieces.extend(in_memory.iter().map(|&(unit, piece)| (unit, piece.clone())));
        self.left = Some((units, pieces));
        Err(sordino_runtime::Error::NoScratch { needed: 0 })
    }

    fn end_block(&mut self, _: &Ciphertexts) -> Result<(), sordino_runtime::Error> {
        Ok(())
    }
}

/// The reply is the same in the least memory that the plan needs, with and without scratch, and for runs that end and are
/// resumed. Returns whether scratch saves memory.
fn check_little_memory(graph: Graph) -> bool {
    let model = model(graph);
    let plan = compiled(&model, 100);
    let server = &plan.server;
    let keys = keys(server, backend::select(None).unwrap(), 4);
    let images = images(&model, 100, 13);
    let blocks = encrypt_images(server, &keys, &images);
    let run = |budget: Budget, shelf: &mut Shelf| {
        let weights = Weights::new(server, &keys.context, budget).unwrap();
        let blocks = blocks
            .clone()
            .into_iter()
            .map(Ok::<_, sordino_runtime::Error>);
        let (context, key) = (&keys.context, keys.evaluation.as_ref());
        let options = Options {
            scratch: Some(shelf),
            ..Options::default()
        };
        evaluate_blocks(server, &weights, context, key, blocks, 1, options)
    };
    let least = |scratch_bytes: u64| {
        let budget = |memory: u64| Budget {
            memory_bytes: Some(memory),
            scratch_bytes,
        };
        match server.schedule(budget(1)) {
            Err(sordino_plan::Error::Memory { needed, .. }) => budget(needed),
            other => panic!("nothing fits into a byte: {other:?}"),
        }
    };
    let whole = server.schedule(Budget::default()).unwrap();
    let expected = run(Budget::default(), &mut Shelf::default()).unwrap();
    let (pieces, spilling) = (least(0), least(u64::MAX));
    let spills = spilling.memory_bytes < pieces.memory_bytes;
    for budget in [pieces, spilling] {
        let schedule = server.schedule(budget).unwrap();
        assert!(Some(schedule.memory_bytes()) <= budget.memory_bytes);
        let count = schedule.units().len();
        assert!(count >= whole.units().len());
        let mut shelf = Shelf::default();
        assert!(run(budget, &mut shelf).unwrap() == expected);
        let spilled = spills && budget == spilling;
        assert_eq!((shelf.stored > 0, shelf.loaded > 0), (spilled, spilled));
        assert!(shelf.pieces.is_empty());
        let ends = [2, count / 2, count];
        for ends_after in ends.into_iter().filter(|&units| units >= 2) {
            let mut shelf = Shelf {
                ends_after: Some(ends_after),
                ..Shelf::default()
            };
            assert!(run(budget, &mut shelf).is_err());
            assert_eq!(
                shelf.left.as_ref().map(|(units, _)| *units),
                Some(ends_after)
            );
            shelf.ends_after = None;
            assert!(
                run(budget, &mut shelf).unwrap() == expected,
                "after {ends_after}"
            );
        }
    }
    if !spills {
        // Its last layer reads everything at once.
        return false;
    }
    // A schedule that needs scratch does not begin without.
    let weights = Weights::new(server, &keys.context, spilling).unwrap();
    let one = blocks.into_iter().map(Ok::<_, sordino_runtime::Error>);
    let key = keys.evaluation.as_ref();
    let refused = evaluate_blocks(
        server,
        &weights,
        &keys.context,
        key,
        one,
        1,
        Options::default(),
    );
    assert!(matches!(refused, Err(sordino_runtime::Error::NoScratch { needed }) if needed > 0));
    true
}

#[test]
fn memory_does_not_change_a_reply() {
    check_little_memory(convolutional());
    check_little_memory(residual());
    check_little_memory(activated_residual());
    assert!(check_little_memory(streamable()), "scratch saves nothing");
}

#[test]
fn one_hidden_layer_needs_neither_key_nor_rescale() {
    let plan = check_chain("mlp", mlp());
    assert!(!plan.server.needs_evaluation_key());
    let rescales = plan
        .server
        .steps()
        .iter()
        .any(|s| matches!(s.operation, Operation::Rescale { .. }));
    assert!(!rescales);
    assert_eq!(plan.server.output().components, 3);
}

#[test]
fn convolutional_network() {
    let plan = check_chain("convolutional", convolutional());
    assert!(plan.server.needs_evaluation_key());
}

#[test]
fn residual_network() {
    check_chain("residual", residual());
}

#[test]
fn networks_of_exported_operations() {
    check_chain("separable", exported::separable());
    check_chain("branches", exported::branches());
    check_chain("moved", exported::moved());
    check_chain("bottlenecks", exported::bottlenecks());
}

#[test]
fn a_sum_of_activated_values_costs_no_level() {
    let plan = check_chain("activated residual", activated_residual());
    let rescales = |step: &&sordino_plan::Step| matches!(step.operation, Operation::Rescale { .. });
    // Four activations: one for every layer between them.
    assert_eq!(plan.server.steps().iter().filter(rescales).count(), 3);
}

#[test]
fn every_ring_degree_gives_the_same_scores() {
    const COUNT: usize = 60;
    let model = model(residual());
    let images = images(&model, COUNT, 16);
    for ring_degree in [1 << 13, 1 << 14, 1 << 15] {
        let options = CompileOptions {
            ring_degree: Some(ring_degree),
            ..CompileOptions::new(COUNT).with_packing(PackingKind::ElementWise)
        };
        let plan = compile(&model, &options).unwrap().server;
        assert_eq!(plan.parameters().ring_degree(), ring_degree);
        let keys = keys(&plan, backend::select(None).unwrap(), 9);
        let blocks = encrypt_images(&plan, &keys, &images);
        let key = keys.evaluation.as_ref();
        let replies = evaluate(&plan, &keys.context, key, blocks, Options::default()).unwrap();
        let clear = evaluate_clear(&plan, &images, COUNT).unwrap();
        let noise = worst(&clear, &decrypted(&keys, &replies, COUNT));
        let allowed = (-plan.estimate().precision_bits).exp2();
        assert!(
            noise < allowed,
            "N = {ring_degree}: {noise}, {allowed} allowed"
        );
    }
}

#[test]
fn wide_weights_track_the_float_network() {
    let model = model(convolutional());
    let images = images(&model, 500, 13);
    let folded = execute_folded(&fold(&model.graph).unwrap(), &images, 500).unwrap();
    let mut errors = Vec::new();
    for bits in [8, 12, 16] {
        let options = CompileOptions {
            weight_bits: Some(bits),
            ..CompileOptions::new(500).with_packing(PackingKind::ElementWise)
        };
        let plan = compile(&model, &options).unwrap();
        errors.push(worst(
            &folded,
            &evaluate_clear(&plan.server, &images, 500).unwrap(),
        ));
    }
    assert!(
        errors[1] < errors[0] / 8.0 && errors[2] < errors[1] / 4.0,
        "{errors:?}"
    );
}

#[test]
fn clear_scores_depend_on_no_number_of_threads_or_images() {
    let model = model(residual());
    let plan = compiled(&model, 64).server;
    let images = images(&model, 64, 15);
    let on = |threads, images: &[f32], count| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        pool.install(|| evaluate_clear(&plan, images, count).unwrap())
    };
    let all = on(1, &images, 64);
    assert_eq!(all, on(2, &images, 64));
    assert_eq!(all, on(5, &images, 64));
    let (pixels, logits) = (plan.input().features, plan.output().logits);
    for count in [0, 1, 17, 33] {
        assert_eq!(
            all[..count * logits],
            on(2, &images[..count * pixels], count)
        );
    }
}

#[test]
fn same_request_same_reply_on_every_backend_and_thread_count() {
    let model = model(residual());
    let plan = compiled(&model, 64).server;
    let images = images(&model, 64, 14);
    // Key and request are drawn afresh every time: make them once and hand on their bytes.
    let first = keys(&plan, backend::portable(), 5);
    let request = encrypt_images(&plan, &first, &images);
    let key = first.evaluation.as_ref().unwrap().to_bytes().unwrap();
    let mut replies = Vec::new();
    for backend in backend::available() {
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            replies.push(pool.install(|| {
                let context = Context::new(plan.parameters().clone(), backend).unwrap();
                let key = EvaluationKey::from_bytes(&context, &key).unwrap();
                let options = Options::default();
                let reply =
                    evaluate(&plan, &context, Some(&key), request.clone(), options).unwrap();
                reply[0].parts().to_vec()
            }));
        }
    }
    assert!(replies.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn plans_are_pure_functions_and_survive_their_files() {
    let model = model(residual());
    let (first, second) = (compiled(&model, 300), compiled(&model, 300));
    let bytes = first.server.to_bytes().unwrap();
    assert_eq!(bytes, second.server.to_bytes().unwrap());
    assert_eq!(
        first.client.to_bytes().unwrap(),
        second.client.to_bytes().unwrap()
    );
    let read = ServerPlan::from_bytes(&bytes).unwrap();
    assert_eq!(read.digest(), first.client.plan());
    assert_eq!(read.to_bytes().unwrap(), bytes);
    let images = images(&model, 3, 15);
    assert_eq!(
        evaluate_clear(&read, &images, 3).unwrap(),
        evaluate_clear(&first.server, &images, 3).unwrap()
    );
}

/// Largest magnitude.
fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// The logits of usual images beside one whose values are `factor` times as large, and what they should be.
fn beside_a_large_image(plan: &ServerPlan, images: &[f32], factor: f32) -> (Vec<f64>, Vec<f64>) {
    let features = plan.input().features;
    let mut images = images.to_vec();
    images[..features]
        .iter_mut()
        .for_each(|value| *value *= factor);
    let count = images.len() / features;
    let expected = evaluate_clear(plan, &images, count).unwrap();
    let keys = keys(plan, backend::select(None).unwrap(), 3);
    let blocks = encrypt_images(plan, &keys, &images);
    let options = Options {
        progress: None,
        trace: None,
        scratch: None,
    };
    let replies = evaluate(
        plan,
        &keys.context,
        keys.evaluation.as_ref(),
        blocks,
        options,
    )
    .unwrap();
    (decrypted(&keys, &replies, count), expected)
}

#[test]
fn an_image_harms_no_other_up_to_the_contained_logit_and_ruins_others_far_beyond() {
    const COUNT: usize = 300;
    for graph in [mlp(), convolutional()] {
        let model = model(graph);
        let images = images(&model, COUNT, 12);
        let plan = compiled(&model, COUNT).server;
        let classes = plan.output().logits;
        let usual = largest(&evaluate_clear(&plan, &images, COUNT).unwrap());
        let contained = plan.contained_logit(usual);
        // The factor at which the first image's largest logit is this large.
        let factor = |logit: f64| {
            let features = plan.input().features;
            let (mut low, mut high) = (1.0_f32, 1e6_f32);
            for _ in 0..40 {
                let middle = (low * high).sqrt();
                let image: Vec<f32> = images[..features].iter().map(|x| x * middle).collect();
                match largest(&evaluate_clear(&plan, &image, 1).unwrap()) < logit {
                    true => low = middle,
                    false => high = middle,
                }
            }
            low
        };
        let tolerance = 1e-2 * usual;
        let (found, expected) = beside_a_large_image(&plan, &images, factor(0.99 * contained));
        assert!(largest(&expected[..classes]) > 0.9 * contained);
        let error = worst(&found[classes..], &expected[classes..]);
        assert!(
            error < tolerance,
            "an image within the bound moved a logit by {error}"
        );
        let (found, expected) = beside_a_large_image(&plan, &images, factor(3.0 * contained));
        let error = worst(&found[classes..], &expected[classes..]);
        assert!(
            error > tolerance,
            "an image beyond the bound moved no logit by more than {error}"
        );
    }
}
