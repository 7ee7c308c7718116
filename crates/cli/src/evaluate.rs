//! `sordino evaluate`: the same function as `sordino-server evaluate`, with a report for people.

use std::path::{Path, PathBuf};

use sordino::container::Access;
use sordino::plan::ServerPlan;
use sordino::report::{
    Cell, Comparison, Environment, Figure, Provenance, Report, Row, StepTime, Unit,
};
use sordino_command::{EvaluateArgs, GlobalArgs, summary};
use sordino_evaluator::Evaluation;

use crate::exit::Mismatch;
use crate::output::{Outcome, Output};
use crate::report::{PROGRAM, ReportFile, parameters};

/// Arguments of `evaluate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    evaluate: EvaluateArgs,
    /// Also write a page of what was done (HTML, and its numbers as JSON beside it)
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
    if plan.digest() != evaluation.plan {
        return Err(Mismatch(format!(
            "{}: the plan changed while it was in use, and there is no report: run evaluate again with --force",
            evaluate.plan.display()
        ))
        .into());
    }
    let size = |path: &Path| std::fs::metadata(path).ok().map(|found| found.len());
    let upload = size(&evaluate.request);
    let keys = evaluate.keys.as_deref().and_then(size);
    file.write(&report(&evaluation, &plan, &environment, (upload, keys)))?;
    output.result(&evaluation, || {
        format!("{}\nreport in {}", summary(&evaluation), path.display())
    })?;
    Ok(Outcome::Good)
}

/// What the server knows: plan, times, sizes, machine; nothing of the images but how many there are.
fn report(
    evaluation: &Evaluation,
    plan: &ServerPlan,
    environment: &Environment,
    (upload, keys): (Option<u64>, Option<u64>),
) -> Report {
    let images = Unit::Count.text(evaluation.images as f64);
    let title = format!("{images} encrypted images through {}", plan.network());
    let figure = |label: &str, value, unit, detail: &str| Figure {
        label: label.into(),
        value,
        unit,
        detail: detail.into(),
    };
    let mut figures = vec![
        figure(
            "total time",
            evaluation.evaluate_seconds,
            Unit::Seconds,
            "from the request in memory to the reply in memory",
        ),
        figure(
            "amortized time an image",
            evaluation.amortized_seconds,
            Unit::Seconds,
            "total time divided by the images; no single image is answered that fast",
        ),
    ];
    if let Some(bytes) = evaluation.peak_rss_bytes {
        figures.push(figure(
            "peak memory",
            bytes as f64,
            Unit::Bytes,
            "of the whole process",
        ));
    }
    let row = |name, label, unit, value| Row::new(name, label, unit, vec![value]);
    let bytes = |bytes: Option<u64>| Cell::number(bytes.map(|bytes| bytes as f64));
    let rows = vec![
        row(
            "images",
            "Images",
            Unit::Count,
            Cell::number(evaluation.images as f64),
        ),
        row(
            "blocks",
            "Blocks of ciphertexts",
            Unit::Count,
            Cell::number(f64::from(evaluation.blocks)),
        ),
        row(
            "evaluate_seconds",
            "Total time",
            Unit::Seconds,
            Cell::number(evaluation.evaluate_seconds),
        ),
        row(
            "amortized_seconds",
            "Amortized time an image",
            Unit::Seconds,
            Cell::number(evaluation.amortized_seconds),
        ),
        row(
            "read_seconds",
            "Reading and checking files",
            Unit::Seconds,
            Cell::number(evaluation.read_seconds),
        ),
        row(
            "write_seconds",
            "Writing the reply",
            Unit::Seconds,
            Cell::number(evaluation.write_seconds),
        ),
        row("upload_bytes", "Request", Unit::Bytes, bytes(upload)),
        row("key_bytes", "Evaluation key", Unit::Bytes, bytes(keys)),
        row(
            "reply_bytes",
            "Reply",
            Unit::Bytes,
            Cell::number(evaluation.reply_bytes as f64),
        ),
        row(
            "peak_rss_bytes",
            "Peak memory",
            Unit::Bytes,
            bytes(evaluation.peak_rss_bytes),
        ),
        row(
            "estimated_seconds",
            "Total time that the plan foresaw for a full batch",
            Unit::Seconds,
            Cell::number(plan.estimate().evaluate_seconds),
        ),
    ];
    Report {
        title,
        summary: "What the evaluating side knows: plan, times and sizes. It saw ciphertexts only."
            .into(),
        figures,
        comparisons: vec![Comparison {
            title: format!("{} on {}", plan.network(), plan.dataset()),
            baseline: None,
            columns: vec![plan.packing().to_string()],
            rows,
        }],
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
            ..Provenance::new(PROGRAM, environment)
        },
        ..Report::default()
    }
}

/// Every step of the plan with what its blocks took together.
fn steps(evaluation: &Evaluation, plan: &ServerPlan) -> Vec<StepTime> {
    let traced = evaluation
        .trace
        .as_ref()
        .map_or(&[][..], |trace| &trace.steps);
    let steps = plan.explain().steps.into_iter().enumerate();
    steps
        .map(|(index, step)| {
            let seconds = traced.iter().filter(|t| t.step == index).map(|t| t.seconds);
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
