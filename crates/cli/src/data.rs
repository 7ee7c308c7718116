//! `sordino data`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use sordino::data::{
    DataSet, Images, LabelMatrix, Layout, Pixels, Reader, SetName, find_set, find_sets,
};
use sordino_fault::{Classified, Fault};

use sordino_command::{Outcome, Output};

use crate::one_of::one_of;

/// Arguments of `data`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The data sets that are known by name, and where they were found
    List {
        /// Look in this folder instead of $SORDINO_DATA, ./data and /usr/share/datasets
        #[arg(value_name = "PATH")]
        path: Option<PathBuf>,
    },
    /// What a data set, a folder of images or a file of images holds
    Show {
        /// Path, or name of a set
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Where arrays have their channels: before rows and columns, or behind [default: by their sizes]
        #[arg(long, value_name = "nchw|nhwc", value_parser = one_of::<Layout>(&["nchw", "nhwc"]))]
        layout: Option<Layout>,
    },
}

pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<Outcome> {
    match &args.command {
        Command::List { path } => list(path.as_deref(), output),
        Command::Show { path, layout } => show(path, *layout, output),
    }
}

fn list(path: Option<&Path>, output: &Output) -> anyhow::Result<Outcome> {
    let mut result = Vec::new();
    let mut lines = Vec::new();
    for set in SetName::ALL {
        let place = match find_set(path, set) {
            _ if set == SetName::Digits => Some("built in".to_owned()),
            Ok(place) => Some(place.display().to_string()),
            Err(error) if error.fault() == Fault::Usage => None,
            Err(error) => return Err(error.into()),
        };
        let (name, shown) = (set.as_str(), place.as_deref().unwrap_or("not found"));
        lines.push(format!("{name:<16} {shown}"));
        result.push(json!({"name": name, "path": place}));
    }
    for (name, place) in find_sets(path) {
        lines.push(format!("{name:<16} {}", place.display()));
        result.push(json!({"name": name, "path": place.display().to_string()}));
    }
    output.show(&result, || lines.join("\n"))?;
    Ok(Outcome::Good)
}

fn show(path: &Path, layout: Option<Layout>, output: &Output) -> anyhow::Result<Outcome> {
    let reader = Reader::new().layout(layout);
    let result = match reader.set(path) {
        Ok(set) => describe_set(&set),
        Err(error) if error.fault() != Fault::Io && path.exists() => match reader.images(path) {
            Ok(images) => json!({"images": describe(&images, None)}),
            // A damaged set is no images either, and its own error says more.
            Err(other) => {
                let is_set = !matches!(error, sordino::data::Error::SetNotFound { .. });
                return Err(if is_set { error } else { other }.into());
            }
        },
        Err(error) => return Err(error.into()),
    };
    output.show(&result, || lines(&result, 0))?;
    Ok(Outcome::Good)
}

fn describe_set(set: &DataSet) -> Value {
    let classes = Some(&set.class_names[..]);
    json!({
        "name": set.name,
        "classes": set.class_names,
        "range": [set.range.0, set.range.1],
        "train": describe(&set.train, classes),
        "validation": set.validation.as_ref().map(|images| describe(images, classes)),
        "test": describe(&set.test, classes),
        "notes": set.notes,
    })
}

fn describe(images: &Images, classes: Option<&[String]>) -> Value {
    let values = match &images.pixels {
        Pixels::U8(_) => "8-bit",
        Pixels::U16(_) => "16-bit",
        Pixels::F32(_) => "floating point",
    };
    let largest = images.labels.iter().flatten().max();
    let labelled = largest.map_or(0, |&label| usize::from(label) + 1);
    let count = classes.map_or(labelled, <[String]>::len);
    let unknown = images.matrix.as_ref().map(|matrix| {
        let counts = matrix.counts().into_iter();
        counts.map(|count| count.unknown).collect::<Vec<_>>()
    });
    json!({
        "images": images.len(),
        "shape": [images.channels, images.height, images.width],
        "values": values,
        "layout": images.layout.map(Layout::as_str),
        "labels": images.labels.is_some() || images.matrix.is_some(),
        "per_class": images.histogram(count),
        "findings": images.matrix.as_ref().map(LabelMatrix::positives),
        "unknown": unknown,
        "origin": images.origin,
        "notes": images.notes,
    })
}

/// A JSON value as indented lines.
pub(crate) fn lines(value: &Value, depth: usize) -> String {
    let Value::Object(fields) = value else {
        return value.to_string();
    };
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let indent = "  ".repeat(depth);
    let line = |(name, value): (&String, &Value)| match value {
        Value::Null => None,
        Value::Object(fields) if fields.is_empty() => None,
        Value::Object(_) => Some(format!("{indent}{name}:\n{}", lines(value, depth + 1))),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let items = items.iter().map(|item| format!("\n{indent}  {item}"));
            Some(format!("{indent}{name}:{}", items.collect::<String>()))
        }
        value => Some(format!("{indent}{name}: {}", plain(value))),
    };
    let lines: Vec<String> = fields.iter().filter_map(line).collect();
    lines.join("\n")
}
