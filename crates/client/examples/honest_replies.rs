//! Measures how far honest replies are from being refused: check images and worst errors of a model over many keys.
//!
//! ```sh
//! cargo run --release -p sordino-client --example honest_replies -- MODEL DATA [KEYS [IMAGES [BATCH]]]
//! ```
//!
//! Each key encrypts the first images of the test set, has them evaluated and decrypts the reply. One line per key says how large the
//! errors were; the last line counts refusals. A model without a statistic of its input gets one of the training images.

use std::time::Instant;

use sordino_client::{Client, Error};
use sordino_data::{open_set, prepare};
use sordino_graph::{InputStatistic, Model};
use sordino_plan::{CheckImageCount, CompileOptions, USUAL_CHECK_IMAGES};
use sordino_protocol::{ReceivedRequest, Reply};
use sordino_ring::backend;
use sordino_runtime::{Options, compile, evaluate, evaluate_clear};

/// Training images that a statistic is recorded on.
const STATISTIC_IMAGES: usize = 2000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(data)) = (arguments.next(), arguments.next()) else {
        return Err("give a model file and a data set".into());
    };
    let numbers: Vec<usize> = arguments
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let number = |at: usize, default: usize| numbers.get(at).copied().unwrap_or(default);
    let (keys, images) = (number(0, 100), number(1, 100));
    let batch = number(2, images);
    let mut model = Model::load(model)?;
    let set = open_set(data)?;
    let first = |images: &sordino_data::Images, count: usize| {
        images.subset(&(0..count.min(images.len())).collect::<Vec<_>>())
    };
    let calibration = model
        .calibration
        .as_mut()
        .ok_or("the model has no ranges")?;
    if calibration.input.is_none() {
        let images = prepare(
            &first(&set.train, STATISTIC_IMAGES),
            &model.preprocess,
            None,
        )?;
        calibration.input = Some(InputStatistic::record(&model.preprocess, &images)?);
    }
    let images = prepare(&first(&set.test, images), &model.preprocess, None)?;
    let count = images.len() / model.preprocess.elements();
    let start = Instant::now();
    let plan = compile(&model, &CompileOptions::new(batch))?;
    let (client, classes) = (&plan.client, plan.client.header.output.logits);
    let predicted = (-client.estimate.precision_bits).exp2();
    println!(
        "{}: compiled in {:.1} s, {} block(s) of {} places, {} check images, predicted worst error {predicted:.2e}, tolerance {:.2e}, logits differ by {:.2e}",
        model.name,
        start.elapsed().as_secs_f64(),
        client.header.blocks,
        client.block_places(),
        client.header.check_images,
        client.check_tolerance().unwrap_or(f64::NAN),
        client
            .check_images
            .as_ref()
            .map_or(f64::NAN, |images| images.spread(classes)),
    );
    if let Some(reason) = client.no_check_images() {
        println!("no check images: {reason}");
        let asked = CompileOptions {
            check_images: CheckImageCount::Exactly(USUAL_CHECK_IMAGES),
            ..CompileOptions::new(batch)
        };
        if let Err(error) = compile(&model, &asked) {
            println!("asked for: {error}");
        }
    }
    let clear = evaluate_clear(&plan.server, &images, count)?;
    let largest = clear.iter().map(|logit| logit.abs()).fold(0.0, f64::max);
    let client = Client::new(plan.client.clone(), backend::select(None)?)?;
    let (start, mut refused) = (Instant::now(), 0);
    for key in 0..keys {
        let keys = client.generate_keys()?;
        let request = client.encrypt(&keys.secret, &images)?;
        let shape = client.request_shape();
        let received = ReceivedRequest::from_bytes(&request.to_bytes()?, &shape)?;
        let (header, digest) = (received.header.clone(), received.digest);
        let blocks = received.parse(&shape)?.into_blocks();
        let evaluation = keys.evaluation.as_ref();
        let blocks = evaluate(
            &plan.server,
            client.context(),
            evaluation,
            blocks,
            Options::default(),
        )?;
        let reply = Reply::new(&client.reply_shape(), &header, digest, blocks)?;
        let check = match client.decrypt(&keys.secret, &reply) {
            Ok(predictions) => predictions.check(),
            Err(error @ Error::CheckImages { .. }) => {
                println!("key {key}: {error}");
                refused += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let worst = client.worst_logit_error(&keys.secret, &reply, &clear)?;
        println!(
            "key {key}: worst error {worst:.2e} of logits up to {largest:.1} of {count} images, {:.2e} of check images at most",
            check.map_or(f64::NAN, |check| check.worst_error),
        );
    }
    println!(
        "{refused} of {keys} honest replies refused, {:.0} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
