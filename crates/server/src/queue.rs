//! Which job is next.
//!
//! Clients take turns: next is the oldest job of the client that was served longest ago, so that one with a hundred jobs does not
//! keep others waiting for more than one.
//!
//! A job during which the process ended many times waits longer and longer: it may be what ends the process. It never fails for
//! that, since it may just as well be the job that happened to run.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::database::WaitingJob;

/// Ends of the process that a job does not wait for.
const USUAL_ATTEMPTS: u32 = 20;
/// How long it waits after one more; each further one doubles that.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

#[derive(Debug, Default)]
pub(super) struct Queue {
    order: Mutex<Order>,
    /// Told of every new job.
    more: Notify,
}

#[derive(Clone, Debug, Default)]
struct Order {
    /// Each with the time from which it may run.
    waiting: VecDeque<(WaitingJob, Instant)>,
    /// When each client was served last, by a clock that counts jobs.
    served: HashMap<String, u64>,
    clock: u64,
}

impl Queue {
    fn order(&self) -> MutexGuard<'_, Order> {
        // Every change of it is one call that does not panic.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, unless it waits already.
    pub(super) fn push(&self, job: WaitingJob) {
        let due = Instant::now() + pause(job.attempts);
        let mut order = self.order();
        if order
            .waiting
            .iter()
            .all(|(other, _)| other.file != job.file)
        {
            order.waiting.push_back((job, due));
        }
        drop(order);
        self.more.notify_one();
    }

    /// Takes the next job, waiting for one.
    pub(super) async fn next(&self) -> WaitingJob {
        loop {
            let due = {
                let mut order = self.order();
                if let Some(job) = order.next(Instant::now()) {
                    // Another worker may find one as well.
                    self.more.notify_one();
                    return job;
                }
                order.waiting.iter().map(|&(_, due)| due).min()
            };
            let due = due.unwrap_or_else(|| Instant::now() + LONGEST_PAUSE);
            tokio::select! {
                () = self.more.notified() => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    /// Takes a job out.
    pub(super) fn remove(&self, file: i64) {
        self.order().waiting.retain(|(job, _)| job.file != file);
    }

    /// How many jobs come before this one, if it waits.
    pub(super) fn ahead_of(&self, file: i64) -> Option<u64> {
        let mut order = {
            let order = self.order();
            if !order.waiting.iter().any(|(job, _)| job.file == file) {
                return None;
            }
            order.clone()
        };
        // Those with a pause are counted as if it was over.
        let later = Instant::now() + LONGEST_PAUSE;
        std::iter::from_fn(|| order.next(later))
            .position(|job| job.file == file)
            .map(|n| n as u64)
    }

    pub(super) fn len(&self) -> usize {
        self.order().waiting.len()
    }
}

impl Order {
    fn next(&mut self, now: Instant) -> Option<WaitingJob> {
        let served = |job: &WaitingJob| self.served.get(&job.client).copied().unwrap_or(0);
        // The first of equals is the one that waits longest.
        let (index, _) = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, (_, due))| *due <= now)
            .min_by_key(|(_, (job, _))| served(job))?;
        let (job, _) = self.waiting.remove(index)?;
        self.clock += 1;
        self.served.insert(job.client.clone(), self.clock);
        Some(job)
    }
}

/// How long a job waits that the process ended in so many times.
fn pause(attempts: u32) -> Duration {
    match attempts.checked_sub(USUAL_ATTEMPTS + 1) {
        None => Duration::ZERO,
        Some(doublings) => LONGEST_PAUSE.min(FIRST_PAUSE * (1 << doublings.min(16))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clients_take_turns() {
        let queue = Queue::default();
        let jobs = [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c"), (6, "b")];
        for (file, client) in jobs {
            let client = client.to_owned();
            queue.push(WaitingJob {
                file,
                client,
                attempts: 0,
            });
        }
        assert_eq!(queue.ahead_of(3), Some(5));
        assert_eq!(queue.ahead_of(4), Some(1));
        assert_eq!(queue.ahead_of(9), None);
        queue.remove(5);
        let mut order = Vec::new();
        while queue.len() > 0 {
            order.push(queue.next().await.file);
        }
        assert_eq!(order, [1, 4, 2, 6, 3]);
        // Whoever was served before waits for whoever was not.
        for (file, client) in [(7, "b"), (8, "d")] {
            let client = client.to_owned();
            queue.push(WaitingJob {
                file,
                client,
                attempts: 0,
            });
        }
        assert_eq!(queue.next().await.file, 8);
    }

    #[tokio::test]
    async fn a_worker_wakes_up() {
        let queue = std::sync::Arc::new(Queue::default());
        let worker = {
            let queue = std::sync::Arc::clone(&queue);
            tokio::spawn(async move { queue.next().await.file })
        };
        tokio::task::yield_now().await;
        let client = "a".to_owned();
        queue.push(WaitingJob {
            file: 1,
            client,
            attempts: 0,
        });
        assert_eq!(worker.await.expect("joins"), 1);
    }

    #[test]
    fn a_job_that_ended_the_process_often_waits_behind_others() {
        let queue = Queue::default();
        for (file, attempts) in [(1, USUAL_ATTEMPTS + 2), (2, USUAL_ATTEMPTS)] {
            let client = "a".to_owned();
            queue.push(WaitingJob {
                file,
                client,
                attempts,
            });
        }
        assert_eq!(queue.ahead_of(1), Some(0));
        let now = Instant::now();
        let next = |now| queue.order().next(now).map(|job| job.file);
        assert_eq!(next(now), Some(2));
        assert_eq!(next(now + Duration::from_secs(110)), None);
        assert_eq!(next(now + Duration::from_secs(120)), Some(1));
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
