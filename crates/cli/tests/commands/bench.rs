//! `sordino bench`: records, tables, and what it refuses.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sordino::ring::backend;

use crate::chain::{committed_model, mnist};
use crate::fixture::{folder, listing, shared, sordino};

/// The rows of a kernel on a back end.
fn rows<'a>(records: &'a [Value], kernel: &str, backend: &str) -> Vec<&'a Value> {
    records
        .iter()
        .filter(|record| record["kernel"] == kernel && record["backend"] == backend)
        .collect()
}

#[test]
fn bench_kernels_has_every_section_of_every_back_end() {
    let folder = folder("bench-kernels");
    let records = sordino(&folder, "bench kernels --quick --json")
        .good()
        .json();
    let kept = fs::read_to_string(
        folder
            .join("bench/results")
            .join(&listing(&folder.join("bench/results"))[0]),
    );
    assert_eq!(
        serde_json::from_str::<Value>(&kept.unwrap()).unwrap(),
        records
    );
    let records = records.as_array().unwrap();
    for backend in backend::available() {
        for (kernel, share) in [
            ("int8_peak", false),
            ("linear", true),
            ("ntt_forward", false),
            ("ntt_inverse", false),
            ("square_shifted", false),
            ("multiply_add", false),
        ] {
            let rows = rows(records, kernel, backend.name);
            assert!(!rows.is_empty(), "{}: no {kernel}", backend.name);
            assert!(
                rows.iter()
                    .all(|row| row["share_of_peak"].is_f64() == share)
            );
        }
        for shape in [
            "dense 128x784",
            "dense 100x845",
            "dense 10x100",
            "dense 512x512",
            "convolution 169x5x25",
            "dense 100x845, 16-bit weights",
        ] {
            let products = rows(records, "linear", backend.name);
            assert!(products.iter().any(|row| row["shape"] == shape), "{shape}");
        }
        for kernel in ["pack", "unpack", "expand_uniform"] {
            let found = rows(records, kernel, backend.name);
            assert!(!found.is_empty(), "no {kernel} of {}", backend.name);
        }
    }
    for record in records {
        assert_eq!(record["suite"], "kernels");
        let number = |name: &str| record[name].as_f64().unwrap();
        assert!(
            0.0 < number("min")
                && number("min") <= number("median")
                && number("median") <= number("max"),
            "{record}"
        );
        assert!(record["runs"] == 2 && record["unit"].is_string() && record["machine"].is_string());
    }

    let run = sordino(
        &folder,
        "bench kernels --quick --runs 1 --threads 1 --backend portable --results other",
    )
    .good();
    for title in [
        "Peak of byte",
        "Whole-layer",
        "Transform",
        "Residue by",
        "Expansion",
    ] {
        assert!(run.stdout.contains(title), "no {title} in {run:?}");
    }
    assert!(run.stderr.contains("wrote other/"), "{run:?}");
}

#[test]
fn a_measured_cost_table_is_accepted_by_compile() {
    let folder = folder("bench-calibrate");
    let result = sordino(&folder, "bench calibrate --runs 1 --json")
        .good()
        .json();
    assert_eq!(listing(&folder), ["cost.json"]);
    let text = fs::read_to_string(folder.join("cost.json")).unwrap();
    let table: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(result["table"], table);
    for cost in ["linear_gmacs", "ntt_us", "pointwise_ns", "expand_ns"] {
        let number = |part: &str| result[part][cost].as_f64().unwrap();
        let quotient = number("table") / number("default");
        assert!(
            (number("ratios") - quotient).abs() < 1e-9 * quotient,
            "{cost}"
        );
    }
    let model = shared().join("model.safetensors").display().to_string();
    sordino(
        &folder,
        &format!("compile {model} --batch 100 --cost cost.json --out plan"),
    )
    .good();

    sordino(&folder, "bench calibrate --runs 1")
        .refused(2, &["cost.json", "exists already", "--force"]);
    assert_eq!(fs::read_to_string(folder.join("cost.json")).unwrap(), text);
    let run = sordino(
        &folder,
        "bench calibrate --runs 1 --force --out ./cost.json",
    )
    .good();
    for part in ["linear_gmacs", "default", "ratio", "--cost ./cost.json"] {
        assert!(run.stdout.contains(part), "no {part} in {run:?}");
    }
    assert_eq!(listing(&folder), ["cost.json", "plan"]);
    sordino(&folder, "bench calibrate --out nowhere/cost.json").refused(5, &["nowhere"]);
}

