//! Runs the guides: every block of shell commands, in order, in an empty folder.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sordino::data::{Images, Pixels, Reader, digits};
use sordino::graph::Model;
use zip::write::SimpleFileOptions;

#[path = "../../data/tests/dicom/writer.rs"]
mod dicom;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The contents of the blocks that start with three back quotes and `sh`.
fn blocks(markdown: &str) -> Vec<&str> {
    let starts = markdown.split("\n```sh\n").skip(1);
    starts
        .map(|rest| rest.split("\n```").next().unwrap_or(rest))
        .collect()
}

fn data() -> Option<PathBuf> {
    let named = std::env::var_os("SORDINO_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| root().join("../shared/data"));
    let images = folder.join("mnist/t10k-images-idx3-ubyte.gz");
    images.is_file().then(|| folder.canonicalize().ok())?
}

/// Runs a script in `folder`, with the binaries of this build first on the path.
fn run(folder: &Path, data: Option<&Path>, script: &str) -> Output {
    let mut path = folder.join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command
        .args(["-e", "-u", "-c", script])
        .current_dir(folder.join("work"))
        .env("PATH", path)
        .env_remove("SORDINO_DATA")
        .stdin(Stdio::null());
    if let Some(data) = data {
        command.env("SORDINO_DATA", data);
    }
    command.output().expect("a shell starts")
}

fn run_well(folder: &Path, data: Option<&Path>, block: &str) {
    let output = run(folder, data, block);
    assert!(
        output.status.success(),
        "{block}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A folder with an empty one to work in and one with the binaries.
#[cfg(unix)]
fn workplace(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("work")).expect("a folder for the guide");
    fs::create_dir_all(folder.join("bin")).expect("a folder for the binaries");
    let sordino = Path::new(env!("CARGO_BIN_EXE_sordino"));
    let link = |target: &Path, name: &str| {
        std::os::unix::fs::symlink(target, folder.join("bin").join(name)).expect("a link");
    };
    link(sordino, "sordino");
    // Built by a test run of the whole workspace; `sordino evaluate` is the same function.
    let server = sordino.with_file_name("sordino-server");
    if server.is_file() {
        link(&server, "sordino-server");
    } else {
        println!("no {}: sordino runs in its place", server.display());
        link(sordino, "sordino-server");
    }
    folder
}

fn guide(name: &str) -> String {
    fs::read_to_string(root().join("docs/guide").join(name)).expect("the guide")
}

/// Rows of `predictions.csv` after its header; the server never saw the secret key.
fn predictions(folder: &Path) -> Vec<Vec<String>> {
    assert!(!folder.join("work/server/secret.key").exists());
    let table = fs::read_to_string(folder.join("work/predictions.csv")).expect("predictions");
    let rows = table.lines().skip(1);
    rows.map(|row| row.split(',').map(str::to_string).collect())
        .collect()
}

#[cfg(unix)]
#[test]
fn the_workflow_runs_as_it_stands() {
    let Some(data) = data() else {
        println!("skipped: no MNIST under SORDINO_DATA or ../shared/data");
        return;
    };
    let folder = workplace("workflow");
    let model = folder.join("work/model.safetensors");
    let committed = root().join("models/cryptonets-mnist.safetensors");
    fs::copy(committed, &model).expect("the committed model");
    let guide = guide("workflow.md");
    let blocks = blocks(&guide);
    assert!(blocks.len() >= 8, "{blocks:#?}");
    for (index, block) in blocks.iter().enumerate() {
        if let Some(arguments) = block.strip_prefix("sordino train ") {
            // Minutes of training: the model is there already, and only the arguments are tried.
            assert_eq!(index, 0, "training comes first");
            let refused = run(&folder, Some(&data), block);
            let message = String::from_utf8_lossy(&refused.stderr);
            let exists = message.contains("model.safetensors") && message.contains("--force");
            assert!(exists, "{arguments}: {message}");
            continue;
        }
        run_well(&folder, Some(&data), block);
    }
    assert_eq!(predictions(&folder).len(), 10_000);
    fs::remove_dir_all(&folder).expect("the folder is this test's own");
}

/// Writes gray images in MedMNIST's layout, as NumPy would, with pixels changed by `value`.
fn write_set(path: &Path, parts: [(&str, &Images); 3], value: fn(u8) -> u8) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).expect("a file"));
    let mut add = |name: String, shape: String, values: &[u8]| {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}\n");
        let options = SimpleFileOptions::default();
        archive.start_file(name, options).expect("an array");
        let length = (header.len() as u16).to_le_bytes();
        for bytes in [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), values] {
            archive.write_all(bytes).expect("an array");
        }
    };
    for (part, images) in parts {
        let (count, height, width) = (images.len(), images.height, images.width);
        let pixels: Vec<u8> = bytes(images).iter().map(|&pixel| value(pixel)).collect();
        let shape = format!("{count}, 1, {height}, {width}");
        add(format!("{part}_images.npy"), shape, &pixels);
        let labels = images.labels.as_ref().expect("labels");
        let labels: Vec<u8> = labels.iter().map(|&label| label as u8).collect();
        add(format!("{part}_labels.npy"), format!("{count},"), &labels);
    }
    archive.finish().expect("an archive");
}

