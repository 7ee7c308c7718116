//! `sordino bench paper`: channel-wise packing beside element-wise on the same images, over batch sizes, with a report.

mod accuracy;
mod measuring;
mod packings;
mod pages;
mod state;
mod subject;
mod sweep;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use sordino::container::{Access, Overwrite};
use sordino::report::{ablation_table, amortized_table, sweep_table, table, write_records};
use sordino_command::GlobalArgs;

use crate::exit::Usage;
use crate::output::{Outcome, Output};
use crate::report::ReportFile;
use measuring::Session;
use state::State;
use subject::subjects;

/// Arguments of `bench paper`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that holds the data sets [default: $SORDINO_DATA, ./data, /usr/share/datasets]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Networks with their data sets
    #[arg(long, value_name = "NETWORK-DATASET", value_delimiter = ',', default_values = ["cryptonets-mnist", "lenet-fashion-mnist"])]
    networks: Vec<String>,
    /// Folder of the model files: NETWORK-DATASET.safetensors with a quadratic for every element and
    /// NETWORK-channel-DATASET.safetensors with one for every channel
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// Compare the packings on the first N test images
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    images: u32,
    /// Batch sizes of the sweep [default: 1 to 16384 in steps of four, and 8192; with --quick 1,16,256,4096]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batches: Vec<u32>,
    /// Runs whose median counts, where they fit the budget [default: 5, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: Option<u16>,
    /// Seconds for the evaluations of one measurement, which decide how many images are run [default: 60, with --quick 8]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    budget: Option<u32>,
    /// A look at everything in a few minutes: fewer batch sizes, runs and images
    #[arg(long)]
    quick: bool,
    /// Folder for report.html, report.json and what has been measured so far; a run that was interrupted goes on from there
    #[arg(long, value_name = "DIR", default_value = "report")]
    out: PathBuf,
    /// Folder for the records, and where those of `bench ablation` are looked for
    #[arg(long, value_name = "DIR", default_value = "bench/results")]
    results: PathBuf,
}

/// What is measured, and how long it may take.
struct Settings {
    images: usize,
    batches: Vec<usize>,
    runs: usize,
    budget_seconds: f64,
}

impl Settings {
    fn new(args: &Args) -> Self {
        let batches: &[u32] = match (args.batches.as_slice(), args.quick) {
            ([], true) => &[1, 16, 256, 4096],
            ([], false) => &[1, 4, 16, 64, 256, 1024, 4096, 8192, 16384],
            (given, _) => given,
        };
        let mut batches: Vec<usize> = batches.iter().map(|&batch| batch as usize).collect();
        batches.sort_unstable();
        batches.dedup();
        Self {
            images: args.images as usize,
            batches,
            runs: usize::from(args.runs.unwrap_or(if args.quick { 3 } else { 5 })),
            budget_seconds: f64::from(args.budget.unwrap_or(if args.quick { 8 } else { 60 })),
        }
    }
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let settings = Settings::new(args);
    // All files first: a missing one is not found out after an hour.
    let found = subjects(args, output)?;
    let (subjects, mut notes) = (found.subjects, found.notes);
    fs::create_dir_all(&args.out)
        .with_context(|| format!("the folder {} for the report", args.out.display()))?;
    let state = State::open(&args.out, global.force, output)?;
    let mut session = Session::new(state, &settings, global, output)?;
    let overwrite = if global.force || session.state.continues() {
        Overwrite::Replace
    } else {
        Overwrite::Refuse
    };
    let page = args.out.join("report.html");
    let file = ReportFile::new(&page, &[], overwrite, Access::Shared)
        .context("the folder holds another report: give another one with --out")?;

    let mut measured = Vec::new();
    for subject in &subjects {
        output.note(format!("{}: packings", subject.title()));
        measured.push(packings::measure(subject, &mut session)?);
    }
    let mut points = Vec::new();
    for subject in &subjects {
        output.note(format!("{}: batch sizes", subject.title()));
        points.extend(sweep::measure(subject, &mut session, &mut notes)?);
    }
    let records: Vec<_> = measured
        .iter()
        .flat_map(|packings| packings.records())
        .collect();
    let accuracy = accuracy::over_seeds(&args.results)?;
    notes.extend(accuracy.notes);
    let report = pages::report(
        &subjects,
        &measured,
        pages::Parts {
            records: records.clone(),
            sweep: points,
            accuracy: accuracy.groups,
            notes,
        },
        &session,
    )?;
    file.write(&report)?;
    let kept = write_records(&args.results, "paper", &records)?;
    output.note(format!("wrote {} and {}", page.display(), kept.display()));
    output.result(&records, || {
        let mut text = table(&records);
        text += "\nAmortized time: element-wise against channel-wise packing\n";
        text += &amortized_table(&report.amortized);
        text += "\nBatch sizes (channel-wise: as many images a ciphertext as the planner takes)\n";
        text += &sweep_table(&report.sweep);
        for crossing in &report.break_even {
            text += &pages::crossing_text(crossing);
        }
        if !report.accuracy.is_empty() {
            text += "\nAccuracy over seeds\n";
            text += &ablation_table(&accuracy.records);
        }
        for note in &report.notes {
            text += &format!("\nNote: {note}");
        }
        text.trim_end().to_owned()
    })?;
    match report.verdict {
        Some(verdict) if !verdict.passed => {
            output.warn(verdict.text);
            Ok(Outcome::CheckFailed)
        }
        _ => Ok(Outcome::Good),
    }
}

/// A refusal that has to do with the arguments.
fn usage(text: String) -> anyhow::Error {
    Usage(text).into()
}
