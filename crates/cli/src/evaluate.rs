//! `sordino evaluate`: the same function as `sordino-server evaluate`, with a report for people.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use sordino::container::Access;
use sordino::plan::ServerPlan;
use sordino_command::{EvaluateArgs, GlobalArgs, summary};
use sordino_evaluator::Evaluation;
use sordino_report::{
    Cell, Environment, Figure, Provenance, Report, ReportFile, StepTime, Table, Unit, count_text,
    page,
};

use crate::exit::Mismatch;
use crate::report::parameters;
use sordino_command::{Outcome, Output};

/// Arguments of `evaluate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    evaluate: EvaluateArgs,
    /// Also write a page about the evaluation (HTML, and its numbers in a JSON file)
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let evaluate = &args.evaluate;
    let Some(path) = &args.report else {
        let evaluation = evaluate.run(global)?;
        output.result(&evaluation, || summary(&evaluation))?;
        return Ok(Outcome::Good);
    };
    let others = [Some(&evaluate.out), evaluate.trace.as_ref()];
    let others: Vec<&Path> = others.into_iter().flatten().map(PathBuf::as_path).collect();
    let file = ReportFile::new(path, &others, global.overwrite(), Access::Shared)?;
    // Before the work, which would be the load.
    let environment = Environment::here();
    let evaluation = evaluate.run_with(global, true)?;
    // After it, so that the plan is not in memory twice.
    let plan = ServerPlan::read(&evaluate.plan)?;
    ensure!(
        plan.digest() == evaluation.plan,
        Mismatch(format!(
            "{}: the plan changed while it was in use, and there is no report: run evaluate again with --force",
            evaluate.plan.display()
        ))
    );
    let size = |path: &Path| std::fs::metadata(path).ok().map(|found| found.len());
    let upload = size(&evaluate.request);
    let keys = evaluate.keys.as_deref().and_then(size);
    let report = report(&evaluation, &plan, &environment, (upload, keys));
    file.write(&report, &page(&report))?;
    output.result(&evaluation, || {
        format!("{}\nreport in {}", summary(&evaluation), path.display())
    })?;
    Ok(Outcome::Good)
}

/// What the server knows: plan, times, sizes, machine; of the images only their number.
fn report(
    evaluation: &Evaluation,
    plan: &ServerPlan,
    environment: &Environment,
    (upload, keys): (Option<u64>, Option<u64>),
) -> Report {
    let figures = [
        Figure::of(
            "total time",
            evaluation.evaluate_seconds,
            Unit::Seconds,
            "from the request in memory to the reply in memory",
        ),
        Figure::of(
            "amortized time per image",
            evaluation.amortized_seconds,
            Unit::Seconds,
            "total time divided by the images; no single image is answered that fast",
        ),
        Figure::of(
            "peak memory",
            evaluation.peak_rss_bytes.map(|bytes| bytes as f64),
            Unit::Bytes,
            "of the whole process",
        ),
    ];
    let bytes = |bytes: Option<u64>| Cell::from(bytes.map(|bytes| bytes as f64));
    let measured = Table::single(
        format!("{} on {}", plan.network(), plan.dataset()),
        plan.packing().kind().to_string(),
        [
            ("images", evaluation.images.into()),
            ("blocks", u64::from(evaluation.blocks).into()),
            ("evaluate_seconds", evaluation.evaluate_seconds.into()),
            ("amortized_seconds", evaluation.amortized_seconds.into()),
            ("read_seconds", evaluation.read_seconds.into()),
            ("write_seconds", evaluation.write_seconds.into()),
            ("upload_bytes", bytes(upload)),
            ("key_bytes", bytes(keys)),
            ("reply_bytes", evaluation.reply_bytes.into()),
            ("peak_rss_bytes", bytes(evaluation.peak_rss_bytes)),
            ("estimated_seconds", plan.estimate().evaluate_seconds.into()),
        ],
    );
    let images = count_text(evaluation.images as f64);
    Report {
        title: format!("{images} encrypted images through {}", plan.network()),
        summary: "What the evaluating side knows: plan, times and sizes. It saw ciphertexts only."
            .into(),
        figures: figures.into_iter().flatten().collect(),
        comparisons: vec![measured],
        steps: steps(evaluation, plan),
        parameters: vec![parameters(plan)],
        provenance: Provenance {
            threads: Some(evaluation.threads as u64),
            backend: Some(evaluation.backend.into()),
            digests: vec![
                ("server plan".into(), evaluation.plan.to_string()),
                ("request".into(), evaluation.request.to_string()),
                ("reply".into(), evaluation.reply.to_string()),
            ],
            ..Provenance::new(environment)
        },
        ..Report::default()
    }
}

/// Every step of the plan with the time of all blocks together.
fn steps(evaluation: &Evaluation, plan: &ServerPlan) -> Vec<StepTime> {
    let steps = plan.explain().steps.into_iter().enumerate();
    steps
        .map(|(index, step)| {
            let traced = evaluation.trace.iter().flat_map(|trace| &trace.steps);
            let seconds = traced.filter(|t| t.step == index).map(|t| t.seconds);
            let seconds = seconds.reduce(|sum, more| sum + more);
            StepTime {
                name: step.name,
                operation: step.operation.into(),
                seconds,
                share: seconds.map(|seconds| seconds / evaluation.evaluate_seconds),
                level: Some(step.level as u64),
                log2_scale: Some(step.log2_scale),
            }
        })
        .collect()
}
