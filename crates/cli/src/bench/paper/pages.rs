//! The report of the comparison.

use sordino::graph::Model;
use sordino::plan::PackingKind;
use sordino::report::{
    AccuracyGroup, AmortizedRatio, BreakEven, ConfusionMatrix, Figure, Provenance, Record, Report,
    Sample, SweepPoint, Unit, Verdict, picture, seconds_text,
};
use sordino::{LEAST_AGREEMENT, LEAST_AGREEMENT_FLOAT, Reference, classes_of, is_enough};

use super::measuring::{Session, plan_for};
use super::packings::Packings;
use super::subject::Subject;
use crate::report::PROGRAM;
use crate::verify_report::shades;

/// Most images that the page shows.
const SAMPLES: usize = 24;

/// What goes into the report beside the packings themselves.
pub(super) struct Parts {
    pub records: Vec<Record>,
    pub sweep: Vec<SweepPoint>,
    pub accuracy: Vec<AccuracyGroup>,
    pub notes: Vec<String>,
}

/// Tables, plots and pictures; the last network gives confusion matrix and pictures.
pub(super) fn report(
    subjects: &[Subject],
    measured: &[Packings],
    parts: Parts,
    session: &Session<'_>,
) -> anyhow::Result<Report> {
    let verdict = verdict(&parts.records);
    let mut digests = Vec::new();
    for subject in subjects {
        let mut add = |kind: &str, model: &Model| -> anyhow::Result<()> {
            let what = format!("{}, a quadratic for every {kind}", subject.title());
            digests.push((what, model.digest()?.to_string()));
            Ok(())
        };
        add("element", &subject.element)?;
        if let Some(channel) = &subject.channel {
            add("channel", channel)?;
        }
    }
    let commit = session.environment.commit.clone();
    let provenance = Provenance {
        commit: Some(commit).filter(|commit| commit != "unknown"),
        threads: Some(session.threads as u64),
        backend: Some(session.backend.name.to_owned()),
        digests,
        ..Provenance::new(PROGRAM, &session.environment)
    };
    let singles: Vec<&Record> = measured.iter().map(|packings| &packings.single).collect();
    let mut report = Report::of_benchmark(
        "Element-wise beside channel-wise packing",
        parts.records,
        parts.sweep,
        provenance,
    );
    report.summary = "The same networks on the same encrypted images, on one machine in one run. Element-wise: a ciphertext holds one element of a feature map for every image of the batch. Channel-wise: a ciphertext holds the channels of one image, or, filled, of several side by side.".into();
    report.verdict = Some(verdict);
    report.notes = parts.notes;
    report.accuracy = parts.accuracy;
    report.figures = figures(&report.amortized, &singles);
    if let Some((subject, packings)) = subjects.iter().zip(measured).next_back() {
        let batch = session.settings.images.min(subject.set.test.len());
        predictions(&mut report, subject, packings, batch)?;
    }
    Ok(report)
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
            let share = |share: Option<f64>| {
                share.map_or("none".to_owned(), |share| Unit::Share.text(share))
            };
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
        Unit::Share.text(LEAST_AGREEMENT),
        Unit::Share.text(LEAST_AGREEMENT_FLOAT)
    );
    Verdict {
        passed: others.is_empty(),
        text: if others.is_empty() {
            format!("Of every packing, {rule}.")
        } else {
            format!("Not so for {}: {rule}.", others.join("; "))
        },
    }
}

fn figures(ratios: &[AmortizedRatio], singles: &[&Record]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for ratio in ratios
        .iter()
        .filter(|ratio| ratio.against == "channel-wise")
    {
        let same = |other: &&AmortizedRatio| {
            (&other.network, &other.dataset) == (&ratio.network, &ratio.dataset)
        };
        let filled = ratios
            .iter()
            .filter(same)
            .find(|other| other.against == "channel-wise-filled");
        let filled = filled.map_or(String::new(), |filled| {
            format!(
                "; {} against filled ciphertexts",
                Unit::Share.text(-filled.below).replace('-', "−")
            )
        });
        figures.push(Figure {
            label: format!("amortized time, {} on {}", ratio.network, ratio.dataset),
            value: -ratio.below,
            unit: Unit::Share,
            detail: format!(
                "element-wise at {} images against channel-wise with one image a ciphertext{filled}",
                Unit::Count.text(ratio.images as f64)
            ),
        });
    }
    for record in singles {
        if let Some(value) = record.evaluate_seconds {
            figures.push(Figure {
                label: format!("one image, {} on {}", record.network, record.dataset),
                value,
                unit: Unit::Seconds,
                detail: match record.runs {
                    Some(runs) if runs > 1 => {
                        format!("channel-wise, from request to reply, median of {runs} runs")
                    }
                    _ => "channel-wise, from request to reply".into(),
                },
            });
        }
    }
    figures
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
        Unit::Count.text(count as f64)
    );
    report.confusion = Some(ConfusionMatrix::new(
        "label",
        &model.classes,
        &labels,
        classes,
    )?);
    report.samples_note =
        "The first errors, at most half of the places; then the first others. No random choice."
            .into();
    let (wrong, right): (Vec<usize>, Vec<usize>) =
        (0..count).partition(|&at| classes[at] != labels[at]);
    let wrong = wrong.into_iter().take(SAMPLES / 2);
    let rest = SAMPLES - wrong.len();
    let shown: Vec<usize> = wrong.chain(right.into_iter().take(rest)).collect();
    let elements = model.preprocess.elements();
    let all = subject.prepared(model, count)?;
    let mut images = Vec::new();
    for &at in &shown {
        images.extend_from_slice(&all[at * elements..][..elements]);
    }
    // The plan that was measured: another batch may have other weights.
    let plan = plan_for(model, PackingKind::ElementWise, batch)?;
    let reference = Reference::compute(model, &plan.server, &images)?;
    let of = |logits: &[f64]| classes_of(logits, model.classes.len());
    let (float, integer) = (of(reference.float()), of(reference.integer()));
    let name = |class: usize| match model.classes.get(class) {
        Some(name) => name.clone(),
        None => class.to_string(),
    };
    let preprocess = &model.preprocess;
    let shape = (preprocess.channels, preprocess.height, preprocess.width);
    for (place, &at) in shown.iter().enumerate() {
        let values = &images[place * elements..][..elements];
        report.samples.push(Sample {
            index: at as u64,
            name: None,
            label: Some(name(labels[at])),
            predicted: name(classes[at]),
            plain: Some(name(float[place])),
            integer: Some(name(integer[place])),
            picture: Some(picture(shape, &shades(preprocess, values))?),
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
            "; not all points beside it were run"
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
