//! The parts of a record that every kind of measurement fills in.

use sordino::client::Client;
use sordino::plan::Plan;
use sordino::protocol::Reply;
use sordino::ring::backend::measure_int8_peak;
use sordino::secret::SecretKey;
use sordino::{Model, Reference, Workflow};

use super::options::MeasureOptions;
use crate::record::{Origin, Record};

/// A record with what is known before anything runs.
pub(super) fn describe(
    model: &Model,
    plan: &Plan,
    images: usize,
    options: &MeasureOptions<'_>,
) -> anyhow::Result<Record> {
    let server = &plan.server;
    let parameters = server.parameters();
    let weight_bits = server.steps().iter().flat_map(|step| step.maps());
    let weight_bits = weight_bits.map(|map| 8 * map.weight_width().bytes() as u64);
    Ok(Record {
        images: images as u64,
        batch: server.batch() as u64,
        blocks: images.div_ceil(server.block_images()) as u64,
        packing: server.packing().kind().to_string(),
        block_images: Some(server.block_images() as u64),
        rotations: Some(server.rotations().len() as u64),
        ring_degree: Some(parameters.ring_degree() as u64),
        log2_q: Some(parameters.log2_q()),
        log2_qp: Some(parameters.log2_qp()),
        security_bits: Some(u64::from(parameters.security_bits())),
        log2_scale: Some(server.input().scale.log2()),
        weight_bits: weight_bits.max(),
        threads: Some(options.threads as u64),
        backend: Some(options.backend.name.to_owned()),
        int8_peak_gmacs: Some(measure_int8_peak(options.backend, options.threads)),
        macs_per_image: Some(model.graph.multiply_accumulates()),
        parameters: Some(model.graph.parameters()),
        activations_per_image: Some(model.graph.activations()),
        model_digest: Some(model.digest()?.to_string()),
        plan_digest: Some(server.digest().to_string()),
        ..Record::new(&model.name, &model.dataset, &Origin::here())
    })
}

/// Size of the evaluation key, 0 without one.
pub(super) fn key_bytes(workflow: &Workflow) -> anyhow::Result<u64> {
    let key = workflow.keys().evaluation.as_ref();
    Ok(key.map_or(Ok(0), |key| key.to_bytes().map(|bytes| bytes.len() as u64))?)
}

/// Fills in how the classes agree with both networks in the clear and with the labels.
pub(super) fn set_agreement(
    record: &mut Record,
    reference: &Reference,
    classes: &[usize],
    labels: Option<&[u16]>,
) -> anyhow::Result<()> {
    let comparison = reference.compare(classes, labels)?;
    record.accuracy_plain = comparison.accuracy_plain;
    record.accuracy_integer = comparison.accuracy_integer;
    record.accuracy_encrypted = comparison.accuracy_encrypted;
    record.agreement = Some(comparison.agreement);
    record.agreement_float = Some(comparison.agreement_float);
    if reference.classes() == 2 {
        record.auc = labels.and_then(|labels| area_under_curve(reference.float(), labels));
    }
    Ok(())
}

/// Fills in how far the logits of a reply are from those of both networks in the clear.
pub(super) fn set_errors(
    record: &mut Record,
    reference: &Reference,
    client: &Client,
    key: &SecretKey,
    reply: &Reply,
) -> anyhow::Result<()> {
    let worst = |expected: &[f64]| client.worst_logit_error(key, reply, expected);
    record.worst_logit_error = Some(worst(reference.integer())?);
    record.worst_logit_error_float = Some(worst(reference.float())?);
    Ok(())
}

/// Area under the ROC curve of a network with two logits: the probability that an image of class 1 scores higher
/// than one of class 0, where a tie counts half. `None` where a class has no image.
///
/// # Shapes
/// `logits` is `[labels.len(), 2]`.
fn area_under_curve(logits: &[f64], labels: &[u16]) -> Option<f64> {
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
