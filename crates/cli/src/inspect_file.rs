//! What a file says about itself, checked and recomputed from the file alone.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sordino::ckks::{EvaluationKey, EvaluationKeyMetadata, Parameters, ParametersRecord};
use sordino::container::{
    AnyHeader, Digest, Error as FileError, HEADER_BYTES, Kind, MAGIC, inspect_file,
};
use sordino::graph::{Model, Op};
use sordino::plan::{ClientPlan, InputLayout, OutputLayout, ServerPlan};
use sordino::protocol::{Error as ProtocolError, ReplyHeader, RequestHeader, shorten};
use sordino::secret::SecretKeyMetadata;

use crate::exit::Mismatch;

/// Everything about a file of any kind; never anything secret.
pub(crate) fn inspect(path: &Path) -> anyhow::Result<Value> {
    if is_safetensors(path)? {
        return inspect_model(path);
    }
    let header = inspect_file(path)?;
    let details = match header.kind {
        Kind::ServerPlan => server_plan(path)?,
        Kind::ClientPlan => client_plan(path)?,
        Kind::SecretKey => secret_key(path, &header)?,
        Kind::EvaluationKey => evaluation_key(path, &header)?,
        Kind::Request => request(path, &header)?,
        Kind::Reply => reply(path, &header)?,
        Kind::Piece | Kind::Checkpoint => json!({ "state": header.metadata }),
        kind => {
            return Err(Mismatch(format!(
                "{}: this is a {kind}, which this version does not know: use a newer one",
                path.display()
            ))
            .into());
        }
    };
    let common = json!({
        "kind": header.kind,
        "version": header.version,
        "digest": header.digest,
        "sizes": {
            "file_bytes": HEADER_BYTES as u64 + header.metadata_bytes + header.payload_bytes,
            "metadata_bytes": header.metadata_bytes,
            "payload_bytes": header.payload_bytes,
        },
    });
    Ok(merged(common, details))
}

fn merged(mut left: Value, right: Value) -> Value {
    if let (Value::Object(left), Value::Object(right)) = (&mut left, right) {
        left.extend(right);
    }
    left
}

/// A safetensors file starts with the length of a JSON header, which is never our magic.
fn is_safetensors(path: &Path) -> anyhow::Result<bool> {
    let read = |error| FileError::io(path, "read", error);
    let mut start = Vec::new();
    if fs::metadata(path)
        .map_err(|error| FileError::io(path, "open", error))?
        .is_file()
    {
        let file = File::open(path).map_err(|error| FileError::io(path, "open", error))?;
        file.take(9).read_to_end(&mut start).map_err(read)?;
    }
    Ok(start.get(8) == Some(&b'{') && !start.starts_with(&MAGIC))
}

fn inspect_model(path: &Path) -> anyhow::Result<Value> {
    let model = Model::load(path)?;
    let bytes = fs::read(path).map_err(|error| FileError::io(path, "read", error))?;
    let nodes: Vec<Value> = model
        .graph
        .nodes()
        .iter()
        .enumerate()
        .map(|(index, node)| {
            let shape = model.graph.shape(sordino::graph::NodeId(index));
            json!({"name": node.name, "op": op_name(&node.op), "shape": shape.to_string()})
        })
        .collect();
    Ok(json!({
        "kind": "model",
        "version": model_version(&bytes),
        "digest": Digest::of_bytes(&bytes),
        "parents": {},
        "ring_degree": Value::Null,
        "primes": [],
        "special_primes": [],
        "log2_q": Value::Null,
        "log2_qp": Value::Null,
        "security_bits": Value::Null,
        "scales": {},
        "shapes": {
            "input": model.graph.input_shape().to_string(),
            "logits": model.graph.classes(),
            "nodes": nodes,
        },
        "sizes": {
            "file_bytes": bytes.len(),
            "parameters": model.graph.parameters(),
            "macs_per_image": model.graph.multiply_accumulates(),
            "activations_per_image": model.graph.activations(),
        },
        "network": model.name,
        "dataset": model.dataset,
        "classes": model.classes,
        "preprocess": model.preprocess,
        "output_kind": model.output,
        "calibration_images": model.calibration.as_ref().map(|calibration| calibration.images),
        "ranges": model.calibration.as_ref().map(|calibration| &calibration.nodes),
        "training": model.training,
    }))
}

