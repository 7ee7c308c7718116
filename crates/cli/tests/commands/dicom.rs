//! DICOM images through all commands, and that nothing about a patient gets out of any of them.

use std::fs;
use std::path::{Path, PathBuf};

use sordino::data::Pixels;

use crate::fixture::{Run, evaluate_flags, folder, listing, shared, sordino, test_digits};
use writer::{ALLOCATED, EXPLICIT_LITTLE, Elements, IMPLICIT_LITTLE, PIXELS, SLOPE, Value};

#[path = "../../../data/tests/dicom/writer.rs"]
mod writer;

/// What nobody but the hospital may see; no two share a part of 6 letters.
const SECRETS: [&str; 8] = [
    "Quisling",
    "Wrobelka",
    "19470523",
    "PID-8842719",
    "ACC-5530917",
    "St. Zyprian",
    "Müller-Öz",
    "1.3.6.1.4.1.99999.77",
];

/// Elements about a patient, as many sorts as there are.
fn with_patient(image: Elements) -> Elements {
    let [
        name,
        given,
        date,
        number,
        accession,
        hospital,
        umlauts,
        study,
    ] = SECRETS;
    let person = format!("{name}^{given}^^Dr={umlauts}");
    // In UTF-16 too, as no element should have it.
    let utf16: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin: Vec<u8> = umlauts.chars().map(|letter| letter as u8).collect();
    let inner = Elements::default()
        .add((0x0010, 0x0010), "PN", &*person)
        .add((0x0040, 0xa123), "PN", &*person)
        .add((0x0040, 0xa160), "UT", &*format!("{name} {number} {date}"));
    let mut image = image
        .add((0x0008, 0x0005), "CS", "ISO_IR 192")
        .add((0x0008, 0x1140), "SQ", vec![inner.clone()])
        .add((0x0009, 0x0010), "LO", hospital)
        .add((0x0009, 0x1001), "UN", utf16)
        .add((0x0009, 0x1002), "LO", latin)
        .add((0x0029, 0x0010), "LO", name)
        .add(
            (0x0029, 0x1010),
            "OB",
            format!("{person} {number}").into_bytes(),
        )
        .add((0x0040, 0x0275), "SQ", vec![inner.clone()])
        .add((0x0040, 0xa730), "SQ", vec![inner.clone()])
        .add(
            (0x0088, 0x0200),
            "SQ",
            vec![inner.add((0x7fe0, 0x0010), "OW", name.as_bytes().to_vec())],
        )
        .add((0x6000, 0x0022), "LO", &*person)
        .add((0x6000, 0x3000), "OW", person.clone().into_bytes())
        .add((0x7fdf, 0x1001), "LO", number)
        .add((0xfffc, 0xfffc), "OB", person.clone().into_bytes());
    for (group, element, vr, value) in [
        (0x0008, 0x0020, "DA", date),
        (0x0008, 0x0050, "SH", accession),
        (0x0008, 0x0080, "LO", hospital),
        (0x0008, 0x0081, "ST", hospital),
        (0x0008, 0x0090, "PN", &*person),
        (0x0008, 0x103e, "LO", name),
        (0x0008, 0x1010, "SH", hospital),
        (0x0008, 0x1030, "LO", given),
        (0x0008, 0x1048, "PN", &*person),
        (0x0008, 0x2111, "ST", &*person),
        (0x0010, 0x0010, "PN", &*person),
        (0x0010, 0x0020, "LO", number),
        (0x0010, 0x0030, "DA", date),
        (0x0010, 0x1000, "LO", number),
        (0x0010, 0x1001, "PN", &*person),
        (0x0010, 0x1040, "LO", hospital),
        (0x0010, 0x2154, "SH", number),
        (0x0010, 0x4000, "LT", &*person),
        (0x0018, 0x1000, "LO", number),
        (0x0018, 0x1030, "LO", name),
        (0x0020, 0x000d, "UI", study),
        (0x0020, 0x000e, "UI", study),
        (0x0020, 0x0010, "SH", accession),
        (0x0020, 0x4000, "LT", &*person),
        (0x0028, 0x1055, "LO", name),
        (0x0032, 0x1032, "PN", &*person),
        (0x0040, 0x0254, "LO", given),
    ] {
        image = image.add((group, element), vr, value);
    }
    image
}

