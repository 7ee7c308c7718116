//! What is counted, for Prometheus. Labels name no clients.

use std::sync::atomic::AtomicU64;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};
use sordino_container::memory;

/// Names of labels with their values.
type Labels<const N: usize> = [(&'static str, String); N];

#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    answers: Family<Labels<3>, Counter>,
    answer_seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    received_bytes: Counter,
    jobs: Family<Labels<2>, Counter>,
    images: Family<Labels<1>, Counter>,
    evaluation_seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    waiting: Gauge,
    running: Gauge,
    stored: Gauge<f64, AtomicU64>,
    resident: Gauge<f64, AtomicU64>,
}

fn of_answers() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 9))
}

fn of_evaluations() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 4.0, 10))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sordino");
        let mut named = Named(&mut registry);
        Self {
            answers: named.add("http_answers", "Answers by method, route and status"),
            answer_seconds: named.keep(
                "http_answer_seconds",
                "Time to an answer, its body not included",
                Family::new_with_constructor(of_answers),
            ),
            received_bytes: named.add("received_bytes", "Bytes of chunks that were kept"),
            jobs: named.add("jobs", "Jobs that ended, by model and state"),
            images: named.add("images", "Images that were evaluated"),
            evaluation_seconds: named.keep(
                "evaluation_seconds",
                "Time of evaluations",
                Family::new_with_constructor(of_evaluations),
            ),
            waiting: named.add("jobs_waiting", "Jobs that wait"),
            running: named.add("jobs_running", "Jobs that are evaluated"),
            stored: named.add("stored_bytes", "Bytes of keys, requests and replies"),
            resident: named.add("resident_bytes", "Memory of the process"),
            registry,
        }
    }
}

/// Registers metrics by name.
struct Named<'a>(&'a mut Registry);

impl Named<'_> {
    fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.keep(name, help, M::default())
    }

    fn keep<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}

impl Metrics {
    pub(super) fn answered(&self, method: &Method, route: &str, status: StatusCode, seconds: f64) {
        // Methods are what clients say, and labels are kept for ever.
        let known = [
            Method::GET,
            Method::PUT,
            Method::POST,
            Method::DELETE,
            Method::HEAD,
        ];
        let method = if known.contains(method) {
            method.as_str()
        } else {
            "other"
        };
        let route = ("route", route.to_owned());
        let status = ("status", status.as_u16().to_string());
        let answer = [("method", method.to_owned()), route.clone(), status];
        self.answers.get_or_create(&answer).inc();
        self.answer_seconds.get_or_create(&[route]).observe(seconds);
    }

    pub(super) fn received_chunk(&self, bytes: u64) {
        self.received_bytes.inc_by(bytes);
    }

    pub(super) fn job_ended(&self, model: &str, state: &str) {
        let labels = [("model", model.to_owned()), ("state", state.to_owned())];
        self.jobs.get_or_create(&labels).inc();
    }

    pub(super) fn evaluated(&self, model: &str, images: u64, seconds: f64) {
        let labels = [("model", model.to_owned())];
        self.images.get_or_create(&labels).inc_by(images);
        self.evaluation_seconds
            .get_or_create(&labels)
            .observe(seconds);
    }

    /// OpenMetrics text.
    pub(super) fn text(&self, waiting: usize, running: usize, stored_bytes: u64) -> String {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.waiting.set(count(waiting));
        self.running.set(count(running));
        self.stored.set(stored_bytes as f64);
        self.resident
            .set(memory::resident_bytes().unwrap_or(0) as f64);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
