//! Requests and replies survive a round trip, and everything that does not fit the plan is refused by name.

use proptest::prelude::*;
use serde_json::{Value, json};
use sordino_ckks::{Ciphertexts, Context, KeyId, Parameters, Scale, SeededCiphertexts, SlotTag};
use sordino_container::{self as container, Digest, Kind, METADATA_LIMIT, Overwrite};
use sordino_protocol::{Error, MessageShape, ReceivedReply, ReceivedRequest, Reply, Request};
use sordino_ring::{ResidueMatrix, backend, primes_below};

const N: usize = 16;
const SCALE: f64 = 1048576.0;

fn context() -> Context {
    let primes = [40, 32]
        .map(|bits| primes_below(1 << bits, N).next().expect("a prime"))
        .to_vec();
    let parameters = Parameters::insecure_for_tests(N, primes, vec![], None).unwrap();
    Context::new(parameters, backend::portable()).unwrap()
}

fn shape(context: &Context, rows: usize, components: usize) -> MessageShape<'_> {
    MessageShape {
        plan: Digest::of_bytes(b"plan"),
        context,
        batch: 40,
        block_images: context.ring_degree(),
        rows,
        components,
        limbs: 2,
        scale: SCALE,
    }
}

fn matrix(context: &Context, rows: usize, limb: usize, salt: u64) -> ResidueMatrix {
    let modulus = context.modulus(limb);
    let mut matrix = ResidueMatrix::zeros(rows, N, modulus.byte_width());
    for row in 0..rows {
        let values: Vec<u64> = (0..N as u64)
            .map(|k| (salt * 7919 + row as u64 * 1_000_003 + k * 0x9e37_79b9) % modulus.value())
            .collect();
        context.backend().pack_row(&mut matrix, row, &values);
    }
    matrix
}

fn request(context: &Context, images: usize) -> Request {
    let shape = shape(context, 3, 1);
    let blocks = (0..shape.blocks(images))
        .map(|block| {
            let parts = (0..2)
                .map(|limb| matrix(context, 3, limb, block as u64))
                .collect();
            let scale = Scale::new(SCALE).unwrap();
            SeededCiphertexts::from_parts(context, [block as u8; 32], 0, parts, scale).unwrap()
        })
        .collect();
    Request::new(&shape, KeyId([7; 16]), SlotTag([3; 32]), images, blocks).unwrap()
}

fn reply(context: &Context, request: &Request) -> Reply {
    let shape = shape(context, 2, 3);
    let blocks = (0..request.blocks().len())
        .map(|block| {
            let component = |c: u64| {
                (0..2)
                    .map(|limb| matrix(context, 2, limb, 10 + c))
                    .collect()
            };
            let parts = (0..3).map(|c| component(c + block as u64)).collect();
            Ciphertexts::from_parts(context, parts, Scale::new(SCALE).unwrap()).unwrap()
        })
        .collect();
    Reply::new(
        &shape,
        request.header(),
        Digest::of_bytes(b"request"),
        blocks,
    )
    .unwrap()
}

#[test]
fn a_request_survives_bytes_and_files() {
    let context = context();
    let shape = shape(&context, 3, 1);
    for images in [1, 16, 17, 40] {
        let request = request(&context, images);
        let bytes = request.to_bytes().unwrap();
        let received = ReceivedRequest::from_bytes(&bytes, &shape).unwrap();
        assert_eq!(received.header.images, images as u64);
        assert_eq!(received.parse(&shape).unwrap(), request);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("request");
        let digest = request.write_file(&path, Overwrite::Refuse).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        let received = ReceivedRequest::read_file(&path, &shape).unwrap();
        assert_eq!(received.digest, digest);
        assert_eq!(received.parse(&shape).unwrap(), request);
    }
}

#[test]
fn a_reply_survives_bytes_and_files() {
    let context = context();
    let shape = shape(&context, 2, 3);
    let reply = reply(&context, &request(&context, 33));
    let bytes = reply.to_bytes().unwrap();
    let received = ReceivedReply::from_bytes(&bytes, &shape).unwrap();
    let answered = received.header.parents.request;
    assert_eq!(answered, Digest::of_bytes(b"request"));
    assert_eq!(received.parse(&shape).unwrap(), reply);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reply");
    reply.write_file(&path, Overwrite::Refuse).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(
        ReceivedReply::read_file(&path, &shape)
            .unwrap()
            .parse(&shape)
            .unwrap(),
        reply
    );
}

/// The request's bytes with one header field changed and the digest made right again.
fn with_field(bytes: &[u8], pointer: &str, value: Value) -> Vec<u8> {
    let limits = container::Limits {
        metadata_bytes: METADATA_LIMIT,
        payload_bytes: bytes.len() as u64,
    };
    let mut contents = container::from_bytes::<Value>(bytes, Kind::Request, limits).unwrap();
    *contents.metadata.pointer_mut(pointer).expect(pointer) = value;
    container::to_bytes(Kind::Request, &contents.metadata, &contents.payload).unwrap()
}

