//! What a file says about itself, checked and recomputed from the file alone.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sordino::ckks::{EvaluationKey, EvaluationKeyMetadata, Parameters, ParametersRecord};
use sordino::container::{
    AnyHeader, Digest, Error as FileError, HEADER_BYTES, Kind, MAGIC, inspect_file,
};
use sordino::graph::{Model, NodeId, Op};
use sordino::plan::{ClientPlan, InputLayout, OutputLayout, ServerPlan};
use sordino::protocol::{Error as ProtocolError, Layout, ReplyHeader, RequestHeader, shorten};
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
            let path = path.display();
            bail!(Mismatch(format!(
                "{path}: this is a {kind}, which this version does not know: use a newer one"
            )));
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
    let open = |error| FileError::io(path, "open", error);
    let mut start = Vec::new();
    if fs::metadata(path).map_err(open)?.is_file() {
        let read = File::open(path)
            .map_err(open)?
            .take(9)
            .read_to_end(&mut start);
        read.map_err(|error| FileError::io(path, "read", error))?;
    }
    Ok(start.get(8) == Some(&b'{') && !start.starts_with(&MAGIC))
}

fn inspect_model(path: &Path) -> anyhow::Result<Value> {
    let model = Model::load(path)?;
    let bytes = fs::read(path).map_err(|error| FileError::io(path, "read", error))?;
    let nodes = model.graph.nodes().iter().enumerate();
    let nodes = nodes.map(|(index, node)| {
        let shape = model.graph.shape(NodeId(index)).to_string();
        json!({"name": node.name, "op": op_name(&node.op), "shape": shape})
    });
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
            "nodes": nodes.collect::<Vec<_>>(),
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

/// An operation in words.
fn op_name(op: &Op) -> &'static str {
    match op {
        Op::Conv2d { .. } => "convolution",
        Op::AveragePool { .. } => "average pooling",
        Op::BatchNorm { .. } => "batch normalization",
        other => other.kind(),
    }
}

/// The details of a file with those of its parameters.
fn with_parameters(details: Value, parameters: &Parameters) -> Value {
    let parameters = json!({
        "ring_degree": parameters.ring_degree(),
        "primes": parameters.primes(),
        "special_primes": parameters.special_primes(),
        "gadget": parameters.gadget(),
        "levels": parameters.max_level(),
        "log2_q": parameters.log2_q(),
        "log2_qp": parameters.log2_qp(),
        "security_bits": parameters.security_bits(),
    });
    merged(details, parameters)
}

/// The parameters that a file carries; their digest must be the one that it names.
fn checked(path: &Path, record: ParametersRecord, named: Digest) -> anyhow::Result<Parameters> {
    let parameters = Parameters::try_from(record).with_context(|| path.display().to_string())?;
    let (path, found, expected) = (path.display(), parameters.digest(), shorten(named));
    ensure!(
        found == named,
        Mismatch(format!(
            "{path}: the parameters have digest {}, the file names {expected}: it is damaged, make it again",
            shorten(found),
        ))
    );
    Ok(parameters)
}

fn expect_payload(path: &Path, header: &AnyHeader, expected: u64) -> anyhow::Result<()> {
    let (path, found) = (path.display(), header.payload_bytes);
    ensure!(
        found == expected,
        Mismatch(format!(
            "{path}: {found} bytes of payload, its own description asks for {expected}: the file is damaged, make it again"
        ))
    );
    Ok(())
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
    Ok(with_parameters(details, &checked))
}

fn evaluation_key(path: &Path, header: &AnyHeader) -> anyhow::Result<Value> {
    let metadata: EvaluationKeyMetadata = typed(path, header)?;
    let digest = metadata.parameters_digest;
    let checked = checked(path, metadata.parameters, digest)?;
    let keys = &metadata.key_set;
    keys.check(checked.ring_degree())
        .with_context(|| path.display().to_string())?;
    expect_payload(path, header, EvaluationKey::payload_bytes(&checked, keys))?;
    let details = json!({
        "parents": {"parameters": digest},
        "key_id": metadata.key_id,
        "key_set": keys,
        "scales": {},
        "shapes": {
            "digits": checked.digits().len(),
            "moduli": checked.primes().len() + checked.special_primes().len(),
            "ring_degree": checked.ring_degree(),
        },
    });
    Ok(with_parameters(details, &checked))
}

