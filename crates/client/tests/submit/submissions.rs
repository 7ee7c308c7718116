//! Whole submissions, ended at any moment and gone on with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sordino_ckks::EvaluationKey;
use sordino_client::http::{RemoteServer, SubmitOptions, Submitted, submit};
use sordino_client::{Client, Error};
use sordino_container::Error as FileError;
use sordino_data::{Images, Pixels};
use sordino_plan::PackingKind;
use sordino_protocol::api::ProblemKind;
use sordino_ring::backend;

use crate::common::numbers;
use crate::http::Server;
use crate::service::{FEATURES, Fault, SIZE, Service, evaluated, plan};
use crate::{Heard, connect};

const SOON: Duration = Duration::from_secs(60);
pub(crate) const COUNT: usize = 20;

pub(crate) fn images(seed: u32) -> Images {
    let names = (0..COUNT)
        .map(|image| format!("patient {image}.png"))
        .collect();
    Images::new(
        (1, SIZE.0, SIZE.1),
        Pixels::F32(numbers(COUNT * FEATURES, seed)),
        None,
        Some(names),
        "test",
    )
    .unwrap()
}

pub(crate) struct Setup {
    pub(crate) service: Arc<Service>,
    _server: Server,
    pub(crate) remote: RemoteServer,
    pub(crate) heard: Heard,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) options: SubmitOptions,
}

impl Setup {
    async fn new(packing: PackingKind) -> Self {
        let (service, server) = Service::start(plan(packing, 50)).await;
        let (remote, heard) = connect(&server.address, SOON);
        let folder = tempfile::tempdir().unwrap();
        let options = SubmitOptions {
            keys: Some(folder.path().join("keys")),
            state: Some(folder.path().join("state")),
            ..SubmitOptions::new(folder.path().join("out.csv"))
        };
        Self {
            service,
            _server: server,
            remote,
            heard,
            folder,
            options,
        }
    }

    pub(crate) async fn submit(&self) -> Result<Submitted, Error> {
        submit(&self.remote, "small", images(5), &self.options).await
    }

