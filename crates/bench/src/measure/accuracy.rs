//! How accurate a network is: as trained, with integer weights, and encrypted.

use std::time::Instant;

use sordino::plan::Plan;
use sordino::runtime::{Options, Progress};
use sordino::{Model, Reference, Workflow, classes_of};

use super::options::MeasureOptions;
use super::parts::{describe, set_agreement};
use crate::record::Record;

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
) -> anyhow::Result<Record> {
    let mut record = describe(model, &plan, labels.len(), options)?;
    let reference = Reference::compute(model, &plan.server, images)?;
    record.accuracy_teacher = model.training["teacher"]["test_accuracy"].as_f64();
    if !encrypted {
        let integer = classes_of(reference.integer(), model.classes.len());
        set_agreement(&mut record, &reference, &integer, Some(labels))?;
        (record.accuracy_encrypted, record.agreement) = (None, None);
        return Ok(record);
    }
    let block = plan.server.block_images() * model.preprocess.elements();
    let workflow = Workflow::new(plan, options.backend)?;
    let (mut classes, mut seconds) = (Vec::new(), 0.0);
    let (mut upload, mut reply_bytes) = (0, 0);
    let progress = |progress: &Progress<'_>| options.bar.evaluation(progress);
    for images in images.chunks(block) {
        let request = workflow.encrypt(images)?;
        upload += request.len() as u64;
        let evaluation = Options {
            progress: Some(&progress),
            ..Options::default()
        };
        let start = Instant::now();
        let reply = workflow.evaluate_with(&request, evaluation)?;
        seconds += start.elapsed().as_secs_f64();
        reply_bytes += reply.len() as u64;
        classes.extend_from_slice(workflow.decrypt(&reply)?.classes());
    }
    set_agreement(&mut record, &reference, &classes, Some(labels))?;
    record.set_evaluation(&[seconds]);
    record.upload_bytes = Some(upload);
    record.reply_bytes = Some(reply_bytes);
    Ok(record)
}
