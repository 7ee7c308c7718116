//! Through all routes, all methods and all answers that the description names.

use std::time::Instant;

use serde_json::{Value, json};
use sordino_protocol::api::{CHUNK_BYTES, content_digest};

use crate::api::contract::Contract;
use crate::cases::{plain, shallow};
use crate::files::{Case, folder};
use crate::server::{Client, Server, Setup};
use crate::service::{Service, chunk_request, new_job, new_key, post, received};
use crate::wire::{Answer, Connection, PATIENCE, Request};

/// Asks as somebody, and holds the answer against the description.
struct Walk<'a> {
    contract: Contract,
    service: Service,
    server: &'a Server,
}

impl Walk<'_> {
    /// A request to a route of which the parameters are filled in.
    #[track_caller]
    fn ask(&mut self, route: &str, request: Request, status: u16) -> Answer {
        let answer = self.service.ask(request.clone()).expect("an answer");
        assert_eq!(answer.status, status, "{request:?} {answer:?}");
        self.contract.check(route, &request.method, &answer);
        answer
    }

    #[track_caller]
    fn get(&mut self, route: &str, target: &str, status: u16) -> Answer {
        self.ask(route, Request::new("GET", target), status)
    }
}

const KEY: &str = "/v1/keys/{key}";
const JOB: &str = "/v1/jobs/{job}";

#[test]
fn every_route_answers_as_it_is_described() {
    let case = shallow();
    let mut setup = Setup::new(&[case, plain()], &[]);
    setup
        .clients
        .push(Client::new("watcher").with("metrics = true"));
    let server = Server::start(&folder("walk"), setup);
    let mut walk = Walk {
        contract: Contract::new(),
        service: Service::new(&server, "watcher"),
        server: &server,
    };
    about_the_server(&mut walk);
    models(&mut walk, case);
    keys(&mut walk, case);
    jobs(&mut walk, case);
    events(&mut walk, case);
    failures(&mut walk);
    walk.get("/v1/account", "/v1/account", 200);
    let unseen: Vec<_> = walk.contract.unseen();
    // Whether it is about to end is seen where it ends.
    let expected = ["GET /ready 503"];
    let mut defaults = unseen
        .iter()
        .filter(|case| !expected.contains(&case.as_str()));
    assert_eq!(defaults.next(), None, "{unseen:?}");
}

fn about_the_server(walk: &mut Walk<'_>) {
    for path in [
        "/health",
        "/ready",
        "/metrics",
        "/",
        "/status.css",
        "/status.js",
        "/v1/openapi.json",
        "/v1/queue",
    ] {
        let answer = walk.get(path, path, 200);
        assert!(!answer.body.is_empty());
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{answer:?}"
        );
    }
    let described = walk.get("/v1/openapi.json", "/v1/openapi.json", 200).json();
    assert_eq!(described["openapi"], "3.1.0");
    let page = walk.get("/", "/", 200);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let metrics = walk.get("/metrics", "/metrics", 200);
    let text = String::from_utf8(metrics.body).expect("text");
    assert!(
        text.contains("# TYPE") && text.trim_end().ends_with("# EOF"),
        "{text}"
    );
    // Every answer with an error is described once a token is missing.
    for path in [
        "/metrics",
        "/v1/account",
        "/v1/queue",
        "/v1/models",
        "/v1/keys",
        "/v1/jobs",
    ] {
        let answer = Service::with_token(walk.server, "none")
            .get(path)
            .refused(401);
        walk.contract.check(path, "GET", &answer);
    }
}

