//! The HTTP client against a server that misbehaves as told: calls, transfers and whole submissions.

mod again;
mod calls;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/deep.rs"]
mod deep;
mod http;
mod keys;
mod own_keys;
mod plans;
mod service;
mod submissions;
mod transfers;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sordino_client::http::{ConnectOptions, Event, RemoteServer, Token};

/// What the client said while it worked, as text.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn count(&self, start: &str) -> usize {
        self.all()
            .iter()
            .filter(|line| line.starts_with(start))
            .count()
    }
}

/// A client that gives up after `patience`, and what it says.
fn connect(address: &str, patience: Duration) -> (RemoteServer, Heard) {
    let heard = Heard::default();
    let events = Arc::clone(&heard.0);
    let options = ConnectOptions {
        patience,
        observer: Some(Arc::new(move |event: &Event<'_>| {
            events.lock().unwrap().push(format!("{event:?}"));
        })),
        ..ConnectOptions::default()
    };
    let token = Token::new("right-token", "test").unwrap();
    (
        RemoteServer::connect(address, &token, options).unwrap(),
        heard,
    )
}
