//! The service answers what the command `evaluate` answers on the same files, and takes little longer.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

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

/// The time of a job, from its first byte on the way until the reply is a file, beside that of the command and of copies of both files.
///
/// `SORDINO_OVERHEAD_MODEL` and `SORDINO_OVERHEAD_IMAGES` name a model and images for it that take ten seconds or more,
/// `SORDINO_OVERHEAD_BATCH` how many images, `SORDINO_OVERHEAD_ROUNDS` how often both are measured.
#[test]
#[ignore = "minutes, and wants the machine for itself"]
fn the_service_adds_little_to_a_long_evaluation() {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = variable(
        "SORDINO_OVERHEAD_MODEL",
        "models/lenet-fashion-mnist.safetensors",
    );
    let data = std::env::var("SORDINO_DATA").map_or(root.join("../shared/data"), PathBuf::from);
    let images = variable(
        "SORDINO_OVERHEAD_IMAGES",
        "fashion-mnist/t10k-images-idx3-ubyte.gz",
    );
    let images = data.join(images);
    if !images.exists() {
        println!("skipped: no {}", images.display());
        return;
    }
    let batch = variable("SORDINO_OVERHEAD_BATCH", "10000");
    let rounds: usize = variable("SORDINO_OVERHEAD_ROUNDS", "3")
        .parse()
        .expect("a number");
    let folder = folder("overhead");
    let compile = format!(
        "{} --packing element-wise --batch {batch}",
        root.join(model).display()
    );
    let case = Case::of_model(
        "long",
        folder.clone(),
        &compile,
        &images.display().to_string(),
    );
    let server = Server::start(&folder.join("."), Setup::new(&[&case], &["a"]));
    let mut service = Service::new(&server, "a");
    service.register("key", &case);
    let key = case.key.as_ref().map(|_| "key");
    let keys = key.map_or("", |_| "--keys evaluation.key");
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        let begun = Instant::now();
        fs::copy(folder.join("request"), folder.join("copied")).expect("a copy");
        let evaluate = "evaluate --plan server.plan --request copied --out local --force";
        sordino(&folder, &format!("{evaluate} {keys}")).good();
        fs::copy(folder.join("local"), folder.join("copied-back")).expect("a copy");
        times[0].push(begun.elapsed().as_secs_f64());
        // The request is read from its file again, as a client would.
        let id = format!("round-{round}");
        let begun = Instant::now();
        let request = fs::read(folder.join("request")).expect("a request");
        service.begin(
            &id,
            &Case {
                request,
                key: None,
                reply: Vec::new(),
                folder: folder.clone(),
                ..case
            },
            key,
        );
        let job = service.wait(&id);
        let answer = service.get(&format!("/v1/jobs/{id}/reply")).is(200);
        fs::write(folder.join("served"), &answer.body).expect("a file");
        times[1].push(begun.elapsed().as_secs_f64());
        assert!(answer.body == case.reply);
        println!(
            "round {round}: command and copies {:.2} s, service {:.2} s, of which {} s evaluated and {} s waited",
            times[0][round], times[1][round], job["evaluated_seconds"], job["waited_seconds"]
        );
        service.delete(&format!("/v1/jobs/{id}")).is(204);
    }
    let [local, served] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let allowed = 1.2 * local + 0.5;
    println!(
        "{} images, request of {} MB: median {local:.2} s by the command, {served:.2} s by the service ({:+.1} %), allowed {allowed:.2} s",
        case.images,
        case.request.len() / 1_000_000,
        (served / local - 1.0) * 100.0
    );
    assert!(local >= 10.0, "a job of ten seconds is asked for");
    assert!(served <= allowed);
}
