//! Files of images as other programs leave them, and the advice of messages about them, which is followed.

use std::fs;
use std::path::Path;

use sordino::Model;
use sordino::data::{Pixels, digits};
use zip::write::SimpleFileOptions;

use crate::fixture::{bash, folder, listing, shared, sordino};

/// An array as NumPy writes it.
pub(crate) fn npy(descr: &str, shape: &[usize], values: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let shape: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.write_all(header.as_bytes()).unwrap();
    bytes.extend(values);
    bytes
}

/// An archive of arrays.
pub(crate) fn npz(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in arrays {
        let options = SimpleFileOptions::default();
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// Raw values and labels of the first training digits, as 8x8 bytes of 0 to 16.
fn some_digits(count: usize) -> (Vec<u8>, Vec<u8>) {
    let (images, _) = digits().train.split_at(count);
    let Pixels::U8(values) = images.pixels else {
        panic!("bytes");
    };
    let labels = images.labels.unwrap().into_iter().map(|label| label as u8);
    (values, labels.collect())
}

fn encrypt(folder: &Path, images: &str, flags: &str) -> crate::fixture::Run {
    let plan = shared().join("plan/client.plan");
    let line = format!(
        "encrypt --plan {} --images {images} --out request --force {flags}",
        plan.display()
    );
    sordino(folder, &line)
}

#[test]
fn bytes_of_0_and_1_are_asked_about() {
    let folder = folder("zero-one");
    let (values, _) = some_digits(20);
    let values: Vec<u8> = values
        .into_iter()
        .map(|value| u8::from(value > 8))
        .collect();
    fs::write(folder.join("u01.npy"), npy("|u1", &[20, 8, 8], &values)).unwrap();
    encrypt(&folder, "u01.npy", "").refused(2, &["0..1", "--range 0..1", "--range 0..16"]);
    assert_eq!(listing(&folder), ["u01.npy"]);
    encrypt(&folder, "u01.npy", "--range 0..1").good();
    fs::remove_file(folder.join("request.key")).unwrap();
    encrypt(&folder, "u01.npy", "--range 0..16").good();
}

#[test]
fn what_encrypting_does_not_need_does_not_stop_it() {
    let folder = folder("unneeded");
    let (values, _) = some_digits(20);
    let images = npy("|u1", &[20, 1, 8, 8], &values);
    for (name, other) in [
        ("labels", npy("<f8", &[20], &[0; 160])),
        ("labels", npy("<i8", &[20], &[0xff; 160])),
        ("labels", npy("<f4", &[20, 10], &[0x3f; 800])),
        ("labels", npy("<i8", &[5], &[0; 40])),
        ("labels", npy("<U4", &[20], &[0; 320])),
        ("meta", npy("|O", &[], b"pickled")),
        ("class_names", npy("|S4", &[2], &[0; 8])),
        ("dates", npy("<M8[D]", &[1], &[0; 8])),
    ] {
        for called in ["images", "scans"] {
            npz(
                &folder.join("a.npz"),
                &[(called, images.clone()), (name, other.clone())],
            );
            let run = encrypt(&folder, "a.npz", "--json").good();
            assert_eq!(run.json()["images"], 20, "{name}");
            fs::remove_file(folder.join("request.key")).unwrap();
        }
        // What others do with the same file says that labels were of no use.
        if name == "labels" {
            let run = sordino(&folder, "data show a.npz").good();
            assert!(run.stdout.contains("not used"), "{run:?}");
        }
    }
}

#[test]
fn ranges_takes_an_array_of_an_archive_as_encrypt_does() {
    let folder = folder("one-array");
    let (values, _) = some_digits(40);
    let images = npy("|u1", &[40, 1, 8, 8], &values);
    npz(
        &folder.join("a.npz"),
        &[("before", images.clone()), ("after", images)],
    );
    let model = shared().join("model.safetensors");
    fs::copy(model, folder.join("model.safetensors")).unwrap();
    let line = "ranges model.safetensors --inputs-only --force --data a.npz";
    sordino(&folder, &format!("{line}:after")).good();
    sordino(&folder, &format!("{line}:other")).refused(3, &["a.npz", "before", "after"]);
}

#[test]
fn dicom_is_named() {
    let folder = folder("dicom");
    fs::write(
        folder.join("a.dcm"),
        [&[0; 128], &b"DICM\x02\0\0\0UL"[..]].concat(),
    )
    .unwrap();
    let what = ["a.dcm", "a file that is cut short in its header"];
    encrypt(&folder, "a.dcm", "").refused(3, &what);
    sordino(&folder, "data show a.dcm").refused(3, &what);
}

/// The network that other tests import.
fn network() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/digits.onnx");
    path.display().to_string()
}

#[test]
fn files_of_class_names_as_editors_write_them() {
    let folder = folder("classes");
    let names: Vec<String> = (0..10).map(|class| format!("digit {class}")).collect();
    let import = |classes: &str| {
        let line = format!(
            "import {} --force --out model --classes {classes}",
            network()
        );
        sordino(&folder, &line)
    };
    fs::write(
        folder.join("classes.txt"),
        format!("\u{feff}{}\r\n\r\n", names.join("\r\n")),
    )
    .unwrap();
    import("classes.txt").good();
    assert_eq!(Model::load(folder.join("model")).unwrap().classes, names);
    import("missing.txt").refused(2, &["no file missing.txt"]);
    fs::write(folder.join("latin.txt"), b"null\n\xe4\n").unwrap();
    import("latin.txt").refused(3, &["latin.txt", "UTF-8", "line 2"]);
}

#[test]
fn distilling_names_its_own_option() {
    let folder = folder("distill-range");
    let (values, labels) = some_digits(60);
    let floats: Vec<u8> = values
        .iter()
        .flat_map(|&value| (f32::from(value) / 16.0).to_le_bytes())
        .collect();
    let part = |from: usize, count: usize| {
        let images = floats[from * 256..][..count * 256].to_vec();
        let images = npy("<f4", &[count, 1, 8, 8], &images);
        (images, npy("|u1", &[count], &labels[from..][..count]))
    };
    let ((train, train_labels), (test, test_labels)) = (part(0, 40), part(40, 20));
    npz(
        &folder.join("f01.npz"),
        &[
            ("x_train", train),
            ("y_train", train_labels),
            ("x_test", test),
            ("y_test", test_labels),
        ],
    );
    let line = format!(
        "distill --teacher {} --data f01.npz --epochs 1 --out s",
        network()
    );
    let run = sordino(&folder, &line).refused(2, &["--input-range 0..1,"]);
    assert!(!run.stderr.contains("--range"), "{run:?}");
    sordino(&folder, &format!("{line} --input-range 0..1")).good();
    assert_eq!(
        Model::load(folder.join("s"))
            .unwrap()
            .preprocess
            .input_range,
        (0.0, 1.0)
    );
    // Nor is the test part of another scale, which is found before the training.
    let bytes = |count: usize| npy("|u1", &[count, 1, 8, 8], &values[..count * 64]);
    npz(
        &folder.join("mixed.npz"),
        &[
            ("x_train", bytes(40)),
            ("y_train", part(0, 40).1),
            ("x_test", part(40, 20).0),
            ("y_test", part(40, 20).1),
        ],
    );
    let mixed = line.replace("f01.npz", "mixed.npz");
    let mixed = format!("{mixed} --force --input-range 0..16");
    let run = sordino(&folder, &mixed).refused(2, &["x_test", "--input-range 0..1,"]);
    assert!(!run.stderr.contains("epoch"), "{run:?}");
    // A teacher that is a model file has its range, and this option moves it.
    let teacher = shared().join("model.safetensors");
    let line = format!(
        "distill --teacher {} --data f01.npz --epochs 1 --force --out s",
        teacher.display()
    );
    sordino(&folder, &line).refused(2, &["--range 0..1,"]);
    sordino(&folder, &format!("{line} --range 0..1")).good();
}

#[test]
fn training_sets_as_others_lay_them_out() {
    let folder = folder("layouts");
    let (values, labels) = some_digits(100);
    let part = |range: std::ops::Range<usize>| {
        let images = npy(
            "|u1",
            &[range.len(), 8, 8],
            &values[range.start * 64..range.end * 64],
        );
        let wide: Vec<u8> = labels[range.clone()]
            .iter()
            .flat_map(|&label| i64::from(label).to_le_bytes())
            .collect();
        (images, npy("<i8", &[range.len()], &wide))
    };
    let ((train, train_labels), (test, test_labels)) = (part(0..80), part(80..100));
    let names = [
        ("keras", ["x_train", "y_train", "x_test", "y_test"]),
        (
            "noval",
            ["train_images", "train_labels", "test_images", "test_labels"],
        ),
    ];
    for (name, [a, b, c, d]) in names {
        npz(
            &folder.join(format!("{name}.npz")),
            &[
                (a, train.clone()),
                (b, train_labels.clone()),
                (c, test.clone()),
                (d, test_labels.clone()),
            ],
        );
    }
    for (index, label) in labels.iter().enumerate() {
        let class = folder.join(format!("classes/digit-{label}"));
        fs::create_dir_all(&class).unwrap();
        let pixels = values[index * 64..][..64].to_vec();
        let picture = image::GrayImage::from_raw(8, 8, pixels).unwrap();
        picture.save(class.join(format!("{index:03}.png"))).unwrap();
    }
    let train = |set: &str, flags: &str| {
        let line = format!("train --data {set} --arch digits --epochs 1 --force --out m {flags}");
        let run = sordino(&folder, &line).good();
        let model = Model::load(folder.join("m")).unwrap();
        (run.stderr, model)
    };
    for set in ["keras.npz", "noval.npz"] {
        let (said, model) = train(set, "--validation 0.1");
        assert!(
            said.contains("no validation part") && said.contains("held back"),
            "{said}"
        );
        assert_eq!(model.classes.len(), 10);
        assert_eq!(model.preprocess.input_range, (0.0, 255.0));
    }
    let (said, model) = train("classes", "--range 0..16 --validation 0.1");
    assert!(
        said.contains("one image of 5 of each class is held back"),
        "{said}"
    );
    assert_eq!(model.classes[3], "digit-3");
    assert_eq!(model.preprocess.input_range, (0.0, 16.0));
    let run = sordino(&folder, "data show classes --json").good();
    let shown = run.json();
    let count = |part: &str| shown[part]["images"].as_u64().unwrap();
    assert_eq!(count("train") + count("test"), 100);
    assert!(count("test") > 10);
}

/// The number before a word of a message.
fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap();
    let digits = before.trim_end().rsplit(|c: char| !c.is_ascii_digit());
    digits.into_iter().next().unwrap().parse().unwrap()
}

