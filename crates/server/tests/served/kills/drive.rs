//! A job that is driven through a service that comes and goes, with a ledger of what the service acknowledged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use sordino_protocol::api::CHUNK_BYTES;

use crate::files::Case;
use crate::random::Random;
use crate::server::Server;
use crate::service::{JOB_PATIENCE, Service, chunk_request, new_job, post, received};
use crate::wire::{Answer, Failure, Request};

/// Where a job is, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Upload,
    Queue,
    Evaluation,
    Download,
    Over,
}

impl Phase {
    pub(crate) const ALL: [Self; 5] = [
        Self::Upload,
        Self::Queue,
        Self::Evaluation,
        Self::Download,
        Self::Over,
    ];
}

/// What a driver tells those who watch it.
#[derive(Debug)]
pub(crate) struct Watch {
    phase: AtomicUsize,
    begun: Instant,
    /// Microseconds after `begun` at which each phase began.
    since: [AtomicU64; 5],
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            phase: AtomicUsize::new(0),
            begun: Instant::now(),
            since: Default::default(),
        }
    }

    /// The job begins now.
    fn start(&self) {
        let now = self.begun.elapsed().as_micros() as u64;
        self.since[0].store(now, Ordering::SeqCst);
    }

    fn enter(&self, phase: Phase) {
        if self.phase.fetch_max(phase as usize, Ordering::SeqCst) < phase as usize {
            let now = self.begun.elapsed().as_micros() as u64;
            self.since[phase as usize].store(now, Ordering::SeqCst);
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase::ALL[self.phase.load(Ordering::SeqCst)]
    }

    /// How long each phase took, of a job that is over.
    pub(crate) fn durations(&self) -> [Duration; 4] {
        let since = |phase: usize| self.since[phase].load(Ordering::SeqCst);
        [0, 1, 2, 3].map(|phase| {
            // A phase that nobody saw took no time.
            let next = (phase + 1..5).map(since).find(|&time| time > 0);
            let start = since(phase);
            let seen = start > 0 || phase == 0;
            let end = next.filter(|_| seen).unwrap_or(start);
            Duration::from_micros(end - start)
        })
    }
}

/// A job and what was said about it.
pub(crate) struct Driver<'a> {
    pub(crate) service: Service,
    pub(crate) id: String,
    pub(crate) case: &'static Case,
    pub(crate) key: Option<&'a str>,
    pub(crate) watch: &'a Watch,
    pub(crate) random: Random,
    acknowledged: BTreeSet<u64>,
    made: bool,
    started: bool,
    done: bool,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(
        server: &Server,
        client: &str,
        id: &str,
        case: &'static Case,
        key: Option<&'a str>,
        watch: &'a Watch,
        random: Random,
    ) -> Self {
        Self {
            service: Service::new(server, client),
            id: id.to_owned(),
            case,
            key,
            watch,
            random,
            acknowledged: BTreeSet::new(),
            made: false,
            started: false,
            done: false,
        }
    }

    /// An answer of this status; none from a server that was killed meanwhile.
    fn ask(&mut self, request: Request, statuses: &[u16]) -> Result<Answer, Failure> {
        let what = format!("{} {}", request.method, request.target);
        let answer = self.service.ask(request)?;
        assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
        Ok(answer)
    }

    /// From the beginning to the reply that is expected, however often the server is killed on the way.
    pub(crate) fn run(&mut self) {
        self.watch.start();
        self.until_started();
        self.until_over();
        self.until_downloaded();
        self.watch.enter(Phase::Over);
    }

    /// Says something again until it is answered.
    fn insist(&mut self, mut step: impl FnMut(&mut Self) -> Result<bool, Failure>) {
        let until = Instant::now() + JOB_PATIENCE;
        loop {
            match step(self) {
                Ok(true) => return,
                Ok(false) => {}
                Err(Failure::Nonsense(what)) => panic!("no HTTP: {what}"),
                Err(Failure::Late) => panic!("{}: no answer", self.id),
                // Killed; it comes back.
                Err(_) => std::thread::sleep(Duration::from_millis(3)),
            }
            assert!(Instant::now() < until, "{}: for too long", self.id);
        }
    }

    /// Makes the job, sends what is missing, starts it.
    pub(crate) fn until_started(&mut self) {
        self.insist(|driver| {
            let target = format!("/v1/jobs/{}", driver.id);
            let make = Request::new("PUT", &target).json(&new_job(driver.case, driver.key));
            let known: &[u16] = if driver.made { &[200] } else { &[200, 201] };
            let job = driver.ask(make, known)?.json();
            driver.made = true;
            driver.check(&job);
            let chunks = driver.case.request.chunks(CHUNK_BYTES as usize);
            let there = received(&job);
            let mut missing: Vec<(u64, &[u8])> = (0..).zip(chunks).collect();
            missing.retain(|(number, _)| !there.contains(number));
            driver.random.shuffle(&mut missing);
            for (number, chunk) in missing {
                driver.ask(chunk_request(&target, number, chunk), &[204])?;
                driver.acknowledged.insert(number);
            }
            driver.ask(post(&format!("{target}/start")), &[202])?;
            driver.started = true;
            driver.watch.enter(Phase::Queue);
            Ok(true)
        });
    }

    /// What was acknowledged is there, and nothing went back.
    fn check(&mut self, job: &Value) {
        let state = job["state"].as_str().expect("a state");
        let there = received(job);
        assert!(
            there.is_superset(&self.acknowledged),
            "{}: acknowledged {:?}, there are {there:?}: {job}",
            self.id,
            self.acknowledged
        );
        assert!(
            !(self.started && state == "uploading"),
            "not started: {job}"
        );
        assert!(!self.done || state == "done", "not done any more: {job}");
        assert!(!matches!(state, "failed" | "cancelled"), "{job}");
        self.done |= state == "done";
        match state {
            "running" => self.watch.enter(Phase::Evaluation),
            "done" => self.watch.enter(Phase::Download),
            _ => {}
        }
    }

    fn until_over(&mut self) {
        self.insist(|driver| {
            let target = format!("/v1/jobs/{}", driver.id);
            let job = driver.ask(Request::new("GET", &target), &[200])?.json();
            driver.check(&job);
            std::thread::sleep(Duration::from_millis(5));
            Ok(driver.done)
        });
    }

    /// Fetches the reply in parts of random sizes, as after a broken connection, from where the last part ended.
    fn until_downloaded(&mut self) {
        let mut reply = Vec::new();
        self.insist(|driver| {
            let target = format!("/v1/jobs/{}/reply", driver.id);
            let whole = driver.case.reply.len();
            let range = format!("bytes={}-", reply.len());
            let request = Request::new("GET", &target).header("Range", range);
            let part = driver.ask(request, &[206])?;
            let taken = 1 + driver.random.below(whole / 8);
            let rest = whole - reply.len();
            assert_eq!(part.body.len(), rest, "{part:?}");
            reply.extend_from_slice(&part.body[..taken.min(rest)]);
            // Slow enough to be disturbed.
            std::thread::sleep(Duration::from_millis(15));
            Ok(reply.len() == whole)
        });
        assert!(reply == self.case.reply, "another reply to {}", self.id);
    }
}
