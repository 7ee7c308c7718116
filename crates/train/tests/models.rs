//! The committed model files: made by the recipes that they record, small, and as good as their page says, in float and in 8 bits.

use std::path::{Path, PathBuf};

use sordino_data::{SetName, open_named, prepare};
use sordino_graph::{Model, WeightFormat, execute, execute_folded, fold, quantize};
use sordino_train::{Architecture, TrainConfig};

const EIGHT_BITS: WeightFormat = WeightFormat {
    bits: 8,
    scale: None,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn load(architecture: &Architecture) -> Model {
    Model::load(root().join(format!("models/{architecture}-mnist.safetensors"))).unwrap()
}

#[test]
fn the_file_that_learnt_from_labels_records_the_default_recipe() {
    let architecture = Architecture::Mlp;
    let model = load(&architecture);
    let recorded: TrainConfig = serde_json::from_value(model.training["config"].clone()).unwrap();
    assert_eq!(recorded, TrainConfig::for_architecture(&architecture));
    assert_eq!(
        (model.name.as_str(), model.dataset.as_str()),
        (architecture.name(), "mnist")
    );
    assert!(model.calibration.is_some());
}

/// What a file under `recipes/` says, with the number of threads that a run had.
fn recipe(name: &str, threads: usize) -> TrainConfig {
    let path = root().join("recipes").join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let config: TrainConfig = toml::from_str(&text).unwrap();
    TrainConfig { threads, ..config }
}

#[test]
fn distilled_files_record_the_recipes_of_student_and_teacher() {
    // Files with a quadratic per channel are named after the network and that; one shares its teacher with the other file.
    for (name, file, dataset, teacher_file) in [
        ("cryptonets", "cryptonets", "mnist", "cryptonets"),
        ("cryptonets", "cryptonets-channel", "mnist", "cryptonets"),
        ("lenet", "lenet", "fashion-mnist", "lenet"),
        ("lenet", "lenet-channel", "fashion-mnist", "lenet-channel"),
        ("cnn6", "cnn6", "pneumoniamnist", "cnn6"),
        ("cnn6", "cnn6", "cifar-10", "cnn6"),
    ] {
        let model = Model::load(root().join(format!("models/{file}-{dataset}.safetensors")));
        let model = model.unwrap();
        assert_eq!(
            (model.name.as_str(), model.dataset.as_str()),
            (name, dataset)
        );
        let teacher = &model.training["teacher"]["training"];
        for (file, part, training) in [
            (file, "student", &model.training),
            (teacher_file, "teacher", teacher),
        ] {
            let recorded: TrainConfig = serde_json::from_value(training["config"].clone()).unwrap();
            let expected = recipe(&format!("{file}-{dataset}-{part}.toml"), recorded.threads);
            assert_eq!(recorded, expected, "{file}-{dataset}, {part}");
        }
    }
}

#[test]
fn every_file_stays_below_10_mb() {
    for file in std::fs::read_dir(root().join("models")).unwrap() {
        let file = file.unwrap();
        let bytes = file.metadata().unwrap().len();
        assert!(
            bytes < 10_000_000,
            "{} has {bytes} bytes, expected less than 10,000,000: ship a smaller network",
            file.path().display()
        );
    }
}

#[test]
fn float_and_8_bit_networks_classify_the_test_images() {
    let data = std::env::var_os("SORDINO_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let Ok(set) = open_named(Some(&data), SetName::Mnist) else {
        println!(
            "skipped: no MNIST in {}; set SORDINO_DATA to the folder that holds it",
            data.display()
        );
        return;
    };
    let labels = set.test.labels.as_deref().unwrap();
    for (architecture, least) in [
        (Architecture::Mlp, 0.981),
        (Architecture::CryptoNets, 0.9915),
    ] {
        let model = load(&architecture);
        let images = prepare(&set.test, &model.preprocess, None).unwrap();
        let float = execute(&model.graph, &images, labels.len()).unwrap();
        let float = classes(&float.into_iter().map(f64::from).collect::<Vec<_>>());
        let folded = fold(&model.graph).unwrap();
        let quantized =
            quantize(&folded, &vec![EIGHT_BITS; folded.linear_nodes().count()]).unwrap();
        let integer = classes(&execute_folded(&quantized, &images, labels.len()).unwrap());
        let accuracy = share(&float, labels);
        assert!(accuracy >= least, "{architecture}: {accuracy}");
        assert!(
            share(&integer, labels) >= accuracy - 0.001,
            "{architecture}: {}",
            share(&integer, labels)
        );
        assert!(
            share(&integer, &float) >= 0.995,
            "{architecture}: {}",
            share(&integer, &float)
        );
    }
}

fn classes(logits: &[f64]) -> Vec<u16> {
    let best = |row: &[f64]| {
        (0..10).fold(
            0,
            |best, class| if row[class] > row[best] { class } else { best },
        ) as u16
    };
    logits.chunks_exact(10).map(best).collect()
}

fn share(left: &[u16], right: &[u16]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter()
        .zip(right)
        .filter(|(left, right)| left == right)
        .count() as f64
        / left.len() as f64
}
