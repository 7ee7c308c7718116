//! Training from files: layer lists, configurations, metrics, checkpoints, networks exported as ONNX.

use std::fs;
use std::path::Path;

use sordino::graph::{Filter, Model, Op, Preprocess, SizePolicy};
use sordino::plan::DEFAULT_WEIGHT_ERROR;

use crate::fixture::{copies, folder, listing, sordino};

const LIST: &str = r#"
name = "small"

[[layers]]
type = "convolution"
channels = 4
kernel = 3
padding = 1

[[layers]]
type = "residual"

[[layers.layers]]
type = "activation"

[[layers.layers]]
type = "convolution"
channels = 6
kernel = 3
stride = 2
padding = 1

[[layers]]
type = "activation"

[[layers]]
type = "average-pool"
kernel = 2

[[layers]]
type = "dense"

[training]
epochs = 7
batch = 32
seed = 5
activation = "channel"
"#;

#[test]
fn a_layer_list_with_a_residual_is_trained_as_its_file_and_the_flags_say() {
    let folder = folder("layer-list");
    fs::write(folder.join("small.toml"), LIST).unwrap();
    let train = "train --data digits --arch small.toml --epochs 2 --metrics m.jsonl --checkpoint c";
    sordino(&folder, &format!("{train} --out small.safetensors")).good();
    let model = Model::load(folder.join("small.safetensors")).unwrap();
    assert_eq!(model.name, "small");
    let config = &model.training["config"];
    for (field, expected) in [("epochs", 2), ("batch", 32), ("seed", 5)] {
        assert_eq!(config[field], expected, "{config}");
    }
    assert_eq!(config["activation"], "channel");
    let sums = model.graph.nodes().iter().filter(|node| node.op == Op::SUM);
    assert_eq!(sums.count(), 1);
    let metrics = fs::read_to_string(folder.join("m.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = metrics
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for (line, epoch) in lines.iter().zip(1..) {
        assert_eq!(line["epoch"], epoch);
        for field in [
            "loss",
            "train_accuracy",
            "validation_accuracy",
            "learning_rate",
        ] {
            assert!(line[field].is_f64(), "{field}: {line}");
        }
    }
    // The checkpoint of the finished run gives the same file, one of other settings is refused.
    sordino(&folder, &format!("{train} --out again.safetensors")).good();
    let read = |name: &str| Model::load(folder.join(name)).unwrap();
    assert_eq!(
        read("again.safetensors").graph,
        read("small.safetensors").graph
    );
    sordino(
        &folder,
        &format!("{train} --seed 6 --out other.safetensors"),
    )
    .refused(3, &["checkpoint c", "seed", "remove the file"]);
    assert!(!listing(&folder).contains(&"other.safetensors".to_string()));
}

#[test]
fn a_configuration_is_read_flags_override_it_and_mistakes_are_named() {
    let folder = folder("configuration");
    let config = "epochs = 9\nseed = 3\nactivation = \"layer\"\n[optimizer]\ntype = \"sgd\"\nmomentum = 0.5\n";
    fs::write(folder.join("c.toml"), config).unwrap();
    let train = "train --data digits --arch digits --config";
    sordino(
        &folder,
        &format!("{train} c.toml --epochs 1 --seed 4 --out m.safetensors"),
    )
    .good();
    let model = Model::load(folder.join("m.safetensors")).unwrap();
    let config = &model.training["config"];
    assert_eq!((&config["epochs"], &config["seed"]), (&1.into(), &4.into()));
    assert_eq!(config["activation"], "layer");
    assert_eq!(config["optimizer"]["momentum"], 0.5);
    fs::write(folder.join("typo.toml"), "epoch = 9\n").unwrap();
    sordino(&folder, &format!("{train} typo.toml --out n")).refused(3, &["typo.toml", "epoch"]);
}

#[test]
fn a_run_that_diverges_names_the_layer_and_leaves_the_best_epoch() {
    let folder = folder("divergence");
    let wild = "epochs = 60\nwarmup_epochs = 60.0\nlearning_rate = 10.0\ngradient_norm = 1e30\nweight_clip = 1e30\n\
        weight_decay = 0.0\nrange_penalty = 0.0\nbatch = 64\nvalidation = 0.0\n";
    fs::write(folder.join("wild.toml"), wild).unwrap();
    let run = sordino(
        &folder,
        "train --data digits --arch digits --config wild.toml --out best.safetensors",
    );
    assert_ne!(run.code, 0, "{run:?}");
    for part in [
        "diverged in epoch",
        "at layer",
        "lower the learning rate",
        "was kept",
    ] {
        assert!(run.stderr.contains(part), "no {part:?} in {run:?}");
    }
    let best = Model::load(folder.join("best.safetensors")).unwrap();
    assert!(best.calibration.is_some());
}

#[test]
fn ranges_are_recorded_anew_or_kept_and_integer_weights_tried() {
    let folder = copies("ranges", &["model.safetensors"]);
    let load = || Model::load(folder.join("model.safetensors")).unwrap();
    let before = load();
    let ranges = "ranges model.safetensors --data digits --json";
    let tried = |flags: &str| {
        let result = sordino(&folder, &format!("{ranges} {flags}")).good().json();
        let trials = result["integer_weights"].as_array().unwrap().clone();
        let last = trials.last().unwrap();
        assert!(last["agreement"].as_f64().unwrap() >= 0.995, "{result}");
        last["weight_error"].as_f64()
    };
    let error = tried("--weights-only");
    let mut expected = before.clone();
    if let Some(calibration) = &mut expected.calibration {
        calibration.weight_error = error.filter(|&error| error != DEFAULT_WEIGHT_ERROR);
    }
    assert_eq!(load(), expected);
    tried("--images 50");
    assert_eq!(load().calibration.unwrap().images, 50);
}

fn network() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/digits.onnx");
    path.display().to_string()
}

#[test]
fn an_exported_network_becomes_a_model_with_its_preprocessing_and_classes() {
    let folder = folder("import");
    let names = "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n";
    fs::write(folder.join("names.txt"), names).unwrap();
    let import = format!("import {} --out", network());
    let flags = "--mean 0.3 --std 0.4 --input-range 0..16";
    sordino(
        &folder,
        &format!("{import} m.safetensors {flags} --classes names.txt"),
    )
    .good();
    let model = Model::load(folder.join("m.safetensors")).unwrap();
    assert_eq!(model.classes[9], "nine");
    assert_eq!(model.preprocess.input_range, (0.0, 16.0));
    assert_eq!(
        (&model.preprocess.mean[..], &model.preprocess.std[..]),
        (&[0.3][..], &[0.4][..])
    );
    sordino(&folder, &format!("{import} n --mean 0.1,0.2")).refused(3, &["2 values", "1 channels"]);
    fs::write(
        folder.join("settings.toml"),
        "size = \"pad\"\nfilter = \"area\"\nmean = [0.3]\nstd = [0.4]\ninput_range = [0, 16]\n",
    )
    .unwrap();
    sordino(&folder, &format!("{import} p --preprocess settings.toml")).good();
    let padding = Model::load(folder.join("p")).unwrap().preprocess;
    let size = SizePolicy::Pad {
        filter: Filter::Area,
    };
    let expected = Preprocess {
        size,
        ..model.preprocess
    };
    assert_eq!(padding, expected);
    fs::remove_file(folder.join("p")).unwrap();
    sordino(
        &folder,
        &format!("{import} n --preprocess settings.toml --mean 0.3"),
    )
    .refused(2, &["--preprocess", "--mean"]);
    fs::write(folder.join("settings.toml"), "means = [0.3]\n").unwrap();
    sordino(&folder, &format!("{import} n --preprocess settings.toml"))
        .refused(3, &["settings.toml", "means"]);
    fs::remove_file(folder.join("settings.toml")).unwrap();
    let run = sordino(&folder, &format!("{import} n --classes a,b"));
    assert_ne!(run.code, 0, "{run:?}");
    fs::write(folder.join("no.onnx"), "no network").unwrap();
    sordino(&folder, "import no.onnx --out n").refused(3, &["ONNX"]);
    assert_eq!(listing(&folder), ["m.safetensors", "names.txt", "no.onnx"]);
}

#[test]
fn bench_accuracy_measures_model_files_plain_and_encrypted() {
    let folder = copies("bench-accuracy", &["model.safetensors"]);
    let records = sordino(
        &folder,
        "bench accuracy --models . --images 300 --encrypted --results results --json",
    )
    .good()
    .json();
    let record = &records[0];
    assert_eq!(
        (&record["dataset"], &record["images"]),
        (&"digits".into(), &300.into())
    );
    let share = |name: &str| {
        record[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {record}"))
    };
    assert!(share("accuracy_plain") > 0.9, "{record}");
    assert!(
        (share("accuracy_encrypted") - share("accuracy_plain")).abs() < 0.011,
        "{record}"
    );
    assert_eq!(listing(&folder.join("results")).len(), 1);
}
