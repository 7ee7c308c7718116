//! Connections: accepted, limited, and ended in order.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use sordino_protocol::api::{PROBLEM_MEDIA_TYPE, Problem, ProblemKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::config::TlsConfig;
use super::service::Service;
use crate::{Error, http};

/// Connections at once.
const CONNECTIONS: usize = 1024;
/// Connections beyond these, which are only told whether the server is alive; a new one takes the place of the oldest.
const SPARE_CONNECTIONS: usize = 64;
/// How long such a connection may stay.
const SPARE_TIME: Duration = Duration::from_secs(2);
/// How long a handshake may take, and the header of a request.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a client may read nothing of a response.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a header section.
const HEADER_BYTES: usize = 32 << 10;
/// Lines of a header section.
const HEADERS: usize = 64;
/// How long connections may stay open when the server ends.
const GOODBYE: Duration = Duration::from_secs(5);

/// Reads certificate and key.
pub(super) fn tls(config: &TlsConfig) -> Result<TlsAcceptor, Error> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let path = &config.certificate;
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| {
            Error::config(path, format!("expected certificates in PEM form: {error}"))
        })?;
    let path = &config.key;
    let key = PrivateKeyDer::from_pem_file(path).map_err(|error| {
        Error::config(path, format!("expected a private key in PEM form: {error}"))
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(certificates, key)
        })
        .map_err(|error| {
            Error::config(
                &config.certificate,
                format!("cannot be used with the key: {error}"),
            )
        })?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

/// Answers connections until the server ends.
pub(super) async fn listen(
    service: Arc<Service>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Places::new(service.config.connections_per_address));
    let spare_router = http::spare_router(Arc::clone(&service));
    let mut spare = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = service.stopping() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: others have to be closed first.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, watcher) = (tls.clone(), graceful.watcher());
        // A client that goes away, or speaks something else, is no news.
        if let Some(place) = Places::take(&places, address.ip()) {
            let router = router.clone();
            tokio::spawn(async move {
                let _ = answer(stream, tls, router, watcher).await;
                drop(place);
            });
            continue;
        }
        spare.retain(|oldest: &AbortHandle| !oldest.is_finished());
        if spare.len() == SPARE_CONNECTIONS
            && let Some(oldest) = spare.pop_front()
        {
            oldest.abort();
        }
        let router = spare_router.clone();
        let answering = tokio::spawn(async move {
            let _ = timeout(SPARE_TIME, answer(stream, tls, router, watcher)).await;
        });
        spare.push_back(answering.abort_handle());
    }
    drop(listener);
    // Those that wait for their client end now, the others after their answer.
    let _ = timeout(GOODBYE, graceful.shutdown()).await;
}

/// Who has connections.
#[derive(Debug)]
struct Places {
    of_address: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
    all: Arc<Semaphore>,
}

impl Places {
    fn new(of_address: usize) -> Self {
        Self {
            of_address,
            taken: Mutex::default(),
            all: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// A place for a connection from this address, while there is one.
    fn take(places: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let place = Arc::clone(&places.all).try_acquire_owned().ok()?;
        let address = owner(address);
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= places.of_address && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place {
            places: Arc::clone(places),
            address,
            _one_of_all: place,
        })
    }
}

/// The address that stands for all that one party has: of IPv6, everybody gets 2^64 at least.
fn owner(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            match address.is_loopback() {
                true => address.into(),
                false => Ipv6Addr::from(network).into(),
            }
        }
        address => address,
    }
}

/// The place of a connection, until this is dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    address: IpAddr,
    _one_of_all: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.places.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = taken.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

async fn answer(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    watcher: Watcher,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    if tls.is_some() {
        // TLS begins with a byte that is no letter, HTTP with the name of a method.
        timeout(PATIENCE, stream.peek(&mut first)).await??;
        if first[0].is_ascii_alphabetic() {
            return timeout(PATIENCE, refuse_http(stream)).await?;
        }
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_PATIENCE));
    let stream = Box::pin(stream);
    match tls {
        None => speak(stream, router, watcher).await,
        Some(tls) => {
            let handshake = timeout(PATIENCE, tls.accept(stream));
            let stream = handshake.await.map_err(|_| io::ErrorKind::TimedOut)??;
            speak(stream, router, watcher).await
        }
    }
}

/// Tells a client that speaks HTTP without TLS what to do.
async fn refuse_http(mut stream: TcpStream) -> io::Result<()> {
    let problem = Problem::new(
        ProblemKind::Malformed,
        "this server speaks https here: give its address with https://",
    );
    let body = serde_json::to_vec(&problem)?;
    let head = format!(
        "HTTP/1.1 {} Bad Request\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        problem.status,
        body.len()
    );
    // What was not read would take the answer with it when the connection is closed.
    let _ = stream.read(&mut [0; 1 << 12]).await?;
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    stream.shutdown().await
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    router: Router,
    watcher: Watcher,
) -> io::Result<()> {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEADER_BYTES.max(1 << 16))
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    watcher.watch(connection).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let places = Arc::new(Places::new(2));
        let take = |address: &str| Places::take(&places, address.parse().expect("an address"));
        let held = [take("192.0.2.1"), take("::ffff:192.0.2.1")];
        assert!(held.iter().all(Option::is_some));
        assert!(take("192.0.2.1").is_none());
        let other = [take("2001:db8::1"), take("2001:db8::2:0:0:1")];
        assert!(other.iter().all(Option::is_some));
        assert!(take("2001:db8::3").is_none(), "one network");
        assert!(take("2001:db8:0:1::3").is_some());
        let local: Vec<_> = (0..10).map(|_| take("127.0.0.1")).collect();
        assert!(local.iter().all(Option::is_some));
        drop(held);
        assert!(take("192.0.2.1").is_some());
        drop((other, local));
        assert!(places.taken.lock().expect("whole").is_empty());
        let all: Vec<_> = (0..CONNECTIONS).map(|_| take("::1")).collect();
        assert!(all.iter().all(Option::is_some));
        assert!(take("::1").is_none());
    }
}
