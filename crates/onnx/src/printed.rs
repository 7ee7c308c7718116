//! Preprocessing as timm and torchvision print it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sordino_graph::{ColorPolicy, Filter};

use crate::Error;
use crate::preprocess::{Fit, ImageSettings, wrong};

/// What `print(timm.data.resolve_model_data_config(model))` prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DataConfig {
    input_size: [usize; 3],
    interpolation: String,
    mean: Vec<f64>,
    std: Vec<f64>,
    crop_pct: f64,
    #[serde(default)]
    crop_mode: Option<String>,
}

/// Reads Python's lists, tuples, dictionaries, strings and numbers.
fn python<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, Error> {
    let mut json = text.to_owned();
    for (python, other) in [
        ("'", "\""),
        ("(", "["),
        (")", "]"),
        ("None", "null"),
        ("True", "true"),
        ("False", "false"),
    ] {
        json = json.replace(python, other);
    }
    // Python allows a comma before a closing bracket, JSON does not.
    let parts: Vec<&str> = json.split(',').collect();
    let mut strict = String::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 && !part.trim_start().starts_with([']', '}']) {
            strict.push(',');
        }
        strict += part;
    }
    serde_json::from_str(&strict).map_err(|error| wrong(format!("expected {what}: {error}")))
}

fn filter(name: &str) -> Result<Filter, Error> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "nearest" => Filter::Nearest,
        "box" => Filter::Area,
        "bilinear" => Filter::Bilinear,
        "bicubic" => Filter::Bicubic,
        _ => {
            return Err(wrong(format!(
                "expected the interpolation nearest, box, bilinear or bicubic, found {name}: export the network with one of these"
            )));
        }
    })
}

/// The settings that both have in common. Their loaders make colour of gray images.
fn settings(mean: Vec<f64>, std: Vec<f64>, filter: Filter, size: Fit) -> ImageSettings {
    ImageSettings {
        mean,
        std,
        size,
        filter: Some(filter),
        color: ColorPolicy::Convert,
        ..ImageSettings::default()
    }
}

/// Reads the data configuration of timm.
pub(crate) fn timm(text: &str) -> Result<ImageSettings, Error> {
    let config: DataConfig = python(text, "a data configuration as timm prints it")?;
    let [channels, height, width] = config.input_size;
    if !(config.crop_pct > 0.0 && config.crop_pct <= 1.0) {
        return Err(wrong(format!(
            "expected crop_pct above 0 and at most 1, found {}: write the settings in TOML (docs/guide/images.md)",
            config.crop_pct
        )));
    }
    let before = |side: usize| (side as f64 / config.crop_pct).floor() as usize;
    let filter = filter(&config.interpolation)?;
    let settings = |size| ImageSettings {
        network: Some([channels, height, width]),
        ..settings(config.mean.clone(), config.std.clone(), filter, size)
    };
    match config.crop_mode.as_deref().unwrap_or("center") {
        "center" if height == width => Ok(ImageSettings {
            shorter: Some(before(height)),
            ..settings(Fit::Crop)
        }),
        "squash" => Ok(ImageSettings {
            stretched: Some((before(height), before(width))),
            ..settings(Fit::Stretch)
        }),
        mode => Err(wrong(format!(
            "expected crop_mode center with a square input_size, or squash, found {mode} with {height}x{width}: write the settings in TOML \
             (docs/guide/images.md)"
        ))),
    }
}

/// The name and value of each argument of a call as torchvision prints it, with commas or without.
fn arguments(text: &str) -> Vec<(&str, &str)> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let name_start = |equals: usize| {
        let head = text[..equals].trim_end();
        (head.trim_end_matches(is_name).len(), head.len())
    };
    let equals: Vec<usize> = text.match_indices('=').map(|(at, _)| at).collect();
    let names: Vec<_> = equals.iter().map(|&at| name_start(at)).collect();
    let ends = names.iter().skip(1).map(|name| name.0);
    let ends = ends.chain([text.len()]);
    let argument = |((&at, name), end): ((&usize, &(usize, usize)), usize)| {
        let value = text.get(at + 1..end).unwrap_or_default();
        let value = value.trim().trim_end_matches(',').trim_end();
        (&text[name.0..name.1], value)
    };
    equals.iter().zip(&names).zip(ends).map(argument).collect()
}

/// Reads the transforms of torchvision's weights.
pub(crate) fn torchvision(text: &str) -> Result<ImageSettings, Error> {
    let expected = "settings in TOML (docs/guide/images.md), what `print(timm.data.resolve_model_data_config(model))` prints, or what \
                    `print(weights.transforms())` of torchvision prints for a classifier";
    let inner = text.strip_prefix("ImageClassification(");
    let Some(inner) = inner.and_then(|inner| inner.strip_suffix(')')) else {
        let start: String = text.chars().take(60).collect();
        return Err(wrong(format!("expected {expected}, found {start:?}")));
    };
    let (mut crop, mut resize, mut mean, mut std, mut interpolation) =
        (None, None, None, None, None);
    for (name, value) in arguments(inner) {
        let what = format!("{name} as torchvision prints it");
        let numbers = || python::<Vec<f64>>(value, &what);
        let sides = || python::<Vec<usize>>(value, &what);
        let again = match name {
            "crop_size" => crop.replace(sides()?).is_some(),
            "resize_size" => resize.replace(sides()?).is_some(),
            "mean" => mean.replace(numbers()?).is_some(),
            "std" => std.replace(numbers()?).is_some(),
            "interpolation" => {
                let mode = value.trim_start_matches("InterpolationMode.");
                interpolation.replace(filter(mode)?).is_some()
            }
            "antialias" if value == "True" => false,
            _ => {
                return Err(wrong(format!(
                    "expected crop_size, resize_size, mean, std and interpolation, found {name}={value}: write the settings in TOML \
                     (docs/guide/images.md)"
                )));
            }
        };
        if again {
            return Err(wrong(format!(
                "expected one {name}, found two: keep the right one"
            )));
        }
    }
    let missing = || {
        wrong(format!(
            "expected {expected}; crop_size, resize_size, mean, std or interpolation is missing"
        ))
    };
    let (Some(crop), Some(resize), Some(mean), Some(std), Some(filter)) =
        (crop, resize, mean, std, interpolation)
    else {
        return Err(missing());
    };
    let network = match *crop {
        [side] => [0, side, side],
        [height, width] => [0, height, width],
        _ => return Err(missing()),
    };
    match *resize {
        [shorter] => Ok(ImageSettings {
            shorter: Some(shorter),
            network: Some(network),
            ..settings(mean, std, filter, Fit::Crop)
        }),
        [height, width] => Ok(ImageSettings {
            stretched: Some((height, width)),
            network: Some(network),
            ..settings(mean, std, filter, Fit::Stretch)
        }),
        _ => Err(missing()),
    }
}
