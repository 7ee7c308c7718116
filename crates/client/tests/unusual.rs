//! Batches with images that do not belong: what is encrypted, and what the predictions say.

mod common;

use common::{model, numbers};
use sordino_client::{Client, Error, Keys, Marks, Predictions, UnusualPolicy};
use sordino_plan::{CompileOptions, Plan};
use sordino_protocol::{ReceivedRequest, Reply, Request};
use sordino_ring::backend;
use sordino_runtime::{Options, compile, evaluate};

const SIZE: (usize, usize) = (8, 8);
const FEATURES: usize = 64;
const COUNT: usize = 30;
/// A white image among the others.
const WHITE: usize = 7;

struct Sides {
    plan: Plan,
    client: Client,
    keys: Keys,
}

impl Sides {
    /// A plan that proves nothing about images that do not belong.
    fn new(batch: usize) -> Self {
        let mut plan = compile(&model(SIZE, 3), &CompileOptions::new(batch)).unwrap();
        plan.client.header.contained_images = 0;
        let client = Client::new(plan.client.clone(), backend::select(None).unwrap()).unwrap();
        let keys = client.generate_keys().unwrap();
        Self { plan, client, keys }
    }

    fn reply(&self, request: &Request) -> Reply {
        let shape = self.client.request_shape();
        let received = ReceivedRequest::from_bytes(&request.to_bytes().unwrap(), &shape).unwrap();
        let (header, digest) = (received.header.clone(), received.digest);
        let blocks = received.parse(&shape).unwrap().into_blocks();
        let (key, context) = (self.keys.evaluation.as_ref(), self.client.context());
        let blocks = evaluate(&self.plan.server, context, key, blocks, Options::default()).unwrap();
        Reply::new(&self.client.reply_shape(), &header, digest, blocks).unwrap()
    }

    fn predict(&self, images: &[f32], marks: &Marks) -> Result<(usize, Predictions), Error> {
        let request = self
            .client
            .encrypt_marked(&self.keys.secret, images, marks)?;
        let blocks = request.blocks().len();
        let reply = self.reply(&request);
        let predictions = self
            .client
            .decrypt_marked(&self.keys.secret, &reply, marks.clone())?;
        Ok((blocks, predictions))
    }
}

fn batch() -> Vec<f32> {
    let mut images = numbers(COUNT * FEATURES, 5);
    images[WHITE * FEATURES..(WHITE + 1) * FEATURES].fill(1.0);
    images
}

fn statuses(predictions: &Predictions) -> Vec<String> {
    let mut csv = Vec::new();
    predictions.write_csv(&mut csv, None, false).unwrap();
    let text = String::from_utf8(csv).unwrap();
    let rows = text.lines().skip(1);
    rows.map(|row| row.rsplit_once(',').unwrap().1.to_owned())
        .collect()
}

#[test]
fn what_does_not_belong_is_left_out_kept_apart_or_kept() {
    let sides = Sides::new(9000);
    let images = batch();
    let usual: Vec<f32> = images
        .chunks_exact(FEATURES)
        .enumerate()
        .filter(|(index, _)| *index != WHITE)
        .flat_map(|(_, image)| image.to_vec())
        .collect();
    let all_usual = sides.client.screen(&usual, UnusualPolicy::Exclude).unwrap();
    assert!(all_usual.unusual().is_empty());
    let (_, alone) = sides.predict(&usual, &all_usual).unwrap();

    let marks = sides
        .client
        .screen(&images, UnusualPolicy::Exclude)
        .unwrap();
    let found: Vec<usize> = marks.unusual().iter().map(|image| image.index).collect();
    assert_eq!((found.as_slice(), marks.left_out()), (&[WHITE][..], 1));
    let (blocks, predictions) = sides.predict(&images, &marks).unwrap();
    assert_eq!((blocks, predictions.classes()), (1, alone.classes()));
    let statuses_of = statuses(&predictions);
    assert_eq!(statuses_of.len(), COUNT);
    for (index, status) in statuses_of.iter().enumerate() {
        assert_eq!(status == "unusual", index == WHITE, "{index}");
    }

    for (policy, expected) in [(UnusualPolicy::Separate, 2), (UnusualPolicy::Keep, 1)] {
        let marks = sides.client.screen(&images, policy).unwrap();
        assert_eq!(marks.left_out(), 0);
        let (blocks, predictions) = sides.predict(&images, &marks).unwrap();
        assert_eq!((blocks, predictions.len()), (expected, COUNT), "{policy:?}");
        let others = (0..COUNT).filter(|&index| index != WHITE);
        let classes: Vec<usize> = others.map(|index| predictions.classes()[index]).collect();
        assert_eq!(classes, alone.classes(), "{policy:?}");
        assert_ne!(statuses(&predictions)[WHITE], "ok");
    }
}

#[test]
fn a_plan_that_holds_any_image_leaves_none_out() {
    let sides = Sides::new(100);
    let mut plan = sides.plan.client.clone();
    plan.header.contained_images = 1;
    let client = Client::new(plan, backend::select(None).unwrap()).unwrap();
    let marks = client.screen(&batch(), UnusualPolicy::Exclude).unwrap();
    assert_eq!((marks.unusual().len(), marks.left_out()), (1, 0));
    // Two are more than it holds.
    let mut images = batch();
    images[..FEATURES].fill(1.0);
    let marks = client.screen(&images, UnusualPolicy::Exclude).unwrap();
    assert_eq!((marks.unusual().len(), marks.left_out()), (2, 2));
}

#[test]
fn batches_that_leave_nothing_or_have_no_room_are_refused() {
    let sides = Sides::new(100);
    let white = vec![1.0; 3 * FEATURES];
    let marks = sides.client.screen(&white, UnusualPolicy::Exclude).unwrap();
    let refused = sides
        .client
        .encrypt_marked(&sides.keys.secret, &white, &marks);
    assert!(matches!(refused, Err(Error::AllUnusual { images: 3 })));
    // One block is all that the plan has.
    let marks = sides
        .client
        .screen(&batch(), UnusualPolicy::Separate)
        .unwrap();
    let refused = sides
        .client
        .encrypt_marked(&sides.keys.secret, &batch(), &marks);
    assert!(matches!(
        refused,
        Err(Error::Separate {
            unusual: 1,
            limit: 100
        })
    ));
    // Alone they need no block of their own.
    let marks = sides
        .client
        .screen(&white, UnusualPolicy::Separate)
        .unwrap();
    let (blocks, _) = sides.predict(&white, &marks).unwrap();
    assert_eq!(blocks, 1);
}