#[test]
fn the_memory_that_is_said_to_be_enough_is() {
    let folder = folder("memory-advice");
    let model = shared().join("model.safetensors");
    for packing in ["element-wise", "channel-wise", "auto"] {
        let compile = |memory: u64, packing: &str| {
            let model = model.display();
            let line = format!(
                "compile {model} --batch 1 --packing {packing} --memory {memory}MiB --out plan --force"
            );
            sordino(&folder, &line)
        };
        let run = compile(1, packing).refused(4, &["may use 1 MiB", "--memory"]);
        assert!(!run.stderr.contains("--batch"), "{run:?}");
        compile(number_before(&run.stderr, " MiB of memory"), packing).good();
        // The other packing was tried as well: what is said of it holds.
        let other = match packing {
            "element-wise" => "channel-wise",
            "channel-wise" => "element-wise",
            _ => continue,
        };
        let named = format!("--packing {other}");
        assert!(run.stderr.contains(&named), "{run:?}");
        if let Some((_, rest)) = run.stderr.split_once(&format!("{named} it needs ")) {
            let needed = rest.split(' ').next().unwrap().parse().unwrap();
            compile(needed, other).good();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn running_out_of_memory_is_one_line_and_an_exit_code() {
    let folder = folder("out-of-memory");
    let at = |file: &str| shared().join(file).display().to_string();
    let (plan, images, model) = (
        at("plan/client.plan"),
        at("images"),
        at("model.safetensors"),
    );
    let lines = [
        format!("encrypt --plan {plan} --images {images} --out out"),
        format!("compile {model} --batch 300 --out out"),
        "train --data digits --arch digits --epochs 1 --out out".to_owned(),
    ];
    let mut ended = 0;
    for line in lines {
        let mut done = false;
        // From a few megabytes more than the program itself has, until there is enough.
        for kibibytes in (0..40).map(|step| 60_000 + step * 6_000) {
            let script = format!("ulimit -v {kibibytes}; exec $SORDINO {line} --threads 2 --quiet");
            let run = bash(&folder, &script);
            if run.code == 0 {
                done = true;
                break;
            }
            // What starts before the program does says so itself.
            if run.code == 127 || run.stderr.contains("shared librar") {
                continue;
            }
            let lines: Vec<&str> = run.stderr.lines().collect();
            assert!([4, 5].contains(&run.code), "{kibibytes}: {run:?}");
            assert_eq!(lines.len(), 1, "{kibibytes}: {run:?}");
            assert!(listing(&folder).is_empty(), "{kibibytes}: {run:?}");
            ended += 1;
        }
        assert!(done, "{line}");
        for name in listing(&folder) {
            let path = folder.join(name);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
    assert!(ended > 3, "{ended}");
}

#[test]
fn arrays_with_channels_last_are_told_and_ambiguous_ones_take_a_layout() {
    let folder = folder("array-layouts");
    let save = |name: &str, shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        let values: Vec<u8> = (0..count).map(|at| (at % 17) as u8).collect();
        fs::write(folder.join(name), npy("|u1", shape, &values)).unwrap();
    };
    save("colour.npy", &[5, 6, 7, 3]);
    let run = sordino(&folder, "data show colour.npy --json").good();
    let shown = &run.json()["images"];
    assert_eq!(
        (&shown["shape"], &shown["layout"]),
        (&serde_json::json!([3, 6, 7]), &"nhwc".into())
    );
    save("both.npy", &[5, 3, 7, 3]);
    for command in [
        "data show both.npy",
        "train --arch mlp --data both.npy --out model",
    ] {
        let run = sordino(&folder, command);
        assert_ne!(run.code, 0, "{run:?}");
    }
    sordino(&folder, "data show both.npy").refused(3, &["--layout nchw", "--layout nhwc"]);
    for (layout, shape) in [("nchw", [3, 7, 3]), ("nhwc", [3, 3, 7])] {
        let run = sordino(
            &folder,
            &format!("data show both.npy --layout {layout} --json"),
        )
        .good();
        let shown = &run.json()["images"];
        assert_eq!(
            (&shown["shape"], &shown["layout"]),
            (&serde_json::json!(shape), &layout.into())
        );
    }
    sordino(&folder, "data show both.npy --layout chw").refused(2, &["nchw", "nhwc"]);
    // What is said goes before the rule: these are gray images with their channel last.
    save("gray.npy", &[5, 8, 8, 1]);
    encrypt(&folder, "gray.npy", "").good();
    fs::remove_file(folder.join("request.key")).unwrap();
    encrypt(&folder, "gray.npy", "--layout nhwc").good();
    encrypt(&folder, "gray.npy", "--layout nchw").refused(3, &["8x8x1", "--layout nhwc"]);
    encrypt(&folder, "both.npy", "").refused(3, &["--layout"]);
}
