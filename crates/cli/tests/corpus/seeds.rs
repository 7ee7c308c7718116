//! Small good files of every format, and bad ones that a parser must refuse for what they say rather than for a
//! wrong digest. Keys, requests and replies have fresh randomness, so they differ from run to run.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{DynamicImage, ImageFormat};
use sordino_ckks::{Ciphertexts, KeySet, Scale, SlotTag};
use sordino_container::{Digest, HEADER_BYTES, Kind, to_bytes};
use sordino_graph::{
    ColorPolicy, Granularity, Graph, Model, Op, OutputKind, Padding, Preprocess, Shape, SizePolicy,
    Tensor, calibrate,
};
use sordino_plan::{CompileOptions, PackingKind, Plan};
use sordino_protocol::{Reply, Request};
use sordino_ring::sample::SecretRng;
use sordino_runtime::compile;
use sordino_secret::{SecretKey, encrypt, evaluation_key, evaluation_key_for};

use crate::parsers::{Format, context, reply_shape, request_shape, seal};

type Files = Vec<(&'static str, Vec<u8>)>;

/// The files of a format.
pub(crate) fn of(format: &Format) -> Files {
    match format.name {
        "container" => containers(),
        "model" => models(),
        "server_plan" => server_plans(),
        "client_plan" => client_plans(),
        "evaluation_key" => evaluation_keys(),
        "request" => with_bad_residue("good-one-block", request().to_bytes().expect("bytes"), 0),
        "reply" => with_bad_residue("good-one-block", reply(), 0),
        "idx" => idx(),
        "cifar" => cifar(),
        "npy" => arrays(),
        "npz" => archives(),
        "picture" => pictures(),
        "onnx" => networks(),
        name => panic!("no seeds for {name}"),
    }
}

/// Another payload or header behind a digest that fits.
fn resealed(bytes: &[u8]) -> Vec<u8> {
    let code = u16::from_le_bytes([bytes[10], bytes[11]]);
    let kind = Kind::from_code(code).expect("a kind");
    seal(kind, bytes).expect("a whole header")
}

fn metadata_bytes(bytes: &[u8]) -> usize {
    u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize
}

/// A good file, and the same with a first residue of 2^24 − 1, which is not below its prime.
fn with_bad_residue(name: &'static str, good: Vec<u8>, before: usize) -> Files {
    let mut bad = good.clone();
    let start = HEADER_BYTES + metadata_bytes(&good) + before;
    bad[start..start + 3].fill(0xFF);
    vec![(name, good), ("bad-residue", resealed(&bad))]
}

/// The same container with other metadata.
fn with_metadata(bytes: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let end = HEADER_BYTES + metadata_bytes(bytes);
    let mut metadata = serde_json::from_slice(&bytes[HEADER_BYTES..end]).expect("JSON");
    change(&mut metadata);
    let code = u16::from_le_bytes([bytes[10], bytes[11]]);
    let kind = Kind::from_code(code).expect("a kind");
    to_bytes(kind, &metadata, &bytes[end..]).expect("a container")
}

/// Bytes with little structure.
fn bytes(count: usize) -> impl Iterator<Item = u8> {
    (0..count as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
}

fn containers() -> Files {
    let metadata =
        serde_json::json!({"name": "x", "list": [1, 2.5, -3e10], "nested": {"empty": null}});
    let large: Vec<u8> = bytes(100).collect();
    let file = |metadata, payload| to_bytes(Kind::Reply, metadata, payload).expect("a container");
    let small = file(&metadata, &large);
    let with = |offset: usize, patch: &[u8]| {
        let mut copy = small.clone();
        copy[offset..offset + patch.len()].copy_from_slice(patch);
        copy
    };
    vec![
        ("good-empty", file(&serde_json::Value::Null, &[])),
        ("bad-magic", with(7, &[1])),
        ("bad-version", with(8, &[2])),
        ("bad-kind", with(10, &[99])),
        ("bad-metadata-length", with(12, &[0xFF; 4])),
        ("bad-payload-length", with(16, &[0xFF; 8])),
        ("bad-digest", with(24, &[0])),
        ("bad-end", [&small[..], &[0]].concat()),
        ("bad-json", resealed(&with(HEADER_BYTES, b"["))),
        ("good-small", small),
    ]
}

fn models() -> Files {
    let good = model().to_bytes().expect("a model file");
    let text = String::from_utf8_lossy(&good).into_owned();
    // The description is JSON within JSON; all replacements keep its length.
    let with = |from: &str, to: &str| {
        assert!(from.len() == to.len() && text.contains(from), "{from}");
        let at = good
            .windows(from.len())
            .position(|window| window == from.as_bytes());
        let at = at.expect("the text is in the file");
        let mut copy = good.clone();
        copy[at..at + to.len()].copy_from_slice(to.as_bytes());
        copy
    };
    let mut nan = good.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    vec![
        (
            "bad-header-length",
            [&u64::MAX.to_le_bytes()[..], &good[8..]].concat(),
        ),
        (
            "bad-version",
            with("format_version\\\":1", "format_version\\\":2"),
        ),
        ("bad-loop", with("inputs\\\":[3]", "inputs\\\":[6]")),
        ("bad-size", with("height\\\":4", "height\\\":9")),
        ("bad-weight", nan),
        ("good-convolution", good),
    ]
}

fn server_plans() -> Files {
    let [good, channel_wise] = [PackingKind::ElementWise, PackingKind::ChannelWise]
        .map(|packing| plan(packing).server.to_bytes().expect("a plan"));
    let short = &good[..good.len() - 1];
    let bad = |change: fn(&mut serde_json::Value)| with_metadata(&good, change);
    vec![
        ("bad-short-payload", resealed(short)),
        (
            "bad-elements",
            bad(|m| m["steps"][1]["elements"] = u64::MAX.into()),
        ),
        (
            "bad-source",
            bad(|m| m["steps"][2]["operation"]["square"]["source"] = 9.into()),
        ),
        ("bad-scale", bad(|m| m["steps"][0]["scale"] = 3.5.into())),
        ("bad-batch", bad(|m| m["batch"] = 0.into())),
        ("good-channel-wise", channel_wise.clone()),
        (
            "bad-slots",
            with_metadata(&channel_wise, |m| m["channel"]["slots"] = 3.into()),
        ),
        ("good-shallow", good),
    ]
}

fn client_plans() -> Files {
    let [good, channel_wise] = [PackingKind::ElementWise, PackingKind::ChannelWise]
        .map(|packing| plan(packing).client.to_bytes().expect("a plan"));
    let bad = |change: fn(&mut serde_json::Value)| with_metadata(&good, change);
    vec![
        // Three distinct primes of 40 bits, 1 modulo 4N for every N: far over 106 bits at N = 2^12.
        (
            "bad-insecure",
            bad(|m| {
                m["parameters"]["ring_degree"] = 4096.into();
                m["parameters"]["primes"] = LARGE_PRIMES.to_vec().into();
            }),
        ),
        (
            "bad-for-tests",
            bad(|m| m["parameters"]["insecure_for_tests"] = true.into()),
        ),
        (
            "bad-classes",
            bad(|m| m["class_names"] = serde_json::json!(["one"])),
        ),
        ("bad-field", bad(|m| m["weights"] = serde_json::json!([1]))),
        (
            "bad-rotations",
            with_metadata(&channel_wise, |m| {
                m["channel"]["rotations"] = serde_json::json!([2, 1]);
            }),
        ),
        ("good-channel-wise", channel_wise.clone()),
        (
            "bad-features",
            bad(|m| m["input"]["features"] = u32::MAX.into()),
        ),
        ("good-shallow", good),
    ]
}

/// Primes below 2^40, 1 modulo 2^17.
const LARGE_PRIMES: [u64; 3] = [1_099_510_054_913, 1_099_507_695_617, 1_099_506_515_969];

/// Every operation that a model file can hold, on 4 × 4 pixels.
fn model() -> Model {
    let values = |count| {
        bytes(count)
            .map(|byte| (f32::from(byte) - 127.5) / 256.0)
            .collect::<Vec<_>>()
    };
    let tensor = |shape: &[usize]| {
        let values = values(shape.iter().product());
        Tensor::new(shape, values).expect("as many values as the shape holds")
    };
    let ones = |count| vec![1.0; count];
    let quadratic = |granularity, count| Op::Quadratic {
        granularity,
        a: vec![0.2; count],
        b: vec![0.5; count],
        c: vec![0.2; count],
    };
    let mut graph = Graph::builder(Shape::map(1, 4, 4));
    let input = graph.push("input", Op::Input, &[]);
    let convolution = Op::Conv2d {
        weight: tensor(&[2, 1, 3, 3]),
        bias: values(2),
        stride: [1, 1],
        padding: Padding::same([1, 1]),
        dilation: [1, 1],
        groups: 1,
    };
    let convolution = graph.push("convolution", convolution, &[input]);
    let normalization = Op::BatchNorm {
        gamma: ones(2),
        beta: values(2),
        mean: values(2),
        variance: ones(2),
        epsilon: 1e-5,
    };
    let normalized = graph.push("normalization", normalization, &[convolution]);
    let activated = graph.push(
        "activation",
        quadratic(Granularity::Element, 32),
        &[normalized],
    );
    let pool = Op::AveragePool {
        kernel: [2, 2],
        stride: [2, 2],
    };
    let pooled = graph.push("pool", pool, &[activated]);
    let flat = graph.push("flatten", Op::Flatten, &[pooled]);
    let dense = Op::Dense {
        weight: tensor(&[2, 8]),
        bias: values(2),
    };
    graph.push("dense", dense, &[flat]);
    let mut model = Model {
        graph: graph.finish().expect("a network"),
        preprocess: Preprocess {
            channels: 1,
            height: 4,
            width: 4,
            size: SizePolicy::Refuse,
            input_range: (0.0, 255.0),
            mean: vec![0.5],
            std: vec![0.25],
            allowed: (0.0, 255.0),
            color: ColorPolicy::Refuse,
            window: None,
        },
        classes: vec!["no".to_owned(), "yes".to_owned()],
        output: OutputKind::Softmax,
        name: "corpus".to_owned(),
        dataset: "none".to_owned(),
        calibration: None,
        operating_points: None,
        training: serde_json::json!({"epochs": 0}),
    };
    let images = values(16 * 8);
    model.calibration = Some(calibrate(&model, &images, 8, &mut |_| ()).expect("ranges"));
    model
}

fn plan(packing: PackingKind) -> Plan {
    let options = CompileOptions::new(4).with_packing(packing);
    compile(&model(), &options).expect("a plan")
}

/// A key pair's secret half, the same in every run; it protects nothing.
fn secret_key() -> (SecretKey, SecretRng) {
    let mut rng = SecretRng::from_seed([1; 32]);
    let key = SecretKey::generate(context(), &mut rng).expect("a key");
    (key, rng)
}

fn key() -> Vec<u8> {
    let (key, mut rng) = secret_key();
    let key = evaluation_key(context(), &key, &mut rng).expect("an evaluation key");
    key.to_bytes().expect("a key file")
}

/// One for relinearization, and one for two rotations.
fn evaluation_keys() -> Files {
    let (secret, mut rng) = secret_key();
    let rotations = KeySet::new(false, vec![1, 5]).expect("a key set");
    let key_of_rotations = evaluation_key_for(context(), &secret, &rotations, &mut rng);
    let key_of_rotations = key_of_rotations.expect("an evaluation key").to_bytes();
    let mut files = with_bad_residue("good-special-prime", key(), 32);
    files.push(("good-rotations", key_of_rotations.expect("a key file")));
    files
}

fn request() -> Request {
    let (key, mut rng) = secret_key();
    let shape = request_shape();
    let scale = Scale::new(shape.scale).expect("a scale");
    let slots = |feature: usize, slots: &mut [f64]| slots[..3].fill(feature as f64);
    let level = shape.limbs - 1;
    let block = encrypt(context(), &key, &mut rng, shape.rows, &slots, level, scale);
    let blocks = vec![block.expect("a ciphertext")];
    let tag = SlotTag([3; 32]);
    Request::new(&shape, key.key_id(), tag, 3, blocks).expect("a request")
}

fn reply() -> Vec<u8> {
    let request = request();
    let digest = Digest([9; 32]);
    let header = request.header().clone();
    let block = request.into_blocks().remove(0).expand(context());
    let logit = block.and_then(|block| block.select(&[0]));
    let blocks: Vec<Ciphertexts> = vec![logit.expect("a ciphertext")];
    let reply = Reply::new(&reply_shape(), &header, digest, blocks).expect("a reply");
    reply.to_bytes().expect("a reply file")
}

fn cifar() -> Files {
    let record: Vec<u8> = bytes(3073).map(|byte| byte % 10).collect();
    let mut label = record.clone();
    label[0] = 10;
    vec![
        ("bad-label", label),
        ("bad-length", record[..3072].to_vec()),
        ("good-one-record", record),
    ]
}

fn idx() -> Files {
    let flat = [
        &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 5][..],
        &pixels(40),
    ]
    .concat();
    let colour = [
        &[0, 0, 8, 4, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2][..],
        &pixels(12),
    ]
    .concat();
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&flat).expect("memory");
    let packed = packed.finish().expect("memory");
    let huge = [&[0, 0, 8, 3][..], &[0xFF; 12], &pixels(40)].concat();
    let empty = [&[0, 0, 8, 3][..], &[0; 12]].concat();
    let unsound = [&packed[..packed.len() - 8], &[0; 8]].concat();
    vec![
        ("bad-dimensions", huge),
        ("bad-empty", empty),
        ("bad-checksum", unsound),
        ("good-flat", flat),
        ("good-colour", colour),
        ("good-gzip", packed),
    ]
}

