//! Single calls: what is tried again, for how long, and what is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sordino_client::Error;
use sordino_client::http::RemoteServer;
use sordino_protocol::api::{PROBLEM_MEDIA_TYPE, Problem, ProblemKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http::{Asked, Given, Server, Then};
use crate::{Heard, connect};

const SOON: Duration = Duration::from_secs(30);

fn models() -> Given {
    Given::json(200, &json!({"models": []}))
}

/// A server that gives these answers, one after the other, and the last one for ever.
async fn scripted(
    patience: Duration,
    answers: Vec<fn() -> Given>,
) -> (Server, RemoteServer, Heard, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let server = Server::start(move |_: Asked| {
        let turn = counter.fetch_add(1, Ordering::SeqCst);
        answers[turn.min(answers.len() - 1)]()
    })
    .await;
    let (remote, heard) = connect(&server.address, patience);
    (server, remote, heard, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_tried_again() {
    let answers: Vec<fn() -> Given> = vec![
        || Given::new(503, "busy"),
        || Given::new(500, ""),
        || Given::new(408, ""),
        || models().then(Then::Nothing),
        || models().then(Then::Break(3)),
        models,
    ];
    let (_server, remote, heard, asked) = scripted(SOON, answers).await;
    assert_eq!(remote.models().await.unwrap().models, []);
    assert_eq!(asked.load(Ordering::SeqCst), 6);
    assert_eq!(heard.count("Retry"), 5, "{:?}", heard.all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_goes_along_and_is_never_shown() {
    let server = Server::start(|asked: Asked| {
        if asked.header("authorization") == Some("Bearer right-token") {
            return models();
        }
        Given::new(401, "")
    })
    .await;
    let (remote, heard) = connect(&server.address, SOON);
    remote.models().await.unwrap();
    assert!(!format!("{remote:?}{:?}", heard.all()).contains("right-token"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_obeyed() {
    let answers: Vec<fn() -> Given> = vec![
        || Given::new(429, "").with("retry-after", "1"),
        || Given::new(503, "").with("retry-after", "1"),
        models,
    ];
    let (_server, remote, _, asked) = scripted(SOON, answers).await;
    let began = Instant::now();
    remote.models().await.unwrap();
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(asked.load(Ordering::SeqCst), 3);

    // Longer than anybody wants to wait: told at once.
    let answers: Vec<fn() -> Given> = vec![|| Given::new(503, "").with("retry-after", "3600")];
    let (_server, remote, _, asked) = scripted(SOON, answers).await;
    let began = Instant::now();
    let error = remote.models().await.unwrap_err();
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_not_tried_again_and_says_why() {
    let full = || {
        let problem = Problem::new(ProblemKind::Quota, "expected 2 jobs at most: wait for one");
        Given::json(429, &problem).with("content-type", PROBLEM_MEDIA_TYPE)
    };
    let (_server, remote, heard, asked) = scripted(SOON, vec![full]).await;
    let error = remote.models().await.unwrap_err();
    let Error::Refused {
        status,
        kind,
        detail,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((*status, *kind), (429, Some(ProblemKind::Quota)));
    assert!(detail.contains("expected 2 jobs at most"), "{detail}");
    assert_eq!((asked.load(Ordering::SeqCst), heard.count("Retry")), (1, 0));

    for status in [
        301, 400, 401, 403, 404, 409, 411, 413, 415, 416, 422, 431, 507,
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let server = Server::start(move |_: Asked| {
            counter.fetch_add(1, Ordering::SeqCst);
            Given::new(status, "no").with("location", "http://127.0.0.1:1/")
        })
        .await;
        let (remote, _) = connect(&server.address, SOON);
        let error = remote.models().await.unwrap_err();
        assert_eq!(error.status(), Some(status), "{error}");
        assert_eq!(error.is_not_found(), status == 404);
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patience_ends() {
    let answers: Vec<fn() -> Given> = vec![|| Given::new(503, "busy")];
    let (_server, remote, ..) = scripted(Duration::from_secs(1), answers).await;
    let began = Instant::now();
    let error = remote.models().await.unwrap_err();
    let Error::GaveUp { last, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(last.status(), Some(503));
    assert!(
        error.to_string().contains("run the same command again"),
        "{error}"
    );
    let elapsed = began.elapsed();
    assert!((1.0..5.0).contains(&elapsed.as_secs_f64()), "{elapsed:?}");

    // Nobody listens there any more.
    let gone = Server::start(|_: Asked| models()).await.address.clone();
    let (remote, heard) = connect(&gone, Duration::from_secs(1));
    let error = remote.models().await.unwrap_err();
    assert!(
        matches!(&error, Error::GaveUp { last, .. } if matches!(**last, Error::Connection { .. })),
        "{error}"
    );
    assert!(heard.count("Retry") >= 2, "{:?}", heard.all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_bounded_and_have_to_make_sense() {
    let endless: fn() -> Given = || Given::new(200, "").then(Then::Endless);
    let (_server, remote, ..) = scripted(SOON, vec![endless]).await;
    for error in [
        remote.models().await.map(drop).unwrap_err(),
        remote.client_plan("m").await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Answer { .. }), "{error}");
        assert!(error.to_string().contains("at most"), "{error}");
    }
    let endless: fn() -> Given = || Given::new(400, "").then(Then::Endless);
    let (_server, remote, ..) = scripted(SOON, vec![endless]).await;
    assert_eq!(remote.models().await.unwrap_err().status(), Some(400));

    for odd in ["", "{", "{}", "[]", "{\"models\": 7}", "\u{0}"] {
        let server = Server::start(move |_: Asked| Given::new(200, odd)).await;
        let (remote, _) = connect(&server.address, SOON);
        let error = remote.models().await.unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{odd:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_told_apart_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // What a server without TLS says to the beginning of TLS.
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    let (remote, heard) = connect(&address, SOON);
    let error = remote.models().await.unwrap_err();
    assert!(matches!(error, Error::OtherProtocol { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("speaks http,") && text.contains("--plain"),
        "{text}"
    );
    assert_eq!(heard.count("Retry"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_tls_is_told_from_one_without() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The alert by which TLS refuses what is no handshake.
            let _ = stream.read(&mut [0; 1024]).await;
            stream.write_all(&[21, 3, 3, 0, 2, 2, 50]).await.unwrap();
        }
    });
    let (remote, heard) = connect(&address, SOON);
    let error = remote.models().await.unwrap_err();
    assert!(matches!(error, Error::OtherProtocol { .. }), "{error}");
    assert!(error.to_string().contains("https://"), "{error}");
    assert_eq!(heard.count("Retry"), 0);
}

/// The clock is moved on whenever nothing else happens, so no minute is waited for.
#[tokio::test(start_paused = true)]
async fn silence_ends() {
    let silent: fn() -> Given = || Given::new(200, "{}").then(Then::Silence);
    let (_server, remote, ..) = scripted(Duration::from_secs(200), vec![silent]).await;
    let calls = [
        remote.models().await.map(drop).unwrap_err(),
        remote
            .wait(&"job".parse().unwrap())
            .await
            .map(drop)
            .unwrap_err(),
    ];
    for error in calls {
        let Error::GaveUp { last, .. } = &error else {
            panic!("{error}");
        };
        assert!(matches!(**last, Error::Connection { .. }), "{error}");
    }
}
