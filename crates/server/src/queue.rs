//! Which job is next.
//!
//! Clients take turns: next is the oldest job of the client that was served longest ago, so that one with a hundred jobs does not
//! keep others waiting for more than one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::database::WaitingJob;

#[derive(Debug, Default)]
pub(super) struct Queue {
    order: Mutex<Order>,
    /// Told of every new job.
    more: Notify,
}

#[derive(Clone, Debug, Default)]
struct Order {
    waiting: VecDeque<WaitingJob>,
    /// When each client was served last, by a clock that counts jobs.
    served: HashMap<String, u64>,
    clock: u64,
}

impl Queue {
    fn order(&self) -> MutexGuard<'_, Order> {
        // Every change of it is one call that does not panic.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, job: WaitingJob) {
        self.order().waiting.push_back(job);
        self.more.notify_one();
    }

    /// Takes the next job, waiting for one.
    pub(super) async fn next(&self) -> WaitingJob {
        loop {
            if let Some(job) = self.order().next() {
                // Another worker may find one as well.
                self.more.notify_one();
                return job;
            }
            self.more.notified().await;
        }
    }

    /// Takes a job out.
    pub(super) fn remove(&self, file: i64) {
        self.order().waiting.retain(|job| job.file != file);
    }

    /// How many jobs come before this one, if it waits.
    pub(super) fn ahead_of(&self, file: i64) -> Option<u64> {
        let mut order = {
            let order = self.order();
            if !order.waiting.iter().any(|job| job.file == file) {
                return None;
            }
            order.clone()
        };
        std::iter::from_fn(|| order.next())
            .position(|job| job.file == file)
            .map(|n| n as u64)
    }

    pub(super) fn len(&self) -> usize {
        self.order().waiting.len()
    }
}

impl Order {
    fn next(&mut self) -> Option<WaitingJob> {
        let served = |job: &WaitingJob| self.served.get(&job.client).copied().unwrap_or(0);
        // The first of equals is the one that waits longest.
        let (index, _) = self
            .waiting
            .iter()
            .enumerate()
            .min_by_key(|(_, job)| served(job))?;
        let job = self.waiting.remove(index)?;
        self.clock += 1;
        self.served.insert(job.client.clone(), self.clock);
        Some(job)
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
            queue.push(WaitingJob { file, client });
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
            queue.push(WaitingJob { file, client });
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
        queue.push(WaitingJob { file: 1, client });
        assert_eq!(worker.await.expect("joins"), 1);
    }
}
