//! A small network from images to predictions, and everything that does not belong together.

mod common;

use std::fs;

use common::{CLASSES, model, model_around, numbers};
use serde_json::{Value, json};
use sordino_ckks::KeyId;
use sordino_client::{Client, Error, Keys, PredictionFormat, PredictionTable, Predictions};
use sordino_client::{Marks, RequestRecord, UnusualImage};
use sordino_container::{self as container, Digest, Kind, Limits, METADATA_LIMIT, Overwrite};
use sordino_plan::{CompileOptions, Plan};
use sordino_protocol::{Error as ProtocolError, ReceivedRequest, Reply, Request};
use sordino_ring::backend;
use sordino_runtime::compile;
use sordino_runtime::{Options, evaluate, evaluate_clear};

const FEATURES: usize = 6;

/// Dense, quadratic, dense, on images of 2 x 3 pixels.
fn plan(batch: usize, seed: u32) -> Plan {
    compile(&model((2, 3), seed), &CompileOptions::new(batch)).unwrap()
}

struct Sides {
    plan: Plan,
    client: Client,
    keys: Keys,
}

fn sides(batch: usize) -> Sides {
    sides_of(plan(batch, 1))
}

fn sides_of(plan: Plan) -> Sides {
    let client = Client::new(plan.client.clone(), backend::select(None).unwrap()).unwrap();
    let keys = client.generate_keys().unwrap();
    Sides { plan, client, keys }
}

impl Sides {
    fn reply(&self, request: &Request) -> Reply {
        let bytes = request.to_bytes().unwrap();
        let shape = self.client.request_shape();
        let received = ReceivedRequest::from_bytes(&bytes, &shape).unwrap();
        let (header, digest) = (received.header.clone(), received.digest);
        let blocks = received.parse(&shape).unwrap().into_blocks();
        let key = self.keys.evaluation.as_ref();
        let context = self.client.context();
        let blocks = evaluate(&self.plan.server, context, key, blocks, Options::default()).unwrap();
        Reply::new(&self.client.reply_shape(), &header, digest, blocks).unwrap()
    }

    fn predictions(&self, images: &[f32]) -> Predictions {
        let request = self.client.encrypt(&self.keys.secret, images).unwrap();
        let reply = self.reply(&request).to_bytes().unwrap();
        let reply = self.client.reply_from_bytes(&reply).unwrap();
        self.client.decrypt(&self.keys.secret, &reply).unwrap()
    }
}

/// Idle slots once held zeros. Here a block of them leaves the range of a layer, and with it every logit of the block was wrong.
#[test]
fn idle_slots_hold_nothing_that_the_network_is_not_made_for() {
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    let model = model_around((2, 3), 1, classes, 30.0);
    let plan = compile(&model, &CompileOptions::new(50)).unwrap();
    let black = evaluate_clear(&plan.server, &[0.0; FEATURES], 1).unwrap();
    let images: Vec<f32> = numbers(50 * FEATURES, 5)
        .iter()
        .map(|pixel| 30.0 + pixel)
        .collect();
    let expected = evaluate_clear(&plan.server, &images, 50).unwrap();
    let largest = |logits: &[f64]| logits.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let far = largest(&black) / largest(&expected);
    assert!(far > 100.0, "zeros are far from usual: {far}");
    let sides = sides_of(plan);
    let request = sides.client.encrypt(&sides.keys.secret, &images).unwrap();
    let reply = sides.reply(&request);
    let worst = sides
        .client
        .worst_logit_error(&sides.keys.secret, &reply, &expected);
    let worst = worst.unwrap();
    let bound = (-sides.plan.client.estimate.precision_bits).exp2();
    assert!(worst <= bound, "{worst} of at most {bound}");
}

