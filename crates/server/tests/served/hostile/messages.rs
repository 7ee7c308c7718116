//! Bodies in JSON that are too large, too deep, of the wrong types, or about what is not there.

use serde_json::{Value, json};

use crate::cases::{deep, plain, shallow};
use crate::hostile::attacker::{Attacker, Expect};
use crate::hostile::heads::REFUSED;
use crate::mutation::{self, mutate};
use crate::service::{new_job, new_key};
use crate::wire::Request;

pub(super) fn attack(attacker: &mut Attacker<'_>, times: usize) {
    for _ in 0..3 * times {
        for (target, good) in goods() {
            for body in wrong_fields(&good) {
                refuse(
                    attacker,
                    "wrong field",
                    target,
                    body.to_string().into_bytes(),
                );
            }
            for body in wrong_documents(&good) {
                refuse(attacker, "wrong document", target, body);
            }
            wrong_media_types(attacker, target, &good);
        }
        about_others(attacker);
    }
    for _ in 0..800 * times {
        let (target, good) = goods()[attacker.random.below(2)].clone();
        let mut damage = mutation::Random::new(attacker.random.next());
        let body = mutate(&mut damage, good.to_string().as_bytes());
        let request = attacker
            .request("PUT", target)
            .body("application/json", body);
        // Damage may leave what is allowed.
        attacker.attack("damaged document", &request, Expect::Answer);
        let remove = attacker.request("DELETE", target);
        attacker.attack("removed again", &remove, Expect::Answer);
    }
}

fn goods() -> [(&'static str, Value); 2] {
    [
        ("/v1/jobs/message", new_job(plain(), None)),
        ("/v1/keys/message", new_key(shallow())),
    ]
}

fn refuse(attacker: &mut Attacker<'_>, what: &'static str, target: &str, body: Vec<u8>) {
    let request = attacker
        .request("PUT", target)
        .body("application/json", body);
    attacker.attack(what, &request, REFUSED);
}

/// The good document with one field that is not good.
fn wrong_fields(good: &Value) -> Vec<Value> {
    let strange = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!("x"),
        json!([]),
        json!({}),
        json!([1]),
        json!({"a": 1}),
        json!("0".repeat(63)),
        json!("0".repeat(65)),
        json!("G".repeat(64)),
        json!("é".repeat(32)),
        json!("../../x"),
        json!("\0"),
        json!("0".repeat(10_000)),
    ];
    let mut bodies = Vec::new();
    for field in good.as_object().expect("an object").keys() {
        for value in &strange {
            let mut body = good.clone();
            body[field] = value.clone();
            bodies.push(body);
        }
        let mut body = good.clone();
        body.as_object_mut().expect("an object").remove(field);
        bodies.push(body);
    }
    for (field, value) in [
        ("colour", json!("red")),
        ("state", json!("done")),
        ("id", json!("x")),
        ("__proto__", json!({})),
        ("", json!(0)),
    ] {
        let mut body = good.clone();
        body[field] = value;
        bodies.push(body);
    }
    for (field, values) in [
        (
            "bytes",
            vec![
                json!(0),
                json!(u64::MAX),
                json!(1u64 << 62),
                json!(1u64 << 42),
            ],
        ),
        ("images", vec![json!(0), json!(u64::MAX), json!(1u64 << 40)]),
        ("plan", vec![json!("0".repeat(64)), json!(deep().plan)]),
        (
            "parameters",
            vec![json!("0".repeat(64)), json!("f".repeat(64))],
        ),
        (
            "model",
            vec![
                json!("no-such-model"),
                json!("deep"),
                json!("../deep"),
                json!("DEEP"),
            ],
        ),
        (
            "key",
            vec![
                json!("no-such-key"),
                json!(""),
                json!("a/b"),
                json!("x".repeat(65)),
                json!(7),
            ],
        ),
    ] {
        if good.get(field).is_some() || field == "key" && good.get("model").is_some() {
            bodies.extend(values.into_iter().map(|value| {
                let mut body = good.clone();
                body[field] = value;
                body
            }));
        }
    }
    bodies
}