/// Files of digits under names of patients, in folders of them, and their number.
fn study(folder: &Path, count: usize) -> PathBuf {
    let images = test_digits();
    let Pixels::U8(pixels) = &images.pixels else {
        panic!("8-bit images")
    };
    let study = folder.join("study");
    for (index, values) in pixels.chunks_exact(64).take(count).enumerate() {
        let image = writer::bytes(&format!("1.2.826.0.1.{}", 1000 + index), [8, 8], values);
        let syntax = [EXPLICIT_LITTLE, IMPLICIT_LITTLE][index % 2];
        let [name, given, date, number, ..] = SECRETS;
        let below = study
            .join(format!("{name}_{given}_{}", index % 3))
            .join(date);
        fs::create_dir_all(&below).unwrap();
        let path = below.join(format!("{number}_{index:04}.dcm"));
        fs::write(path, with_patient(image).file(syntax)).unwrap();
    }
    let report = with_patient(Elements::default()).file(EXPLICIT_LITTLE);
    fs::write(study.join(format!("{}.SR", SECRETS[0])), report).unwrap();
    study
}

/// A text in the encodings in which it could get out.
fn encodings(text: &str) -> Vec<Vec<u8>> {
    let words = text.encode_utf16();
    let base64 = |bytes: &[u8]| {
        // Of any start in three bytes, without the letters that depend on what is around.
        (0..3)
            .map(|skipped| {
                let bytes = &bytes[skipped..];
                let whole = &bytes[..bytes.len() / 3 * 3];
                base64::Engine::encode(&base64::prelude::BASE64_STANDARD, whole).into_bytes()
            })
            .collect::<Vec<_>>()
    };
    let mut all = vec![
        text.as_bytes().to_vec(),
        words.clone().flat_map(u16::to_le_bytes).collect(),
        words.flat_map(u16::to_be_bytes).collect(),
        text.chars().map(|letter| letter as u8).collect(),
        text.as_bytes()
            .iter()
            .flat_map(|byte| format!("{byte:02x}").into_bytes())
            .collect(),
    ];
    all.extend(base64(text.as_bytes()));
    all
}

#[track_caller]
fn is_clean(what: &str, bytes: &[u8]) {
    let lower = |bytes: &[u8]| bytes.to_ascii_lowercase();
    let bytes = lower(bytes);
    for secret in SECRETS {
        for encoded in encodings(secret) {
            let encoded = lower(&encoded);
            let found = bytes
                .windows(encoded.len())
                .position(|window| window == encoded);
            assert_eq!(found, None, "{what} has {secret}");
        }
    }
}

#[track_caller]
fn run_is_clean(line: &str, run: &Run) {
    is_clean(line, run.stdout.as_bytes());
    is_clean(line, run.stderr.as_bytes());
}

/// All files below a folder, but those of the study.
fn files_are_clean(folder: &Path) {
    for name in listing(folder) {
        let path = folder.join(&name);
        if name == "study" || name.starts_with("bad") {
            continue;
        }
        is_clean("a name", name.as_bytes());
        if path.is_dir() {
            files_are_clean(&path);
        } else {
            is_clean(&path.display().to_string(), &fs::read(&path).unwrap());
        }
    }
}

#[test]
fn what_is_planted_is_found() {
    // The search itself, so that nothing passes because nothing is looked for.
    for secret in SECRETS {
        for encoded in encodings(secret) {
            let text = [&b"before "[..], &encoded, b" behind"].concat();
            assert!(std::panic::catch_unwind(|| is_clean("a test", &text)).is_err());
        }
    }
    let image = writer::bytes("1.2", [1, 1], &[1]);
    assert!(
        std::panic::catch_unwind(|| is_clean("a file", &with_patient(image).file(EXPLICIT_LITTLE)))
            .is_err()
    );
}