#[test]
fn every_field_that_does_not_fit_the_plan_is_refused_by_name() {
    let context = context();
    let shape = shape(&context, 3, 1);
    let bytes = request(&context, 20).to_bytes().unwrap();
    let other = Digest::of_bytes(b"other").to_string();
    for (pointer, value, expected) in [
        ("/parents/plan", json!(other), "plan"),
        ("/parents/parameters", json!(other), "parameters"),
        ("/parameters/primes/0", json!(12289), "parameters"),
        ("/images", json!(0), "images"),
        ("/images", json!(41), "images"),
        ("/images", json!(u64::MAX), "images"),
        ("/blocks", json!(1), "blocks"),
        ("/blocks", json!(u32::MAX), "blocks"),
        ("/features", json!(4), "features"),
        ("/limbs", json!(1), "limbs"),
        ("/scale", json!(SCALE * 2.0), "scale"),
        ("/seeds", json!([]), "seeds"),
        ("/seeds/0", json!("12"), "digest"),
        ("/images", json!("20"), "images"),
        ("/slots", Value::Null, "encrypt the images again"),
    ] {
        let error = ReceivedRequest::from_bytes(&with_field(&bytes, pointer, value), &shape)
            .expect_err(pointer)
            .to_string();
        assert!(
            error.contains(expected) || pointer == "/images",
            "{pointer}: {error}"
        );
    }
    // 17 to 32 images take two blocks as well: the plan cannot tell, and need not.
    let fewer = with_field(&bytes, "/images", json!(17));
    assert!(ReceivedRequest::from_bytes(&fewer, &shape).is_ok());
}

#[test]
fn a_payload_of_another_length_or_with_large_residues_is_refused() {
    let context = context();
    let shape = shape(&context, 3, 1);
    let made = request(&context, 20);
    let header = made.header();
    let payload = vec![0; shape.layout(20).unwrap().payload_bytes() as usize];
    for length in [0, 1, payload.len() - 1] {
        let bytes = container::to_bytes(Kind::Request, header, &payload[..length]).unwrap();
        let error = ReceivedRequest::from_bytes(&bytes, &shape).unwrap_err();
        assert!(matches!(error, Error::PayloadLength { .. }), "{error}");
    }
    let longer = vec![0; payload.len() * 2];
    let bytes = container::to_bytes(Kind::Request, header, &longer).unwrap();
    let error = ReceivedRequest::from_bytes(&bytes, &shape).unwrap_err();
    assert!(
        matches!(
            error,
            Error::File(container::Error::TooLarge { .. }) | Error::PayloadLength { .. }
        ),
        "{error}"
    );

    let large = vec![255; payload.len()];
    let bytes = container::to_bytes(Kind::Request, header, &large).unwrap();
    let received = ReceivedRequest::from_bytes(&bytes, &shape).unwrap();
    let error = received.parse(&shape).unwrap_err();
    assert!(
        matches!(error, Error::Ciphertexts { block: 0, .. }),
        "{error}"
    );
}

#[test]
fn a_file_larger_than_the_plan_allows_is_told_to_be_of_another_plan() {
    let context = context();
    let wide = MessageShape {
        batch: 400,
        plan: Digest::of_bytes(b"wide"),
        ..shape(&context, 3, 1)
    };
    let blocks = (0..25)
        .map(|block| {
            let parts = (0..2)
                .map(|limb| matrix(&context, 3, limb, block))
                .collect();
            let scale = Scale::new(SCALE).unwrap();
            SeededCiphertexts::from_parts(&context, [block as u8; 32], 0, parts, scale).unwrap()
        })
        .collect();
    let request = Request::new(&wide, KeyId([1; 16]), SlotTag([3; 32]), 400, blocks).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("request");
    request.write_file(&path, Overwrite::Refuse).unwrap();
    let error = ReceivedRequest::read_file(&path, &shape(&context, 3, 1)).unwrap_err();
    assert!(matches!(error, Error::WrongPlan { .. }), "{error}");
}

#[test]
fn the_width_of_a_residue_is_that_of_its_modulus() {
    for bits in 17..=50 {
        let prime = primes_below(1 << bits, N).next().unwrap();
        let parameters = Parameters::insecure_for_tests(N, vec![prime], vec![], None).unwrap();
        let context = Context::new(parameters, backend::portable()).unwrap();
        let shape = MessageShape {
            limbs: 1,
            ..shape(&context, 3, 1)
        };
        let bytes = shape.layout(1).unwrap().payload_bytes() as usize;
        assert_eq!(
            bytes,
            3 * N * context.modulus(0).byte_width(),
            "{bits} bits"
        );
    }
}

#[test]
fn test_parameters_are_not_accepted_without_the_plan_that_asked_for_them() {
    let context = context();
    assert!(request(&context, 3).header().checked_parameters().is_err());
}

proptest! {
    #[test]
    fn no_changed_byte_is_taken(at in 0usize..4000, change in 1u8..=255) {
        let context = context();
        let shape = shape(&context, 3, 1);
        let mut bytes = request(&context, 20).to_bytes().unwrap();
        let at = at % bytes.len();
        bytes[at] ^= change;
        prop_assert!(ReceivedRequest::from_bytes(&bytes, &shape).is_err());
        bytes.truncate(at);
        prop_assert!(ReceivedRequest::from_bytes(&bytes, &shape).is_err());
    }
}
