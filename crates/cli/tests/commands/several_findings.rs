//! Several findings per image, some labels missing: from training to checked decisions.

use std::fs;
use std::path::Path;

use sordino::data::{open_images, prepare};
use sordino::graph::{Model, OutputKind};
use sordino::{ClientPlan, Reference, ServerPlan};

use crate::fixture::{folder, sordino};
use crate::images::{npy, npz};

/// Side of an image.
const SIDE: usize = 8;

const NAMES: [&str; 3] = ["square", "bar", "checker"];

/// How often each finding is there, in 100 images. The last one is rare.
const FREQUENCIES: [u64; 3] = [45, 35, 8];

/// Numbers that look random (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Noise with a bright square somewhere at the top left, a bright bar in one of the last rows, a checker texture at the top right; and what
/// there is.
fn image(numbers: &mut Numbers) -> (Vec<u8>, [bool; 3]) {
    let mut pixels: Vec<u8> = (0..SIDE * SIDE).map(|_| numbers.below(60) as u8).collect();
    let found = FREQUENCIES.map(|frequency| numbers.below(100) < frequency);
    let [top, left, row, right] = [2, 2, 2, 2].map(|places| numbers.below(places) as usize);
    let mut add = |y: usize, x: usize, bright: u8| {
        let pixel = &mut pixels[y * SIDE + x];
        *pixel = pixel.saturating_add(bright);
    };
    for at in 0..9 {
        let (y, x) = (at / 3, at % 3);
        if found[0] {
            add(top + y, left + x, 120);
        }
        if found[2] && (y + x) % 2 == 0 {
            add(y, 4 + right + x, 150);
        }
    }
    for x in 0..SIDE {
        if found[1] {
            add(5 + row, x, 110);
        }
    }
    (pixels, found)
}

/// Images of a part, and their labels, of which about a tenth is missing.
fn part(count: usize, seed: u64) -> (Vec<u8>, Vec<Option<bool>>) {
    let mut numbers = Numbers(seed);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (image, found) = image(&mut numbers);
        pixels.extend(image);
        labels.extend(found.map(|label| (numbers.below(10) > 0).then_some(label)));
    }
    (pixels, labels)
}

/// A set whose training labels are floating-point numbers, and the others signed bytes.
fn write_set(path: &Path) {
    let mut arrays = Vec::new();
    for (images, labels, count, seed) in [
        ("train_images", "train_labels", 900, 1),
        ("val_images", "val_labels", 400, 2),
        ("test_images", "test_labels", 200, 3),
    ] {
        let (pixels, known) = part(count, seed);
        arrays.push((images, npy("|u1", &[count, SIDE, SIDE], &pixels)));
        let number = |label: Option<bool>| label.map(|label| f32::from(u8::from(label)));
        let marks: Vec<u8> = match labels {
            "train_labels" => {
                let floats = known.iter().map(|&label| number(label).unwrap_or(f32::NAN));
                floats.flat_map(f32::to_le_bytes).collect()
            }
            _ => known
                .iter()
                .map(|label| label.map_or(255, u8::from))
                .collect(),
        };
        let descr = if labels == "train_labels" {
            "<f4"
        } else {
            "|i1"
        };
        arrays.push((labels, npy(descr, &[count, NAMES.len()], &marks)));
    }
    npz(path, &arrays);
}