/// The details of a request or reply with those of its parameters, after checking that its payload has the size that it asks for.
fn message(
    path: &Path,
    header: &AnyHeader,
    mut details: Value,
    parameters: Result<Parameters, ProtocolError>,
    layout: Result<Layout, ProtocolError>,
) -> anyhow::Result<Value> {
    let location = || path.display().to_string();
    let parameters = parameters.with_context(location)?;
    expect_payload(path, header, layout.with_context(location)?.payload_bytes())?;
    details["shapes"]["ring_degree"] = json!(parameters.ring_degree());
    Ok(with_parameters(details, &parameters))
}

fn request(path: &Path, header: &AnyHeader) -> anyhow::Result<Value> {
    let metadata: RequestHeader = typed(path, header)?;
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
        },
    });
    let parameters = metadata.checked_parameters();
    message(path, header, details, parameters, metadata.layout())
}

fn reply(path: &Path, header: &AnyHeader) -> anyhow::Result<Value> {
    let metadata: ReplyHeader = typed(path, header)?;
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
        },
    });
    let parameters = metadata.checked_parameters();
    message(path, header, details, parameters, metadata.layout())
}

/// The details of either half of a plan with those of its parameters, scales and shapes.
fn plan(
    details: Value,
    parameters: &Parameters,
    (input, output): (&InputLayout, &OutputLayout),
    (batch, blocks): (usize, usize),
) -> Value {
    let layouts = json!({
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
    });
    with_parameters(merged(details, layouts), parameters)
}

fn server_plan(path: &Path) -> anyhow::Result<Value> {
    let server = ServerPlan::read(path)?;
    let details = json!({
        "parents": {"model": server.model()},
        "parameters": server.parameters().digest(),
        "network": server.network(),
        "dataset": server.dataset(),
        "packing": server.packing().kind(),
        "needs_evaluation_key": server.needs_evaluation_key(),
        "block_images": server.block_images(),
        "check_images": server.check_images(),
        "contained_images": server.contained_images(),
        "largest_checked_batch": server.largest_checked_batch(),
        "slots": server.channel().map(|channel| channel.slots),
        "rotations": server.rotations(),
        "macs_per_image": server.multiply_accumulates(),
        "estimate": server.estimate(),
        "steps": server.explain().steps,
    });
    let layouts = (server.input(), server.output());
    let counts = (server.batch(), server.blocks());
    Ok(plan(details, server.parameters(), layouts, counts))
}

fn client_plan(path: &Path) -> anyhow::Result<Value> {
    let client = ClientPlan::read(path)?;
    let header = &client.header;
    let details = json!({
        "parents": client.parents,
        "parameters": header.parameters.digest(),
        "network": header.network,
        "dataset": header.dataset,
        "packing": client.packing.kind(),
        "block_images": client.block_images(),
        "check_images": header.check_images,
        "check_tolerance": client.check_tolerance(),
        "contained_images": header.contained_images,
        "finds_unusual_images": client.input_statistic.is_some(),
        "views": client.views,
        "largest_checked_batch": client.largest_checked_batch(),
        "slots": client.packing.channel().map(|channel| channel.slots),
        "rotations": client.packing.channel().map_or(&[][..], |channel| &channel.rotations),
        "preprocess": client.preprocess,
        "classes": client.class_names,
        "output_kind": client.output_kind,
        "operating_points": client.operating_points,
        "logit_range": client.logit_range,
        "released_bits": client.released_bits(),
        "estimate": client.estimate,
    });
    let layouts = (&header.input, &header.output);
    let counts = (header.batch, header.blocks);
    Ok(plan(details, &header.parameters, layouts, counts))
}
