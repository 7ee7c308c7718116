//! `sordino encrypt`

use std::path::{Path, PathBuf};

use serde_json::json;
use sordino::Client;
use sordino::client::{Keys, Marks, RequestRecord, UnusualPolicy, ViewCount};
use sordino::container::{Access, Digest, check_writable};
use sordino::data::Layout;
use sordino::plan::ClientPlan;
use sordino::protocol::Request;
use sordino_command::{GlobalArgs, Outcome, Output};

use crate::one_of::one_of;
use crate::passphrase::NewPassphrase;
use crate::replaced::is_not_read;

/// Arguments of `encrypt`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The client plan
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// The secret key [default: a fresh one in REQUEST.key, with REQUEST.evaluation.key if the plan needs one]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Images: a folder of PNG or JPEG, DICOM, IDX, CIFAR binary, .npy or .npz
    #[arg(long, value_name = "PATH")]
    images: PathBuf,
    /// Raw values of black and white, where they are not the network's own: 0..65535
    #[arg(long, value_name = "A..B", value_parser = parse_range, allow_hyphen_values = true)]
    range: Option<(f64, f64)>,
    /// Where arrays have their channels: before rows and columns, or behind [default: by their sizes]
    #[arg(long, value_name = "nchw|nhwc", value_parser = one_of::<Layout>(&["nchw", "nhwc"]))]
    layout: Option<Layout>,
    /// Where to write the request
    #[arg(long, value_name = "REQUEST")]
    out: PathBuf,
    /// What to do with images unlike those that the network is made for: leave them out unless the plan proves that they do no harm to
    /// the others, encrypt them in blocks of their own, or encrypt them among the others
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Unusual::Exclude)]
    unusual: Unusual,
    /// Views of each image, such as its mirror image, whose mean score counts; they take idle places and cost nothing. auto: as many as
    /// were best on validation images
    #[arg(long, value_name = "N|auto", value_parser = parse_views, default_value = "auto")]
    views: ViewCount,
    /// Changes nothing here: only `submit` sends a batch once more
    #[arg(long, hide = true)]
    no_resubmit: bool,
    #[command(flatten)]
    passphrase: NewPassphrase,
}

/// What to do with unusual images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Unusual {
    Exclude,
    Separate,
    Keep,
}

impl From<Unusual> for UnusualPolicy {
    fn from(unusual: Unusual) -> Self {
        match unusual {
            Unusual::Exclude => Self::Exclude,
            Unusual::Separate => Self::Separate,
            Unusual::Keep => Self::Keep,
        }
    }
}

/// How many unusual images a message names.
const NAMED: usize = 3;

/// Which images of a batch are unusual, and what becomes of them; `None` if all are usual.
pub(crate) fn describe_unusual(marks: &Marks) -> Option<String> {
    let (found, left_out) = (marks.unusual().len(), marks.left_out());
    if found == 0 {
        return None;
    }
    let named = marks.unusual().iter().take(NAMED);
    let named: Vec<String> = named
        .map(|image| format!("index {}: {}", image.index, image.why))
        .collect();
    let more = if found > NAMED { "; …" } else { "" };
    let fate = match left_out {
        0 => "they are marked in column status",
        _ => {
            "they are left out, since one such image can ruin the answers of others, and have a row without an answer; --unusual separate and --unusual keep encrypt them"
        }
    };
    Some(format!(
        "{found} of {} images are unlike those that the network is made for ({}{more}): {fate}",
        marks.images(),
        named.join("; ")
    ))
}

