//! Plans that a server hands out and that are not to be used.

use std::time::Duration;

use serde_json::{Value, json};
use sordino_client::Error;
use sordino_container::{self as container, Kind, Limits, METADATA_LIMIT};
use sordino_plan::PackingKind;
use sordino_ring::backend;

use crate::connect;
use crate::http::{Asked, Given, Server};
use crate::service::{Service, plan};

const SOON: Duration = Duration::from_secs(30);

/// What a client says to a server that changes its plan, or what it says of it.
async fn refusal(change: impl Fn(&mut Value, &mut Value)) -> Option<Error> {
    let plan = plan(PackingKind::ElementWise, 50);
    let (_service, server) = Service::start(plan.clone()).await;
    let (honest, _) = connect(&server.address, SOON);
    let mut model = serde_json::to_value(honest.model("small").await.unwrap()).unwrap();
    let bytes = plan.client.to_bytes().unwrap();
    let limits = Limits {
        metadata_bytes: METADATA_LIMIT,
        payload_bytes: bytes.len() as u64,
    };
    let mut contents = container::from_bytes::<Value>(&bytes, Kind::ClientPlan, limits).unwrap();
    change(&mut model, &mut contents.metadata);
    let bytes =
        container::to_bytes(Kind::ClientPlan, &contents.metadata, &contents.payload).unwrap();
    let server = Server::start(move |asked: Asked| {
        if asked.path.ends_with("client.plan") {
            return Given::new(200, bytes.clone());
        }
        Given::json(200, &model)
    })
    .await;
    let (remote, _) = connect(&server.address, SOON);
    remote
        .open_model("small", backend::select(None).unwrap())
        .await
        .err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weak_plans_are_refused_and_say_why() {
    assert!(refusal(|_, _| ()).await.is_none(), "the plan as it is");

    // A ring of half the degree, whose modulus is too large for it.
    let error = refusal(|_, plan| {
        let parameters = &mut plan["parameters"];
        parameters["ring_degree"] = json!(parameters["ring_degree"].as_u64().unwrap() / 2);
    })
    .await
    .unwrap();
    assert!(matches!(error, Error::RefusedPlan { .. }), "{error}");
    assert!(
        error.to_string().contains("nothing was encrypted"),
        "{error}"
    );

    // More primes than the table allows.
    let error = refusal(|_, plan| {
        let parameters = &mut plan["parameters"];
        let degree = parameters["ring_degree"].as_u64().unwrap() as usize;
        let primes: Vec<u64> = sordino_ring::primes_below(1 << 45, degree)
            .take(12)
            .collect();
        parameters["primes"] = json!(primes);
    })
    .await
    .unwrap();
    assert!(matches!(error, Error::RefusedPlan { .. }), "{error}");
    assert!(error.to_string().contains("128-bit security"), "{error}");

    // Parameters made for tests.
    let error = refusal(|_, plan| plan["parameters"]["insecure_for_tests"] = json!(true))
        .await
        .unwrap();
    assert!(matches!(error, Error::RefusedPlan { .. }), "{error}");
    assert!(error.to_string().contains("insecure"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_has_to_be_the_one_that_was_offered() {
    let digest = "0".repeat(64);
    for (field, value) in [
        ("plan", json!(digest)),
        ("parameters", json!(digest)),
        ("batch", json!(51)),
        ("needs_key", json!(true)),
        ("security_bits", json!(127)),
    ] {
        let error = refusal(|model, _| model[field] = value.clone())
            .await
            .unwrap();
        assert!(
            matches!(error, Error::ServedPlan { .. }),
            "{field}: {error}"
        );
    }
    let error = refusal(|model, _| model["name"] = json!("other"))
        .await
        .unwrap();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
    let error = refusal(|_, plan| plan["batch"] = json!(0)).await.unwrap();
    assert!(matches!(error, Error::RefusedPlan { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_has_to_arrive_undamaged() {
    let plan = plan(PackingKind::ElementWise, 50);
    let (_service, server) = Service::start(plan.clone()).await;
    let (honest, _) = connect(&server.address, SOON);
    let model = honest.model("small").await.unwrap();
    let good = plan.client.to_bytes().unwrap();
    assert_eq!(honest.client_plan("small").await.unwrap(), good);
    for (bytes, digest) in [
        (good[..good.len() - 1].to_vec(), None),
        (good.clone(), Some("sha-256=:AAAA:")),
        (b"<html>".to_vec(), None),
    ] {
        let model = model.clone();
        let server = Server::start(move |asked: Asked| {
            if !asked.path.ends_with("client.plan") {
                return Given::json(200, &model);
            }
            let given = Given::new(200, bytes.clone());
            match digest {
                Some(digest) => given.with("content-digest", digest),
                None => given,
            }
        })
        .await;
        let (remote, _) = connect(&server.address, SOON);
        let error = remote
            .open_model("small", backend::select(None).unwrap())
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::RefusedPlan { .. } | Error::Answer { .. }),
            "{error}"
        );
    }
}
