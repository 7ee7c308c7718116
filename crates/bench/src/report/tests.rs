use std::collections::BTreeSet;

use sordino_report::{
    Cell, ConfusionMatrix, Figure, Provenance, Row, Sample, StepTime, Table, Unit, Verdict, picture,
};

use super::{BenchmarkReport, SweepPoint, accuracy_groups};
use crate::record::Record;

/// A report with every part. Times follow simple laws; nothing here was measured.
fn example() -> BenchmarkReport {
    let mut records = Vec::new();
    let sizes = [
        ("element-wise", 4096, 0.1, 100 << 20),
        ("channel-wise", 128, 26.0, 40 << 20),
        ("channel-wise-filled", 4096, 30.0, 60 << 20),
    ];
    for (packing, images, seconds, bytes) in sizes {
        let mut record = Record {
            network: "cryptonets".into(),
            dataset: "mnist".into(),
            packing: packing.into(),
            images,
            blocks: 1,
            upload_bytes: Some(bytes),
            ring_degree: Some(4096),
            log2_qp: Some(94.99939),
            security_bits: Some(128),
            accuracy_encrypted: Some(0.9926),
            agreement: Some(1.0),
            worst_logit_error: Some(0.0157),
            backend: Some("portable".into()),
            ..Record::default()
        };
        record.set_evaluation(&[seconds, seconds * 1.04, seconds * 0.97]);
        record.set_peak_memory(Some(bytes * 2));
        records.push(record);
    }
    let accuracies = [
        ("relu", false, [0.9162, 0.9150, 0.9171]),
        ("layer", false, [0.8934, 0.8901, 0.8960]),
        ("layer", true, [0.9010, 0.9032, 0.8995]),
        ("element", true, [0.9101, 0.9088, 0.9122]),
    ];
    for (activation, distilled, each) in accuracies {
        for accuracy in each {
            records.push(Record {
                network: "lenet".into(),
                dataset: "fashion-mnist".into(),
                activation: Some(activation.into()),
                distilled: Some(distilled),
                accuracy_plain: Some(accuracy),
                ..Record::default()
            });
        }
    }
    let mut sweep = Vec::new();
    for power in 0..=14 {
        let batch = 1u64 << power;
        let blocks = batch.div_ceil(4096);
        let filled = batch.div_ceil(8) as f64;
        for (packing, total_seconds) in [
            ("element-wise", 0.09 * blocks as f64),
            ("channel-wise", 0.004 * batch as f64),
            ("channel-wise-filled", 0.009 * filled),
        ] {
            sweep.push(SweepPoint {
                packing: packing.into(),
                batch,
                blocks,
                total_seconds,
                amortized_seconds: total_seconds / batch as f64,
                peak_rss_bytes: Some((60 << 20) + (batch << 14)),
                upload_bytes: Some(batch << 10),
                measured: packing != "channel-wise" || batch <= 256,
                ..SweepPoint::default()
            });
        }
    }
    let provenance = Provenance {
        program: "sordino 0.1.0".into(),
        commit: Some("0123456789ab".into()),
        machine: "Some CPU, 2 cores, 8.0 GiB, linux x86_64".into(),
        threads: Some(2),
        load: Some(0.77),
        date: "2026-11-26 12:33 UTC".into(),
        digests: vec![("plan".into(), "00ff".repeat(16))],
        ..Provenance::default()
    };
    let accuracy = accuracy_groups(&records);
    let mut report =
        BenchmarkReport::new("Two packings of one network", records, sweep, provenance);
    report.accuracy = accuracy;
    report.report.summary = "An example, not a measurement.".into();
    report.report.verdict = Some(Verdict {
        passed: true,
        text: "The classes are those of the clear integer engine.".into(),
    });
    report.report.steps = vec![
        StepTime {
            name: "conv1".into(),
            operation: "linear".into(),
            seconds: Some(0.04),
            share: Some(0.4),
            level: Some(2),
            log2_scale: Some(24.5),
        },
        StepTime {
            name: "act1".into(),
            operation: "square".into(),
            ..StepTime::default()
        },
    ];
    let names: Vec<String> = (0..10).map(|class| class.to_string()).collect();
    let expected: Vec<usize> = (0..2000).map(|at| at % 10).collect();
    let predicted: Vec<usize> = (0..2000)
        .map(|at| if at % 61 == 0 { (at + 3) % 10 } else { at % 10 })
        .collect();
    report.report.confusion =
        Some(ConfusionMatrix::new("label", &names, &expected, &predicted).unwrap());
    report.report.samples_note = "The first errors, then the first others.".into();
    for index in 0..16u64 {
        let shade = |at: u64| ((at * (index + 3) + at / 12 * 7) % 12) as f32 / 11.0;
        let values: Vec<f32> = (0..144).map(shade).collect();
        report.report.samples.push(Sample {
            index,
            name: Some(format!("scan-{index:05}.png")),
            label: Some((index % 10).to_string()),
            predicted: (if index < 2 { 8 } else { index % 10 }).to_string(),
            plain: Some((index % 10).to_string()),
            integer: Some((index % 10).to_string()),
            picture: Some(picture((1, 12, 12), (&[0.0], &[1.0]), &values).unwrap()),
        });
    }
    report
}

/// Everything between `before` and the next `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before)
        .skip(1)
        .map(|rest| rest.split(after).next().unwrap())
        .collect()
}

