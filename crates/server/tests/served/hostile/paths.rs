//! Targets that point elsewhere, ids of other clients, methods that nobody has.

use crate::cases::plain;
use crate::hostile::attacker::{Attacker, Expect};
use crate::service::{chunk_request, new_job, post};
use crate::wire::{Answer, Request};

const METHODS: [&str; 14] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "GETT",
    "X", "LOCK", "BREW",
];

/// Templates of the routes; `{}` is an id.
const ROUTES: [&str; 24] = [
    "/",
    "/health",
    "/ready",
    "/metrics",
    "/status.css",
    "/status.js",
    "/v1/openapi.json",
    "/v1/account",
    "/v1/queue",
    "/v1/models",
    "/v1/models/{}",
    "/v1/models/{}/client.plan",
    "/v1/keys",
    "/v1/keys/{}",
    "/v1/keys/{}/chunks/{}",
    "/v1/keys/{}/complete",
    "/v1/jobs",
    "/v1/jobs/{}",
    "/v1/jobs/{}/chunks/{}",
    "/v1/jobs/{}/start",
    "/v1/jobs/{}/cancel",
    "/v1/jobs/{}/events",
    "/v1/jobs/{}/reply",
    "/v1/../v1/jobs",
];

/// What to put in the place of an id, a number or any part of a path.
const PARTS: [&str; 60] = [
    "",
    ".",
    "..",
    "...",
    "%2e",
    "%2e%2e",
    "%2E%2e",
    ".%2e",
    "%252e%252e",
    "..%2f",
    "..%2f..%2f..%2fetc%2fpasswd",
    "..%5c..%5c",
    "..\\..\\",
    "%00",
    "a%00b",
    "a%0d%0aX:%20y",
    "%0a",
    "%ff",
    "%c0%ae%c0%ae",
    "%c0%af",
    "%",
    "%2",
    "%zz",
    "%u002e",
    "a;b=c",
    "a,b",
    "a+b",
    "a%20b",
    "a b",
    "~",
    "~root",
    "$HOME",
    "${x}",
    "`id`",
    "'",
    "''",
    "%27%20OR%201=1--",
    "x'%20OR%20'1'='1",
    "\"",
    "*",
    "?",
    "?x=1",
    "#x",
    "&",
    "=",
    "@",
    ":",
    "C:",
    "server.plan",
    "secret.key",
    "0",
    "-1",
    "00",
    "1e3",
    "0x1",
    "+1",
    "18446744073709551615",
    "18446744073709551616",
    "4294967296",
    "{}",
];

pub(super) fn attack(attacker: &mut Attacker<'_>, times: usize) {
    for _ in 0..1500 * times {
        let target = strange_target(attacker);
        let method = *attacker.random.of(&METHODS[..6]);
        let strange = |byte: u8| byte <= b' ' || b"\"`<>^\\{}|".contains(&byte) || byte >= 0x7F;
        if !target.starts_with('/') || target.bytes().any(strange) {
            let request = attacker.request(method, &target);
            attacker.attack_bytes("path that is no path", &request.bytes());
            continue;
        }
        let request = with_length(attacker.request(method, &target));
        let answer = attacker.attack("path", &request, Expect::Answer);
        assert_known(attacker, &request, &answer);
    }
    for _ in 0..4 * times {
        methods(attacker);
        other_forms(attacker);
    }
    for _ in 0..40 * times {
        others_ids(attacker);
    }
}

fn with_length(request: Request) -> Request {
    match request.method.as_str() {
        "PUT" | "POST" | "PATCH" => request.header("Content-Length", "0"),
        _ => request,
    }
}

/// A route of which parts are replaced, doubled or added.
fn strange_target(attacker: &mut Attacker<'_>) -> String {
    let random = &mut attacker.random;
    let mut parts: Vec<String> = random.of(&ROUTES).split('/').map(str::to_owned).collect();
    for _ in 0..1 + random.below(3) {
        let at = random.below(parts.len());
        let part = match random.below(12) {
            0 => "x".repeat(1 + random.below(300)),
            1 => "x".repeat(65),
            2 => "..".to_owned(),
            _ => (*random.of(&PARTS)).to_owned(),
        };
        match random.below(3) {
            0 => parts.insert(at, part),
            _ => parts[at] = part,
        }
    }
    let mut target = parts.join("/");
    if !target.starts_with('/') && random.below(8) > 0 {
        target.insert(0, '/');
    }
    match random.below(16) {
        0 => target + "/",
        1 => target + "//",
        2 => target + "?token=x&id=..",
        3 => target.replacen("/v1", "/v2", 1),
        4 => target.replacen("/v1", "/V1", 1),
        5 => target.replacen("/v1/", "/v1//", 1),
        _ if target.is_empty() => "/".to_owned(),
        _ => target,
    }
}

