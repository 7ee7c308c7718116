//! The parts of a record that every kind of measurement fills in.

use sordino::client::Client;
use sordino::plan::Plan;
use sordino::protocol::Reply;
use sordino::ring::backend::measure_int8_peak;
use sordino::secret::SecretKey;
use sordino::{ImageLabels, Model, Reference, Workflow};

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
    let findings = match labels {
        Some(labels) => reference.measure_findings(ImageLabels::Classes(labels))?,
        None => Vec::new(),
    };
    record.auc = mean(findings.iter().map(|finding| Some(finding.auc)));
    record.balanced_accuracy = mean(findings.iter().map(|finding| finding.balanced_accuracy));
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

/// Mean over the findings; `None` where one has no such number, or where there are none.
fn mean(numbers: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let numbers: Vec<f64> = numbers.collect::<Option<_>>()?;
    (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_over_all_findings_or_not_at_all() {
        assert_eq!(mean([Some(0.5), Some(1.0)].into_iter()), Some(0.75));
        assert_eq!(mean([Some(0.5), None].into_iter()), None);
        assert_eq!(mean(std::iter::empty()), None);
    }
}
