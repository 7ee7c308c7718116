//! The service answers what the command `evaluate` answers on the same files.

use std::fs;

use crate::files::{
    Case, assert_same_predictions, deep, folder, plain, rotated, rows, shallow, sordino,
};
use crate::server::{Client, Server, Setup};
use crate::service::Service;
use crate::submit::{Submission, submit};

#[test]
fn a_served_reply_is_that_of_evaluate_byte_for_byte() {
    let cases = [plain(), shallow(), deep(), rotated()];
    let server = Server::start(&folder("equal"), Setup::new(&cases, &["a", "b"]));
    for client in ["a", "b"] {
        let mut service = Service::new(&server, client);
        for case in cases {
            service.register(case.name, case);
            let key = case.key.as_ref().map(|_| case.name);
            // The second time everything that can be kept from the first one is.
            for round in ["first", "second"] {
                service.run(&format!("{}-{round}", case.name), case, key);
            }
        }
        assert_eq!(service.ids("jobs").len(), 2 * cases.len());
    }
}

#[test]
fn the_first_images_alone_are_evaluated_as_by_the_command() {
    let case = plain();
    let folder = folder("fewer");
    let at = |file: &str| case.path(file).display().to_string();
    fs::create_dir(folder.join("images")).expect("a folder");
    for index in 0..7 {
        let name = format!("images/scan-{index:05}.png");
        fs::copy(case.path(&name), folder.join(&name)).expect("a copy");
    }
    let (plan, key) = (at("client.plan"), at("secret.key"));
    let encrypt = format!("encrypt --plan {plan} --key {key} --images images --out request");
    sordino(&folder, &encrypt).good();
    let plan = at("server.plan");
    sordino(
        &folder,
        &format!("evaluate --plan {plan} --request request --out reply"),
    )
    .good();
    let [request, reply] =
        ["request", "reply"].map(|name| fs::read(folder.join(name)).expect(name));
    let fewer = Case {
        folder: case.folder.clone(),
        key: None,
        images: 7,
        request,
        reply,
        ..*case
    };
    let server = Server::start(&folder, Setup::new(&[case], &["a"]));
    Service::new(&server, "a").run("seven", &fewer, None);
}

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