#[test]
fn series_that_make_no_sense() {
    let folder = folder("bench-series");
    for blocks in ["0", "4..1", "0..2", "1..", "many"] {
        sordino(&folder, &format!("bench mnist --blocks {blocks}")).refused(
            2,
            &["--blocks", "expected a number of blocks", "1..4", blocks],
        );
    }
    sordino(&folder, "bench mnist --thread-scaling --threads 1")
        .refused(2, &["--thread-scaling", "--threads 2"]);
    assert!(listing(&folder).is_empty());
}

#[test]
fn bench_mnist_measures_a_committed_network_and_keeps_the_record() {
    let (data, model) = match (mnist(), committed_model("mlp")) {
        (Ok(images), Ok(model)) => (images.origin, model),
        (Err(reason), _) | (_, Err(reason)) => return println!("skipped: {reason}"),
    };
    let folder = folder("bench");
    let data = Path::new(&data).parent().unwrap().display().to_string();
    let models = model.parent().unwrap().display().to_string();
    let records = sordino(
        &folder,
        &format!("bench mnist --data {data} --models {models} --networks mlp --images 300 --runs 2 --json"),
    )
    .good()
    .json();
    let record = &records[0];
    assert_eq!(
        (&record["network"], &record["images"]),
        (&"mlp".into(), &300.into())
    );
    assert!(record["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
    assert_eq!(record["runs"], 2);
    let number = |name: &str| {
        record[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {record}"))
    };
    assert!(number("int8_gmacs") > 0.0 && number("linear_share_of_peak") > 0.0);
    assert!(
        record["convolution_share_of_peak"].is_null(),
        "mlp has none"
    );
    let products = number("evaluate_seconds") * number("int8_peak_gmacs");
    assert!((number("evaluate_peak_gproducts") / products - 1.0).abs() < 1e-9);
    let quotient = number("peak_rss_bytes") / number("upload_bytes");
    assert!((number("memory_over_request") / quotient - 1.0).abs() < 1e-9);
    let layers = record["layers"].as_array().unwrap();
    let dense: Vec<_> = layers
        .iter()
        .filter(|layer| layer["operation"] == "dense")
        .collect();
    assert_eq!(dense.len(), 2, "{layers:?}");
    assert!(dense.iter().all(|layer| layer["name"].is_string()
        && (layer["seconds"].is_null() || layer["share_of_peak"].is_f64())));
    assert!(layers.iter().any(|layer| layer["operation"] == "square"));
    let results = folder.join("bench/results");
    let kept = fs::read_to_string(results.join(&listing(&results)[0])).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&kept).unwrap(),
        records
    );
}

#[test]
fn bench_mnist_measures_series_over_blocks_and_threads() {
    let (data, model) = match (mnist(), committed_model("mlp")) {
        (Ok(images), Ok(model)) => (images.origin, model),
        (Err(reason), _) | (_, Err(reason)) => return println!("skipped: {reason}"),
    };
    let folder = folder("bench-scaling");
    let data = Path::new(&data).parent().unwrap().display().to_string();
    let models = model.parent().unwrap().display().to_string();
    let bench = format!(
        "bench mnist --data {data} --models {models} --networks mlp --images 100 --runs 1 --threads 2"
    );
    let records = sordino(
        &folder,
        &format!("{bench} --blocks 1..2 --thread-scaling --json"),
    )
    .good()
    .json();
    let records = records.as_array().unwrap();
    let column = |name: &str| -> Vec<Value> { records.iter().map(|r| r[name].clone()).collect() };
    let series = [
        Value::Null,
        "blocks".into(),
        "blocks".into(),
        "threads".into(),
        "threads".into(),
    ];
    assert_eq!(column("scaling"), series);
    assert_eq!(column("threads"), [2, 2, 2, 1, 2]);
    assert_eq!(column("blocks"), [1, 1, 2, 1, 1]);
    let degree = records[0]["ring_degree"].as_u64().unwrap();
    assert_eq!(column("images"), [100, degree, 2 * degree, 100, 100]);
    assert_eq!(records[3]["speedup"], 1.0);
    assert!(records[4]["speedup"].as_f64().unwrap() > 0.0);
    for record in records {
        let number = |name: &str| record[name].as_f64().unwrap();
        let amortized = number("evaluate_seconds") / number("images");
        assert!((number("amortized_seconds") / amortized - 1.0).abs() < 1e-9);
        assert!(number("amortized_seconds_min") <= number("amortized_seconds_max"));
        assert!(number("accuracy_encrypted") > 0.9 && number("agreement") > 0.99);
    }

    let run = sordino(
        &folder,
        &format!("{bench} --blocks 1 --layers --results text"),
    )
    .good();
    for part in [
        "x peak",
        "memory/upload",
        "mlp: steps",
        "dense",
        "(not in a step)",
        "mlp: full blocks",
    ] {
        assert!(run.stdout.contains(part), "no {part} in {run:?}");
    }
    assert!(
        !run.stdout.contains("flat within"),
        "nothing to compare: {run:?}"
    );
    sordino(&folder, &format!("{bench} --blocks 1..1000"))
        .refused(2, &["1000 full ciphertext blocks", "70000"]);
}

/// A residual network on a few images in CIFAR-10's format, evaluated in a process of its own in little memory.
#[test]
fn bench_cifar10_measures_a_process_of_its_own() {
    let folder = folder("bench-cifar10");
    let set = folder.join("data/cifar-10");
    fs::create_dir_all(&set).unwrap();
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    let files = (1..=5).map(|batch| format!("data_batch_{batch}.bin"));
    for name in files.chain(["test_batch.bin".to_owned()]) {
        let mut bytes = Vec::new();
        for class in (0..10u8).cycle().take(40) {
            bytes.push(class);
            // The brighter the higher the class.
            bytes.extend((0..3072).map(|_| (u32::from(class) * 20 + next() / 8) as u8));
        }
        fs::write(set.join(name), bytes).unwrap();
    }
    let layer = |text: &str| format!("[[layers]]\n{text}\n");
    let network = [
        "name = \"small\"\n".to_owned(),
        layer("type = \"convolution\"\nchannels = 2\nkernel = 4\nstride = 4"),
        layer("type = \"activation\""),
        layer(
            "type = \"residual\"\n[[layers.layers]]\ntype = \"convolution\"\nchannels = 2\nkernel = 3\npadding = 1\n[[layers.layers]]\ntype = \"activation\"",
        ),
        layer("type = \"dense\"\noutputs = 10"),
    ];
    fs::write(folder.join("small.toml"), network.concat()).unwrap();
    sordino(
        &folder,
        "train --data data/cifar-10 --arch small.toml --activation element --epochs 12 --out models/small-cifar-10.safetensors --quiet",
    )
    .refused(5, &["models"]);
    fs::create_dir(folder.join("models")).unwrap();
    sordino(
        &folder,
        "train --data data/cifar-10 --arch small.toml --activation element --epochs 12 --out models/small-cifar-10.safetensors --quiet",
    )
    .good();
    let bench = "bench cifar10 --data data --network small --folder .";
    let run = sordino(
        &folder,
        &format!("{bench} --images 30 --memory 2GiB --layers --json"),
    )
    .good();
    let record = &run.json()[0];
    for (field, expected) in [("images", 30), ("batch", 30), ("blocks", 1), ("runs", 1)] {
        assert_eq!(record[field], expected, "{field}: {record}");
    }
    assert!(record["peak_rss_bytes"].as_u64().unwrap() < 2 << 30);
    for field in [
        "keygen_seconds",
        "encrypt_seconds",
        "read_seconds",
        "evaluate_seconds",
    ] {
        assert!(record[field].as_f64().unwrap() > 0.0, "{field}: {record}");
    }
    assert!(record["upload_bytes"].as_u64().unwrap() > 3072 * 4096);
    assert!(record["agreement"].as_f64().unwrap() > 0.96);
    assert_eq!(record["accuracy_integer"], record["accuracy_encrypted"]);
    let layers = record["layers"].as_array().unwrap();
    assert!(
        layers.iter().all(|layer| layer["seconds"].is_f64()),
        "{record}"
    );
    let mut compared = 0;
    for layer in layers {
        let predicted = layer["predicted_bits"].as_f64().unwrap();
        if let Some(measured) = layer["measured_bits"].as_f64() {
            assert!((predicted - measured).abs() < 2.0, "{layer}");
            compared += 1;
        }
    }
    // Values inside a run of row operations are nowhere to be compared.
    assert!(compared >= 4, "{record}");
    assert_eq!(listing(&folder.join("bench/results")).len(), 1);
    // Nothing is left of plan, keys and request.
    assert_eq!(listing(&folder), ["bench", "data", "models", "small.toml"]);

    sordino(&folder, &format!("{bench} --memory 1M")).refused(4, &["MiB", "--memory"]);
    sordino(&folder, "bench cifar10 --data data --network none").refused(2, &["none-cifar-10"]);
}
