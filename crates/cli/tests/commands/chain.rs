//! From images to predictions in separate commands and folders.

use std::fs;
use std::path::{Path, PathBuf};

use sordino::data::{Images, Pixels, SetName, open_named};

use crate::fixture::{IMAGES, PRECISION, folder, listing, shared, sordino, test_digits};

/// Rows of a CSV without quotes, header first.
fn csv(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}

fn share_right(rows: &[Vec<String>], labels: &[u16]) -> f64 {
    assert_eq!(rows.len(), labels.len() + 1);
    let right = rows[1..]
        .iter()
        .zip(labels)
        .filter(|(row, label)| row[2] == label.to_string());
    right.count() as f64 / labels.len() as f64
}

#[test]
fn a_folder_of_pictures_is_classified_without_the_server_seeing_them() {
    let shared = shared();
    assert!(
        !listing(&shared.join("server"))
            .iter()
            .any(|name| name.contains("secret"))
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |file: &str| {
            fs::metadata(shared.join(file))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode("keys/secret.key"), 0o600);
        assert_eq!(mode("predictions.csv"), 0o600);
    }
    let rows = csv(&shared.join("predictions.csv"));
    let mut header = vec!["index", "name", "class", "label"];
    let columns: Vec<String> = ["p", "logit"]
        .iter()
        .flat_map(|c| (0..10).map(move |k| format!("{c}_{k}")))
        .collect();
    header.extend(columns.iter().map(String::as_str));
    header.extend(["out_of_range", "status"]);
    assert_eq!(rows[0], header);
    for (index, row) in rows[1..].iter().enumerate() {
        assert_eq!(row[0], index.to_string());
        assert_eq!(row[1], format!("scan-{index:05}.png"));
        assert_eq!(row[2], row[3], "a digit's class is its name");
        let sum: f64 = row[4..14].iter().map(|p| p.parse::<f64>().unwrap()).sum();
        // Each has nine digits.
        assert!((sum - 1.0).abs() < 1e-8, "{sum}");
        // What is released is rounded: a multiple of a power of two, and the class follows from it.
        let logits: Vec<f64> = row[14..24].iter().map(|l| l.parse().unwrap()).collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(logits[row[2].parse::<usize>().unwrap()], largest);
    }
    let accuracy = share_right(&rows, test_digits().labels.as_deref().unwrap());
    assert!(accuracy > 0.9, "{accuracy}");
}

#[test]
fn verify_agrees_and_finds_wrong_predictions() {
    let shared = shared();
    let verify = |predictions: &str| {
        sordino(
            shared,
            &format!(
                "verify --model model.safetensors --plan plan/server.plan --images images --predictions {predictions} --json"
            ),
        )
    };
    let result = verify("predictions.csv").good().json();
    assert_eq!(result["images"], IMAGES);
    assert_eq!(result["passed"], true);
    assert!(result["agreement"].as_f64().unwrap() >= 0.999);
    assert!(result["agreement_float"].as_f64().unwrap() >= 0.995);
    let unit = result["released_unit"].as_f64().unwrap();
    let worst = result["worst_logit_difference"].as_f64().unwrap();
    // Rounding alone moves some logit of 3,000 by nearly half a unit, and noise adds little.
    assert!(
        (0.4 * unit..=0.75 * unit).contains(&worst),
        "{worst} of a unit of {unit}"
    );
    assert!(
        result["accuracy_plain"].is_null(),
        "a folder of pictures has no labels"
    );

    let text = fs::read_to_string(shared.join("predictions.csv")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines[1..4] {
        let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        let class: usize = fields[2].parse().unwrap();
        fields[2] = ((class + 1) % 10).to_string();
        *line = fields.join(",");
    }
    let wrong = folder("verify").join("wrong.csv");
    fs::write(&wrong, lines.join("\n")).unwrap();
    let run = verify(&wrong.display().to_string());
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(run.json()["passed"], false);
    assert!(run.stderr.contains("do not match"), "{run:?}");
}

#[test]
fn predictions_as_json_hold_the_same() {
    let shared = shared();
    let out = folder("json").join("predictions.json");
    let run = sordino(
        shared,
        &format!(
            "decrypt --plan plan/client.plan --key keys/secret.key --reply server/reply --json --out {}",
            out.display()
        ),
    )
    .good();
    assert_eq!(run.json()["images"], IMAGES);
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&fs::read_to_string(&out).unwrap()).unwrap();
    let table = csv(&shared.join("predictions.csv"));
    assert_eq!(rows.len() + 1, table.len());
    for (row, line) in rows.iter().zip(&table[1..]) {
        assert_eq!(row["class"].to_string(), line[2]);
        assert_eq!(row["name"], line[1].as_str());
        assert!(row.get("logits").is_none(), "logits were not asked for");
        let probability: f64 = line[7].parse().unwrap();
        assert_eq!(row["probabilities"][3], probability);
        assert_eq!(row["status"], *line.last().unwrap());
    }
}

#[test]
fn a_batch_may_be_smaller_than_the_plans() {
    let shared = shared();
    let folder = folder("small-batch");
    let at = |file: &str| shared.join(file).display().to_string();
    crate::fixture::write_pngs(&test_digits().split_at(7).0, &folder.join("images"));
    let (plan, key) = (at("plan/client.plan"), at("keys/secret.key"));
    sordino(
        &folder,
        &format!("encrypt --plan {plan} --key {key} --images images --out request"),
    )
    .good();
    let keys = match shared.join("keys/evaluation.key") {
        path if path.exists() => format!("--keys {}", path.display()),
        _ => String::new(),
    };
    let server = at("plan/server.plan");
    sordino(
        &folder,
        &format!("evaluate --plan {server} {keys} --request request --out reply"),
    )
    .good();
    sordino(
        &folder,
        &format!("decrypt --plan {plan} --key {key} --reply reply --out out.csv"),
    )
    .good();
    let few = csv(&folder.join("out.csv"));
    let all = csv(&shared.join("predictions.csv"));
    assert_eq!(few.len(), 8);
    for (few, all) in few[1..].iter().zip(&all[1..]) {
        assert_eq!(few[..3], all[..3]);
    }
}