fn models(walk: &mut Walk<'_>, case: &Case) {
    let list = walk.get("/v1/models", "/v1/models", 200).json();
    let names: Vec<_> = list["models"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|model| model["name"].clone())
        .collect();
    assert_eq!(names, [case.name, "plain"]);
    let one = walk
        .get("/v1/models/{model}", "/v1/models/shallow", 200)
        .json();
    assert_eq!(one, list["models"][0]);
    let digest = |name: &str| one[name].as_str().expect("a digest").to_owned();
    assert_eq!(digest("plan"), case.plan.to_string());
    assert_eq!(digest("parameters"), case.parameters.to_string());
    assert_eq!(one["needs_key"], true);
    assert_eq!(list["models"][1]["needs_key"], false);
    assert!(one["security_bits"].as_u64() >= Some(128));
    assert!(one["memory_bytes"].as_u64() > Some(0));
    let plan = walk.get(
        "/v1/models/{model}/client.plan",
        "/v1/models/shallow/client.plan",
        200,
    );
    assert_eq!(
        plan.body,
        std::fs::read(case.path("client.plan")).expect("a plan")
    );
    assert_eq!(
        plan.header("content-digest"),
        Some(content_digest(&plan.body).as_str())
    );
    assert_eq!(one["client_plan_bytes"], plan.body.len());
    walk.get("/v1/models/{model}", "/v1/models/none", 404);
    walk.get(
        "/v1/models/{model}/client.plan",
        "/v1/models/none/client.plan",
        404,
    );
}

/// Chunks of an upload, each sent twice; another one in the place of the first is refused.
fn upload(walk: &mut Walk<'_>, route: &str, target: &str, bytes: &[u8]) {
    let chunk = format!("{route}/chunks/{{chunk}}");
    for (number, content) in (0..).zip(bytes.chunks(CHUNK_BYTES as usize)) {
        for _ in 0..2 {
            walk.ask(&chunk, chunk_request(target, number, content), 204);
        }
    }
    let mut other = bytes[..bytes.len().min(CHUNK_BYTES as usize)].to_vec();
    other[7] ^= 1;
    walk.ask(&chunk, chunk_request(target, 0, &other), 409);
    let item = walk.get(route, target, 200).json();
    let count = bytes.len().div_ceil(CHUNK_BYTES as usize) as u64;
    assert_eq!(item["chunks"]["of"], count);
    assert_eq!(received(&item), (0..count).collect());
}

fn keys(walk: &mut Walk<'_>, case: &Case) {
    let target = "/v1/keys/Key-1_a";
    let bytes = case.key.as_deref().expect("a key");
    let complete = "/v1/keys/{key}/complete";
    walk.get(KEY, target, 404);
    walk.ask(KEY, Request::new("DELETE", target), 404);
    walk.ask(complete, post(&format!("{target}/complete")), 404);
    let put = || Request::new("PUT", target).json(&new_key(case));
    let made = walk.ask(KEY, put(), 201).json();
    assert_eq!(
        (&made["state"], &made["id"]),
        (&json!("uploading"), &json!("Key-1_a"))
    );
    assert_eq!(made["chunks"]["received"], json!([]));
    assert_eq!(walk.ask(KEY, put(), 200).json()["created"], made["created"]);
    let other =
        Request::new("PUT", target).json(&json!({"parameters": case.parameters, "bytes": 1000}));
    walk.ask(KEY, other, 409);
    walk.ask(complete, post(&format!("{target}/complete")), 409);
    upload(walk, KEY, target, bytes);
    for _ in 0..2 {
        let ready = walk
            .ask(complete, post(&format!("{target}/complete")), 200)
            .json();
        assert_eq!(ready["state"], "ready");
        assert!(ready["expires"].as_u64() > ready["created"].as_u64());
    }
    // What was said before may still be said.
    walk.ask(KEY, put(), 200);
    walk.ask(
        "/v1/keys/{key}/chunks/{chunk}",
        chunk_request(target, 0, &bytes[..bytes.len().min(CHUNK_BYTES as usize)]),
        204,
    );
    let second = "/v1/keys/second";
    walk.ask(KEY, Request::new("PUT", second).json(&new_key(case)), 201);
    let list = walk.get("/v1/keys", "/v1/keys", 200).json();
    let ids: Vec<_> = list["keys"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|key| key["id"].clone())
        .collect();
    assert_eq!(ids, ["second", "Key-1_a"], "the newest first");
    walk.ask(KEY, Request::new("DELETE", second), 204);
    walk.get(KEY, second, 404);
}