/// A success belongs to a target that is a route as it stands.
fn assert_known(attacker: &Attacker<'_>, request: &Request, answer: &Answer) {
    if answer.status >= 300 {
        assert!(
            answer.status >= 400,
            "a redirection: {request:?} {answer:?}"
        );
        return;
    }
    let path = request.target.split(['?', '#']).next().unwrap_or_default();
    let fits = |route: &str| {
        let (route, path) = (route.split('/'), path.split('/'));
        let plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        route.clone().count() == path.clone().count()
            && route.zip(path).all(|(route, part)| {
                route == part || route == "{}" && plain(part) && !part.starts_with('.')
            })
    };
    if !ROUTES[..23].iter().any(|route| fits(route)) {
        attacker.fail(
            "path",
            &request.bytes(),
            &format!("no route, and answered: {answer:?}"),
        );
    }
}

/// Every method on every route.
fn methods(attacker: &mut Attacker<'_>) {
    for route in ROUTES {
        for method in METHODS {
            let target = route.replace("{}", "0");
            let request = with_length(attacker.request(method, &target));
            let answer = attacker.attack("method", &request, Expect::Answer);
            let known = ["GET", "HEAD", "PUT", "POST", "DELETE"].contains(&method);
            assert!(known || answer.status >= 400, "{request:?} {answer:?}");
        }
    }
}

/// Targets in the forms for proxies and servers as a whole.
fn other_forms(attacker: &mut Attacker<'_>) {
    for target in [
        "http://127.0.0.1/v1/jobs",
        "http://example.org/v1/jobs",
        "https://example.org:1/",
        "file:///etc/passwd",
        "ftp://x/",
        "example.org:443",
        "*",
        "v1/jobs",
        "//example.org/v1/jobs",
        "///",
        "\\v1\\jobs",
    ] {
        for method in ["GET", "OPTIONS", "CONNECT", "DELETE"] {
            let request = attacker.request(method, target);
            attacker.attack_bytes("form of a target", &request.bytes());
        }
    }
}

/// Whatever is asked about the victim's keys and jobs is answered as about those of nobody.
fn others_ids(attacker: &mut Attacker<'_>) {
    let victim = attacker.victim;
    let made_up = format!("victim-{:016x}", attacker.random.next());
    let ids = [&victim.job, &victim.waiting_job, &victim.key, &made_up];
    let id = (*attacker.random.of(&ids)).clone();
    type Make = fn(&str) -> Request;
    let requests: [Make; 14] = [
        |id| Request::new("GET", &format!("/v1/jobs/{id}")),
        |id| Request::new("GET", &format!("/v1/jobs/{id}/reply")),
        |id| Request::new("GET", &format!("/v1/jobs/{id}/reply")).header("Range", "bytes=10-"),
        |id| Request::new("GET", &format!("/v1/jobs/{id}/events")),
        |id| Request::new("DELETE", &format!("/v1/jobs/{id}")),
        |id| Request::new("GET", &format!("/v1/keys/{id}")),
        |id| Request::new("DELETE", &format!("/v1/keys/{id}")),
        |id| post(&format!("/v1/jobs/{id}/start")),
        |id| post(&format!("/v1/jobs/{id}/cancel")),
        |id| post(&format!("/v1/keys/{id}/complete")),
        |id| chunk_request(&format!("/v1/jobs/{id}"), 0, b"a chunk"),
        |id| chunk_request(&format!("/v1/keys/{id}"), 0, b"a chunk"),
        |id| chunk_request(&format!("/v1/jobs/{id}"), 1, b"another chunk"),
        |id| {
            let mut job = new_job(plain(), Some(id));
            job["plan"] = serde_json::json!(crate::cases::shallow().plan);
            job["model"] = "shallow".into();
            Request::new("PUT", "/v1/jobs/with-a-key-of-another").json(&job)
        },
    ];
    for make in requests {
        let [theirs, nobodys] = [&id, &made_up].map(|id| {
            let request = make(id).token(&attacker.token);
            let answer = attacker.attack("id of another", &request, Expect::Answer);
            if !request.target.contains("with-a-key") {
                assert_eq!(answer.status, 404, "{request:?} {answer:?}");
            }
            let headers: Vec<_> = answer
                .headers
                .iter()
                .filter(|(name, _)| varies_not(name))
                .cloned()
                .collect();
            let body = String::from_utf8_lossy(&answer.body).replace(id.as_str(), "ID");
            (answer.status, headers, body)
        });
        assert_eq!(theirs, nobodys, "{id} can be told from {made_up}");
    }
    let request = attacker.request("DELETE", "/v1/jobs/with-a-key-of-another");
    attacker.attack("id of another", &request, Expect::Answer);
}

fn varies_not(name: &str) -> bool {
    !["date", "x-request-id"]
        .iter()
        .any(|varies| name.eq_ignore_ascii_case(varies))
}