/// Reads `A..B`.
pub(crate) fn parse_range(text: &str) -> Result<(f64, f64), String> {
    let wrong = || format!("{text:?} is no range: write A..B with A below B, such as 0..255");
    let (low, high) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| {
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
    };
    match (number(low), number(high)) {
        (Some(low), Some(high)) if low < high => Ok((low, high)),
        _ => Err(wrong()),
    }
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> anyhow::Result<Outcome> {
    // The flag is taken so that scripts can give both commands the same.
    let _ = args.no_resubmit;
    // Refuses before the work a request that cannot be written.
    is_not_read(&args.out, &[&args.plan, &args.images])?;
    check_writable(&args.out, global.overwrite(), Access::Shared)?;
    let client = Client::new(ClientPlan::read(&args.plan)?, global.backend()?)?;
    let passphrase = match &args.key {
        Some(_) => None,
        None => args.passphrase.of_new()?,
    };
    note_no_check_images(client.plan(), output);
    let prepared = client.prepare_path(&args.images, args.layout, args.range)?;
    for note in &prepared.notes {
        output.warn(note);
    }
    let keys = match &args.key {
        Some(path) => {
            let secret = args.passphrase.read_key(&client, path)?;
            let before = RequestRecord::uses(path, secret.key_id());
            if before > 0 {
                output.note(format!(
                    "this key was used {before} times before: without --key each request has its own, and what a lying server learns of one key ends with it"
                ));
            }
            Keys {
                secret,
                evaluation: None,
            }
        }
        None => client.generate_keys()?,
    };
    let marks = client.screen(&prepared.values, args.unusual.into())?;
    let marks = client.with_views(marks, args.views)?;
    let request = client.encrypt_marked(&keys.secret, &prepared.values, &marks)?;
    if let Some(text) = describe_unusual(&marks) {
        output.warn(text);
    }
    let fresh = match &args.key {
        Some(_) => None,
        None => Some(keys.write_beside(&args.out, passphrase.as_ref(), global.overwrite())?),
    };
    let secret_path = fresh.as_ref().map(|files| files.secret.as_path());
    let secret_path = secret_path.or(args.key.as_deref()).unwrap_or(&args.out);
    let digest = match write(&request, args, global, secret_path, prepared.names, &marks) {
        Ok(digest) => digest,
        Err(error) => {
            // Keys without a request are of no use, and the error is what matters.
            let _ = fresh.map(|files| files.remove());
            return Err(error);
        }
    };
    let header = request.header();
    let bytes = std::fs::metadata(&args.out)?.len();
    let result = json!({
        "request": digest,
        "plan": header.parents.plan,
        "key_id": header.key_id,
        "images": marks.images(),
        "encrypted": marks.encrypted(),
        "unusual": marks.unusual(),
        "views": marks.views(),
        "blocks": header.blocks,
        "check_images": client.plan().header.check_images * header.blocks as usize,
        "request_bytes": bytes,
        "key": secret_path,
        "evaluation_key": fresh.as_ref().and_then(|files| files.evaluation.as_ref()),
    });
    if fresh.is_some() {
        output.note(format!(
            "{} decrypts the reply and nothing else: give it to nobody, and keep it until the reply is decrypted",
            secret_path.display()
        ));
    }
    output.result(&result, || {
        format!(
            "encrypted {} images into {}{} ({:.1} MiB, {} bytes per image)",
            marks.encrypted(),
            args.out.display(),
            views_text(marks.views()),
            bytes as f64 / f64::from(1 << 20),
            bytes / header.images
        )
    })?;
    Ok(Outcome::Good)
}

/// A number of views, or auto.
pub(crate) fn parse_views(text: &str) -> Result<ViewCount, String> {
    match text {
        "auto" => Ok(ViewCount::Auto),
        _ => match text.parse() {
            Ok(views) if views > 0 => Ok(ViewCount::Exactly(views)),
            _ => Err(format!(
                "expected auto or a number of views, such as 2, found {text:?}"
            )),
        },
    }
}

/// How many views of the images there are, for the end of a phrase.
pub(crate) fn views_text(views: usize) -> String {
    match views {
        1 => String::new(),
        _ => format!(", each in {views} views"),
    }
}

/// Says that a reply to this plan cannot be checked, if so.
pub(crate) fn note_no_check_images(plan: &ClientPlan, output: &Output) {
    if let Some(reason) = plan.no_check_images() {
        output.note(format!(
            "the plan has no check images, so that a forged reply is not noticed, and scores of it must not be published: {reason}"
        ));
    }
}

/// Writes a request, and its record beside the key.
fn write(
    request: &Request,
    args: &Args,
    global: &GlobalArgs,
    secret_key: &Path,
    names: Option<Vec<String>>,
    marks: &Marks,
) -> anyhow::Result<Digest> {
    let digest = request.write_file(&args.out, global.overwrite())?;
    let record = RequestRecord {
        request: digest,
        key: request.header().key_id,
        plan: request.header().parents.plan,
        names,
        marks: Some(marks.clone()),
    };
    if let Err(error) = record.write(secret_key) {
        // Nobody could decrypt the reply.
        let _ = std::fs::remove_file(&args.out);
        return Err(error.into());
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(parse_range("0..255"), Ok((0.0, 255.0)));
        assert_eq!(parse_range("-1.5 .. 2e3"), Ok((-1.5, 2000.0)));
        for text in ["", "1", "2..1", "1..1", "a..b", "0..inf", "nan..1", "0.255"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }
}