fn bytes(images: &Images) -> &[u8] {
    match &images.pixels {
        Pixels::U8(pixels) => pixels,
        _ => panic!("8-bit images"),
    }
}

#[cfg(unix)]
#[test]
fn a_network_of_pytorch_is_as_good_encrypted() {
    let folder = workplace("from-pytorch");
    let work = folder.join("work");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/digits.onnx");
    fs::copy(fixture, work.join("net.onnx")).expect("the network");
    let set = digits();
    let (train, validation) = set.train.split_at(set.train.len() - 100);
    let parts = [("train", &train), ("val", &validation), ("test", &set.test)];
    // Values are scaled to 0..255, as the fixture's network was trained on.
    let scaled = |value| ((u32::from(value) * 255 + 8) / 16) as u8;
    write_set(&work.join("images.npz"), parts, scaled);
    let guide = guide("from-pytorch.md");
    let blocks = blocks(&guide);
    assert!(blocks.len() >= 8, "{blocks:#?}");
    for block in blocks {
        run_well(&folder, None, block);
    }

    let model = Model::load(work.join("student.safetensors")).expect("the student");
    let teacher = model.training["teacher"]["test_accuracy"].as_f64();
    let teacher = teacher.expect("the teacher's accuracy");
    assert!(teacher >= 0.97, "what PyTorch found: {teacher}");
    let labels = digits().test.labels.expect("labels");
    let rows = predictions(&folder);
    assert_eq!(rows.len(), labels.len());
    let mut right = 0;
    for (row, label) in rows.iter().zip(&labels) {
        let class: usize = row[2].parse().expect("a class");
        assert_eq!(row[3], model.classes[class]);
        right += usize::from(class == usize::from(*label));
    }
    assert_eq!(model.classes[9], "nine");
    let accuracy = right as f64 / labels.len() as f64;
    println!("teacher {teacher:.4}, encrypted {accuracy:.4}");
    assert!(accuracy >= teacher - 0.01, "{accuracy} and {teacher}");

    // What the file says of its making.
    let config = &model.training["config"];
    assert_eq!(config["epochs"], 30, "{config}");
    assert!(config["seed"].is_u64(), "{config}");
    let metrics = fs::read_to_string(work.join("student.jsonl")).expect("the metrics");
    assert_eq!(metrics.lines().count(), 30);
    let last = metrics.lines().last().expect("a line");
    let last: serde_json::Value = serde_json::from_str(last).expect("a line of JSON");
    assert_eq!(last["epoch"], 30);
    assert!(
        last["loss"].is_f64() && last["validation_accuracy"].is_f64(),
        "{last}"
    );
    fs::remove_dir_all(&folder).expect("the folder is this test's own");
}

