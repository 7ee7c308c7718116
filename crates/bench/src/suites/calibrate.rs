//! `sordino bench calibrate`: a table of costs for the planner.

use std::path::PathBuf;

use serde_json::json;
use sordino::container::{Access, check_writable, write_atomic};
use sordino::plan::CostTable;
use sordino_command::{GlobalArgs, Outcome, Output};
use sordino_report::Align::{Left, Right};
use sordino_report::{Column, columns};

use crate::calibrate;

/// Arguments of `bench calibrate`.
#[derive(clap::Args)]
pub struct Args {
    /// Where to write the table
    #[arg(long, value_name = "FILE", default_value = "cost.json")]
    out: PathBuf,
    /// Runs whose median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
}

/// Name of a cost, its unit, and its field of a table.
type Cost = (&'static str, &'static str, fn(&CostTable) -> f64);

const COSTS: [Cost; 4] = [
    ("linear_gmacs", "G byte products/s", |t| t.linear_gmacs),
    ("ntt_us", "us per transform, N = 8192", |t| t.ntt_us),
    ("pointwise_ns", "ns per residue", |t| t.pointwise_ns),
    ("expand_ns", "ns per byte", |t| t.expand_ns),
];

/// Name and unit of a cost, as measured and by default.
type Row = (&'static str, &'static str, f64, f64);

const COLUMNS: [Column<'_, Row>; 5] = [
    ("cost", Left, |(name, ..)| Some((*name).into())),
    ("unit", Left, |(_, unit, ..)| Some((*unit).into())),
    ("measured", Right, |(.., measured, _)| {
        Some(measured.to_string())
    }),
    ("default", Right, |(.., default)| Some(default.to_string())),
    ("ratio", Right, |(.., measured, default)| {
        Some(format!("{:.2}", measured / default))
    }),
];

pub(super) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    // Refuses a file that may not be replaced before anything is measured.
    check_writable(&args.out, global.overwrite(), Access::Shared)?;
    let backend = global.backend()?;
    let threads = rayon::current_num_threads();
    output.note(format!(
        "measuring on {threads} thread(s), back end {}; other load on the machine makes all costs look higher",
        backend.name
    ));
    let table = calibrate(backend, usize::from(args.runs));
    let text = serde_json::to_string_pretty(&table)? + "\n";
    write_atomic(&args.out, text, global.overwrite(), Access::Shared)?;
    output.note(format!("wrote {}", args.out.display()));

    let default = CostTable::default();
    let ratios: serde_json::Map<String, serde_json::Value> = COSTS
        .iter()
        .map(|(name, _, cost)| ((*name).to_owned(), json!(cost(&table) / cost(&default))))
        .collect();
    let result = json!({
        "table": table,
        "default": default,
        "ratios": ratios,
        "out": args.out,
        "threads": threads,
        "backend": backend.name,
        "runs": args.runs,
    });
    output.result(&result, || {
        let rows = COSTS.map(|(name, unit, cost)| (name, unit, cost(&table), cost(&default)));
        format!(
            "{}compile with it: sordino compile MODEL --cost {} ...",
            columns(&COLUMNS, &rows),
            args.out.display()
        )
    })?;
    Ok(Outcome::Good)
}
