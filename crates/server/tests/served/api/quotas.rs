//! What a client may have at most.

use serde_json::json;

use crate::cases::{deep, plain, shallow};
use crate::files::{folder, run};
use crate::server::{Client, Server, Setup};
use crate::service::{Service, new_job, new_key};

#[test]
fn storage_is_limited_and_free_again_when_something_is_deleted() {
    let mut setup = Setup::new(&[plain(), shallow(), deep()], &[]);
    // Room for one job of the small network with its reply, which is reckoned with a whole message's description, and for a key.
    let key = shallow().key.as_ref().map_or(0, Vec::len);
    let room = plain().request.len() + plain().reply.len() + (1 << 20) + key;
    setup
        .clients
        .push(Client::new("small").with(&format!("storage = \"{room}\"")));
    let server = Server::start(&folder("storage"), setup);
    let mut service = Service::new(&server, "small");
    service.register("key", shallow());
    service.run("first", plain(), None);
    let account = service.get("/v1/account").is(200).json();
    assert_eq!(account["stored_bytes_limit"], room);
    let stored = account["stored_bytes"].as_u64().expect("a number");
    assert!(stored > 0 && stored <= room as u64, "{account}");
    let refused = service
        .put("/v1/jobs/second", &new_job(plain(), None))
        .refused(429);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    for number in 0..20 {
        let answer = service.put(&format!("/v1/keys/more-{number}"), &new_key(shallow()));
        if answer.status != 201 {
            answer.refused(429);
            break;
        }
        assert!(number < 19, "keys are not counted");
    }
    assert_eq!(service.ids("jobs").len(), 1);
    for id in service.ids("keys") {
        service.delete(&format!("/v1/keys/{id}")).is(204);
    }
    service.delete("/v1/jobs/first").is(204);
    service.run("second", plain(), None);
}

#[test]
fn jobs_that_are_not_over_are_limited() {
    let mut setup = Setup::new(&[plain()], &["other"]);
    setup.clients.push(Client::new("few").with("jobs = 2"));
    let server = Server::start(&folder("jobs"), setup);
    let mut service = Service::new(&server, "few");
    let put = |service: &mut Service, id: &str| {
        service.put(&format!("/v1/jobs/{id}"), &new_job(plain(), None))
    };
    put(&mut service, "one").is(201);
    put(&mut service, "two").is(201);
    put(&mut service, "three").refused(429);
    // The same again is no further one.
    put(&mut service, "two").is(200);
    let account = service.get("/v1/account").is(200).json();
    assert_eq!(
        (&account["open_jobs"], &account["open_jobs_limit"]),
        (&json!(2), &json!(2))
    );
    put(&mut Service::new(&server, "other"), "three").is(201);
    // Over in any way, it does not count.
    service.post("/v1/jobs/one/cancel").is(200);
    service.run("three", plain(), None);
    put(&mut service, "four").is(201);
    put(&mut service, "five").refused(429);
    service.delete("/v1/jobs/four").is(204);
    put(&mut service, "five").is(201);
}

#[test]
fn a_model_that_does_not_fit_the_memory_is_refused_at_the_start() {
    let folder = folder("little-memory");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstate = \"state\"\nmemory = \"1MiB\"\n[[model]]\nname = \"deep\"\nplan = \"{}\"\n[[client]]\nname = \"a\"\ntoken = \"blake3:{}\"\n",
        deep().folder.display(),
        "0".repeat(64)
    );
    std::fs::write(folder.join("server.toml"), text).expect("a configuration");
    run(&folder, "serve --config server.toml").refused(4, &["memory"]);
}
