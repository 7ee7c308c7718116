//! Connections: accepted, limited, and ended in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::config::TlsConfig;
use super::service::Service;
use crate::Error;

/// Connections at once.
const CONNECTIONS: usize = 1024;
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
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // What waits here is in the system's queue.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            break;
        };
        let stream = tokio::select! {
            () = service.stopping() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: others have to be closed first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            // A client that goes away, or speaks something else, is no news.
            let _ = answer(stream, tls, router, watcher).await;
            drop(permit);
        });
    }
    drop(listener);
    // Those that wait for their client end now, the others after their answer.
    let _ = tokio::time::timeout(GOODBYE, graceful.shutdown()).await;
}

async fn answer(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    watcher: Watcher,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_PATIENCE));
    let stream = Box::pin(stream);
    match tls {
        None => speak(stream, router, watcher).await,
        Some(tls) => {
            let handshake = tokio::time::timeout(PATIENCE, tls.accept(stream));
            let stream = handshake.await.map_err(|_| io::ErrorKind::TimedOut)??;
            speak(stream, router, watcher).await
        }
    }
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
