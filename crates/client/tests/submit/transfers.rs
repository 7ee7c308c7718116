//! Uploads of what is missing, and downloads that go on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use sordino_client::Error;
use sordino_container::{Access, Digest, Kind, Overwrite, write_file};
use sordino_protocol::api::{CHUNK_BYTES, Chunks, Id, content_digest};

use crate::connect;
use crate::http::{Asked, Given, Server, Then};

const SOON: Duration = Duration::from_secs(30);

fn id() -> Id {
    "job-1".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_missing_chunks_are_sent_with_their_digests() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("request");
    let bytes = 6 * CHUNK_BYTES + 5;
    let content: Vec<u8> = (0..bytes).map(|at| (at / 3) as u8).collect();
    std::fs::write(&file, &content).unwrap();
    type Received = Arc<Mutex<BTreeMap<u64, Vec<Vec<u8>>>>>;
    let received = Received::default();
    let arriving = Arc::clone(&received);
    let server = Server::start(move |asked: Asked| {
        let number = asked.path.strip_prefix("/v1/jobs/job-1/chunks/").unwrap();
        let number: u64 = number.parse().unwrap();
        assert_eq!(asked.method, "PUT");
        assert_eq!(
            asked.header("content-digest"),
            Some(content_digest(&asked.body).as_str())
        );
        let mut received = arriving.lock().unwrap();
        let tries = received.entry(number).or_default();
        tries.push(asked.body);
        match (number, tries.len()) {
            // Not kept, kept without an answer, kept.
            (3, 1) => Given::new(503, ""),
            (4, 1) => Given::new(204, "").then(Then::Nothing),
            _ => Given::new(204, ""),
        }
    })
    .await;
    let (remote, heard) = connect(&server.address, SOON);
    let chunks = Chunks::new(bytes, [0, 2, 5]);
    remote.upload_request(&id(), &file, &chunks).await.unwrap();
    let received = received.lock().unwrap();
    let counts: Vec<(u64, usize)> = received
        .iter()
        .map(|(&n, tries)| (n, tries.len()))
        .collect();
    assert_eq!(counts, [(1, 1), (3, 2), (4, 2), (6, 1)]);
    for (&number, tries) in received.iter() {
        let range = Chunks::range(bytes, number).unwrap();
        let part = &content[range.start as usize..range.end as usize];
        assert!(tries.iter().all(|body| body == part), "chunk {number}");
    }
    let last = heard.all().pop().unwrap();
    assert!(
        last.contains(&format!("done: {bytes}, of: {bytes}")),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_chunk_ends_the_upload() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("request");
    std::fs::write(&file, vec![1; 2 * CHUNK_BYTES as usize]).unwrap();
    let server = Server::start(|_: Asked| Given::new(409, "")).await;
    let (remote, _) = connect(&server.address, SOON);
    let chunks = Chunks::new(2 * CHUNK_BYTES, []);
    let error = remote.upload_key(&id(), &file, &chunks).await.unwrap_err();
    assert_eq!(error.status(), Some(409), "{error}");
    // The list is of another file.
    let chunks = Chunks::new(u64::MAX, []);
    let error = remote.upload_key(&id(), &file, &chunks).await.unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
}

/// A file of the right kind and digest, though no reply.
fn reply(folder: &Path, name: &str, bytes: usize) -> Vec<u8> {
    let path = folder.join(name);
    let payload: Vec<u8> = (0..bytes).map(|at| (at / 7) as u8).collect();
    let metadata = json!({ "name": name });
    write_file(
        &path,
        Kind::Reply,
        &metadata,
        &payload,
        Overwrite::Refuse,
        Access::Shared,
    )
    .unwrap();
    std::fs::read(&path).unwrap()
}

/// What a server does to a download, turn by turn; the last turn for ever.
#[derive(Clone, Copy)]
enum Turn {
    /// Breaks after so many bytes.
    Break(usize),
    /// Well.
    Well,
    /// As one that knows no ranges.
    Whole,
    /// From here on it is the other content.
    Swap(usize),
    /// Bytes are wrong.
    Damage,
}

struct Download {
    result: Result<(), Error>,
    /// The ranges that were asked for.
    ranges: Vec<Option<String>>,
    found: Option<Vec<u8>>,
    left: Vec<String>,
}

async fn download(turns: Vec<Turn>, announced: Option<u64>) -> (Download, [Vec<u8>; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let contents = [
        reply(folder.path(), "one", 600_000),
        reply(folder.path(), "two", 600_000),
    ];
    assert_eq!(contents[0].len(), contents[1].len());
    let bytes = announced.unwrap_or(contents[0].len() as u64);
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let (asked_for, served) = (Arc::clone(&ranges), contents.clone());
    let swapped = Mutex::new(false);
    let server = Server::start(move |asked: Asked| {
        let mut ranges = asked_for.lock().unwrap();
        let turn = turns[ranges.len().min(turns.len() - 1)];
        ranges.push(asked.header("range").map(str::to_owned));
        let mut swapped = swapped.lock().unwrap();
        *swapped |= matches!(turn, Turn::Swap(_));
        let content = &served[usize::from(*swapped)];
        let tag = format!("\"{}\"", Digest::of_bytes(content));
        let start = asked.header("range").and_then(|range| {
            let start = range.strip_prefix("bytes=")?.strip_suffix('-')?;
            let same = asked.header("if-range").is_none_or(|wanted| wanted == tag);
            (same && !matches!(turn, Turn::Whole)).then(|| start.parse::<usize>().unwrap())
        });
        let mut given = match start {
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
                Given::new(206, &content[start..]).with("content-range", range)
            }
            None => Given::new(200, content.as_slice()),
        }
        .with("etag", tag);
        match turn {
            Turn::Break(bytes) | Turn::Swap(bytes) => given.then = Then::Break(bytes),
            Turn::Damage => given.body[1000] ^= 1,
            Turn::Well | Turn::Whole => {}
        }
        given
    })
    .await;
    let (remote, _) = connect(&server.address, SOON);
    let file = folder.path().join("reply");
    let result = remote.download_reply(&id(), bytes, &file).await;
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ranges = ranges.lock().unwrap().clone();
    let download = Download {
        result,
        ranges,
        found: std::fs::read(&file).ok(),
        left: names.filter(|name| name.contains('.')).collect(),
    };
    (download, contents)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_where_it_broke() {
    let turns = vec![
        Turn::Break(200_000),
        Turn::Break(0),
        Turn::Break(100_000),
        Turn::Well,
    ];
    let (download, [content, _]) = download(turns, None).await;
    download.result.unwrap();
    assert_eq!(download.found.unwrap(), content);
    assert_eq!(download.left, [""; 0]);
    let starts: Vec<usize> = download
        .ranges
        .iter()
        .map(|range| {
            let start = range
                .as_deref()
                .map(|range| &range["bytes=".len()..range.len() - 1]);
            start.map_or(0, |start| start.parse().unwrap())
        })
        .collect();
    assert_eq!(starts.len(), 4);
    // What had arrived of a broken connection may be a little less than what was sent.
    assert!(
        starts[1] > 0 && starts[1] <= 200_000 && starts[2] == starts[1],
        "{starts:?}"
    );
    assert!(starts[3] > starts[2], "{starts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_two_replies_are_never_put_together() {
    // The server has another reply by now, and says so.
    let turns = vec![Turn::Break(200_000), Turn::Swap(100_000), Turn::Well];
    let (swapped, [_, other]) = download(turns, None).await;
    swapped.result.unwrap();
    assert_eq!(swapped.found.unwrap(), other);
    // One without ranges starts again.
    let (whole, [content, _]) = download(vec![Turn::Break(200_000), Turn::Whole], None).await;
    whole.result.unwrap();
    assert_eq!(whole.found.unwrap(), content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found_and_fetched_again_once() {
    let (mended, [content, _]) = download(vec![Turn::Damage, Turn::Well], None).await;
    mended.result.unwrap();
    assert_eq!(mended.found.unwrap(), content);
    assert_eq!(mended.ranges, [None, None]);
    let (damaged, _) = download(vec![Turn::Damage], None).await;
    assert!(matches!(damaged.result, Err(Error::File(_))));
    assert_eq!((damaged.found, damaged.left.len()), (None, 0));
    assert_eq!(damaged.ranges.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_taken_than_was_announced() {
    let (longer, _) = download(vec![Turn::Well], Some(1000)).await;
    let error = longer.result.unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
    assert_eq!((longer.found, longer.left.len()), (None, 0));
}
