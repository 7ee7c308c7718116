//! Deep networks of the usual kinds as teachers, from ONNX files to accuracy under encryption.
//!
//! `fixtures/teachers.py` made the files.

use std::fs;
use std::path::Path;

use sordino::data::digits;

use crate::fixture::{folder, sordino, write_pngs};

/// Points of accuracy that a student may lose, encryption included.
const LOSS: f64 = 0.03;

/// Distils a teacher on the training digits, classifies all test digits under encryption, and compares both with their labels.
fn check(name: &str, epochs: usize) {
    let folder = folder(name);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let teacher = fixtures.join(format!("{name}.onnx"));
    let run = |arguments: &str| sordino(&folder, arguments).good();
    let distilled = run(&format!(
        "distill --teacher {} --data digits --mean 0.306 --std 0.375 --input-range 0..16 --activation channel \
         --epochs {epochs} --out student --json",
        teacher.display()
    ))
    .json();
    let of_teacher = distilled["training"]["teacher"]["test_accuracy"]
        .as_f64()
        .unwrap();
    assert!(of_teacher > 0.95, "{name}: {of_teacher}");

    let test = digits().test;
    let labels = test.labels.clone().unwrap();
    write_pngs(&test, &folder.join("images"));
    run(&format!(
        "compile student --batch {} --out plan",
        labels.len()
    ));
    run("keygen --plan plan/client.plan --out keys");
    run("encrypt --plan plan/client.plan --key keys/secret.key --images images --out request");
    run(
        "evaluate --plan plan/server.plan --keys keys/evaluation.key --request request --out reply --memory 2GiB",
    );
    run(
        "decrypt --plan plan/client.plan --key keys/secret.key --reply reply --out predictions.csv",
    );
    let text = fs::read_to_string(folder.join("predictions.csv")).unwrap();
    let header: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let class = header.iter().position(|name| *name == "class").unwrap();
    let classes: Vec<u16> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(class).unwrap().parse().unwrap())
        .collect();
    assert_eq!(classes.len(), labels.len());
    let right = classes.iter().zip(&labels).filter(|(a, b)| a == b).count();
    let encrypted = right as f64 / labels.len() as f64;
    assert!(
        encrypted >= of_teacher - LOSS,
        "{name}: {encrypted} of the test images under encryption, {of_teacher} by the teacher"
    );
}

/// One after the other: each takes 2 GiB.
#[test]
fn residual_networks_and_inverted_residuals_keep_their_accuracy() {
    check("resnet", 30);
    check("mobilenet", 40);
}
