//! Batch sizes with a plan for each.

use sordino::Model;
use sordino::plan::PackingKind;

use super::measuring::{Case, Session};
use super::subject::Subject;
use crate::record::Record;
use crate::report::SweepPoint;

/// Most runs of a batch: a line through many points says more than each of them.
const RUNS: usize = 3;

/// Element-wise and channel-wise packing over the batch sizes.
pub(super) fn measure(
    subject: &Subject,
    session: &mut Session<'_>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<SweepPoint>> {
    let available = subject.available();
    let batches = session.settings.batches.iter().copied();
    let (batches, more): (Vec<usize>, Vec<usize>) = batches.partition(|&batch| batch <= available);
    if !more.is_empty() {
        let more: Vec<String> = more.iter().map(usize::to_string).collect();
        notes.push(format!(
            "{}: batches of {} images were left out, as the data set has {available}.",
            subject.title(),
            more.join(", ")
        ));
    }
    let mut points = Vec::new();
    for (packing, model) in [
        (PackingKind::ElementWise, &subject.element),
        (PackingKind::ChannelWise, subject.channel_wise()),
    ] {
        for &batch in &batches {
            points.push(point(subject, model, packing, batch, session)?);
        }
    }
    Ok(points)
}

/// A batch: run where it fits the budget, otherwise extrapolated from as many blocks as fit.
fn point(
    subject: &Subject,
    model: &Model,
    packing: PackingKind,
    batch: usize,
    session: &mut Session<'_>,
) -> anyhow::Result<SweepPoint> {
    session.note(format!("{packing}, batch of {batch}"));
    let case = Case::new(subject, model, packing, batch)?;
    let runs = session.settings.runs.min(RUNS);
    let record = session.measured_in_time(&case, batch, runs)?.record;
    let blocks = case.blocks() as u64;
    Ok(of_record(&record, &subject.title(), batch as u64, blocks))
}

/// A point from the measurement of a batch, or of fewer blocks of it.
fn of_record(record: &Record, network: &str, batch: u64, blocks: u64) -> SweepPoint {
    let measured = record.images == batch;
    let times = blocks as f64 / record.blocks.max(1) as f64;
    let total_seconds = record.evaluate.median.unwrap_or(0.0) * times;
    let bytes = |bytes: Option<u64>| bytes.map(|bytes| (bytes as f64 * times).round() as u64);
    SweepPoint {
        network: Some(network.to_owned()),
        packing: record.packing.clone(),
        batch,
        block_images: record.block_images,
        images_run: Some(record.images),
        blocks,
        total_seconds,
        amortized_seconds: total_seconds / batch as f64,
        // Memory does not grow in proportion.
        peak_rss_bytes: record.peak_rss_bytes.filter(|_| measured),
        upload_bytes: bytes(record.upload_bytes),
        reply_bytes: bytes(record.reply_bytes),
        key_bytes: record.key_bytes,
        measured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Timing;

    #[test]
    fn a_batch_that_was_not_run_is_extrapolated_from_blocks_and_says_so() {
        let record = Record {
            packing: "channel-wise".into(),
            images: 8,
            blocks: 1,
            block_images: Some(8),
            evaluate: Timing::of(&[0.5]),
            upload_bytes: Some(100),
            key_bytes: Some(7),
            peak_rss_bytes: Some(1000),
            ..Record::default()
        };
        let point = of_record(&record, "lenet on mnist", 20, 3);
        assert!(!point.measured);
        assert_eq!((point.total_seconds, point.amortized_seconds), (1.5, 0.075));
        assert_eq!((point.upload_bytes, point.key_bytes), (Some(300), Some(7)));
        assert_eq!((point.peak_rss_bytes, point.images_run), (None, Some(8)));
        let point = of_record(&record, "lenet on mnist", 8, 1);
        assert!(point.measured);
        assert_eq!(
            (point.total_seconds, point.peak_rss_bytes),
            (0.5, Some(1000))
        );
    }
}