fn jobs(walk: &mut Walk<'_>, case: &Case) {
    let target = "/v1/jobs/Job-1_a";
    let [start, cancel, reply] =
        ["start", "cancel", "reply"].map(|last| format!("{target}/{last}"));
    let routes = ["start", "cancel", "reply", "events"].map(|last| format!("{JOB}/{last}"));
    let [start_route, cancel_route, reply_route, events_route] = &routes;
    walk.get(JOB, target, 404);
    walk.ask(JOB, Request::new("DELETE", target), 404);
    walk.ask(start_route, post(&start), 404);
    walk.ask(cancel_route, post(&cancel), 404);
    walk.get(reply_route, &reply, 404);
    walk.get(events_route, &format!("{target}/events"), 404);
    let put = || Request::new("PUT", target).json(&new_job(case, Some("Key-1_a")));
    let made = walk.ask(JOB, put(), 201).json();
    assert_eq!(made["state"], "uploading");
    for optional in [
        "jobs_ahead",
        "progress",
        "waited_seconds",
        "evaluated_seconds",
        "reply_bytes",
        "problem",
    ] {
        assert!(
            made.get(optional).is_none(),
            "{optional} of a job without chunks: {made}"
        );
    }
    assert_eq!(walk.ask(JOB, put(), 200).json(), made);
    let mut other = new_job(case, Some("Key-1_a"));
    other["images"] = 299.into();
    let differs = walk
        .service
        .ask(Request::new("PUT", target).json(&other))
        .expect("an answer");
    assert!(matches!(differs.status, 409 | 422), "{differs:?}");
    walk.contract.check(JOB, "PUT", &differs);
    walk.ask(start_route, post(&start), 409);
    walk.get(reply_route, &reply, 409);
    upload(walk, JOB, target, &case.request);
    for _ in 0..3 {
        let started = walk.ask(start_route, post(&start), 202).json();
        assert_ne!(started["state"], "uploading");
    }
    let done = walk.service.wait("Job-1_a");
    walk.contract.check_value("Job", &done);
    assert_eq!(done["state"], "done");
    assert_eq!(done["reply_bytes"], case.reply.len());
    assert!(
        done["evaluated_seconds"].as_f64() > Some(0.0)
            && done["waited_seconds"].as_f64() >= Some(0.0)
    );
    // Over: nothing changes any more.
    let again = walk.ask(start_route, post(&start), 202).json();
    assert_eq!(
        (&again["state"], &again["created"]),
        (&json!("done"), &done["created"])
    );
    let kept = walk.ask(cancel_route, post(&cancel), 200).json();
    assert_eq!(kept["state"], "done");
    walk.ask(JOB, put(), 200);
    replies(walk, case, reply_route, &reply);
    let list = walk.get("/v1/jobs", "/v1/jobs", 200).json();
    assert_eq!(list["jobs"].as_array().map(Vec::len), Some(1));
    walk.ask(JOB, Request::new("DELETE", target), 204);
    walk.get(reply_route, &reply, 404);
    // The name is free again.
    assert_eq!(
        walk.ask(JOB, put(), 201).json()["chunks"]["received"],
        json!([])
    );
    walk.ask(JOB, Request::new("DELETE", target), 204);
}

/// The whole reply and parts of it.
fn replies(walk: &mut Walk<'_>, case: &Case, route: &str, target: &str) {
    let whole = walk.get(route, target, 200);
    assert!(whole.body == case.reply);
    let tag = whole.header("etag").expect("an ETag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    for start in [0, 1, case.reply.len() / 2, case.reply.len() - 1] {
        let request = Request::new("GET", target).header("Range", format!("bytes={start}-"));
        for request in [request.clone(), request.header("If-Range", &tag)] {
            let part = walk.ask(route, request, 206);
            assert!(part.body == case.reply[start..], "from {start}");
            let range = format!(
                "bytes {start}-{}/{}",
                case.reply.len() - 1,
                case.reply.len()
            );
            assert_eq!(part.header("content-range"), Some(range.as_str()));
            assert_eq!(part.header("etag"), Some(tag.as_str()));
        }
    }
    let behind = format!("bytes={}-", case.reply.len());
    walk.ask(
        route,
        Request::new("GET", target).header("Range", behind),
        416,
    );
    let stale = Request::new("GET", target)
        .header("Range", "bytes=5-")
        .header("If-Range", "\"another\"");
    assert_eq!(walk.ask(route, stale, 200).body.len(), case.reply.len());
    let head = walk
        .service
        .ask(Request::new("HEAD", target))
        .expect("an answer")
        .is(200);
    assert_eq!(
        head.header("content-length"),
        Some(case.reply.len().to_string().as_str())
    );
}

