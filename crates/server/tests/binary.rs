//! The binary `sordino-server` evaluates what a client encrypted, and refuses what does not fit.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sordino_client::{Client, Keys};
use sordino_container::Overwrite;
use sordino_graph::{
    Granularity, Graph, Model, Op, OutputKind, Preprocess, Shape, SizePolicy, Tensor, calibrate,
};
use sordino_plan::{CompileOptions, Plan, compile};
use sordino_ring::backend;
use sordino_runtime::evaluate_clear;

const FEATURES: usize = 4;
const COUNT: usize = 50;

fn images() -> Vec<f32> {
    (0..COUNT * FEATURES)
        .map(|i| (i * 37 % 101) as f32 / 101.0)
        .collect()
}

/// Two layers with a quadratic between them on images of 2 x 2 pixels; with `layers` quadratics it relinearizes.
fn plan(layers: usize) -> Plan {
    let mut graph = Graph::builder(Shape::map(1, 2, 2));
    let mut x = graph.push("input", Op::Input, &[]);
    x = graph.push("flatten", Op::Flatten, &[x]);
    for layer in 0..=layers {
        let weights = (0..16)
            .map(|i| ((i * 7 + layer) % 5) as f32 / 5.0 - 0.4)
            .collect();
        let weight = Tensor::new(&[4, 4], weights).unwrap();
        let dense = Op::Dense {
            weight,
            bias: vec![0.1; 4],
        };
        x = graph.push(format!("dense{layer}"), dense, &[x]);
        if layer < layers {
            let (a, b, c) = (vec![0.2], vec![0.5], vec![0.2]);
            let quadratic = Op::Quadratic {
                granularity: Granularity::Layer,
                a,
                b,
                c,
            };
            x = graph.push(format!("activation{layer}"), quadratic, &[x]);
        }
    }
    let mut model = Model {
        graph: graph.finish().unwrap(),
        preprocess: Preprocess {
            channels: 1,
            height: 2,
            width: 2,
            size: SizePolicy::Refuse,
            input_range: (0.0, 1.0),
            mean: vec![0.0],
            std: vec![1.0],
            allowed: (0.0, 1.0),
        },
        classes: (0..4).map(|class| class.to_string()).collect(),
        output: OutputKind::Raw,
        name: "small".into(),
        dataset: "random".into(),
        calibration: None,
        training: serde_json::Value::Null,
    };
    model.calibration = Some(calibrate(&model, &images(), COUNT, &mut |_| ()).unwrap());
    compile(&model, &CompileOptions::new(COUNT)).unwrap()
}

/// Writes what a server gets into a folder.
fn send(folder: &Path, layers: usize) -> (Plan, Client, Keys) {
    let plan = plan(layers);
    let client = Client::new(plan.client.clone(), backend::select(None).unwrap()).unwrap();
    let keys = client.generate_keys().unwrap();
    plan.server
        .write(folder.join("server.plan"), Overwrite::Refuse)
        .unwrap();
    let request = client.encrypt(&keys.secret, &images()).unwrap();
    request
        .write_file(folder.join("request"), Overwrite::Refuse)
        .unwrap();
    if let Some(key) = &keys.evaluation {
        key.write_file(folder.join("evaluation.key"), Overwrite::Refuse)
            .unwrap();
    }
    (plan, client, keys)
}

fn server(folder: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sordino-server"));
    command
        .current_dir(folder)
        .env_remove("SORDINO_BACKEND")
        .args(arguments.split_whitespace());
    command.output().unwrap()
}

#[test]
fn replies_decrypt_to_the_clear_scores() {
    for layers in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let (plan, client, keys) = send(folder.path(), layers);
        let flags = if keys.evaluation.is_some() {
            "--keys evaluation.key"
        } else {
            ""
        };
        let line = format!(
            "evaluate --plan server.plan {flags} --request request --out reply --json --trace trace.json"
        );
        let output = server(folder.path(), &line);
        assert!(output.status.success(), "{output:?}");
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["images"], COUNT);
        assert!(result["evaluate_seconds"].as_f64().unwrap() > 0.0);
        let reply = folder.path().join("reply");
        assert_eq!(result["reply_bytes"], fs::metadata(&reply).unwrap().len());
        let (predictions, _) = client.decrypt_file(&keys.secret, &reply).unwrap();
        let clear = evaluate_clear(&plan.server, &images(), COUNT).unwrap();
        let unit = f64::from(-predictions.released_bits()).exp2();
        for (found, expected) in predictions.logits().iter().zip(&clear) {
            assert!(
                (found - expected).abs() <= 0.75 * unit,
                "{found} {expected} {unit}"
            );
        }
        let trace = fs::read_to_string(folder.path().join("trace.json")).unwrap();
        let trace: serde_json::Value = serde_json::from_str(&trace).unwrap();
        // One entry a step, expanding the input among them.
        assert_eq!(
            trace["steps"].as_array().unwrap().len(),
            plan.server.steps().len()
        );
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_right_code() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, keys) = send(folder.path(), 3);
    assert!(
        keys.evaluation.is_some(),
        "three quadratics need relinearization"
    );
    let good = "evaluate --plan server.plan --keys evaluation.key --request request";
    fs::write(folder.path().join("taken"), "precious").unwrap();
    for (arguments, code, part) in [
        (
            "evaluate --plan server.plan --request request --out reply".to_owned(),
            2,
            "--keys",
        ),
        (format!("{good} --out taken"), 2, "exists already"),
        (format!("{good} --out reply --memory 1K"), 4, "--memory"),
        (format!("{good} --out reply --backend abacus"), 2, "abacus"),
        (format!("{good} --out nowhere/reply"), 5, "folder exists"),
        (
            "evaluate --plan request --keys evaluation.key --request request --out reply"
                .to_owned(),
            3,
            "server plan",
        ),
        (
            "evaluate --plan server.plan --keys request --request request --out reply".to_owned(),
            3,
            "evaluation key",
        ),
        (
            "evaluate --plan missing --request request --out reply".to_owned(),
            5,
            "missing",
        ),
        ("evaluate --plan server.plan".to_owned(), 2, "Usage"),
    ] {
        let output = server(folder.path(), &arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {text}");
        assert!(text.contains(part), "{arguments}: {text}");
    }
    assert_eq!(fs::read(folder.path().join("taken")).unwrap(), b"precious");
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["evaluation.key", "request", "server.plan", "taken"]);
}
