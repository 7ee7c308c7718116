//! Judges the guard against images that do not belong: how many usual images it leaves out, which others it finds, how
//! large the values of those become that it lets pass, and how large an adversary can make them within the guard.
//!
//! ```text
//! cargo run --release -p sordino-train --example unusual_images -- MODEL DATA [--seconds S] [--worst FILE] [OTHER DATA]…
//! ```
//!
//! Growth is in bits above the largest value of the calibration images. Prints one JSON object, and writes the worst
//! images that the search found to an `.npy` file if asked. The model needs the statistic of its inputs
//! (`sordino ranges`).

mod kinds;
mod search;

use kinds::{Kind, Size};
use search::Search;
use serde_json::{Value, json};
use sordino_data::{Images, open_images, open_set, prepare};
use sordino_graph::{
    Folded, InputGuard, Model, Preprocess, SizePolicy, execute_folded_observed, fold,
};
use sordino_plan::{CompileOptions, PackingKind, compile};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Usual images that are changed, and images of each other set.
const IMAGES: usize = 200;

/// Images of a kind whose values are computed.
const EVALUATED: usize = 48;

struct Arguments {
    model: PathBuf,
    data: PathBuf,
    seconds: u64,
    worst: Option<PathBuf>,
    others: Vec<PathBuf>,
}

fn arguments() -> Result<Arguments, String> {
    let (mut paths, mut seconds, mut worst) = (Vec::new(), 0, None);
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--seconds" => {
                let number = given.next().and_then(|text| text.parse().ok());
                seconds =
                    number.ok_or("--seconds: expected a whole number of seconds behind it")?;
            }
            "--worst" => {
                worst = Some(PathBuf::from(
                    given.next().ok_or("--worst: expected a file behind it")?,
                ));
            }
            _ => paths.push(PathBuf::from(argument)),
        }
    }
    let mut paths = paths.into_iter();
    match (paths.next(), paths.next()) {
        (Some(model), Some(data)) => Ok(Arguments {
            model,
            data,
            seconds,
            worst,
            others: paths.collect(),
        }),
        _ => Err(
            "expected MODEL DATA [--seconds S] [--worst FILE] [OTHER DATA]…: give a model and its data set".into(),
        ),
    }
}

/// Magnitudes that values are compared with.
struct Growth<'a> {
    folded: &'a Folded,
    largest: Vec<f64>,
}

impl Growth<'_> {
    /// Bits by which the logits and the values of any node exceed those of the calibration images.
    fn bits(&self, images: &[&Vec<f32>]) -> Option<(f64, f64)> {
        let flat: Vec<f32> = images
            .iter()
            .flat_map(|image| image.iter().copied())
            .collect();
        let nodes = self.folded.nodes.len();
        let (mut logits, mut any, mut index) = (f64::NEG_INFINITY, f64::NEG_INFINITY, 0);
        let run = execute_folded_observed(self.folded, &flat, images.len(), |_, values| {
            let largest = values
                .iter()
                .fold(0.0_f64, |most, value| most.max(value.abs()));
            let bits = (largest / self.largest[index % nodes]).log2();
            any = any.max(bits);
            if index % nodes == nodes - 1 {
                logits = logits.max(bits);
            }
            index += 1;
        });
        run.expect("images of the network's size");
        (!images.is_empty()).then_some((logits, any))
    }
}

/// Raw values from 0 to 1 of images, prepared for the network's size.
fn raw(images: &Images, preprocess: &Preprocess) -> Result<Vec<Vec<f64>>, Box<dyn Error>> {
    let plain = Preprocess {
        size: SizePolicy::Resize,
        channels: images.channels,
        mean: vec![0.0; images.channels],
        std: vec![1.0; images.channels],
        ..preprocess.clone()
    };
    let step = (images.len() / IMAGES).max(1);
    let chosen: Vec<usize> = (0..images.len()).step_by(step).take(IMAGES).collect();
    let prepared = prepare(&images.subset(&chosen), &plain, None)?;
    let plane = plain.height * plain.width;
    let convert = |image: &[f32]| -> Vec<f64> {
        let planes: Vec<&[f32]> = image.chunks_exact(plane).collect();
        if planes.len() == preprocess.channels {
            return image.iter().map(|&x| f64::from(x)).collect();
        }
        let mean = |place: usize| {
            planes.iter().map(|p| f64::from(p[place])).sum::<f64>() / planes.len() as f64
        };
        let gray: Vec<f64> = (0..plane).map(mean).collect();
        gray.repeat(preprocess.channels)
    };
    Ok(prepared
        .chunks_exact(plain.elements())
        .map(convert)
        .collect())
}

/// The network's input for raw values from 0 to 1, rounded to 256 steps.
fn input(preprocess: &Preprocess, image: &[f64]) -> Vec<f32> {
    let plane = preprocess.height * preprocess.width;
    let (low, high) = preprocess.allowed;
    let pixel = |(place, value): (usize, &f64)| {
        let raw = low + (255.0 * value).round() / 255.0 * (high - low);
        preprocess.normalize(place / plane, raw) as f32
    };
    image.iter().enumerate().map(pixel).collect()
}

