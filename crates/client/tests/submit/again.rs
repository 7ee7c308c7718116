//! Batches that an image ruined: sent once more without it, or not.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use sordino_client::http::{RemoteServer, SubmitOptions, Submitted, submit};
use sordino_client::{Error, UnusualPolicy};
use sordino_data::{Images, Pixels};
use sordino_plan::{CheckImageCount, CompileOptions, PackingKind};
use sordino_runtime::compile;

use crate::deep::{FEATURES, SIDE, model, usual};
use crate::http::Server;
use crate::service::Service;
use crate::{Heard, connect};

const COUNT: usize = 200;
const SOON: Duration = Duration::from_secs(60);

/// A batch with images that are as bright as can be, at these places.
fn images(bright: &[usize]) -> Images {
    let mut values = usual(COUNT, 5);
    for &image in bright {
        values[image * FEATURES..(image + 1) * FEATURES].fill(1.0);
    }
    let names = (0..COUNT)
        .map(|image| format!("patient {image}.png"))
        .collect();
    Images::new(
        (1, SIDE, SIDE),
        Pixels::F32(values),
        None,
        Some(names),
        "test",
    )
    .unwrap()
}

struct Setup {
    service: Arc<Service>,
    _server: Server,
    remote: RemoteServer,
    heard: Heard,
    folder: tempfile::TempDir,
    options: SubmitOptions,
}

impl Setup {
    async fn new() -> Self {
        let options = CompileOptions {
            precision_bits: Some(8.0),
            check_images: CheckImageCount::Exactly(16),
            ..CompileOptions::new(COUNT).with_packing(PackingKind::ElementWise)
        };
        let plan = Arc::new(compile(&model(), &options).unwrap());
        let (service, server) = Service::start(plan).await;
        let (remote, heard) = connect(&server.address, SOON);
        let folder = tempfile::tempdir().unwrap();
        let options = SubmitOptions {
            state: Some(folder.path().join("state")),
            // As if the guard had not found them.
            unusual: UnusualPolicy::Keep,
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

    async fn submit(&self, bright: &[usize]) -> Result<Submitted, Error> {
        submit(&self.remote, "small", images(bright), &self.options).await
    }

    fn made(&self) -> usize {
        self.service.state.lock().unwrap().made.len()
    }

    /// Nothing is left but the state and what was asked for.
    fn check_folder(&self, expected: &[&str]) {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut found: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        found.sort();
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ruined_batch_is_sent_once_more_without_the_image() {
    let setup = Setup::new().await;
    let submitted = setup.submit(&[17]).await.unwrap();
    assert_eq!(setup.heard.count("SentAgain"), 1);
    let predictions = &submitted.predictions;
    assert_eq!(
        (predictions.len(), predictions.marks().images()),
        (COUNT - 1, COUNT)
    );
    let text = fs::read_to_string(&setup.options.out).unwrap();
    let row = text.lines().nth(18).unwrap();
    assert!(
        row.starts_with("17,patient 17.png,,") && row.ends_with(",unusual"),
        "{row}"
    );
    {
        let state = setup.service.state.lock().unwrap();
        assert_eq!((state.made.len(), state.jobs(), state.keys()), (2, 0, 0));
        assert_ne!(state.requests[0], state.requests[1], "another key");
        // The server sees no other number of images.
        assert_eq!(state.images, [COUNT as u64; 2]);
    }
    setup.check_folder(&["out.csv", "out.csv.provenance.json", "state"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ruined_batch_is_not_sent_again_where_that_is_off_or_many_are_named() {
    let mut setup = Setup::new().await;
    for bright in [&[3, 50, 99][..], &[17][..]] {
        let before = setup.made();
        let error = setup.submit(bright).await.unwrap_err();
        let Error::CheckImages { suspects, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(suspects, bright);
        assert!(
            error.to_string().contains("leave out what is named"),
            "{error}"
        );
        assert_eq!(setup.made(), before + 1);
        setup.check_folder(&["state"]);
        setup.options.resubmit = false;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_in_the_second_sending_it_resumes_there() {
    let setup = Setup::new().await;
    let reached = Arc::new(tokio::sync::Notify::new());
    let ringing = Arc::clone(&reached);
    let mut starts = 0;
    *setup.service.faults.lock().unwrap() = Box::new(move |asked| {
        starts += usize::from(asked.path.ends_with("/start"));
        if starts == 2 {
            ringing.notify_one();
        }
        None
    });
    tokio::select! {
        _ = setup.submit(&[17]) => panic!("it has to be ended"),
        () = reached.notified() => {}
    }
    *setup.service.faults.lock().unwrap() = Box::new(|_| None);
    let submitted = setup.submit(&[17]).await.unwrap();
    assert!(submitted.resumed);
    assert_eq!(submitted.predictions.len(), COUNT - 1);
    assert_eq!((setup.heard.count("SentAgain"), setup.made()), (1, 2));
    setup.check_folder(&["out.csv", "out.csv.provenance.json", "state"]);
}