fn idx(images: &Images) -> Vec<u8> {
    let Pixels::U8(pixels) = &images.pixels else {
        panic!("8-bit images")
    };
    let mut bytes = vec![0, 0, 8, 3];
    for size in [images.len(), images.height, images.width] {
        bytes.extend_from_slice(&(size as u32).to_be_bytes());
    }
    bytes.extend_from_slice(pixels);
    bytes
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// MNIST's test images, or a reason why there are none.
pub(crate) fn mnist() -> Result<Images, String> {
    let given = std::env::var_os("SORDINO_DATA").map(PathBuf::from);
    let data = given.unwrap_or_else(|| workspace().join("../shared/data"));
    open_named(Some(&data), SetName::Mnist)
        .map(|set| set.test)
        .map_err(|error| error.to_string())
}

/// A committed model, or a reason why there is none.
pub(crate) fn committed_model(network: &str) -> Result<PathBuf, String> {
    let path = workspace().join(format!("models/{network}-mnist.safetensors"));
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("no {}", path.display()))
    }
}

#[test]
fn mnist_images_in_idx_form_without_labels() {
    let (images, model) = match (mnist(), committed_model("mlp")) {
        (Ok(images), Ok(model)) => (images.split_at(500).0, model.display().to_string()),
        (Err(reason), _) | (_, Err(reason)) => return println!("skipped: {reason}"),
    };
    let folder = folder("mnist");
    fs::write(folder.join("unlabelled-idx3-ubyte"), idx(&images)).unwrap();
    let good = |arguments: &str| sordino(&folder, arguments).good();
    good(&format!(
        "compile {model} --batch 500 {PRECISION} --out plan"
    ));
    good("keygen --plan plan/client.plan --out keys");
    good(
        "encrypt --plan plan/client.plan --key keys/secret.key --images unlabelled-idx3-ubyte --out request",
    );
    let keys = if folder.join("keys/evaluation.key").exists() {
        "--keys keys/evaluation.key"
    } else {
        ""
    };
    good(&format!(
        "evaluate --plan plan/server.plan {keys} --request request --out reply"
    ));
    good("decrypt --plan plan/client.plan --key keys/secret.key --reply reply --out out.csv");
    good(&format!(
        "verify --model {model} --plan plan/server.plan --images unlabelled-idx3-ubyte --predictions out.csv"
    ));
    let rows = csv(&folder.join("out.csv"));
    assert_eq!(rows[1][1], "", "IDX files name no images");
    let accuracy = share_right(&rows, images.labels.as_deref().unwrap());
    assert!(accuracy > 0.95, "{accuracy}");
}

#[test]
fn the_demo_is_good_and_gives_a_record() {
    let folder = folder("demo");
    let records = sordino(&folder, "demo --json").good().json();
    let record = &records[0];
    assert_eq!(record["network"], "digits");
    assert_eq!(record["images"], 4096);
    assert_eq!(record["dataset"], "digits");
    let number = |name: &str| {
        record[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {record}"))
    };
    assert!(number("accuracy_encrypted") >= 0.95);
    assert!(number("agreement") >= 0.998);
    assert!(number("security_bits") >= 128.0);
    for name in [
        "accuracy_plain",
        "accuracy_integer",
        "evaluate_seconds",
        "amortized_seconds",
        "upload_bytes",
        "reply_bytes",
        "worst_logit_error",
        "ring_degree",
        "log2_qp",
    ] {
        assert!(number(name) > 0.0, "{name}: {record}");
    }
    assert!(listing(&folder).is_empty(), "the demo needs no files");
}

/// A hospital's way with embedded radiographs: everything that a later command needs is left in the folder.
#[test]
fn the_clinic_demo_leaves_answers_and_pages() {
    let folder = folder("demo-clinic");
    let record = sordino(&folder, "demo --clinic --json --out clinic")
        .good()
        .json();
    let finding = &record["findings"][0];
    assert_eq!(finding["name"], "pneumonia", "{finding}");
    let rows = csv(&folder.join("clinic/predictions.csv"));
    let position = |name: &str| rows[0].iter().position(|column| column == name).unwrap();
    let (status, decision) = (position("status"), position("decision_pneumonia"));
    let answered = rows[1..].iter().filter(|row| row[status] == "ok");
    assert!(answered.clone().count() >= 622, "one image may be unusual");
    let found = answered.filter(|row| row[decision] == "1").count();
    assert!((350..=390).contains(&found), "{found} of 390 radiographs");
    for page in ["check.html", "answers.html"] {
        let text = fs::read_to_string(folder.join("clinic").join(page)).unwrap();
        assert!(text.contains("pneumonia"), "{page}");
    }
    let check = fs::read_to_string(folder.join("clinic/check.html")).unwrap();
    assert!(check.contains("ROC"), "the page has curves");
    // A second time into the same folder: nothing is replaced without --force.
    sordino(&folder, "demo --clinic --out clinic").refused(2, &["model.safetensors", "--force"]);
}