/// The format version in the metadata of a model file that was read without complaint.
fn model_version(bytes: &[u8]) -> Option<u64> {
    let (length, rest) = bytes.split_first_chunk()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: Value = serde_json::from_slice(header).ok()?;
    let own: Value = serde_json::from_str(header["__metadata__"]["sordino"].as_str()?).ok()?;
    own["format_version"].as_u64()
}

fn op_name(op: &Op) -> &'static str {
    match op {
        Op::Input => "input",
        Op::Conv2d { .. } => "convolution",
        Op::Dense { .. } => "dense",
        Op::AveragePool { .. } => "average pooling",
        Op::BatchNorm { .. } => "batch normalization",
        Op::Flatten => "flatten",
        Op::Add => "add",
        Op::Relu => "relu",
        Op::Quadratic { .. } => "quadratic",
    }
}

fn parameters(parameters: &Parameters) -> Value {
    json!({
        "ring_degree": parameters.ring_degree(),
        "primes": parameters.primes(),
        "special_primes": parameters.special_primes(),
        "gadget": parameters.gadget(),
        "levels": parameters.max_level(),
        "log2_q": parameters.log2_q(),
        "log2_qp": parameters.log2_qp(),
        "security_bits": parameters.security_bits(),
    })
}

/// The parameters that a file carries; their digest must be the one that it names.
fn checked(path: &Path, record: ParametersRecord, named: Digest) -> anyhow::Result<Parameters> {
    let parameters = Parameters::try_from(record).with_context(|| path.display().to_string())?;
    if parameters.digest() == named {
        return Ok(parameters);
    }
    Err(Mismatch(format!(
        "{}: the parameters have digest {}, the file names {}: it is damaged, make it again",
        path.display(),
        shorten(parameters.digest()),
        shorten(named)
    ))
    .into())
}

fn expect_payload(path: &Path, header: &AnyHeader, expected: u64) -> anyhow::Result<()> {
    if header.payload_bytes == expected {
        return Ok(());
    }
    Err(Mismatch(format!(
        "{}: {} bytes of payload, its own description asks for {expected}: the file is damaged, make it again",
        path.display(),
        header.payload_bytes
    ))
    .into())
}

fn typed<M: DeserializeOwned>(path: &Path, header: &AnyHeader) -> anyhow::Result<M> {
    serde_json::from_value(header.metadata.clone()).map_err(|error| {
        let (path, kind) = (path.display(), header.kind);
        Mismatch(format!(
            "{path}: {kind} metadata: {error}: make the file again with this version of Sordino"
        ))
        .into()
    })
}

fn secret_key(path: &Path, header: &AnyHeader) -> anyhow::Result<Value> {
    let metadata: SecretKeyMetadata = typed(path, header)?;
    let digest = metadata.parameters_digest;
    let checked = checked(path, metadata.parameters, digest)?;
    expect_payload(path, header, checked.ring_degree() as u64)?;
    let details = json!({
        "parents": {"parameters": digest},
        "key_id": metadata.key_id,
        "scales": {},
        "shapes": {"coefficients": checked.ring_degree()},
    });
    Ok(merged(details, parameters(&checked)))
}

fn evaluation_key(path: &Path, header: &AnyHeader) -> anyhow::Result<Value> {
    let metadata: EvaluationKeyMetadata = typed(path, header)?;
    let digest = metadata.parameters_digest;
    let checked = checked(path, metadata.parameters, digest)?;
    let keys = &metadata.key_set;
    keys.check(checked.ring_degree())
        .with_context(|| path.display().to_string())?;
    expect_payload(path, header, EvaluationKey::payload_bytes(&checked, keys))?;
    let moduli = checked.primes().len() + checked.special_primes().len();
    let details = json!({
        "parents": {"parameters": digest},
        "key_id": metadata.key_id,
        "key_set": keys,
        "scales": {},
        "shapes": {
            "digits": checked.digits().len(),
            "moduli": moduli,
            "ring_degree": checked.ring_degree(),
        },
    });
    Ok(merged(details, parameters(&checked)))
}