/// Checks that tags are nested and closed, and gives their names in order.
fn tags(html: &str) -> Vec<&str> {
    let mut open = Vec::new();
    let mut seen = Vec::new();
    let text = html
        .strip_prefix("<!DOCTYPE html>")
        .expect("a document type");
    for tag in between(text, "<", ">") {
        let inside = tag.trim_start_matches('/').trim_end_matches('/');
        assert_eq!(inside.matches('"').count() % 2, 0, "{tag}");
        let name = inside.split_whitespace().next().unwrap();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{tag}");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else {
            seen.push(name);
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    seen
}

/// Nothing is loaded from anywhere: no address but pictures that are part of the file.
fn assert_self_contained(html: &str) {
    for part in [
        "://", "href=", "url(", "@import", "<script", "<link", "<iframe",
    ] {
        assert!(!html.contains(part), "{part}");
    }
    for source in between(html, "src=\"", "\"") {
        assert!(source.starts_with("data:image/png;base64,"), "{source}");
    }
}

#[test]
fn every_part_is_there_and_nothing_from_outside() {
    let html = example().page();
    let names = tags(&html);
    assert_self_contained(&html);
    let titles = between(&html, "<h2>", "</h2>");
    assert_eq!(
        titles,
        [
            "Packings side by side",
            "Time over batch size",
            "Accuracy over seeds",
            "Confusion matrix",
            "Images and predictions",
            "Where the time goes",
            "Parameters",
            "Machine and program"
        ]
    );
    let count = |name: &str| names.iter().filter(|found| **found == name).count();
    assert_eq!((count("svg"), count("h1"), count("img")), (3, 1, 16));
    assert_eq!(count("table"), count("caption"));
    assert_eq!(
        html.matches("<svg").count(),
        html.matches("role=\"img\" aria-label").count()
    );
    // Three crossings, marked in both plots; one is known, 0.09 s at 4 ms per image.
    assert_eq!(html.matches("break-even: ").count(), 6);
    assert_eq!(html.matches("break-even: 23<").count(), 2);
    assert!(html.contains("hollow\" d="));
    // For looking at it in a browser.
    if let Some(path) = std::env::var_os("SORDINO_REPORT_EXAMPLE") {
        std::fs::write(path, html).unwrap();
    }
}

/// Every number in a JSON value, as text that identifies it exactly.
fn numbers(value: &serde_json::Value, into: &mut BTreeSet<u64>) {
    match value {
        serde_json::Value::Number(number) => {
            into.insert(number.as_f64().unwrap().to_bits());
        }
        serde_json::Value::Array(values) => values.iter().for_each(|v| numbers(v, into)),
        serde_json::Value::Object(fields) => fields.values().for_each(|v| numbers(v, into)),
        _ => {}
    }
}

#[test]
fn every_number_shown_is_in_the_json() {
    let report = example();
    let json = serde_json::to_string(&report).unwrap();
    let mut known = BTreeSet::new();
    numbers(&serde_json::from_str(&json).unwrap(), &mut known);
    let html = report.page();
    let shown = between(&html, "<data value=\"", "\"");
    assert!(shown.len() > 300, "{}", shown.len());
    for value in shown {
        let exact: f64 = value.parse().unwrap();
        assert!(
            known.contains(&exact.to_bits()),
            "{value} is only in the page"
        );
    }
    // And the page made from the file is the same page.
    assert_eq!(
        serde_json::from_str::<BenchmarkReport>(&json)
            .unwrap()
            .page(),
        html
    );
}

#[test]
fn words_from_outside_stay_words() {
    let evil = "</style></title><script src=\"http://x\">&'\u{0}";
    let words = || evil.to_owned();
    let mut report = example();
    for record in &mut report.records {
        (record.network, record.packing, record.origin.machine) = (words(), words(), words());
    }
    for point in &mut report.sweep {
        point.packing = format!("{evil}{}", point.packing);
    }
    let mut report = BenchmarkReport::new(
        words(),
        report.records,
        report.sweep,
        Provenance {
            machine: words(),
            digests: vec![(words(), words())],
            backend: Some(words()),
            commit: Some(words()),
            ..Provenance::default()
        },
    );
    report.report.summary = words();
    report.report.samples_note = words();
    report.report.verdict = Some(Verdict {
        passed: false,
        text: words(),
    });
    report.report.figures.push(Figure {
        label: words(),
        value: f64::NAN,
        unit: Unit::Number,
        detail: words(),
    });
    report.report.comparisons.push(Table {
        title: words(),
        baseline: None,
        columns: vec![words()],
        rows: vec![Row {
            name: words(),
            label: words(),
            note: Some(words()),
            unit: Unit::Number,
            cells: vec![Cell::words(evil)],
        }],
    });
    report.report.steps = vec![StepTime {
        name: words(),
        operation: words(),
        ..StepTime::default()
    }];
    report.report.confusion =
        ConfusionMatrix::new(evil, &[words(), words()], &[0, 1], &[1, 1]).ok();
    report.report.samples = vec![Sample {
        name: Some(words()),
        label: Some(words()),
        predicted: words(),
        plain: Some("other".into()),
        integer: Some(words()),
        picture: Some(format!("data:image/png;base64,{evil}")),
        ..Sample::default()
    }];
    let html = report.page();
    let names = tags(&html);
    assert!(!names.contains(&"script") && !names.contains(&"img"));
    assert!(!html.contains(evil) && !html.contains('\u{0}'));
    assert!(html.contains("&lt;/style&gt;&lt;/title&gt;&lt;script src=&quot;"));
    assert_eq!(html.matches("src=\"").count(), 0);
}
