//! The report of the comparison.

use sordino::Model;
use sordino::compile;
use sordino::plan::{CompileOptions, PackingKind};
use sordino::{LEAST_AGREEMENT, LEAST_AGREEMENT_FLOAT, Reference, classes_of, is_enough};
use sordino_report::{
    ConfusionMatrix, Figure, Provenance, Report, Sample, Unit, Verdict, choose_samples, count_text,
    percent_text, picture, seconds_text,
};

use super::measuring::Session;
use super::packings::Packings;
use super::subject::Subject;
use crate::record::Record;
use crate::report::{AmortizedRatio, BenchmarkReport, BreakEven, SweepPoint};

/// Tables, plots and pictures; the last network gives confusion matrix and pictures.
pub(super) fn report(
    subjects: &[Subject],
    measured: &[Packings],
    sweep: Vec<SweepPoint>,
    session: &Session<'_>,
) -> anyhow::Result<BenchmarkReport> {
    let records: Vec<Record> = measured.iter().flat_map(Packings::records).collect();
    let verdict = verdict(&records);
    let mut digests = Vec::new();
    for subject in subjects {
        let mut add = |kind: &str, model: &Model| -> anyhow::Result<()> {
            let what = format!("{}, a quadratic per {kind}", subject.title());
            digests.push((what, model.digest()?.to_string()));
            Ok(())
        };
        add("element", &subject.element)?;
        if let Some(channel) = &subject.channel {
            add("channel", channel)?;
        }
    }
    let commit = records.first().map(|record| &record.origin.commit);
    let provenance = Provenance {
        commit: commit.filter(|commit| *commit != "unknown").cloned(),
        threads: Some(session.threads as u64),
        backend: Some(session.backend.name.to_owned()),
        digests,
        ..Provenance::new(&session.environment)
    };
    let singles: Vec<&Record> = measured.iter().map(|packings| &packings.single).collect();
    let title = "Element-wise and channel-wise packing compared";
    let mut benchmark = BenchmarkReport::new(title, records, sweep, provenance);
    let report = &mut benchmark.report;
    report.summary = "The same networks on the same encrypted images, on one machine in one run. Element-wise: a ciphertext holds one element of a feature map for every image of the batch. Channel-wise: a ciphertext holds the channels of one image, or, filled, of several images.".into();
    report.verdict = Some(verdict);
    report.figures = figures(&benchmark.amortized, &singles);
    if let Some((subject, packings)) = subjects.iter().zip(measured).next_back() {
        let batch = session.settings.images.min(subject.set.test.len());
        predictions(report, subject, packings, batch)?;
    }
    Ok(benchmark)
}

/// Whether every packing predicts what the networks in the clear do.
fn verdict(records: &[Record]) -> Verdict {
    let agrees = |record: &Record| {
        let images = record.images as usize;
        let at_least =
            |share: Option<f64>, least| share.is_some_and(|share| is_enough(share, least, images));
        at_least(record.agreement, LEAST_AGREEMENT)
            && at_least(record.agreement_float, LEAST_AGREEMENT_FLOAT)
    };
    let others: Vec<String> = records
        .iter()
        .filter(|record| !agrees(record))
        .map(|record| {
            let share = |share: Option<f64>| share.map_or("none".to_owned(), percent_text);
            format!(
                "{} on {}, {}, {} quadratics ({} and {})",
                record.network,
                record.dataset,
                record.packing,
                record.activation.as_deref().unwrap_or("other"),
                share(record.agreement),
                share(record.agreement_float)
            )
        })
        .collect();
    let rule = format!(
        "at least {} of the classes must be those of the clear integer engine and {} those of the float network",
        percent_text(LEAST_AGREEMENT),
        percent_text(LEAST_AGREEMENT_FLOAT)
    );
    let passed = others.is_empty();
    let text = match passed {
        true => format!("Of every packing, {rule}."),
        false => format!("Not so for {}: {rule}.", others.join("; ")),
    };
    Verdict { passed, text }
}

