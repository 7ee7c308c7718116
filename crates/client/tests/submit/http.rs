//! As much of an HTTP/1.1 server as the tests need, and what no honest one does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) then: Then,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// As announced.
    Well,
    /// After so many bytes of the body the connection breaks.
    Break(usize),
    /// Without a byte.
    Nothing,
    /// Never: the body goes on and on.
    Endless,
    /// After the head there is silence.
    Silence,
}

impl Given {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            then: Then::Well,
        }
    }

    pub(crate) fn json(status: u16, value: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap();
        Self::new(status, body).with("content-type", "application/json")
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

type Handler = dyn Fn(Asked) -> Given + Send + Sync;

/// A server that ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(handler: impl Fn(Asked) -> Given + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let handler: Arc<Handler> = Arc::new(handler);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let handler = Arc::clone(&handler);
                tokio::spawn(async move {
                    // A client that has gone away is what some tests are about.
                    let _ = serve(stream, handler).await;
                });
            }
        });
        Self { address, accepting }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, handler: Arc<Handler>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let head_end = loop {
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8(bytes.drain(..head_end).collect()).unwrap();
        let mut lines = head.lines();
        let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
        let (method, path) = (first.next().unwrap(), first.next().unwrap());
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers: BTreeMap<String, String> = lines.filter_map(header).collect();
        let length = headers
            .get("content-length")
            .map_or(0, |n| n.parse().unwrap());
        while bytes.len() < length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        let body = bytes.drain(..length).collect();
        let asked = Asked {
            method,
            path,
            headers,
            body,
        };
        // It may evaluate a network.
        let handler = Arc::clone(&handler);
        let given = tokio::task::spawn_blocking(move || handler(asked))
            .await
            .unwrap();
        if !answer(&mut stream, given).await? {
            return Ok(());
        }
    }
}

/// Whether the connection can be used again.
async fn answer(stream: &mut TcpStream, given: Given) -> std::io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} Status\r\n", given.status);
    if given.then != Then::Endless && given.status != 204 {
        head += &format!("content-length: {}\r\n", given.body.len());
    }
    for (name, value) in &given.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    match given.then {
        Then::Nothing => return Ok(false),
        Then::Well => {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&given.body).await?;
            return Ok(true);
        }
        Then::Break(bytes) => {
            stream.write_all(head.as_bytes()).await?;
            let bytes = bytes.min(given.body.len());
            stream.write_all(&given.body[..bytes]).await?;
            stream.flush().await?;
        }
        Then::Endless => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(&[b' '; 1 << 16]).await?;
            }
        }
        Then::Silence => {
            stream.write_all(head.as_bytes()).await?;
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
    }
    Ok(false)
}