#[test]
fn several_findings_go_from_training_to_checked_decisions() {
    let folder = folder("several-findings");
    write_set(&folder.join("smallmnist.npz"));

    let shown = sordino(&folder, "data show smallmnist.npz --json").good();
    let train = &shown.json()["train"];
    assert_eq!(train["labels"], true);
    let sum = |field: &str, at: usize| train[field][at].as_u64().unwrap();
    assert!((30..120).contains(&sum("findings", 2)), "{train}");
    assert!((50..140).contains(&sum("unknown", 0)), "{train}");
    assert_eq!(shown.json()["classes"][2], "finding-2");

    fs::write(
        folder.join("c.toml"),
        "class_weights = \"balanced\"\nepochs = 12\nshift = 0\n",
    )
    .unwrap();
    let run = sordino(
        &folder,
        "train --data smallmnist.npz --arch digits --activation relu --config c.toml --classes square,bar,checker --metrics m.jsonl --out teacher.safetensors",
    )
    .good();
    assert!(run.stderr.contains("mean AUC"), "{run:?}");
    assert!(run.stdout.contains("finding checker: AUC"), "{run:?}");
    let metrics = fs::read_to_string(folder.join("m.jsonl")).unwrap();
    assert!(metrics.contains("validation_auc"), "{metrics}");

    let distilled = sordino(
        &folder,
        "distill --teacher teacher.safetensors --data smallmnist.npz --epochs 12 --shift 0 --balanced-sampling --out model.safetensors --json",
    )
    .good()
    .json();
    assert!(distilled["test_auc"].as_f64().unwrap() > 0.9, "{distilled}");
    assert_eq!(distilled["training"]["config"]["balanced_sampling"], true);
    assert!(distilled["training"]["teacher"]["test_auc"].is_f64());
    sordino(&folder, "ranges model.safetensors --data smallmnist.npz").good();

    // A set of other findings.
    let (pixels, _) = part(40, 4);
    let arrays: Vec<(&str, Vec<u8>)> = ["train", "val", "test"]
        .iter()
        .flat_map(|_| {
            [
                npy("|u1", &[40, SIDE, SIDE], &pixels),
                npy("|u1", &[40, 2], &[0, 1].repeat(40)),
            ]
        })
        .zip([
            "train_images",
            "train_labels",
            "val_images",
            "val_labels",
            "test_images",
            "test_labels",
        ])
        .map(|(array, name)| (name, array))
        .collect();
    npz(&folder.join("othermnist.npz"), &arrays);
    let of_other = "--data othermnist.npz";
    sordino(
        &folder,
        &format!("thresholds model.safetensors {of_other} --sensitivity 0.9"),
    )
    .refused(3, &["3 finding(s)", "2 labels"]);
    sordino(
        &folder,
        &format!("distill --teacher teacher.safetensors {of_other} --out s"),
    )
    .refused(3, &["3 ", "2 labels"]);

    let chosen = sordino(
        &folder,
        "thresholds model.safetensors --data smallmnist.npz --sensitivity 0.9 --json",
    )
    .good()
    .json();
    assert_eq!(chosen["operating_points"].as_array().unwrap().len(), 3);
    let known = |at: usize| {
        let count = |field: &str| chosen["findings"][at][field].as_u64().unwrap();
        count("positives") + count("negatives")
    };
    assert!((0..3).all(|at| known(at) < 400), "{chosen}");

    sordino(&folder, "compile model.safetensors --batch 200 --out plan").good();
    let client = ClientPlan::read(folder.join("plan/client.plan")).unwrap();
    let points = client.operating_points.unwrap();
    assert_eq!(
        serde_json::to_value(&points.points).unwrap(),
        chosen["operating_points"]
    );
    assert_eq!(client.class_names, NAMES);

    sordino(
        &folder,
        "encrypt --plan plan/client.plan --images smallmnist.npz:test_images --unusual keep --out request",
    )
    .good();
    let keys = match folder.join("request.evaluation.key").exists() {
        true => "--keys request.evaluation.key",
        false => "",
    };
    sordino(
        &folder,
        &format!("evaluate --plan plan/server.plan {keys} --request request --out reply"),
    )
    .good();
    sordino(
        &folder,
        "decrypt --plan plan/client.plan --key request.key --reply reply --out predictions.csv",
    )
    .good();
    let checked = sordino(
        &folder,
        "verify --model model.safetensors --plan plan/server.plan --images smallmnist.npz:test_images --predictions predictions.csv --report checked.html --json",
    )
    .good()
    .json();
    for (at, name) in NAMES.iter().enumerate() {
        assert_eq!(checked["decisions"][at]["unexplained"], 0, "{checked}");
        let measured = &checked["findings"][at];
        assert_eq!(measured["name"], *name);
        assert!(measured["auc"].as_f64().unwrap() >= 0.9, "{measured}");
        assert!(measured["sensitivity"].is_f64(), "{measured}");
    }
    assert_eq!(checked["accuracy_plain"], serde_json::Value::Null);
    let html = fs::read_to_string(folder.join("checked.html")).unwrap();
    assert!(
        NAMES
            .iter()
            .all(|name| html.contains(&format!("Finding: {name}")))
    );

    decisions_are_those_of_the_clear_engine(&folder);

    // Without the columns of decisions they follow from the probabilities. Turned decisions are found.
    let verify = "verify --model model.safetensors --plan plan/server.plan --images smallmnist.npz:test_images --predictions";
    let text = fs::read_to_string(folder.join("predictions.csv")).unwrap();
    let change = |name: &str, change: fn(usize, &mut Vec<String>)| {
        let changed = text.lines().enumerate().map(|(line, text)| {
            let mut fields: Vec<String> = text.split(',').map(str::to_owned).collect();
            change(line, &mut fields);
            fields.join(",") + "\n"
        });
        fs::write(folder.join(name), changed.collect::<String>()).unwrap();
        sordino(&folder, &format!("{verify} {name}"))
    };
    let run = change("short.csv", |_, fields| fields.truncate(fields.len() - 15)).good();
    assert!(
        run.stdout
            .contains("200 images, with several findings each"),
        "{run:?}"
    );
    assert!(
        run.stdout
            .contains("finding checker: 100.00 % of the decisions"),
        "{run:?}"
    );
    let run = change("turned.csv", |line, fields| {
        let at = fields.len() - 3;
        if line > 0 {
            fields[at] = if fields[at] == "0" { "1" } else { "0" }.to_owned();
        }
    });
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("finding checker: 0.00 %"), "{run:?}");
}

/// Compares every decision in the table with the sign of the clear engine's logit against the threshold, but where rounding may decide.
fn decisions_are_those_of_the_clear_engine(folder: &Path) {
    let model = Model::load(folder.join("model.safetensors")).unwrap();
    assert_eq!(model.output, OutputKind::Sigmoid);
    let plan = ServerPlan::read(folder.join("plan/server.plan")).unwrap();
    let path = format!("{}:test_images", folder.join("smallmnist.npz").display());
    let images = open_images(path).unwrap();
    let prepared = prepare(&images, &model.preprocess, None).unwrap();
    let reference = Reference::compute(&model, &plan, &prepared).unwrap();
    let points = model.operating_points.as_ref().unwrap();

    let text = fs::read_to_string(folder.join("predictions.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |name: String| header.iter().position(|field| *field == name).unwrap();
    let rows: Vec<Vec<&str>> = lines.collect();
    assert_eq!(rows.len(), 200);
    for (class, name) in NAMES.iter().enumerate() {
        let decision = column(format!("decision_{name}"));
        let close = column(format!("close_{name}"));
        let mut found = 0;
        for (row, logits) in rows.iter().zip(reference.integer().chunks_exact(3)) {
            let expected = points.of(class).unwrap().decides(logits[class]);
            if row[close] == "0" {
                assert_eq!(
                    row[decision],
                    if expected { "1" } else { "0" },
                    "{name}: {row:?}"
                );
            }
            found += usize::from(row[decision] == "1");
        }
        let close = rows.iter().filter(|row| row[close] == "1").count();
        assert!(
            (5..150).contains(&found) && close < 10,
            "{name}: {found} {close}"
        );
    }
}
