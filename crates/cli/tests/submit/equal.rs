//! `submit` predicts what the commands on files predict.

use std::fs;
use std::path::PathBuf;

use sordino_client::Provenance;

use crate::cases::{assert_same_predictions, deep, plain, rotated, rows, shallow};
use crate::files::folder;
use crate::server::{Client, Server, Setup};
use crate::service::Service;
use crate::submission::{Submission, submit};

#[test]
fn what_submit_predicts_is_what_the_commands_predict() {
    let server = Server::start(
        &folder("submit"),
        Setup::new(&[plain(), shallow(), deep(), rotated()], &["a"]),
    );
    for case in [plain(), shallow(), deep(), rotated()] {
        let submission = Submission::new(&server, "a", case, case.name);
        submit(&submission, "").good();
        assert_same_predictions(&submission.out(), &case.path("predictions.csv"));
        let [here, there] = [submission.out(), case.path("predictions.csv")].map(provenance);
        for field in ["model", "plan", "images", "answered", "released_bits"] {
            assert_eq!(here[field], there[field], "{field}");
        }
        assert_ne!(here["request"], there["request"], "each has its own");
        // Once more with the keys of the first time.
        let again = submission.to("again.csv");
        submit(&again, "--logits").good();
        let rows = rows(&again.out());
        assert_eq!(rows.len() as u64, case.images + 1);
        assert!(rows[0].iter().any(|name| name == "logit_0"));
    }
    let mut service = Service::new(&server, "a");
    assert!(service.ids("jobs").is_empty(), "a job is left");
    assert_eq!(service.ids("keys").len(), 3, "keys are used again");
}

/// What is written beside predictions of where they come from.
fn provenance(predictions: PathBuf) -> serde_json::Value {
    let path = Provenance::beside(&predictions);
    serde_json::from_slice(&fs::read(path).expect("a file beside")).expect("JSON")
}

#[test]
fn submit_refuses_what_it_cannot_do_and_leaves_nothing() {
    let case = shallow();
    let server = Server::start(&folder("submit-refused"), Setup::new(&[case], &["a"]));
    let good = Submission::new(&server, "a", case, "refused");
    let mut wrong_model = good.to("model.csv");
    wrong_model.model = "another".to_owned();
    let run = submit(&wrong_model, "");
    assert!(run.code != 0 && run.stderr.contains("another"), "{run:?}");
    let mut wrong_token = good.to("token.csv");
    wrong_token.token = Client::new("nobody").token;
    let run = submit(&wrong_token, "");
    assert!(run.code != 0 && run.stderr.contains("token"), "{run:?}");
    assert!(!run.stderr.contains(&wrong_token.token), "{run:?}");
    let mut nobody = good.to("nobody.csv");
    nobody.url = "http://127.0.0.1:1".to_owned();
    let run = submit(&nobody, "--retry-for 1");
    assert_eq!(run.code, 5, "{run:?}");
    for submission in [&wrong_model, &wrong_token, &nobody] {
        assert!(!submission.out().exists());
    }
    submit(&good, "").good();
    // A table that is there is not replaced.
    submit(&good, "").refused(2, &["--force"]);
}
