//! What the planner refuses and what it chooses, and that plan files from outside are checked.

use sordino_graph::{
    ColorPolicy, Granularity, Graph, Model, Op, OutputKind, Preprocess, Shape, SizePolicy, Tensor,
    calibrate,
};
use sordino_plan::{
    CheckImageCount, ClientPlan, CompileOptions, Error, Operation, PackingKind, Plan, ServerPlan,
    compile,
};

/// A chain of dense layers of 12 elements with `activations` quadratics between them, calibrated.
fn model(activations: usize) -> Model {
    chain([3, 4], activations)
}

/// The same of height · width elements.
fn chain([height, width]: [usize; 2], activations: usize) -> Model {
    let elements = height * width;
    let bound = (3.0 / elements as f32).sqrt();
    let mut state = 1u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut graph = Graph::builder(Shape::map(1, height, width));
    let mut x = graph.push("input", Op::Input, &[]);
    x = graph.push("flatten", Op::Flatten, &[x]);
    for layer in 0..=activations {
        let weights = (0..elements * elements).map(|_| bound * next()).collect();
        let dense = Op::Dense {
            weight: Tensor::new(&[elements, elements], weights).unwrap(),
            bias: vec![0.1; elements],
        };
        x = graph.push(format!("dense{layer}"), dense, &[x]);
        if layer < activations {
            let quadratic = Op::Quadratic {
                granularity: Granularity::Layer,
                a: vec![0.2],
                b: vec![0.5],
                c: vec![0.2],
            };
            x = graph.push(format!("act{layer}"), quadratic, &[x]);
        }
    }
    let mut model = Model {
        graph: graph.finish().unwrap(),
        preprocess: Preprocess {
            channels: 1,
            height,
            width,
            size: SizePolicy::Refuse,
            input_range: (0.0, 255.0),
            mean: vec![0.0],
            std: vec![1.0],
            allowed: (0.0, 255.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes: (0..elements).map(|c| c.to_string()).collect(),
        output: OutputKind::Softmax,
        name: "dense".into(),
        dataset: "random".into(),
        calibration: None,
        operating_points: None,
        training: serde_json::Value::Null,
    };
    let images: Vec<f32> = (0..200 * elements).map(|_| 0.5 + 0.5 * next()).collect();
    model.calibration = Some(calibrate(&model, &images, 200, &mut |_| ()).unwrap());
    model
}

/// Check images need an engine: without them the client's half is complete.
fn without_check_images(batch: usize) -> CompileOptions {
    CompileOptions {
        check_images: CheckImageCount::Exactly(0),
        ..CompileOptions::new(batch)
    }
}

fn planned(model: &Model, options: &CompileOptions) -> Plan {
    compile(model, options).unwrap()
}

#[test]
fn a_model_without_ranges_is_refused() {
    let mut model = model(1);
    model.calibration = None;
    let error = compile(&model, &CompileOptions::new(10)).unwrap_err();
    assert!(matches!(error, Error::MissingRanges { .. }));
    assert!(error.to_string().contains("sordino ranges"), "{error}");
}

#[test]
fn a_relu_network_is_refused() {
    let mut relu = model(1);
    let mut graph = Graph::builder(Shape::map(1, 3, 4));
    let x = graph.push("input", Op::Input, &[]);
    let x = graph.push("flatten", Op::Flatten, &[x]);
    graph.push("relu", Op::RELU, &[x]);
    relu.graph = graph.finish().unwrap();
    for calibration in [relu.calibration.take(), None] {
        relu.calibration = calibration;
        let error = compile(&relu, &CompileOptions::new(10)).unwrap_err();
        assert!(matches!(error, Error::Graph(_)));
        assert!(error.to_string().contains("is relu"), "{error}");
        assert!(error.to_string().contains("sordino distill"), "{error}");
    }
}

/// A hidden layer and logits, of which one or the other says nothing.
fn silent(hidden: f32, logits: f32, bias: f32) -> sordino_graph::Model {
    let mut silent = model(1);
    let dense = |outputs: usize, inputs: usize, weight: f32, bias: f32| Op::Dense {
        weight: Tensor::new(&[outputs, inputs], vec![weight; outputs * inputs]).unwrap(),
        bias: vec![bias; outputs],
    };
    let mut graph = Graph::builder(Shape::map(1, 3, 4));
    let x = graph.push("input", Op::Input, &[]);
    let x = graph.push("flatten", Op::Flatten, &[x]);
    let x = graph.push("hidden", dense(4, 12, hidden, 0.0), &[x]);
    let quadratic = Op::Quadratic {
        granularity: sordino_graph::Granularity::Layer,
        a: vec![0.2],
        b: vec![0.5],
        c: vec![0.1],
    };
    let x = graph.push("act", quadratic, &[x]);
    graph.push("logits", dense(silent.classes.len(), 4, logits, bias), &[x]);
    silent.graph = graph.finish().unwrap();
    let images: Vec<f32> = (0..240).map(|k| (k % 17) as f32 / 17.0).collect();
    silent.calibration = None;
    let calibration = calibrate(&silent, &images, 20, &mut |_| ());
    silent.calibration = Some(calibration.unwrap());
    silent
}

#[test]
fn networks_that_say_the_same_of_every_image_are_refused_by_name() {
    for packing in [PackingKind::ElementWise, PackingKind::ChannelWise] {
        let options = CompileOptions::new(10).with_packing(packing);
        assert!(compile(&silent(0.1, 0.1, 0.5), &options).is_ok());
        let error = compile(&silent(0.0, 0.1, 0.5), &options).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("node \"hidden\" is 0 for every image")
        );
        // With a bias, and without.
        for bias in [0.5, 0.0] {
            let error = compile(&silent(0.1, 0.0, bias), &options).unwrap_err();
            let message = error.to_string();
            assert!(
                message.starts_with("the logits are the same for every image"),
                "{message}"
            );
        }
    }
}

#[test]
fn batches_out_of_range_are_refused() {
    let model = model(1);
    assert!(matches!(
        compile(&model, &CompileOptions::new(0)),
        Err(Error::Batch { .. })
    ));
    assert!(matches!(
        compile(&model, &CompileOptions::new(usize::MAX)),
        Err(Error::Batch { .. })
    ));
}

#[test]
fn few_images_are_packed_channel_wise_and_many_element_wise() {
    let model = chain([16, 16], 2);
    let [few, many] = [1, 4000].map(|batch| planned(&model, &CompileOptions::new(batch)).server);
    assert_eq!(few.packing().kind(), PackingKind::ChannelWise);
    assert_eq!(many.packing().kind(), PackingKind::ElementWise);
    for plan in [&few, &many] {
        let found = plan.comparison().unwrap();
        let cheaper = found.element_wise_seconds.min(found.channel_wise_seconds);
        assert_eq!(plan.estimate().evaluate_seconds, cheaper);
    }
    let break_even = few.comparison().unwrap().break_even_batch;
    assert!((2..4000).contains(&break_even), "{break_even}");
    assert!(few.explain().to_string().contains("rotations"));
    // Asked for one packing, the planner does not look at the other.
    for packing in [PackingKind::ChannelWise, PackingKind::ElementWise] {
        let options = CompileOptions {
            packing: Some(packing),
            ..CompileOptions::new(1)
        };
        let plan = planned(&model, &options);
        assert_eq!(
            (plan.server.packing().kind(), plan.client.packing.kind()),
            (packing, packing)
        );
        assert!(plan.server.comparison().is_none());
    }
}

#[test]
fn as_many_images_share_a_ciphertext_as_are_asked_for() {
    let model = model(1);
    let options = |images| CompileOptions {
        packing: Some(PackingKind::ChannelWise),
        block_images: Some(images),
        ..CompileOptions::new(100)
    };
    for images in [1, 4, 128] {
        let plan = planned(&model, &options(images));
        assert_eq!(
            (plan.server.block_places(), plan.client.block_places()),
            (images, images)
        );
        assert_eq!(plan.server.blocks(), 100usize.div_ceil(images));
    }
    // No power of two, and more than have room at any ring degree.
    for images in [3, 1 << 15] {
        let error = compile(&model, &options(images)).unwrap_err();
        assert!(matches!(error, Error::Impossible { .. }), "{error}");
    }
}

#[test]
fn constraints_that_nothing_meets_say_what_came_closest() {
    let model = model(2);
    let refused = |options: CompileOptions, words: &[&str]| {
        let error = compile(&model, &options).unwrap_err();
        assert!(matches!(error, Error::Impossible { .. }));
        for word in words {
            assert!(error.to_string().contains(word), "{word} in: {error}");
        }
    };
    let base = CompileOptions::new(100);
    refused(
        CompileOptions {
            precision_bits: Some(60.0),
            ..base.clone()
        },
        &["60.0 bits", "--precision-bits"],
    );
    let little = CompileOptions {
        memory_bytes: Some(1 << 20),
        ..base.clone()
    };
    let error = compile(&model, &little).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
    refused(
        CompileOptions {
            ring_degree: Some(4096),
            precision_bits: Some(25.0),
            ..base
        },
        &["N = 4096", "--ring-degree"],
    );
}

#[test]
fn deeper_networks_take_larger_rings_and_one_rescale_each() {
    let mut last_log2_q = 0.0;
    for activations in [1, 2, 4, 8] {
        let plan = planned(&model(activations), &CompileOptions::new(1000));
        let server = &plan.server;
        let rescales = server
            .steps()
            .iter()
            .filter(|s| matches!(s.operation, Operation::Rescale { .. }))
            .count();
        assert!(
            rescales < activations || rescales == 0,
            "{activations} activations, {rescales} rescales"
        );
        assert_eq!(server.needs_evaluation_key(), activations > 1);
        let parameters = server.parameters();
        assert!(parameters.security_bits() >= 128);
        assert!(parameters.log2_q() > last_log2_q);
        last_log2_q = parameters.log2_q();
        assert!(server.estimate().precision_bits > 0.0);
    }
    assert!(last_log2_q > 214.0, "8 activations do not fit N = 2^13");
}

#[test]
fn more_precision_costs_more_modulus() {
    let model = model(3);
    let at = |bits| {
        let options = CompileOptions {
            precision_bits: Some(bits),
            ..CompileOptions::new(1000)
        };
        planned(&model, &options)
    };
    let (coarse, fine) = (at(4.0), at(14.0));
    assert!(fine.server.estimate().precision_bits >= 14.0);
    assert!(fine.server.parameters().log2_q() > coarse.server.parameters().log2_q() + 15.0);
}

#[test]
fn precision_is_measured_by_usual_images() {
    let bits = |usual: Option<f64>| {
        let mut model = model(2);
        let calibration = model.calibration.as_mut().unwrap();
        let largest = calibration.folded.last().unwrap().max_abs;
        calibration.usual_logit = usual.map(|share| share * largest);
        let plan = planned(&model, &CompileOptions::new(64));
        plan.server.estimate().precision_bits
    };
    // As before files had it.
    assert!((bits(None) - bits(Some(1.0))).abs() < 0.05);
    // One image in a hundred that explodes does not loosen what the others get.
    let found = bits(Some(1.0 / 64.0)) - bits(None);
    assert!((4.5..=8.0).contains(&found), "{found} bits more");
}

#[test]
fn the_client_half_holds_no_weights() {
    let plan = planned(&model(2), &without_check_images(10));
    let bytes = plan.client.to_bytes().unwrap();
    assert!(bytes.len() < 4096, "{} bytes", bytes.len());
    let read = ClientPlan::from_bytes(&bytes).unwrap();
    assert_eq!(read, plan.client);
    assert_eq!(read.plan(), plan.server.digest());
}

/// Rewrites one field of a plan's metadata with a valid digest: what a hostile author can do.
fn altered(
    bytes: &[u8],
    kind: sordino_container::Kind,
    change: impl Fn(&mut serde_json::Value),
) -> Vec<u8> {
    let limits = sordino_container::Limits {
        metadata_bytes: 1 << 20,
        payload_bytes: 1 << 30,
    };
    let mut contents =
        sordino_container::from_bytes::<serde_json::Value>(bytes, kind, limits).unwrap();
    change(&mut contents.metadata);
    sordino_container::to_bytes(kind, &contents.metadata, &contents.payload).unwrap()
}

#[test]
fn hostile_client_plans_are_refused() {
    let plan = planned(&model(2), &without_check_images(10));
    let bytes = plan.client.to_bytes().unwrap();
    let kind = sordino_container::Kind::ClientPlan;
    let refuse = |field: &str, value: serde_json::Value| {
        let bytes = altered(&bytes, kind, |m| {
            *m.pointer_mut(field).unwrap() = value.clone()
        });
        assert!(ClientPlan::from_bytes(&bytes).is_err(), "{field} = {value}");
    };
    // Weak parameters are refused by the client itself, whatever the server says.
    refuse("/parameters/ring_degree", 2048.into());
    let mut primes = plan.client.header.parameters.primes().to_vec();
    primes.extend(sordino_ring::primes_below(1 << 49, 1 << 15).take(6));
    refuse("/parameters/primes", primes.into());
    refuse("/parameters/primes", serde_json::json!([15]));
    refuse("/batch", 0.into());
    refuse("/blocks", 7.into());
    refuse("/input/features", 13.into());
    refuse("/input/limbs", 99.into());
    refuse("/input/scale", (-1.0).into());
    refuse("/output/components", 9.into());
    refuse("/output/logits", 0.into());
    refuse("/class_names", serde_json::json!(["one"]));
    refuse("/logit_range", serde_json::json!([3.0, 1.0]));
    refuse("/estimate/precision_bits", 1e9.into());
    refuse("/preprocess/std", serde_json::json!([0.0]));
    let unknown = altered(&bytes, kind, |m| m["extra"] = 1.into());
    assert!(ClientPlan::from_bytes(&unknown).is_err());
    refuse("/packing", "channel-wise".into());
    refuse("/packing", "auto".into());
    // Without check images a client plan is all metadata.
    let payload = sordino_container::to_bytes(kind, &plan.client, &[1]).unwrap();
    assert!(ClientPlan::from_bytes(&payload).is_err());
}

#[test]
fn hostile_positions_are_refused() {
    let options = CompileOptions {
        packing: Some(PackingKind::ChannelWise),
        ..without_check_images(10)
    };
    let plan = planned(&model(1), &options);
    let bytes = plan.client.to_bytes().unwrap();
    let kind = sordino_container::Kind::ClientPlan;
    let refuse = |field: &str, value: serde_json::Value| {
        let bytes = altered(&bytes, kind, |m| {
            *m.pointer_mut(field).unwrap() = value.clone()
        });
        assert!(ClientPlan::from_bytes(&bytes).is_err(), "{field} = {value}");
    };
    refuse("/packing", "element-wise".into());
    refuse("/channel", serde_json::Value::Null);
    refuse("/channel/slots", 3.into());
    refuse("/channel/slots", (1u64 << 40).into());
    refuse("/channel/rotations", serde_json::json!([0, 1]));
    refuse("/channel/rotations", serde_json::json!([2, 1]));
    refuse("/channel/rotations", serde_json::json!([1 << 20]));
    refuse("/channel/input/positions/3", 2.into());
    refuse("/channel/input/positions/3", u32::MAX.into());
    refuse("/channel/input/positions", serde_json::json!([]));
    refuse("/channel/input/period", 0.into());
    refuse("/channel/input/ciphertexts", 0.into());
    refuse("/channel/output/positions", serde_json::json!([1]));
    let bytes = plan.server.to_bytes().unwrap();
    let kind = sordino_container::Kind::ServerPlan;
    let refuse = |field: &str, value: serde_json::Value| {
        let bytes = altered(&bytes, kind, |m| {
            *m.pointer_mut(field).unwrap() = value.clone()
        });
        assert!(ServerPlan::from_bytes(&bytes).is_err(), "{field} = {value}");
    };
    refuse("/packing", "element-wise".into());
    refuse("/channel/slots", 3.into());
    refuse("/channel/plaintext_bits", 99.into());
    refuse("/channel/plaintext_bits", 1.into());
    refuse("/channel/layouts/0/period", 1.into());
    refuse("/channel/layouts", serde_json::json!([]));
    refuse(
        "/channel/schedules/0",
        serde_json::json!({"step": 1, "folded_from": 16}),
    );
    refuse("/channel/schedules/1", serde_json::Value::Null);
    refuse("/channel/schedules/1/step", 0.into());
}

#[test]
fn hostile_server_plans_are_refused() {
    let plan = planned(&model(2), &CompileOptions::new(10));
    let bytes = plan.server.to_bytes().unwrap();
    let kind = sordino_container::Kind::ServerPlan;
    let refuse = |field: &str, value: serde_json::Value| {
        let bytes = altered(&bytes, kind, |m| {
            *m.pointer_mut(field).unwrap_or_else(|| panic!("no {field}")) = value.clone();
        });
        assert!(ServerPlan::from_bytes(&bytes).is_err(), "{field} = {value}");
    };
    let last = plan.server.steps().len() - 1;
    refuse("/steps/1/elements", 1_000_000.into());
    refuse("/steps/1/elements", 0.into());
    refuse("/steps/1/scale", 12.0.into());
    refuse("/steps/1/components", 3.into());
    refuse("/steps/1/limbs", 1.into());
    refuse("/steps/1/operation/linear/terms/0/product/source", 1.into());
    refuse(
        "/steps/1/operation/linear/terms/0/product/inputs",
        11.into(),
    );
    refuse("/steps/1/operation/linear/terms", serde_json::json!([]));
    refuse("/steps/2/operation/square/source", 5000.into());
    refuse(&format!("/steps/{last}/name"), serde_json::json!({}));
    refuse(
        "/steps/0/operation",
        serde_json::json!({"relinearize": {"source": 0}}),
    );
    refuse("/steps", serde_json::json!([]));
    refuse("/output/logits", 3.into());
    // A payload cut short or too long is noticed even with a fresh digest.
    let limits = sordino_container::Limits {
        metadata_bytes: 1 << 20,
        payload_bytes: 1 << 30,
    };
    let contents =
        sordino_container::from_bytes::<serde_json::Value>(&bytes, kind, limits).unwrap();
    for payload in [
        &contents.payload[..contents.payload.len() - 1],
        &[&contents.payload[..], &[0]].concat(),
        &[],
    ] {
        let bytes = sordino_container::to_bytes(kind, &contents.metadata, payload).unwrap();
        assert!(ServerPlan::from_bytes(&bytes).is_err());
    }
}

/// Largest magnitude of a logit of images whose pixels are 0 or 255 at random, in the clear.
fn largest_of_extremes(model: &Model, count: usize) -> f64 {
    let elements = model.preprocess.elements();
    let mut state = 7u32;
    let mut bit = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 31) as f32
    };
    let images: Vec<f32> = (0..count * elements).map(|_| bit()).collect();
    let logits = sordino_graph::execute(&model.graph, &images, count).unwrap();
    logits
        .iter()
        .fold(0.0, |most: f64, logit| most.max(f64::from(logit.abs())))
}