/// Events begin with the job as it is, and end with it over.
fn events(walk: &mut Walk<'_>, case: &Case) {
    walk.service.begin("watched", case, Some("Key-1_a"));
    let mut connection = Connection::open(&walk.server.address).expect("a connection");
    let token = &walk.server.client("watcher").token;
    let request = Request::new("GET", "/v1/jobs/watched/events").token(token);
    connection.send(&request.header("Connection", "close").bytes());
    // The stream ends by itself, so it can be read as a whole.
    let answer = connection
        .answer("GET", PATIENCE)
        .expect("a stream that ends")
        .is(200);
    walk.contract.check("/v1/jobs/{job}/events", "GET", &answer);
    let text = String::from_utf8(answer.body).expect("text");
    let mut states = Vec::new();
    for event in text.split("\n\n").filter(|event| !event.trim().is_empty()) {
        let lines: Vec<&str> = event
            .lines()
            .filter(|line| !line.starts_with(':'))
            .collect();
        if lines.is_empty() {
            continue;
        }
        assert!(lines.contains(&"event: job"), "{event}");
        let data = lines
            .iter()
            .find_map(|line| line.strip_prefix("data: "))
            .expect("data");
        let job: Value = serde_json::from_str(data).expect("JSON");
        walk.contract.check_value("Job", &job);
        states.push(job["state"].as_str().expect("a state").to_owned());
    }
    assert_eq!(
        states.last().map(String::as_str),
        Some("done"),
        "{states:?}"
    );
    // Of a job that is over there is one event.
    let begun = Instant::now();
    let again = walk.get("/v1/jobs/{job}/events", "/v1/jobs/watched/events", 200);
    assert_eq!(
        String::from_utf8_lossy(&again.body)
            .matches("event: job")
            .count(),
        1
    );
    assert!(begun.elapsed().as_secs() < 5);
}

/// A request that is damaged within fails, and its reply is its problem.
fn failures(walk: &mut Walk<'_>) {
    let case = plain();
    let mut damaged = case.request.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let target = "/v1/jobs/damaged";
    walk.ask(
        JOB,
        Request::new("PUT", target).json(&new_job(case, None)),
        201,
    );
    walk.service.upload(target, &damaged);
    walk.ask(
        "/v1/jobs/{job}/start",
        post(&format!("{target}/start")),
        202,
    );
    let failed = walk.service.wait("damaged");
    walk.contract.check_value("Job", &failed);
    assert_eq!(failed["state"], "failed");
    assert_eq!(failed["problem"]["type"], "/problems/invalid");
    assert!(
        failed["problem"]["detail"]
            .as_str()
            .is_some_and(|text| text.contains("digest")),
        "{failed}"
    );
    let reply = walk.get("/v1/jobs/{job}/reply", &format!("{target}/reply"), 422);
    assert_eq!(reply.json(), failed["problem"]);
}

#[test]
fn methods_that_are_not_described_are_refused() {
    let server = Server::start(&folder("methods"), Setup::new(&[plain()], &["a"]));
    let mut service = Service::new(&server, "a");
    for (path, methods) in Contract::new().routes() {
        let target = path
            .replace("{model}", "plain")
            .replace("{key}", "k")
            .replace("{job}", "j")
            .replace("{chunk}", "0");
        for method in [
            "GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "PROPFIND",
        ] {
            let request = Request::new(method, &target).header("Content-Length", "0");
            let answer = service.ask(request).expect("an answer");
            if methods.contains(method) {
                assert_ne!(answer.status, 405, "{method} {path}: {answer:?}");
                let is_route = answer.status != 404
                    || !answer.json()["detail"]
                        .to_string()
                        .contains("nothing at this address");
                assert!(is_route, "{method} {path}: {answer:?}");
            } else {
                let answer = answer.refused(405);
                let allowed = answer.header("allow").unwrap_or_default().to_owned();
                assert!(
                    methods
                        .iter()
                        .all(|method| allowed.contains(method.as_str())),
                    "{path}: {allowed}"
                );
            }
        }
    }
    for nowhere in [
        "/v1",
        "/v1/",
        "/v2/jobs",
        "/v1/jobs/",
        "/v1/job",
        "/index.html",
        "/favicon.ico",
    ] {
        service.get(nowhere).refused(404);
    }
}
