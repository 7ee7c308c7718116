//! From thresholds to decisions, their check, pages and provenance.

use std::fs;
use std::path::Path;

use sordino::data::{Images, Pixels, digits};

use crate::fixture::{folder, listing, sordino, write_pngs};

/// Images of the request.
const IMAGES: usize = 200;

/// Digits with brighter pixels, labelled odd (1) or even (0).
fn parity(images: &Images) -> Images {
    let Pixels::U8(pixels) = &images.pixels else {
        panic!("8-bit images")
    };
    let bright = pixels.iter().map(|pixel| pixel * 15).collect();
    let labels = images.labels.as_ref().unwrap();
    let labels = labels.iter().map(|label| label % 2).collect();
    Images::new((1, 8, 8), Pixels::U8(bright), Some(labels), None, "parity").unwrap()
}

fn write_classes(images: &Images, folder: &Path) {
    let labels = images.labels.as_ref().unwrap();
    for (class, name) in ["even", "odd"].into_iter().enumerate() {
        let of_class: Vec<usize> = (0..images.len())
            .filter(|&at| usize::from(labels[at]) == class)
            .collect();
        write_pngs(&images.subset(&of_class), &folder.join(name));
    }
}

/// Images and labels as IDX files, since pictures in one folder have no labels.
fn write_idx(images: &Images, folder: &Path) {
    let Pixels::U8(pixels) = &images.pixels else {
        panic!("8-bit images")
    };
    let count = (images.len() as u32).to_be_bytes();
    let side = 8u32.to_be_bytes();
    let header = [&[0, 0, 8, 3][..], &count, &side, &side].concat();
    let file = folder.join("t10k-images-idx3-ubyte");
    fs::write(file, [&header[..], pixels].concat()).unwrap();
    let labels = images.labels.as_ref().unwrap();
    let labels: Vec<u8> = labels.iter().map(|&label| label as u8).collect();
    let header = [&[0, 0, 8, 1][..], &count].concat();
    let file = folder.join("t10k-labels-idx1-ubyte");
    fs::write(file, [header, labels].concat()).unwrap();
}

#[test]
fn thresholds_become_decisions_that_are_checked() {
    let folder = folder("findings");
    let (train, test) = (parity(&digits().train), parity(&digits().test));
    let (train, validation) = train.split_at(900);
    write_classes(&train, &folder.join("parity/train"));
    write_classes(&validation, &folder.join("parity/val"));
    write_classes(&test, &folder.join("parity/test"));
    write_idx(&test.split_at(IMAGES).0, &folder);

    sordino(
        &folder,
        "train --data parity --arch digits --epochs 8 --out plain.safetensors",
    )
    .good();
    for share in ["0", "1", "1.5", "nan"] {
        let line = format!("thresholds plain.safetensors --data parity --sensitivity {share}");
        sordino(&folder, &line).refused(2, &["between 0 and 1"]);
    }
    sordino(
        &folder,
        "thresholds plain.safetensors --data digits --sensitivity 0.9",
    )
    .refused(3, &["no validation part", "val_images"]);
    let chosen = sordino(
        &folder,
        "thresholds plain.safetensors --data parity --sensitivity 0.95 --out model.safetensors --json",
    )
    .good()
    .json();
    assert_eq!(chosen["part"], "validation");
    assert_eq!(chosen["images"], validation.len());
    let point = &chosen["operating_points"][0];
    assert!(point["sensitivity"].as_f64().unwrap() >= 0.95);
    let area = chosen["findings"][0]["auc"].as_f64().unwrap();
    assert!(area > 0.9, "{area}");

    sordino(
        &folder,
        &format!("compile model.safetensors --batch {IMAGES} --out plan"),
    )
    .good();
    sordino(
        &folder,
        "encrypt --plan plan/client.plan --images t10k-images-idx3-ubyte --unusual keep --out request",
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
    let decrypt = "decrypt --plan plan/client.plan --key request.key --reply reply";
    let result = sordino(
        &folder,
        &format!("{decrypt} --out predictions.csv --report page.html --json"),
    )
    .good()
    .json();
    assert_eq!(result["findings"][0]["name"], "odd");

    let text = fs::read_to_string(folder.join("predictions.csv")).unwrap();
    let mut rows = text.lines();
    assert!(
        rows.next()
            .unwrap()
            .ends_with(",status,p_odd,decision_odd,margin_odd,close_odd")
    );
    let decided = rows
        .map(|row| row.rsplit(',').nth(2).unwrap())
        .filter(|&decision| decision == "1")
        .count();
    assert_eq!(result["findings"][0]["decided"], decided);

    let json = fs::read_to_string(folder.join("predictions.csv.provenance.json")).unwrap();
    let provenance: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(provenance["answered"], IMAGES);
    assert_eq!(provenance["findings"][0]["decided"], decided);
    assert_eq!(provenance["operating_points"]["points"][0], *point);
    for (field, file) in [
        ("model", "model.safetensors"),
        ("request", "request"),
        ("reply", "reply"),
        ("plan", "plan/server.plan"),
    ] {
        let shown = sordino(&folder, &format!("inspect {file} --json")).good();
        assert_eq!(provenance[field], shown.json()["digest"], "{field}");
    }

    let verify =
        "verify --model model.safetensors --plan plan/server.plan --images t10k-images-idx3-ubyte";
    let checked = sordino(
        &folder,
        &format!("{verify} --predictions predictions.csv --report checked.html --json"),
    )
    .good()
    .json();
    assert_eq!(checked["decisions"][0]["unexplained"], 0);
    let measured = &checked["findings"][0];
    let counts = &measured["counts"];
    let positives =
        counts["true_positives"].as_u64().unwrap() + counts["false_positives"].as_u64().unwrap();
    assert_eq!(positives, decided as u64);
    assert!(measured["auc"].as_f64().unwrap() > 0.9);
    for (page, plots) in [("page.html", 1), ("checked.html", 4)] {
        let html = fs::read_to_string(folder.join(page)).unwrap();
        assert!(html.contains("Finding: odd"), "{page}");
        assert_eq!(html.matches("<svg").count(), plots, "{page}");
    }

    // Decisions that no rounding explains: the column of decisions is the third from the right.
    let turn = |line: &str| {
        let mut fields: Vec<&str> = line.split(',').collect();
        let at = fields.len() - 3;
        fields[at] = match fields[at] {
            "0" => "1",
            "1" => "0",
            other => other,
        };
        fields.join(",")
    };
    let wrong: Vec<String> = text.lines().map(turn).collect();
    fs::write(folder.join("wrong.csv"), wrong.join("\n")).unwrap();
    let run = sordino(&folder, &format!("{verify} --predictions wrong.csv --json"));
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(run.json()["passed"], false);
    assert!(listing(&folder).contains(&"page.json".to_owned()));
}
