//! `sordino demo`

use std::path::{Path, PathBuf};
use std::time::Instant;

use sordino::compile;
use sordino::data::prepare;
use sordino::plan::CompileOptions;
use sordino_bench::measure::{MeasureOptions, measure};
use sordino_bench::record::Timing;
use sordino_bench::{shifted_digits, show_training, train_digits};
use sordino_command::terminal::Bar;
use sordino_command::{GlobalArgs, Outcome, Output};
use sordino_report::{bytes_text, percent_text, seconds_text};

use crate::demo_clinic;

/// Arguments of `demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Instead: a hospital's way, command by command, with 624 chest radiographs, decisions and pages, in under a minute
    #[arg(long)]
    clinic: bool,
    /// The folder in which --clinic leaves images, plans, answers and pages [default: sordino-clinic]
    #[arg(long, value_name = "DIR", requires = "clinic")]
    out: Option<PathBuf>,
}

/// Images that are encrypted.
const IMAGES: usize = 4096;

/// Encrypted accuracy below which the demo fails.
const LEAST_ACCURACY: f64 = 0.95;

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    if args.clinic {
        let folder = args.out.as_deref().unwrap_or(Path::new("sordino-clinic"));
        return demo_clinic::run(folder, global, output);
    }
    let start = Instant::now();
    output.text("1. Training a small convolutional network on two thirds of 1,797 handwritten digits of 8x8 pixels")?;
    let model = {
        let bar = Bar::new("train", global.quiet);
        train_digits(&mut |progress| show_training(&bar, progress, "digits"))?
    };
    output.text(format!(
        "   {:.1} s\n2. Compiling it for batches of {IMAGES} images",
        start.elapsed().as_secs_f64()
    ))?;
    let plan = compile(&model, &CompileOptions::new(IMAGES))?;
    let explanation = plan.client.explain();
    output.text(indented(&explanation.to_string()))?;
    let predicted_bits = explanation.estimate.precision_bits;
    output.text(format!(
        "3. Encrypting {IMAGES} images made from the last third, which training never saw: as they are, then shifted by one pixel to every side (so these are not {IMAGES} independent images)"
    ))?;
    let images = shifted_digits(IMAGES)?;
    let prepared = prepare(&images, &model.preprocess, None)?;
    let bar = Bar::new("evaluate", global.quiet);
    let options = MeasureOptions::new(global.backend()?, 1, &bar);
    let record = measure(&model, plan, &prepared, images.labels.as_deref(), &options)?.record;
    drop(bar);

    let or_dash = |text: Option<String>| text.unwrap_or("-".to_owned());
    let seconds = |timing: Timing| or_dash(timing.median.map(seconds_text));
    let bytes = |value: Option<u64>| or_dash(value.map(bytes_text));
    let percent = |value: Option<f64>| or_dash(value.map(percent_text));
    let each = |value: Option<u64>| or_dash(value.map(|v| (v / IMAGES as u64).to_string()));
    let accuracy = record.accuracy_encrypted.unwrap_or(0.0);
    let (outcome, verdict) = match accuracy >= LEAST_ACCURACY {
        true => (Outcome::Good, "good: encrypted accuracy of at least 95 %"),
        false => (
            Outcome::CheckFailed,
            "FAILED: encrypted accuracy below 95 %",
        ),
    };
    let measured = record.worst_logit_error.unwrap_or(0.0);
    let records = [record.clone()];
    output.result(&records, || {
        format!(
            "   {}, request of {} ({} bytes per image)\n\
             4. Evaluating the network on the ciphertexts, without the secret key\n   \
             {}: {} per image in a batch of {IMAGES} (amortized, not a latency), {} thread(s), back end {}\n\
             5. Decrypting the reply of {} ({} bytes per image)\n   {}\n\n\
             accuracy             {} encrypted, {} plain (float)\n\
             agreement            {} with the same integers in the clear, {} with the float network\n\
             worst logit error    {measured:.2e} measured (2^{:.1}), at most 2^{:.1} predicted\n\
             parameters           N = {}, log2 QP = {:.1}, {}-bit security\n\
             evaluation key       {}\n\
             whole demo           {:.1} s\n\
             {}",
            seconds(record.encrypt),
            bytes(record.upload_bytes),
            each(record.upload_bytes),
            seconds(record.evaluate),
            seconds(record.amortized),
            record.threads.unwrap_or(0),
            record.backend.as_deref().unwrap_or("-"),
            bytes(record.reply_bytes),
            each(record.reply_bytes),
            seconds(record.decrypt),
            percent(record.accuracy_encrypted),
            percent(record.accuracy_plain),
            percent(record.agreement),
            percent(record.agreement_float),
            measured.log2(),
            -predicted_bits,
            record.ring_degree.unwrap_or(0),
            record.log2_qp.unwrap_or(0.0),
            record.security_bits.unwrap_or(0),
            match record.key_bytes {
                Some(0) | None => "not needed".to_owned(),
                Some(size) => bytes_text(size),
            },
            start.elapsed().as_secs_f64(),
            verdict,
        )
    })?;
    Ok(outcome)
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("   {line}")).collect();
    lines.join("\n")
}
