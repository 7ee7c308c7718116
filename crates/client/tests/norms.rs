//! Batches that one image ruins, in deep networks: nothing is released, and the image is named.

use sordino_client::{Client, Error, Keys, Marks, UnusualImage, UnusualPolicy};
use sordino_graph::{
    Granularity, Graph, Model, Op, OutputKind, Preprocess, Shape, SizePolicy, Tensor, calibrate,
};
use sordino_plan::{CompileOptions, PackingKind, Plan};
use sordino_protocol::{ReceivedRequest, Request};
use sordino_ring::backend;
use sordino_runtime::{Options, compile, evaluate};

const SIDE: usize = 4;
const FEATURES: usize = SIDE * SIDE;
const COUNT: usize = 40;
/// Images of calibration are this bright; brighter ones are allowed.
const USUAL: f32 = 0.05;

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| next()).collect()
}

/// Four dense layers with squares between, whose values grow with the eighth power of the input.
fn model() -> Model {
    let dense = |outputs: usize, inputs: usize, gain: f32, seed: u32| {
        let weights = numbers(outputs * inputs, seed);
        let weights = weights.iter().map(|w| gain * (2.0 * w - 1.0)).collect();
        Op::Dense {
            weight: Tensor::new(&[outputs, inputs], weights).unwrap(),
            bias: vec![0.1; outputs],
        }
    };
    let quadratic = || Op::Quadratic {
        granularity: Granularity::Layer,
        a: vec![1.0],
        b: vec![0.5],
        c: vec![0.0],
    };
    let mut graph = Graph::builder(Shape::map(1, SIDE, SIDE));
    let mut x = graph.push("input", Op::Input, &[]);
    x = graph.push("flatten", Op::Flatten, &[x]);
    let mut width = FEATURES;
    for layer in 0..3 {
        let gain = if layer == 0 { 8.0 } else { 1.0 };
        x = graph.push(
            &format!("dense{layer}"),
            dense(8, width, gain, layer + 1),
            &[x],
        );
        x = graph.push(&format!("act{layer}"), quadratic(), &[x]);
        width = 8;
    }
    graph.push("last", dense(3, width, 1.0, 9), &[x]);
    let mut model = Model {
        graph: graph.finish().unwrap(),
        preprocess: Preprocess {
            channels: 1,
            height: SIDE,
            width: SIDE,
            size: SizePolicy::Refuse,
            input_range: (0.0, 1.0),
            mean: vec![0.0],
            std: vec![1.0],
            allowed: (0.0, 1.0),
        },
        classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
        output: OutputKind::Softmax,
        name: "deep".into(),
        dataset: "random".into(),
        calibration: None,
        training: serde_json::Value::Null,
    };
    let images = usual(500, 77);
    model.calibration = Some(calibrate(&model, &images, 500, &mut |_| ()).unwrap());
    model
}

fn usual(count: usize, seed: u32) -> Vec<f32> {
    numbers(count * FEATURES, seed)
        .iter()
        .map(|value| USUAL * value)
        .collect()
}

struct Sides {
    plan: Plan,
    client: Client,
    keys: Keys,
}

impl Sides {
    fn new() -> Self {
        let options = CompileOptions::new(COUNT).with_packing(PackingKind::ElementWise);
        let options = CompileOptions {
            precision_bits: Some(8.0),
            check_images: sordino_plan::CheckImageCount::Exactly(16),
            ..options
        };
        let plan = compile(&model(), &options).unwrap();
        let client = Client::new(plan.client.clone(), backend::select(None).unwrap()).unwrap();
        let keys = client.generate_keys().unwrap();
        Self { plan, client, keys }
    }

    fn evaluated(&self, request: &Request) -> Vec<u8> {
        let shape = self.client.request_shape();
        let received = ReceivedRequest::from_bytes(&request.to_bytes().unwrap(), &shape).unwrap();
        let (header, digest) = (received.header.clone(), received.digest);
        let blocks = received.parse(&shape).unwrap().into_blocks();
        let (key, context) = (self.keys.evaluation.as_ref(), self.client.context());
        let blocks = evaluate(&self.plan.server, context, key, blocks, Options::default()).unwrap();
        let shape = self.client.reply_shape();
        sordino_protocol::Reply::new(&shape, &header, digest, blocks)
            .unwrap()
            .to_bytes()
            .unwrap()
    }
}

#[test]
fn the_image_that_ruins_a_block_is_named_and_the_others_are_answered_without_it() {
    let sides = Sides::new();
    let header = &sides.plan.client.header;
    assert_eq!((header.contained_images, header.check_images), (0, 16));
    assert!(header.output.norms >= 2, "{:?}", header.output);
    let mut images = usual(COUNT, 5);
    let marks = Marks::new(COUNT, Vec::new()).unwrap();
    let predict = |images: &[f32], marks: &Marks| {
        let request = sides
            .client
            .encrypt_marked(&sides.keys.secret, images, marks)
            .unwrap();
        let reply = sides
            .client
            .reply_from_bytes(&sides.evaluated(&request))
            .unwrap();
        sides
            .client
            .decrypt_marked(&sides.keys.secret, &reply, marks.clone())
    };
    let good = predict(&images, &marks).unwrap();

    let ruinous = 11;
    images[ruinous * FEATURES..(ruinous + 1) * FEATURES].fill(1.0);
    let Error::CheckImages {
        suspects,
        different,
        images: checks,
        ..
    } = predict(&images, &marks).unwrap_err()
    else {
        panic!("the block should be ruined");
    };
    assert_eq!((suspects.as_slice(), different), (&[ruinous][..], checks));

    // Left out by the guard in the first place, or because it was named.
    let found = sides
        .client
        .screen(&images, UnusualPolicy::Exclude)
        .unwrap();
    assert_eq!(
        found
            .unusual()
            .iter()
            .map(|image| image.index)
            .collect::<Vec<_>>(),
        [ruinous]
    );
    let named = UnusualImage {
        index: ruinous,
        why: "named".to_owned(),
        left_out: true,
    };
    let without = predict(&images, &Marks::new(COUNT, vec![named]).unwrap()).unwrap();
    let others = |image: &usize| *image != ruinous;
    let expected: Vec<usize> = (0..COUNT)
        .filter(others)
        .map(|image| good.classes()[image])
        .collect();
    assert_eq!(without.classes(), expected);
}
