//! Batches that one image ruins, in deep networks: nothing is released, and the image is named.

#[path = "common/deep.rs"]
mod deep;

use deep::{FEATURES, model, usual};
use sordino_client::{Client, Error, Keys, Marks, UnusualImage, UnusualPolicy};
use sordino_plan::{CompileOptions, PackingKind, Plan};
use sordino_protocol::{ReceivedRequest, Request};
use sordino_ring::backend;
use sordino_runtime::{Options, compile, evaluate};

const COUNT: usize = 40;

struct Sides {
    plan: Plan,
    client: Client,
    keys: Keys,
}

impl Sides {
    fn new() -> Self {
        let options = CompileOptions::new(COUNT).with_packing(PackingKind::ElementWise);
        let options = CompileOptions {
            precision_bits: Some(8.0),
            check_images: sordino_plan::CheckImageCount::Exactly(16),
            ..options
        };
        let plan = compile(&model(), &options).unwrap();
        let client = Client::new(plan.client.clone(), backend::select(None).unwrap()).unwrap();
        let keys = client.generate_keys().unwrap();
        Self { plan, client, keys }
    }

    fn evaluated(&self, request: &Request) -> Vec<u8> {
        let shape = self.client.request_shape();
        let received = ReceivedRequest::from_bytes(&request.to_bytes().unwrap(), &shape).unwrap();
        let (header, digest) = (received.header.clone(), received.digest);
        let blocks = received.parse(&shape).unwrap().into_blocks();
        let (key, context) = (self.keys.evaluation.as_ref(), self.client.context());
        let blocks = evaluate(&self.plan.server, context, key, blocks, Options::default()).unwrap();
        let shape = self.client.reply_shape();
        sordino_protocol::Reply::new(&shape, &header, digest, blocks)
            .unwrap()
            .to_bytes()
            .unwrap()
    }
}

#[test]
fn the_image_that_ruins_a_block_is_named_and_the_others_are_answered_without_it() {
    let sides = Sides::new();
    let header = &sides.plan.client.header;
    assert_eq!((header.contained_images, header.check_images), (0, 16));
    assert!(header.output.norms >= 2, "{:?}", header.output);
    let mut images = usual(COUNT, 5);
    let marks = Marks::new(COUNT, Vec::new()).unwrap();
    let predict = |images: &[f32], marks: &Marks| {
        let request = sides
            .client
            .encrypt_marked(&sides.keys.secret, images, marks)
            .unwrap();
        let reply = sides
            .client
            .reply_from_bytes(&sides.evaluated(&request))
            .unwrap();
        sides
            .client
            .decrypt_marked(&sides.keys.secret, &reply, marks.clone())
    };
    let good = predict(&images, &marks).unwrap();

    let ruinous = 11;
    images[ruinous * FEATURES..(ruinous + 1) * FEATURES].fill(1.0);
    let Error::CheckImages {
        suspects,
        different,
        images: checks,
        ..
    } = predict(&images, &marks).unwrap_err()
    else {
        panic!("the block should be ruined");
    };
    assert_eq!((suspects.as_slice(), different), (&[ruinous][..], checks));

    // Left out by the guard in the first place, or because it was named.
    let found = sides
        .client
        .screen(&images, UnusualPolicy::Exclude)
        .unwrap();
    assert_eq!(
        found
            .unusual()
            .iter()
            .map(|image| image.index)
            .collect::<Vec<_>>(),
        [ruinous]
    );
    let named = UnusualImage {
        index: ruinous,
        why: "named".to_owned(),
        left_out: true,
    };
    let without = predict(&images, &Marks::new(COUNT, vec![named]).unwrap()).unwrap();
    let others = |image: &usize| *image != ruinous;
    let expected: Vec<usize> = (0..COUNT)
        .filter(others)
        .map(|image| good.classes()[image])
        .collect();
    assert_eq!(without.classes(), expected);
}
