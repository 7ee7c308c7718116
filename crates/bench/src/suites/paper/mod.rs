//! `sordino bench paper`: channel-wise and element-wise packing on the same images, over batch sizes, with a report.

mod accuracy;
mod measuring;
mod packings;
mod pages;
mod settings;
mod state;
mod subject;
mod sweep;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use sordino::container::{Access, Error as FileError, Overwrite};
use sordino_command::{GlobalArgs, Outcome, Output};
use sordino_report::ReportFile;

use super::places::{DataArgs, ModelArgs, ResultArgs};
use crate::record::table;
use crate::report::{ablation_table, accuracy_groups, amortized_table, sweep_table};
pub(super) use accuracy::over_seeds;
use measuring::Session;
use settings::Settings;
use state::State;
use subject::subjects;

/// Arguments of `bench paper`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Networks with their data sets; NETWORK-DATASET.safetensors has a quadratic per element, NETWORK-channel-DATASET.safetensors
    /// one per channel
    #[arg(long, value_name = "NETWORK-DATASET", value_delimiter = ',', default_values = ["cryptonets-mnist", "lenet-fashion-mnist"])]
    networks: Vec<String>,
    #[command(flatten)]
    models: ModelArgs,
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
    /// Folder for report.html, report.json and finished measurements; an interrupted run resumes from there
    #[arg(long, value_name = "DIR", default_value = "report")]
    out: PathBuf,
    #[command(flatten)]
    results: ResultArgs,
}

pub(super) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let settings = Settings::new(args);
    // Loads all files first, so that a missing one is refused before an hour of work.
    let mut notes = Vec::new();
    let (data, models) = (&args.data, &args.models);
    let subjects = subjects(&args.networks, data, models, &mut notes, output)?;
    fs::create_dir_all(&args.out)
        .map_err(|error| FileError::io(&args.out, "create the folder", error))?;
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
    let seeds = over_seeds(args.results.folder(), &mut notes)?;
    let mut report = pages::report(&subjects, &measured, points, &session)?;
    report.accuracy = accuracy_groups(&seeds);
    report.report.notes = notes;
    file.write(&report, &report.page())?;
    output.note(format!("wrote {}", page.display()));
    let records = &report.records;
    args.results.keep("paper", records, output)?;
    output.result(records, || {
        let mut text = table(records);
        text += "\nAmortized time: element-wise against channel-wise packing\n";
        text += &amortized_table(&report.amortized);
        text +=
            "\nBatch sizes (channel-wise: as many images per ciphertext as the planner chooses)\n";
        text += &sweep_table(&report.sweep);
        for crossing in &report.break_even {
            text += &pages::crossing_text(crossing);
        }
        if !report.accuracy.is_empty() {
            text += "\nAccuracy over seeds\n";
            text += &ablation_table(&seeds);
        }
        for note in &report.report.notes {
            text += &format!("\nNote: {note}");
        }
        text.trim_end().to_owned()
    })?;
    match report.report.verdict {
        Some(verdict) if !verdict.passed => {
            output.warn(verdict.text);
            Ok(Outcome::CheckFailed)
        }
        _ => Ok(Outcome::Good),
    }
}
