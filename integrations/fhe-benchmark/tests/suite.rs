//! Plays the part of the suite's harness: makes its folders and its input, starts the programs in its order from its root, and
//! looks at what it looks at.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sordino_data::{Images, SetName, digits, find_set, open_named};
use sordino_fhe_benchmark_server::{Size, server_plan};
use sordino_runtime::evaluate_clear;
use tempfile::TempDir;

/// Pixels of an image.
const PIXELS: usize = 784;

fn program(name: &str) -> Command {
    Command::new(match name {
        "client_key_generation" => env!("CARGO_BIN_EXE_client_key_generation"),
        "server_preprocess_model" => env!("CARGO_BIN_EXE_server_preprocess_model"),
        "client_preprocess_input" => env!("CARGO_BIN_EXE_client_preprocess_input"),
        "client_encode_encrypt_input" => env!("CARGO_BIN_EXE_client_encode_encrypt_input"),
        "server_encrypted_compute" => env!("CARGO_BIN_EXE_server_encrypted_compute"),
        "client_decrypt_decode" => env!("CARGO_BIN_EXE_client_decrypt_decode"),
        "client_postprocess" => env!("CARGO_BIN_EXE_client_postprocess"),
        other => panic!("no program {other}"),
    })
}

/// A root as the suite has it when the first program starts.
struct Suite {
    root: TempDir,
    size: Size,
}

impl Suite {
    fn new(size: Size) -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        fs::create_dir_all(path.join("io").join(size.name())).unwrap();
        fs::create_dir_all(path.join("datasets").join(size.name()).join("intermediate")).unwrap();
        Self { root, size }
    }

    fn input(&self) -> std::path::PathBuf {
        let folder = self.root.path().join("datasets").join(self.size.name());
        folder.join("intermediate/test_pixels.txt")
    }

    fn io(&self) -> std::path::PathBuf {
        self.root.path().join("io").join(self.size.name())
    }

    /// Writes images as the suite does: one a line, six decimals, one space between two values.
    fn write_input(&self, images: &[f32]) {
        let mut text = String::new();
        for image in images.chunks_exact(PIXELS) {
            for (at, value) in image.iter().enumerate() {
                let space = if at == 0 { "" } else { " " };
                write!(text, "{space}{value:.6}").unwrap();
            }
            text.push('\n');
        }
        fs::write(self.input(), text).unwrap();
    }

    fn start(&self, name: &str) -> Output {
        let mut command = program(name);
        // The suite gives this one no size.
        if name != "server_preprocess_model" {
            command.arg(self.size.number().to_string());
        }
        command.current_dir(self.root.path()).output().unwrap()
    }

    fn stage(&self, name: &str) {
        let output = self.start(name);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {errors}");
    }

    fn fails(&self, name: &str, expected: &str) {
        let output = self.start(name);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {errors}");
        assert!(errors.contains(expected), "{name}: {errors}");
    }

    /// All stages that the suite runs once.
    fn set_up(&self) {
        self.stage("client_key_generation");
        assert!(self.io().join("public_keys").is_dir());
        self.stage("server_preprocess_model");
    }

    /// All stages that the suite repeats, on these images; returns the labels.
    fn run(&self, images: &[f32]) -> Vec<usize> {
        self.write_input(images);
        self.stage("client_preprocess_input");
        self.stage("client_encode_encrypt_input");
        self.stage("server_encrypted_compute");
        self.stage("client_decrypt_decode");
        self.stage("client_postprocess");
        let text = fs::read_to_string(self.io().join("encrypted_model_predictions.txt")).unwrap();
        let labels: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(labels.len(), images.len() / PIXELS);
        assert!(text.ends_with('\n') && labels.iter().all(|&label| label < 10));
        labels
    }

    /// Bytes of the files in a folder below `io/<size>`.
    fn size_of(&self, folder: &str) -> u64 {
        let entries = fs::read_dir(self.io().join(folder)).unwrap();
        entries
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum()
    }

    fn check_reported_steps(&self) {
        let text = fs::read(self.io().join("server_reported_steps.json")).unwrap();
        let steps: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&text).unwrap();
        for name in ["Setup", "Encrypted computation", "Total"] {
            let seconds = steps[name].as_f64().unwrap();
            assert!((0.0..600.0).contains(&seconds), "{name}: {seconds}");
        }
        println!("{}: {}", self.size.name(), serde_json::Value::from(steps));
    }
}

/// Fails unless every label is the class that the integers of the plan give without encryption, or one that is as good but for the
/// noise: a logit's error is below 0.05 by the plans' estimates.
fn check_against_clear(size: Size, images: &[f32], labels: &[usize]) {
    let plan = server_plan(size).unwrap();
    let logits = evaluate_clear(&plan, images, images.len() / PIXELS).unwrap();
    for (image, (row, &label)) in logits.chunks_exact(10).zip(labels).enumerate() {
        let largest = row.iter().copied().fold(f64::MIN, f64::max);
        assert!(
            row[label] > largest - 0.2,
            "{}: image {image}: label {label} of {row:?}",
            size.name()
        );
    }
}

/// Images of the built-in set, enlarged to 28x28 by repeating pixels: near enough to what the network was made for.
fn enlarged_digits(count: usize) -> Vec<f32> {
    let images = digits().test;
    let mut out = Vec::with_capacity(count * PIXELS);
    for image in 0..count {
        for at in 0..PIXELS {
            let (row, column) = (at / 28 * 8 / 28, at % 28 * 8 / 28);
            let first = image % images.len() * 64;
            out.push((images.pixels.value(first + row * 8 + column) / 16.0) as f32);
        }
    }
    out
}

