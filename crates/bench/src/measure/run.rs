//! Measuring a whole run: keys, encryption, evaluation, decryption, and how good the result is.

use sordino::client::Client;
use sordino::plan::Plan;
use sordino::{Model, Reference, Workflow};

use super::evaluation::Evaluation;
use super::options::MeasureOptions;
use super::parts::{describe, key_bytes, set_agreement, set_errors};
use crate::record::Record;

/// The result of a measurement.
pub struct Measurement {
    /// The record without the peak memory, which takes a process of its own.
    pub record: Record,
    /// Keys and plan that were measured.
    pub workflow: Workflow,
    /// The request that was evaluated.
    pub request: Vec<u8>,
    /// The reply, the same in every run.
    pub reply: Vec<u8>,
    /// The class of every image, as decrypted.
    pub classes: Vec<usize>,
}

/// Runs a plan on prepared images, several times, and compares the result with the networks in the clear.
///
/// # Shapes
/// `images` is `[count, C, H, W]`.
///
/// # Errors
/// Those of every step.
pub fn measure(
    model: &Model,
    plan: Plan,
    images: &[f32],
    labels: Option<&[u16]>,
    options: &MeasureOptions<'_>,
) -> anyhow::Result<Measurement> {
    let features = plan.server.input().features.max(1);
    let count = images.len() / features;
    let mut record = describe(model, &plan, count, options)?;
    let judged = options.judged.min(count);
    let reference = match judged {
        0 => None,
        judged => Some(Reference::compute(
            model,
            &plan.server,
            &images[..judged * features],
        )?),
    };
    let (timing, (client, keys)) = options.repeated(|| {
        let client = Client::new(plan.client.clone(), options.backend)?;
        let keys = client.generate_keys()?;
        Ok((client, keys))
    })?;
    record.keygen = timing;
    let workflow = Workflow::with_keys(plan.server, client, keys)?;

    let (timing, request) = options.repeated(|| Ok(workflow.encrypt(images)?))?;
    record.encrypt = timing;
    record.upload_bytes = Some(request.len() as u64);
    record.key_bytes = Some(key_bytes(&workflow)?);

    let mut evaluation = Evaluation::default();
    let reply = loop {
        let reply = evaluation.run(&workflow, &request, options)?;
        if !options.repeats(&evaluation.evaluating) {
            break reply;
        }
    };
    evaluation.describe(&mut record, workflow.evaluator().plan());
    record.reply_bytes = Some(reply.len() as u64);

    let (timing, predictions) = options.repeated(|| Ok(workflow.decrypt(&reply)?))?;
    record.decrypt = timing;

    let classes = predictions.classes().to_vec();
    if let Some(reference) = reference {
        let labels = labels.map(|labels| &labels[..judged.min(labels.len())]);
        set_agreement(&mut record, &reference, &classes[..judged], labels)?;
        if judged == count {
            let (client, key) = (workflow.client(), &workflow.keys().secret);
            let reply = client.reply_from_bytes(&reply)?;
            set_errors(&mut record, &reference, client, key, &reply)?;
        }
    }
    Ok(Measurement {
        record,
        workflow,
        request,
        reply,
        classes,
    })
}
