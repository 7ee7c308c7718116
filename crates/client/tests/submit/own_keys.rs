//! Submissions with keys of their own, and plans that are remembered.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use sordino_ckks::KeyId;
use sordino_client::Error;
use sordino_client::http::submit;
use sordino_plan::PackingKind;

use crate::service::plan;
use crate::submissions::{COUNT, Setup, images, until_done};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_has_keys_of_its_own() {
    let mut setup = Setup::keyless(PackingKind::ElementWise).await;
    let (submitted, runs) = until_done(&setup, |run| run + 1).await;
    assert!(runs >= 5 && submitted.resumed, "{runs} runs");
    assert_eq!(submitted.predictions.len(), COUNT);
    assert_eq!(setup.heard.count("Encrypting"), 1);
    assert!(!setup.own().exists());
    let first = setup.out();
    // Again into another file: another key, and nothing of the first is left.
    setup.options.out = setup.folder.path().join("again.csv");
    setup.submit().await.unwrap();
    assert_eq!(setup.out().lines().count(), first.lines().count());
    let ids: HashSet<KeyId> = setup
        .service
        .state
        .lock()
        .unwrap()
        .requests
        .iter()
        .copied()
        .collect();
    assert_eq!(ids.len(), 2);
    let left: Vec<_> = fs::read_dir(setup.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    let expected = [
        "out.csv",
        "out.csv.provenance.json",
        "again.csv",
        "again.csv.provenance.json",
        "state",
    ];
    assert!(
        left.iter()
            .all(|name| expected.contains(&&*name.to_string_lossy())),
        "{left:?}"
    );
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_submission_are_nobody_elses() {
    use std::os::unix::fs::PermissionsExt;

    let setup = Setup::keyless(PackingKind::ElementWise).await;
    let own = setup.own();
    let modes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&modes);
    *setup.service.faults.lock().unwrap() = Box::new(move |asked| {
        if asked.method == "DELETE" {
            for path in [own.clone(), own.join("secret.key")] {
                seen.lock()
                    .unwrap()
                    .push(fs::metadata(path).unwrap().permissions().mode() & 0o777);
            }
        }
        None
    });
    setup.submit().await.unwrap();
    assert_eq!(*modes.lock().unwrap(), [0o700, 0o600]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_hears_nothing_once_the_key_is_used() {
    let setup = Setup::keyless(PackingKind::ElementWise).await;
    let out = setup.options.out.clone();
    let last = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&last);
    *setup.service.faults.lock().unwrap() = Box::new(move |asked| {
        let mut heard = heard.lock().unwrap();
        heard.push((asked.method.clone(), out.exists()));
        None
    });
    setup.submit().await.unwrap();
    let heard = last.lock().unwrap();
    // The job is removed before the predictions are there, and that is the last call.
    assert_eq!(heard.last().unwrap().0, "DELETE");
    assert!(heard.iter().all(|(_, written)| !written), "{heard:?}");
    assert!(setup.options.out.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_submission_began_stays() {
    let setup = Setup::keyless(PackingKind::ElementWise).await;
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
    let other = submit(&setup.remote, "small", images(6), &setup.options).await;
    let error = other.unwrap_err();
    assert!(matches!(error, Error::KeyFolder { .. }), "{error}");
    let submitted = setup.submit().await.unwrap();
    assert!(submitted.resumed);
    assert_eq!(setup.heard.count("Encrypting"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_evaluation_keys_are_kept_for_some_replies() {
    let mut setup = Setup::keyless(PackingKind::ChannelWise).await;
    let kept = || {
        let folders = fs::read_dir(setup.folder.path().join("state/keys")).unwrap();
        let mut folders: Vec<PathBuf> = folders.map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        folders
    };
    setup.submit().await.unwrap();
    assert_eq!(setup.heard.count("KeysKept"), 1);
    let first = kept();
    assert_eq!(first.len(), 1);
    assert_eq!(fs::read(first[0].join("used")).unwrap().len(), 1);
    setup.options.out = setup.folder.path().join("second.csv");
    assert!(!setup.submit().await.unwrap().made_keys);
    // As many as these keys serve.
    fs::write(first[0].join("used"), [b'.'; 64]).unwrap();
    setup.options.out = setup.folder.path().join("third.csv");
    assert!(setup.submit().await.unwrap().made_keys);
    let second = kept();
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
    assert!(!setup.own().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_exchanged_only_when_that_is_accepted() {
    let mut setup = Setup::keyless(PackingKind::ElementWise).await;
    setup.submit().await.unwrap();
    assert_eq!(setup.heard.count("PlanSeen"), 1);
    *setup.service.plan.lock().unwrap() = plan(PackingKind::ElementWise, 49);
    setup.options.out = setup.folder.path().join("again.csv");
    let error = setup.submit().await.unwrap_err();
    assert!(matches!(error, Error::PlanChanged { .. }), "{error}");
    assert_eq!(setup.service.state.lock().unwrap().made.len(), 1);
    assert!(!setup.options.out.exists());
    setup.options.accept_plan = true;
    setup.submit().await.unwrap();
    setup.options.accept_plan = false;
    setup.options.out = setup.folder.path().join("third.csv");
    setup.submit().await.unwrap();
    assert_eq!(setup.heard.count("PlanSeen"), 2);
}
