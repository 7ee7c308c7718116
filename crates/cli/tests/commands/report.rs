//! `--report`: pages of a user's own evaluation and check, with their numbers beside them.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sordino::data::{Pixels, open_images};

use crate::fixture::{IMAGES, copies, evaluate_flags, folder, listing, shared, sordino};

/// A page that loads nothing, and its numbers.
#[track_caller]
fn report(folder: &Path, name: &str) -> (String, Value) {
    let page = fs::read_to_string(folder.join(format!("{name}.html"))).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let numbers = fs::read(folder.join(format!("{name}.json"))).unwrap();
    (page, serde_json::from_slice(&numbers).unwrap())
}

#[test]
fn evaluate_reports_what_the_server_knows() {
    let shared = shared();
    let key = shared.join("keys/evaluation.key").exists();
    let mut files = vec!["server/server.plan", "server/request"];
    files.extend(key.then_some("server/evaluation.key"));
    let folder = copies("report", &files);
    let evaluate = format!("evaluate {} --out reply", evaluate_flags(shared));
    let result = sordino(&folder, &format!("{evaluate} --report run.html --json"));
    let result = result.good().json();
    let reply = fs::read(folder.join("reply")).unwrap();
    assert_eq!(reply, fs::read(shared.join("server/reply")).unwrap());

    let (page, numbers) = report(&folder, "run");
    let figure = |label: &str| {
        let figures = numbers["figures"].as_array().unwrap();
        let found = figures.iter().find(|figure| figure["label"] == label);
        found.unwrap_or_else(|| panic!("no {label}"))["value"].clone()
    };
    assert_eq!(figure("total time"), result["evaluate_seconds"]);
    assert_eq!(
        figure("amortized time per image"),
        result["amortized_seconds"]
    );
    assert!(page.contains(&format!("{IMAGES} encrypted images through digits")));
    let steps = numbers["steps"].as_array().unwrap();
    let names: Vec<&str> = steps
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"conv1") && names.contains(&"act2"),
        "{names:?}"
    );
    let timed: f64 = steps
        .iter()
        .filter_map(|step| step["seconds"].as_f64())
        .sum();
    assert!(timed > 0.0 && timed <= result["evaluate_seconds"].as_f64().unwrap() * 1.01);
    assert!(numbers["samples"].as_array().unwrap().is_empty());
    assert!(numbers["confusion"].is_null());

    // Nothing is overwritten unasked, and nothing is begun that could not be finished.
    sordino(&folder, &format!("{evaluate}-2 --report run.html"))
        .refused(2, &["run.html", "--force"]);
    assert!(!folder.join("reply-2").exists());
    sordino(&folder, &format!("{evaluate}-2 --report reply-2")).refused(2, &["names of their own"]);
    sordino(&folder, &format!("{evaluate} --report run.html --force")).good();
}

#[test]
fn verify_reports_who_was_taken_for_whom() {
    let shared = shared();
    let folder = folder("verify-report");
    let page = folder.join("check.html");
    let command = format!(
        "verify --model model.safetensors --plan plan/server.plan --images images --predictions predictions.csv --json --report {}",
        page.display()
    );
    let result = sordino(shared, &command).good().json();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for name in listing(&folder) {
            let mode = fs::metadata(folder.join(&name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
    assert_eq!(listing(&folder), ["check.html", "check.json"]);
    let (page, numbers) = report(&folder, "check");
    assert_eq!(numbers["verdict"]["passed"], true);
    let counts = numbers["confusion"]["counts"].as_array().unwrap();
    let count = |row: usize, column: usize| counts[row][column].as_u64().unwrap();
    let all: u64 = (0..100).map(|cell| count(cell / 10, cell % 10)).sum();
    let right: u64 = (0..10).map(|class| count(class, class)).sum();
    assert_eq!(all, IMAGES as u64);
    let agreement = result["agreement_float"].as_f64().unwrap();
    assert!((right as f64 / all as f64 - agreement).abs() < 1e-12);

    // The pictures are the images, as another decoder sees them.
    let samples = numbers["samples"].as_array().unwrap();
    assert!(!samples.is_empty());
    let sample = samples.last().unwrap();
    let name = sample["name"].as_str().unwrap();
    let picture = sample["picture"].as_str().unwrap();
    assert!(page.contains(picture) && page.contains(name));
    let encoded = picture.strip_prefix("data:image/png;base64,").unwrap();
    let file = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, encoded).unwrap();
    let pictures = folder.join("pictures");
    fs::create_dir(&pictures).unwrap();
    fs::write(pictures.join("sample.png"), file).unwrap();
    let shown = open_images(&pictures).unwrap();
    let (Pixels::U8(shown), Pixels::U8(images)) = (
        shown.pixels,
        open_images(shared.join("images")).unwrap().pixels,
    ) else {
        panic!("8-bit images");
    };
    let index = sample["index"].as_u64().unwrap() as usize;
    // Raw digits go up to 16, shown white.
    let expected = images[index * 64..][..64].iter();
    let expected: Vec<u8> = expected
        .map(|&raw| (f64::from(raw) * 255.0 / 16.0).round() as u8)
        .collect();
    assert_eq!(shown, expected);
}