fn pixels(count: usize) -> Vec<u8> {
    bytes(count).collect()
}

/// Version 1.0 of NumPy's format: magic, version, length of the header, header in Python, values.
fn array(kind: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).expect("a short header");
    [
        b"\x93NUMPY\x01\x00",
        &length.to_le_bytes()[..],
        header.as_bytes(),
        values,
    ]
    .concat()
}

fn arrays() -> Files {
    let floats: Vec<u8> = (0..12u8)
        .flat_map(|k| (f32::from(k) / 8.0).to_le_bytes())
        .collect();
    let doubles: Vec<u8> = (0..4u8).flat_map(|k| f64::from(k).to_le_bytes()).collect();
    let most = u64::MAX;
    vec![
        (
            "bad-shape",
            array("|u1", &format!("({most}, {most}, 1, 1)"), &pixels(12)),
        ),
        ("bad-type", array("|O", "(2, 1, 3, 2)", &pixels(12))),
        // Channels before rows and columns, or behind.
        ("bad-ambiguous", array("|u1", "(2, 1, 2, 3)", &pixels(12))),
        ("bad-end", array("|u1", "(2, 1, 3, 2)", &pixels(13))),
        ("good-u8", array("|u1", "(2, 1, 3, 2)", &pixels(12))),
        ("good-u16", array("<u2", "(1, 3, 1, 2)", &pixels(12))),
        ("good-f32", array("<f4", "(3, 2, 2)", &floats)),
        ("good-f64", array("<f8", "(1, 1, 2, 2)", &doubles)),
    ]
}

