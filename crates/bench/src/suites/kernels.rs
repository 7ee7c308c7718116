//! `sordino bench kernels`: the operations of the arithmetic, one by one.

use sordino::ring::backend::{self, Backend, ENVIRONMENT_VARIABLE};
use sordino_command::{GlobalArgs, Outcome, Output};

use super::places::ResultArgs;
use crate::kernels::measure_kernels;
use crate::record::kernel_tables;

/// Runs whose median counts, unless asked otherwise.
const RUNS: u16 = 5;
const QUICK_RUNS: u16 = 2;

/// Arguments of `bench kernels`.
#[derive(clap::Args)]
pub struct Args {
    /// Runs whose median counts [default: 5, with --quick 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: Option<u16>,
    #[command(flatten)]
    results: ResultArgs,
    /// Fewer sizes and shorter runs: shows that everything works, not how fast it is
    #[arg(long)]
    quick: bool,
}

pub(super) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let runs = args
        .runs
        .unwrap_or(if args.quick { QUICK_RUNS } else { RUNS });
    let progress = |what: &str| output.note(what);
    let records = measure_kernels(&backends(global)?, runs.into(), args.quick, &progress);
    let text = || kernel_tables(&records);
    args.results.finish("kernels", &records, output, text)
}

/// The one that was asked for, or all that this processor can run.
fn backends(global: &GlobalArgs) -> anyhow::Result<Vec<&'static Backend>> {
    let forced = std::env::var_os(ENVIRONMENT_VARIABLE).is_some_and(|name| !name.is_empty());
    Ok(if global.backend.is_some() || forced {
        vec![global.backend()?]
    } else {
        backend::available()
    })
}
