//! `sordino demo --clinic`: the commands of a hospital and of a model owner, one after the other, on embedded radiographs.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use serde_json::Value;
use sordino::container::{Access, write_atomic};
use sordino_command::{GlobalArgs, Outcome, Output};

use crate::arguments::Arguments;

/// The 624 test images of PneumoniaMNIST with their labels (CC BY 4.0; see `assets/README.md`).
const IMAGES: &[u8] = include_bytes!("../assets/chest-x-rays.npz");

/// The network, with an operating point chosen on validation images.
const MODEL: &[u8] = include_bytes!("../../../models/patch5-pneumoniamnist.safetensors");

/// Who runs a command, why, and the command.
type Step = (&'static str, &'static [&'static str]);

/// File names stand for files in the folder of the demo.
const STEPS: [Step; 5] = [
    (
        "Model owner: a plan from the network, one part for the hospital and one for the server",
        &[
            "compile",
            "@model.safetensors",
            "--batch",
            "624",
            "--out",
            "@plan",
        ],
    ),
    (
        "Hospital: encrypt the radiographs, under a key of this request",
        &[
            "encrypt",
            "--plan",
            "@plan/client.plan",
            "--images",
            "@x-rays.npz",
            "--out",
            "@request",
        ],
    ),
    (
        "Server: evaluate the network on what it cannot read",
        &[
            "evaluate",
            "--plan",
            "@plan/server.plan",
            "--keys",
            "@request.evaluation.key",
            "--request",
            "@request",
            "--out",
            "@reply",
        ],
    ),
    (
        "Hospital: decrypt the answers, with decisions and probabilities",
        &[
            "decrypt",
            "--plan",
            "@plan/client.plan",
            "--key",
            "@request.key",
            "--reply",
            "@reply",
            "--out",
            "@predictions.csv",
            "--report",
            "@answers.html",
        ],
    ),
    (
        "Both, where labels are known: how good the answers are, and whether they are those of the network in the clear",
        &[
            "verify",
            "--model",
            "@model.safetensors",
            "--plan",
            "@plan/server.plan",
            "--images",
            "@x-rays.npz",
            "--predictions",
            "@predictions.csv",
            "--report",
            "@check.html",
        ],
    ),
];

pub(crate) fn run(folder: &Path, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let [model, images, check] =
        ["model.safetensors", "x-rays.npz", "check.json"].map(|name| folder.join(name));
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (path, bytes) in [(&model, MODEL), (&images, IMAGES)] {
        write_atomic(path, bytes, global.overwrite(), Access::Shared)?;
    }
    output.text(format!(
        "624 chest radiographs of children (PneumoniaMNIST, CC BY 4.0) and a network that was trained on others of that set, in {}",
        folder.display()
    ))?;
    // The steps say what they did; of JSON there is one result, at the end.
    let steps = GlobalArgs {
        quiet: global.quiet || global.json,
        json: false,
        ..global.clone()
    };
    let mut outcome = Outcome::Good;
    for (number, (who, words)) in (1..).zip(STEPS) {
        let words: Vec<String> = words.iter().map(|word| in_folder(word, folder)).collect();
        let shown: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        output.text(format!("\n{number}. {who}\n$ sordino {}", shown.join(" ")))?;
        let line = std::iter::once("sordino").chain(words.iter().map(String::as_str));
        let step = Arguments::try_parse_from(line)?;
        let step = crate::dispatch(&step.command, &steps, &Output::new(&steps))?;
        if step == Outcome::CheckFailed {
            outcome = step;
        }
    }
    let text = fs::read_to_string(&check).with_context(|| check.display().to_string())?;
    let record: Value = serde_json::from_str(&text)?;
    output.result(&record, || {
        format!(
            "\n{:.0} s. Look at {} and {}: everything is in {}, the next commands can be yours",
            start.elapsed().as_secs_f64(),
            folder.join("check.html").display(),
            folder.join("answers.html").display(),
            folder.display()
        )
    })?;
    Ok(outcome)
}

/// A word of a command line, with `@` for the folder of the demo.
fn in_folder(word: &str, folder: &Path) -> String {
    word.strip_prefix('@').map_or_else(
        || word.to_owned(),
        |name| folder.join(name).display().to_string(),
    )
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%".contains(c);
    match word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