/// What is no such document at all.
fn wrong_documents(good: &Value) -> Vec<Vec<u8>> {
    let text = good.to_string();
    let field = text
        .split_once(':')
        .expect("a field")
        .0
        .trim_start_matches('{');
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "0",
        "\"x\"",
        "[]",
        "{}",
        "{",
        "}",
        "[{}]",
        "{{}}",
        "{\"\":}",
        "tru",
        "NaN",
        "{\"bytes\": 1e999}",
        "{\"bytes\": 99999999999999999999999999}",
        "{'bytes': 1}",
        "\u{feff}{}",
        "<xml/>",
        "bytes=5",
        "{\"bytes\": 0x10}",
        "{\"bytes\": 1}{}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    bodies.push([text.as_bytes(), b"x"].concat());
    bodies.push([text.as_bytes(), text.as_bytes()].concat());
    bodies.push(text.as_bytes()[..text.len() - 1].to_vec());
    bodies.push(text.replacen('{', &format!("{{{field}:1,"), 1).into_bytes());
    bodies.push(text.replacen(':', ":\u{1}", 1).into_bytes());
    bodies.push([b"{\"model\": \"", &[0xFF, 0xFE, 0xC0][..], b"\"}"].concat());
    bodies.push("[".repeat(60_000).into_bytes());
    bodies.push("{\"a\":".repeat(10_000).into_bytes());
    bodies.push(format!("{{\"bytes\":{}}}", "9".repeat(60_000)).into_bytes());
    bodies.push(
        text.replacen('{', &format!("{{\"x\":\"{}\",", "y".repeat(60_000)), 1)
            .into_bytes(),
    );
    bodies.push(
        text.replacen('{', &format!("{{{}", " ".repeat(70_000)), 1)
            .into_bytes(),
    );
    bodies.push([text.as_bytes(), &vec![b' '; 3 << 20]].concat());
    bodies.push("[".repeat(5_000_000).into_bytes());
    bodies
}

fn wrong_media_types(attacker: &mut Attacker<'_>, target: &str, good: &Value) {
    for media_type in [
        "text/plain",
        "application/xml",
        "application/octet-stream",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "json",
        "",
        "application/",
        ";;;",
    ] {
        let request = attacker
            .request("PUT", target)
            .body(media_type, good.to_string());
        attacker.attack("media type", &request, REFUSED);
    }
    let request = attacker
        .request("PUT", target)
        .body("application/json", good.to_string());
    attacker.attack(
        "content encoding",
        &request.header("Content-Encoding", "gzip"),
        Expect::Answer,
    );
    // Where the encoding does not matter, the document was taken.
    let remove = attacker.request("DELETE", target);
    attacker.attack("removed again", &remove, Expect::Answer);
}

/// Plans, keys and tokens that do not belong together.
fn about_others(attacker: &mut Attacker<'_>) {
    let victims_key = attacker.victim.key.clone();
    let with = |model: &str, plan: Value, key: Option<&str>| {
        let mut job = new_job(shallow(), key);
        job["model"] = model.into();
        job["plan"] = plan;
        job
    };
    for job in [
        with("shallow", json!(deep().plan), None),
        with("deep", json!(shallow().plan), None),
        with("shallow", json!(shallow().plan), Some(&victims_key)),
        with("shallow", json!(shallow().plan), Some("nobodys-key")),
        with("nothing", json!(shallow().plan), None),
    ] {
        refuse(
            attacker,
            "what does not belong together",
            "/v1/jobs/message",
            job.to_string().into_bytes(),
        );
    }
    let token = attacker.token.clone();
    let wrong_tokens = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {token}x"),
        format!("Bearer x{token}"),
        format!("Bearer {}", &token[..token.len() - 1]),
        format!("Basic {token}"),
        token.clone(),
        format!("Bearer {token} {token}"),
        format!("Bearer {}", token.to_uppercase()),
        format!("Bearer {}", "x".repeat(8000)),
        "Bearer \u{e9}".to_owned(),
        "Bearer ' OR 1=1 --".to_owned(),
        "Bearer blake3:0000".to_owned(),
    ];
    for wrong in wrong_tokens {
        for (method, target) in [
            ("GET", "/v1/jobs"),
            ("GET", "/metrics"),
            ("DELETE", "/v1/jobs/x"),
            ("GET", "/v1/models/plain/client.plan"),
        ] {
            let request = Request::new(method, target).header("Authorization", &wrong);
            let answer = attacker.attack("token", &request, Expect::Refusal(&[400, 401]));
            assert!(
                answer.status == 400 || answer.header("www-authenticate").is_some(),
                "{answer:?}"
            );
        }
    }
    let request = Request::new("GET", "/v1/jobs").token(&token).token(&token);
    attacker.attack("two tokens", &request, Expect::Answer);
    let request = attacker.request("GET", "/metrics");
    attacker.attack("metrics", &request, Expect::Refusal(&[403]));
}
