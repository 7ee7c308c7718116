//! `sordino decrypt`

use std::path::PathBuf;

use serde_json::{Value, json};
use sordino::client::{PredictionFormat, Provenance, RequestRecord};
use sordino::container::{Access, check_writable, remove_file};
use sordino::plan::ClientPlan;
use sordino::{Client, Predictions};
use sordino_command::{GlobalArgs, Outcome, Output};
use sordino_report::{ReportFile, page};

use crate::decrypt_report::decrypt_report;
use crate::encrypt::note_no_check_images;
use crate::passphrase::PassphraseFile;
use crate::replaced::is_not_read;

/// Arguments of `decrypt`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The client plan
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// The secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The reply
    #[arg(long, value_name = "REPLY")]
    reply: PathBuf,
    /// Where to write the predictions: .csv or .json
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write the rounded logits
    #[arg(long)]
    logits: bool,
    /// Also write a page with counts, margins and the images around thresholds (HTML, and its numbers in a JSON file); only its owner may read it
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Remove the secret key, with what was kept beside it, once the predictions are written
    #[arg(long)]
    forget_key: bool,
    #[command(flatten)]
    passphrase: PassphraseFile,
}

/// How many images a warning names.
const NAMED: usize = 5;

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    // Refuses before the work predictions that cannot be written.
    is_not_read(&args.out, &[&args.plan, &args.key, &args.reply])?;
    let beside = Provenance::beside(&args.out);
    for path in [&args.out, &beside] {
        check_writable(path, global.overwrite(), Access::OwnerOnly)?;
    }
    let report = args.report.as_deref().map(|path| {
        let others = [&*args.plan, &*args.key, &*args.reply, &*args.out, &*beside];
        ReportFile::new(path, &others, global.overwrite(), Access::OwnerOnly)
    });
    let report = report.transpose()?;
    let client = Client::new(ClientPlan::read(&args.plan)?, global.backend()?)?;
    let key = args.passphrase.read_key(&client, &args.key)?;
    note_no_check_images(client.plan(), output);
    let (reply, reply_digest) = client.read_reply_noted(&args.reply, key.key_id())?;
    let request = reply.header().parents.request;
    let record = RequestRecord::read(&args.key, key.key_id(), request)?;
    let predictions = match &record.marks {
        Some(marks) => client.decrypt_marked(&key, &reply, marks.clone())?,
        None => client.decrypt(&key, &reply)?,
    };
    let format = PredictionFormat::of_path(&args.out);
    let (names, overwrite) = (record.names.as_deref(), global.overwrite());
    predictions.write_file(&args.out, format, names, args.logits, overwrite)?;
    let provenance = Provenance::new(client.plan(), &predictions, request, reply_digest);
    provenance.write(&beside, overwrite)?;
    if let Some(file) = &report {
        let report = decrypt_report(client.plan(), &predictions, names, &provenance)?;
        file.write(&report, &page(&report))?;
        output.note(format_args!("report in {}", file.path().display()));
    }
    if args.forget_key {
        record.remove(&args.key)?;
        remove_file(&args.key)?;
    }

    let flagged = warn_of_range(&predictions, client.plan().logit_range, output);
    let decided = warn_of_close(&predictions, output);
    let check = predictions.check();
    let result = json!({
        "images": predictions.len(),
        "left_out": predictions.marks().left_out(),
        "unusual": predictions.marks().unusual(),
        "out": args.out,
        "request": request,
        "released_bits": predictions.released_bits(),
        "out_of_range": flagged,
        "findings": decided,
        "provenance": beside,
        "check_images": check.map_or(0, |check| check.images),
        "worst_check_error": check.map(|check| check.worst_error),
        "check_tolerance": check.map(|check| check.tolerance),
        "forgot_key": args.forget_key,
    });
    output.result(&result, || {
        let checked = check.map_or_else(String::new, |check| {
            format!("; {} check images came back right", check.images)
        });
        format!(
            "{} predictions in {}; logits rounded to 2^{}{checked}",
            predictions.len(),
            args.out.display(),
            -predictions.released_bits()
        )
    })?;
    Ok(Outcome::Good)
}

/// Says on which findings rounding or noise could have decided, and gives what was decided on each.
pub(crate) fn warn_of_close(predictions: &Predictions, output: &Output) -> Vec<Value> {
    let names = predictions.class_names();
    let decided = predictions.decided().into_iter();
    decided
        .map(|(class, decided, close)| {
            let name = &names[class];
            if close > 0 {
                output.warn(format!(
                    "finding {name:?}: {close} of {} images are within {:.4} of the threshold, where the rounding of logits or noise could have decided: look at them; they are marked in column close_{name}",
                    predictions.len(),
                    predictions.close_margin(),
                ));
            }
            json!({ "name": name, "decided": decided, "close": close })
        })
        .collect()
}

/// Says which images have scores that calibration did not see, and gives their number.
pub(crate) fn warn_of_range(
    predictions: &Predictions,
    (low, high): (f64, f64),
    output: &Output,
) -> usize {
    let flagged: Vec<usize> = (0..predictions.len())
        .filter(|&image| predictions.out_of_range()[image])
        .collect();
    let kept: Vec<usize> = predictions.marks().kept().collect();
    if !flagged.is_empty() {
        let first: Vec<String> = flagged
            .iter()
            .take(NAMED)
            .map(|&image| kept[image].to_string())
            .collect();
        let more = if flagged.len() > NAMED { ", …" } else { "" };
        output.warn(format!(
            "{} of {} images have scores outside the range {low:.2}..{high:.2} that was seen in calibration (index {}{more}): do not rely on them; they are marked in column out_of_range",
            flagged.len(),
            predictions.len(),
            first.join(", "),
        ));
    }
    flagged.len()
}
