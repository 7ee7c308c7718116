//! `sordino encrypt`

use std::path::PathBuf;

use serde_json::json;
use sordino::Client;
use sordino::client::write_names;
use sordino::container::{Access, check_writable};
use sordino::data::open_images;
use sordino::plan::ClientPlan;
use sordino_command::{GlobalArgs, Outcome, Output};

/// Arguments of `encrypt`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The client plan
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// The secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Images: a folder of PNG or JPEG, IDX, CIFAR binary, .npy or .npz
    #[arg(long, value_name = "PATH")]
    images: PathBuf,
    /// Raw values of black and white, where they are not the network's own: 0..65535
    #[arg(long, value_name = "A..B", value_parser = parse_range, allow_hyphen_values = true)]
    range: Option<(f64, f64)>,
    /// Where to write the request
    #[arg(long, value_name = "REQUEST")]
    out: PathBuf,
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
    // Refuses before the work a request that cannot be written.
    check_writable(&args.out, global.overwrite(), Access::Shared)?;
    let client = Client::new(ClientPlan::read(&args.plan)?, global.backend()?)?;
    let key = client.read_secret_key(&args.key)?;
    let images = open_images(&args.images)?;
    let request = client.encrypt_images(&key, &images, args.range)?;
    let digest = request.write_file(&args.out, global.overwrite())?;
    // The request is good without them, so a key folder that cannot be written to is no reason to fail.
    if let Some(names) = &images.names
        && let Err(error) = write_names(&args.key, digest, names)
    {
        output.warn(format!(
            "the images' names could not be kept beside the key, so predictions will have none: {error}"
        ));
    }
    let header = request.header();
    let bytes = std::fs::metadata(&args.out)?.len();
    let result = json!({
        "request": digest,
        "plan": header.parents.plan,
        "key_id": header.key_id,
        "images": header.images,
        "blocks": header.blocks,
        "request_bytes": bytes,
    });
    output.result(&result, || {
        format!(
            "encrypted {} images into {} ({:.1} MiB, {} bytes per image)",
            header.images,
            args.out.display(),
            bytes as f64 / f64::from(1 << 20),
            bytes / header.images
        )
    })?;
    Ok(Outcome::Good)
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
