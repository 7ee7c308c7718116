//! `sordino bench paper`: both packings of one network, the page, and what is done when it stops half-way.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chain::{committed_model, mnist};
use crate::fixture::{folder, listing, shared, sordino};
use crate::interruption::{ended, interrupt, start};

/// A folder with the digits' network, with and without one of channel quadratics beside it.
fn prepared(name: &str, channel: bool) -> PathBuf {
    let folder = folder(name);
    fs::create_dir(folder.join("models")).unwrap();
    let copy = |from: &Path, to: &str| {
        fs::copy(from, folder.join("models").join(to)).unwrap();
    };
    copy(
        &shared().join("model.safetensors"),
        "digits-digits.safetensors",
    );
    if channel {
        sordino(
            &folder,
            "train --data digits --arch digits --activation channel --epochs 4 --out models/digits-channel-digits.safetensors",
        )
        .good();
    }
    folder
}

const PAPER: &str = "bench paper --networks digits-digits --images 40 --batches 1,8,64,2000 --runs 2 --budget 1 --results results";

#[track_caller]
fn read(folder: &Path, file: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.join(file)).unwrap()).unwrap()
}

#[test]
fn both_packings_side_by_side_and_nothing_measured_twice() {
    let folder = prepared("paper", true);
    let records = sordino(&folder, &format!("{PAPER} --json")).good().json();
    let kept = listing(&folder.join("results"));
    assert!(kept.len() == 1 && kept[0].contains("-paper-"), "{kept:?}");
    assert_eq!(read(&folder.join("results"), &kept[0]), records);
    let records = records.as_array().unwrap();
    let column = |name: &str| -> Vec<Value> { records.iter().map(|r| r[name].clone()).collect() };
    assert_eq!(
        column("packing"),
        [
            "element-wise",
            "channel-wise",
            "channel-wise-filled",
            "channel-wise",
            "element-wise"
        ]
    );
    assert_eq!(
        column("activation"),
        ["element", "channel", "channel", "channel", "channel"]
    );
    assert_eq!(column("batch"), [40, 40, 40, 1, 40]);
    for (index, record) in records.iter().enumerate() {
        let number = |name: &str| {
            record[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{name}: {record}"))
        };
        let channel_wise = (1..=3).contains(&index);
        assert_eq!(number("rotations") > 0.0, channel_wise, "{record}");
        assert_eq!(number("agreement"), 1.0);
        assert!(number("peak_rss_bytes") > 1e6 && number("upload_bytes") > 0.0);
        assert!(!channel_wise || number("key_bytes") > 0.0);
        let amortized = number("evaluate_seconds") / number("images");
        assert!((number("amortized_seconds") / amortized - 1.0).abs() < 1e-9);
        // One image has no accuracy.
        assert_eq!(record["accuracy_encrypted"].is_null(), index == 3);
    }
    assert_eq!(records[1]["block_images"], 1, "one image a ciphertext");
    assert!(records[2]["block_images"].as_u64() > Some(1));
    assert!(records[3]["runs"].as_u64() >= Some(5));

    let report = read(&folder, "report/report.json");
    let page = fs::read_to_string(folder.join("report/report.html")).unwrap();
    assert_eq!(
        listing(&folder.join("report")),
        ["measured.json", "report.html", "report.json"]
    );
    assert_eq!(report["records"].as_array().unwrap(), records);
    assert_eq!(report["verdict"]["passed"], true);
    let ratios = report["amortized"].as_array().unwrap();
    let against: Vec<&str> = ratios
        .iter()
        .map(|ratio| ratio["against"].as_str().unwrap())
        .collect();
    assert_eq!(against, ["channel-wise", "channel-wise-filled"]);
    for ratio in ratios {
        let number = |name: &str| ratio[name].as_f64().unwrap();
        let factor = number("against_seconds") / number("amortized_seconds");
        assert!((number("factor") / factor - 1.0).abs() < 1e-9);
        assert!((number("below") - (1.0 - 1.0 / factor)).abs() < 1e-9);
        assert!(page.contains(&format!("<data value=\"{}\">", number("factor"))));
    }
    let points = report["sweep"].as_array().unwrap();
    assert_eq!(points.len(), 6);
    for point in points {
        assert!(point["total_seconds"].as_f64() > Some(0.0));
        let measured = point["measured"].as_bool().unwrap();
        assert_eq!(measured, point["images_run"] == point["batch"], "{point}");
        assert_eq!(measured, point["peak_rss_bytes"].is_u64(), "{point}");
    }
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("2000") && notes.contains("1797") && notes.contains("bench ablation"),
        "{notes}"
    );
    assert_eq!(report["confusion"]["counts"].as_array().unwrap().len(), 10);
    assert_eq!(report["samples"].as_array().unwrap().len(), 24);
    for part in [
        "Packings side by side",
        "Time over batch size",
        "channel-wise, one image per ciphertext",
        "a single image",
        "Confusion matrix",
    ] {
        assert!(page.contains(part), "no {part}");
    }

    // A second run measures nothing and says the same, as a table.
    let before = fs::read(folder.join("report/measured.json")).unwrap();
    let run = sordino(&folder, PAPER).good();
    assert!(run.stderr.contains("are not repeated"), "{run:?}");
    for part in ["below by", "factor", "images per block", "Note:"] {
        assert!(run.stdout.contains(part), "no {part} in {run:?}");
    }
    assert!(fs::read(folder.join("report/measured.json")).unwrap() == before);
    assert_eq!(
        read(&folder, "report/report.json")["records"],
        report["records"]
    );

    // Seeds of an ablation come from the newest record.
    let seed = |activation: &str, accuracy: f64| {
        serde_json::json!({"network": "digits", "dataset": "digits", "activation": activation,
            "distilled": true, "accuracy_plain": accuracy})
    };
    let seeds = [
        seed("element", 0.95),
        seed("element", 0.97),
        seed("channel", 0.94),
        seed("channel", 0.96),
    ];
    fs::write(
        folder.join("results/20200101-ablation-digits-abc.json"),
        serde_json::to_vec(&seeds).unwrap(),
    )
    .unwrap();
    let run = sordino(&folder, PAPER).good();
    assert!(run.stdout.contains("+1.00 points"), "{run:?}");
    let report = read(&folder, "report/report.json");
    assert_eq!(report["accuracy"].as_array().unwrap().len(), 2);
    // These are no records of this run.
    assert_eq!(report["records"].as_array().unwrap().len(), 5);

    // What is damaged is not believed, unless told to start over.
    fs::write(folder.join("report/measured.json"), "{}").unwrap();
    sordino(&folder, PAPER).refused(3, &["measured.json", "--force"]);
}