#[test]
fn predictions_are_those_of_the_integers_in_the_clear_to_the_rounding() {
    // More than one block at the smallest ring degree, the last one not full.
    let sides = sides(5000);
    let count = 5000;
    let images = numbers(count * FEATURES, 5);
    let predictions = sides.predictions(&images);
    let clear = evaluate_clear(&sides.plan.server, &images, count).unwrap();
    let unit = f64::from(-predictions.released_bits()).exp2();
    assert_eq!(
        predictions.released_bits(),
        sides.plan.client.released_bits()
    );
    assert_eq!(predictions.len(), count);
    let mut worst = 0f64;
    for (found, expected) in predictions.logits().iter().zip(&clear) {
        assert_eq!(
            (found / unit).fract(),
            0.0,
            "{found} is a multiple of {unit}"
        );
        worst = worst.max((found - expected).abs());
    }
    assert!(
        worst > 0.4 * unit && worst <= 0.75 * unit,
        "{worst} of a unit of {unit}"
    );
    for image in 0..count {
        let row = &predictions.logits()[image * CLASSES..][..CLASSES];
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(row[predictions.classes()[image]], largest);
        let sum: f64 = predictions.probabilities()[image * CLASSES..][..CLASSES]
            .iter()
            .sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
    let request = sides.client.encrypt(&sides.keys.secret, &images).unwrap();
    let reply = sides.reply(&request);
    let error = sides
        .client
        .worst_logit_error(&sides.keys.secret, &reply, &clear)
        .unwrap();
    assert!(
        error > 0.0 && error <= (-sides.plan.client.estimate.precision_bits).exp2(),
        "{error}"
    );
    assert!(
        sides
            .client
            .worst_logit_error(&sides.keys.secret, &reply, &clear[1..])
            .is_err()
    );
}

#[test]
fn images_with_logits_out_of_range_are_flagged_and_others_are_not() {
    let sides = sides(100);
    let mut images = numbers(100 * FEATURES, 77);
    assert!(
        sides
            .predictions(&images)
            .out_of_range()
            .iter()
            .all(|flag| !flag)
    );
    // Out of what the preprocessing would let pass, so that the logits leave the calibrated range.
    for pixel in &mut images[3 * FEATURES..4 * FEATURES] {
        *pixel = 2.5;
    }
    let flags: Vec<usize> = sides
        .predictions(&images)
        .out_of_range()
        .iter()
        .enumerate()
        .filter_map(|(image, flag)| flag.then_some(image))
        .collect();
    assert_eq!(flags, [3]);
}

#[test]
fn another_key_is_refused_by_name_by_tag_and_by_check_images() {
    let sides = sides(200);
    let images = numbers(200 * FEATURES, 9);
    let request = sides.client.encrypt(&sides.keys.secret, &images).unwrap();
    let reply = sides.reply(&request);
    let other = sides.client.generate_keys().unwrap();
    let error = sides.client.decrypt(&other.secret, &reply).unwrap_err();
    assert!(
        matches!(error, Error::Protocol(ProtocolError::WrongKey { .. })),
        "{error}"
    );

    let bytes = reply.to_bytes().unwrap();
    let limits = Limits {
        metadata_bytes: METADATA_LIMIT,
        payload_bytes: bytes.len() as u64,
    };
    let mut contents = container::from_bytes::<Value>(&bytes, Kind::Reply, limits).unwrap();
    contents.metadata["key_id"] = json!(other.secret.key_id());
    let forged = container::to_bytes(Kind::Reply, &contents.metadata, &contents.payload).unwrap();
    let forged = sides.client.reply_from_bytes(&forged).unwrap();
    let error = sides.client.decrypt(&other.secret, &forged).unwrap_err();
    assert!(
        matches!(error, Error::Secret(sordino_secret::Error::SlotTag)),
        "{error}"
    );

    // With a tag of a request that was made with the other key: what decrypts then is noise, in the check images too.
    let theirs = sides.client.encrypt(&other.secret, &images).unwrap();
    contents.metadata["slots"] = json!(theirs.header().slots);
    let forged = container::to_bytes(Kind::Reply, &contents.metadata, &contents.payload).unwrap();
    let forged = sides.client.reply_from_bytes(&forged).unwrap();
    let error = sides.client.decrypt(&other.secret, &forged).unwrap_err();
    let Error::CheckImages {
        different, images, ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((different, images), (16, 16));
}

#[test]
fn keys_and_replies_of_another_plan_are_refused() {
    let (ours, theirs) = (sides(100), sides(101));
    let images = numbers(10 * FEATURES, 3);
    let request = theirs.client.encrypt(&theirs.keys.secret, &images).unwrap();
    let reply = theirs.reply(&request).to_bytes().unwrap();
    let error = ours.client.reply_from_bytes(&reply).unwrap_err();
    assert!(
        matches!(error, Error::Protocol(ProtocolError::WrongPlan { .. })),
        "{error}"
    );

    let mut plan = ours.plan.client.clone();
    let degree = plan.header.parameters.ring_degree() * 2;
    let primes = sordino_ring::primes_below(1 << 40, degree)
        .take(2)
        .collect();
    plan.header.parameters = sordino_ckks::Parameters::new(degree, primes, vec![], None).unwrap();
    let other = Client::new(plan, backend::select(None).unwrap()).unwrap();
    let error = other.encrypt(&ours.keys.secret, &images).unwrap_err();
    assert!(matches!(error, Error::KeyParameters { .. }), "{error}");
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let sides = sides(20);
    let encrypt = |images: &[f32]| sides.client.encrypt(&sides.keys.secret, images).map(|_| ());
    assert!(matches!(encrypt(&[]), Err(Error::Images { .. })));
    assert!(matches!(
        encrypt(&numbers(FEATURES + 1, 1)),
        Err(Error::Images {
            features: 6,
            found: 7
        })
    ));
    assert!(matches!(
        encrypt(&numbers(21 * FEATURES, 1)),
        Err(Error::Batch {
            limit: 20,
            found: 21
        })
    ));
    let mut images = numbers(5 * FEATURES, 1);
    images[4 * FEATURES] = f32::NAN;
    assert!(matches!(
        encrypt(&images),
        Err(Error::NotFinite { image: 4 })
    ));
    images[4 * FEATURES] = f32::INFINITY;
    assert!(encrypt(&images).is_err());
}

#[test]
fn keys_requests_and_replies_as_files() {
    let sides = sides(20);
    let folder = tempfile::tempdir().unwrap();
    let keys = sides
        .keys
        .write_folder(&folder.path().join("keys"), None, Overwrite::Refuse)
        .unwrap();
    assert_eq!(
        keys.evaluation.is_some(),
        sides.plan.server.needs_evaluation_key()
    );
    let again = sides
        .keys
        .write_folder(&folder.path().join("keys"), None, Overwrite::Replace);
    assert!(matches!(
        again,
        Err(Error::File(container::Error::Exists { .. }))
    ));
    let key = sides.client.read_secret_key(&keys.secret, None).unwrap();
    assert_eq!(key.key_id(), sides.keys.secret.key_id());

    let images = numbers(20 * FEATURES, 4);
    let request = sides.client.encrypt(&key, &images).unwrap();
    let names: Vec<String> = (0..20)
        .map(|image| format!("a,b \"patient {image}\""))
        .collect();
    let at = |name: &str| folder.path().join(name);
    let digest = request
        .write_file(at("request"), Overwrite::Refuse)
        .unwrap();
    let record = RequestRecord {
        request: digest,
        key: key.key_id(),
        plan: request.header().parents.plan,
        names: Some(names.clone()),
        marks: None,
    };
    record.write(&keys.secret).unwrap();
    let text = fs::read(at("request")).unwrap();
    assert!(
        !text.windows(7).any(|window| window == b"patient"),
        "names stay here"
    );

    sides
        .reply(&request)
        .write_file(at("reply"), Overwrite::Refuse)
        .unwrap();
    let (predictions, answered) = sides.client.decrypt_file(&key, &at("reply")).unwrap();
    assert_eq!(answered, digest);
    let found = RequestRecord::read(&keys.secret, key.key_id(), answered).unwrap();
    assert_eq!(found, record);

    let csv = at("out.csv");
    predictions
        .write_file(
            &csv,
            PredictionFormat::of_path(&csv),
            Some(&names),
            true,
            Overwrite::Refuse,
        )
        .unwrap();
    let few = predictions.write_file(
        &at("few.csv"),
        PredictionFormat::Csv,
        Some(&names[1..]),
        false,
        Overwrite::Refuse,
    );
    assert!(matches!(
        few,
        Err(Error::ListLength {
            expected: 20,
            found: 19,
            ..
        })
    ));
    assert!(!at("few.csv").exists());
    let table =
        PredictionTable::read_csv(fs::File::open(&csv).unwrap(), CLASSES, "out.csv").unwrap();
    assert_eq!(table.classes, predictions.classes());
    assert_eq!(table.logits.as_deref(), Some(predictions.logits()));
    let text = fs::read_to_string(&csv).unwrap();
    assert!(
        text.lines()
            .next()
            .unwrap()
            .ends_with(",out_of_range,status")
    );
    assert!(text.lines().skip(1).all(|row| row.ends_with(",0,ok")));
    // Each number has as many digits after the point as every other of its kind.
    let digits = |field: &str| field.split_once('.').map_or(0, |(_, digits)| digits.len());
    for row in csv::Reader::from_reader(text.as_bytes()).records() {
        let row = row.unwrap();
        let (probabilities, scores) = (4..4 + CLASSES, 4 + CLASSES..4 + 2 * CLASSES);
        assert!(probabilities.into_iter().all(|at| digits(&row[at]) == 9));
        let released = predictions.released_bits().max(0) as usize;
        assert!(scores.into_iter().all(|at| digits(&row[at]) == released));
    }

    let json = at("out.JSON");
    predictions
        .write_file(
            &json,
            PredictionFormat::of_path(&json),
            Some(&names),
            false,
            Overwrite::Refuse,
        )
        .unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(rows.len(), 20);
    assert_eq!(rows[7]["name"], "a,b \"patient 7\"");
    assert_eq!(rows[7]["label"], predictions.label(7));
}

#[test]
fn images_that_were_left_out_keep_their_rows() {
    let sides = sides(20);
    let images = numbers(20 * FEATURES, 4);
    let request = sides.client.encrypt(&sides.keys.secret, &images).unwrap();
    let predictions = sides
        .client
        .decrypt(&sides.keys.secret, &sides.reply(&request))
        .unwrap();
    let unusual = |index, left_out| UnusualImage {
        index,
        why: "striped".to_owned(),
        left_out,
    };
    let few = Marks::new(20, vec![unusual(0, true)]).unwrap();
    assert!(matches!(
        predictions.clone().with_marks(few),
        Err(Error::ListLength { .. })
    ));
    let marks = Marks::new(
        22,
        vec![unusual(0, true), unusual(3, false), unusual(21, true)],
    )
    .unwrap();
    let marked = predictions.clone().with_marks(marks).unwrap();
    let names: Vec<String> = (0..22).map(|image| format!("image {image}")).collect();
    let mut csv = Vec::new();
    marked.write_csv(&mut csv, Some(&names), true).unwrap();
    let text = String::from_utf8(csv).unwrap();
    let rows: Vec<&str> = text.lines().skip(1).collect();
    let commas = ",".repeat(2 + 2 * CLASSES);
    assert_eq!(rows[0], format!("0,image 0,{commas},unusual"));
    assert!(rows[1].starts_with("1,image 1,") && rows[1].ends_with(",0,ok"));
    assert!(rows[3].ends_with(",0,unusual"));
    assert_eq!(rows[21], format!("21,image 21,{commas},unusual"));
    let table = PredictionTable::read_csv(text.as_bytes(), CLASSES, "out.csv").unwrap();
    assert_eq!(
        (table.images, table.classes.as_slice()),
        (22, predictions.classes())
    );
    assert_eq!(table.indices, (1..21).collect::<Vec<_>>());
    let mut json = Vec::new();
    marked.write_json(&mut json, Some(&names), false).unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&json).unwrap();
    assert_eq!(
        rows[0],
        json!({"index": 0, "name": "image 0", "status": "unusual", "unusual": "striped"})
    );
    assert_eq!(
        (&rows[3]["status"], &rows[3]["unusual"]),
        (&json!("unusual"), &json!("striped"))
    );
    assert_eq!(rows[4]["class"], predictions.classes()[3]);
}

#[test]
fn only_requests_that_were_recorded_for_the_key_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret.key");
    let (id, request) = (KeyId([1; 16]), Digest([3; 32]));
    assert!(matches!(
        RequestRecord::read(&key, id, request),
        Err(Error::UnknownRequest { .. })
    ));
    let record = RequestRecord {
        request,
        key: id,
        plan: Digest([4; 32]),
        names: Some(vec!["a".to_owned()]),
        marks: None,
    };
    record.write(&key).unwrap();
    assert_eq!(RequestRecord::read(&key, id, request).unwrap(), record);
    assert_eq!(RequestRecord::uses(&key, id), 1);
    assert_eq!(RequestRecord::uses(&key, KeyId([2; 16])), 0);
    let path = RequestRecord::path(&key, request);
    // The same record under the name of another request or for another key.
    let other = Digest([5; 32]);
    fs::copy(&path, RequestRecord::path(&key, other)).unwrap();
    for (id, request) in [(id, other), (KeyId([2; 16]), request)] {
        assert!(matches!(
            RequestRecord::read(&key, id, request),
            Err(Error::Record { .. })
        ));
    }
    for content in [
        "",
        "[]",
        "{\"names\": []}",
        "{\"request\": \"12\", \"names\": []}",
    ] {
        fs::write(&path, content).unwrap();
        assert!(
            matches!(
                RequestRecord::read(&key, id, request),
                Err(Error::Record { .. })
            ),
            "{content}"
        );
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(RequestRecord::read(&key, id, request).is_err());
}