/// The parameters of a message, whose payload has the size that its description asks for.
fn checked_message(
    path: &Path,
    header: &AnyHeader,
    parameters: Result<Parameters, ProtocolError>,
    payload_bytes: Result<u64, ProtocolError>,
) -> anyhow::Result<Parameters> {
    let location = || path.display().to_string();
    let parameters = parameters.with_context(location)?;
    expect_payload(path, header, payload_bytes.with_context(location)?)?;
    Ok(parameters)
}

fn request(path: &Path, header: &AnyHeader) -> anyhow::Result<Value> {
    let metadata: RequestHeader = typed(path, header)?;
    let payload = metadata.layout().map(|layout| layout.payload_bytes());
    let checked = checked_message(path, header, metadata.checked_parameters(), payload)?;
    let details = json!({
        "parents": metadata.parents,
        "key_id": metadata.key_id,
        "scales": {"input": metadata.scale},
        "log2_scales": {"input": metadata.scale.log2()},
        "shapes": {
            "images": metadata.images,
            "blocks": metadata.blocks,
            "features": metadata.features,
            "limbs": metadata.limbs,
            "components": 1,
            "ring_degree": checked.ring_degree(),
        },
    });
    Ok(merged(details, parameters(&checked)))
}

fn reply(path: &Path, header: &AnyHeader) -> anyhow::Result<Value> {
    let metadata: ReplyHeader = typed(path, header)?;
    let payload = metadata.layout().map(|layout| layout.payload_bytes());
    let checked = checked_message(path, header, metadata.checked_parameters(), payload)?;
    let details = json!({
        "parents": metadata.parents,
        "key_id": metadata.key_id,
        "scales": {"output": metadata.scale},
        "log2_scales": {"output": metadata.scale.log2()},
        "shapes": {
            "images": metadata.images,
            "blocks": metadata.blocks,
            "logits": metadata.logits,
            "limbs": metadata.limbs,
            "components": metadata.components,
            "ring_degree": checked.ring_degree(),
        },
    });
    Ok(merged(details, parameters(&checked)))
}

/// What both halves of a plan say about scales and shapes.
fn layouts(input: &InputLayout, output: &OutputLayout, batch: usize, blocks: usize) -> Value {
    json!({
        "scales": {"input": input.scale, "output": output.scale},
        "log2_scales": {"input": input.scale.log2(), "output": output.scale.log2()},
        "shapes": {
            "batch": batch,
            "blocks": blocks,
            "features": input.features,
            "input_limbs": input.limbs,
            "logits": output.logits,
            "output_components": output.components,
            "output_limbs": output.limbs,
        },
    })
}

fn server_plan(path: &Path) -> anyhow::Result<Value> {
    let plan = ServerPlan::read(path)?;
    let details = json!({
        "parents": {"model": plan.model()},
        "parameters": plan.parameters().digest(),
        "network": plan.network(),
        "dataset": plan.dataset(),
        "packing": plan.packing().kind(),
        "needs_evaluation_key": plan.needs_evaluation_key(),
        "block_images": plan.block_images(),
        "slots": plan.channel().map(|channel| channel.slots),
        "rotations": plan.rotations(),
        "macs_per_image": plan.multiply_accumulates(),
        "estimate": plan.estimate(),
        "steps": plan.explain().steps,
    });
    let layouts = layouts(plan.input(), plan.output(), plan.batch(), plan.blocks());
    Ok(merged(
        merged(details, layouts),
        parameters(plan.parameters()),
    ))
}

fn client_plan(path: &Path) -> anyhow::Result<Value> {
    let plan = ClientPlan::read(path)?;
    let details = json!({
        "parents": plan.parents,
        "parameters": plan.header.parameters.digest(),
        "network": plan.header.network,
        "dataset": plan.header.dataset,
        "packing": plan.packing.kind(),
        "block_images": plan.block_images(),
        "slots": plan.packing.channel().map(|channel| channel.slots),
        "rotations": plan.packing.channel().map_or(&[][..], |channel| &channel.rotations),
        "preprocess": plan.preprocess,
        "classes": plan.class_names,
        "output_kind": plan.output_kind,
        "logit_range": plan.logit_range,
        "released_bits": plan.released_bits(),
        "estimate": plan.estimate,
    });
    let layouts = layouts(
        &plan.header.input,
        &plan.header.output,
        plan.header.batch,
        plan.header.blocks,
    );
    Ok(merged(
        merged(details, layouts),
        parameters(&plan.header.parameters),
    ))
}
