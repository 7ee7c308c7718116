//! A server and how it is reached.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Client as HttpClient, Url};
use tokio::time::Instant;

use super::cause::innermost;
use super::event::{Event, Observer};
use super::tls;
use super::token::Token;
use crate::Error;

/// Tries without an answer before a call fails.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How to reach a server.
#[derive(Clone)]
pub struct ConnectOptions {
    /// A PEM file with the only certificates to trust; otherwise those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Whether the token may travel unencrypted to another machine.
    pub plain: bool,
    /// How long to try again after the last answer.
    pub patience: Duration,
    /// Hears of progress and of what is tried again.
    pub observer: Option<Observer>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            ca: None,
            plain: false,
            patience: PATIENCE,
            observer: None,
        }
    }
}

/// A server that evaluates, and the token that it knows us by. Clones share their connections.
#[derive(Clone)]
pub struct RemoteServer {
    shared: Arc<Shared>,
    patience: Duration,
}

struct Shared {
    base: Url,
    trust: rustls::ClientConfig,
    /// Has the open connections.
    client: Mutex<HttpClient>,
    authorization: HeaderValue,
    observer: Option<Observer>,
    /// When anything was last heard of the server.
    heard: Mutex<Instant>,
}

impl fmt::Debug for RemoteServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteServer")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

impl RemoteServer {
    /// Gets ready to talk to a server; the first call makes the first connection.
    ///
    /// `address` may have a path, where the service is not at the root.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::PlainHttp`] for an `http://` address of another machine unless it is allowed, and
    /// [`Error::Certificates`].
    pub fn connect(address: &str, token: &Token, options: ConnectOptions) -> Result<Self, Error> {
        let base = parse(address)?;
        let secure = base.scheme() == "https";
        let host = base.host_str().unwrap_or_default();
        if !secure && !options.plain && !is_loopback(&base) {
            let host = host.to_owned();
            return Err(Error::PlainHttp { host });
        }
        let trust = match &options.ca {
            _ if !secure => tls::none()?,
            Some(path) => tls::only(path)?,
            None => tls::system()?,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                client: Mutex::new(http_client(&base, trust.clone())?),
                base,
                trust,
                authorization: token.header()?,
                observer: options.observer,
                heard: Mutex::new(Instant::now()),
            }),
            patience: options.patience,
        })
    }

    /// The address, as messages show it.
    pub fn address(&self) -> &str {
        self.shared.base.as_str().trim_end_matches('/')
    }

    /// How long is tried again after the last answer.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The same server, tried for another time.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            patience,
        }
    }

    /// Whether connections are encrypted.
    pub(super) fn is_secure(&self) -> bool {
        self.shared.base.scheme() == "https"
    }

    pub(super) fn http(&self) -> HttpClient {
        let client = self.shared.client.lock();
        client.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes all connections; the next call makes another one. After this the server does not see how long anything takes here.
    pub fn hang_up(&self) {
        let client = self.shared.client.lock();
        let mut client = client.unwrap_or_else(PoisonError::into_inner);
        // It was made before from the same settings.
        if let Ok(fresh) = http_client(&self.shared.base, self.shared.trust.clone()) {
            *client = fresh;
        }
    }

    pub(super) fn authorization(&self) -> HeaderValue {
        self.shared.authorization.clone()
    }

    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.shared.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        url
    }

    pub(super) fn report(&self, event: &Event<'_>) {
        if let Some(observer) = &self.shared.observer {
            observer(event);
        }
    }

    /// Notes that the server answered.
    pub(super) fn heard(&self) {
        // A time is in order even if a holder panicked.
        *self
            .shared
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn last_heard(&self) -> Instant {
        *self
            .shared
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(address: &str) -> Result<Url, Error> {
    let wrong = |what: &str| Error::Address {
        address: address.to_owned(),
        what: what.to_owned(),
    };
    const SCHEME: &str = "expected http:// or https:// in front";
    let base = Url::parse(address).map_err(|error| match address.contains("://") {
        true => wrong(&error.to_string()),
        false => wrong(SCHEME),
    })?;
    if !matches!(base.scheme(), "http" | "https") {
        return Err(wrong(SCHEME));
    }
    if base.host_str().is_none_or(str::is_empty) {
        return Err(wrong("expected a host"));
    }
    if !base.username().is_empty() || base.password().is_some() {
        // It is not repeated: it may hold a password.
        return Err(Error::Address {
            address: format!("{}://…", base.scheme()),
            what: "expected no name and password, which the token stands for".to_owned(),
        });
    }
    if base.query().is_some() || base.fragment().is_some() {
        return Err(wrong("expected nothing after the path"));
    }
    Ok(base)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<std::net::IpAddr>().map_or_else(
        |_| host.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
        |address| address.to_canonical().is_loopback(),
    )
}

/// A client without connections for a server.
fn http_client(base: &Url, trust: rustls::ClientConfig) -> Result<HttpClient, Error> {
    let secure = base.scheme() == "https";
    let mut builder = HttpClient::builder()
        .tls_backend_preconfigured(trust)
        .https_only(secure)
        // Another place would get the token, and no route of the service leads there.
        .redirect(Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .user_agent(concat!("sordino/", env!("CARGO_PKG_VERSION")));
    if !secure {
        // A proxy would read the token, which was promised not to leave the machine or the protected network.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| Error::Address {
        address: base.to_string(),
        what: innermost(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(address: &str, plain: bool) -> Result<RemoteServer, Error> {
        let token = Token::new("secret-token", "test").expect("a token");
        let options = ConnectOptions {
            plain,
            ..ConnectOptions::default()
        };
        RemoteServer::connect(address, &token, options)
    }

    #[test]
    fn plain_http_stays_on_the_machine() {
        for near in [
            "http://127.0.0.1:8080",
            "http://127.8.9.1",
            "http://[::1]:1",
            "http://[::ffff:127.0.0.1]:1",
            "http://localhost:9/sordino/",
        ] {
            assert!(connect(near, false).is_ok(), "{near}");
        }
        for far in [
            "http://example.org",
            "http://192.168.0.1:8080",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org",
        ] {
            let error = connect(far, false).expect_err(far);
            assert!(matches!(error, Error::PlainHttp { .. }), "{error}");
            assert!(connect(far, true).is_ok(), "{far}");
        }
    }

    #[test]
    fn what_an_address_is() {
        for bad in [
            "",
            "example.org",
            "127.0.0.1:80",
            "ftp://example.org",
            "https://",
            "https://a?b",
            "https://a#b",
        ] {
            let error = connect(bad, true).expect_err(bad);
            assert!(matches!(error, Error::Address { .. }), "{error}");
        }
        for bad in ["example.org", "127.0.0.1:80", "localhost:80"] {
            let error = connect(bad, true).expect_err(bad);
            assert!(
                error.to_string().contains("http:// or https:// in front"),
                "{error}"
            );
        }
        let error = connect("https://me:hunter2@example.org", false).expect_err("a password");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn paths_are_put_together_and_nothing_secret_is_shown() {
        for base in ["http://localhost/sordino", "http://localhost/sordino/"] {
            let server = connect(base, false).expect("an address");
            let url = server.url(&["models", "a/b c", "client.plan"]);
            assert_eq!(
                url.as_str(),
                "http://localhost/sordino/v1/models/a%2Fb%20c/client.plan"
            );
            assert_eq!(server.address(), "http://localhost/sordino");
            assert!(!format!("{server:?}").contains("secret"));
        }
        let server = connect("http://localhost", false).expect("an address");
        assert_eq!(server.url(&["jobs"]).as_str(), "http://localhost/v1/jobs");
    }
}
