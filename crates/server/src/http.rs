//! The routes, and what all of them do: who asks, how long it took, and a problem document for everything that is refused.

mod body;
mod extract;
mod jobs;
mod keys;
mod models;
mod page;
mod reply;
mod uploads;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use sordino_protocol::api::ProblemKind;

use super::database::{JobRow, KeyRow};
use super::refusal::Refusal;
use super::service::Service;

/// What handlers work with.
type App = Arc<Service>;

/// All routes: path, methods, handlers. A test compares them with the OpenAPI file.
fn routes() -> Vec<(&'static str, &'static [&'static str], MethodRouter<App>)> {
    vec![
        ("/", &["get"], get(page::page)),
        ("/status.css", &["get"], get(page::style)),
        ("/status.js", &["get"], get(page::script)),
        ("/health", &["get"], get(page::health)),
        ("/ready", &["get"], get(page::ready)),
        ("/metrics", &["get"], get(page::metrics)),
        ("/v1/openapi.json", &["get"], get(page::openapi)),
        ("/v1/account", &["get"], get(models::account)),
        ("/v1/queue", &["get"], get(models::queue)),
        ("/v1/models", &["get"], get(models::all)),
        ("/v1/models/{model}", &["get"], get(models::one)),
        (
            "/v1/models/{model}/client.plan",
            &["get"],
            get(models::client_plan),
        ),
        ("/v1/keys", &["get"], get(keys::all)),
        (
            "/v1/keys/{key}",
            &["get", "put", "delete"],
            get(uploads::one::<KeyRow>)
                .put(keys::make)
                .delete(keys::remove),
        ),
        (
            "/v1/keys/{key}/chunks/{chunk}",
            &["put"],
            put(uploads::chunk::<KeyRow>),
        ),
        ("/v1/keys/{key}/complete", &["post"], post(keys::complete)),
        ("/v1/jobs", &["get"], get(jobs::all)),
        (
            "/v1/jobs/{job}",
            &["get", "put", "delete"],
            get(uploads::one::<JobRow>)
                .put(jobs::make)
                .delete(jobs::remove),
        ),
        (
            "/v1/jobs/{job}/chunks/{chunk}",
            &["put"],
            put(uploads::chunk::<JobRow>),
        ),
        ("/v1/jobs/{job}/start", &["post"], post(jobs::start)),
        ("/v1/jobs/{job}/cancel", &["post"], post(jobs::cancel)),
        ("/v1/jobs/{job}/events", &["get"], get(jobs::events)),
        ("/v1/jobs/{job}/reply", &["get"], get(reply::reply)),
    ]
}

/// The service's answers.
pub(super) fn router(service: App) -> Router {
    let mut router = Router::new();
    for (path, _, handlers) in routes() {
        router = router.route(path, handlers);
    }
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&service),
            observe,
        ))
        .with_state(service)
}

/// The answers to connections that there is no place for: only whether the server is alive.
pub(super) fn spare_router(service: App) -> Router {
    Router::new()
        .route("/health", get(page::health))
        .route("/ready", get(page::ready))
        .fallback(async || {
            Refusal::new(
                ProblemKind::Unavailable,
                "too many connections are open, from this address or in all: close some, or try again",
            )
        })
        .with_state(service)
}

async fn no_route() -> Refusal {
    Refusal::new(
        ProblemKind::NotFound,
        "there is nothing at this address: /v1/openapi.json describes what there is",
    )
}

async fn no_method(method: Method) -> Refusal {
    Refusal::new(
        ProblemKind::Method,
        format!(
            "{} is not among the methods of this address: /v1/openapi.json describes them",
            if method.as_str().len() > 16 {
                "the method"
            } else {
                method.as_str()
            }
        ),
    )
}

/// Counts and logs what is answered, and says what browsers must not do with it.
async fn observe(State(service): State<App>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let path = path.as_ref().map_or("none", MatchedPath::as_str).to_owned();
    let client = extract::identify(&service, request.headers());
    // One client must not take the connections of all: what is over its limit is refused at once.
    let place = client
        .as_ref()
        .map(|client| Arc::clone(&client.requests).try_acquire_owned());
    let mut response = match place.transpose() {
        Ok(place) => {
            if let Some(client) = &client {
                request.extensions_mut().insert(Arc::clone(client));
            }
            let response = next.run(request).await;
            response.map(|body| body::holding(body, place))
        }
        Err(_) => Refusal::new(
            ProblemKind::Quota,
            "too many requests of this client are in progress: send fewer at once",
        )
        .into_response(),
    };
    let (status, seconds) = (response.status(), start.elapsed().as_secs_f64());
    service.metrics.answered(&method, &path, status, seconds);
    let client = client.as_ref().map_or("", |client| client.name.as_str());
    let milliseconds = seconds * 1e3;
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        tracing::error!(%method, path, status = status.as_u16(), milliseconds, client, "answered");
    } else {
        tracing::debug!(%method, path, status = status.as_u16(), milliseconds, client, "answered");
    }
    let headers = response.headers_mut();
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, page::POLICY),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response.into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Both ways: nothing is served that is not described, and nothing described that is not served.
    #[test]
    fn the_description_is_of_these_routes() {
        let description: serde_json::Value =
            serde_json::from_str(super::page::OPENAPI).expect("the file is JSON");
        let paths = description["paths"].as_object().expect("paths");
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().expect("methods");
                methods.keys().map(|method| (path.clone(), method.clone()))
            })
            .collect();
        let served: BTreeSet<(String, String)> = super::routes()
            .iter()
            .flat_map(|(path, methods, _)| {
                methods
                    .iter()
                    .map(|method| ((*path).to_owned(), (*method).to_owned()))
            })
            .collect();
        assert_eq!(described, served);
    }
}
