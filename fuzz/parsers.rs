//! Entry points for bytes that cross a trust boundary, one a format.
//!
//! The fuzz targets and `crates/cli/tests/corpus.rs` both include this file, so that `cargo test` runs exactly
//! what the fuzzer runs. Each entry point calls the function that the product calls, with the product's limits.

use std::fmt::Display;
use std::io::Write;
use std::sync::OnceLock;

use sordino_ckks::{Context, EvaluationKey, Gadget, Parameters};
use sordino_container::{Digest, HEADER_BYTES, Kind, Limits, METADATA_LIMIT};
use sordino_graph::Model;
use sordino_plan::{ClientPlan, ServerPlan};
use sordino_protocol::{MessageShape, ReceivedReply, ReceivedRequest};

/// Success, or what the typed error says.
pub(crate) type Outcome = Result<(), String>;

/// A format and its parser.
pub(crate) struct Format {
    /// The name of the fuzz target and of the folder of its corpus.
    pub(crate) name: &'static str,
    /// The kind of container, if the format is one.
    pub(crate) kind: Option<Kind>,
    /// Parses, and forgets what it read.
    pub(crate) parse: fn(&[u8]) -> Outcome,
}

/// Every format, in the order in which a workflow meets them.
pub(crate) const FORMATS: [&Format; 13] = [
    &CONTAINER,
    &MODEL,
    &SERVER_PLAN,
    &CLIENT_PLAN,
    &EVALUATION_KEY,
    &REQUEST,
    &REPLY,
    &IDX,
    &CIFAR,
    &NPY,
    &NPZ,
    &PICTURE,
    &ONNX,
];

/// Any container: the header, the limits, the digest.
pub(crate) const CONTAINER: Format = Format {
    name: "container",
    kind: Some(Kind::Reply),
    parse: container,
};

/// A model file.
pub(crate) const MODEL: Format = Format {
    name: "model",
    kind: None,
    parse: |bytes| outcome(Model::from_bytes(bytes)),
};

/// The part of a plan with the weights.
pub(crate) const SERVER_PLAN: Format = Format {
    name: "server_plan",
    kind: Some(Kind::ServerPlan),
    parse: |bytes| outcome(ServerPlan::from_bytes(bytes)),
};

/// The part of a plan without weights, which a server gives to its clients.
pub(crate) const CLIENT_PLAN: Format = Format {
    name: "client_plan",
    kind: Some(Kind::ClientPlan),
    parse: |bytes| outcome(ClientPlan::from_bytes(bytes)),
};

/// An evaluation key for [`parameters`].
pub(crate) const EVALUATION_KEY: Format = Format {
    name: "evaluation_key",
    kind: Some(Kind::EvaluationKey),
    parse: |bytes| outcome(EvaluationKey::from_bytes(context(), bytes)),
};

/// Encrypted images for [`request_shape`].
pub(crate) const REQUEST: Format = Format {
    name: "request",
    kind: Some(Kind::Request),
    parse: |bytes| {
        let shape = request_shape();
        outcome(
            ReceivedRequest::from_bytes(bytes, &shape).and_then(|request| request.parse(&shape)),
        )
    },
};

/// Encrypted scores for [`reply_shape`].
pub(crate) const REPLY: Format = Format {
    name: "reply",
    kind: Some(Kind::Reply),
    parse: |bytes| {
        let shape = reply_shape();
        outcome(ReceivedReply::from_bytes(bytes, &shape).and_then(|reply| reply.parse(&shape)))
    },
};

/// Images in MNIST's format.
pub(crate) const IDX: Format = Format {
    name: "idx",
    kind: None,
    parse: |bytes| images(bytes, ".idx"),
};

/// Images in CIFAR-10's binary format.
pub(crate) const CIFAR: Format = Format {
    name: "cifar",
    kind: None,
    parse: |bytes| images(bytes, ".bin"),
};

/// A NumPy array.
pub(crate) const NPY: Format = Format {
    name: "npy",
    kind: None,
    parse: |bytes| images(bytes, ".npy"),
};

/// A NumPy archive.
pub(crate) const NPZ: Format = Format {
    name: "npz",
    kind: None,
    parse: |bytes| images(bytes, ".npz"),
};