fn archives() -> Files {
    let images = array("|u1", "(2, 1, 3, 2)", &pixels(12));
    let labels = array("|u1", "(2,)", &[0, 1]);
    let archive = |method| {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        // A fixed date, so that equal content gives equal bytes.
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(method)
            .last_modified_time(zip::DateTime::default());
        for (name, content) in [("images.npy", &images), ("labels.npy", &labels)] {
            archive.start_file(name, options).expect("memory");
            archive.write_all(content).expect("memory");
        }
        archive.finish().expect("memory").into_inner()
    };
    let stored = archive(zip::CompressionMethod::Stored);
    let mut unsound = stored.clone();
    // The last pixel of the first array; the archive has a checksum of it.
    unsound[30 + "images.npy".len() + images.len() - 1] ^= 1;
    vec![
        ("bad-checksum", unsound),
        ("good-stored", stored),
        ("good-deflated", archive(zip::CompressionMethod::Deflated)),
    ]
}

fn pictures() -> Files {
    let encode = |image: DynamicImage, format| {
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, format).expect("memory");
        file.into_inner()
    };
    let gray = image::GrayImage::from_raw(5, 4, pixels(20)).expect("20 pixels");
    let colour = image::RgbImage::from_raw(8, 8, pixels(192)).expect("64 pixels");
    let deep = bytes(12).map(|byte| u16::from(byte) * 257).collect();
    let deep = image::ImageBuffer::from_raw(4, 3, deep).expect("12 pixels");
    vec![
        ("good-gray-png", encode(gray.into(), ImageFormat::Png)),
        (
            "good-deep-png",
            encode(DynamicImage::ImageLuma16(deep), ImageFormat::Png),
        ),
        (
            "good-colour-png",
            encode(colour.clone().into(), ImageFormat::Png),
        ),
        ("good-colour-jpeg", encode(colour.into(), ImageFormat::Jpeg)),
    ]
}

/// Networks that exporters wrote, from the tests of the importer.
fn networks() -> Files {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx/tests/cases");
    let file = |name: &str| fs::read(folder.join(name)).expect("a network");
    let good = file("23-softmax_identity.onnx");
    vec![
        ("bad-cut", good[..good.len() / 2].to_vec()),
        ("good-softmax", good),
        ("good-channels-last", file("22-rgb.tf2onnx.onnx")),
        ("good-half-precision", file("26-fp16_weights_cast.onnx")),
        ("good-quantized", file("26-qdq_weights.onnx")),
        ("good-difference", file("35-ResSub.leg17.onnx")),
        ("bad-two-outputs", file("28-two_outputs.onnx")),
    ]
}
