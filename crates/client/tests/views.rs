//! Several views of an image in idle places.

mod common;

use common::{CLASSES, model, numbers};
use sordino_client::{Client, Error, Keys, Marks, UnusualPolicy, ViewCount};
use sordino_graph::{InputGuard, Views};
use sordino_plan::{CompileOptions, Plan};
use sordino_protocol::{ReceivedRequest, Reply, Request};
use sordino_ring::backend;
use sordino_runtime::{Options, compile, evaluate, evaluate_clear};

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
    fn new(views: Option<Views>, batch: usize) -> Self {
        let mut model = model(SIZE, 3);
        model.calibration.as_mut().unwrap().views = views;
        let plan = compile(&model, &CompileOptions::new(batch)).unwrap();
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
}

fn views(changes: &str, best: usize) -> Option<Views> {
    let changes = changes.parse().unwrap();
    Some(Views { changes, best })
}

fn refused(result: Result<Marks, Error>, part: &str) {
    match result {
        Err(Error::Views { what }) if what.contains(part) => {}
        other => panic!("expected {part:?}: {other:?}"),
    }
}

#[test]
fn the_answer_is_the_mean_of_the_views() {
    let known = views("mirror,turn,shift:1", 3);
    let sides = Sides::new(known, 9000);
    let mut images = numbers(COUNT * FEATURES, 5);
    images[WHITE * FEATURES..][..FEATURES].fill(1.0);
    for (policy, wanted, count) in [
        (UnusualPolicy::Keep, ViewCount::Auto, 3),
        (UnusualPolicy::Exclude, ViewCount::Exactly(6), 6),
        (UnusualPolicy::Keep, ViewCount::Exactly(1), 1),
    ] {
        let marks = sides.client.screen(&images, policy).unwrap();
        let marks = sides.client.with_views(marks, wanted).unwrap();
        assert_eq!(marks.views(), count);
        let request = sides
            .client
            .encrypt_marked(&sides.keys.secret, &images, &marks);
        let request = request.unwrap();
        assert_eq!(request.header().images as usize, marks.encrypted());
        let reply = sides.reply(&request);
        let predictions = sides
            .client
            .decrypt_marked(&sides.keys.secret, &reply, marks.clone());
        let predictions = predictions.unwrap();
        assert_eq!(predictions.check().unwrap().images, 16);

        let mut expected = vec![0.0; marks.encrypted() * CLASSES];
        for (image, index) in marks.kept().enumerate() {
            let image_values = &images[index * FEATURES..][..FEATURES];
            let preprocess = &sides.plan.client.preprocess;
            let mut all = image_values.to_vec();
            all.extend(
                known
                    .unwrap()
                    .further(count, image_values, preprocess, None)
                    .concat(),
            );
            let logits = evaluate_clear(&sides.plan.server, &all, count).unwrap();
            for (at, logit) in logits.into_iter().enumerate() {
                expected[image * CLASSES + at % CLASSES] += logit / count as f64;
            }
        }
        let unit = f64::from(-predictions.released_bits()).exp2();
        for (found, expected) in predictions.logits().iter().zip(&expected) {
            assert!(
                (found - expected).abs() <= 0.75 * unit,
                "{found} {expected}"
            );
        }
    }
}

#[test]
fn views_take_only_places_that_would_be_idle() {
    let sides = Sides::new(views("mirror,shift:1", 4), 9000);
    let of_block = sides.plan.client.block_images();
    let with = |images: usize, wanted| {
        let marks = Marks::new(images, Vec::new()).unwrap();
        sides.client.with_views(marks, wanted)
    };
    for (images, expected) in [
        (1, 4),
        (of_block / 4, 4),
        (of_block / 4 + 1, 3),
        (of_block / 2 + 1, 1),
        (of_block, 1),
        // Two blocks.
        (of_block + 1, 1),
    ] {
        let marks = with(images, ViewCount::Auto).unwrap();
        assert_eq!(marks.views(), expected, "{images} images");
    }
    refused(
        with(of_block / 2 + 1, ViewCount::Exactly(2)),
        "there are places for 1",
    );
    refused(with(1, ViewCount::Exactly(11)), "expected 1 to 10 views");
    let none = Sides::new(None, 100);
    let marks = || Marks::new(5, Vec::new()).unwrap();
    assert_eq!(
        none.client
            .with_views(marks(), ViewCount::Auto)
            .unwrap()
            .views(),
        1
    );
    refused(
        none.client.with_views(marks(), ViewCount::Exactly(2)),
        "sordino ranges",
    );
}

#[test]
fn a_view_that_would_be_unusual_is_the_image_once_more() {
    // Shifts by half of the image leave half of it black.
    let known = views("mirror,shift:7", 4);
    let sides = Sides::new(known, 100);
    let statistic = sides.plan.client.input_statistic.as_ref().unwrap();
    let preprocess = &sides.plan.client.preprocess;
    let guard = InputGuard::new(statistic, preprocess).unwrap();
    let of = |image: &[f32], guard| known.unwrap().further(4, image, preprocess, guard);
    let unusual = |image: &[f32]| guard.unusual(image).is_some();
    let mut replaced = 0;
    for step in 0..100u8 {
        // Ever brighter, until the image itself is unusual.
        let light = f32::from(step) / 100.0;
        let mut image = numbers(FEATURES, 9 + u32::from(step % 10));
        image
            .iter_mut()
            .for_each(|value| *value += light * (1.0 - *value));
        if unusual(&image) {
            continue;
        }
        for (view, safe) in of(&image, None).into_iter().zip(of(&image, Some(&guard))) {
            replaced += usize::from(unusual(&view));
            assert_eq!(safe, if unusual(&view) { image.clone() } else { view });
        }
    }
    assert!(replaced > 0);
    // An unusual image that is encrypted all the same has its views.
    let white = vec![1.0; FEATURES];
    assert_eq!(of(&white, Some(&guard)), of(&white, None));
}

#[test]
fn plans_of_before_have_no_views_and_wrong_ones_are_refused() {
    let sides = Sides::new(None, 100);
    let bytes = sides.plan.client.to_bytes().unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("\"views\""));
    let mut plan = Sides::new(views("mirror", 2), 100).plan.client;
    assert!(sordino_plan::ClientPlan::from_bytes(&plan.to_bytes().unwrap()).is_ok());
    plan.views = views("mirror", 3);
    assert!(sordino_plan::ClientPlan::from_bytes(&plan.to_bytes().unwrap()).is_err());
}