/// Writes radiographs as DICOM files of 12 bits, of both gray interpretations, and gives their labels by SOP Instance UID.
fn write_studies(folder: &Path, images: &Images) -> Vec<(String, u16)> {
    let labels = images.labels.as_ref().expect("labels");
    let pairs = bytes(images).chunks_exact(28 * 28).zip(labels);
    let written = pairs.enumerate().map(|(index, (pixels, &label))| {
        let uid = format!("1.2.826.0.1.3680043.8.498.{}", 1001 + index);
        let values: Vec<u16> = pixels.iter().map(|&value| u16::from(value) * 16).collect();
        let turned = index % 2 == 1;
        let values: Vec<u16> = match turned {
            true => values.iter().map(|value| 4095 - value).collect(),
            false => values,
        };
        let image = dicom::gray(&uid, [28, 28], 12, &values)
            .add((0x0010, 0x0010), "PN", "Doe^Jane")
            .set(
                dicom::PHOTOMETRIC,
                "CS",
                if turned { "MONOCHROME1" } else { "MONOCHROME2" },
            );
        let study = folder.join(format!("ST{:04}", index / 4));
        fs::create_dir_all(&study).expect("a folder for a study");
        let path = study.join(format!("IM{:04}", index % 4));
        fs::write(path, image.file(dicom::EXPLICIT_LITTLE)).expect("a DICOM file");
        (uid, label)
    });
    written.collect()
}

#[cfg(unix)]
#[test]
fn a_folder_of_dicom_files_becomes_a_list() {
    let folder = workplace("clinic");
    let work = folder.join("work");
    let committed = root().join("models/patch5-pneumoniamnist.safetensors");
    fs::copy(committed, work.join("model.safetensors")).expect("the committed model");
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/chest-x-rays.npz");
    let images = Reader::new().images(&assets).expect("the embedded images");
    let (sent, others) = images.split_at(400);
    let labels = write_studies(&work.join("studies"), &sent);
    // Of a set, `thresholds` reads the validation part only.
    let parts = [("train", &sent), ("val", &others), ("test", &sent)];
    write_set(&work.join("labelled.npz"), parts, |value| value);
    let guide = guide("clinic.md");
    let blocks = blocks(&guide);
    assert!(blocks.len() >= 8, "{blocks:#?}");
    for block in blocks {
        run_well(&folder, None, block);
    }
    let rows = predictions(&folder);
    assert_eq!(rows.len(), labels.len());
    let mut right = 0;
    for (row, (uid, label)) in rows.iter().zip(&labels) {
        assert_eq!(row[1], *uid);
        right += usize::from(row[9] == label.to_string());
    }
    // Half of them would be wrong if white were taken for black.
    assert!(right * 10 >= labels.len() * 8, "{right} of 400");
    let list = fs::read_to_string(work.join("list.csv")).expect("the list");
    assert!(
        list.starts_with(
            "index,name,class,label,p_0,p_1,out_of_range,status,p_pneumonia,decision_pneumonia"
        ),
        "{list}"
    );
    // A row without an answer has no probability, and comes last.
    let probabilities: Vec<f64> = list
        .lines()
        .skip(1)
        .filter_map(|row| row.split(',').nth(8)?.parse().ok())
        .collect();
    let answered = rows.iter().filter(|row| row[7] == "ok").count();
    assert_eq!(probabilities.len(), answered);
    assert!(
        answered >= 398
            && list
                .lines()
                .nth(answered)
                .is_some_and(|row| row.contains("ok"))
    );
    assert!(probabilities.is_sorted_by(|a, b| a >= b), "{list}");
    let first = fs::read_to_string(work.join("look-first.csv")).expect("rows");
    let odd = rows.iter().filter(|row| row[7] != "ok" || row[11] == "1");
    assert!(odd.clone().count() > 0, "some are close to the threshold");
    assert_eq!(first.lines().count(), 1 + odd.count(), "{first}");
    fs::remove_dir_all(&folder).expect("the folder is this test's own");
}

#[test]
fn blocks_are_cut_out_whole() {
    let markdown = "# A\n\n```sh\none\ntwo\n```\n\ntext\n\n```json\n{}\n```\n\n```sh\nthree\n```\n";
    assert_eq!(blocks(markdown), ["one\ntwo", "three"]);
}
