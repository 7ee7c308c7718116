//! Networks of other frameworks, from the file to predictions.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixture::{folder, sordino, test_digits, write_pngs};

/// A network of the importer's tests, with the file of its weights if it has one.
fn network(into: &Path, name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx/tests");
    for file in [format!("{name}.onnx"), format!("{name}.onnx.data")] {
        for stored in [
            tests.join("cases").join(&file),
            tests.join("zoo").join(&file),
        ] {
            if stored.exists() {
                fs::copy(stored, into.join(&file)).expect("a network");
            }
        }
    }
    into.join(format!("{name}.onnx"))
}

#[test]
fn one_sigmoid_is_two_classes_from_import_to_verify() {
    let folder = folder("import");
    network(&folder, "tc-binary-sigmoid");
    network(&folder, "seq.default");
    let run = |arguments: &str| sordino(&folder, arguments).good();
    let imported = run("import tc-binary-sigmoid.onnx --classes no,yes --out model --json").json();
    assert_eq!(imported["classes"], serde_json::json!(["no", "yes"]));
    assert_eq!(imported["to_replace"], 0);
    write_pngs(&test_digits(), &folder.join("images"));
    run("ranges model --data digits");
    run("compile model --batch 300 --precision-bits 12 --out plan");
    run("keygen --plan plan/client.plan --out keys");
    run("encrypt --plan plan/client.plan --key keys/secret.key --images images --out request");
    let keys = match folder.join("keys/evaluation.key").exists() {
        true => "--keys keys/evaluation.key",
        false => "",
    };
    run(&format!(
        "evaluate --plan plan/server.plan {keys} --request request --out reply"
    ));
    run(
        "decrypt --plan plan/client.plan --key keys/secret.key --reply reply --out predictions.csv",
    );
    let text = fs::read_to_string(folder.join("predictions.csv")).unwrap();
    let column = |name: &str| {
        text.lines()
            .next()
            .unwrap()
            .split(',')
            .position(|found| found == name)
            .unwrap()
    };
    let (label, p_0, p_1) = (column("label"), column("p_0"), column("p_1"));
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [no, yes] = [p_0, p_1].map(|at| cells[at].parse::<f64>().unwrap());
        assert!((no + yes - 1.0).abs() < 1e-4, "{line}");
        assert_eq!(cells[label], if yes > no { "yes" } else { "no" }, "{line}");
    }
    let verify = "verify --model model --plan plan/server.plan --images images --predictions predictions.csv";
    let found = run(&format!("{verify} --network tc-binary-sigmoid.onnx --json")).json();
    assert!(
        found["agreement_file"].as_f64().unwrap() >= 0.995,
        "{found}"
    );
    assert_eq!(found["passed"], true);
    sordino(&folder, &format!("{verify} --network seq.default.onnx"))
        .refused(3, &["no output", "linear"]);
}

#[test]
fn what_outputs_without_a_softmax_are_can_be_said() {
    let folder = folder("import-scores");
    network(&folder, "tc-binary-sigmoid");
    network(&folder, "seq.default");
    let output = |flags: &str| {
        let line = format!("import seq.default.onnx --out model --force --json {flags}");
        sordino(&folder, &line).good().json()["output"].clone()
    };
    assert_eq!(output(""), "raw");
    assert_eq!(output("--scores softmax"), "softmax");
    assert_eq!(output("--scores sigmoid"), "sigmoid");
    sordino(
        &folder,
        "import tc-binary-sigmoid.onnx --out other --scores sigmoid",
    )
    .refused(2, &["leave --scores out"]);
    sordino(
        &folder,
        "import seq.default.onnx --out other --scores probabilities",
    )
    .refused(2, &["softmax", "sigmoid", "raw"]);
}

#[test]
fn what_is_not_read_says_what_to_do_and_leaves_nothing() {
    let folder = folder("import-refused");
    for (name, parts) in [
        ("07-binarise", &["Cast", "whole numbers"][..]),
        ("28-two_outputs", &["(l, f)", "--output"]),
        (
            "28-nhw_input",
            &["Conv", "[batch, channels, height, width]"],
        ),
    ] {
        network(&folder, name);
        sordino(&folder, &format!("import {name}.onnx --out model")).refused(3, parts);
        assert!(!folder.join("model").exists(), "{name}");
    }
    sordino(&folder, "import 28-two_outputs.onnx --output l --out model").good();
    sordino(&folder, "import absent.onnx --out other").refused(5, &["absent.onnx"]);
    sordino(
        &folder,
        "import 28-two_outputs.onnx --output l --input-shape 8,8 --out other",
    )
    .refused(2, &["1,28,28"]);
}
