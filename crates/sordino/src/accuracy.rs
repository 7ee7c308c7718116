//! How accurate a network is: as trained, with integer weights, and encrypted.

use std::time::Instant;

use sordino_graph::Model;
use sordino_plan::Plan;
use sordino_report::{Environment, Phase, Record};

use sordino_runtime::Options;

use crate::measure::describe;
use crate::{Error, MeasureOptions, Reference, Workflow};

/// Runs a network over labelled, prepared images and records how many it gets right: the float network, the plan's
/// integers in the clear and, if `encrypted`, the encrypted network, one ciphertext block of images at a time, so
/// that memory for one block is enough.
///
/// # Shapes
/// `images` is `[labels.len(), C, H, W]`.
///
/// # Errors
/// Those of the engines.
pub fn measure_accuracy(
    model: &Model,
    plan: Plan,
    images: &[f32],
    labels: &[u16],
    encrypted: bool,
    options: &MeasureOptions<'_>,
) -> Result<Record, Error> {
    let mut record = Record::new(&model.name, &model.dataset, &Environment::here());
    describe(&mut record, model, &plan, labels.len(), options)?;
    let reference = Reference::compute(model, &plan.server, images)?;
    record.accuracy_teacher = model.training["teacher"]["test_accuracy"].as_f64();
    if model.classes.len() == 2 {
        record.auc = area_under_curve(reference.float(), labels);
    }
    let integer = crate::classes_of(reference.integer(), model.classes.len());
    let comparison = reference.compare(&integer, Some(labels))?;
    record.accuracy_plain = comparison.accuracy_plain;
    record.accuracy_integer = comparison.accuracy_integer;
    record.agreement_float = Some(comparison.agreement_float);
    if !encrypted {
        return Ok(record);
    }
    let block = plan.server.block_images() * model.preprocess.elements();
    let workflow = Workflow::new(plan, options.backend)?;
    let (mut classes, mut seconds) = (Vec::new(), 0.0);
    let (mut upload, mut reply_bytes) = (0, 0);
    for images in images.chunks(block) {
        let request = workflow.encrypt(images)?;
        upload += request.len() as u64;
        let evaluation = Options {
            progress: options.progress,
            trace: None,
            scratch: None,
        };
        let start = Instant::now();
        let reply = workflow.evaluate_with(&request, evaluation)?;
        seconds += start.elapsed().as_secs_f64();
        reply_bytes += reply.len() as u64;
        classes.extend_from_slice(workflow.decrypt(&reply)?.classes());
    }
    let comparison = reference.compare(&classes, Some(labels))?;
    record.accuracy_encrypted = comparison.accuracy_encrypted;
    record.agreement = Some(comparison.agreement);
    record.agreement_float = Some(comparison.agreement_float);
    record.set_seconds(Phase::Evaluate, &[seconds]);
    record.upload_bytes = Some(upload);
    record.reply_bytes = Some(reply_bytes);
    Ok(record)
}

/// Area under the ROC curve of a network with two logits: the probability that an image of class 1 scores higher
/// than one of class 0, ties counted half. `None` when a class has no image.
///
/// # Shapes
/// `logits` is `[labels.len(), 2]`.
pub fn area_under_curve(logits: &[f64], labels: &[u16]) -> Option<f64> {
    let mut scores: Vec<(f64, bool)> = logits
        .chunks_exact(2)
        .zip(labels)
        .map(|(row, &label)| (row[1] - row[0], label == 1))
        .collect();
    scores.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut below, mut pairs) = (0.0, 0.0);
    for ties in scores.chunk_by(|x, y| x.0 == y.0) {
        let positive = ties.iter().filter(|(_, positive)| *positive).count() as f64;
        let negative = ties.len() as f64 - positive;
        pairs += positive * (below + 0.5 * negative);
        below += negative;
    }
    let positives = labels.iter().filter(|&&label| label == 1).count() as f64;
    (positives > 0.0 && below > 0.0).then(|| pairs / (positives * below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let logits = |scores: &[f64]| scores.iter().flat_map(|&s| [0.0, s]).collect::<Vec<_>>();
        let labels = [0, 0, 1, 1];
        let area = |scores: &[f64]| area_under_curve(&logits(scores), &labels);
        assert_eq!(area(&[1.0, 2.0, 3.0, 4.0]), Some(1.0));
        assert_eq!(area(&[3.0, 4.0, 1.0, 2.0]), Some(0.0));
        assert_eq!(area(&[1.0, 3.0, 2.0, 4.0]), Some(0.75));
        assert_eq!(area(&[1.0, 2.0, 2.0, 2.0]), Some(0.75));
        assert_eq!(area_under_curve(&logits(&[1.0, 2.0]), &[1, 1]), None);
    }
}