/// MNIST's test images, or why they are not there.
fn mnist() -> Option<Images> {
    match find_set(None, SetName::Mnist) {
        Ok(_) => Some(open_named(None, SetName::Mnist).unwrap().test),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// Pixels from 0 to 1 of some images.
fn pixels(images: &Images) -> Vec<f32> {
    let values = 0..images.len() * PIXELS;
    values
        .map(|at| (images.pixels.value(at) / 255.0) as f32)
        .collect()
}

/// Share of the labels that are right.
fn accuracy(images: &Images, labels: &[usize]) -> f64 {
    let truth = images.labels.as_ref().unwrap();
    let pairs = labels.iter().zip(truth);
    let right = pairs.filter(|(label, truth)| **label == usize::from(**truth));
    right.count() as f64 / labels.len() as f64
}

#[test]
fn sizes_without_any_data_set_agree_with_the_integer_network() {
    // The older suite's small instance has 15 images.
    for (size, count) in [
        (Size::Single, 1),
        (Size::Small, 15),
        (Size::Small, 100),
        (Size::Medium, 1000),
    ] {
        let suite = Suite::new(size);
        suite.set_up();
        let images = enlarged_digits(count);
        check_against_clear(size, &images, &suite.run(&images));
        suite.check_reported_steps();
        // Another run with the same keys, as with --num_runs 2: every file is replaced.
        let images: Vec<f32> = images.iter().map(|value| 0.9 * value).collect();
        check_against_clear(size, &images, &suite.run(&images));
    }
}

#[test]
fn single_small_and_medium_of_mnist() {
    let Some(test) = mnist() else { return };
    for (size, at_least) in [
        (Size::Single, 1.0),
        (Size::Small, 0.97),
        (Size::Medium, 0.978),
    ] {
        let (first, _) = test.split_at(size.images());
        let suite = Suite::new(size);
        suite.set_up();
        let labels = suite.run(&pixels(&first));
        let found = accuracy(&first, &labels);
        println!("{}: accuracy {found}", size.name());
        assert!(found >= at_least, "{}: {found}", size.name());
        suite.check_reported_steps();
    }
    // The suite draws images at random; these are from all over the set.
    let size = Size::Medium;
    let scattered: Vec<usize> = (0..size.images()).map(|k| k * 7919 % test.len()).collect();
    let drawn = test.subset(&scattered);
    let suite = Suite::new(size);
    suite.set_up();
    let found = accuracy(&drawn, &suite.run(&pixels(&drawn)));
    println!("medium, random images: accuracy {found}");
    assert!(found >= 0.965, "{found}");
}

#[test]
fn large_of_mnist() {
    let Some(test) = mnist() else { return };
    let suite = Suite::new(Size::Large);
    suite.set_up();
    let found = accuracy(&test, &suite.run(&pixels(&test)));
    let upload = suite.size_of("ciphertexts_upload");
    println!("large: accuracy {found}, encrypted input {upload} bytes");
    assert!(found >= 0.978, "{found}");
    assert!(upload <= 78_000_000, "{upload} bytes");
    suite.check_reported_steps();
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let suite = Suite::new(Size::Single);
    let images = enlarged_digits(1);
    suite.fails("client_encode_encrypt_input", "secret.key");
    suite.set_up();
    suite.fails("client_key_generation", "exists");
    suite.fails("client_preprocess_input", "test_pixels.txt");
    suite.fails("server_encrypted_compute", "request");
    suite.run(&images);
    // The result of the first input beside the second one.
    suite.stage("client_encode_encrypt_input");
    suite.fails("client_decrypt_decode", "server_encrypted_compute again");
    // A cropped image, and more images than the size has.
    suite.write_input(&enlarged_digits(2));
    suite.fails("client_preprocess_input", "1 to 1 lines");
    fs::write(suite.input(), "0.5 0.5\n").unwrap();
    suite.fails("client_preprocess_input", "expected 784 values, found 2");
    // A damaged upload.
    let request = suite.io().join("ciphertexts_upload/request");
    let mut bytes = fs::read(&request).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&request, bytes).unwrap();
    suite.fails("server_encrypted_compute", "damaged");
}

#[test]
fn programs_say_which_argument_they_take() {
    for arguments in [vec![], vec!["4"], vec!["x"], vec!["0", "1"]] {
        let root = tempfile::tempdir().unwrap();
        let mut command = program("server_encrypted_compute");
        let output = command
            .args(&arguments)
            .current_dir(root.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("the size"));
    }
}

/// Secrets and what the encryption protects are for their owner alone.
#[cfg(unix)]
#[test]
fn private_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let suite = Suite::new(Size::Single);
    suite.set_up();
    suite.run(&enlarged_digits(1));
    let io = suite.io();
    for file in [
        "secret_key/secret.key",
        "intermediate/pixels.npy",
        "intermediate/scores.csv",
    ] {
        let mode = fs::metadata(io.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file}: {mode:o}");
    }
    let folders = ["public_keys", "ciphertexts_upload", "ciphertexts_download"];
    assert!(
        folders
            .iter()
            .all(|folder| Path::new(&io).join(folder).is_dir())
    );
}
