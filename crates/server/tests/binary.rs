//! The binary `sordino-server` evaluates what a client encrypted, and refuses what does not fit.

mod network;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sordino_client::{Client, Keys};
use sordino_container::Overwrite;
use sordino_plan::{CompileOptions, Plan};
use sordino_ring::backend;
use sordino_runtime::compile;
use sordino_runtime::evaluate_clear;

use network::Layer::{Activation, Dense};
use network::{images, model};

/// Rows and columns of an image.
const SIDE: usize = 2;
const COUNT: usize = 50;

/// Dense layers with `activations` quadratics between them; three of them relinearize.
fn plan(activations: usize) -> Plan {
    let dense = Dense { outputs: 4 };
    let layers = [vec![dense], [Activation, dense].repeat(activations)].concat();
    compile(
        &model("small", SIDE, &layers, COUNT),
        &CompileOptions::new(COUNT),
    )
    .unwrap()
}

/// Writes what a server gets into a folder.
fn send(folder: &Path, activations: usize) -> (Plan, Client, Keys) {
    let plan = plan(activations);
    let client = Client::new(plan.client.clone(), backend::select(None).unwrap()).unwrap();
    let keys = client.generate_keys().unwrap();
    plan.server
        .write(folder.join("server.plan"), Overwrite::Refuse)
        .unwrap();
    let request = client.encrypt(&keys.secret, &images(COUNT, SIDE)).unwrap();
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
    for activations in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let (plan, client, keys) = send(folder.path(), activations);
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
        let clear = evaluate_clear(&plan.server, &images(COUNT, SIDE), COUNT).unwrap();
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