/// The test images of a set, or the images at a path.
fn test_images(path: &Path) -> Result<(String, Images), Box<dyn Error>> {
    match open_set(path) {
        Ok(set) => Ok((set.name, set.test)),
        Err(_) => Ok((path.display().to_string(), open_images(path)?)),
    }
}

/// Writes images in raw values, as an array of 32-bit numbers.
fn write_npy(path: &Path, preprocess: &Preprocess, images: &[Vec<f32>]) -> std::io::Result<()> {
    let (channels, height, width) = (preprocess.channels, preprocess.height, preprocess.width);
    let header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {channels}, {height}, {width})}}\n",
        images.len()
    );
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    for image in images {
        for (place, &value) in image.iter().enumerate() {
            let raw = preprocess.raw(place / (height * width), f64::from(value));
            bytes.extend((raw as f32).to_le_bytes());
        }
    }
    std::fs::write(path, bytes)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let model = Model::load(&arguments.model)?;
    let preprocess = &model.preprocess;
    let calibration = model
        .calibration
        .as_ref()
        .ok_or("the model has no ranges: run `sordino ranges`")?;
    let statistic = calibration.input.as_ref();
    let statistic = statistic
        .ok_or("the model has no statistic of its inputs: run `sordino ranges --inputs-only`")?;
    let guard = InputGuard::new(statistic, preprocess)?;
    let folded = fold(&model.graph)?;
    let growth = Growth {
        folded: &folded,
        largest: calibration.folded.iter().map(|node| node.max_abs).collect(),
    };
    let largest_logit = *growth
        .largest
        .last()
        .ok_or("the model has no ranges of a folded network")?;

    let (name, test) = test_images(&arguments.data)?;
    let prepared = prepare(&test, preprocess, None)?;
    let left_out: Vec<usize> = (0..test.len())
        .filter(|index| {
            guard
                .unusual(&prepared[index * preprocess.elements()..][..preprocess.elements()])
                .is_some()
        })
        .collect();

    let usual = raw(&test, preprocess)?;
    let mut kinds = kinds::all(&usual, Size::of(preprocess));
    for path in &arguments.others {
        let (name, images) = test_images(path)?;
        let images = raw(&images, preprocess)?;
        let inverted = images
            .iter()
            .map(|image| image.iter().map(|x| 1.0 - x).collect())
            .collect();
        kinds.push(Kind {
            name: format!("{name}, inverted"),
            images: inverted,
        });
        kinds.push(Kind { name, images });
    }
    let inputs = |kind: &Kind| -> Vec<Vec<f32>> {
        kind.images
            .iter()
            .map(|image| input(preprocess, image))
            .collect()
    };
    let rows: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            let images = inputs(kind);
            let passed: Vec<&Vec<f32>> = images
                .iter()
                .filter(|image| guard.unusual(image).is_none())
                .collect();
            let found = images.len() - passed.len();
            let step = passed.len().div_ceil(EVALUATED).max(1);
            let evaluated: Vec<&Vec<f32>> = passed.into_iter().step_by(step).collect();
            let bits = growth.bits(&evaluated);
            json!({
                "kind": kind.name,
                "images": images.len(),
                "found": found,
                "passed_logit_bits": bits.map(|bits| bits.0),
                "passed_any_bits": bits.map(|bits| bits.1),
            })
        })
        .collect();

    let options = CompileOptions {
        packing: Some(PackingKind::ElementWise),
        ..CompileOptions::new(4096)
    };
    let plan = compile(&model, &options)?.server;
    let contained = (plan.contained_logit(largest_logit) / largest_logit).log2();
    let search = Search {
        folded: &folded,
        statistic,
        guard: &guard,
        largest_logit,
    };
    let start = |seed: u64| {
        let all = kinds.len() + 1;
        match kinds.get(seed as usize % all) {
            Some(kind) => input(
                preprocess,
                &kind.images[(seed >> 32) as usize % kind.images.len()],
            ),
            None => input(preprocess, &usual[(seed >> 32) as usize % usual.len()]),
        }
    };
    let searched =
        (arguments.seconds > 0).then(|| search.run(Duration::from_secs(arguments.seconds), &start));
    if let (Some(path), Some((_, worst))) = (&arguments.worst, &searched) {
        write_npy(path, preprocess, worst)?;
    }
    let scores = guard.scores(&prepared[..preprocess.elements()]);
    let result = json!({
        "network": model.name,
        "dataset": name,
        "statistic_images": statistic.images,
        "limits": scores.iter().zip(&statistic.limits).map(|((score, _), limit)| json!([format!("{score:?}"), limit])).collect::<Vec<_>>(),
        "test_images": test.len(),
        "left_out": left_out.len(),
        "ring_degree": plan.parameters().ring_degree(),
        "contained_logit_bits": contained,
        "contained_images": plan.contained_images(),
        "kinds": rows,
        "search": searched.map(|(report, _)| report),
    });
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}