    /// The same without a folder of keys.
    pub(crate) async fn keyless(packing: PackingKind) -> Self {
        let mut setup = Self::new(packing).await;
        setup.options.keys = None;
        setup
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn submissions(&self) -> PathBuf {
        self.keys().join("submissions")
    }

    /// Where everything of a submission is that has keys of its own.
    pub(crate) fn own(&self) -> PathBuf {
        self.folder.path().join("out.csv.submission")
    }

    /// What a client on its own computes of the same images with the same keys.
    fn expected(&self) -> String {
        let plan = Arc::clone(&self.service.plan.lock().unwrap());
        let client = Client::new(plan.client.clone(), backend::select(None).unwrap()).unwrap();
        let keys = client.open_key_folder(&self.keys(), None).unwrap();
        let images = images(5);
        let request = client.encrypt_images(&keys.secret, &images, None).unwrap();
        let key = keys
            .evaluation
            .map(|file| EvaluationKey::read_file(client.context(), &file.path).unwrap());
        let reply = evaluated(&plan, key.as_ref(), &request.to_bytes().unwrap());
        let reply = client.reply_from_bytes(&reply).unwrap();
        let mut csv = Vec::new();
        let predictions = client.decrypt(&keys.secret, &reply).unwrap();
        predictions
            .write_csv(&mut csv, images.names.as_deref(), false)
            .unwrap();
        String::from_utf8(csv).unwrap()
    }

    pub(crate) fn out(&self) -> String {
        fs::read_to_string(&self.options.out).unwrap()
    }

    /// Names and classes are those of a client on its own; the scores of another encryption may be rounded the other way.
    fn check_out(&self) {
        let columns = |text: &str| -> Vec<Vec<String>> {
            let rows = text
                .lines()
                .map(|line| line.split(',').take(3).map(str::to_owned));
            rows.map(Iterator::collect).collect()
        };
        assert_eq!(columns(&self.out()), columns(&self.expected()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_become_predictions() {
    let setup = Setup::new(PackingKind::ElementWise).await;
    let submitted = setup.submit().await.unwrap();
    assert_eq!(submitted.predictions.len(), COUNT);
    assert!(submitted.made_keys && !submitted.resumed);
    assert_eq!(
        (submitted.times.queue, submitted.times.evaluate),
        (0.25, 0.5)
    );
    setup.check_out();
    assert!(setup.out().contains("patient 7.png"));
    assert!(!setup.submissions().exists());
    {
        let state = setup.service.state.lock().unwrap();
        assert!(submitted.request_bytes > 2 * sordino_protocol::api::CHUNK_BYTES);
        assert_eq!(
            (state.jobs(), state.made.len(), state.sent_again),
            (0, 1, 0)
        );
        assert_eq!(state.keys(), 0, "the plan needs none");
    }
    // The file is there now.
    let error = setup.submit().await.unwrap_err();
    assert!(
        matches!(error, Error::File(FileError::Exists { .. })),
        "{error}"
    );
    assert_eq!(setup.service.state.lock().unwrap().made.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_uploaded_once_for_all_jobs() {
    let mut setup = Setup::new(PackingKind::ChannelWise).await;
    setup.options.keep_job = true;
    setup.submit().await.unwrap();
    setup.check_out();
    let uploads = setup.service.state.lock().unwrap().calls("PUT /v1/keys/");
    assert!(uploads > 1);
    setup.options.out = setup.folder.path().join("again.csv");
    let again = setup.submit().await.unwrap();
    assert!(!again.made_keys && !again.resumed);
    let state = setup.service.state.lock().unwrap();
    assert_eq!(
        state.calls("PUT /v1/keys/"),
        uploads + 1,
        "one question and no chunk"
    );
    assert_eq!((state.jobs(), state.keys(), state.evaluations()), (2, 1, 2));
}

/// Submits again and again, each time ended at a call that `ends` picks, until it gets to the end.
pub(crate) async fn until_done(
    setup: &Setup,
    mut ends: impl FnMut(usize) -> usize,
) -> (Submitted, usize) {
    for run in 0.. {
        let end = ends(run);
        let reached = Arc::new(tokio::sync::Notify::new());
        let ringing = Arc::clone(&reached);
        let mut calls = 0;
        *setup.service.faults.lock().unwrap() = Box::new(move |_| {
            calls += 1;
            if calls >= end {
                ringing.notify_one();
            }
            // Half of the calls that the client does not live to hear of had an effect.
            (calls == end).then_some(if end.is_multiple_of(2) {
                Fault::Lost
            } else {
                Fault::Unanswered
            })
        });
        // Dropped in the middle of whatever it does.
        tokio::select! {
            submitted = setup.submit() => return (submitted.unwrap(), run),
            () = reached.notified() => {}
        }
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_ended_at_every_call_goes_on() {
    for packing in [PackingKind::ElementWise, PackingKind::ChannelWise] {
        let setup = Setup::new(packing).await;
        let (submitted, runs) = until_done(&setup, |run| run + 1).await;
        assert!(runs >= 5 && submitted.resumed, "{runs} runs");
        setup.check_out();
        let state = setup.service.state.lock().unwrap();
        assert_eq!(state.made.len(), 1, "no second job");
        assert_eq!((state.jobs(), state.evaluations()), (0, 1));
        // Those that were kept and not acknowledged may come again, at most as many as are on their way at once.
        assert!(
            state.sent_again <= 3 * runs,
            "{} of {runs} runs",
            state.sent_again
        );
        assert_eq!(setup.heard.count("Encrypting"), 1, "no second encryption");
        assert_eq!(setup.heard.count("KeysMade"), 1);
        assert!(!setup.submissions().exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_lost_are_made_again() {
    let setup = Setup::new(PackingKind::ElementWise).await;
    let mut turn = 0;
    *setup.service.faults.lock().unwrap() = Box::new(move |_| {
        turn += 1;
        match turn % 4 {
            1 => Some(Fault::Unanswered),
            3 => Some(Fault::Lost),
            _ => None,
        }
    });
    setup.submit().await.unwrap();
    setup.check_out();
    let state = setup.service.state.lock().unwrap();
    assert_eq!((state.made.len(), state.evaluations()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_events_it_asks() {
    let setup = Setup::new(PackingKind::ElementWise).await;
    *setup.service.faults.lock().unwrap() = Box::new(|asked| {
        asked
            .path
            .ends_with("/events")
            .then_some(Fault::Status(404))
    });
    setup.submit().await.unwrap();
    setup.check_out();
    assert_eq!(setup.service.state.lock().unwrap().evaluations(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_the_server_forgot_is_made_again() {
    let setup = Setup::new(PackingKind::ElementWise).await;
    let service = Arc::clone(&setup.service);
    let mut forgotten = false;
    *setup.service.faults.lock().unwrap() = Box::new(move |asked| {
        if asked.path.ends_with("/start") && !forgotten {
            forgotten = true;
            service.state.lock().unwrap().forget_jobs();
        }
        None
    });
    setup.submit().await.unwrap();
    setup.check_out();
    assert_eq!(setup.heard.count("JobForgotten"), 1);
    assert_eq!(setup.heard.count("Encrypting"), 1);
    let state = setup.service.state.lock().unwrap();
    assert_eq!((state.made.len(), state.jobs()), (2, 0));
    assert_eq!(state.made[0], state.made[1], "under the same name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_the_server_lost_are_sent_again() {
    for packing in [PackingKind::ElementWise, PackingKind::ChannelWise] {
        let setup = Setup::new(packing).await;
        let service = Arc::clone(&setup.service);
        let mut lost = 0;
        *setup.service.faults.lock().unwrap() = Box::new(move |asked| {
            if asked.path.ends_with("/events") && lost < 2 {
                lost += 1;
                service.state.lock().unwrap().lose_chunks();
            }
            None
        });
        setup.submit().await.unwrap();
        setup.check_out();
        assert_eq!(setup.heard.count("ChunksLost"), 2);
        assert_eq!(setup.heard.count("Encrypting"), 1);
        let state = setup.service.state.lock().unwrap();
        assert_eq!((state.made.len(), state.evaluations()), (1, 1));
        assert_eq!(state.sent_again, 0, "only what was lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loses_everything_is_not_asked_for_ever() {
    let setup = Setup::new(PackingKind::ElementWise).await;
    let service = Arc::clone(&setup.service);
    *setup.service.faults.lock().unwrap() = Box::new(move |asked| {
        if asked.path.ends_with("/events") {
            service.state.lock().unwrap().lose_chunks();
        }
        None
    });
    let error = setup.submit().await.unwrap_err();
    assert!(error.to_string().contains("lost chunks"), "{error}");
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry
            .map(|entry| (entry.path(), entry.file_name()))
            .unwrap();
        match path.is_dir() {
            true => copy(&path, &to.join(name)),
            false => drop(fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_after_the_predictions_it_only_tidies_up() {
    for own_keys in [true, false] {
        let (setup, folder) = match own_keys {
            true => {
                let setup = Setup::keyless(PackingKind::ElementWise).await;
                let folder = setup.own();
                (setup, folder)
            }
            false => {
                let setup = Setup::new(PackingKind::ElementWise).await;
                let folder = setup.keys();
                (setup, folder)
            }
        };
        // As it is when the reply has come, and before the predictions are written.
        let before = setup.folder.path().join("before");
        let (from, to) = (folder.clone(), before.clone());
        *setup.service.faults.lock().unwrap() = Box::new(move |asked| {
            if asked.method == "DELETE" {
                copy(&from, &to);
            }
            None
        });
        setup.submit().await.unwrap();
        let written = setup.out();
        *setup.service.faults.lock().unwrap() = Box::new(|_| None);
        assert_eq!(folder.exists(), !own_keys);
        let _ = fs::remove_dir_all(&folder);
        fs::rename(&before, &folder).unwrap();
        let submitted = setup.submit().await.unwrap();
        assert!(submitted.resumed);
        assert_eq!(setup.out(), written);
        assert!(!folder.join("submissions").exists());
        assert_eq!(folder.exists(), !own_keys);
        let state = setup.service.state.lock().unwrap();
        assert_eq!((state.made.len(), state.jobs()), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predictions_of_something_else_are_not_replaced() {
    let setup = Setup::new(PackingKind::ElementWise).await;
    fs::write(&setup.options.out, "mine").unwrap();
    // Whether or not anything unfinished is there.
    for _ in 0..2 {
        let error = setup.submit().await.unwrap_err();
        assert!(
            matches!(error, Error::File(FileError::Exists { .. })),
            "{error}"
        );
        assert_eq!(setup.out(), "mine");
        fs::create_dir_all(setup.submissions().join("0123456789abcdef")).unwrap();
    }
    assert_eq!(setup.service.state.lock().unwrap().made.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_job_says_why_and_the_next_run_makes_another() {
    for (kind, encryptions) in [(ProblemKind::Internal, 1), (ProblemKind::Invalid, 2)] {
        let setup = Setup::new(PackingKind::ElementWise).await;
        *setup.service.failing.lock().unwrap() = Some(kind);
        let error = setup.submit().await.unwrap_err();
        let Error::JobFailed { status, detail, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*status, kind.status());
        assert!(detail.contains("expected to fail"), "{detail}");
        *setup.service.failing.lock().unwrap() = None;
        setup.submit().await.unwrap();
        setup.check_out();
        assert_eq!(setup.heard.count("Encrypting"), encryptions);
        let state = setup.service.state.lock().unwrap();
        assert_eq!((state.made.len(), state.jobs()), (2, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_plan_is_noticed() {
    let mut setup = Setup::new(PackingKind::ElementWise).await;
    let reached = Arc::new(tokio::sync::Notify::new());
    let ringing = Arc::clone(&reached);
    *setup.service.faults.lock().unwrap() = Box::new(move |asked| {
        if asked.path.ends_with("/start") {
            ringing.notify_one();
        }
        None
    });
    tokio::select! {
        _ = setup.submit() => panic!("it has to be ended"),
        () = reached.notified() => {}
    }
    // The parameters, and so the keys, are the same.
    let before = Arc::clone(&setup.service.plan.lock().unwrap());
    let after = plan(PackingKind::ElementWise, 49);
    let (old, new) = (
        &before.client.header.parameters,
        &after.client.header.parameters,
    );
    assert_eq!(old.digest(), new.digest());
    *setup.service.plan.lock().unwrap() = after;
    setup.options.accept_plan = true;
    setup.submit().await.unwrap();
    setup.check_out();
    assert_eq!(
        setup.heard.count("PlanChanged"),
        1,
        "{:?}",
        setup.heard.all()
    );
    assert!(!setup.submissions().exists());
    assert_eq!(setup.service.state.lock().unwrap().jobs(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_do_not_get_in_each_others_way() {
    let setup = Setup::new(PackingKind::ElementWise).await;
    let other = SubmitOptions {
        out: setup.folder.path().join("other.csv"),
        ..setup.options.clone()
    };
    // The same keys, which one of them makes, and other images.
    let (one, two) = tokio::join!(
        setup.submit(),
        submit(&setup.remote, "small", images(6), &other)
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.made_keys != two.made_keys);
    assert_eq!(setup.service.state.lock().unwrap().made.len(), 2);
    setup.check_out();
}

/// A submission can be spawned.
#[tokio::test]
async fn submissions_can_go_to_other_threads() {
    fn is_send<T: Send>(_: &T) {}
    let setup = Setup::new(PackingKind::ElementWise).await;
    is_send(&submit(&setup.remote, "small", images(5), &setup.options));
}
