//! Findings: decisions, probabilities and margins in the tables of predictions.

mod common;

use common::{model, model_of_classes, numbers};
use sordino_client::{Client, Keys, PredictionTable, Predictions};
use sordino_graph::{Model, OperatingPoint, OperatingPoints, OutputKind, Target};
use sordino_plan::{ClientPlan, CompileOptions, Plan};
use sordino_protocol::{ReceivedRequest, Reply};
use sordino_ring::backend;
use sordino_runtime::{Options, compile, evaluate};

const SIZE: (usize, usize) = (4, 4);
const IMAGES: usize = 20;

fn points(classes: &[usize], threshold: f64) -> OperatingPoints {
    let point = |&class: &usize| OperatingPoint {
        class,
        threshold,
        slope: 2.0,
        offset: -0.5,
        positives: 10,
        negatives: 20,
        sensitivity: 0.9,
        specificity: 0.8,
    };
    OperatingPoints {
        part: "validation".into(),
        images: 30,
        target: Target::Sensitivity(0.9),
        points: classes.iter().map(point).collect(),
    }
}

fn plan_of(model: &Model) -> Plan {
    let mut plan = compile(model, &CompileOptions::new(IMAGES)).unwrap();
    plan.client.header.contained_images = 0;
    plan
}

fn predict(plan: &Plan) -> Predictions {
    let client = Client::new(plan.client.clone(), backend::select(None).unwrap()).unwrap();
    let keys: Keys = client.generate_keys().unwrap();
    let images = numbers(IMAGES * 16, 9);
    let request = client.encrypt(&keys.secret, &images).unwrap();
    let shape = client.request_shape();
    let received = ReceivedRequest::from_bytes(&request.to_bytes().unwrap(), &shape).unwrap();
    let (header, digest) = (received.header.clone(), received.digest);
    let blocks = received.parse(&shape).unwrap().into_blocks();
    let (key, context) = (keys.evaluation.as_ref(), client.context());
    let blocks = evaluate(&plan.server, context, key, blocks, Options::default()).unwrap();
    let reply = Reply::new(&client.reply_shape(), &header, digest, blocks).unwrap();
    client.decrypt(&keys.secret, &reply).unwrap()
}

fn csv(predictions: &Predictions) -> String {
    let mut csv = Vec::new();
    predictions.write_csv(&mut csv, None, true).unwrap();
    String::from_utf8(csv).unwrap()
}

#[test]
fn every_finding_has_columns_and_those_with_a_point_a_decision() {
    let mut model = model(SIZE, 3);
    model.output = OutputKind::Sigmoid;
    model.classes = ["mass", "nodule", "edema"].map(str::to_owned).to_vec();
    let median = {
        let mut scores: Vec<f64> = predict(&plan_of(&model))
            .logits()
            .chunks_exact(3)
            .map(|row| row[2])
            .collect();
        scores.sort_by(f64::total_cmp);
        // Equal to the score of an image, so that one is within rounding.
        scores[IMAGES / 2]
    };
    model.operating_points = Some(points(&[0, 2], median));
    let predictions = predict(&plan_of(&model));
    let text = csv(&predictions);
    let header = text.lines().next().unwrap();
    assert!(header.ends_with(
        "out_of_range,status,label_mass,p_mass,decision_mass,margin_mass,close_mass,label_nodule,p_nodule,decision_nodule,margin_nodule,\
         close_nodule,label_edema,p_edema,decision_edema,margin_edema,close_edema"
    ));
    let table = PredictionTable::read_csv(text.as_bytes(), 3, "test").unwrap();
    // A finding without an operating point has no decisions.
    let names: Vec<&str> = table.decisions.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["mass", "edema"]);
    assert_eq!(table.probabilities.as_ref().unwrap().len(), 3 * IMAGES);
    for image in 0..IMAGES {
        let score = predictions.logits()[3 * image + 2];
        let decision = predictions.decision(image, 2);
        let at_point = decision.at_point.unwrap();
        assert_eq!(at_point.found, score >= median);
        assert_eq!(at_point.margin, score - median);
        let calibrated = 1.0 / (1.0 + (0.5 - 2.0 * score).exp());
        assert!((decision.probability - calibrated).abs() < 1e-12);
        let written = table.decisions[1].1[image];
        assert_eq!(
            (written.found, written.close),
            (at_point.found, at_point.close)
        );
    }
    let (class, found, close) = predictions.decided()[1];
    let rows = predictions.logits().chunks_exact(3);
    let expected = rows.filter(|row| row[2] >= median).count();
    assert_eq!((class, found), (2, expected));
    assert!(close >= 1);

    let mut json = Vec::new();
    predictions.write_json(&mut json, None, false).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let finding = &json[0]["findings"][2];
    assert_eq!(finding["name"], "edema");
    assert!(finding["decision"].is_boolean() && finding["margin"].is_number());
    assert!(json[0]["findings"][1].get("decision").is_none());
}

#[test]
fn one_finding_has_columns_with_an_operating_point_only() {
    let classes = ["normal", "pneumonia"].map(str::to_owned).to_vec();
    let mut model = model_of_classes(SIZE, 3, classes);
    let plain = csv(&predict(&plan_of(&model)));
    assert!(plain.lines().next().unwrap().ends_with(",status"));
    model.operating_points = Some(points(&[1], 0.25));
    let predictions = predict(&plan_of(&model));
    let text = csv(&predictions);
    assert!(
        text.lines()
            .next()
            .unwrap()
            .ends_with(",status,p_pneumonia,decision_pneumonia,margin_pneumonia,close_pneumonia")
    );
    for image in 0..IMAGES {
        let row = &predictions.logits()[2 * image..][..2];
        let at_point = predictions.decision(image, 1).at_point.unwrap();
        assert_eq!(at_point.margin, row[1] - row[0] - 0.25);
    }
    let damaged = text.replacen("close_pneumonia", "x", 1);
    let refused = PredictionTable::read_csv(damaged.as_bytes(), 2, "test").unwrap_err();
    assert!(refused.to_string().contains("close_pneumonia"), "{refused}");
}

#[test]
fn plans_keep_their_points_and_older_ones_open() {
    let classes = ["normal", "pneumonia"].map(str::to_owned).to_vec();
    let mut model = model_of_classes(SIZE, 3, classes);
    model.operating_points = Some(points(&[1], 0.25));
    let plan = plan_of(&model).client;
    let read = ClientPlan::from_bytes(&plan.to_bytes().unwrap()).unwrap();
    assert_eq!(read.operating_points, model.operating_points);
    assert_eq!(read.parents.model, Some(model.digest().unwrap()));

    // A plan as it was written before there were operating points and the model's digest.
    let mut older = plan.clone();
    older.operating_points = None;
    older.parents.model = None;
    let bytes = older.to_bytes().unwrap();
    for word in ["operating_points", "\"model\""] {
        let there = bytes
            .windows(word.len())
            .any(|part| part == word.as_bytes());
        assert!(!there, "{word}");
    }
    assert_eq!(ClientPlan::from_bytes(&bytes).unwrap(), older);

    // Points of another network.
    let mut wrong = plan;
    wrong.operating_points = Some(points(&[0], 0.25));
    let bytes = wrong.to_bytes().unwrap();
    let refused = ClientPlan::from_bytes(&bytes).unwrap_err().to_string();
    assert!(refused.contains("class 0 is no finding"), "{refused}");
}