/// A PNG or JPEG picture.
pub(crate) const PICTURE: Format = Format {
    name: "picture",
    kind: None,
    parse: |bytes| images(bytes, ".png"),
};

/// A network exported by another framework.
pub(crate) const ONNX: Format = Format {
    name: "onnx",
    kind: None,
    parse: |bytes| outcome(sordino_onnx::import(bytes)),
};

/// What a fuzz target does with an input: parses it as it is, and once more with a header that fits, since a fuzzer
/// does not find digests.
pub(crate) fn fuzz(format: &Format, bytes: &[u8]) {
    // Both outcomes are fine here; a panic is not.
    let _ = (format.parse)(bytes);
    if let Some(sealed) = format.kind.and_then(|kind| seal(kind, bytes)) {
        let _ = (format.parse)(&sealed);
    }
}

/// The same bytes with magic, version, kind, lengths and digest made right; metadata and payload stay what they are.
///
/// Written from `docs/reference/formats.md`, not with the code under test.
pub(crate) fn seal(kind: Kind, bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let announced = u32::from_le_bytes(header[12..16].try_into().ok()?);
    let metadata_bytes = (announced as usize).min(rest.len());
    let payload_bytes = rest.len() - metadata_bytes;
    let mut sealed = b"SORDINO\0".to_vec();
    sealed.extend_from_slice(&1u16.to_le_bytes());
    sealed.extend_from_slice(&kind.code().to_le_bytes());
    sealed.extend_from_slice(&u32::try_from(metadata_bytes).ok()?.to_le_bytes());
    sealed.extend_from_slice(&(payload_bytes as u64).to_le_bytes());
    let covered = [&sealed[8..24], rest].concat();
    let digest = Digest::of("sordino container file v1", &covered);
    sealed.extend_from_slice(digest.as_bytes());
    sealed.extend_from_slice(rest);
    Some(sealed)
}

fn outcome<T, E: Display>(result: Result<T, E>) -> Outcome {
    result.map(drop).map_err(|error| error.to_string())
}

fn container(bytes: &[u8]) -> Outcome {
    let limits = Limits {
        metadata_bytes: METADATA_LIMIT,
        payload_bytes: 1 << 20,
    };
    let read = |kind| sordino_container::from_bytes::<serde_json::Value>(bytes, kind, limits);
    let good = Kind::ALL
        .into_iter()
        .filter(|&kind| read(kind).is_ok())
        .count();
    assert!(good <= 1, "a file has one kind");
    let file = file_of(bytes, ".sordino");
    let inspected = sordino_container::inspect_file(file.path());
    // `inspect` takes payloads of any size, else the two agree.
    assert!(good == 0 || inspected.is_ok(), "{inspected:?}");
    outcome(inspected)
}

/// Secure parameters that make small files.
pub(crate) fn parameters() -> Parameters {
    let (n, primes, special) = (4096, vec![163_841, 4_079_617], vec![16_760_833]);
    Parameters::new(n, primes, special, Some(Gadget::SpecialPrime)).expect("parameters at 128 bits")
}

/// The tables for [`parameters`].
pub(crate) fn context() -> &'static Context {
    static CONTEXT: OnceLock<Context> = OnceLock::new();
    CONTEXT.get_or_init(|| {
        let backend = sordino_ring::backend::portable();
        Context::new(parameters(), backend).expect("tables for checked parameters")
    })
}

/// What a plan of two features fixes about a request.
pub(crate) fn request_shape() -> MessageShape<'static> {
    MessageShape {
        plan: Digest([7; 32]),
        context: context(),
        batch: 5000,
        block_images: context().ring_degree(),
        rows: 2,
        components: 1,
        limbs: 1,
        scale: 256.0,
    }
}

/// What a plan of one logit fixes about a reply.
pub(crate) fn reply_shape() -> MessageShape<'static> {
    MessageShape {
        rows: 1,
        components: 2,
        ..request_shape()
    }
}

fn images(bytes: &[u8], suffix: &str) -> Outcome {
    // The readers take paths and tell most formats by content.
    outcome(sordino_data::open_images(file_of(bytes, suffix).path()))
}

fn file_of(bytes: &[u8], suffix: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(suffix).tempfile();
    let mut file = file.expect("a temporary file");
    file.write_all(bytes).expect("room for a temporary file");
    file
}