#[test]
fn an_interrupted_comparison_goes_on_where_it_was() {
    let folder = prepared("paper-interrupted", false);
    let kept = folder.join("report/measured.json");
    let child = start(&folder, PAPER);
    let began = Instant::now();
    while !kept.exists() {
        assert!(began.elapsed() < Duration::from_secs(300), "nothing kept");
        std::thread::sleep(Duration::from_millis(20));
    }
    interrupt(&child);
    let output = ended(child);
    // It may have been faster than the signal.
    if output.status.code() == Some(0) {
        return println!("skipped: it ended before it could be interrupted");
    }
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(listing(&folder.join("report")), ["measured.json"]);
    let first: Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    let first = first["finished"].as_object().unwrap();
    assert!(!first.is_empty());

    let run = sordino(&folder, PAPER).good();
    assert!(run.stderr.contains("are not repeated"), "{run:?}");
    let second: Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    let second = second["finished"].as_object().unwrap();
    assert!(second.len() > first.len());
    for (key, finished) in first {
        assert_eq!(&second[key], finished, "{key} was measured again");
    }
    // Without a network of channel quadratics the page says what was run instead.
    let notes = read(&folder, "report/report.json")["notes"].to_string();
    assert!(
        notes.contains("no digits-channel-digits.safetensors"),
        "{notes}"
    );
}

#[test]
fn what_cannot_be_compared() {
    let folder = folder("paper-refused");
    sordino(&folder, "bench paper --networks lenet")
        .refused(2, &["--networks lenet", "NETWORK-DATASET", "fashion-mnist"]);
    sordino(&folder, "bench paper --networks lenet-mnist")
        .refused(2, &["lenet-mnist.safetensors", "--models"]);
    sordino(&folder, "bench paper --images 1").refused(2, &["--images"]);
    fs::create_dir(folder.join("models")).unwrap();
    let model = shared().join("model.safetensors");
    fs::copy(&model, folder.join("models/digits-mnist.safetensors")).unwrap();
    sordino(&folder, "bench paper --networks digits-mnist").refused(
        2,
        &["digits-mnist.safetensors", "trained on digits", "rename"],
    );
    // A report of somebody else's is left alone.
    fs::copy(&model, folder.join("models/digits-digits.safetensors")).unwrap();
    fs::create_dir(folder.join("other")).unwrap();
    fs::write(folder.join("other/report.html"), "mine").unwrap();
    sordino(&folder, "bench paper --networks digits-digits --out other")
        .refused(2, &["report.html", "--out"]);
    assert_eq!(listing(&folder), ["models", "other"]);
}

#[test]
fn a_network_without_images_is_skipped_and_said_so() {
    let model = match (committed_model("mlp"), mnist()) {
        (Ok(model), _) => model,
        (Err(reason), _) => return println!("skipped: {reason}"),
    };
    let folder = prepared("paper-skips", false);
    fs::copy(model, folder.join("models/mlp-mnist.safetensors")).unwrap();
    fs::create_dir(folder.join("empty")).unwrap();
    let bench = "bench paper --data empty --images 2 --batches 1 --runs 1 --budget 1";
    sordino(&folder, &format!("{bench} --networks mlp-mnist"))
        .refused(2, &["no data set of any network", "skipped mlp-mnist"]);
    let run = sordino(
        &folder,
        &format!("{bench} --networks mlp-mnist,digits-digits"),
    )
    .good();
    assert!(run.stderr.contains("skipped mlp-mnist"), "{run:?}");
    let report = read(&folder, "report/report.json");
    assert!(
        report["notes"]
            .to_string()
            .contains("mlp-mnist was skipped")
    );
}