#[test]
fn no_output_has_anything_of_a_patient() {
    const COUNT: usize = 24;
    let folder = folder("dicom-privacy");
    study(&folder, COUNT);
    for file in [
        "model.safetensors",
        "plan/client.plan",
        "plan/server.plan",
        "keys/secret.key",
    ] {
        let name = Path::new(file).file_name().unwrap();
        fs::copy(shared().join(file), folder.join(name)).unwrap();
    }
    let server = folder.join("server");
    fs::create_dir(&server).unwrap();
    let evaluation_key = shared().join("keys/evaluation.key");
    if evaluation_key.exists() {
        fs::copy(evaluation_key, server.join("evaluation.key")).unwrap();
    }
    let client = "--plan client.plan --key secret.key";
    for line in [
        "data show study",
        "data show study --json",
        "ranges model.safetensors --data study --inputs-only --force",
        &format!("encrypt {client} --images study --out server/request"),
    ] {
        run_is_clean(line, &sordino(&folder, line).good());
    }
    fs::copy(folder.join("server.plan"), server.join("server.plan")).unwrap();
    let line = format!(
        "evaluate {} --out reply --report page.html",
        evaluate_flags(shared())
    );
    run_is_clean(&line, &sordino(&server, &line).good());
    for line in [
        &format!("decrypt {client} --reply server/reply --out predictions.csv --logits"),
        &format!("decrypt {client} --reply server/reply --out predictions.json --report list.html"),
        "inspect server/request --json",
    ] {
        run_is_clean(line, &sordino(&folder, line).good());
    }
    // The plan's digest is that of the model before its ranges were recorded anew, so the shared one is verified.
    let model = shared().join("model.safetensors");
    let line = format!(
        "verify --model {} --plan server.plan --images study --predictions predictions.csv --report check.html --json",
        model.display()
    );
    run_is_clean(&line, &sordino(&folder, &line).good());
    files_are_clean(&folder);

    // Rows are found by the UID.
    let table = fs::read_to_string(folder.join("predictions.csv")).unwrap();
    let mut names: Vec<&str> = table
        .lines()
        .skip(1)
        .filter_map(|row| row.split(',').nth(1))
        .collect();
    names.sort_unstable();
    let expected: Vec<String> = (0..COUNT)
        .map(|index| format!("1.2.826.0.1.{}", 1000 + index))
        .collect();
    assert_eq!(names, expected);
    assert!(
        fs::read_to_string(folder.join("check.html"))
            .unwrap()
            .contains("1.2.826.0.1.10")
    );
}

#[test]
fn no_message_about_a_bad_file_has_anything_of_a_patient() {
    let folder = folder("dicom-messages");
    let plan = shared().join("plan/client.plan");
    let image = with_patient(writer::bytes("1.2", [8, 8], &[1; 64]));
    let name = SECRETS[0];
    let file = image.file(EXPLICIT_LITTLE);
    let texts = [
        (writer::INSTANCE, "UI"),
        (writer::PHOTOMETRIC, "CS"),
        (writer::FRAMES, "IS"),
        (writer::ROWS, "US"),
        (SLOPE, "DS"),
        (writer::SPACING, "DS"),
    ];
    let mut bad: Vec<Vec<u8>> = texts
        .into_iter()
        .map(|(tag, vr)| image.clone().set(tag, vr, name).file(EXPLICIT_LITTLE))
        .collect();
    bad.extend([
        file[..file.len() - 20].to_vec(),
        file[..300].to_vec(),
        image.clone().without(ALLOCATED).file(EXPLICIT_LITTLE),
        image.clone().add(ALLOCATED, "US", 8).file(EXPLICIT_LITTLE),
        image
            .clone()
            .set(PIXELS, "OB", vec![200u8; 64])
            .file(EXPLICIT_LITTLE),
        image
            .clone()
            .set(writer::ROWS, "US", 4)
            .file(EXPLICIT_LITTLE),
        image.file("1.2.840.10008.1.2.4.80"),
        image.file(name),
        name.as_bytes().to_vec(),
        image
            .clone()
            .set(
                PIXELS,
                "OB",
                Value::Fragments(vec![vec![], name.as_bytes().to_vec()]),
            )
            .file(writer::JPEG),
    ]);
    for (index, bytes) in bad.into_iter().enumerate() {
        let images = format!("bad{index}");
        let below = folder.join(&images).join(name);
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join(format!("{name}-{}.dcm", SECRETS[2])), bytes).unwrap();
        fs::write(below.join(format!("{name}.dcm")), &file).unwrap();
        for line in [
            format!(
                "encrypt --plan {} --images {images} --out request --force",
                plan.display()
            ),
            format!("data show {images}"),
        ] {
            let run = sordino(&folder, &line);
            run_is_clean(&line, &run);
            if line.starts_with("encrypt") {
                run.refused(3, &[]);
            }
        }
    }
    files_are_clean(&folder);
}