#[test]
fn shallow_plans_contain_any_image_and_deep_ones_prove_nothing() {
    let options = CompileOptions::new(10).with_packing(PackingKind::ElementWise);
    let shallow = model(1);
    let plan = planned(&shallow, &options);
    let contained = plan.server.contained_images();
    let degree = plan.server.parameters().ring_degree();
    assert!((1..=degree).contains(&contained), "{contained}");
    assert_eq!(plan.client.header.contained_images, contained);
    // What was proven holds for any images: as many as that, each with the largest logit found, stay within the bound.
    let usual = shallow
        .calibration
        .as_ref()
        .unwrap()
        .folded
        .last()
        .unwrap()
        .max_abs;
    let largest = largest_of_extremes(&shallow, 20_000);
    assert!(contained as f64 * largest < plan.server.contained_logit(usual));
    let deep = planned(&model(7), &options);
    assert_eq!(deep.server.contained_images(), 0);
    // One image alone harms no other.
    let alone = CompileOptions::new(10).with_packing(PackingKind::ChannelWise);
    let alone = planned(&shallow, &alone);
    let expected = usize::from(alone.server.block_images() == 1);
    assert_eq!(alone.server.contained_images(), expected);
}

#[test]
fn plans_without_the_number_of_contained_images_claim_nothing() {
    let mut options = CompileOptions::new(10).with_packing(PackingKind::ElementWise);
    options.check_images = sordino_plan::CheckImageCount::Exactly(0);
    let client = planned(&model(1), &options).client;
    let mut json = serde_json::to_value(&client).unwrap();
    let degree = client.header.parameters.ring_degree();
    assert!(
        json.as_object_mut()
            .unwrap()
            .remove("contained_images")
            .is_some()
    );
    let old: ClientPlan = serde_json::from_value(json).unwrap();
    assert_eq!(old.header.contained_images, 0);
    assert_eq!(
        ClientPlan::from_bytes(&old.to_bytes().unwrap()).unwrap(),
        old
    );
    let mut wrong = client;
    wrong.header.contained_images = degree + 1;
    let error = ClientPlan::from_bytes(&wrong.to_bytes().unwrap()).unwrap_err();
    assert!(error.to_string().contains("contained images"), "{error}");
}
