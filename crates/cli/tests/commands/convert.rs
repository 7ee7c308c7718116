//! `convert`: quadratics in place of activations, from files to a plan; and `bench ablation --frozen`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sordino::graph::{Model, Op};

use crate::fixture::{folder, listing, sordino, test_digits, write_pngs};
use crate::interruption::{ended, interrupt, start};

fn network() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/digits.onnx");
    path.display().to_string()
}

#[test]
fn an_exported_network_and_a_folder_without_labels_become_a_model_that_compiles() {
    let folder = folder("convert-onnx");
    write_pngs(&test_digits(), &folder.join("images"));
    let description = "--mean 0.306 --std 0.375 --input-range 0..16";
    let (network, convert) = (network(), "--data images --activation channel");
    let run = sordino(
        &folder,
        &format!("convert {network} {convert} {description} --out m.safetensors --json"),
    );
    let result = run.good().json();
    let difference = &result["difference"];
    assert_eq!(difference["images"], 30);
    assert!(difference["agreement"].as_f64().unwrap() >= 0.9, "{result}");
    for field in [
        "mean_logit_difference",
        "worst_logit_difference",
        "logit_deviation",
    ] {
        assert!(difference[field].as_f64().unwrap() > 0.0, "{result}");
    }
    let model = Model::load(folder.join("m.safetensors")).unwrap();
    assert!(model.calibration.as_ref().unwrap().input.is_some());
    // Weights are those of the file.
    let import = format!("import {network} {description} --out original.safetensors");
    sordino(&folder, &import).good();
    let original = Model::load(folder.join("original.safetensors")).unwrap();
    for (node, before) in model.graph.nodes().iter().zip(original.graph.nodes()) {
        let quadratic = matches!(node.op, Op::Quadratic { .. });
        assert_eq!(quadratic, before.op.kind() == "relu", "{}", node.name);
        assert!(quadratic || node.op == before.op, "{}", node.name);
    }
    sordino(&folder, "compile m.safetensors --batch 100 --out plan").good();
    // The same again, from a model file; another seed gives another network.
    let again = format!("convert original.safetensors {convert} --out");
    sordino(&folder, &format!("{again} again.safetensors")).good();
    let read = |name: &str| Model::load(folder.join(name)).unwrap().graph;
    assert_eq!(read("again.safetensors"), model.graph);
    sordino(&folder, &format!("{again} other.safetensors --seed 2")).good();
    assert_ne!(read("other.safetensors"), model.graph);
}

/// Squares of elements that are pooled together have very unlike factors here.
#[test]
fn quadratics_per_element_have_a_plan_of_either_packing() {
    let folder = folder("convert-element");
    let flags = "--activation element --epochs 0 --data digits --mean 0.306 --std 0.375 --input-range 0..16";
    let run = sordino(&folder, &format!("convert {} {flags} --out m", network())).good();
    assert!(!run.stderr.contains("were not tried"), "{run:?}");
    for packing in ["element-wise", "channel-wise"] {
        sordino(
            &folder,
            &format!("compile m --batch 100 --packing {packing} --out {packing}"),
        )
        .good();
    }
}

#[test]
fn a_network_that_is_far_from_its_original_is_reported_with_what_to_do() {
    let folder = folder("convert-far");
    let description = "--mean 0.306 --std 0.375 --input-range 0..16";
    // One quadratic per layer for 28 images, without training.
    let flags = "--activation layer --epochs 0 --images 36 --data digits --out m.safetensors";
    let run = sordino(
        &folder,
        &format!("convert {} {flags} {description} --json", network()),
    );
    let result = run.good().json();
    let agreement = result["difference"]["agreement"].as_f64().unwrap();
    assert_eq!(result["good"], agreement >= 0.95, "{result}");
    let text = sordino(
        &folder,
        &format!("convert {} {flags} {description} --force", network()),
    );
    let text = text.good().stdout;
    assert!(text.contains("images held back are in the class"), "{text}");
    assert_eq!(
        text.contains("sordino distill --teacher"),
        agreement < 0.95,
        "{text}"
    );
}

#[test]
fn what_cannot_be_converted_is_refused_and_nothing_is_written() {
    let folder = folder("convert-refusals");
    sordino(
        &folder,
        "train --data digits --arch digits --epochs 1 --out polynomial",
    )
    .good();
    let convert = |arguments: &str| sordino(&folder, &format!("convert {arguments}"));
    let files = listing(&folder);
    convert("polynomial --data digits --out new")
        .refused(3, &["no activation to convert", "sordino ranges"]);
    convert("polynomial --data digits --out polynomial").refused(2, &["exists already", "--force"]);
    convert("polynomial --data nowhere --out new").refused(2, &["nowhere"]);
    convert("polynomial --data digits --activation relu --out new")
        .refused(2, &["relu", "element"]);
    let few = format!(
        "{} --input-range 0..16 --data digits --images 20 --out new",
        network()
    );
    convert(&few).refused(3, &["at least 32 images", "20"]);
    assert_eq!(listing(&folder), files);
}

#[test]
fn an_interrupted_conversion_leaves_nothing() {
    let folder = folder("convert-interrupted");
    let long = "--input-range 0..16 --data digits --epochs 100000 --out model";
    let child = start(&folder, &format!("convert {} {long}", network()));
    std::thread::sleep(Duration::from_millis(1500));
    interrupt(&child);
    let output = ended(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(listing(&folder).is_empty(), "{:?}", listing(&folder));
}

#[test]
fn frozen_networks_are_compared_over_seeds_and_kept() {
    let folder = folder("ablation-frozen");
    fs::write(folder.join("c.toml"), "batch_norm = false\nepochs = 8\n").unwrap();
    let bench = "bench ablation --frozen --dataset digits --arch digits --config c.toml --seeds 2 --runs runs \
        --results results";
    let records = sordino(&folder, &format!("{bench} --json")).good().json();
    let records = records.as_array().unwrap();
    assert_eq!(records.len(), 8);
    for (record, activation) in records
        .iter()
        .zip(["relu", "layer", "channel", "element"].iter().cycle())
    {
        assert_eq!(record["activation"], *activation);
        assert_eq!(record["batch_norm"], false);
        assert_eq!(record["frozen"] == true, *activation != "relu", "{record}");
        assert!(record["accuracy_plain"].as_f64().unwrap() > 0.5, "{record}");
    }
    let models = listing(&folder.join("runs/digits-digits-no-batch-norm"));
    assert_eq!(models.len(), 8, "{models:?}");
    // What is there is not made again, and the table has the gains.
    let table = sordino(&folder, bench).good().stdout;
    for part in [
        "weights frozen",
        "element over channel",
        "element over layer",
        "2 seeds",
    ] {
        assert!(table.contains(part), "no {part:?} in {table}");
    }
    fs::write(folder.join("c.toml"), "batch_norm = false\nepochs = 9\n").unwrap();
    sordino(&folder, bench).refused(2, &["other settings", "--runs"]);
}
