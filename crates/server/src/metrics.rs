//! What is counted, for Prometheus. Labels name no clients.

use std::sync::atomic::AtomicU64;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use sordino_container::memory;

use super::service::Service;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    model: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfModel {
    model: String,
}

#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    answers: Family<Answer, Counter>,
    answer_seconds: Family<Route, Histogram, fn() -> Histogram>,
    received_bytes: Counter,
    jobs: Family<Outcome, Counter>,
    images: Family<OfModel, Counter>,
    evaluation_seconds: Family<OfModel, Histogram, fn() -> Histogram>,
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
        let metrics = Self {
            answers: Family::default(),
            answer_seconds: Family::new_with_constructor(of_answers),
            received_bytes: Counter::default(),
            jobs: Family::default(),
            images: Family::default(),
            evaluation_seconds: Family::new_with_constructor(of_evaluations),
            waiting: Gauge::default(),
            running: Gauge::default(),
            stored: Gauge::default(),
            resident: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "http_answers",
            "Answers by method, route and status",
            metrics.answers.clone(),
        );
        registry.register(
            "http_answer_seconds",
            "Time to an answer, its body not included",
            metrics.answer_seconds.clone(),
        );
        registry.register(
            "received_bytes",
            "Bytes of chunks that were kept",
            metrics.received_bytes.clone(),
        );
        registry.register(
            "jobs",
            "Jobs that ended, by model and state",
            metrics.jobs.clone(),
        );
        registry.register(
            "images",
            "Images that were evaluated",
            metrics.images.clone(),
        );
        registry.register(
            "evaluation_seconds",
            "Time of evaluations",
            metrics.evaluation_seconds.clone(),
        );
        registry.register("jobs_waiting", "Jobs that wait", metrics.waiting.clone());
        registry.register(
            "jobs_running",
            "Jobs that are evaluated",
            metrics.running.clone(),
        );
        registry.register(
            "stored_bytes",
            "Bytes of keys, requests and replies",
            metrics.stored.clone(),
        );
        registry.register(
            "resident_bytes",
            "Memory of the process",
            metrics.resident.clone(),
        );
        Self {
            registry,
            ..metrics
        }
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
        let answer = Answer {
            method: method.to_owned(),
            route: route.to_owned(),
            status: status.as_u16(),
        };
        self.answers.get_or_create(&answer).inc();
        let route = Route {
            route: route.to_owned(),
        };
        self.answer_seconds.get_or_create(&route).observe(seconds);
    }

    pub(super) fn received_chunk(&self, bytes: u64) {
        self.received_bytes.inc_by(bytes);
    }

    pub(super) fn job_ended(&self, model: &str, state: &'static str) {
        let model = model.to_owned();
        self.jobs.get_or_create(&Outcome { model, state }).inc();
    }

    pub(super) fn evaluated(&self, model: &str, images: u64, seconds: f64) {
        let model = OfModel {
            model: model.to_owned(),
        };
        self.images.get_or_create(&model).inc_by(images);
        self.evaluation_seconds
            .get_or_create(&model)
            .observe(seconds);
    }

    /// OpenMetrics text.
    pub(super) fn text(&self, service: &Service, stored_bytes: u64) -> String {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.waiting.set(count(service.queue.len()));
        self.running.set(count(service.running_jobs()));
        self.stored.set(stored_bytes as f64);
        self.resident
            .set(memory::resident_bytes().unwrap_or(0) as f64);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