fn figures(ratios: &[AmortizedRatio], singles: &[&Record]) -> Vec<Figure> {
    let ratio_figure = |ratio: &AmortizedRatio| {
        let filled = ratios.iter().find(|other| {
            (&other.network, &other.dataset) == (&ratio.network, &ratio.dataset)
                && other.against == "channel-wise-filled"
        });
        let filled = filled.map_or(String::new(), |filled| {
            let change = percent_text(-filled.below).replace('-', "−");
            format!("; {change} against filled ciphertexts")
        });
        Figure::of(
            format!("amortized time, {} on {}", ratio.network, ratio.dataset),
            -ratio.below,
            Unit::Share,
            format!(
                "element-wise at {} images against channel-wise with one image per ciphertext{filled}",
                count_text(ratio.images as f64)
            ),
        )
    };
    let single_figure = |record: &&Record| {
        Figure::of(
            format!("one image, {} on {}", record.network, record.dataset),
            record.evaluate.median,
            Unit::Seconds,
            match record.runs {
                Some(runs) if runs > 1 => {
                    format!("channel-wise, from request to reply, median of {runs} runs")
                }
                _ => "channel-wise, from request to reply".into(),
            },
        )
    };
    let one_image = ratios
        .iter()
        .filter(|ratio| ratio.against == "channel-wise");
    let singles = singles.iter().filter_map(single_figure);
    one_image.filter_map(ratio_figure).chain(singles).collect()
}

/// Confusion matrix and pictures of one network, element-wise.
fn predictions(
    report: &mut Report,
    subject: &Subject,
    packings: &Packings,
    batch: usize,
) -> anyhow::Result<()> {
    let (model, classes) = (&subject.element, &packings.element_wise.classes);
    let Some(labels) = &subject.set.test.labels else {
        return Ok(());
    };
    let count = classes.len().min(labels.len());
    let (classes, labels) = (&classes[..count], &labels[..count]);
    let labels: Vec<usize> = labels.iter().map(|&label| usize::from(label)).collect();
    report.predictions_of = format!(
        "Predictions of {}, encrypted element-wise, for the first {} test images.",
        subject.title(),
        count_text(count as f64)
    );
    let names = &model.classes;
    let confusion = ConfusionMatrix::new("label", names, &labels, classes)?;
    report.confusion = Some(confusion);
    report.samples_note =
        "The first errors, at most half of the places; then the first others. No random choice."
            .into();
    let shown = choose_samples(&labels, classes);
    let elements = model.preprocess.elements();
    let all = subject.prepared(model, count)?;
    let images = shown.iter().map(|&at| &all[at * elements..][..elements]);
    let images: Vec<f32> = images.flatten().copied().collect();
    // The plan that was measured: another batch may have other weights.
    let options = CompileOptions::new(batch).with_packing(PackingKind::ElementWise);
    let plan = compile(model, &options)?;
    let reference = Reference::compute(model, &plan.server, &images)?;
    let of = |logits: &[f64]| classes_of(logits, names.len());
    let (float, integer) = (of(reference.float()), of(reference.integer()));
    let name = |class: usize| names.get(class).cloned().unwrap_or(class.to_string());
    let preprocess = &model.preprocess;
    let shape = (preprocess.channels, preprocess.height, preprocess.width);
    let normalization = (&preprocess.mean[..], &preprocess.std[..]);
    for (place, &at) in shown.iter().enumerate() {
        let values = &images[place * elements..][..elements];
        report.samples.push(Sample {
            index: at as u64,
            name: None,
            label: Some(name(labels[at])),
            predicted: name(classes[at]),
            plain: Some(name(float[place])),
            integer: Some(name(integer[place])),
            picture: Some(picture(shape, normalization, values)?),
        });
    }
    Ok(())
}

/// A break-even as a line of text.
pub(super) fn crossing_text(crossing: &BreakEven) -> String {
    format!(
        "{}: {} is faster than {} from {} images on ({} in all){}\n",
        crossing.network.as_deref().unwrap_or("break-even"),
        crossing.faster_above,
        crossing.faster_below,
        crossing.batch,
        seconds_text(crossing.total_seconds),
        if crossing.measured {
            ""
        } else {
            "; not all neighbouring points were run"
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packing_that_disagrees_is_named() {
        let record = |agreement, agreement_float| Record {
            network: "lenet".into(),
            dataset: "mnist".into(),
            packing: "channel-wise".into(),
            images: 10_000,
            agreement: Some(agreement),
            agreement_float: Some(agreement_float),
            ..Record::default()
        };
        assert!(verdict(&[record(0.9995, 0.996)]).passed);
        for bad in [record(0.99, 0.996), record(1.0, 0.99)] {
            let verdict = verdict(&[record(1.0, 1.0), bad]);
            assert!(!verdict.passed && verdict.text.contains("lenet on mnist, channel-wise"));
        }
        let unknown = Record::default();
        assert!(!verdict(&[unknown]).passed);
    }
}
