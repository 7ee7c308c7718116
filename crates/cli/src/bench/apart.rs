//! A measured evaluation once more in a process of its own, for its memory.

use std::process::Command;

use anyhow::Context;
use serde_json::Value;
use sordino::container::{Overwrite, TemporaryFolder};
use sordino::report::Phase;
use sordino::{MeasureOptions, Measurement};

/// Fills in the peak memory and the time that reading takes, as a separate process has them.
pub(super) fn set_apart(
    measurement: &mut Measurement,
    options: &MeasureOptions<'_>,
) -> anyhow::Result<()> {
    let separate = evaluate_apart(measurement, options)?;
    let record = &mut measurement.record;
    record.set_peak_memory(separate["peak_rss_bytes"].as_u64());
    if let Some(seconds) = separate["read_seconds"].as_f64() {
        record.set_seconds(Phase::Read, &[seconds]);
    }
    Ok(())
}

/// Evaluates once more in a process of its own, in a folder without a secret key: what a server would need.
fn evaluate_apart(
    measurement: &Measurement,
    options: &MeasureOptions<'_>,
) -> anyhow::Result<Value> {
    let folder = TemporaryFolder::unique(None)?;
    let at = |name: &str| folder.path().join(name);
    let workflow = &measurement.workflow;
    workflow
        .plan()
        .server
        .write(at("server.plan"), Overwrite::Refuse)?;
    std::fs::write(at("request"), &measurement.request)
        .context("the request of the separate evaluation")?;
    let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
    command
        .current_dir(folder.path())
        .args(["evaluate", "--json", "--quiet"]);
    command.args([
        "--plan",
        "server.plan",
        "--request",
        "request",
        "--out",
        "reply",
    ]);
    command.args([
        "--threads",
        &options.threads.to_string(),
        "--backend",
        options.backend.name,
    ]);
    if let Some(key) = &workflow.keys().evaluation {
        key.write_file(at("evaluation.key"), Overwrite::Refuse)?;
        command.args(["--keys", "evaluation.key"]);
    }
    let result = command
        .output()
        .context("starting the separate evaluation")?;
    anyhow::ensure!(
        result.status.success(),
        "the separate evaluation failed ({}): {}",
        result.status,
        String::from_utf8_lossy(&result.stderr).trim()
    );
    Ok(serde_json::from_slice(&result.stdout)?)
}
