//! `sordino bench calibrate`: a table of costs for the planner.

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;
use sordino::calibrate;
use sordino::container::{Access, AtomicFile, Error as FileError};
use sordino::plan::CostTable;
use sordino::report::lines;
use sordino_command::GlobalArgs;

use crate::output::{Outcome, Output};

/// Arguments of `bench calibrate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to write the table
    #[arg(long, value_name = "FILE", default_value = "cost.json")]
    out: PathBuf,
    /// Runs whose median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
}

/// Name of a cost, what it counts, and where it stands in a table.
type Cost = (&'static str, &'static str, fn(&CostTable) -> f64);

const COSTS: [Cost; 4] = [
    ("linear_gmacs", "G byte products/s", |table| {
        table.linear_gmacs
    }),
    ("ntt_us", "us a transform, N = 8192", |table| table.ntt_us),
    ("pointwise_ns", "ns a residue", |table| table.pointwise_ns),
    ("expand_ns", "ns a byte", |table| table.expand_ns),
];

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    // A file that may not be replaced is told of before anything is measured.
    let mut file = AtomicFile::create(&args.out, global.overwrite(), Access::Shared)?;
    let backend = global.backend()?;
    let threads = rayon::current_num_threads();
    output.note(format!(
        "measuring on {threads} thread(s), back end {}; other load on the machine makes everything look dearer",
        backend.name
    ));
    let table = calibrate(backend, usize::from(args.runs));
    let mut text = serde_json::to_string_pretty(&table)?;
    text.push('\n');
    file.write_all(text.as_bytes())
        .and_then(|()| file.flush())
        .map_err(|error| FileError::io(&args.out, "write", error))?;
    file.commit()?;
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
        let rows: Vec<Vec<String>> = COSTS
            .iter()
            .map(|(name, unit, cost)| {
                let (measured, built_in) = (cost(&table), cost(&default));
                vec![
                    (*name).to_owned(),
                    (*unit).to_owned(),
                    measured.to_string(),
                    built_in.to_string(),
                    format!("{:.2}", measured / built_in),
                ]
            })
            .collect();
        let titles = ["cost", "unit", "measured", "default", "ratio"];
        format!(
            "{}compile with it: sordino compile MODEL --cost {} ...",
            lines(2, &titles, &rows),
            args.out.display()
        )
    })?;
    Ok(Outcome::Good)
}
